"""Benchmarks that are looked up in another one: NAS-Bench-1Shot1 in NAS-Bench-101.

A view stores no values. Which row of the other benchmark answers for which architecture is worked
out once and kept below NAS_HARNESS_HOME/views.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray

from harness import registry, store
from harness.adapter import View
from harness.arch import ListedSpace
from harness.benchmark import Benchmark, Cost, Slice, Table, map_array
from harness.errors import BrokenStore, UnknownBenchmark
from harness.files import write_atomically
from harness.spaces import listed_space


@dataclass(frozen=True)
class Viewed:
    """The benchmark that a view is looked up in, and what knows how."""

    base: str
    view: View


@cache
def views() -> dict[str, Viewed]:
    """All views, whether their bases are here or not, by name, which is also their space's."""
    offered: list[View] = [registry.get("view", name).offer for name in registry.names("view")]
    return {name: Viewed(base, view) for view in offered for name, base in view.bases.items()}


def load(name: str) -> Table:
    """Opens a view.

    Raises: UnknownBenchmark if the benchmark that it is looked up in is not here; what opening
        that raises.
    """
    asked = views()[name]
    try:
        base = store.load(asked.base)
    except UnknownBenchmark as error:
        raise UnknownBenchmark(
            f"{name} is looked up in {asked.base}, which is not here.",
            f"Import {asked.base}, or another table of its space with --as {asked.base}.",
        ) from error
    return over(name, base)


def over(name: str, base: Benchmark) -> Table:
    """A view of any table, such as one that wraps a live object.

    Raises: InvalidSpec if the base is of another space.
    """
    view, of_space = views()[name].view, listed_space(name)
    rows = _rows(view, base, of_space)
    held = np.flatnonzero(rows >= 0)
    rows = rows[held]
    return Table(
        name=name,
        space=of_space,
        codes=of_space.codes[held],
        indices=held.astype(np.int32),
        holdings=list(base.holdings.values()),
        arrays={at: partial(_values, base, at, rows) for at in base.holdings},
        costs={cost: _cost(base, cost)[rows] for cost in base.costs()},
        roles=base.roles,
        sha256=_sha256(view, base, of_space) if base.sha256 else "",
        citation=f"{view.citation}, on {base.citation}",
    )


def _rows(view: View, base: Benchmark, of_space: ListedSpace) -> NDArray[np.int32]:
    """(size,): the row in the base of every encoding, or -1; kept on disk for stores."""
    if not base.sha256:
        return view.rows(base, of_space)
    folder = store.home() / "views"
    file = folder / f"{of_space.name}-{_sha256(view, base, of_space)[:16]}.npy"
    try:
        return map_array(file, (of_space.size,))
    except BrokenStore:
        rows = view.rows(base, of_space)
    for stale in folder.glob(f"{of_space.name}-*.npy"):
        stale.unlink(missing_ok=True)
    content = io.BytesIO()
    np.save(content, rows, allow_pickle=False)
    write_atomically(file, content.getbuffer())
    return rows


def _sha256(view: View, base: Benchmark, of_space: ListedSpace) -> str:
    """What tells a view from others: its name, its version and its base."""
    return hashlib.sha256(f"{of_space.name} {view.version} {base.sha256}".encode()).hexdigest()


def _values(base: Benchmark, at: Slice, rows: NDArray[np.int32]) -> NDArray[np.float32]:
    return base.values(at)[:, :, rows]


def _cost(base: Benchmark, cost: Cost) -> NDArray[np.float64]:
    return base.cost_column(cost.name, cost.dataset, trained_on=cost.trained_on, epochs=cost.epochs)
