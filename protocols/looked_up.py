"""What a searched cell is worth: looked up after the search, on every data set of a benchmark."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from harness.arch import Arch
from harness.benchmark import Benchmark, Seed, Slice
from harness.errors import HarnessError, UnknownArch

Slices = Mapping[str, Mapping[str, tuple[Slice, Seed]]]


def slices_of(bench: Benchmark, truth_seed: Seed | None, search_seed: Seed | None) -> Slices:
    """Per data set and role, the slice that is looked up and the seed that is meant.

    Raises: HarnessError for a seed that a slice does not hold.
    """
    found: dict[str, dict[str, tuple[Slice, Seed]]] = {}
    for dataset, roles in bench.roles.items():
        truth = bench.holding(roles.truth)
        found[dataset] = {"truth": (truth.slice, truth.check_seed(truth_seed))}
        if roles.search is not None:
            searched = bench.holding(roles.search)
            found[dataset]["search"] = (searched.slice, searched.check_seed(search_seed))
    return found


def no_look_up(
    bench: Benchmark, dataset: str, truth_seed: Seed | None, search_seed: Seed | None
) -> str | None:
    """Why what is searched on a data set cannot be looked up, or None; without roles nothing is."""
    if bench.roles and dataset not in bench.roles:
        return f"{bench.name} declares no roles for {dataset!r}."
    try:
        slices_of(bench, truth_seed, search_seed)
    except HarnessError as error:
        return str(error)
    return None


def worth(bench: Benchmark, arch: Arch, dataset: str, slices: Slices) -> dict[str, Any]:
    """What a record says of a searched cell, as JSON values.

    final_index: the benchmark's own; final_truth: of the data set that was searched on; values: per
    data set and role; slices: what these are of.
    """
    values = values_of(bench, arch, slices)
    return {
        "final_index": index_of(bench, arch),
        "final_truth": values[dataset]["truth"] if values else None,
        "values": values,
        "slices": {
            name: {role: str(at) for role, (at, _) in roles.items()}
            for name, roles in slices.items()
        },
    }


def values_of(bench: Benchmark, arch: Arch, slices: Slices) -> dict[str, dict[str, float | None]]:
    """Per data set and role, in the slice's unit; None where the cell is not held."""
    return {
        dataset: {role: _value(bench, arch, at, seed) for role, (at, seed) in roles.items()}
        for dataset, roles in slices.items()
    }


def _value(bench: Benchmark, arch: Arch, at: Slice, seed: Seed) -> float | None:
    try:
        value = bench.query(arch, at, seed=seed).value
    except UnknownArch:
        return None
    return None if math.isnan(value) else value


def index_of(bench: Benchmark, arch: Arch) -> int | None:
    """The benchmark's own; None where it lists none or does not hold the cell."""
    if bench.is_surrogate:
        return None
    try:
        return int(bench.indices[bench.row(arch)])
    except UnknownArch:
        return None
