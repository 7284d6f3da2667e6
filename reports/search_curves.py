"""Test accuracy of searched cells against a setting of the search, on NAS-Bench-201."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.benchmark import Benchmark
from harness.record import Record, RunSpec
from reports import nb201
from reports.card import card_of
from reports.figures import Curve, CurvePanel, Plot, reached
from reports.items import FIGURE, Artefact, Item
from reports.row_search import RowSearch, no_torch, specs_of
from reports.tables import Cell, Column, ResultTable, Row
from reports.verdict import Measured

# Data set of the benchmark -> (n,) test accuracy of the cells that n searches ended with.
Reached = Mapping[str, NDArray[np.float64]]
FEW_POINTS = 10  # ours: of so many each gets a dot.


@dataclass(frozen=True)
class Line:
    """One curve: a name, and what was reached at each x. reason: why there is nothing."""

    name: str
    points: Mapping[float, Reached]
    reason: str = ""


@dataclass(frozen=True)
class Axis:
    """What the searches differ in; name: of one value of it, in a table."""

    label: str
    name: str
    log: bool = False


@dataclass(frozen=True)
class Kind:
    """How cells are searched, in words; recipe and seeds depend on the benchmark."""

    needs: str
    selection: str
    recipe: Callable[[Benchmark], str]
    seeds: Callable[[Benchmark], str]


def seeds_of_table(benchmark: Benchmark) -> str:
    """Of a benchmark's values and of the searches that are looked up in it."""
    dataset = next(iter(nb201.datasets(benchmark).values()))
    return nb201.seeds_in_words(benchmark, dataset) + "; of a search, from 0 on"


UNTRAINED = Kind(
    "untrained networks of NAS-Bench-201, and the test accuracy of its cells",
    "the cell that a search chose, searched once and looked up on every data set",
    lambda benchmark: "protocol untrained",
    seeds_of_table,
)

Measure = Callable[[Benchmark, Sequence[Sequence[Record]]], list[Line]]


def search_curves_item(
    name: str,
    title: str,
    axis: Axis,
    searches: Sequence[RowSearch],
    measure: Measure,
    *,
    caption: str,
    footnotes: Sequence[str],
    kind: Kind = UNTRAINED,
    unproven: str = "",
) -> Item:
    """A figure with a panel a data set, and its numbers as a table.

    measure: the curves, from the benchmark and the records of each of the searches. unproven: see
    `Item`.
    """

    def requests(benchmark: Benchmark) -> list[RunSpec]:
        return specs_of(searches, benchmark)

    def build(item: Item, benchmark: Benchmark | None, records: Sequence[Record]) -> Artefact:
        assert benchmark is not None
        lines = measure(benchmark, [search.records(records) for search in searches])
        return _artefact(item, benchmark, axis, lines, caption, footnotes, kind)

    return Item(
        name,
        title,
        FIGURE,
        kind.needs,
        space=nb201.SPACE,
        problem=lambda bench: nb201.no_datasets(bench) or (None if requests(bench) else no_torch()),
        requests=requests,
        measure=build,
        unproven=unproven,
        tells_skips=True,
    )


def over_searches(
    benchmark: Benchmark, searches: Mapping[float, RowSearch], shares: Sequence[Sequence[Record]]
) -> tuple[Mapping[float, Reached], str]:
    """What the searches at each x ended with, and why one has nothing to show."""
    points = {}
    for (x, search), records in zip(searches.items(), shares, strict=True):
        if (problem := search.problem(records)) is not None:
            return {}, problem
        points[x] = {
            dataset: search.values(records, dataset, "truth")
            for dataset in nb201.datasets(benchmark).values()
        }
    return points, ""


def _artefact(
    item: Item,
    benchmark: Benchmark,
    axis: Axis,
    lines: Sequence[Line],
    caption: str,
    footnotes: Sequence[str],
    kind: Kind,
) -> Artefact:
    datasets = nb201.datasets(benchmark)
    drawn = [line for line in lines if line.points]
    return Artefact(
        tables=(_table(item, benchmark, axis, lines),),
        card=card_of(
            benchmark,
            datasets=list(datasets.values()),
            roles=("truth",),
            seeds=kind.seeds(benchmark),
            selection=kind.selection,
            recipe=kind.recipe(benchmark),
            n="the searches of each point, as the table's source file says",
        ),
        plots=(_plot(benchmark, axis, drawn, caption),) if drawn else (),
        footnotes=(*footnotes, *nb201.not_the_papers(benchmark)),
    )


def _plot(benchmark: Benchmark, axis: Axis, lines: Sequence[Line], caption: str) -> Plot:
    panels = [
        CurvePanel(nb201.shown(benchmark, title), tuple(_curve(line, dataset) for line in lines))
        for title, dataset in nb201.datasets(benchmark).items()
    ]
    found = [values for line in lines for at in line.points.values() for values in at.values()]
    counts = {int((~np.isnan(values)).sum()) for values in found}
    n_runs = " to ".join(map(str, sorted({min(counts), max(counts)})))
    return reached(
        panels, caption=caption, x_label=axis.label, log_x=axis.log, n_runs=f"{n_runs} searches"
    )


def _curve(line: Line, dataset: str) -> Curve:
    found = [_measured(at[dataset]) for at in line.points.values()]
    return Curve(
        line.name,
        np.array(list(line.points)),
        np.array([measured.mean for measured in found]),
        np.array([np.nan if measured.std is None else measured.std for measured in found]),
        marked=len(found) <= FEW_POINTS,
    )


def _table(item: Item, benchmark: Benchmark, axis: Axis, lines: Sequence[Line]) -> ResultTable:
    datasets = nb201.datasets(benchmark)
    columns = tuple(Column(nb201.shown(benchmark, title), "test") for title in datasets)
    rows = []
    for line in lines:
        if not line.points:
            rows.append(Row(line.name, tuple(Cell(reason=line.reason) for _ in columns)))
        for x, at in line.points.items():
            cells = tuple(Cell(_measured(at[dataset])) for dataset in datasets.values())
            rows.append(Row(f"{line.name}, {axis.name} {x:g}", cells))
    return ResultTable(item.id, item.title, columns, tuple(rows), row_header="Search")


def _measured(values: NDArray[np.float64]) -> Measured:
    """Mean and deviation of what is known; NaN of nothing."""
    held = values[~np.isnan(values)]
    mean = float(held.mean()) if len(held) else float("nan")
    std = float(held.std(ddof=1)) if len(held) > 1 else None
    return Measured(mean, std, len(held), "%")
