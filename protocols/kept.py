"""Supernets in training are kept: a search that was killed goes on after its last whole epoch.

A finished one stays too, so that runs which differ only in how they select, in what they are looked
up in, or in how early they stop, train it once. They lie below NAS_HARNESS_HOME/supernets, one file
a search; removing any of them costs nothing but time.
"""

from __future__ import annotations

import hashlib
import inspect
import io
import pickle
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, final

import torch

from harness import registry
from harness.errors import BrokenStore
from harness.files import canonical_json, write_atomically
from harness.store import home

DIGITS = 32


@final
class Kept:
    """The state of one search, named by all that its training depends on.

    identity: JSON values.
    """

    def __init__(self, identity: Mapping[str, Any]) -> None:
        name = hashlib.sha256(canonical_json(identity)).hexdigest()[:DIGITS]
        self.path = home() / "supernets" / f"{name}.pt"

    def read(self) -> dict[str, Any] | None:
        """What was written last, or None. Raises: BrokenStore if that cannot be read."""
        if not self.path.exists():
            return None
        try:
            state: dict[str, Any] = torch.load(self.path, weights_only=True)
        except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
            raise BrokenStore(
                f"{self.path} cannot be read: {error}.", "Remove it; the search then starts anew."
            ) from error
        return state

    def write(self, state: Mapping[str, Any]) -> None:
        """In one step, so that a kill leaves the state before.

        Raises: StorageFailed, which ends a suite: a disk that is full takes no records either.
        """
        content = io.BytesIO()
        torch.save(state, content)
        write_atomically(self.path, content.getbuffer())


def code_of(part: object, uses: Iterable[tuple[str, str]]) -> list[str]:
    """sha256 of the files that define a plug-in and those that it uses, by (kind, name)."""
    files = [Path(inspect.getfile(type(part)))]
    files += [registry.get(kind, name).file for kind, name in uses]
    return [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
