"""Search spaces by name. Every module here lists its spaces in `SPACES`."""

from __future__ import annotations

import pkgutil
from functools import cache
from importlib import import_module

from harness.arch import ListedSpace, SearchSpace
from harness.errors import InvalidSpec, unknown


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


def listed_space(name: str) -> ListedSpace:
    """The space of this name, with its official order of encodings.

    Raises: UnknownName; InvalidSpec if the space is too large to have one.
    """
    found = space(name)
    if not isinstance(found, ListedSpace):
        raise InvalidSpec(f"{name} has no official order of its encodings.")
    return found
