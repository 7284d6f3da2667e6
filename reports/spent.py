"""What supernet searches spent: the table beside every comparison of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from harness.record import Record
from reports.row_search import RowSearch, over_runs
from reports.supernet_rows import Searched
from reports.tables import Cell, Column, ResultTable, Row


class Quantity(NamedTuple):
    """A number of every finished search."""

    column: Column
    unit: str
    of: Callable[[Record], float]


def _count(name: str) -> Callable[[Record], float]:
    return lambda record: float(record.result["counts"][name])


QUANTITIES = (
    Quantity(Column("", "image-passes", 0), "", _count("image_passes")),
    Quantity(Column("", "weight steps", 0), "", _count("weight_steps")),
    Quantity(Column("", "arch steps", 0), "", _count("arch_steps")),
    Quantity(Column("", "images measured", 0), "", _count("evaluated")),
    Quantity(Column("", "cells scored", 0), "", _count("scored")),
    Quantity(Column("", "seconds", 0), "s", lambda record: record.result["search_seconds"]),
)
SPENT_NOTE = (
    "An image-pass is one image through one forward and backward pass, look-aheads and steps of the"
    " parameters included. Images measured only went forwards, in a selection or a controller's"
    " steps; cells scored are those of a proxy. Seconds are wall clock, one processor core, of the"
    " machine that made the records; it did other work besides."
)


def spent_table(
    item: str, searches: Mapping[str, RowSearch], records: Sequence[Record]
) -> ResultTable | None:
    """A row a supernet search: means over its runs; None where none was finished."""
    rows = []
    for label, search in searches.items():
        done = search.done(records)
        if isinstance(search, Searched) and done:
            values = [np.array([q.of(r) for r in done], dtype=np.float64) for q in QUANTITIES]
            cells = [
                Cell(over_runs(held, quantity.unit))
                for quantity, held in zip(QUANTITIES, values, strict=True)
            ]
            rows.append(Row(label, tuple(cells)))
    if not rows:
        return None
    columns = tuple(quantity.column for quantity in QUANTITIES)
    return ResultTable(item, "What a search spent", columns, tuple(rows), (SPENT_NOTE,))
