"""Search spaces by name. Every module here lists its spaces in `SPACES`."""

from __future__ import annotations

import pkgutil
from functools import cache
from importlib import import_module

from harness.arch import SearchSpace
from harness.errors import unknown


@cache
def spaces() -> dict[str, SearchSpace]:
    """All spaces by name."""
    found: dict[str, SearchSpace] = {}
    for module in pkgutil.iter_modules(__path__):
        for space_ in import_module(f"{__name__}.{module.name}").SPACES:
            found[space_.name] = space_
    return found


def space(name: str) -> SearchSpace:
    """The space of this name.

    Raises: UnknownName with the nearest name.
    """
    if name not in spaces():
        raise unknown("space", name, spaces())
    return spaces()[name]
