"""Packing of many architectures: chunks that survive a kill, then one store in one step."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from adapters._training_runs import Layout, Measured
from harness.arch import ListedSpace
from harness.benchmark import UNITS, Cost, Holding, Roles, Slice, Table
from harness.builder import Provenance, StoreBuilder
from harness.errors import BadFile, HarnessError, InvalidSpec
from harness.files import canonical_json, disk_errors, locked, write_atomically
from harness.store import check_new, stores_folder

NO_VALUES = np.empty(0, dtype=np.float32)
CHUNK_ARCHS = 128  # Ours: 5 MB of a topology space's values, seconds of work to lose.


@dataclass(frozen=True)
class Chunk:
    """Some architectures' values side by side.

    values: (width, n_archs) float32, or the file that holds them row by row; layout: per block of
    rows its slice, seed and epochs; costs: per cost one value an architecture; digests: sha256 of
    every raw file.
    """

    indices: list[int]
    layout: Layout
    values: NDArray[np.float32] | Path
    costs: dict[Cost, list[float]]
    digests: list[str]

    def blocks(self, at: Slice) -> Iterator[tuple[int, tuple[int, ...], NDArray[np.float32]]]:
        """(seed, epochs, values (n_epoch, n_archs)) of every seed of a slice."""
        for seed, epochs, start in self._places.get(at, []):
            yield seed, epochs, self._rows(start, len(epochs))

    @cached_property
    def _places(self) -> dict[Slice, list[tuple[int, tuple[int, ...], int]]]:
        """Per slice its seeds, with their epochs and first rows."""
        places: dict[Slice, list[tuple[int, tuple[int, ...], int]]] = {}
        start = 0
        for at, seed, epochs in self.layout:
            places.setdefault(at, []).append((seed, epochs, start))
            start += len(epochs)
        return places

    def _rows(self, start: int, n_rows: int) -> NDArray[np.float32]:
        if not isinstance(self.values, Path):
            return self.values[start : start + n_rows]
        n_archs = len(self.indices)
        offset, count = 4 * start * n_archs, n_rows * n_archs
        rows = np.fromfile(self.values, np.float32, count, offset=offset)
        return rows.reshape(n_rows, n_archs)


def make_chunk(archs: Mapping[int, Measured], where: str, digests: Sequence[str] = ()) -> Chunk:
    """Lays the architectures' values side by side; what one of them lacks is NaN.

    Raises: BadFile if an accuracy is no percentage.
    """
    layout = _union([arch.layout for arch in archs.values()])
    columns = [
        arch.values if arch.layout == layout else _placed(layout, arch) for arch in archs.values()
    ]
    values = np.stack(columns, axis=1)
    _check_percentages(layout, values, list(archs), where)
    names = dict.fromkeys(cost for arch in archs.values() for cost in arch.costs)
    costs = {c: [arch.costs.get(c, float("nan")) for arch in archs.values()] for c in names}
    return Chunk(list(archs), layout, values, costs, list(digests))


def _union(layouts: Sequence[Layout]) -> Layout:
    """The layout that holds all others; the first itself where all are alike."""
    if all(own == layouts[0] for own in layouts):
        return layouts[0]
    epochs_of: dict[tuple[Slice, int], set[int]] = {}
    for own in layouts:
        for at, seed, epochs in own:
            epochs_of.setdefault((at, seed), set()).update(epochs)
    return [(at, seed, tuple(sorted(epochs))) for (at, seed), epochs in epochs_of.items()]


def _placed(layout: Layout, arch: Measured) -> NDArray[np.float32]:
    """The values of one architecture where another layout has them, NaN elsewhere."""
    own: dict[tuple[Slice, int], tuple[tuple[int, ...], NDArray[np.float32]]] = {}
    start = 0
    for at, seed, epochs in arch.layout:
        own[at, seed] = epochs, arch.values[start : start + len(epochs)]
        start += len(epochs)
    placed = []
    for at, seed, epochs in layout:
        held, values = own.get((at, seed), ((), NO_VALUES))
        if held != epochs:
            spread = np.full(len(epochs), np.nan, dtype=np.float32)
            spread[[epochs.index(epoch) for epoch in held]] = values
            values = spread
        placed.append(values)
    return np.concatenate(placed)


def _check_percentages(
    layout: Layout,
    values: NDArray[np.float32],
    indices: Sequence[int],
    where: str,
) -> None:
    is_accuracy = np.repeat(
        [at.metric == "accuracy" for at, _, _ in layout], [len(e) for *_, e in layout]
    )
    wrong = np.argwhere(((values < 0) | (values > 100)) & is_accuracy[:, np.newaxis])
    if len(wrong):
        raise BadFile(
            f"{where}: architecture {indices[wrong[0][1]]} has an accuracy of"
            f" {values[tuple(wrong[0])]:g} %.",
            "Download the file again.",
        )


class Packing:
    """A resumable import: finished chunks lie in a folder of their own until all are there.

    Used as a context manager, it keeps a second import of the same store out.
    Raises: InvalidSpec if another import of this store is running; StorageFailed.
    """

    def __init__(self, name: str, adapter: str) -> None:
        self.name = name
        self._adapter = adapter
        self._folder = stores_folder() / f".import-{name}"

    def __enter__(self) -> Packing:
        check_new(self.name, self._adapter)
        self._lock = locked(stores_folder() / f".import-{self.name}.lock", wait=False)
        try:
            self._lock.__enter__()
        except BlockingIOError as error:
            raise InvalidSpec(f"Another import of {self.name} runs.", "Wait for it.") from error
        with disk_errors(f"the import of {self.name}"):
            self._folder.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.__exit__(None, None, None)

    def path(self, made_from: object) -> Path:
        """The file that marks a chunk as finished; another one for other raw input.

        made_from: all that the chunk's content depends on, as JSON values.
        """
        digest = hashlib.sha256(canonical_json(made_from)).hexdigest()
        return self._folder / f"chunk-{digest[:32]}.json"

    def commit(
        self,
        paths: Sequence[Path],
        space: ListedSpace,
        roles: Mapping[str, Roles],
        provenance: Callable[[list[str]], Provenance],
    ) -> str:
        """Joins the finished chunks into the store and removes them; returns the store's name.

        provenance: is given the sha256 of every raw file, in the order of the chunks.
        """
        chunks = [read_chunk(path) for path in paths]
        order = _order(chunks)
        indices = order.indices
        builder = StoreBuilder(self.name, space, space.codes[indices], indices.tolist())
        try:
            for holding, array in joined(chunks, order):
                builder.add(holding, array)
            for cost, column in joined_costs(chunks, order):
                builder.add_cost(cost, column)
            digests = [digest for chunk in chunks for digest in chunk.digests]
            builder.commit(roles_held(roles, chunks), provenance(digests))
        except BaseException:
            builder.discard()
            raise
        self.clear()
        return self.name

    def clear(self) -> None:
        """Removes the finished chunks, once all of them are in the store."""
        shutil.rmtree(self._folder, ignore_errors=True)


def write_chunk(path: Path, chunk: Chunk) -> None:
    """Stores a chunk: values first, then the file that marks it as finished."""
    assert not isinstance(chunk.values, Path)
    # Under a name of its own first: a worker that outlived a killed import may write it too.
    write_atomically(path.with_suffix(".float32"), chunk.values.data, durable=False)
    described = {
        "indices": chunk.indices,
        "layout": [[str(at), seed, list(epochs)] for at, seed, epochs in chunk.layout],
        "costs": [
            [cost.name, cost.dataset, cost.trained_on, cost.epochs, values]
            for cost, values in chunk.costs.items()
        ],
        "digests": chunk.digests,
    }
    write_atomically(path, json.dumps(described).encode(), durable=False)


def is_finished(path: Path) -> bool:
    """Whether a chunk is whole on disk; one that a power cut damaged is made again."""
    try:
        chunk = read_chunk(path)
        n_values = len(chunk.indices) * sum(len(epochs) for *_, epochs in chunk.layout)
        return path.with_suffix(".float32").stat().st_size == 4 * n_values
    except (OSError, ValueError, KeyError, TypeError, HarnessError):
        return False


def read_chunk(path: Path) -> Chunk:
    """A finished chunk; its values stay on disk."""
    described = json.loads(path.read_bytes())
    return Chunk(
        indices=described["indices"],
        layout=[(Slice.parse(at), seed, tuple(e)) for at, seed, e in described["layout"]],
        values=path.with_suffix(".float32"),
        costs={Cost(*key): values for *key, values in described["costs"]},
        digests=described["digests"],
    )


@dataclass(frozen=True)
class Order:
    """Where the chunks' architectures stand when all are sorted by index.

    indices: (n_arch,) ascending. places: per chunk the rows of its architectures.
    """

    indices: NDArray[np.int32]
    places: list[NDArray[np.intp]]


def _order(chunks: Sequence[Chunk]) -> Order:
    indices = np.array([index for chunk in chunks for index in chunk.indices], dtype=np.int32)
    rows = np.argsort(np.argsort(indices, kind="stable"), kind="stable")
    ends = np.cumsum([len(chunk.indices) for chunk in chunks])
    return Order(np.sort(indices), np.split(rows, ends[:-1]))


def joined(chunks: Sequence[Chunk], order: Order) -> Iterator[tuple[Holding, NDArray[np.float32]]]:
    """Every slice with its (n_seed, n_epoch, n_arch) array, one in memory at a time."""
    seeds: dict[Slice, set[int]] = {}
    epochs: dict[Slice, set[int]] = {}
    for chunk in chunks:
        for at, seed, held in chunk.layout:
            seeds.setdefault(at, set()).add(seed)
            epochs.setdefault(at, set()).update(held)
    for at in sorted(seeds, key=str):
        holding = Holding(at, UNITS[at.metric], tuple(sorted(seeds[at])), tuple(sorted(epochs[at])))
        yield holding, _joined_array(holding, chunks, order)


def _joined_array(holding: Holding, chunks: Sequence[Chunk], order: Order) -> NDArray[np.float32]:
    shape = (len(holding.seeds), len(holding.epochs), len(order.indices))
    array = np.full(shape, np.nan, dtype=np.float32)
    for chunk, rows in zip(chunks, order.places, strict=True):
        # Chunks of neighbours, which is the rule, are copied as blocks.
        first, last = int(rows[0]), int(rows[-1])
        where = slice(first, last + 1) if last - first == len(rows) - 1 else rows
        for seed, epochs, values in chunk.blocks(holding.slice):
            of_seed = array[holding.seeds.index(seed)]
            if epochs == holding.epochs:
                of_seed[:, where] = values
            else:
                for epoch, value in zip(epochs, values, strict=True):
                    of_seed[holding.epoch_position(epoch), where] = value
    return array


def joined_costs(
    chunks: Sequence[Chunk], order: Order
) -> Iterator[tuple[Cost, NDArray[np.float64]]]:
    """Every cost that was recorded at all, (n_arch,) each."""
    for cost in sorted({cost for chunk in chunks for cost in chunk.costs}, key=str):
        column = np.full(len(order.indices), np.nan)
        for chunk, rows in zip(chunks, order.places, strict=True):
            column[rows] = chunk.costs.get(cost, np.nan)
        if not np.isnan(column).all():
            yield cost, column


def roles_held(roles: Mapping[str, Roles], chunks: Iterable[Chunk]) -> dict[str, Roles]:
    """The roles of those data sets whose truth is there; a missing search or short is None."""
    held = {at for chunk in chunks for at, _, _ in chunk.layout}
    return {
        dataset: Roles(
            search=declared.search if declared.search in held else None,
            truth=declared.truth,
            short=declared.short if declared.short in held else None,
        )
        for dataset, declared in roles.items()
        if declared.truth in held
    }


def in_memory(
    name: str, space: ListedSpace, archs: Mapping[int, Measured], roles: Mapping[str, Roles]
) -> Table:
    """A benchmark that holds the architectures in memory, for live objects."""
    chunks = [make_chunk(archs, name)]
    order = _order(chunks)
    pairs = list(joined(chunks, order))
    return Table(
        name=name,
        space=space,
        codes=space.codes[order.indices],
        indices=order.indices,
        holdings=[holding for holding, _ in pairs],
        arrays={holding.slice: array for holding, array in pairs},
        costs=dict(joined_costs(chunks, order)),
        roles=roles_held(roles, chunks),
    )
