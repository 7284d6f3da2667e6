"""NAS-Bench-101: its two .tfrecord files, and live nasbench.api objects.

Source: Ying et al., "NAS-Bench-101: Towards Reproducible Neural Architecture Search", ICML 2019.
A row is [module hash, epochs, adjacency, operations, metrics]: JSON whose last entry is a
ModelMetrics message in base64. Each cell was trained three times for each of four schedules, and
measured half-way and at the end of each training: there are no curves.
"""

from __future__ import annotations

import binascii
import json
import math
import re
import shutil
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from adapters._packing import Packing
from adapters._tfrecord import (
    DAMAGED,
    SPAN_BYTES,
    Evaluation,
    Metrics,
    Span,
    parse_metrics,
    place,
)
from adapters._tfrecord import records as read_records
from adapters._tfrecord import spans as read_spans
from harness.adapter import Adapter, Progress, RawSource
from harness.arch import Codes
from harness.benchmark import UNITS, Cost, Holding, Roles, Slice, Table
from harness.builder import Provenance, Source, StoreBuilder
from harness.errors import BadFile, InvalidArch, InvalidSpec
from harness.files import write_atomically
from harness.spaces.nb101 import INPUT, N_VERTICES, OPS, OUTPUT, CellSpace

STORE, STORE_108 = "nb101", "nb101-only108"
FULL_FILE, FILE_108 = "nasbench_full.tfrecord", "nasbench_only108.tfrecord"
PUBLISHED_SHA256 = {  # The README of github.com/google-research/nasbench.
    FULL_FILE: "3d64db8180fb1b0207212f9032205064312b6907a3bbc81eabea10db2f5c7e9c",
    FILE_108: "4c39c3936e36a85269881d659e44e61a245babcb72cb374eacacf75d0e5f4fd1",
}
DATASET, TRAINED_ON, METRIC = "cifar10", "train", "accuracy"
SCHEDULES = (4, 12, 36, 108)
LONGEST, SHORT = 108, 12
SPLITS = ("train", "valid", "test")
SEEDS = (0, 1, 2)  # The file numbers no seeds; these are the places among a cell's rows.
CELLS_PER_TASK = 4096  # Ours: half a second of hashing.
LARGEST_INT32 = (1 << 31) - 1
CITATION = "Ying et al., NAS-Bench-101, ICML 2019, arXiv:1902.09635"
LICENCE = "Apache-2.0"
SPACE = CellSpace()
NOTES = (
    "Seeds 0, 1 and 2 are the repeats in the order of the file. Cells stand in the order of their"
    " module hashes, their vertices numbered as in the file."
)

# One row of the file: hash, schedule, accuracies in percent (half-way, end) x SPLITS, seconds of
# the whole training, trainable parameters, and the graph as `encoded_graph` makes it.
ROW = struct.Struct("<16sB6fdiQ")
ROW_DTYPE = np.dtype(
    [
        ("hash", ">u8", (2,)),  # Big-endian, so that numbers are ordered as hashes are.
        ("epochs", "u1"),
        ("accuracy", "<f4", (2, len(SPLITS))),
        ("seconds", "<f8"),
        ("n_params", "<i4"),
        ("graph", "<u8"),
    ]
)
CHECKSUM = struct.Struct("<I")
MD5 = re.compile("[0-9a-f]{32}")
VERTICES_OF_LENGTH = {n * n: n for n in range(2, N_VERTICES + 1)}
OPS_SHIFT, VERTICES_SHIFT = N_VERTICES**2, N_VERTICES**2 + 2 * (N_VERTICES - 2)

Rows = NDArray[np.void]
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
        """As `Adapter.pack`; progress counts the file's bytes twice: decoded, and checked."""
        if mapping is not None:
            raise InvalidSpec(f"{source} takes no --map.")
        name = self.store_of(source, path)
        with Packing(name, "nb101") as packing:
            spans, sha256 = read_spans(path, SPAN_BYTES)
            raw = Source(path.name, sha256, spans[-1].stop, _published(path, sha256))
            parts = _decode_all(packing, path, spans, jobs, progress)

            def checked(share: float) -> None:
                progress(raw.n_bytes + int(share * raw.n_bytes), 2 * raw.n_bytes)

            try:
                series = joined(parts, jobs, checked)
            except _RowFault as found:
                raise _bad_record(path, spans, found) from found
            _commit(name, series, raw)
            # All of its chunks are in the store now.
            shutil.rmtree(packing.path(None).parent, ignore_errors=True)
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

    total = 2 * spans[-1].stop
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
    rows = bytearray()
    for record in read_records(path, span):
        try:
            rows += decoded(record.payload)
        except ValueError as error:
            where = place(path, record.number, record.offset)
            raise BadFile(f"{where}: {error}.", "Give NAS-Bench-101's own file.") from error
    # A power cut may leave a file of the right size with other content.
    rows += CHECKSUM.pack(zlib.crc32(rows))
    write_atomically(part, memoryview(rows), durable=False)
    return span.stop - span.start


def _is_finished(part: Path, span: Span) -> bool:
    try:
        content = part.read_bytes()
    except OSError:
        return False
    rows, checksum = content[: -CHECKSUM.size], content[-CHECKSUM.size :]
    n_bytes = span.n_records * ROW.size
    return len(rows) == n_bytes and CHECKSUM.pack(zlib.crc32(rows)) == checksum


def decoded(payload: bytes) -> bytes:
    """One row of the file as `ROW` packs it.

    Raises: ValueError with what is wrong.
    """
    try:
        row = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is no JSON ({error})") from error
    if type(row) is not list or len(row) != 5:
        raise ValueError("it is not [hash, epochs, adjacency, operations, metrics]")
    module_hash, epochs, adjacency, operations, encoded = row
    if not (type(module_hash) is type(adjacency) is type(operations) is type(encoded) is str):
        raise ValueError("its hash, adjacency, operations and metrics are not all texts")
    graph = encoded_graph(adjacency, operations)
    return packed(module_hash, epochs, graph, parse_metrics(_from_base64(encoded)))


def _from_base64(encoded: str) -> bytes:
    """The decoded bytes; line breaks are allowed. Raises: ValueError."""
    plain = encoded.replace("\n", "").encode()
    try:
        decoded_bytes = binascii.a2b_base64(plain)
    except binascii.Error as error:
        raise ValueError(f"its metrics are no base64 ({error})") from error
    # Python's decoder passes over what is no base64, so all must come out as it was.
    if binascii.b2a_base64(decoded_bytes, newline=False) != plain:
        raise ValueError("its metrics are no base64 (they hold other characters)")
    return decoded_bytes


def packed(module_hash: str, epochs: object, graph: int, metrics: Metrics) -> bytes:
    """One training as `ROW` packs it, its values checked.

    Raises: ValueError with what is wrong.
    """
    half, end, n_params = metrics
    if not MD5.fullmatch(module_hash):
        raise ValueError(f"{module_hash[:40]!r} is no module hash")
    if type(epochs) is not int or epochs not in SCHEDULES:
        raise ValueError(f"it was trained for {epochs!r} epochs, not for one of {SCHEDULES}")
    fractions = (half.train, half.valid, half.test, end.train, end.valid, end.test)
    for fraction in fractions:
        if not 0 <= fraction <= 1:
            raise ValueError(f"it has an accuracy of {fraction:g}; they are fractions of 1")
    if not 0 <= end.seconds < math.inf:
        raise ValueError(f"it was trained for {end.seconds:g} seconds")
    if not 0 <= n_params <= LARGEST_INT32:
        raise ValueError(f"it has {n_params} parameters")
    percent = [100 * fraction for fraction in fractions]
    return ROW.pack(bytes.fromhex(module_hash), epochs, *percent, end.seconds, n_params, graph)


def encoded_graph(adjacency: str, operations: str) -> int:
    """A graph in 62 bits: number of vertices, two bits an inner operation, all of the matrix.

    Raises: ValueError if one of them is no such thing. Whether they are a cell is not looked at.
    """
    n_vertices = VERTICES_OF_LENGTH.get(len(adjacency))
    if n_vertices is None or adjacency.strip("01"):
        raise ValueError(f"{adjacency[:60]!r} is no matrix of 0 and 1 over 2 to 7 vertices")
    n_named, ops = _encoded_ops(operations)
    if n_named != n_vertices:
        raise ValueError(f"it has {n_named} operations for {n_vertices} vertices")
    return n_vertices << VERTICES_SHIFT | ops << OPS_SHIFT | int(adjacency, 2)


@lru_cache(maxsize=1024)  # A file has 364 of them, millions of times.
def _encoded_ops(operations: str) -> tuple[int, int]:
    """Number of operations with input and output, and the inner ones as two bits each."""
    first, *inner, last = operations.split(",") if "," in operations else ("", "")
    foreign = [op for op in inner if op not in OPS]
    if (first, last) != (INPUT, OUTPUT) or foreign or len(inner) > N_VERTICES - 2:
        raise ValueError(
            f"{operations[:100]!r} are no operations of a cell: {INPUT}, at most 5 of"
            f" {', '.join(OPS)}, {OUTPUT}"
        )
    return len(inner) + 2, sum(OPS.index(op) << 2 * i for i, op in enumerate(inner))


def _graph(encoded: int) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """The (v, v) matrix and v operations of an encoded graph."""
    n_vertices = encoded >> VERTICES_SHIFT
    bits = f"{encoded & ((1 << OPS_SHIFT) - 1):0{n_vertices**2}b}"
    matrix = np.frombuffer(bits.encode(), dtype=np.uint8) - ord("0")
    inner = [OPS[encoded >> (OPS_SHIFT + 2 * i) & 3] for i in range(n_vertices - 2)]
    return matrix.reshape(n_vertices, n_vertices), (INPUT, *inner, OUTPUT)


class _RowFault(Exception):
    """A row that cannot be: its number among all rows, and what is wrong with it."""

    def __init__(self, row: int, reason: str) -> None:
        super().__init__(row, reason)
        self.row, self.reason = row, reason


def _bad_record(path: Path, spans: Sequence[Span], found: _RowFault) -> BadFile:
    """The error that names the place of a row in its file."""
    span = next(s for s in spans if found.row < s.first + s.n_records)
    record = read_records(path, span)[found.row - span.first]
    where = place(path, record.number, record.offset)
    return BadFile(f"{where}: {found.reason}.", DAMAGED)


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


def joined(parts: Parts, jobs: int, progress: Callable[[float], None]) -> Series:
    """Sorts the rows by hash, numbers the repeats and checks every graph against its hash.

    parts: rows, or the files of rows that `_decode` wrote, in the order of the raw file.
    progress: is called with the share of the cells that are checked.
    Raises: _RowFault for a row that cannot be; BadFile if none has the longest schedule.
    """
    epochs = _column(parts, "epochs")
    held = [schedule for schedule in SCHEDULES if (epochs == schedule).any()]
    if LONGEST not in held:
        raise BadFile(
            f"No cell was trained for {LONGEST} epochs; there is only {held}.",
            f"Give {FULL_FILE} or {FILE_108}.",
        )
    order = _ordered(_column(parts, "hash").astype(np.uint64), epochs)
    codes = _checked_codes(order, _column(parts, "graph"), jobs, progress)
    accuracy, seconds = _filled(parts, order, held)
    costs = {Cost("params-recorded", DATASET): _column(parts, "n_params")[order.firsts] / 1e6}
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
    return np.frombuffer(part.read_bytes()[: -CHECKSUM.size], dtype=ROW_DTYPE)


def _column(parts: Parts, field: str) -> NDArray[Any]:
    """One field of all rows; (n_row, ...)."""
    return np.concatenate([_rows(part)[field] for part in parts])


def _ordered(hashes: NDArray[np.uint64], epochs: NDArray[np.uint8]) -> Order:
    """hashes: (n_row, 2); epochs: (n_row,). Raises: _RowFault at a fourth repeat."""
    by_hash = np.lexsort((hashes[:, 1], hashes[:, 0]))  # Stable: rows of a cell keep their order.
    ranked = hashes[by_hash]
    is_first = np.ones(len(ranked), dtype=np.bool_)
    is_first[1:] = (ranked[1:] != ranked[:-1]).any(axis=1)
    cells = np.empty(len(ranked), dtype=np.int32)
    cells[by_hash] = np.cumsum(is_first, dtype=np.int32) - 1
    repeats = _times_before(cells.astype(np.int64) << 8 | epochs)
    if (repeats >= len(SEEDS)).any():
        row = int((repeats >= len(SEEDS)).argmax())
        hash_ = _hex(hashes[row : row + 1])[0].decode()
        raise _RowFault(
            row, f"it is training {repeats[row] + 1} of {hash_} for {epochs[row]} epochs, not 3"
        )
    return Order(ranked[is_first], by_hash[is_first], cells, repeats)


def _times_before(values: NDArray[np.int64]) -> NDArray[np.int32]:
    """How often each value came before."""
    order = np.argsort(values, kind="stable")
    ranked = values[order]
    places = np.arange(len(values), dtype=np.int32)
    starts = places.copy()
    starts[1:][ranked[1:] == ranked[:-1]] = 0
    before = np.empty_like(places)
    before[order] = places - np.maximum.accumulate(starts)
    return before


def _hex(hashes: NDArray[np.uint64]) -> NDArray[np.bytes_]:
    """(n,) md5 sums as text, of (n, 2) halves."""
    return np.frombuffer(binascii.hexlify(hashes.astype(">u8").tobytes()), dtype="S32")


def _checked_codes(
    order: Order, graphs: NDArray[np.uint64], jobs: int, progress: Callable[[float], None]
) -> Codes:
    """(n_cell, 26) the code of every cell, its vertices numbered as the file does.

    graphs: (n_row,). Cells with rows that number their vertices in more than one way have all of
    these checked. Raises: _RowFault if a graph is no cell, or has another hash than its row says.
    """
    from joblib import Parallel, delayed

    others = np.flatnonzero(graphs != graphs[order.firsts][order.cells])
    _, once = np.unique(np.stack((order.cells[others], graphs[others])), axis=1, return_index=True)
    rows = np.concatenate((order.firsts, others[once]))
    hashes = order.hashes[order.cells[rows]]
    tasks = [slice(i, i + CELLS_PER_TASK) for i in range(0, len(rows), CELLS_PER_TASK)]
    pool = Parallel(n_jobs=jobs, return_as="generator")
    codes: list[Codes] = []
    for found in pool(delayed(_codes_of)(rows[t], _hex(hashes[t]), graphs[rows[t]]) for t in tasks):
        codes.append(found)
        progress(len(codes) / len(tasks))
    return np.concatenate(codes)[: len(order.firsts)]


def _codes_of(
    rows: NDArray[np.intp], hashes: NDArray[np.bytes_], graphs: NDArray[np.uint64]
) -> Codes:
    """Codes of some rows' graphs, each checked; runs in a worker process."""
    codes = []
    for row, named, graph in zip(rows.tolist(), hashes.tolist(), graphs.tolist(), strict=True):
        try:
            arch = SPACE.of_spec(*_graph(graph))
            own = SPACE.module_hash(arch)
        except InvalidArch as error:
            raise _RowFault(row, f"its graph is no cell: {error.message}") from error
        if own != named.decode():
            raise _RowFault(row, f"its hash is {named.decode()}, but its graph has {own}")
        codes.append(arch.code)
    return np.array(codes, dtype=np.uint8)


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
        series = joined([np.frombuffer(rows, dtype=ROW_DTYPE)], 1, lambda share: None)
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
