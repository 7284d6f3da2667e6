"""What is here, verified or not; which items can be made now; what to download for the rest."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from harness import record, registry, store
from harness.adapter import RawSource
from harness.engine import changed_without_version
from harness.errors import BrokenStore, HarnessError

VERIFIED, BROKEN, ALIAS, VIEW = "verified", "broken", "alias", "view"


@dataclass(frozen=True)
class Examination:
    """Findings, in the order in which they are shown.

    benchmarks: name, status, path, sha256, problems. raw: source, path (None: not found below
    NAS_HARNESS_DATA), download, size, checksum. items: id, can_run, reason. changed: records
    whose plug-in file changed without a new version.
    """

    home: Path
    benchmarks: list[dict[str, Any]]
    raw: list[dict[str, Any]]
    items: list[dict[str, Any]]
    changed: list[str]

    def as_json(self) -> dict[str, Any]:
        """The JSON object of `nas-harness doctor --json`."""
        return {
            "home": str(self.home),
            "benchmarks": self.benchmarks,
            "raw": self.raw,
            "items": self.items,
            "changed": self.changed,
        }


def examine() -> Examination:
    """Hashes every store, looks for raw files and asks every item whether it can be made."""
    return Examination(store.home(), _benchmarks(), _raw_files(), _items(), _changed())


def _benchmarks() -> list[dict[str, Any]]:
    return [_benchmark(name, target) for name, target in store.names().items()]


def _benchmark(name: str, target: str | None) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": name,
        "status": BROKEN,
        "path": str(store.stores_folder() / f"{name}.json"),
        "sha256": None,
        "problems": [],
    }
    if store.is_view(name):
        return _view(found, target)
    try:
        manifest = store.manifest(name)
        problems = store.verify(name) if target is None else []
        if problems and manifest["provenance"].get("shipped"):
            problems.append(f"remove {found['path']} and {name} is unpacked again")
    except HarnessError as error:
        return {**found, "problems": [str(error)]}
    status = ALIAS if target is not None else BROKEN if problems else VERIFIED
    return {
        **found,
        "status": status,
        "sha256": manifest["sha256"],
        "problems": problems,
        "alias_of": target,
        "n_archs": None if store.is_surrogate(manifest) else manifest["n_archs"],
        "sources": manifest["provenance"]["sources"],
    }


def _view(found: dict[str, Any], base: str | None) -> dict[str, Any]:
    """What is told of a view; whether its base is verified is told there."""
    try:
        opened = store.load(found["name"])
    except HarnessError as error:
        return {**found, "problems": [str(error)]}
    return {
        **found,
        "status": VIEW,
        "path": None,
        "sha256": opened.sha256,
        "view_of": base,
        "n_archs": len(opened),
    }


def _raw_files() -> list[dict[str, Any]]:
    adapters = [registry.get("adapter", name).offer for name in registry.names("adapter")]
    return [_raw_file(raw) for adapter in adapters for raw in adapter.sources]


def _raw_file(raw: RawSource) -> dict[str, Any]:
    found = [path for pattern in raw.patterns for path in _data_files(pattern)]
    return {
        "source": raw.name,
        "summary": raw.summary,
        "path": str(found[0]) if found else None,
        "download": raw.download,
        "size": raw.size,
        "checksum": raw.checksum,
    }


def _data_files(pattern: str) -> list[Path]:
    configured = os.environ.get("NAS_HARNESS_DATA")
    return sorted(Path(configured).rglob(pattern)) if configured else []


def _items() -> list[dict[str, Any]]:
    can_run = import_module("reports.reproduce").can_run
    all_items = import_module("reports.items").all_items()
    found = []
    for name, item in all_items.items():
        possible, reason = can_run(item)
        found.append({"id": name, "can_run": possible, "reason": reason})
    return found


def _changed() -> list[str]:
    """Plug-ins whose file changed since a run, while their version did not; damaged records."""
    notes: dict[str, None] = {}
    for key in record.keys():
        try:
            found = record.read(key)
        except BrokenStore as error:
            notes[str(error)] = None
            continue
        for plugin in changed_without_version(found) if found else ():
            notes[f"The {plugin} changed since some runs without a new version."] = None
    return list(notes)


def _detail(bench: dict[str, Any]) -> str:
    if bench["status"] == ALIAS:
        return f"-> {bench['alias_of']}"
    if bench["status"] == VIEW:
        return f"of {bench['view_of']}, {bench['n_archs']} archs"
    return (bench["sha256"] or "")[:40]


def show(found: Examination) -> None:
    """Prints the findings for a person."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    console.print(f"Stores and runs: {found.home}")
    if not found.benchmarks:
        console.print("No benchmark is imported yet.")
    for bench in found.benchmarks:
        console.print(f"  {bench['name']}: {bench['status']} {_detail(bench)}", highlight=False)
        for problem in bench["problems"]:
            console.print(f"    {problem}", style="red", highlight=False)
    raws = Table("source", "here", "where to get it", "size", title="Raw files")
    for raw in found.raw:
        raws.add_row(raw["source"], raw["path"] or "no", raw["download"], raw["size"])
    console.print(raws)
    ready = [item["id"] for item in found.items if item["can_run"]]
    console.print(f"Items that can be made now ({len(ready)} of {len(found.items)}):")
    console.print("  " + (", ".join(ready) or "none"), highlight=False)
    reasons: dict[str, list[str]] = {}
    for item in found.items:
        if not item["can_run"]:
            reasons.setdefault(item["reason"], []).append(item["id"])
    console.print("The others, by reason:")
    for reason, ids in reasons.items():
        console.print(f"  {', '.join(ids)}: {reason}", highlight=False)
    for change in found.changed:
        console.print(change, style="yellow", highlight=False)
