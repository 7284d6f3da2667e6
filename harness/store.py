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
LARGEST_ALIAS_BYTES = 1000  # An alias is one line, a manifest hundreds; only lines are looked into.
# What of a manifest is the benchmark itself, and not how it came here.
CONTENT = ("schema", "space", "n_archs", "codes", "indices", "slices", "costs", "roles")
OPTIONAL_CONTENT = ("keys",)  # Only in the manifests of benchmarks that have it.
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


def check_alias(alias: str) -> None:
    """Raises: InvalidSpec if the name cannot be an alias, because a store of its own has it."""
    check_name(alias)
    path = stores_folder() / f"{alias}.json"
    if path.exists() and "alias_of" not in read_json(path):
        raise InvalidSpec(f"{alias} is itself a store.", "Choose another --as.")


def check_new(name: str, adapter: str) -> None:
    """Whether an adapter may write a store of this name; only its own are replaced.

    Raises: InvalidSpec if the name is an alias, or a store that another adapter made.
    """
    check_name(name)
    path = stores_folder() / f"{name}.json"
    try:
        found = read_json(path) if path.exists() else {}
    except BrokenStore:
        return  # Importing again is how a broken store is repaired.
    if "alias_of" in found:
        raise InvalidSpec(f"{name} is an alias of {found['alias_of']}.", "Choose another name.")
    made_by = found.get("provenance", {}).get("adapter", adapter)
    if made_by != adapter:
        raise InvalidSpec(
            f"{name} is a store made by the adapter {made_by}; it would be lost.",
            "Give this one another name, or remove that one first.",
        )


def set_alias(alias: str, name: str) -> None:
    """Lets `alias` name the store `name`; an alias that stood for another store is moved.

    Raises: InvalidSpec if a store of its own has that name.
    """
    from harness.files import write_atomically  # Not needed to read, so reading does not pay.

    check_alias(alias)
    path = stores_folder() / f"{alias}.json"
    write_atomically(path, json.dumps({"alias_of": name}).encode())


def imported() -> dict[str, str | None]:
    """The stores that are there, by name; for an alias, the store that it stands for.

    One whose manifest cannot be read is listed too; opening it says what is wrong.
    """
    found: dict[str, str | None] = {}
    for path in sorted(stores_folder().glob("*.json")):
        try:
            found[path.stem] = read_json(path).get("alias_of")
        except BrokenStore:
            found[path.stem] = None
    return found


def names() -> dict[str, str | None]:
    """All benchmarks that can be opened: what is imported, and what ships and is unpacked then."""
    from harness import shipped  # Only a list of all pays for loading the adapters.

    return dict(sorted({**dict.fromkeys(shipped.shipped()), **imported()}.items()))


def path_of(name: str) -> Path:
    """The manifest's file of a store, aliases followed; what ships is unpacked if need be.

    Raises: UnknownBenchmark, BrokenStore.
    """
    path = stores_folder() / f"{name}.json"
    if not path.exists():
        from harness import shipped

        shipped.unpack(name)
    if not NAME_PATTERN.fullmatch(name) or not path.exists():
        raise UnknownBenchmark(
            f"No benchmark is called {name!r}; here are: {', '.join(names()) or 'none yet'}.",
            "Import others first: nas-harness import --help.",
        )
    if path.stat().st_size > LARGEST_ALIAS_BYTES:
        return path
    target = read_json(path).get("alias_of")
    return path if target is None else path_of(target)


def manifest(name: str) -> dict[str, Any]:
    """The manifest of a store, aliases followed.

    Raises: UnknownBenchmark, BrokenStore.
    """
    path = path_of(name)
    found = read_json(path)
    if found.get("provenance", {}).get("shipped"):
        from harness import shipped

        if shipped.is_outdated(path.stem):
            shipped.unpack(path.stem)
            found = read_json(path)
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
            keys=map_array(folder / found["keys"]["file"], (n_archs,)) if "keys" in found else None,
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
    try:
        optional = [key for key in OPTIONAL_CONTENT if key in found]
        if content_digest({key: found[key] for key in (*CONTENT, *optional)}) != found["sha256"]:
            problems.append(f"the manifest of {name} was changed after the import")
        single = [found[key] for key in ("codes", "indices", *optional)]
        for entry in [*single, *found["slices"], *found["costs"]]:
            path = stores_folder() / found["folder"] / entry["file"]
            if not path.exists():
                problems.append(f"{path} is missing")
            elif sha256_of(path) != entry["sha256"]:
                problems.append(f"{path} was changed after the import")
    except (KeyError, TypeError) as error:
        problems.append(f"the manifest of {name} lacks {error}")
    return problems


def content_digest(content: Mapping[str, Any]) -> str:
    """The sha256 of a store: of the manifest's `CONTENT`, which holds every file's own."""
    import hashlib

    from harness.files import canonical_json

    return hashlib.sha256(canonical_json(content)).hexdigest()


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a manifest's file. Raises: BrokenStore."""
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
