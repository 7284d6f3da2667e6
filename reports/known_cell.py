"""Drawings of published cells, for which nothing is searched: thesis figure 3.2."""

from __future__ import annotations

from collections.abc import Sequence

from harness.benchmark import Benchmark
from harness.record import Record
from harness.spaces import space
from reports.card import card_without_benchmark
from reports.cell_drawing import draw
from reports.cell_graphs import graphs
from reports.items import FIGURE, Artefact, Item

# What DARTS (second order) found on CIFAR-10; its code calls it DARTS_V2.
DARTS_V2 = (
    "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0),"
    " ('sep_conv_3x3', 1), ('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0),"
    " ('dil_conv_3x3', 2)], normal_concat=[2, 3, 4, 5], reduce=[('max_pool_3x3', 0),"
    " ('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 1), ('max_pool_3x3', 0),"
    " ('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)],"
    " reduce_concat=[2, 3, 4, 5])"
)
SOURCE = "Liu et al., DARTS, ICLR 2019, and its code, quark0/darts (DARTS_V2)"


def darts_normal_cell_item(name: str, title: str) -> Item:
    """The normal cell of DARTS_V2, as the thesis reprints it from Liu et al."""
    return Item(name, title, FIGURE, "the published genotype alone", measure=_measure)


def _measure(item: Item, benchmark: Benchmark | None, records: Sequence[Record]) -> Artefact:
    normal, _ = graphs(space("darts").parse(DARTS_V2))
    card = card_without_benchmark("a published genotype is drawn", n="one cell", citation=SOURCE)
    caption = "The normal cell that DARTS found on CIFAR-10; labels are operations."
    return Artefact((), card, plots=(draw([normal], caption=caption),))
