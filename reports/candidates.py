"""Which benchmark an item is made on."""

from __future__ import annotations

from collections.abc import Sequence

from harness import store
from harness.benchmark import Benchmark
from harness.errors import HarnessError


def candidates(space: str, preferred: Sequence[str] = ()) -> list[str]:
    """Names of the benchmarks of a space that are here, best first.

    Those that are preferred, in that order; the space's namesake, which is what a user's alias or
    a view is; those that hold all of it; the others by name; then what ships with the project.
    """
    found = []
    for name, target in store.names().items():
        if store.is_view(name):
            if name == space:
                found.append(((len(preferred), False, False, 0, name), name))
            continue
        try:
            manifest = store.manifest(name)
        except HarnessError:
            continue  # A damaged store is the business of doctor; here another may do.
        is_namesake = name == space
        if manifest["space"] == space and (is_namesake or target is None):
            place = preferred.index(name) if name in preferred else len(preferred)
            ships = bool(manifest["provenance"].get("shipped"))
            found.append(((place, not is_namesake, ships, -int(manifest["n_archs"]), name), name))
    return [name for _, name in sorted(found)]


def best(space: str, preferred: Sequence[str] = ()) -> Benchmark | None:
    """The first of the candidates, opened; None where there is none."""
    names = candidates(space, preferred)
    return store.load(names[0]) if names else None
