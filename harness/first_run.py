"""Imports what NAS_HARNESS_DATA holds, so that the first report needs no further command."""

from __future__ import annotations

import os
from pathlib import Path

import click

from harness import registry, shipped, store
from harness.adapter import Adapter, RawSource
from harness.errors import HarnessError

ALIASES = ("nb201", "nb101")  # Named like the space of what they stand for.


def main() -> None:
    """Imports every raw file that is found and not yet imported; says how to get some if none."""
    configured = os.environ.get("NAS_HARNESS_DATA")
    for adapter, raw, path in _found(Path(configured)) if configured else []:
        try:
            if (known := adapter.store_of(raw.name, path)) in store.imported():
                click.echo(f"{known}: imported before")
                continue
            name = adapter.pack(
                raw.name, path, mapping=raw.mapping, jobs=2, progress=lambda done, total: None
            )
        except HarnessError as error:
            click.echo(f"{path}: {error}", err=True)
            continue
        click.echo(f"{name}: {len(store.load(name))} archs from {path.name}")
    for alias in ALIASES:
        _point(alias)
    if set(store.imported()) <= set(shipped.shipped()):
        click.echo(f"Only what ships is here: {', '.join(store.names())}.")
        click.echo("For the papers' numbers set NAS_HARNESS_DATA to a folder that holds one of:")
        for name in registry.names("adapter"):
            for raw in registry.get("adapter", name).offer.sources:
                if raw.shipped is None:
                    click.echo(f"  {raw.name}: {raw.download}")


def _found(folder: Path) -> list[tuple[Adapter, RawSource, Path]]:
    return [
        (adapter, raw, path)
        for name in registry.names("adapter")
        for adapter in [registry.get("adapter", name).offer]
        for raw in adapter.sources
        for pattern in raw.patterns
        for path in sorted(folder.rglob(pattern))
    ]


def _point(alias: str) -> None:
    """Lets an alias name the fullest table of its space, unless something has that name already."""
    if alias in store.imported():
        return
    sizes = {
        name: (manifest["n_archs"], len(manifest["slices"]))
        for name, target in store.imported().items()
        if target is None
        for manifest in [store.manifest(name)]
        if manifest["space"] == alias and not manifest["provenance"].get("shipped")
    }
    if sizes:
        fullest = max(sizes, key=lambda name: sizes[name])
        store.set_alias(alias, fullest)
        click.echo(f"{alias} -> {fullest}")


if __name__ == "__main__":
    main()
