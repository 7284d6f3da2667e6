"""The search inside another one, by its name."""

from __future__ import annotations

from harness import registry
from harness.errors import InvalidSpec
from protocols.search.method import Method


def inner_method(name: str) -> Method:
    """A method that trains a supernet and learns an architecture.

    Raises: UnknownName; InvalidSpec for another kind of method.
    """
    found = registry.get("method", name).offer
    if not isinstance(found, Method) or not found.learns_arch:
        raise InvalidSpec(f"{name} has no architecture parameters that learn on a supernet.")
    return found
