"""Drawings of the cells that FreeDARTS finds in the DARTS space: its figures 4 and 5."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from harness import no_table
from harness.benchmark import Benchmark
from harness.record import Record, RunSpec
from reports.card import card_of
from reports.cell_drawing import draw
from reports.cell_graphs import graphs
from reports.figures import Plot
from reports.found_cells import (
    Group,
    arch_of,
    each_search,
    found_cells,
    in_words,
    n_weight_free,
    of_darts,
)
from reports.items import FIGURE, Artefact, Item
from reports.row_search import no_torch
from reports.untrained_rows import Search

SPACE = "darts"
Seeds = Mapping[str, Sequence[int]]
# Skips and poolings in the normal cells of the genotypes that came with the paper's code,
# DARTS_CNN/genotypes.py, for its seeds 0 to 4.
RELEASED_WEIGHT_FREE = {
    "FreeDARTS": (1, 1, 1, 1, 2),
    "FreeDARTS†": (1, 3, 1, 3, 1),
    "FreeDARTS‡": (0, 2, 3, 1, 1),
}
FEW = 2  # The paper: "less than two weight-free operations in the normal cells".
NOTES = (
    "FreeDARTS searches a supernet of 8 cells and 16 channels, FreeDARTS† one of 20 cells, and"
    " FreeDARTS‡ that for ImageNet, of 14 cells and 48 channels, with parameters of half the"
    " deviation. All score by SynFlow as the released code for the DARTS space does; its one input"
    " is an image of ones.",
    "The seeds are those that the paper names. Ours draw other numbers, so these are not the"
    " paper's cells. It found the best of its seeds by training; none of ours was trained.",
    "Weight-free are skips and poolings, of the 8 operations of a normal cell. Parameters are those"
    " of the network of 20 cells and 36 channels that DARTS trains on CIFAR-10, without the"
    " auxiliary head. Seconds are those of one processor core.",
)


def drawings_item(name: str, title: str, searches: Mapping[str, Search], seeds: Seeds) -> Item:
    """One drawing a cell that was found. searches: label -> what is run; seeds: which are drawn."""

    def requests(benchmark: Benchmark) -> list[RunSpec]:
        return [
            spec
            for label, search in searches.items()
            for spec in search.specs(benchmark)
            if spec.seed in seeds[label]
        ]

    def measure(item: Item, benchmark: Benchmark | None, records: Sequence[Record]) -> Artefact:
        assert benchmark is not None
        return _artefact(item, benchmark, each_search(searches, records), seeds)

    return Item(
        name,
        title,
        FIGURE,
        "untrained supernets of the DARTS space",
        space=SPACE,
        problem=lambda benchmark: no_torch(),
        requests=requests,
        measure=measure,
        benchmark=no_table.name_of(SPACE),
        tells_skips=True,
        without_table=True,
    )


def _artefact(item: Item, benchmark: Benchmark, groups: Sequence[Group], seeds: Seeds) -> Artefact:
    found = [group for group in groups if not group.problem]
    return Artefact(
        tables=(found_cells(item.id, item.title, groups, of_darts(0)),),
        card=card_of(
            benchmark,
            datasets=(),
            roles=(),
            seeds=", ".join(group.label for group in groups),
            selection="the cell that a search chose; none was trained",
            recipe="protocol untrained",
            n="one search a cell",
        ),
        plots=tuple(map(_plot, found)),
        footnotes=(*NOTES, _claim(found, seeds), *in_words(found)),
    )


def _plot(group: Group) -> Plot:
    (record,) = group.records
    cells = [
        replace(graph, title=f"{group.label}: {graph.title.lower()}")
        for graph in graphs(arch_of(record))
    ]
    return draw(
        cells,
        caption=f"{group.label}: what was found here. The paper names this seed; in ours it draws"
        " other numbers.",
    )


def _claim(found: Sequence[Group], seeds: Seeds) -> str:
    ours = [n_weight_free(arch_of(record)) for group in found for record in group.records]
    theirs = [RELEASED_WEIGHT_FREE[label][seed] for label, own in seeds.items() for seed in own]
    return (
        "The paper says that all its normal cells have fewer than two weight-free operations. Of"
        f" ours, {_few(ours)} do; of the genotypes of the same seeds that came with its code,"
        f" {_few(theirs)}."
    )


def _few(counts: Sequence[int]) -> str:
    return f"{sum(count < FEW for count in counts)} of {len(counts)}"
