"""The file of a benchmark that was trained class by class: curves as counts and half floats.

An .npz with `settings` and `machines` (JSON bytes), `classes` (n_class,) int32, the lowest index of
each functional class, `seeds` (n_seed,) int32, and for every schedule of E epochs and every split

    E/SPLIT/correct  (n_seed, E, n_class) uint16  images classified right; MISSING = never trained
    E/SPLIT/loss     (n_seed, E, n_class) float16 mean cross-entropy in nats; NaN = never trained
    E/SPLIT/seconds  (n_seed, n_class) float32    one epoch's training, or one evaluation
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import BadFile

FORMAT = 1
SPLITS = ("train", "valid", "test")
MISSING = np.iinfo(np.uint16).max
DTYPES = {"correct": np.uint16, "loss": np.float16, "seconds": np.float32}
EMPTY = {"correct": MISSING, "loss": np.nan, "seconds": np.nan}

Key = tuple[int, str, str]  # (schedule's epochs, split, one of DTYPES)


@dataclass(frozen=True)
class ClassTable:
    """Everything that a build measured; see the module for the arrays' shapes.

    settings: what the trainings depend on beside their seeds, as JSON values; `images` gives the
    number of images a split, `schedules` the epochs. machines: on what it was trained, in words;
    the last digits of a curve depend on it.
    """

    settings: Mapping[str, Any]
    machines: tuple[str, ...]
    classes: NDArray[np.int32]
    seeds: tuple[int, ...]
    arrays: Mapping[Key, NDArray[Any]]

    @classmethod
    def empty(
        cls,
        settings: Mapping[str, Any],
        machines: tuple[str, ...],
        classes: NDArray[np.int32],
        seeds: tuple[int, ...],
    ) -> ClassTable:
        """A table of which nothing is trained yet."""
        arrays: dict[Key, NDArray[Any]] = {
            key: np.full(shape, EMPTY[key[2]], DTYPES[key[2]])
            for key, shape in _shapes(settings, len(classes), len(seeds)).items()
        }
        return cls(settings, machines, classes, seeds, arrays)

    def accuracy(self, epochs: int, split: str) -> NDArray[np.float32]:
        """(n_seed, epochs, n_class) percent; NaN = never trained."""
        correct = self.arrays[epochs, split, "correct"]
        percent = correct * (100 / self.n_images(split))
        return np.where(correct == MISSING, np.nan, percent).astype(np.float32)

    def loss(self, epochs: int, split: str) -> NDArray[np.float32]:
        """(n_seed, epochs, n_class) nats; NaN = never trained."""
        return self.arrays[epochs, split, "loss"].astype(np.float32)

    def mean_seconds(self, epochs: int, split: str) -> NDArray[np.float64]:
        """(n_class,) of one epoch ("train") or one evaluation: the mean over the trained seeds."""
        seconds = self.arrays[epochs, split, "seconds"].astype(np.float64)
        trained = ~np.isnan(seconds)
        with np.errstate(invalid="ignore"):
            return np.where(trained, seconds, 0).sum(axis=0) / trained.sum(axis=0)

    def n_images(self, split: str) -> int:
        """How many images a split has."""
        return int(self.settings["images"][split]["n"])

    @property
    def schedules(self) -> list[int]:
        """The schedules by their epochs, as the settings list them."""
        return [int(schedule["epochs"]) for schedule in self.settings["schedules"]]

    def trained(self, epochs: int) -> NDArray[np.bool_]:
        """(n_seed, n_class): whether this schedule was trained."""
        whole: NDArray[np.bool_] = (self.arrays[epochs, "train", "correct"] != MISSING).all(axis=1)
        return whole

    def counts(self) -> dict[str, int]:
        """How many classes are trained, by schedule and seed in words."""
        return {
            f"{epochs} epochs, seed {seed}": int(held.sum())
            for epochs in self.schedules
            for seed, held in zip(self.seeds, self.trained(epochs), strict=True)
        }

    def to_bytes(self) -> bytes:
        """The file's content, the same for the same values."""
        members: dict[str, NDArray[Any]] = {
            "settings": _json_array(self.settings),
            "machines": _json_array(self.machines),
            "classes": self.classes,
            "seeds": np.array(self.seeds, dtype=np.int32),
        }
        members |= {"/".join(map(str, key)): array for key, array in self.arrays.items()}
        content = io.BytesIO()
        np.savez_compressed(content, **members)  # type: ignore[arg-type]
        return content.getvalue()


def read(path: Path) -> ClassTable:
    """Reads a table; executes nothing that the file contains.

    Raises: BadFile with the file and what is wrong with it.
    """
    try:
        if not zipfile.is_zipfile(path):
            raise ValueError("no such file" if not path.exists() else "not an .npz")
        with np.load(path, allow_pickle=False) as members:
            settings, machines = (
                json.loads(members[name].tobytes()) for name in ("settings", "machines")
            )
            if settings["format"] != FORMAT:
                raise ValueError(f"format {settings['format']}, this version reads {FORMAT}")
            classes, seeds = members["classes"], tuple(members["seeds"].tolist())
            arrays = {}
            for key, shape in _shapes(settings, len(classes), len(seeds)).items():
                array = members["/".join(map(str, key))]
                if array.shape != shape or array.dtype != DTYPES[key[2]]:
                    raise ValueError(f"{key} is {array.dtype} {array.shape}")
                arrays[key] = array
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise BadFile(
            f"{path} is not a table of trained classes ({error}).",
            "Give a file that nas-harness build wrote.",
        ) from error
    return ClassTable(settings, tuple(machines), classes, seeds, arrays)


def _json_array(value: object) -> NDArray[np.uint8]:
    return np.frombuffer(json.dumps(value, indent=1).encode(), dtype=np.uint8)


def _shapes(
    settings: Mapping[str, Any], n_classes: int, n_seeds: int
) -> dict[Key, tuple[int, ...]]:
    return {
        (schedule["epochs"], split, kind): (
            (n_seeds, n_classes) if kind == "seconds" else (n_seeds, schedule["epochs"], n_classes)
        )
        for schedule in settings["schedules"]
        for split in SPLITS
        for kind in DTYPES
    }
