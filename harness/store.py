"""The packed store on disk: .npy files and the manifest that names them.

Layout below NAS_HARNESS_HOME (default: the user's data directory):

    stores/NAME.json         the manifest; replaced in one step, so it names complete files only
    stores/NAME@ID/*.npy     the arrays that the manifest names
    stores/ALIAS.json        {"alias_of": NAME}
    runs/                    records, see harness.record
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.benchmark import Cost, Holding, Roles, Slice, Table, map_array
from harness.errors import BrokenStore, InvalidSpec, UnknownBenchmark
from harness.spaces import space

SCHEMA = 1
NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


def home() -> Path:
    """Where packed stores and runs are kept."""
    if configured := os.environ.get("NAS_HARNESS_HOME"):
        return Path(configured)
    import platformdirs

    return Path(platformdirs.user_data_dir("nas-harness"))


def stores_folder() -> Path:
    """Where packed stores and their manifests lie."""
    return home() / "stores"


def check_name(name: str) -> None:
    """Raises: InvalidSpec if a store cannot be called that."""
    if not NAME_PATTERN.fullmatch(name):
        raise InvalidSpec(f"A benchmark cannot be named {name!r}.", "Use letters, digits, . _ -.")


def set_alias(alias: str, name: str) -> None:
    """Lets `alias` name the store `name`; an alias that stood for another store is moved.

    Raises: InvalidSpec if a store of its own has that name.
    """
    check_name(alias)
    path = stores_folder() / f"{alias}.json"
    if path.exists() and "alias_of" not in _read_json(path):
        raise InvalidSpec(f"{alias} is itself a store.", "Choose another --as.")
    from harness.files import write_atomically  # Not needed to read, so reading does not pay.

    write_atomically(path, json.dumps({"alias_of": name}).encode())


def names() -> dict[str, str | None]:
    """All benchmarks by name; for an alias, the store that it stands for."""
    folder = stores_folder()
    paths = sorted(folder.glob("*.json")) if folder.is_dir() else []
    return {path.stem: _read_json(path).get("alias_of") for path in paths}


def manifest(name: str) -> dict[str, Any]:
    """The manifest of a store, aliases followed.

    Raises: UnknownBenchmark, BrokenStore.
    """
    path = stores_folder() / f"{name}.json"
    if not NAME_PATTERN.fullmatch(name) or not path.exists():
        known = ", ".join(names()) or "none yet"
        raise UnknownBenchmark(
            f"No benchmark is called {name!r}; imported: {known}.",
            "Import one first: nas-harness import --help.",
        )
    found = _read_json(path)
    if (target := found.get("alias_of")) is not None:
        return manifest(target)
    if found.get("schema") != SCHEMA:
        raise BrokenStore(
            f"{path} has schema {found.get('schema')}, this version reads {SCHEMA}.",
            "Import the benchmark again.",
        )
    return found


def load(name: str) -> Table:
    """Opens an imported benchmark; nothing is read but the manifest and the codes.

    Raises: UnknownBenchmark if it was never imported, BrokenStore if its files are damaged.
    """
    found = manifest(name)
    try:
        folder = stores_folder() / found["folder"]
        of_space = space(found["space"])
        n_archs = found["n_archs"]
        n_positions = sum(take for _, take in of_space.rows)
        holdings = [
            Holding(Slice.parse(s["slice"]), s["unit"], tuple(s["seeds"]), tuple(s["epochs"]))
            for s in found["slices"]
        ]
        return Table(
            name=found["name"],
            space=of_space,
            codes=map_array(folder / found["codes"]["file"], (n_archs, n_positions)),
            indices=map_array(folder / found["indices"]["file"], (n_archs,)),
            holdings=holdings,
            arrays={
                holding.slice: folder / s["file"]
                for holding, s in zip(holdings, found["slices"], strict=True)
            },
            costs={Cost(**c["cost"]): folder / c["file"] for c in found["costs"]},
            roles={dataset: _roles_from_json(r) for dataset, r in found["roles"].items()},
            sha256=found["sha256"],
            citation=found["provenance"]["citation"],
        )
    except (KeyError, TypeError) as error:
        raise BrokenStore(
            f"The manifest of {name} lacks {error}.", "Import the benchmark again."
        ) from error


def verify(name: str) -> list[str]:
    """Hashes every file of a store; returns what is wrong, nothing if all is as written."""
    from harness.files import sha256_of

    found = manifest(name)
    problems = []
    for entry in [found["codes"], found["indices"], *found["slices"], *found["costs"]]:
        path = stores_folder() / found["folder"] / entry["file"]
        if not path.exists():
            problems.append(f"{path} is missing")
        elif sha256_of(path) != entry["sha256"]:
            problems.append(f"{path} was changed after the import")
    return problems


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise BrokenStore(f"{path} cannot be read: {error}.", "Import again.") from error
    if not isinstance(found, dict):
        raise BrokenStore(f"{path} is not a manifest.", "Remove it and import again.")
    return found


def _roles_from_json(roles: Mapping[str, str | None]) -> Roles:
    parsed = {role: Slice.parse(text) if text else None for role, text in roles.items()}
    truth = parsed["truth"]
    if truth is None:
        raise KeyError("truth")
    return Roles(parsed["search"], truth, parsed["short"])
