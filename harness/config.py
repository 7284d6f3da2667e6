"""Suites: TOML files that spell out runs.

title = "What this suite is for"
[setting]                              # of all runs; those of a run come on top, table by table
[[run]]
protocol = "blackbox"
method = ["random_search", "rea"]      # a name or a list
benchmark = "nb201"                    # may be left out where the command names one
label = "REA"                          # what tables call it; the method's name if left out
seeds = 500                            # 0..499, or a list
named_only = true                      # left out where a command puts another method in
[run.setting]                          # the same for all
role = "short"
[run.sweep]                            # every combination
dataset = ["cifar10", "cifar100"]
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness import registry
from harness.engine import Protocol
from harness.errors import InvalidSpec, MissingPackage, unknown
from harness.files import canonical_json
from harness.record import RunSpec

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

EVERY = "*"
RUN_KEYS = {
    "protocol",
    "method",
    "benchmark",
    "label",
    "seeds",
    "setting",
    "sweep",
    "named_only",
}
SUITE_KEYS = {"title", "setting", "run"}


def suites() -> dict[str, Path]:
    """Shipped suites by name, such as `published/thesis_table4_6`."""
    folder = registry.recipes_folder()
    return {
        path.relative_to(folder).with_suffix("").as_posix(): path
        for path in sorted(folder.rglob("*.toml"))
    }


def read_suite(
    name: str, *, benchmark: str | None = None, method: str | None = None
) -> list[RunSpec]:
    """The runs of a shipped suite or of a .toml file.

    benchmark, method: replace what the file names, so that one suite serves every benchmark and
    a new method runs exactly as the others do.
    Raises: UnknownName, InvalidSpec with file and place.
    """
    return [spec for _, spec in _labelled(name, benchmark, method)]


def read_labelled(name: str, *, benchmark: str | None = None) -> dict[str, list[RunSpec]]:
    """The same runs by their labels. Raises: as `read_suite`."""
    found: dict[str, list[RunSpec]] = {}
    for label, spec in _labelled(name, benchmark, None):
        found.setdefault(label, []).append(spec)
    return found


def _labelled(name: str, benchmark: str | None, method: str | None) -> list[tuple[str, RunSpec]]:
    if name.endswith(".toml"):
        path = Path(name)
    elif name in suites():
        path = suites()[name]
    else:
        raise unknown("suite", name, suites(), "A file of your own works too: PATH.toml.")
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidSpec(f"{path} cannot be read: {error}.") from error
    runs = content.get("run")
    if not isinstance(runs, list) or not runs:
        raise InvalidSpec(f"{path} has no [[run]].")
    if foreign := sorted(set(content) - SUITE_KEYS):
        raise InvalidSpec(f"{path}: unknown key {foreign[0]!r}.", f"Keys: {sorted(SUITE_KEYS)}.")
    common = _table(f"{path}, setting", content.get("setting", {}))
    found = []
    for position, entry in enumerate(runs, start=1):
        place = f"{path}, [[run]] number {position}"
        entry = _table(place, entry)
        for spec in _expand(place, entry, common, benchmark, method):
            found.append((str(entry.get("label") or spec.method or spec.protocol), spec))
    return found


def _expand(
    place: str,
    entry: dict[str, Any],
    common: dict[str, Any],
    benchmark: str | None,
    method: str | None,
) -> list[RunSpec]:
    if foreign := sorted(set(entry) - RUN_KEYS):
        raise InvalidSpec(f"{place}: unknown key {foreign[0]!r}.", f"Keys: {sorted(RUN_KEYS)}.")
    protocol = entry.get("protocol")
    if method is not None and entry.get("named_only", False):
        return []
    benchmarks = [benchmark] if benchmark else _as_list(entry.get("benchmark"))
    if not isinstance(protocol, str) or not benchmarks:
        raise InvalidSpec(f"{place} needs a protocol and a benchmark.")
    methods = _methods(place, protocol, _as_list(entry.get("method")), method)
    sweep = _table(f"{place}, sweep", entry.get("sweep", {}))
    fixed = _merged(common, _table(f"{place}, setting", entry.get("setting", {})))
    settings = [
        _merged(fixed, dict(zip(sweep, values, strict=True)))
        for values in itertools.product(*(_as_list(values) for values in sweep.values()))
    ]
    seeds = _seeds(place, entry.get("seeds", 1))
    return [
        RunSpec(protocol, bench, seed, name, setting)
        for bench, name, setting, seed in itertools.product(benchmarks, methods, settings, seeds)
    ]


def _merged(common: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Both tables, what is their own on top; tables in them likewise."""
    tables = {
        name: _merged(common[name], value)
        for name, value in own.items()
        if isinstance(value, dict) and isinstance(common.get(name), dict)
    }
    return {**common, **own, **tables}


def _table(place: str, value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidSpec(f"{place} is not a table.", "Write [[run]] with [run.setting] below it.")
    try:
        canonical_json(value)
    except (TypeError, ValueError) as error:
        raise InvalidSpec(f"{place} holds a value that no record can hold: {error}.") from error
    return value


def _methods(
    place: str, protocol: str, named: list[Any], instead: str | None
) -> Sequence[str | None]:
    try:
        offer = registry.get("protocol", protocol).offer
    except MissingPackage:
        if instead is not None or named in ([], [EVERY]):
            raise
        return named  # Records of such runs may have been packed elsewhere.
    if not offer.takes_method:
        if named or instead:
            raise InvalidSpec(f"{place}: the protocol {protocol} takes no method.")
        return [None]
    if instead is not None:
        return [instead]
    if named != [EVERY]:
        return named
    return [name for name in registry.names("method") if _is_accepted(offer, name)]


def _is_accepted(protocol: Protocol, method: str) -> bool:
    """Whether a protocol that can run here takes the method; one that cannot be imported: no."""
    try:
        return protocol.accepts(registry.get("method", method).offer)
    except MissingPackage:
        return False


def _seeds(place: str, seeds: object) -> Sequence[int]:
    if isinstance(seeds, int) and not isinstance(seeds, bool) and seeds > 0:
        return range(seeds)
    if isinstance(seeds, list) and seeds and all(type(s) is int and s >= 0 for s in seeds):
        return seeds
    raise InvalidSpec(f"{place}: seeds is a count or a list of whole numbers, not {seeds!r}.")


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]
