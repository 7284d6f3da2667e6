"""The rows of NAS-Bench-101's files as numbers.

A row is JSON: [module hash, epochs, adjacency, operations, metrics], the metrics a ModelMetrics
message in base64. `decoded` reads any such row and says what is wrong with one that is none;
`rows_of` reads many that are written as the published files are, several times faster.
"""

from __future__ import annotations

import binascii
import json
import math
import re
import struct
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from adapters._tfrecord import Metrics, metric_columns, parse_metrics
from harness.arch import Codes
from harness.spaces.nb101 import INPUT, LAST, N_EDGES, N_INNER, N_VERTICES, OPS, OUTPUT, POSITION

SCHEDULES = (4, 12, 36, 108)
SPLITS = ("train", "valid", "test")
LARGEST_INT32 = (1 << 31) - 1
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
MD5 = re.compile("[0-9a-f]{32}")
VERTICES_OF_LENGTH = {n * n: n for n in range(2, N_VERTICES + 1)}
OPS_SHIFT, VERTICES_SHIFT = N_VERTICES**2, N_VERTICES**2 + 2 * (N_VERTICES - 2)

# What stands between the quotation marks of a published row.
QUOTE = b'"'
BETWEEN = (b"[", b", ", b", ", b"]")
EPOCHS_OF = {f", {epochs}, ".encode(): epochs for epochs in SCHEDULES}
LINE_BREAK = b"\\n"  # As JSON writes it; base64 in lines of 76 characters has some.

Rows = NDArray[np.void]


def rows_of(payloads: Sequence[bytes]) -> Rows | None:
    """(n,) ROW_DTYPE of many rows; None unless all are written as the published files are."""
    hashes, epochs, graphs, messages = [], [], [], []
    known: dict[tuple[bytes, bytes], int] = {}
    try:
        for payload in payloads:
            begin, hash_, schedule, adjacency, comma, ops, last_comma, metrics, end = payload.split(
                QUOTE
            )
            if (begin, comma, last_comma, end) != BETWEEN:
                return None
            graph = known.get((adjacency, ops))
            if graph is None:
                graph = known[adjacency, ops] = encoded_graph(adjacency.decode(), ops.decode())
            plain = metrics.replace(LINE_BREAK, b"")
            message = binascii.a2b_base64(plain)
            # Python's decoder passes over what is no base64, which then is missing in the length.
            if 4 * (len(message) + plain.count(b"=")) != 3 * len(plain):
                return None
            hashes.append(hash_)
            epochs.append(EPOCHS_OF[schedule])
            graphs.append(graph)
            messages.append(message)
        columns = metric_columns(messages)
        digits = b"".join(hashes)
        if columns is None or set(map(len, hashes)) != {32} or digits != digits.lower():
            return None
        rows = np.zeros(len(payloads), dtype=ROW_DTYPE)
        rows["hash"] = np.frombuffer(binascii.unhexlify(digits), dtype=">u8").reshape(-1, 2)
    except (ValueError, KeyError):  # binascii's and the decoders' errors are ValueErrors.
        return None
    fractions, seconds, n_params = columns
    if not (
        ((fractions >= 0) & (fractions <= 1)).all()
        and ((seconds >= 0) & (seconds < math.inf)).all()
        and (n_params <= LARGEST_INT32).all()
    ):
        return None
    rows["epochs"], rows["graph"] = epochs, graphs
    rows["accuracy"] = 100 * fractions
    rows["seconds"], rows["n_params"] = seconds, n_params
    return rows


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


def codes_of(graphs: NDArray[np.uint64]) -> tuple[Codes, NDArray[np.bool_]]:
    """(n, 26) codes of encoded graphs, and (n,) whether all edges lead to later vertices."""
    codes = np.zeros((len(graphs), N_EDGES + N_INNER), dtype=np.uint8)
    is_upper = np.zeros(len(graphs), dtype=np.bool_)
    sizes = graphs >> np.uint64(VERTICES_SHIFT)
    for n in range(2, N_VERTICES + 1):
        rows = np.flatnonzero(sizes == n)
        of_size = graphs[rows]
        upper = 0
        for source in range(n):
            for target in range(source + 1, n):
                bit = n * n - 1 - (source * n + target)
                upper |= 1 << bit
                place = POSITION[source, LAST if target == n - 1 else target]
                codes[rows, place] = of_size >> np.uint64(bit) & np.uint64(1)
        for vertex in range(n - 2):
            shift = np.uint64(OPS_SHIFT + 2 * vertex)
            codes[rows, N_EDGES + vertex] = of_size >> shift & np.uint64(3)
        matrix = of_size & np.uint64((1 << OPS_SHIFT) - 1)
        is_upper[rows] = matrix & ~np.uint64(upper) == 0
    return codes, is_upper


def spec_of(encoded: int) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """The (v, v) matrix and v operations of an encoded graph."""
    n_vertices = encoded >> VERTICES_SHIFT
    bits = f"{encoded & ((1 << OPS_SHIFT) - 1):0{n_vertices**2}b}"
    matrix = np.frombuffer(bits.encode(), dtype=np.uint8) - ord("0")
    inner = [OPS[encoded >> (OPS_SHIFT + 2 * i) & 3] for i in range(n_vertices - 2)]
    return matrix.reshape(n_vertices, n_vertices), (INPUT, *inner, OUTPUT)
