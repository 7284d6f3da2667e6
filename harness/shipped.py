"""Benchmarks that come with the project: unpacked into the user's store at first use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from harness import registry, store
from harness.adapter import Adapter
from harness.errors import BrokenStore, UnknownName
from harness.files import locked, sha256_of


@dataclass(frozen=True)
class Shipped:
    """A file that comes with the project, and who reads it as what."""

    file: Path
    source: str
    adapter: Adapter


@cache
def shipped() -> dict[str, Shipped]:
    """What ships, by the name of its store."""
    adapters: list[Adapter] = [registry.get("adapter", n).offer for n in registry.names("adapter")]
    return {
        raw.store: Shipped(raw.shipped, raw.name, adapter)
        for adapter in adapters
        for raw in adapter.sources
        if raw.shipped is not None and raw.shipped.exists()
    }


def unpack(name: str) -> None:
    """Unpacks a shipped benchmark unless its store is there and was made from what ships now.

    Does nothing for other names. Raises: StorageFailed, BadFile.
    """
    if name not in shipped():
        return
    # One process at a time, or the later one would replace files that the earlier has opened.
    with locked(store.stores_folder() / f".shipped-{name}.lock"):
        try:
            made = store.read_json(store.stores_folder() / f"{name}.json")["provenance"]
        except (BrokenStore, LookupError):
            made = {}
        if is_outdated(name, made):
            own = shipped()[name]
            own.adapter.pack(own.source, own.file, mapping=None, jobs=1, progress=lambda *_: None)


def is_outdated(name: str, made: Mapping[str, Any]) -> bool:
    """Whether the store of a shipped benchmark was made from another file or by another reader.

    made: its manifest's provenance, empty if there is none. Loads no adapter but its own.
    """
    try:
        adapter: Adapter = registry.get("adapter", made["adapter"]).offer
        file = next(raw.shipped for raw in adapter.sources if raw.store == name and raw.shipped)
        made_from = made["adapter_version"], made["sources"][0]["sha256"]
    except (UnknownName, LookupError, StopIteration):
        return True
    return made_from != (adapter.version, sha256_of(file))
