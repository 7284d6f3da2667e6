"""Sizes of the search spaces, counted: thesis table 3.1."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from harness.benchmark import Benchmark
from harness.record import Record
from harness.spaces import space
from harness.spaces.oneshot1 import OneShotSpace
from reports.card import card_without_benchmark
from reports.items import TABLE, Artefact, Item
from reports.published import PublishedValue
from reports.tables import Cell, Column, ResultTable, Row, compared, from_published
from reports.verdict import Measured

# The thesis' rows -> space, and by what rule its architectures are counted there.
SPACES = {
    "NB201": ("nb201", "encodings"),
    "DARTS": ("darts", "encodings"),
    "NB1Shot1-1": ("oneshot1-1", "used"),
    "NB1Shot1-2": ("oneshot1-2", "encodings"),
    "NB1Shot1-3": ("oneshot1-3", "used"),
}
RULES = {
    "encodings": "all encodings",
    "used": "operations only of blocks that are anybody's parent",
    "connected": "operations only of blocks between input and output",
    "whole": "encodings without a loose end",
    "graphs": "pruned graphs with their operations",
    "cells": "distinct cells of NAS-Bench-101",
}
NOTES = (
    "The three numbers for NAS-Bench-1Shot1, which the thesis reprints, are by two rules: 6,240 and"
    " 363,648 count an operation only for blocks whose output is used, 29,160 counts every"
    " encoding. Each is measured here by its own rule; the second table has all of them.",
    "DARTS is the number of distinct pairs of cells with 7 operations (none is never kept).",
)


def overview_item(name: str, title: str) -> Item:
    """Thesis table 3.1; spaces that the harness has are counted."""
    return Item(name, title, TABLE, "the search spaces themselves", measure=_measure)


def _measure(item: Item, benchmark: Benchmark | None, records: Sequence[Record]) -> Artefact:
    table = from_published(
        item.id,
        item.title,
        item.published(),
        row_of=lambda value: value.space,
        column_of=lambda value: Column("", value.metric, 0),
        fill=_cell,
        row_header="Search space",
    )
    card = card_without_benchmark("counted from the definition of the space", n="exact counts")
    return Artefact((table, _one_shot_table(item)), card, footnotes=NOTES)


def _cell(value: PublishedValue) -> Cell:
    name, rule = SPACES[value.space]
    if value.metric == "operations":
        count = len({op for row in space(name).groups[0].options for op in row})
    else:
        count = _counts(name)[rule]
    return compared(_count(count), value)


def _count(count: int) -> Measured:
    return Measured(count, unit="count", whole_population=True)


@cache
def _counts(name: str) -> dict[str, int]:
    of_space = space(name)
    if isinstance(of_space, OneShotSpace):
        return of_space.counts()
    return {"encodings": of_space.size}


def _one_shot_table(item: Item) -> ResultTable:
    names = [name for name, _ in SPACES.values() if name.startswith("oneshot1")]
    rows = tuple(
        Row(meaning, tuple(Cell(_count(_counts(name)[rule])) for name in names))
        for rule, meaning in RULES.items()
    )
    columns = tuple(Column("", name, 0) for name in names)
    return ResultTable(item.id, "NAS-Bench-1Shot1 by rule", columns, rows, row_header="Counted")
