"""Records: what one run was asked, what it found, and on what it ran.

A record is a JSON file below NAS_HARNESS_HOME/runs, at XX/IDENTITY.json with XX the first two hex
digits, with its arrays beside it. It is written in one step, so a killed run leaves no record. What
is not there may be in a pack (`harness.packs`).
"""

from __future__ import annotations

import hashlib
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness import packs
from harness.benchmark import check_unsealed
from harness.errors import BrokenStore
from harness.files import canonical_json, write_atomically
from harness.store import home

DONE, SKIPPED, FAILED = "done", "skipped", "failed"


@dataclass(frozen=True)
class RunSpec:
    """One run: a protocol on a benchmark, with a method where the protocol takes one.

    setting: JSON values by name; what they mean is the protocol's business.
    """

    protocol: str
    benchmark: str
    seed: int
    method: str | None = None
    setting: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        settings = ", ".join(f"{key}={value}" for key, value in sorted(self.setting.items()))
        name = f"{self.protocol}/{self.method}" if self.method else self.protocol
        return f"{name} on {self.benchmark}, seed {self.seed} ({settings})"


@dataclass(frozen=True)
class Record:
    """The outcome of one run.

    status: "done", "skipped" or "failed"; reason: why it was skipped or how it failed.
    result: raw JSON values (None = NaN); arrays: file name of every array by its name.
    """

    identity: Mapping[str, Any]
    status: str
    reason: str = ""
    result: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, str] = field(default_factory=dict)
    seconds: float = math.nan
    environment: Mapping[str, Any] = field(default_factory=dict)
    plugin_files: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        return identity_key(self.identity)

    @property
    def is_whole(self) -> bool:
        """Whether the files of all its arrays are there."""
        return all(
            path_of(self.key).with_name(file).exists() or packs.has(file)
            for file in self.arrays.values()
        )

    def array(self, name: str) -> NDArray[Any]:
        """One of the record's arrays, memory-mapped if it is not in a pack.

        Raises: BrokenStore if its file is missing or damaged.
        """
        path = path_of(self.key).with_name(self.arrays[name])
        try:
            if not path.exists() and (packed := packs.content(path.name)) is not None:
                return np.asarray(np.load(io.BytesIO(packed), allow_pickle=False))
            return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
        except (OSError, ValueError, EOFError) as error:
            raise BrokenStore(
                f"{path} cannot be opened: {error}.", "Run the suite again."
            ) from error


def identity_key(identity: Mapping[str, Any]) -> str:
    """The hex name of an identity; the order of its keys does not matter."""
    return hashlib.sha256(canonical_json(identity)).hexdigest()[:32]


def run_key(identity: Mapping[str, Any]) -> str:
    """The hex name of a run whatever the versions of its plug-ins: the same for all of them."""
    return identity_key({name: held for name, held in identity.items() if name != "versions"})


def runs_folder() -> Path:
    """Where records lie."""
    return home() / "runs"


def path_of(key: str) -> Path:
    """The record's file."""
    return runs_folder() / key[:2] / f"{key}.json"


def write(record: Record, arrays: Mapping[str, NDArray[Any]]) -> Record:
    """Stores arrays first, the record last; returns the record with its arrays' file names.

    Raises: StorageFailed if the disk refuses.
    """
    path = path_of(record.key)
    files = {}
    for name, array in arrays.items():
        files[name] = f"{record.key}.{name}.npy"
        content = io.BytesIO()
        np.save(content, array, allow_pickle=False)
        write_atomically(path.with_name(files[name]), content.getvalue(), durable=False)
    stored = {**record.__dict__, "arrays": files, "seconds": _nan_to_none(record.seconds)}
    stored["result"] = _nan_to_none(record.result)
    write_atomically(path, json.dumps(stored, indent=1, allow_nan=False).encode(), durable=False)
    return Record(**{**record.__dict__, "arrays": files})


def read(key: str) -> Record | None:
    """The record of this key, or None if there is none.

    Raises: BrokenStore if the file is not a record; TestSliceSealed while a method runs, since
    records hold the truth of earlier runs.
    """
    check_unsealed("the records of earlier runs")
    path = path_of(key)
    try:
        content = path.read_bytes() if path.exists() else packs.content(path.name)
        return None if content is None else Record(**json.loads(content))
    except (OSError, ValueError, TypeError) as error:
        raise BrokenStore(
            f"{path} is not a record: {error}.", "Remove the file and run the suite again."
        ) from error


def pack(path: Path, records: Sequence[Record]) -> None:
    """Writes finished records with their arrays into one file, see `harness.packs`.

    Raises: StorageFailed; BrokenStore if a record or an array of it is gone.
    """
    members = {}
    for record in records:
        own = path_of(record.key)
        for name in (own.name, *record.arrays.values()):
            held = own.with_name(name)
            content = held.read_bytes() if held.exists() else packs.content(name)
            if content is None:
                raise BrokenStore(f"{held} is missing.", "Run the suite again.")
            members[f"{run_key(record.identity)}/{name}"] = content
    packs.write(path, members)


def keys() -> list[str]:
    """The keys of all records below NAS_HARNESS_HOME; those in packs are not listed."""
    return sorted(path.stem for path in runs_folder().glob("??/*.json"))


def read_all() -> Iterator[Record]:
    """All records, in the order of their keys.

    Raises: as `read`.
    """
    for key in keys():
        if (record := read(key)) is not None:
            yield record


def _nan_to_none(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _nan_to_none(inner) for key, inner in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_nan_to_none(inner) for inner in value]
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value
