"""Result tables: rows by two-level columns of measured and published values, and their CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from string import ascii_lowercase
from typing import NamedTuple

from reports import numerals
from reports.card import MetricCard
from reports.published import PublishedValue
from reports.verdict import Measured, verdict

MISSING = "–"
CSV_FIELDS = (
    "item",
    "table",
    "row",
    "column_group",
    "column",
    "unit",
    "measured_mean",
    "measured_std",
    "measured_n",
    "published_mean",
    "published_std",
    "published_n",
    "difference",
    "verdict",
    "reason",
    "note",
    "benchmark",
    "table_sha256",
)


@dataclass(frozen=True, slots=True)
class Column:
    """A column under a group, such as CIFAR-10 and valid.

    digits: decimals for measured values that have no published one beside them.
    """

    group: str
    name: str
    digits: int = 2

    @property
    def title(self) -> str:
        return f"{self.group} {self.name}".strip()


@dataclass(frozen=True, slots=True)
class Cell:
    """What we measured and what the paper prints; `reason` says why nothing was measured.

    note: one sentence that belongs to this comparison alone.
    """

    measured: Measured | None = None
    published: PublishedValue | None = None
    verdict: str = ""
    reason: str = ""
    note: str = ""

    @property
    def difference(self) -> float | None:
        """Measured minus published, where both are known."""
        if self.measured is None or self.published is None or self.published.mean is None:
            return None
        return self.measured.mean - self.published.mean

    @property
    def has_published(self) -> bool:
        return self.published is not None and bool(self.published.text)


@dataclass(frozen=True, slots=True)
class Row:
    """A labelled row; one cell a column of the table."""

    label: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class ResultTable:
    """A table in the paper's layout.

    item: the item's id. row_header: what the row labels are.
    """

    item: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    footnotes: tuple[str, ...] = ()
    row_header: str = "Method"

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row.cells) != len(self.columns):
                raise ValueError(f"{row.label}: {len(row.cells)} cells, {len(self.columns)} wide")

    def and_rows(self, rows: Iterable[Row]) -> ResultTable:
        """The same with more rows below: those that a paper does not have."""
        return replace(self, rows=(*self.rows, *rows))

    def cell(self, row: str, column: str) -> Cell:
        """The cell of a row label and a column title."""
        titles = [held.title for held in self.columns]
        labels = [held.label for held in self.rows]
        return self.rows[labels.index(row)].cells[titles.index(column)]


def compared(
    measured: Measured,
    published: PublishedValue | None,
    *,
    same_benchmark: bool = True,
    same_spread: bool = True,
    note: str = "",
) -> Cell:
    """A measured cell with its verdict, where the paper prints a number."""
    if published is None or published.mean is None:
        return Cell(measured, published, note=note)
    said = verdict(measured, published, same_benchmark=same_benchmark, same_spread=same_spread)
    return Cell(measured, published, said, note=note)


def from_published(
    item: str,
    title: str,
    values: Sequence[PublishedValue],
    *,
    row_of: Callable[[PublishedValue], str],
    column_of: Callable[[PublishedValue], Column],
    fill: Callable[[PublishedValue], Cell],
    footnotes: Iterable[str] = (),
    row_header: str = "Method",
) -> ResultTable:
    """The published table in the paper's order of rows and columns, each cell made by `fill`."""
    columns = tuple(dict.fromkeys(map(column_of, values)))
    rows: dict[str, dict[Column, Cell]] = {}
    for value in values:
        rows.setdefault(row_of(value), {})[column_of(value)] = fill(value)
    made = tuple(
        Row(label, tuple(cells.get(column, Cell()) for column in columns))
        for label, cells in rows.items()
    )
    return ResultTable(item, title, columns, made, tuple(footnotes), row_header)


class Marked(NamedTuple):
    """Text with the letter of the remark that explains it."""

    text: str
    mark: str = ""


class Line(NamedTuple):
    """One printed line: the row's label (first line only), whose numbers, and the numbers."""

    label: str
    source: Marked
    cells: tuple[Marked, ...]


class Comparison(NamedTuple):
    """One line of the comparison in long form, as text."""

    row: str
    column: str
    measured: str
    n: str
    published: str
    published_n: str
    difference: str
    verdict: str
    note: str


COMPARISON_HEADER = Comparison(
    "Row", "Column", "Measured", "n", "Published", "n", "Difference", "Verdict", "Note"
)


def remarks(table: ResultTable) -> dict[str, str]:
    """Letter -> reason, for every reason why something in the table was not measured."""
    reasons = dict.fromkeys(cell.reason for row in table.rows for cell in row.cells if cell.reason)
    return dict(zip(ascii_lowercase, reasons, strict=False))


def lines(table: ResultTable) -> list[Line]:
    """The table's body: per row a line of ours and, where it prints numbers, one of the paper."""
    mark_of = {reason: mark for mark, reason in remarks(table).items()}
    return [line for row in table.rows for line in _lines_of(row, table.columns, mark_of)]


def _lines_of(row: Row, columns: Sequence[Column], mark_of: Mapping[str, str]) -> list[Line]:
    reasons = {cell.reason for cell in row.cells if cell.reason}
    not_run = all(cell.measured is None for cell in row.cells)
    if not_run and len(reasons) == 1:
        ours = Marked("not run", mark_of[reasons.pop()])
        cells = tuple(Marked(MISSING if cell.has_published else "") for cell in row.cells)
    else:
        ours = Marked("measured")
        cells = tuple(
            Marked(_measured_text(cell, column), mark_of.get(cell.reason, ""))
            for cell, column in zip(row.cells, columns, strict=True)
        )
    made = [Line(row.label, ours, cells)]
    if any(cell.has_published for cell in row.cells):
        theirs = tuple(Marked(_published_text(cell)) for cell in row.cells)
        made.append(Line("", Marked("paper"), theirs))
    return made


def comparisons(table: ResultTable) -> list[Comparison]:
    """Every cell that has both a measured and a published value."""
    return [
        _comparison(row.label, column, cell)
        for row in table.rows
        for column, cell in zip(table.columns, row.cells, strict=True)
        if cell.difference is not None
    ]


def _comparison(label: str, column: Column, cell: Cell) -> Comparison:
    measured, published = cell.measured, cell.published
    assert measured is not None and published is not None and cell.difference is not None
    return Comparison(
        label,
        column.title,
        _measured_text(cell, column),
        numerals.count(measured.n),
        published.printed,
        numerals.count(published.n),
        numerals.shown(cell.difference, _digits(cell, column)).replace("-", "−"),
        cell.verdict,
        cell.note,
    )


def _digits(cell: Cell, column: Column) -> int:
    if cell.published is not None and cell.published.text:
        return cell.published.digits
    return column.digits


def _measured_text(cell: Cell, column: Column) -> str:
    if cell.measured is None:
        return MISSING if cell.reason or cell.has_published else ""
    digits = _digits(cell, column)
    std = cell.measured.std
    return numerals.with_std(
        numerals.shown(cell.measured.mean, digits).replace("-", "−"),
        "" if std is None else numerals.shown(std, digits),
    )


def _published_text(cell: Cell) -> str:
    if cell.published is None:
        return ""
    is_number = cell.published.mean is not None
    return cell.published.printed.replace("-", "−") if is_number else cell.published.printed


def to_csv(tables: Sequence[ResultTable], card: MetricCard) -> str:
    """All tables of an item in long form: a line a cell that holds anything; full precision."""
    text = io.StringIO()
    writer = csv.DictWriter(text, CSV_FIELDS, lineterminator="\n")
    writer.writeheader()
    for table in tables:
        for row in table.rows:
            for column, cell in zip(table.columns, row.cells, strict=True):
                if cell != Cell():
                    writer.writerow(_csv_line(table, row, column, cell, card))
    return text.getvalue()


def _csv_line(
    table: ResultTable, row: Row, column: Column, cell: Cell, card: MetricCard
) -> dict[str, object]:
    measured, published = cell.measured, cell.published
    unit = measured.unit if measured else published.unit if published else ""
    return {
        "item": table.item,
        "table": table.title,
        "row": row.label,
        "column_group": column.group,
        "column": column.name,
        "unit": unit,
        "measured_mean": measured and measured.mean,
        "measured_std": measured and measured.std,
        "measured_n": measured and measured.n,
        "published_mean": published and published.text,
        "published_std": published and published.std_text,
        "published_n": published and published.n,
        "difference": cell.difference,
        "verdict": cell.verdict,
        "reason": cell.reason,
        "note": cell.note,
        "benchmark": card.benchmark,
        "table_sha256": card.sha256,
    }
