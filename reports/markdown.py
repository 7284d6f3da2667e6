"""An item as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from reports.items import Artefact
from reports.tables import (
    COMPARISON_HEADER,
    Marked,
    ResultTable,
    comparisons,
    lines,
    remarks,
)


def document(title: str, artefact: Artefact, images: Sequence[str]) -> str:
    """The whole item; images: paths of its figures, relative to the file."""
    parts = [f"# {title}"]
    for table in artefact.tables:
        heading = [f"## {table.title}"] if table.title not in title else []
        parts += [*heading, _layout(table), *_remarks(table), *_comparison(table)]
    for plot, image in zip(artefact.plots, images, strict=True):
        parts.append(f"![{plot.caption}]({image})\n\n*{plot.caption}*")
    notes = [*(note for table in artefact.tables for note in table.footnotes), *artefact.footnotes]
    if notes:
        parts.append("## Notes\n\n" + "\n".join(f"{i}. {note}" for i, note in enumerate(notes, 1)))
    card = "\n".join(f"- **{term}**: {text}" for term, text in artefact.card.entries())
    parts.append(f"## Metric card\n\n{card}")
    return "\n\n".join(parts) + "\n"


def _layout(table: ResultTable) -> str:
    header = [table.row_header, "", *(column.title for column in table.columns)]
    body = [
        [line.label, _marked(line.source), *(_marked(cell) for cell in line.cells)]
        for line in lines(table)
    ]
    return pipe_table(header, body, n_text_columns=2)


def _remarks(table: ResultTable) -> list[str]:
    listed = [f"({mark}) {reason}" for mark, reason in remarks(table).items()]
    return ["  \n".join(listed)] if listed else []


def _comparison(table: ResultTable) -> list[str]:
    found = comparisons(table)
    if not found:
        return []
    body = [list(comparison) for comparison in found]
    return ["### Compared with the paper", pipe_table(list(COMPARISON_HEADER), body, 2)]


def _marked(cell: Marked) -> str:
    return f"{cell.text} ({cell.mark})" if cell.mark else cell.text


def pipe_table(
    header: Sequence[str], body: Sequence[Sequence[str]], n_text_columns: int = 1
) -> str:
    """A Markdown table whose first columns are text and whose others are numbers."""
    rules = ["---" if i < n_text_columns else "---:" for i in range(len(header))]
    rows = [header, rules, *body]
    return "\n".join(
        "| " + " | ".join(text.replace("|", "\\|") for text in row) + " |" for row in rows
    )
