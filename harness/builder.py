"""Making a packed store: arrays one by one, then visible in one step."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from harness.arch import Codes, SearchSpace
from harness.benchmark import Cost, Holding, Roles
from harness.files import disk_errors, locked, sha256_of, write_atomically
from harness.store import SCHEMA, check_name, check_new, content_digest, stores_folder

LEFTOVER_SECONDS = 24 * 3600.0  # ours: no import writes for so long without finishing a file.


@dataclass(frozen=True)
class Source:
    """A raw file or folder that a store was made from."""

    file: str
    sha256: str
    n_bytes: int
    published_checksum: str = "none"  # "matches", "differs" or "none"


@dataclass(frozen=True)
class Provenance:
    """What a store is and where it comes from.

    notes: what its user must know of the values. shipped: whether its file came with the project,
    so that the store is made again when another version brings another file.
    """

    adapter: str
    adapter_version: int
    sources: tuple[Source, ...]
    licence: str
    citation: str
    notes: str = ""
    shipped: bool = False


class NewStore:
    """A store that is being made, file by file; `commit` makes it visible in one step.

    Raises: InvalidSpec for a name that no store can have; StorageFailed.
    """

    def __init__(self, name: str) -> None:
        check_name(name)
        self.name = name
        with disk_errors(f"the store {name}"):
            self._folder = stores_folder() / f".new-{name}@{uuid.uuid4().hex}"
            self._folder.mkdir(parents=True)

    def save(self, file: str, write: Callable[[BinaryIO], object]) -> dict[str, Any]:
        """Writes a file, named by its path below the store's folder; returns what names it."""
        path = self._folder / file
        with disk_errors(f"the store {self.name}"):
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as stream:
                write(stream)
                stream.flush()
                os.fsync(stream.fileno())
        return {"file": file, "sha256": sha256_of(path), "n_bytes": path.stat().st_size}

    def commit(self, content: Mapping[str, Any], provenance: Provenance) -> str:
        """Makes the store visible under its name and removes the one that it replaces.

        content: the manifest, without what is of this import alone (`store.OF_ITS_IMPORT`).
        Returns: the store's sha256. Raises: StorageFailed if the disk refuses; InvalidSpec if
        the name is that of another adapter's store.
        """
        content = {"schema": SCHEMA, **content}
        sha256 = content_digest(content)
        folder = stores_folder() / self._folder.name.removeprefix(".new-")
        manifest = {
            **content,
            "name": self.name,
            "sha256": sha256,
            "folder": folder.name,
            "provenance": asdict(provenance),
        }
        # One at a time, or another commit would remove this one's folder as its own leftover.
        with locked(stores_folder() / f".{self.name}.lock"):
            check_new(self.name, provenance.adapter)
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


class StoreBuilder:
    """Writes the arrays of a table's store one by one; `commit` makes it visible in one step."""

    def __init__(self, name: str, of_space: SearchSpace, codes: Codes, indices: Sequence[int]):
        self.name = name
        self._space = of_space
        self._n_archs = len(codes)
        self._slices: list[dict[str, Any]] = []
        self._costs: list[dict[str, Any]] = []
        self._keys: dict[str, Any] | None = None
        self._new = NewStore(name)
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
        return self._new.save(file, lambda stream: np.save(stream, array, allow_pickle=False))

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

    def add_keys(self, keys: NDArray[np.bytes_]) -> None:
        """keys: (n_arch,) the space's `key` of every arch, md5 sums in hex, ascending."""
        if keys.shape != (self._n_archs,) or not (keys[1:] > keys[:-1]).all():
            raise ValueError(f"{self.name}: keys must be {self._n_archs}, ascending and distinct")
        self._keys = self._save("keys", np.ascontiguousarray(keys, dtype="S32"))

    def commit(self, roles: Mapping[str, Roles], provenance: Provenance) -> str:
        """Makes the store visible; returns its sha256 and raises as `NewStore.commit`."""
        content = {
            "space": self._space.name,
            "n_archs": self._n_archs,
            "codes": self._codes,
            "indices": self._indices,
            "slices": self._slices,
            "costs": self._costs,
            "roles": {dataset: _roles_to_json(held) for dataset, held in roles.items()},
        }
        if self._keys is not None:
            content["keys"] = self._keys
        return self._new.commit(content, provenance)

    def discard(self) -> None:
        """Removes what was written so far."""
        self._new.discard()


def _roles_to_json(roles: Roles) -> dict[str, str | None]:
    return {
        role: str(at) if (at := getattr(roles, role)) else None
        for role in ("search", "truth", "short")
    }
