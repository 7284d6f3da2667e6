"""Searches on NAS-Bench-1Shot1's three spaces, looked up in NAS-Bench-101: thesis table 4.7."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from harness.benchmark import Benchmark
from harness.record import Record, RunSpec
from reports.card import card_of
from reports.epoch_curves import table_of
from reports.epoch_quantities import accuracy, value_of
from reports.found_cells import arch_of
from reports.items import TABLE, Artefact, Item
from reports.learnt_cells import COUNTS_NOTE, ONESHOT_CELL, learnt_cells
from reports.published import PublishedValue
from reports.row_search import no_torch, over_runs, specs_of
from reports.stand_in import StandIn, notes, suites_in_words
from reports.supernet_rows import MINI_ONLY
from reports.tables import Cell, Column, Row, compared, from_published

# The thesis's names of the spaces -> ours.
SPACES = {f"NB1Shot1-{number}": f"oneshot1-{number}" for number in (1, 2, 3)}
TEST = accuracy("test")
# Row label -> space, by our name -> the row's runs there.
Searches = Mapping[str, Mapping[str, StandIn]]


def oneshot1_searches_item(
    name: str, title: str, searches: Searches, variants: Searches, footnotes: Sequence[str]
) -> Item:
    """Test accuracy where NAS-Bench-101 is here, and what the cells are in any case.

    searches: of the paper's rows. variants: of rows that the paper does not have.
    """
    rows = {**searches, **variants}
    own = [search for of_spaces in rows.values() for search in of_spaces.values()]

    def requests(benchmark: Benchmark) -> list[RunSpec]:
        return specs_of(own, benchmark)

    def measure(item: Item, benchmark: Benchmark | None, records: Sequence[Record]) -> Artefact:
        assert benchmark is not None
        tables = {name: table_of(name, benchmark) for name in SPACES.values()}

        def cell(value: PublishedValue) -> Cell:
            of_space = SPACES[value.space]
            return _cell(tables[of_space], rows[value.method][of_space], records, value)

        table = from_published(
            item.id,
            item.title,
            item.published(),
            row_of=lambda value: value.method,
            column_of=lambda value: Column("", value.space),
            fill=cell,
        )
        extra = tuple(
            Row(label, tuple(_cell(tables[s], variants[label][s], records) for s in tables))
            for label in variants
        )
        found = {
            f"{label}, {title}": rows[label][of_space]
            for title, of_space in SPACES.items()
            for label in rows
        }
        return Artefact(
            tables=(
                table.and_rows(extra),
                learnt_cells(item.id, "Cells found", found, records, ONESHOT_CELL),
            ),
            card=card_of(
                benchmark,
                datasets=(),
                roles=(),
                extra_slices=[
                    (of_space, str(at))
                    for of_space, table in tables.items()
                    if (at := TEST.at(table)) is not None
                ],
                seeds="of a search, from 0 on",
                selection="the cell of the largest architecture parameters after the last epoch",
                recipe=suites_in_words(own, records),
                n="searches, each with a seed of its own",
            ),
            footnotes=(*footnotes, COUNTS_NOTE, *notes(own, records)),
        )

    return Item(
        name,
        title,
        TABLE,
        "supernet searches on NAS-Bench-1Shot1; test accuracy of NAS-Bench-101",
        space="oneshot1-3",
        problem=lambda benchmark: None if requests(benchmark) else no_torch(),
        requests=requests,
        measure=measure,
        unproven=MINI_ONLY,
        tells_skips=True,
        without_table=True,
    )


def _cell(
    table: Benchmark,
    search: StandIn,
    records: Sequence[Record],
    value: PublishedValue | None = None,
) -> Cell:
    """The test accuracy of what a row's searches chose."""
    reason = search.problem(records) or TEST.cannot(table)
    at = TEST.at(table)
    if reason is None and at is not None:
        found = [value_of(table, arch_of(record), at) for record in search.records(records)]
        held = np.array([accuracy for accuracy in found if not np.isnan(accuracy)])
        if len(held):
            same = search.is_papers(records) and len(table) == table.space.size
            return compared(over_runs(held, "%"), value, same_benchmark=same)
        reason = f"{table.name} holds none of the cells that were found"
    return Cell(None, value, reason=reason or "")
