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
from collections.abc import Iterator, Sequence
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

# How a published row is written.
HASH_DIGITS = 32
EPOCHS_TEXTS = tuple(f'", {epochs}, "'.encode() for epochs in SCHEDULES)
OP_TEXTS = tuple(f"{op},".encode() for op in OPS)
PADDING = bytes(128)  # Behind the last row: more than is looked at before it is found to be short.
N_DIGITS = 64  # More than a matrix has, and as many bits as a number.
SIZES = np.array([VERTICES_OF_LENGTH.get(n, 0) for n in range(N_DIGITS)], dtype=np.uint64)
BACKSLASH, PAD = ord("\\"), ord("=")
LINE_BREAK = np.frombuffer(b"\\n", dtype=np.uint8)  # As JSON writes it; base64 may have lines.

Rows = NDArray[np.void]
Places = NDArray[np.intp]


def rows_of(payloads: Sequence[bytes]) -> Rows | None:
    """(n,) ROW_DTYPE of many rows; None unless all are written as the published files are."""
    try:
        return _rows_of(payloads)
    except ValueError:
        return None


def _rows_of(payloads: Sequence[bytes]) -> Rows:
    """Reads field after field, each of all rows at once. Raises: ValueError."""
    data = b"".join([*payloads, PADDING])
    ends = np.cumsum(np.fromiter(map(len, payloads), np.intp, len(payloads)))
    rows = np.zeros(len(payloads), dtype=ROW_DTYPE)
    at = _past(data, np.concatenate(([0], ends[:-1])), b'["')
    rows["hash"] = _hashes(_texts(data, at, HASH_DIGITS))
    schedules, at = _which(data, at + HASH_DIGITS, EPOCHS_TEXTS)
    rows["epochs"] = np.array(SCHEDULES)[schedules]
    rows["graph"], at = _graphs(data, at)
    stops = ends - 2
    _past(data, stops, b'"]')
    fractions, seconds, n_params = metric_columns(len(rows), _messages(data, at, stops))
    if not (
        ((fractions >= 0) & (fractions <= 1)).all()
        and ((seconds >= 0) & (seconds < math.inf)).all()
        and (n_params <= LARGEST_INT32).all()
    ):
        raise ValueError("values that cannot be")
    rows["accuracy"] = 100 * fractions
    rows["seconds"], rows["n_params"] = seconds, n_params
    return rows


def _texts(data: bytes, at: Places, n_bytes: int) -> NDArray[np.bytes_]:
    """(n,) the bytes that follow each place."""
    at_every_byte = np.ndarray((len(data) - n_bytes + 1,), f"S{n_bytes}", data, strides=(1,))
    return at_every_byte[at]


def _bytes(data: bytes, at: Places, n_bytes: int) -> NDArray[np.uint8]:
    """(n, n_bytes) the bytes that follow each place."""
    return _texts(data, at, n_bytes).view(np.uint8).reshape(-1, n_bytes)


def _which(data: bytes, at: Places, texts: Sequence[bytes]) -> tuple[Places, Places]:
    """(n,) which of the texts follows each place, and where it ends. Raises: ValueError if none."""
    found = np.full(len(at), -1)
    for i, text in enumerate(texts):
        found[_texts(data, at, len(text)) == text] = i
    if (found < 0).any():
        raise ValueError(f"none of {texts!r}")
    return found, at + np.array([len(text) for text in texts])[found]


def _past(data: bytes, at: Places, text: bytes) -> Places:
    """(n,) where a text ends that follows each place. Raises: ValueError if it does not."""
    return _which(data, at, (text,))[1]


def _hashes(digits: NDArray[np.bytes_]) -> NDArray[np.uint64]:
    """(n,) md5 sums in hex -> (n, 2) their halves. Raises: ValueError."""
    text = digits.tobytes()
    if text != text.lower():
        raise ValueError("capital letters")
    return np.frombuffer(binascii.unhexlify(text), dtype=">u8").reshape(-1, 2)


def _graphs(data: bytes, at: Places) -> tuple[NDArray[np.uint64], Places]:
    """(n,) graphs as `encoded_graph` makes them, and where metrics begin. Raises: ValueError."""
    digits = _bytes(data, at, N_DIGITS)
    n_digits = (digits | 1 == ord("1")).argmin(axis=1)
    n_vertices = SIZES[n_digits]
    if not n_vertices.all():
        raise ValueError("no square matrix of 0 and 1")
    bits = digits & (np.arange(N_DIGITS) < n_digits[:, np.newaxis])
    matrices = np.packbits(bits).view(">u8") >> (N_DIGITS - n_digits).astype(np.uint64)
    graphs = n_vertices << np.uint64(VERTICES_SHIFT) | matrices
    at = _past(data, at + n_digits, b'", "input,')
    for vertex in range(N_INNER):
        rows = np.flatnonzero(n_vertices > vertex + 2)
        ops, at[rows] = _which(data, at[rows], OP_TEXTS)
        graphs[rows] |= ops.astype(np.uint64) << np.uint64(OPS_SHIFT + 2 * vertex)
    return graphs, _past(data, at, b'output", "')


def _messages(
    data: bytes, starts: Places, stops: Places
) -> Iterator[tuple[Places, NDArray[np.uint8]]]:
    """Messages of one length at a time: their rows and (n, length) what their base64 says.

    Raises: ValueError.
    """
    lengths = stops - starts
    if lengths.min() <= 0:
        raise ValueError("a row that ends before its metrics")
    for length in np.unique(lengths).tolist():
        rows = np.flatnonzero(lengths == length)
        messages, n_pads = _from_base64_texts(_without_breaks(_bytes(data, starts[rows], length)))
        for n in np.unique(n_pads).tolist():
            own, rest = np.split(messages[n_pads == n], [messages.shape[1] - n], axis=1)
            if rest.any():
                raise ValueError("no base64")
            yield rows[n_pads == n], own


def _from_base64_texts(text: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.intp]]:
    """(n, 4 k) base64 -> (n, 3 k) bytes, and (n,) how many at the end were padded and must be 0.

    Raises: ValueError.
    """
    if text.size == 0 or text.shape[1] % 4:
        raise ValueError("no base64")
    is_pad = text[:, -2:] == PAD
    text[:, -2:][is_pad] = ord("A")  # Means 0, and decoding goes on behind it.
    decoded_bytes = binascii.a2b_base64(text.tobytes())
    # Python's decoder passes over what is no base64, which then is missing in the length.
    if 4 * len(decoded_bytes) != 3 * text.size or (is_pad[:, 0] & ~is_pad[:, 1]).any():
        raise ValueError("no base64")
    messages = np.frombuffer(decoded_bytes, dtype=np.uint8).reshape(len(text), -1)
    return messages, is_pad.sum(axis=1)


def _without_breaks(text: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(n, length) texts without line breaks, which all must have at the places of the first."""
    starts = np.flatnonzero(text[0] == BACKSLASH)
    if not len(starts):
        return text
    places = starts[:, np.newaxis] + np.arange(len(LINE_BREAK))
    if places.max() == text.shape[1] or (text[:, places] != LINE_BREAK).any():
        raise ValueError("other line breaks")
    return np.delete(text, places.ravel(), axis=1)


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
