"""NAS-Bench-1Shot1: the encodings of its three spaces, looked up in NAS-Bench-101.

Source: Zela, Siems and Hutter, "NAS-Bench-1Shot1: Benchmarking and Dissecting One-shot Neural
Architecture Search", ICLR 2020. It trained nothing: every encoding is a cell of NAS-Bench-101.
"""

from __future__ import annotations

import hashlib
from functools import partial

import numpy as np
from numpy.typing import NDArray

from harness.benchmark import Cost, Slice, Table
from harness.errors import InvalidSpec
from harness.spaces.nb101 import CellSpace
from harness.spaces.oneshot1 import OneShotSpace

CITATION = "Zela, Siems and Hutter, NAS-Bench-1Shot1, ICLR 2020, on "


def view(base: Table, of_space: OneShotSpace) -> Table:
    """All encodings whose cell a NAS-Bench-101 table holds, with that cell's values.

    Many encodings are one cell, so they share values and parameters, which are those of the
    network that NAS-Bench-101 trained. Arrays are gathered when they are first asked for.
    Raises: InvalidSpec if `base` is no table of NAS-Bench-101.
    """
    if not isinstance(base.space, CellSpace):
        raise InvalidSpec(
            f"{base.name} holds archs of {base.space.name}.",
            f"{of_space.name} is looked up in a table of nb101.",
        )
    rows = cell_rows(base, of_space)
    held = np.flatnonzero(rows >= 0)
    rows = rows[held]
    return Table(
        name=of_space.name,
        space=of_space,
        codes=of_space.codes[held],
        indices=held.astype(np.int32),
        holdings=list(base.holdings.values()),
        arrays={at: partial(_gathered, base, at, rows) for at in base.holdings},
        costs={cost: _cost(base, cost)[rows] for cost in base.costs()},
        roles=base.roles,
        sha256=hashlib.sha256(f"{of_space.name} {base.sha256}".encode()).hexdigest(),
        citation=CITATION + base.citation,
    )


def cell_rows(base: Table, of_space: OneShotSpace) -> NDArray[np.intp]:
    """(size,): the row of every encoding's cell in a NAS-Bench-101 table, -1 where it has none."""
    cells = base.space
    assert isinstance(cells, CellSpace)
    held = cells.numbers(cells.canonical_codes(base.codes))
    asked = cells.numbers(cells.canonical_codes(of_space.nb101_codes(of_space.codes)))
    order = np.argsort(held)
    places = np.minimum(np.searchsorted(held[order], asked), len(held) - 1)
    rows = order[places]
    return np.where(held[rows] == asked, rows, -1)


def _cost(base: Table, cost: Cost) -> NDArray[np.float64]:
    return base.cost_column(cost.name, cost.dataset, trained_on=cost.trained_on, epochs=cost.epochs)


def _gathered(base: Table, at: Slice, rows: NDArray[np.intp]) -> NDArray[np.float32]:
    return base.values(at)[:, :, rows]
