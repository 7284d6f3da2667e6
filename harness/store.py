"""The packed store: .npy files and a manifest, written whole or not at all.

Layout below NAS_HARNESS_HOME (default: the user's data directory):

    stores/NAME.json         the manifest; replaced in one step, so it names complete files only
    stores/NAME@ID/*.npy     the arrays that the manifest names
    stores/ALIAS.json        {"alias_of": NAME}
    runs/                    records, see harness.record
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.arch import Codes, SearchSpace
from harness.benchmark import Cost, Holding, Roles, Slice, Table, map_array
from harness.errors import BrokenStore, InvalidSpec, StorageFailed, UnknownBenchmark
from harness.spaces import space

SCHEMA = 1
LEFTOVER_SECONDS = 24 * 3600.0  # ours: no import writes for so long without finishing a file.
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


@contextlib.contextmanager
def disk_errors(what: str) -> Iterator[None]:
    """Turns a refused write (disk full, read-only, over quota) into StorageFailed."""
    try:
        yield
    except OSError as error:
        raise StorageFailed(
            f"{what} could not be written: {error}.",
            "Free space or set NAS_HARNESS_HOME to another disk, then run the same command again;"
            " what was finished is kept.",
        ) from error


def write_atomically(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Writes a file so that a reader sees the old content or the new, never a part.

    durable: also wait until it would survive a power cut (records can do without: they are
    many, and one that is lost is run again).
    Raises: StorageFailed if the disk refuses.
    """
    with disk_errors(str(path)):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        try:
            with temporary.open("xb") as file:
                file.write(content)
                if durable:
                    file.flush()
                    os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def canonical_json(value: object) -> bytes:
    """The one JSON text of a value: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


@dataclass(frozen=True)
class Source:
    """A raw file or folder that a store was made from."""

    file: str
    sha256: str
    n_bytes: int
    published_checksum: str = "none"  # "matches", "differs" or "none"


@dataclass(frozen=True)
class Provenance:
    """What a store is and where it comes from."""

    adapter: str
    adapter_version: int
    sources: tuple[Source, ...]
    licence: str
    citation: str


class StoreBuilder:
    """Writes the arrays of a new store one by one; `commit` makes it visible in one step."""

    def __init__(self, name: str, of_space: SearchSpace, codes: Codes, indices: Sequence[int]):
        check_name(name)
        if name in names() and names()[name] is not None:
            raise InvalidSpec(f"{name} is an alias of {names()[name]}.", "Choose another name.")
        self.name = name
        self._space = of_space
        self._n_archs = len(codes)
        self._slices: list[dict[str, Any]] = []
        self._costs: list[dict[str, Any]] = []
        with disk_errors(f"the store {name}"):
            self._folder = stores_folder() / f".new-{name}@{uuid.uuid4().hex}"
            self._folder.mkdir(parents=True)
        try:
            self._codes = self._save("codes", np.ascontiguousarray(codes, dtype=np.uint8))
            self._indices = self._save("indices", np.asarray(indices, dtype=np.int32))
        except BaseException:
            self.discard()
            raise

    def _save(self, stem: str, array: NDArray[Any]) -> dict[str, Any]:
        # The number keeps apart what looks the same once '/' is replaced.
        number = len(self._slices) + len(self._costs)
        file = f"{number:03d}-" + re.sub(r"[^A-Za-z0-9_.+-]", "_", stem) + ".npy"
        path = self._folder / file
        with disk_errors(f"the store {self.name}"), path.open("wb") as stream:
            np.save(stream, array, allow_pickle=False)
            stream.flush()
            os.fsync(stream.fileno())
        return {"file": file, "sha256": sha256_of(path), "n_bytes": path.stat().st_size}

    def add(self, holding: Holding, array: NDArray[np.float32]) -> None:
        """array: (n_seed, n_epoch, n_arch), NaN = never measured."""
        expected = (len(holding.seeds), len(holding.epochs), self._n_archs)
        if array.shape != expected:
            raise ValueError(f"{holding.slice}: shape {array.shape}, expected {expected}")
        saved = self._save(str(holding.slice), np.ascontiguousarray(array, dtype=np.float32))
        self._slices.append(
            {
                "slice": str(holding.slice),
                "unit": holding.unit,
                "seeds": list(holding.seeds),
                "epochs": list(holding.epochs),
                **saved,
            }
        )

    def add_cost(self, cost: Cost, array: NDArray[np.float64]) -> None:
        """array: (n_arch,)."""
        saved = self._save(f"cost-{cost}", np.ascontiguousarray(array, dtype=np.float64))
        self._costs.append({"cost": asdict(cost), **saved})

    def commit(self, roles: Mapping[str, Roles], provenance: Provenance) -> str:
        """Makes the store visible under its name and removes the one that it replaces.

        Returns: the store's sha256. Raises: StorageFailed if the disk refuses.
        """
        content = {
            "schema": SCHEMA,
            "space": self._space.name,
            "n_archs": self._n_archs,
            "codes": self._codes,
            "indices": self._indices,
            "slices": self._slices,
            "costs": self._costs,
            "roles": {dataset: _roles_to_json(held) for dataset, held in roles.items()},
        }
        sha256 = hashlib.sha256(canonical_json(content)).hexdigest()
        folder = stores_folder() / self._folder.name.removeprefix(".new-")
        manifest = {
            **content,
            "name": self.name,
            "sha256": sha256,
            "folder": folder.name,
            "provenance": asdict(provenance),
        }
        with disk_errors(f"the store {self.name}"):
            self._folder = self._folder.rename(folder)
        path = stores_folder() / f"{self.name}.json"
        write_atomically(path, json.dumps(manifest, indent=1).encode())
        self._remove_leftovers(keep=folder)
        return sha256

    def _remove_leftovers(self, keep: Path) -> None:
        """Removes what this store replaces, and what imports killed a day ago left behind."""
        for folder in stores_folder().glob(f"{self.name}@*"):
            if folder != keep:
                shutil.rmtree(folder, ignore_errors=True)
        for folder in stores_folder().glob(f".new-{self.name}@*"):
            if time.time() - folder.stat().st_mtime > LEFTOVER_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)

    def discard(self) -> None:
        """Removes what was written so far."""
        shutil.rmtree(self._folder, ignore_errors=True)


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
    found = manifest(name)
    problems = []
    for entry in [found["codes"], found["indices"], *found["slices"], *found["costs"]]:
        path = stores_folder() / found["folder"] / entry["file"]
        if not path.exists():
            problems.append(f"{path} is missing")
        elif sha256_of(path) != entry["sha256"]:
            problems.append(f"{path} was changed after the import")
    return problems


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a file, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise BrokenStore(f"{path} cannot be read: {error}.", "Import again.") from error
    if not isinstance(found, dict):
        raise BrokenStore(f"{path} is not a manifest.", "Remove it and import again.")
    return found


def _roles_to_json(roles: Roles) -> dict[str, str | None]:
    return {
        role: str(at) if (at := getattr(roles, role)) else None
        for role in ("search", "truth", "short")
    }


def _roles_from_json(roles: Mapping[str, str | None]) -> Roles:
    parsed = {role: Slice.parse(text) if text else None for role, text in roles.items()}
    truth = parsed["truth"]
    if truth is None:
        raise KeyError("truth")
    return Roles(parsed["search"], truth, parsed["short"])
