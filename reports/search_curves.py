"""Test accuracy of searched cells against a setting of the search: FreeDARTS figures 1 to 3."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.benchmark import Benchmark
from harness.record import Record, RunSpec
from reports import nb201
from reports.card import card_of
from reports.figures import Curve, CurvePanel, Plot, reached
from reports.items import FIGURE, Artefact, Item
from reports.row_search import no_torch
from reports.tables import Cell, Column, ResultTable, Row
from reports.untrained_rows import Search
from reports.verdict import Measured

# Data set of the benchmark -> (n,) test accuracy of the cells that n searches ended with.
Reached = Mapping[str, NDArray[np.float64]]


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


Measure = Callable[[Benchmark, Sequence[Sequence[Record]]], list[Line]]


def search_curves_item(
    name: str,
    title: str,
    axis: Axis,
    searches: Sequence[Search],
    measure: Measure,
    *,
    caption: str,
    footnotes: Sequence[str],
    unproven: str = "",
) -> Item:
    """A figure with a panel a data set, and its numbers as a table.

    measure: the curves, from the benchmark and the records of each of the searches. unproven: see
    `Item`.
    """

    def requests(benchmark: Benchmark) -> list[RunSpec]:
        return [spec for search in searches for spec in search.specs(benchmark)]

    def build(item: Item, benchmark: Benchmark | None, records: Sequence[Record]) -> Artefact:
        assert benchmark is not None
        lines = measure(benchmark, list(_shares(searches, records)))
        return _artefact(item, benchmark, axis, lines, caption, footnotes)

    return Item(
        name,
        title,
        FIGURE,
        "untrained networks of NAS-Bench-201, and the test accuracy of its cells",
        space=nb201.SPACE,
        problem=lambda benchmark: nb201.no_datasets(benchmark) or no_torch(),
        requests=requests,
        measure=build,
        unproven=unproven,
        tells_skips=True,
    )


def over_searches(
    benchmark: Benchmark, searches: Mapping[float, Search], shares: Sequence[Sequence[Record]]
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


def _shares(searches: Sequence[Search], records: Sequence[Record]) -> Iterator[Sequence[Record]]:
    """The records of each of the searches, which were asked for one after the other."""
    start = 0
    for search in searches:
        yield records[start : start + search.n_seeds]
        start += search.n_seeds


def _artefact(
    item: Item,
    benchmark: Benchmark,
    axis: Axis,
    lines: Sequence[Line],
    caption: str,
    footnotes: Sequence[str],
) -> Artefact:
    datasets = nb201.datasets(benchmark)
    drawn = [line for line in lines if line.points]
    return Artefact(
        tables=(_table(item, benchmark, axis, lines),),
        card=card_of(
            benchmark,
            datasets=list(datasets.values()),
            roles=("truth",),
            seeds=nb201.seeds_in_words(benchmark, next(iter(datasets.values())))
            + "; of a search, from 0 on",
            selection="the cell that a search chose, searched once and looked up on every data set",
            recipe="protocol untrained",
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
