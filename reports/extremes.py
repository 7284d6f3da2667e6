"""The rows that need nothing but the table: the average cell ("random") and the best ("optimal").

BaLeNAS tables 1 and 5, FreeDARTS table 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness.benchmark import Benchmark, Slice
from harness.record import Record, RunSpec
from reports import nb201
from reports.card import card_of, holds
from reports.items import TABLE, Artefact, Item
from reports.published import PublishedValue
from reports.row_search import RowSearch, specs_of
from reports.spent import spent_table
from reports.supernet_rows import recipes_in_words
from reports.tables import Cell, Column, ResultTable, Row, compared, from_published
from reports.verdict import EXACT, Measured

RANDOM, OPTIMAL = "Random baseline", "optimal"
ACCURACY = "accuracy"
OPTIMAL_RULE = (
    '"optimal" is the largest value of each column by itself, over all cells of the table;'
    " no single cell has them all."
)
RANDOM_RULE = (
    '"Random baseline" is measured as the exact mean and the population standard deviation'
    " (ddof = 0) over all cells of the table; n is the number of cells. The papers print the mean"
    " of a finite sample whose size they do not state."
)
MISPRINT = (
    "The papers print 74.49 for the optimal CIFAR-100 valid accuracy. It is read as a misprint of"
    " 73.49: the cell that DrNAS finds reaches 73.49 there and, with 73.51, the test optimum."
)


def extremes_item(
    name: str,
    title: str,
    waits: Mapping[str, str],
    *,
    searches: Mapping[str, RowSearch] | None = None,
    variants: Mapping[str, RowSearch] | None = None,
    best_of: Mapping[str, str] | None = None,
    footnotes: Sequence[str] = (),
    unproven: str = "",
) -> Item:
    """A NAS-Bench-201 comparison whose rows `RANDOM` and `OPTIMAL` are measured.

    searches: row label -> the searches of the row. variants: likewise, of rows below that the paper
    does not have. best_of: row label -> the row whose best single run it shows. waits: row label ->
    why it is not run yet, for all other rows. unproven: see `Item`.
    """
    rows = Rows(waits, searches or {}, variants or {}, best_of or {})

    def requests(benchmark: Benchmark) -> list[RunSpec]:
        return specs_of(rows.all.values(), benchmark)

    def measure(item: Item, benchmark: Benchmark | None, records: Sequence[Record]) -> Artefact:
        assert benchmark is not None
        return _extremes(item, benchmark, rows, records, footnotes)

    return Item(
        name,
        title,
        TABLE,
        "validation and test accuracy of all cells of NAS-Bench-201 on three data sets",
        space=nb201.SPACE,
        problem=nb201.no_datasets,
        requests=requests,
        measure=measure,
        unproven=unproven,
        tells_skips=True,
    )


@dataclass(frozen=True)
class Rows:
    """What each row of the table is made from; see `extremes_item`."""

    waits: Mapping[str, str]
    searches: Mapping[str, RowSearch]
    variants: Mapping[str, RowSearch]
    best_of: Mapping[str, str]

    @property
    def all(self) -> dict[str, RowSearch]:
        """Every row that is searched."""
        return {**self.searches, **self.variants}


@dataclass(frozen=True)
class Maximum:
    """The largest value of a column and where it is: the first index, and how many reach it."""

    column: str
    value: float
    index: int
    arch: str
    n_ties: int


def _extremes(
    item: Item,
    benchmark: Benchmark,
    rows: Rows,
    records: Sequence[Record],
    footnotes: Sequence[str],
) -> Artefact:
    def fill(value: PublishedValue) -> Cell:
        return _cell(value, benchmark, rows, records)

    table = from_published(
        item.id,
        item.title,
        item.published(),
        row_of=lambda value: value.method,
        column_of=lambda value: _column(value, benchmark),
        fill=fill,
    )
    own = [
        Row(label, _variant(search, table, benchmark, records))
        for label, search in rows.variants.items()
    ]
    table = table.and_rows(own)
    datasets = list(nb201.datasets(benchmark).values())
    spent = spent_table(item.id, rows.all, records)
    return Artefact(
        tables=(table,) if spent is None else (table, spent),
        card=card_of(
            benchmark,
            datasets=datasets,
            roles=("search", "truth"),
            seeds=nb201.seeds_in_words(benchmark, datasets[0]),
            selection='none for "Random baseline"; column-wise maximum for "optimal"; the cell that'
            " a search chose",
            n=f"{holds(benchmark)}, fewer where a cell was never measured; of a search, its seeds",
            recipe=recipes_in_words(rows.all, benchmark),
        ),
        footnotes=(
            *_rules(benchmark, table),
            *footnotes,
            *_table_notes(item.published()),
            *nb201.not_the_papers(benchmark),
        ),
    )


def _column(value: PublishedValue, benchmark: Benchmark) -> Column:
    if value.metric == ACCURACY:
        return Column(nb201.shown(benchmark, value.dataset), value.split)
    return Column("", f"{value.metric} ({value.unit})")


def _cell(
    value: PublishedValue, benchmark: Benchmark, rows: Rows, records: Sequence[Record]
) -> Cell:
    if value.method in rows.waits:
        return Cell(None, value, reason=rows.waits[value.method])
    search = rows.searches.get(rows.best_of.get(value.method, value.method))
    if search is not None and (problem := search.problem(records)) is not None:
        return Cell(None, value, reason=problem)
    if value.metric != ACCURACY:
        return Cell(None, value)
    dataset = nb201.datasets(benchmark).get(value.dataset)
    at = _slice(benchmark, dataset, value.split)
    if dataset is None or at is None:
        missing = f"{value.dataset} {value.split} accuracy"
        return Cell(None, value, reason=f"{benchmark.name} has no {missing}")
    same = nb201.is_the_papers(benchmark, dataset)
    role = nb201.ROLES[value.split]
    if search is None:
        measured = _measured(benchmark, at, value.method)
    elif value.method in rows.best_of:
        values = search.values(records, dataset, role)
        measured = Measured(float(values.max()), None, len(values), "%")
    else:
        measured = search.measured(records, dataset, role)
    return compared(measured, value, same_benchmark=same)


def _variant(
    search: RowSearch, table: ResultTable, benchmark: Benchmark, records: Sequence[Record]
) -> tuple[Cell, ...]:
    """A row that the paper does not have."""
    names = {nb201.shown(benchmark, t): held for t, held in nb201.datasets(benchmark).items()}
    problem = search.problem(records)
    cells = []
    for column in table.columns:
        if column.group not in names:
            cells.append(Cell())
        elif problem is not None:
            cells.append(Cell(reason=problem))
        else:
            role = nb201.ROLES[column.name]
            cells.append(Cell(search.measured(records, names[column.group], role)))
    return tuple(cells)


def _slice(benchmark: Benchmark, dataset: str | None, split: str) -> Slice | None:
    roles = benchmark.roles.get(dataset) if dataset is not None else None
    found: Slice | None = getattr(roles, nb201.ROLES[split], None)
    return found


def _measured(benchmark: Benchmark, at: Slice, method: str) -> Measured:
    values = benchmark.column(at, seed=nb201.seed_of(benchmark, at)).astype(np.float64)
    held = values[~np.isnan(values)]
    unit = benchmark.holding(at).unit
    if method == OPTIMAL:
        return Measured(float(held.max()), None, len(held), unit, whole_population=True)
    mean, std = math.fsum(held) / len(held), float(held.std(ddof=0))
    return Measured(mean, std, len(held), unit, whole_population=True)


def _rules(benchmark: Benchmark, table: ResultTable) -> list[str]:
    """What the two rows that need no search are, where the table has them."""
    labels = {row.label for row in table.rows}
    rules = [RANDOM_RULE] if RANDOM in labels else []
    if OPTIMAL in labels:
        rules += [OPTIMAL_RULE, *_maxima_notes(benchmark, table), MISPRINT]
    return rules


def _maxima_notes(benchmark: Benchmark, table: ResultTable) -> list[str]:
    """Where each maximum is, and where it differs from what the paper prints."""
    notes = []
    of_group = {nb201.shown(benchmark, t): name for t, name in nb201.datasets(benchmark).items()}
    for column in table.columns:
        cell = table.cell(OPTIMAL, column.title)
        if cell.measured is None:
            continue
        at = _slice(benchmark, of_group[column.group], column.name)
        assert at is not None
        found = _maximum(benchmark, at, column.title)
        ties = f", the first of {found.n_ties} cells that reach it" if found.n_ties > 1 else ""
        note = f"{found.column}: {found.value:.4f} at index {found.index}{ties}, `{found.arch}`."
        if cell.published is not None and cell.published.text and cell.verdict != EXACT:
            note += f" The paper prints {cell.published.text}."
        notes.append(note)
    return notes


def _maximum(benchmark: Benchmark, at: Slice, column: str) -> Maximum:
    values = benchmark.column(at, seed=nb201.seed_of(benchmark, at))
    row = int(np.nanargmax(values))
    return Maximum(
        column,
        float(values[row]),
        int(benchmark.indices[row]),
        benchmark.space.format(benchmark.archs[row]),
        int((values == values[row]).sum()),
    )


def _table_notes(values: Sequence[PublishedValue]) -> list[str]:
    """What is known of single published rows, once each."""
    rows: dict[str, list[str]] = {}
    for value in values:
        # Notes that only repeat what the card and the rules above say are left out.
        if value.note and not value.note.startswith(("baseline row", "oracle row", "paper:")):
            rows.setdefault(value.note, []).append(value.method)
    return [
        f"Published {', '.join(dict.fromkeys(methods))}: {note}." for note, methods in rows.items()
    ]
