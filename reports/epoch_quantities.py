"""Numbers that a search has after every epoch: what curves against the epoch are of."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from harness.arch import Arch
from harness.benchmark import Benchmark, Slice
from harness.errors import UnknownArch
from harness.record import Record
from harness.spaces import space
from harness.spaces.darts import CELL_TYPES, N_PAIRS, CellType, DartsSpace
from harness.spaces.oneshot1 import OPS, OneShotSpace
from reports import nb201, reasons
from reports.cell_depth import depth
from reports.cell_graphs import graphs

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Quantity:
    """A number that a search has after every epoch.

    label: what it is, for an axis. digits: decimals in a table. of: from a finished record and a
    benchmark of its space, (n_epochs + 1,) from before the first epoch on, NaN where it is not
    known. lowest: the least that it can be. at: the slice of the benchmark that is looked up, where
    one is. cannot: why a benchmark has nothing to say of it, or None.
    """

    label: str
    digits: int
    of: Callable[[Record, Benchmark], Values]
    unit: str = ""
    lowest: float = -math.inf
    at: Callable[[Benchmark], Slice | None] = lambda benchmark: None
    cannot: Callable[[Benchmark], str | None] = lambda benchmark: None


def _of_cells(label: str, of: Callable[[Arch], float], digits: int = 1) -> Quantity:
    """Of the cell that the architecture parameters give after every epoch."""

    def values(record: Record, benchmark: Benchmark) -> Values:
        return np.array([of(arch) for arch in archs(record)], dtype=np.float64)

    return Quantity(label, digits, values, lowest=0)


def archs(record: Record) -> list[Arch]:
    """What a search's parameters give before the first epoch and after every one."""
    of_space = space(record.identity["space"])
    return [of_space.parse(at["arch"]) for at in record.result["track"]]


def oneshot_depth(arch: Arch) -> int:
    """Edges on the longest path through a NAS-Bench-1Shot1 cell."""
    (cell,) = graphs(arch)
    return depth(cell)


def _darts(arch: Arch) -> DartsSpace:
    return cast(DartsSpace, space(arch.space))


def n_skips(arch: Arch) -> float:
    """Of the 16 operations of both cells of the DARTS family."""
    return N_PAIRS * sum(_darts(arch).skip_ratio(arch, cell) for cell in CELL_TYPES)


def n_blocks_of(arch: Arch, op: str) -> int:
    """How many choice blocks of a NAS-Bench-1Shot1 cell have an operation, used or not."""
    n_blocks = cast(OneShotSpace, space(arch.space)).n_blocks
    return sum(OPS[chosen] == op for chosen in arch.code[:n_blocks])


def depth_in(cell: CellType) -> Quantity:
    """Of a cell of the DARTS family, 2 to 5."""
    name = {"normal": "normal", "reduce": "reduction"}[cell]
    return _of_cells(f"Depth of the\n{name} cell", lambda arch: _darts(arch).depth(arch, cell))


def blocks_with(op: str) -> Quantity:
    """Of the blocks of a NAS-Bench-1Shot1 cell."""
    return _of_cells(f"Blocks with\n{op}", lambda arch: n_blocks_of(arch, op))


def measured(
    names: Sequence[str],
    label: str,
    of: Callable[[float], float] = float,
    lowest: float = -math.inf,
) -> Quantity:
    """A diagnostic that the search measured after every epoch; of several names, the first."""

    def values(record: Record, benchmark: Benchmark) -> Values:
        told = [at["measured"] for at in record.result["curves"]]
        name = next((name for name in names if name in told[0]), None)
        found = [None if name is None else at[name] for at in told]
        return np.array([np.nan if value is None else of(value) for value in found])

    return Quantity(label, 3, values, lowest=lowest)


def accuracy(split: str | None = None, *, error: bool = False) -> Quantity:
    """What a table says of the cells: the accuracy that it calls true, or that on a split.

    error: 100 minus that.
    """

    def at(benchmark: Benchmark) -> Slice | None:
        return _slice(benchmark, split)

    def values(record: Record, benchmark: Benchmark) -> Values:
        found = at(benchmark)
        if found is None:
            return np.full(len(record.result["track"]), np.nan)
        looked_up = _looked_up(record, benchmark, found)
        return 100 - looked_up if error else looked_up

    def cannot(benchmark: Benchmark) -> str | None:
        if not benchmark.roles:
            return reasons.no_benchmark(benchmark.space.name)
        return None if at(benchmark) is not None else f"{benchmark.name} has no {split} accuracy"

    kind = "error" if error else "accuracy"
    words = {None: "Accuracy", "valid": f"Validation {kind}"}.get(split, f"Test {kind}")
    label = f"{words} of the cell (%)"
    return Quantity(label, 2, values, "%", lowest=0, at=at, cannot=cannot)


def _slice(benchmark: Benchmark, split: str | None) -> Slice | None:
    """Of the first data set: the true accuracy, or that on a split after the longest training."""
    if not benchmark.roles:
        return None
    roles = next(iter(benchmark.roles.values()))
    if split is None:
        return roles.truth
    return next(
        (s for s in (roles.truth, roles.search) if s is not None and s.split == split), None
    )


def _looked_up(record: Record, benchmark: Benchmark, at: Slice) -> Values:
    """As the record has it where the search was run on this benchmark, else asked for now."""
    if record.identity["benchmark"] == benchmark.name:
        roles = benchmark.roles[at.dataset]
        role = "truth" if at == roles.truth else "search"
        own = [held["values"][at.dataset][role] for held in record.result["track"]]
        return np.array(own, dtype=np.float64)
    tracked = archs(record)
    known = {arch: value_of(benchmark, arch, at) for arch in dict.fromkeys(tracked)}
    return np.array([known[arch] for arch in tracked])


def value_of(benchmark: Benchmark, arch: Arch, at: Slice) -> float:
    """Of one cell, the mean over the table's seeds; NaN for a cell that is not held.

    Cells of S1 to S4 are cells of the DARTS space too.
    """
    theirs = benchmark.space
    if arch.space != theirs.name and isinstance(theirs, DartsSpace):
        arch = theirs.of_genotype(_darts(arch).genotype(arch))
    try:
        return benchmark.query(arch, at, seed=nb201.seed_of(benchmark, at)).value
    except UnknownArch:
        return math.nan


SKIP_SHARE = _of_cells(
    "Share of skips\nin the normal cell", lambda arch: _darts(arch).skip_ratio(arch, "normal"), 3
)
SKIPS = _of_cells("Skips of 16 operations", n_skips)
ONESHOT_DEPTH = _of_cells("Depth of the cell", oneshot_depth)
EIGENVALUE = measured(["eigenvalue"], "Dominant eigenvalue")
SPECTRAL_NORM = measured(["eigenvalue"], "Dominant eigenvalue,\nabsolute", abs, lowest=0)
TRACE = measured(["trace", "trace_estimate"], "Trace")
