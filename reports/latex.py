r"""An item as LaTeX: table environments with booktabs, to be read in by \input."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby

from reports.items import Artefact
from reports.tables import (
    COMPARISON_HEADER,
    Column,
    Line,
    Marked,
    ResultTable,
    comparisons,
    lines,
    remarks,
)

PREAMBLE = "% Needs \\usepackage{booktabs}, \\usepackage{graphicx} and \\usepackage[T1]{fontenc}."
SPECIAL = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "|": r"\textbar{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    '"': "''",
    "±": r"$\pm$",
    "−": "$-$",
    "–": "--",
    "×": r"$\times$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "α": r"$\alpha$",
    "†": r"\dag{}",
    "‡": r"\ddag{}",
    "…": r"\ldots{}",
}


# A table that is wider than the line is made smaller, any other stays as it is.
AT_MOST_LINE_WIDTH = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{"


def escape(text: str) -> str:
    """Plain text as LaTeX; text between backticks is set in typewriter and may be broken."""
    parts = text.split("`")
    return "".join(
        rf"\texttt{{{_breakable(_escaped(part))}}}" if position % 2 else _escaped(part)
        for position, part in enumerate(parts)
    )


def _escaped(text: str) -> str:
    return "".join(SPECIAL.get(character, character) for character in text)


def _breakable(escaped: str) -> str:
    return re.sub(r"(\\textbar\{\}|/|\\_)", r"\1\\allowbreak{}", escaped)


def document(title: str, artefact: Artefact, images: Sequence[str]) -> str:
    """The whole item; images: names of its figures, without a path."""
    parts = [PREAMBLE]
    for table in artefact.tables:
        parts += [_layout(table), *_comparison(table)]
    parts += [
        _figure(image, plot.caption) for plot, image in zip(artefact.plots, images, strict=True)
    ]
    notes = [*(note for table in artefact.tables for note in table.footnotes), *artefact.footnotes]
    if notes:
        parts.append(_environment("enumerate", [rf"\item {escape(note)}" for note in notes]))
    entries = [rf"\item[{escape(term)}] {escape(text)}" for term, text in artefact.card.entries()]
    parts.append(_environment("description", entries))
    return "\n\n".join(parts) + "\n"


def _environment(name: str, content: Sequence[str]) -> str:
    return "\n".join([rf"\begin{{{name}}}", *content, rf"\end{{{name}}}"])


def _layout(table: ResultTable) -> str:
    return _table(
        caption=f"{table.title} ({table.item}).",
        columns="ll" + "r" * len(table.columns),
        header=_header(table),
        body=_body(lines(table)),
        below=[rf"\textsuperscript{{{m}}} {escape(r)}" for m, r in remarks(table).items()],
    )


def _header(table: ResultTable) -> list[str]:
    """Two levels where the columns have groups, one where they do not."""
    names = _row([escape(table.row_header), "", *(escape(c.name) for c in table.columns)])
    if not any(column.group for column in table.columns):
        return [names]
    groups, rules, first = ["", ""], [], 3
    for group, members in groupby(table.columns, key=_group):
        width = len(list(members))
        groups.append(rf"\multicolumn{{{width}}}{{c}}{{{escape(group)}}}")
        if group:
            rules.append(rf"\cmidrule(lr){{{first}-{first + width - 1}}}")
        first += width
    return [_row(groups), " ".join(rules), names]


def _group(column: Column) -> str:
    return column.group


def _body(body: Sequence[Line]) -> list[str]:
    rows = []
    for position, line in enumerate(body):
        if line.label and position:
            rows.append(r"\addlinespace[2pt]")
        cells = [escape(line.label), _marked(line.source), *map(_marked, line.cells)]
        rows.append(_row(cells))
    return rows


def _marked(cell: Marked) -> str:
    mark = rf"\textsuperscript{{{cell.mark}}}" if cell.mark else ""
    return escape(cell.text) + mark


def _row(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _comparison(table: ResultTable) -> list[str]:
    found = comparisons(table)
    if not found:
        return []
    has_notes = any(comparison.note for comparison in found)
    width = len(COMPARISON_HEADER) - (not has_notes)
    return [
        _table(
            caption=f"{table.title} ({table.item}): measured against published.",
            columns="llrrrrrl" + (r"p{4cm}" if has_notes else ""),
            header=[_row([escape(text) for text in COMPARISON_HEADER[:width]])],
            body=[_row([escape(text) for text in comparison[:width]]) for comparison in found],
            below=[],
        )
    ]


def _table(
    *,
    caption: str,
    columns: str,
    header: Sequence[str],
    body: Sequence[str],
    below: Sequence[str],
) -> str:
    tabular = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", *header, r"\midrule", *body]
    notes = [rf"\par\smallskip {text}" for text in below]
    return _environment(
        "table",
        [
            r"\centering\footnotesize\setlength{\tabcolsep}{3pt}",
            rf"\caption{{{escape(caption)}}}",
            AT_MOST_LINE_WIDTH + "%",
            *tabular,
            r"\bottomrule",
            r"\end{tabular}}",
            *notes,
        ],
    )


def _figure(image: str, caption: str) -> str:
    return _environment(
        "figure",
        [
            r"\centering",
            rf"\includegraphics[width=\linewidth]{{{image}}}",
            rf"\caption{{{escape(caption)}}}",
        ],
    )
