"""Cells that supernet searches end with: BaLeNAS figure 5, thesis figure 4.11."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import cast

import numpy as np

from harness.arch import Arch
from harness.benchmark import Benchmark
from harness.record import Record
from harness.spaces import space
from harness.spaces.darts import N_PAIRS, CellType, DartsSpace
from reports.card import card_of
from reports.cell_drawing import draw
from reports.cell_graphs import graphs
from reports.epoch_quantities import n_blocks_of, oneshot_depth, value_of
from reports.figures import Plot
from reports.found_cells import (
    OF_ONESHOT1,
    Group,
    Quantity,
    arch_of,
    found_cells,
    in_words,
    of_darts,
)
from reports.items import Artefact, Item
from reports.row_search import RowSearch
from reports.stand_in import StandIn, notes, stand_in_item, suites_in_words
from reports.tables import Column, ResultTable


def _skips(arch: Arch) -> float:
    return N_PAIRS * cast(DartsSpace, space(arch.space)).skip_ratio(arch, "normal")


def _depth(name: str, cell: CellType) -> Quantity:
    def of(arch: Arch) -> float:
        return cast(DartsSpace, space(arch.space)).depth(arch, cell)

    return Quantity(Column("depth", name, 1), "", of)


OF_DARTS = (
    _depth("normal cell", "normal"),
    _depth("reduction cell", "reduce"),
    Quantity(Column("", "skips (normal cell)", 1), "", _skips),
    *of_darts(1),
)
ONESHOT_CELL = (
    Quantity(Column("", "depth", 1), "", oneshot_depth),
    Quantity(
        Column("", "3x3 convolutions", 1), "", lambda arch: n_blocks_of(arch, "conv3x3-bn-relu")
    ),
    *OF_ONESHOT1,
)
COUNTS_NOTE = (
    "Cells: mean and deviation over the searches. Depth is the number of edges on the longest path"
    " from an input of the cell to its output."
)


def learnt_cells(
    item: str,
    title: str,
    searches: Mapping[str, RowSearch],
    records: Sequence[Record],
    quantities: Sequence[Quantity],
) -> ResultTable:
    """A row a search: what the cells of its runs are, on average."""
    groups = [
        Group(label, search.records(records), search.problem(records) or "")
        for label, search in searches.items()
    ]
    return found_cells(item, title, groups, quantities)


def learnt_drawings_item(
    name: str, title: str, searches: Mapping[str, StandIn], footnotes: Sequence[str]
) -> Item:
    """A drawing a search in the DARTS space, of the best of its cells where a table tells."""
    own = list(searches.values())

    def measure(item: Item, benchmark: Benchmark, records: Sequence[Record]) -> Artefact:
        done = {
            label: found for label, search in searches.items() if (found := search.done(records))
        }
        groups = [Group(label, found) for label, found in done.items()]
        return Artefact(
            tables=(learnt_cells(item.id, item.title, searches, records, OF_DARTS),),
            card=card_of(
                benchmark,
                datasets=benchmark.datasets if benchmark.roles else (),
                roles=("truth",),
                seeds="of a search, from 0 on",
                selection="what each search chose; none of the cells was trained",
                recipe=suites_in_words(own, records),
                n="searches, each with a seed of its own",
            ),
            plots=tuple(_plot(benchmark, label, found) for label, found in done.items()),
            footnotes=(*footnotes, COUNTS_NOTE, *in_words(groups), *notes(own, records)),
        )

    return stand_in_item(
        name, title, "supernet searches in the DARTS space", "darts", own, measure, has_tables=True
    )


def _plot(benchmark: Benchmark, label: str, found: Sequence[Record]) -> Plot:
    record, why = _chosen(benchmark, found)
    seed = record.identity["seed"]
    cells = [
        replace(graph, title=f"{label}, seed {seed}: {graph.title.lower()}")
        for graph in graphs(arch_of(record))
    ]
    return draw(cells, caption=f"{label}: what was found here with seed {seed}, {why}.")


def _chosen(benchmark: Benchmark, found: Sequence[Record]) -> tuple[Record, str]:
    """The search whose cell is drawn, and why."""
    if benchmark.roles:
        at = next(iter(benchmark.roles.values())).truth
        values = np.array([value_of(benchmark, arch_of(record), at) for record in found])
        if not np.isnan(values).all():
            return found[int(np.nanargmax(values))], f"the best of {len(found)} by {benchmark.name}"
    return found[0], f"the first of {len(found)}, since nothing tells which is the best"
