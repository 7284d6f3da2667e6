"""Suites: TOML files that spell out runs.

title = "What this suite is for"
[[run]]
protocol = "blackbox"
method = ["random_search", "rea"]      # a name or a list
benchmark = "nb201"                    # may be left out where the command names one
seeds = 500                            # 0..499, or a list
[run.setting]                          # the same for all
role = "short"
[run.sweep]                            # every combination
dataset = ["cifar10", "cifar100"]
"""

from __future__ import annotations

import itertools
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from harness.errors import InvalidSpec, unknown
from harness.record import RunSpec

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

RUN_KEYS = {"protocol", "method", "benchmark", "seeds", "setting", "sweep"}


def recipes_folder() -> Path:
    """Where the shipped suites lie: protocols/recipes."""
    spec = find_spec("protocols")
    if spec is None or spec.origin is None:
        raise InvalidSpec("The package protocols is not installed.")
    return Path(spec.origin).parent / "recipes"


def suites() -> dict[str, Path]:
    """Shipped suites by name, such as `published/thesis_table4_6`."""
    folder = recipes_folder()
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
    specs = []
    for position, entry in enumerate(runs, start=1):
        place = f"{path}, [[run]] number {position}"
        specs.extend(_expand(place, entry, benchmark, method))
    return specs


def _expand(
    place: str, entry: dict[str, Any], benchmark: str | None, method: str | None
) -> list[RunSpec]:
    if foreign := sorted(set(entry) - RUN_KEYS):
        raise InvalidSpec(f"{place}: unknown key {foreign[0]!r}.", f"Keys: {sorted(RUN_KEYS)}.")
    protocol = entry.get("protocol")
    benchmarks = [benchmark] if benchmark else _as_list(entry.get("benchmark"))
    methods = _as_list(entry.get("method")) or [None]
    if method is not None and methods != [None]:
        methods = [method]
    if not isinstance(protocol, str) or not benchmarks:
        raise InvalidSpec(f"{place} needs a protocol and a benchmark.")
    seeds = entry.get("seeds", 1)
    seeds = list(range(seeds)) if isinstance(seeds, int) else seeds
    if not isinstance(seeds, list) or not all(isinstance(seed, int) for seed in seeds):
        raise InvalidSpec(f"{place}: seeds is a count or a list of whole numbers.")
    sweep = entry.get("sweep", {})
    settings = [
        {**entry.get("setting", {}), **dict(zip(sweep, values, strict=True))}
        for values in itertools.product(*(_as_list(values) for values in sweep.values()))
    ]
    return [
        RunSpec(protocol, bench, seed, name, setting)
        for bench, name, setting, seed in itertools.product(benchmarks, methods, settings, seeds)
    ]


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]
