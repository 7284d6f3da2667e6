"""Evaluate architecture search methods by looking results up instead of retraining."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.arch import Arch, Choice, SearchSpace
    from harness.benchmark import Benchmark, Cost, Curve, Reading, Roles, Slice, Table
    from harness.errors import HarnessError
    from harness.ranking import Ranking, rank
    from harness.spaces import space
    from harness.store import load

__all__ = [
    "Arch",
    "Benchmark",
    "Choice",
    "Cost",
    "Curve",
    "HarnessError",
    "Ranking",
    "Reading",
    "Roles",
    "SearchSpace",
    "Slice",
    "Table",
    "load",
    "rank",
    "space",
]

# Each name is imported when it is first used, so that `import harness` costs next to nothing and
# a program pays only for the parts that it touches.
_HOMES = {
    "harness.arch": ("Arch", "Choice", "SearchSpace"),
    "harness.benchmark": ("Benchmark", "Cost", "Curve", "Reading", "Roles", "Slice", "Table"),
    "harness.errors": ("HarnessError",),
    "harness.ranking": ("Ranking", "rank"),
    "harness.spaces": ("space",),
    "harness.store": ("load",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME_OF[name]), name)
