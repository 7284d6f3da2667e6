"""NAS-Bench-101: its two .tfrecord files, and live nasbench.api objects.

Source: Ying et al., "NAS-Bench-101: Towards Reproducible Neural Architecture Search", ICML 2019.
Each cell was trained three times for each of four schedules, and
measured half-way and at the end of each training: there are no curves.
"""

from __future__ import annotations

import binascii
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from adapters._nb101_rows import (
    ROW,
    ROW_DTYPE,
    SCHEDULES,
    SPLITS,
    Rows,
    codes_of,
    decoded,
    encoded_graph,
    packed,
    rows_of,
    spec_of,
)
from adapters._packing import Packing
from adapters._tfrecord import DAMAGED, SPAN_BYTES, Evaluation, Metrics, Span
from adapters._tfrecord import payloads as read_payloads
from adapters._tfrecord import spans as read_spans
from harness.adapter import Adapter, Progress, RawSource
from harness.arch import Codes
from harness.benchmark import UNITS, Cost, Holding, Roles, Slice, Table
from harness.builder import Provenance, Source, StoreBuilder
from harness.errors import BadFile, InvalidArch, InvalidSpec
from harness.files import write_atomically
from harness.spaces.nb101 import MAX_EDGES, N_EDGES, CellSpace

STORE, STORE_108 = "nb101", "nb101-only108"
FULL_FILE, FILE_108 = "nasbench_full.tfrecord", "nasbench_only108.tfrecord"
PUBLISHED_SHA256 = {  # The README of github.com/google-research/nasbench.
    FULL_FILE: "3d64db8180fb1b0207212f9032205064312b6907a3bbc81eabea10db2f5c7e9c",
    FILE_108: "4c39c3936e36a85269881d659e44e61a245babcb72cb374eacacf75d0e5f4fd1",
}
DATASET, TRAINED_ON, METRIC = "cifar10", "train", "accuracy"
LONGEST, SHORT = 108, 12
SEEDS = (0, 1, 2)  # The file numbers no seeds; these are the places among a cell's rows.
N_HASHED = 2000  # Ours: cells whose hash is computed anew; all are told apart by their graphs.
CITATION = "Ying et al., NAS-Bench-101, ICML 2019, arXiv:1902.09635"
LICENCE = "Apache-2.0"
SPACE = CellSpace()
NOTES = (
    "Seeds 0, 1 and 2 are the repeats in the order of the file. Cells stand in the order of their"
    " module hashes, their vertices numbered as in the file."
)

CHECKSUM = struct.Struct("<I")
Parts = Sequence[Rows | Path]


@final
class Nb101(Adapter):
    """Packs either of the two files."""

    version = 1
    sources = (
        RawSource(
            name="nb101",
            summary="NAS-Bench-101: 423,624 cells, half-way and end of 4, 12, 36 and 108 epochs",
            store=STORE,
            patterns=(FULL_FILE, FILE_108),
            download=f"{FULL_FILE} or {FILE_108}, linked from github.com/google-research/nasbench",
            size="1.95 GB; 499 MB for 108 epochs only",
            checksum="sha256 in the README there; the import compares",
            tested_on=(
                "rows in the real format with 30,001 real cells' graphs, hashes and validation"
                " accuracies; never the real file"
            ),
        ),
    )

    def store_of(self, source: str, path: Path) -> str:
        return STORE_108 if path.name == FILE_108 else STORE

    def pack(
        self, source: str, path: Path, *, mapping: str | None, jobs: int, progress: Progress
    ) -> str:
        if mapping is not None:
            raise InvalidSpec(f"{source} takes no --map.")
        name = self.store_of(source, path)
        with Packing(name, "nb101") as packing:
            spans, sha256 = read_spans(path, SPAN_BYTES)
            raw = Source(path.name, sha256, spans[-1].stop, _published(path, sha256))
            parts = _decode_all(packing, path, spans, jobs, progress)
            try:
                series = joined(parts)
            except _RowFault as found:
                raise _bad_record(path, spans, found) from found
            _commit(name, series, raw)
            packing.clear()
        return name


def _published(path: Path, sha256: str) -> str:
    if path.name not in PUBLISHED_SHA256:
        return "matches" if sha256 in PUBLISHED_SHA256.values() else "none"
    return "matches" if sha256 == PUBLISHED_SHA256[path.name] else "differs"


def _decode_all(
    packing: Packing, path: Path, spans: Sequence[Span], jobs: int, progress: Progress
) -> list[Path]:
    """Decodes the spans that are not decoded yet; returns the rows' files in file order."""
    from joblib import Parallel, delayed

    total = spans[-1].stop
    state = path.stat()
    made_from = [Nb101.version, str(path.resolve()), state.st_size, state.st_mtime_ns]
    parts = [
        packing.path([*made_from, span.start, span.stop, span.first]).with_suffix(".rows")
        for span in spans
    ]
    missing = [(p, s) for p, s in zip(parts, spans, strict=True) if not _is_finished(p, s)]
    done = spans[-1].stop - sum(span.stop - span.start for _, span in missing)
    progress(done, total)
    pool = Parallel(n_jobs=jobs, return_as="generator_unordered")
    for n_bytes in pool(delayed(_decode)(part, path, span) for part, span in missing):
        done += n_bytes
        progress(done, total)
    return parts


def _decode(part: Path, path: Path, span: Span) -> int:
    """Turns one span into a finished file of rows; runs in a worker process."""
    rows = b"".join(_decoded(path, span))
    # A power cut may leave a file of the right size with other content.
    rows += CHECKSUM.pack(zlib.crc32(rows))
    write_atomically(part, memoryview(rows), durable=False)
    return span.stop - span.start


def _decoded(path: Path, span: Span) -> Iterator[bytes]:
    """The rows of a span as `ROW` packs them, many at a time.

    Rows that are not written as the published ones, and what are no rows at all, are read singly.
    Raises: BadFile with record and byte.
    """
    first = 0
    for payloads in read_payloads(path, span):
        rows = rows_of(payloads)
        if rows is not None:
            yield rows.tobytes()
        else:
            yield from (_one(path, span, first + i, row) for i, row in enumerate(payloads))
        first += len(payloads)


def _one(path: Path, span: Span, record: int, payload: bytes) -> bytes:
    try:
        return decoded(payload)
    except (ValueError, TypeError, RecursionError) as error:
        where = span.place(path, record)
        raise BadFile(f"{where}: {error}.", "Give NAS-Bench-101's own file.") from error


def _is_finished(part: Path, span: Span) -> bool:
    try:
        content = part.read_bytes()
    except OSError:
        return False
    rows, checksum = content[: -CHECKSUM.size], content[-CHECKSUM.size :]
    n_bytes = span.n_records * ROW.size
    return len(rows) == n_bytes and CHECKSUM.pack(zlib.crc32(rows)) == checksum


class _RowFault(Exception):
    """A row that cannot be: its number among all rows, and what is wrong with it."""

    def __init__(self, row: int, reason: str) -> None:
        super().__init__(row, reason)
        self.row, self.reason = row, reason


def _bad_record(path: Path, spans: Sequence[Span], found: _RowFault) -> BadFile:
    """The error that names the place of a row in its file."""
    span = next(s for s in spans if found.row < s.first + s.n_records)
    return BadFile(f"{span.place(path, found.row - span.first)}: {found.reason}.", DAMAGED)


@dataclass(frozen=True)
class Order:
    """Where the rows belong.

    hashes: (n_cell, 2), ascending. firsts: (n_cell,) the first row of each cell. cells, repeats:
    (n_row,) the cell of every row, and how many of its rows with this schedule came before.
    """

    hashes: NDArray[np.uint64]
    firsts: NDArray[np.intp]
    cells: NDArray[np.int32]
    repeats: NDArray[np.int32]


class Series(NamedTuple):
    """Everything of a benchmark but its name; cells in the order of their hashes."""

    keys: NDArray[np.bytes_]
    codes: Codes
    arrays: list[tuple[Holding, NDArray[np.float32]]]
    costs: dict[Cost, NDArray[np.float64]]
    roles: dict[str, Roles]


def joined(parts: Parts) -> Series:
    """Sorts the rows by hash, numbers the repeats and checks the graphs against the hashes.

    parts: rows, or the files of rows that `_decode` wrote, in the order of the raw file.
    Raises: _RowFault for a row that cannot be; BadFile if none has the longest schedule.
    """
    hashes, epochs, graphs, n_params = _columns(parts, "hash", "epochs", "graph", "n_params")
    held = [schedule for schedule in SCHEDULES if (epochs == schedule).any()]
    if LONGEST not in held:
        raise BadFile(
            f"No cell was trained for {LONGEST} epochs; there is only {held}.",
            f"Give {FULL_FILE} or {FILE_108}.",
        )
    order = _ordered(hashes.astype(np.uint64), epochs)
    codes = _checked_codes(order, graphs)
    accuracy, seconds = _filled(parts, order, held)
    costs = {Cost("params-recorded", DATASET): n_params[order.firsts] / 1e6}
    for schedule, of_schedule in zip(held, seconds, strict=True):
        costs[Cost("train_seconds", DATASET, TRAINED_ON, schedule)] = _mean(of_schedule)
    arrays = [
        (_holding(split, schedule), accuracy[i, :, :, j])
        for i, schedule in enumerate(held)
        for j, split in enumerate(SPLITS)
    ]
    return Series(_hex(order.hashes), codes, arrays, costs, _roles(held))


def _rows(part: Rows | Path) -> Rows:
    if not isinstance(part, Path):
        return part
    n_rows = part.stat().st_size // ROW.size  # The checksum behind them is shorter than a row.
    return np.fromfile(part, ROW_DTYPE, n_rows)


def _columns(parts: Parts, *fields: str) -> list[NDArray[Any]]:
    """Each field of all rows; (n_row, ...)."""
    of_parts = [[rows[field].copy() for field in fields] for rows in map(_rows, parts)]
    return [np.concatenate(column) for column in zip(*of_parts, strict=True)]


def _ordered(hashes: NDArray[np.uint64], epochs: NDArray[np.uint8]) -> Order:
    """hashes: (n_row, 2); epochs: (n_row,). Raises: _RowFault at a fourth repeat."""
    firsts, cells = _cells(hashes)
    repeats = _times_before(cells.astype(np.uint64) << np.uint64(8) | epochs)
    if (repeats >= len(SEEDS)).any():
        row = int((repeats >= len(SEEDS)).argmax())
        hash_ = _hex(hashes[row : row + 1])[0].decode()
        raise _RowFault(
            row, f"it is training {repeats[row] + 1} of {hash_} for {epochs[row]} epochs, not 3"
        )
    return Order(hashes[firsts], firsts, cells, repeats)


def _cells(hashes: NDArray[np.uint64]) -> tuple[NDArray[np.intp], NDArray[np.int32]]:
    """(n_cell,) the first row of every hash, by hash, and (n_row,) every row's place there."""
    n_bits = np.uint64(len(hashes).bit_length())
    order, upper = _sorted(hashes[:, 0] >> n_bits)
    firsts, cells = _groups(order, upper[1:] != upper[:-1])
    # The 423,624 hashes differ in their upper 36 bits already; those of a false file may not.
    if (hashes[firsts].take(cells, axis=0) != hashes).any():
        order = np.lexsort((hashes[:, 1], hashes[:, 0]))
        ranked = hashes[order]
        firsts, cells = _groups(order, (ranked[1:] != ranked[:-1]).any(axis=1))
    return firsts, cells


def _groups(
    order: NDArray[np.intp], changes: NDArray[np.bool_]
) -> tuple[NDArray[np.intp], NDArray[np.int32]]:
    """First rows of the groups and (n_row,) every row's group, of rows that were sorted.

    changes: (n_row - 1,) whether a row in this order belongs to another group than that before.
    """
    is_first = np.concatenate(([True], changes))
    groups = np.empty(len(order), dtype=np.int32)
    groups[order] = np.cumsum(is_first, dtype=np.int32) - 1
    return order[is_first], groups


def _sorted(numbers: NDArray[np.uint64]) -> tuple[NDArray[np.intp], NDArray[np.uint64]]:
    """Places of numbers that ascend, equal ones in their own order, and the numbers so ordered.

    Each is sorted as one number with its place, which is several times as fast as `argsort`; so
    there must be room for the places above the numbers.
    """
    n_bits = np.uint64(len(numbers).bit_length())
    ranked = np.sort(numbers << n_bits | np.arange(len(numbers), dtype=np.uint64))
    places = ranked & ((np.uint64(1) << n_bits) - np.uint64(1))
    return places.astype(np.intp), ranked >> n_bits


def _times_before(values: NDArray[np.uint64]) -> NDArray[np.int32]:
    """How often each value came before."""
    order, ranked = _sorted(values)
    places = np.arange(len(values), dtype=np.int32)
    starts = places.copy()
    starts[1:][ranked[1:] == ranked[:-1]] = 0
    before = np.empty_like(places)
    before[order] = places - np.maximum.accumulate(starts)
    return before


def _hex(hashes: NDArray[np.uint64]) -> NDArray[np.bytes_]:
    """(n,) md5 sums as text, of (n, 2) halves."""
    return np.frombuffer(binascii.hexlify(hashes.astype(">u8").tobytes()), dtype="S32")


def _checked_codes(order: Order, graphs: NDArray[np.uint64]) -> Codes:
    """(n_cell, 26) the code of every cell, its vertices numbered as the file does.

    graphs: (n_row,). Hashes must tell graphs apart exactly as isomorphism does, in every way that
    a cell is written; N_HASHED of the cells, spread over all, are hashed anew too.
    Raises: _RowFault if a graph is no cell, or has another hash than its row says.
    """
    others = np.flatnonzero(graphs != graphs[order.firsts][order.cells])
    _, once = np.unique(np.stack((order.cells[others], graphs[others])), axis=1, return_index=True)
    rows = np.concatenate((order.firsts, others[once]))
    cells = order.cells[rows]
    codes, is_upper = codes_of(graphs[rows])
    canonical = SPACE.canonical_codes(codes)
    n_edges = canonical[:, :N_EDGES].sum(axis=1)
    suspect = ~is_upper | (n_edges == 0) | (n_edges > MAX_EDGES)
    suspect |= _is_split(cells, SPACE.numbers(canonical))
    suspect[np.linspace(0, len(rows) - 1, min(N_HASHED, len(rows))).astype(np.intp)] = True
    for i in np.flatnonzero(suspect).tolist():
        _check_hash(int(rows[i]), int(graphs[rows[i]]), order.hashes[cells[i]])
    return codes[: len(order.firsts)]


def _is_split(cells: NDArray[np.int32], numbers: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether a row's cell has rows of another number, or its number rows of another cell."""
    pairs = np.unique(np.stack((cells.astype(np.int64), numbers)), axis=1)
    split = np.zeros(len(cells), dtype=np.bool_)
    for i, values in enumerate((cells.astype(np.int64), numbers)):
        found, counts = np.unique(pairs[i], return_counts=True)
        split |= np.isin(values, found[counts > 1])
    return split


def _check_hash(row: int, graph: int, hash_: NDArray[np.uint64]) -> None:
    named = _hex(hash_[np.newaxis])[0].decode()
    try:
        own = SPACE.module_hash(SPACE.of_spec(*spec_of(graph)))
    except InvalidArch as error:
        raise _RowFault(row, f"its graph is no cell: {error.message}") from error
    if own != named:
        raise _RowFault(row, f"its hash is {named}, but its graph has {own}")


def _filled(
    parts: Parts, order: Order, held: Sequence[int]
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Percent (n_schedule, n_seed, 2, n_split, n_cell), seconds (n_schedule, n_seed, n_cell)."""
    shape = (len(held), len(SEEDS), 2, len(SPLITS), len(order.firsts))
    accuracy = np.full(shape, np.nan, dtype=np.float32)
    seconds = np.full((len(held), len(SEEDS), shape[-1]), np.nan)
    start = 0
    for part in parts:
        rows = _rows(part)
        stop = start + len(rows)
        at = np.searchsorted(held, rows["epochs"]), order.repeats[start:stop]
        cells = order.cells[start:stop]
        accuracy[at[0], at[1], :, :, cells] = rows["accuracy"]
        seconds[at[0], at[1], cells] = rows["seconds"]
        start = stop
    return accuracy, seconds


def _mean(of_seeds: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n_cell,) mean over the seeds present, NaN where there is none."""
    n_present = (~np.isnan(of_seeds)).sum(axis=0)
    with np.errstate(invalid="ignore"):
        return np.nansum(of_seeds, axis=0) / n_present


def _slice(split: str, schedule: int) -> Slice:
    return Slice(DATASET, TRAINED_ON, split, METRIC, schedule)


def _holding(split: str, schedule: int) -> Holding:
    return Holding(_slice(split, schedule), UNITS[METRIC], SEEDS, (schedule // 2, schedule))


def _roles(held: Sequence[int]) -> dict[str, Roles]:
    short = _slice("valid", SHORT) if SHORT in held else None
    return {DATASET: Roles(_slice("valid", LONGEST), _slice("test", LONGEST), short)}


def _commit(name: str, series: Series, raw: Source) -> None:
    builder = StoreBuilder(name, SPACE, series.codes, range(len(series.codes)))
    try:
        builder.add_keys(series.keys)
        for holding, array in series.arrays:
            builder.add(holding, array)
        for cost, column in series.costs.items():
            builder.add_cost(cost, column)
        provenance = Provenance("nb101", Nb101.version, (raw,), LICENCE, CITATION, NOTES)
        builder.commit(series.roles, provenance)
    except BaseException:
        builder.discard()
        raise


def wrap(api: Any) -> Table:
    """A benchmark from a live nasbench.api.NASBench, with the answers that its file would give.

    Raises: BadFile naming the module hash if the object holds what no file can.
    """
    hashes: list[str] = []
    rows = bytearray()
    for module_hash in api.hash_iterator():
        try:
            found = b"".join(_live_rows(api, module_hash))
        except (ValueError, TypeError, KeyError) as error:
            raise BadFile(f"{module_hash}: {error}.", DAMAGED) from error
        rows += found
        hashes += [module_hash] * (len(found) // ROW.size)
    try:
        series = joined([np.frombuffer(rows, dtype=ROW_DTYPE)])
    except _RowFault as fault:
        raise BadFile(f"{hashes[fault.row]}: {fault.reason}.", DAMAGED) from fault
    has_longest_only = all(holding.slice.epochs == LONGEST for holding, _ in series.arrays)
    return Table(
        name=STORE_108 if has_longest_only else STORE,
        space=SPACE,
        codes=series.codes,
        indices=np.arange(len(series.codes), dtype=np.int32),
        keys=series.keys,
        holdings=[holding for holding, _ in series.arrays],
        arrays={holding.slice: array for holding, array in series.arrays},
        costs=series.costs,
        roles=series.roles,
        citation=CITATION,
    )


def _live_rows(api: Any, module_hash: str) -> Iterator[bytes]:
    """All trainings of one cell of a live object, as `ROW` packs them."""
    fixed, computed = api.get_metrics_from_hash(module_hash)
    adjacency = "".join(str(int(entry)) for entry in np.ravel(fixed["module_adjacency"]))
    graph = encoded_graph(adjacency, ",".join(fixed["module_operations"]))
    n_params = int(fixed["trainable_parameters"])
    for epochs, trainings in computed.items():
        for training in trainings:
            half, end = _live_evaluation(training, "halfway"), _live_evaluation(training, "final")
            yield packed(module_hash, int(epochs), graph, Metrics(half, end, n_params))


def _live_evaluation(training: Mapping[str, float], when: str) -> Evaluation:
    """when: "halfway" or "final"."""
    return Evaluation(
        seconds=training[f"{when}_training_time"],
        train=training[f"{when}_train_accuracy"],
        valid=training[f"{when}_validation_accuracy"],
        test=training[f"{when}_test_accuracy"],
    )


ADAPTER = Nb101()
