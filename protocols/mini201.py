"""Building mini201: every functional class of the nb201 space, trained on cluttered digits.

The 15,625 cells compute 5,260 different functions; the lowest-index cell of each is trained, and
the others share its training. Trainings are independent, so they can be split in any way, stopped
and taken up again; whatever the split, each gives the same curves.
"""

from __future__ import annotations

import hashlib
import io
import platform
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from harness import class_table
from harness.arch import Arch
from harness.class_table import SPLITS, ClassTable
from harness.engine import parallel
from harness.errors import BadFile, InvalidSpec
from harness.files import canonical_json, write_atomically
from harness.seeds import derive
from harness.spaces.nb201 import TopologySpace
from harness.store import home
from protocols.images import cluttered_digits
from protocols.images.cluttered_digits import N_CLASSES, Task
from protocols.nets.nb201 import Network
from protocols.training import Labelled, Schedule, one_thread, seed_weights, train

SPACE = TopologySpace()
DATASET = "cluttered-digits"
TASK = Task()
CHANNELS, N_CELLS, N_IN = 8, 1, 1
# Settled on 40 listed cells; docs/mini201.md says what was tried.
LONG = Schedule(epochs=10, batch_size=64, lr=0.1)
SHORT = Schedule(epochs=4, batch_size=64, lr=0.1)
SCHEDULES = {schedule.epochs: schedule for schedule in (LONG, SHORT)}
COLUMNS = tuple((split, kind) for split in SPLITS for kind in ("correct", "loss", "seconds"))

Rows = NDArray[np.float64]  # (n_epoch, len(COLUMNS)), what one training measured.


@dataclass(frozen=True)
class Training:
    """Which training: the schedule's length, the seed, the index of the class's first cell."""

    epochs: int
    seed: int
    index: int

    @property
    def file(self) -> str:
        """Where its rows are kept, below the build's folder."""
        return f"{self.epochs}-{self.seed}/{self.index:05d}.npy"

    @classmethod
    def of_file(cls, path: Path) -> Training:
        """The training that a file of this name holds."""
        epochs, _, seed = path.parent.name.partition("-")
        return cls(int(epochs), int(seed), int(path.stem))


@dataclass(frozen=True)
class Built:
    """What a build came to.

    n_trained: how many trainings were made now. table: all that is there.
    """

    out: Path
    n_trained: int
    table: ClassTable


def build(
    *,
    seed: int,
    out: Path | None = None,
    tables: Sequence[Path] = (),
    shard: tuple[int, int] = (1, 1),
    limit: int | None = None,
    jobs: int = 1,
    backend: str = "loky",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Built:
    """Trains what is missing of a seed and writes the table of all that is there.

    Every finished training is kept below NAS_HARNESS_HOME, one file each. out: the table (default:
    beside them). tables: earlier tables, whose trainings are taken over. shard: (i, n), the i-th of
    n equal parts, from 1. limit: stop after so many. backend: "loky" or "dask".
    Raises: InvalidSpec, BadFile for a table of other settings, MissingPackage, StorageFailed.
    """
    part, n_parts = shard
    if not 1 <= part <= n_parts:
        raise InvalidSpec(f"There is no shard {part} of {n_parts}.", "Write it like --shard 1/4.")
    folder = home() / "builds" / f"mini201-{settings_digest()[:12]}"
    earlier = [_checked(path) for path in tables]
    known = {path.relative_to(folder).as_posix() for path in folder.rglob("*.npy")}
    known |= {training.file for table in earlier for training in _trained(table)}
    missing = [t for t in trainings(seed)[part - 1 :: n_parts] if t.file not in known][:limit]
    progress(0, len(missing))
    made = _train_each(missing, jobs, backend)
    for n_done, (training, rows, trained_on) in enumerate(made, start=1):
        name = f"machine-{hashlib.sha256(trained_on.encode()).hexdigest()[:8]}.txt"
        if not (folder / name).exists():
            write_atomically(folder / name, trained_on.encode())
        write_atomically(folder / training.file, _npy(rows))
        progress(n_done, len(missing))
    table = _merged(earlier, folder)
    out = out or folder / "mini201.npz"
    write_atomically(out, table.to_bytes())
    return Built(out, len(missing), table)


@cache
def classes() -> NDArray[np.int32]:
    """(5260,): the lowest index of every functional class, ascending."""
    return np.unique(SPACE.representatives)


def trainings(seed: int) -> list[Training]:
    """All trainings of a seed, the long schedule first, in an order that mixes the space.

    What is there when a build is stopped is then a uniform draw of the classes.
    """
    shuffled = derive(0, "order of mini201's trainings").permutation(classes()).tolist()
    return [Training(epochs, seed, index) for epochs in SCHEDULES for index in shuffled]


def _train_each(
    missing: Sequence[Training], jobs: int, backend: str
) -> Iterator[tuple[Training, Rows, str]]:
    import joblib

    with parallel(backend):
        pool = joblib.Parallel(n_jobs=jobs, return_as="generator_unordered")
        yield from pool(joblib.delayed(_train_named)(training) for training in missing)


def _train_named(training: Training) -> tuple[Training, Rows, str]:
    return training, train_class(training), machine()


def train_class(training: Training) -> Rows:
    """One training on one thread: (n_epoch, len(COLUMNS))."""
    with one_thread(), _flushed_denormals():
        seed_weights(training.seed)
        arch = Arch(SPACE.name, tuple(SPACE.codes[training.index].tolist()))
        net = network(arch, only_live=True)
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        found = train(net, images(), SCHEDULES[training.epochs], training.seed)
    columns = [getattr(found, kind)[split] for split, kind in COLUMNS]
    return np.stack(columns, axis=1).astype(np.float64)


@contextmanager
def _flushed_denormals() -> Iterator[None]:
    """Inside, numbers too small to be normal are 0, which is faster; outside, they are not."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def network(arch: Arch, *, only_live: bool = False) -> Network:
    """The network that mini201 trains for a cell."""
    return Network(
        arch,
        n_classes=N_CLASSES,
        channels=CHANNELS,
        n_cells=N_CELLS,
        n_in=N_IN,
        only_live=only_live,
    )


@cache
def images() -> Mapping[str, Labelled]:
    """The task's splits as tensors, (n, 1, size, size) between -2 and 2."""
    return {
        split: Labelled(
            torch.from_numpy((made.images[:, np.newaxis].astype(np.float32) - 128) / 64),
            torch.from_numpy(made.labels),
        )
        for split, made in cluttered_digits.make(TASK).items()
    }


@cache
def settings() -> Mapping[str, Any]:
    """All that a training's result depends on beside its seed, as JSON values."""
    made = cluttered_digits.make(TASK)
    return {
        "format": class_table.FORMAT,
        "space": SPACE.name,
        "dataset": DATASET,
        "side": TASK.size,
        "images": {
            split: {"n": len(made[split].labels), "sha256": made[split].sha256} for split in SPLITS
        },
        "network": {
            "channels": CHANNELS,
            "n_cells": N_CELLS,
            "n_in": N_IN,
            "n_classes": N_CLASSES,
        },
        "schedules": [asdict(schedule) for schedule in SCHEDULES.values()],
    }


def settings_digest() -> str:
    """Names the folder of finished trainings, so that those of other settings never mix in."""
    return hashlib.sha256(canonical_json(settings())).hexdigest()


def machine() -> str:
    """What a curve's last digits depend on: the torch version, the processor, its instructions."""
    try:
        described = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        described = ""
    fields = dict(re.findall(r"^([\w ]+?)\s*: (.*)$", described, re.MULTILINE))
    name = fields.get("model name", platform.processor())
    family, model = fields.get("cpu family", "?"), fields.get("model", "?")
    instructions = torch.backends.cpu.get_cpu_capability()
    return f"torch {torch.__version__}; {name}, family {family}, model {model}; {instructions}"


def _checked(path: Path) -> ClassTable:
    table = class_table.read(path)
    if canonical_json(table.settings) != canonical_json(settings()):
        raise BadFile(
            f"{path} was trained with other settings than this version's.",
            "Leave it out, or train again with the version that made it.",
        )
    return table


def _trained(table: ClassTable) -> Iterator[Training]:
    for epochs in table.schedules:
        for seed, held in zip(table.seeds, table.trained(epochs), strict=True):
            for index in table.classes[held].tolist():
                yield Training(epochs, seed, index)


def _merged(earlier: Sequence[ClassTable], folder: Path) -> ClassTable:
    """All trainings of the earlier tables and of the folder in one table."""
    files = {Training.of_file(path): path for path in sorted(folder.rglob("*.npy"))}
    seeds = {seed for table in earlier for seed in table.seeds} | {t.seed for t in files}
    machines = {name for table in earlier for name in table.machines}
    machines |= {path.read_text(encoding="utf-8") for path in folder.glob("machine-*.txt")}
    merged = ClassTable.empty(settings(), tuple(sorted(machines)), classes(), tuple(sorted(seeds)))
    for table in earlier:
        for row, seed in enumerate(table.seeds):
            for (epochs, split, kind), array in table.arrays.items():
                held = table.trained(epochs)[row]
                into = merged.arrays[epochs, split, kind][merged.seeds.index(seed)]
                into[..., held] = array[row][..., held]
    for training, path in files.items():
        _fill(merged, training, np.load(path, allow_pickle=False))
    return merged


def _fill(table: ClassTable, training: Training, rows: Rows) -> None:
    seed, column = table.seeds.index(training.seed), np.searchsorted(classes(), training.index)
    for values, (split, kind) in zip(rows.T, COLUMNS, strict=True):
        array = table.arrays[training.epochs, split, kind]
        if kind == "seconds":
            array[seed, column] = values.mean()
        else:
            array[seed, :, column] = values


def _npy(rows: Rows) -> bytes:
    content = io.BytesIO()
    np.save(content, rows, allow_pickle=False)
    return content.getvalue()
