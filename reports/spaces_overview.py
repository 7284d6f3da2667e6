"""Sizes of the search spaces, counted: thesis table 3.1."""

from __future__ import annotations

from collections.abc import Sequence

from harness.benchmark import Table
from harness.engine import environment
from harness.record import Record
from harness.spaces import space
from reports.card import MetricCard
from reports.items import TABLE, Artefact, Item
from reports.published import PublishedValue
from reports.tables import Cell, Column, compared, from_published
from reports.verdict import Measured

# The thesis' rows -> spaces of the harness that count in the same way.
SPACES = {"NB201": "nb201"}
NOTES = (
    "NAS-Bench-1Shot1: 6,240 and 363,648 count an operation only for blocks whose output is used;"
    " 29,160 counts every encoding. Counted like the other two, space 2 has 16,632.",
)


def overview_item(name: str, title: str) -> Item:
    """Thesis table 3.1; spaces that the harness has are counted."""
    return Item(name, title, TABLE, "the search spaces themselves", measure=_measure)


def _measure(item: Item, benchmark: Table | None, records: Sequence[Record]) -> Artefact:
    table = from_published(
        item.id,
        item.title,
        item.published(),
        row_of=lambda value: value.space,
        column_of=lambda value: Column("", value.metric, 0),
        fill=_cell,
        row_header="Search space",
    )
    card = MetricCard(
        benchmark="none: counted from the definition of the space",
        sha256="",
        slices=(),
        seeds="none",
        selection="none",
        recipe="look-up",
        n="exact counts",
        commit=environment()["commit"],
    )
    return Artefact((table,), card, footnotes=NOTES)


def _cell(value: PublishedValue) -> Cell:
    if value.space not in SPACES:
        return Cell(None, value, reason="this version does not have the space")
    of_space = space(SPACES[value.space])
    counts = {
        "architectures": of_space.size,
        "operations": len({op for row in of_space.groups[0].options for op in row}),
    }
    return compared(Measured(counts[value.metric], unit="count", whole_population=True), value)
