"""Search spaces by name.

Every module here lists its spaces in `SPACES`; a space is called like its module, or so with a
`-suffix`, so that asking for one imports no other.
"""

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


@cache
def space(name: str) -> SearchSpace:
    """The space of this name.

    Raises: UnknownName with the nearest name.
    """
    if name.partition("-")[0] in {module.name for module in pkgutil.iter_modules(__path__)}:
        for found in import_module(f"{__name__}.{name.partition('-')[0]}").SPACES:
            if found.name == name:
                return found
    raise unknown("space", name, spaces())


def listed_space(name: str) -> ListedSpace:
    """The space of this name, with its official order of encodings.

    Raises: UnknownName; InvalidSpec if the space is too large to have one.
    """
    found = space(name)
    if not isinstance(found, ListedSpace):
        raise InvalidSpec(f"{name} has no official order of its encodings.")
    return found
