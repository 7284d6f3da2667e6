"""mini201: every cell of NAS-Bench-201's space, trained by this project on cluttered digits.

The table ships with the project and is unpacked into the user's store at first use. Cells that
compute the same function share one training; parameters and multiply-adds are each cell's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from harness import class_table
from harness.adapter import Adapter, Progress, RawSource
from harness.benchmark import UNITS, Cost, Holding, Roles, Slice
from harness.builder import Provenance, Source, StoreBuilder
from harness.class_table import SPLITS, ClassTable
from harness.errors import BadFile, InvalidSpec
from harness.files import sha256_of
from harness.spaces.nb201 import ImageTask, TopologySpace, network_cost

SPACE = TopologySpace()
SHIPPED = Path(__file__).with_name("mini201.npz")
STORE, OWN_STORE = "mini201", "mini201-own"
TRAINED_ON = "train"
METRICS = {"accuracy": ClassTable.accuracy, "loss": ClassTable.loss}
N_STAGES = 3
LICENCE = "MIT; the images are made from UCI's handwritten digits, CC BY 4.0"
CITATION = "mini201, this project; digits: Alpaydin and Kaynak, UCI ML Repository, 1998"
NOTES = (
    "One training a functional class and seed: cells that compute the same function have the same"
    " values. Seconds are of one processor core."
)


@final
class Mini201(Adapter):
    """Packs the shipped table, or one that `nas-harness build mini201` wrote."""

    version = 1
    sources = (
        RawSource(
            name="mini201",
            summary="every cell of NAS-Bench-201's space on cluttered digits, every epoch",
            store=STORE,
            patterns=(),
            download="ships with the project; nas-harness build mini201 makes it again",
            shipped=SHIPPED,
            tested_on="itself: it is the project's own measurement",
        ),
    )

    def store_of(self, source: str, path: Path) -> str:
        return STORE if path.resolve() == SHIPPED.resolve() else OWN_STORE

    def pack(
        self, source: str, path: Path, *, mapping: str | None, jobs: int, progress: Progress
    ) -> str:
        if mapping is not None:
            raise InvalidSpec(f"{source} takes no --map.")
        table = class_table.read(path)
        rows, indices = _trained_cells(table, path)
        name = self.store_of(source, path)
        builder = StoreBuilder(name, SPACE, SPACE.codes[indices], indices.tolist())
        try:
            for holding, of_class in _series(table):
                builder.add(holding, of_class[:, :, rows])
            for cost, column in _costs(table, rows, indices):
                builder.add_cost(cost, column)
            builder.commit({_dataset(table): _roles(table)}, _provenance(path, name))
        except BaseException:
            builder.discard()
            raise
        return name


def _trained_cells(table: ClassTable, path: Path) -> tuple[NDArray[np.intp], NDArray[np.int32]]:
    """The cells whose class was trained at all: row of the class, and index of the cell."""
    if table.settings.get("space") != SPACE.name:
        raise BadFile(f"{path} is a table of {table.settings.get('space')}, not of {SPACE.name}.")
    representatives = SPACE.representatives
    if not np.array_equal(table.classes, np.unique(representatives)):
        raise BadFile(f"{path} does not list the functional classes of {SPACE.name}.")
    if not _begun(table):
        raise BadFile(f"{path} holds no training yet.", "Go on with nas-harness build.")
    trained = np.any([table.trained(epochs).any(axis=0) for epochs in _begun(table)], axis=0)
    row_of_cell = np.searchsorted(table.classes, representatives)
    indices = np.flatnonzero(trained[row_of_cell]).astype(np.int32)
    return row_of_cell[indices], indices


def _begun(table: ClassTable) -> list[int]:
    """Schedules of which anything is trained."""
    return [epochs for epochs in table.schedules if table.trained(epochs).any()]


def _dataset(table: ClassTable) -> str:
    return str(table.settings["dataset"])


def _series(table: ClassTable) -> Iterator[tuple[Holding, NDArray[np.float32]]]:
    """Every slice with its (n_seed, n_epoch, n_class) values."""
    for epochs in _begun(table):
        for split in SPLITS:
            for metric, values_of in METRICS.items():
                at = Slice(_dataset(table), TRAINED_ON, split, metric, epochs)
                every = tuple(range(1, epochs + 1))
                yield (
                    Holding(at, UNITS[metric], table.seeds, every),
                    values_of(table, epochs, split),
                )


def _costs(
    table: ClassTable, rows: NDArray[np.intp], indices: NDArray[np.int32]
) -> Iterator[tuple[Cost, NDArray[np.float64]]]:
    """Closed-form costs of every cell, and the seconds of its class: the mean over its seeds."""
    dataset = _dataset(table)
    for name in ("params", "flops"):
        yield Cost(name, dataset), _network_cost(name, table.settings, SPACE.codes[indices])
    for epochs in _begun(table):
        for split, name, times in (
            ("train", "train_seconds", epochs),
            ("valid", "valid_seconds", 1),
        ):
            seconds = table.mean_seconds(epochs, split)[rows]
            yield Cost(name, dataset, TRAINED_ON, epochs), seconds * times


def _network_cost(
    name: str, settings: Mapping[str, Any], codes: NDArray[np.uint8]
) -> NDArray[np.float64]:
    network = settings["network"]
    return network_cost(
        name,
        codes,
        ImageTask(network["n_classes"], settings["side"], network["n_in"]),
        channels=[network["channels"] << stage for stage in range(N_STAGES)],
        n_cells=network["n_cells"],
    )


def _roles(table: ClassTable) -> Roles:
    """A method sees the validation accuracy; the long schedule is what is searched for."""
    long, short = max(_begun(table)), min(_begun(table))
    dataset = _dataset(table)
    return Roles(
        search=Slice(dataset, TRAINED_ON, "valid", "accuracy", long),
        truth=Slice(dataset, TRAINED_ON, "test", "accuracy", long),
        short=Slice(dataset, TRAINED_ON, "valid", "accuracy", short) if short < long else None,
    )


def _provenance(path: Path, name: str) -> Provenance:
    return Provenance(
        adapter="mini201",
        adapter_version=Mini201.version,
        sources=(Source(path.name, sha256_of(path), path.stat().st_size),),
        licence=LICENCE,
        citation=CITATION,
        notes=NOTES,
        shipped=name == STORE,
    )


ADAPTER = Mini201()
