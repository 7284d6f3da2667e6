"""The packed store on disk: .npy files and the manifest that names them.

Layout below NAS_HARNESS_HOME (default: the user's data directory):

    stores/NAME.json         the manifest; replaced in one step, so it names complete files only
    stores/NAME@ID/*.npy     the arrays that the manifest names
    stores/ALIAS.json        {"alias_of": NAME}
    views/                   what harness.views worked out
    runs/                    records, see harness.record
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness import no_table
from harness.benchmark import Benchmark, Cost, Holding, Roles, Slice, Table, map_array
from harness.errors import BrokenStore, InvalidSpec, UnknownBenchmark
from harness.spaces import space

SCHEMA = 1
LARGEST_ALIAS_BYTES = 1000  # An alias is one line, a manifest hundreds; only lines are looked into.
# What of a manifest is not the benchmark itself: its name, and how and where it came here.
OF_ITS_IMPORT = ("name", "sha256", "folder", "provenance")
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
    """Whether an adapter may write a store of this name; only its own and aliases are replaced.

    Raises: InvalidSpec if the name is that of a store that another adapter made.
    """
    check_name(name)
    path = stores_folder() / f"{name}.json"
    try:
        found = read_json(path) if path.exists() else {}
    except BrokenStore:
        return  # Importing again is how a broken store is repaired.
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
    """All benchmarks that can be opened: what is imported, what ships, and views of these.

    For an alias or a view the name has the benchmark that it stands for or is looked up in.
    """
    from harness import shipped, views  # Only a list of all pays for loading the adapters.

    stores = {**dict.fromkeys(shipped.shipped()), **imported()}
    seen = {name: held.base for name, held in views.views().items() if held.base in stores}
    return dict(sorted({**seen, **stores}.items()))


def is_view(name: str) -> bool:
    """Whether a benchmark is looked up in another one; a store of that name comes first."""
    if (stores_folder() / f"{name}.json").exists():
        return False
    from harness import views

    return name in views.views()


def path_of(name: str) -> Path:
    """The manifest's file of a store, aliases followed; what ships is unpacked if need be.

    A view has none, so it is that of the benchmark that it is looked up in.
    Raises: UnknownBenchmark, BrokenStore.
    """
    path = stores_folder() / f"{name}.json"
    if not path.exists():
        from harness import shipped, views

        if name in views.views():
            return path_of(views.views()[name].base)
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


def import_stamp(name: str) -> tuple[Path, int] | None:
    """The manifest's file and its time in ns, which an import changes; None of what holds nothing.

    Raises: UnknownBenchmark, BrokenStore.
    """
    if no_table.is_name(name):
        return None
    path = path_of(name)
    return path, path.stat().st_mtime_ns


def manifest(name: str) -> dict[str, Any]:
    """The manifest of a store, aliases and views followed.

    Raises: UnknownBenchmark, BrokenStore.
    """
    path = path_of(name)
    found = read_json(path)
    provenance = found.get("provenance", {})
    if provenance.get("shipped"):
        from harness import shipped

        if shipped.is_outdated(path.stem, provenance):
            shipped.unpack(path.stem)
            found = read_json(path)
    if found.get("schema") != SCHEMA:
        raise BrokenStore(
            f"{path} has schema {found.get('schema')}, this version reads {SCHEMA}.",
            "Import the benchmark again.",
        )
    return found


def is_surrogate(manifest: Mapping[str, Any]) -> bool:
    """Whether a store holds models, which predict, and no arrays of what was measured."""
    return "files" in manifest


def load(name: str) -> Benchmark:
    """Opens a benchmark; of a table, nothing is read but the manifest and the codes.

    Raises: UnknownBenchmark if it was never imported, BrokenStore if its files are damaged;
        UnknownName for the space of one that holds nothing.
    """
    if no_table.is_name(name):
        return no_table.of_name(name)
    if is_view(name):
        from harness import views

        return views.load(name)
    found = manifest(name)
    try:
        folder = stores_folder() / found["folder"]
        if not is_surrogate(found):
            return _table(found, folder)
        from harness import registry

        adapter = registry.get("adapter", found["provenance"]["adapter"]).offer
        opened: Benchmark = adapter.open(found["name"], folder, found)
        return opened
    except (KeyError, TypeError) as error:
        raise BrokenStore(
            f"The manifest of {name} lacks {error}.", "Import the benchmark again."
        ) from error


def _table(found: Mapping[str, Any], folder: Path) -> Table:
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


def verify(name: str) -> list[str]:
    """Hashes every file of a store; returns what is wrong, nothing if all is as written."""
    from harness.files import sha256_of

    found = manifest(name)
    problems = []
    try:
        if content_digest(found) != found["sha256"]:
            problems.append(f"the manifest of {name} was changed after the import")
        for entry in _files(found):
            path = stores_folder() / found["folder"] / entry["file"]
            if not path.exists():
                problems.append(f"{path} is missing")
            elif sha256_of(path) != entry["sha256"]:
                problems.append(f"{path} was changed after the import")
    except (KeyError, TypeError) as error:
        problems.append(f"the manifest of {name} lacks {error}")
    return problems


def _files(found: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Every entry of a manifest that names a file."""
    if is_surrogate(found):
        return list(found["files"])
    single = [found[key] for key in ("codes", "indices", "keys") if key in found]
    return [*single, *found["slices"], *found["costs"]]


def content_digest(manifest: Mapping[str, Any]) -> str:
    """The sha256 of a store: of all that its manifest tells of the benchmark, files included."""
    import hashlib

    from harness.files import canonical_json

    content = {key: value for key, value in manifest.items() if key not in OF_ITS_IMPORT}
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
