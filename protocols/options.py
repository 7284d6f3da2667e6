"""Options of a plug-in, which is a frozen dataclass: a run's setting may name any of its fields."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

from harness.errors import InvalidSpec, unknown

T = TypeVar("T")


def require(holds: bool, message: str) -> None:
    """Raises: InvalidSpec with the message if it does not hold; for the values of options."""
    if not holds:
        raise InvalidSpec(message)


def one_of(option: str, value: object, known: Collection[object]) -> None:
    """Raises: InvalidSpec for a value that an option cannot have."""
    require(value in known, f"{option} is one of {', '.join(map(repr, known))}, not {value!r}.")


def configured(plugin: T, options: Mapping[str, Any], *, others: Collection[str] = ()) -> T:
    """The plug-in with some of its options changed; others: names that the error lists besides.

    Raises: UnknownName for an option; InvalidSpec for a value of another type than the default's.
    """
    name = type(plugin).__name__
    if not options:
        return plugin
    if not is_dataclass(plugin) or isinstance(plugin, type):
        raise InvalidSpec(f"{name} has no options.", "Make its class a frozen dataclass.")
    held = {option.name: getattr(plugin, option.name) for option in fields(plugin)}
    for option, value in options.items():
        if option not in held:
            raise unknown(f"setting or option of {name}", option, [*held, *others])
        kinds = (int, float) if type(held[option]) is float else (type(held[option]),)
        if type(value) not in kinds:
            raise InvalidSpec(f"{option} of {name} is {held[option]!r} by default, not {value!r}.")
    return replace(plugin, **options)
