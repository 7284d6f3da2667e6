"""TFRecord files: their framing, CRC32C, and the messages in NAS-Bench-101's rows.

A record is the payload's length (uint64), the masked CRC32C of these 8 bytes, the payload and its
masked CRC32C, all little-endian. Source: `core/lib/io/record_writer.h` of TensorFlow; messages:
`lib/model_metrics.proto` of nasbench, in protobuf's wire format.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from itertools import accumulate
from pathlib import Path
from types import ModuleType
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.errors import BadFile

HEADER = struct.Struct("<QI")
LENGTH_BYTES = 8
CRC = struct.Struct("<I")
FRAME_BYTES = HEADER.size + CRC.size
SPAN_BYTES = 8 << 20  # Ours: 20,000 rows of 400 bytes, less than a second of work to lose.
BATCH_RECORDS = 2048  # Ours: 1 MB, so that a process uses the same memory again and again.
MAX_PAYLOAD_BYTES = 1 << 20  # Ours: a row of NAS-Bench-101 has some 400 bytes.
DAMAGED = "The file is damaged: download it again."
CUT_SHORT = "The download was cut short: repeat it."

POLYNOMIAL = np.uint32(0x82F63B78)  # CRC32C's (Castagnoli), bits reversed; RFC 3720, 12.1.
MASK_DELTA = np.uint32(0xA282EAD8)  # `core/lib/hash/crc32c.h` of TensorFlow.


@dataclass(frozen=True, eq=False)
class Span:
    """Consecutive whole records of a file.

    start: its first byte. first: number of the first record in the file, from 0. offsets:
    (n_records + 1,) where in the span each record starts, and where the last one ends.
    """

    start: int
    first: int
    offsets: NDArray[np.uint32]

    @property
    def stop(self) -> int:
        return self.start + int(self.offsets[-1])

    @property
    def n_records(self) -> int:
        return len(self.offsets) - 1

    def place(self, path: Path, record: int) -> str:
        """How errors name a record; record: its number in the span."""
        return _place(path, self.first + record, self.start + int(self.offsets[record]))


def _place(path: Path, number: int, offset: int) -> str:
    return f"{path}, record {number} (from 0) at byte {offset}"


def spans(path: Path, span_bytes: int = SPAN_BYTES) -> tuple[list[Span], str]:
    """All records in stretches of about `span_bytes`, and the file's sha256 in hex.

    The lengths are followed and their CRCs checked; the payloads are not.
    Raises: BadFile with record and byte if a length is damaged or the file ends inside a record;
    also if there is no such file or nothing in it.
    """
    digest = hashlib.sha256()
    try:
        # Hashing waits for no Python code, so it costs no time where there is a second core.
        with path.open("rb") as file, ThreadPoolExecutor(max_workers=1) as beside:
            found = []
            hashing = beside.submit(digest.update, b"")
            for span, data in _spans(file, path, span_bytes):
                hashing.result()  # So that no more than two stretches are in memory.
                hashing = beside.submit(digest.update, data)
                found.append(span)
    except OSError as error:
        raise BadFile(f"{path} cannot be read: {error.strerror}.", "Give the .tfrecord.") from error
    if not found:
        raise BadFile(f"{path} is empty.", CUT_SHORT)
    return found, digest.hexdigest()


def _spans(file: BinaryIO, path: Path, span_bytes: int) -> Iterator[tuple[Span, memoryview]]:
    """Every span with its bytes."""
    steps: dict[bytes, int] = {}
    start = first = 0
    n_bytes = span_bytes
    while data := file.read(n_bytes):
        offsets = _offsets(data, steps, path, start, first)
        if len(offsets) > 1:
            span = Span(start, first, np.array(offsets, dtype=np.uint32))
            yield span, memoryview(data)[: offsets[-1]]
            start, first, n_bytes = span.stop, first + span.n_records, span_bytes
        elif len(data) < n_bytes:
            raise BadFile(f"{_place(path, first, start)}: the file ends inside it.", CUT_SHORT)
        else:
            n_bytes *= 2
        file.seek(start)


def _offsets(data: bytes, steps: dict[bytes, int], path: Path, start: int, first: int) -> list[int]:
    """Where in `data` the whole records that it begins with start, and where the last one ends.

    steps: bytes from one record to the next by header, for all headers that were checked before:
    a file has millions of records and a few hundred lengths.
    """
    header_bytes, end = HEADER.size, len(data)
    position, offsets = 0, [0]
    while position + header_bytes <= end:
        header = data[position : position + header_bytes]
        step = steps.get(header)
        if step is None:
            where = _place(path, first + len(offsets) - 1, start + position)
            step = steps[header] = _checked_step(header, where)
        position += step
        if position > end:
            break
        offsets.append(position)
    return offsets


def _checked_step(header: bytes, where: str) -> int:
    length, stored = HEADER.unpack(header)
    if masked(crc32c([header[:LENGTH_BYTES]]))[0] != stored:
        raise BadFile(f"{where}: the CRC of its length is wrong.", DAMAGED)
    if length > MAX_PAYLOAD_BYTES:
        raise BadFile(
            f"{where} has {length} bytes, no row of NAS-Bench-101.",
            "Give nasbench_full.tfrecord or nasbench_only108.tfrecord.",
        )
    return FRAME_BYTES + length


def payloads(path: Path, span: Span) -> Iterator[list[bytes]]:
    """The payloads of a span, the CRC of each checked; BATCH_RECORDS at a time.

    Raises: BadFile with record and byte if one is wrong; if the file ends before the span does.
    """
    with path.open("rb") as file:
        file.seek(span.start)
        data = file.read(span.stop - span.start)
    if span.start + len(data) != span.stop:
        raise BadFile(f"{path} changed while it was read.", "Import it again.")
    for first in range(0, span.n_records, BATCH_RECORDS):
        offsets = span.offsets[first : first + BATCH_RECORDS + 1]
        starts, stops = offsets[:-1] + np.uint32(HEADER.size), offsets[1:] - np.uint32(CRC.size)
        bounds = zip(starts.tolist(), stops.tolist(), strict=True)
        found = [data[start:stop] for start, stop in bounds]
        stored = np.ndarray((len(data) - CRC.size + 1,), "<u4", data, strides=(1,))[stops]
        wrong = np.flatnonzero(masked(crc32c(found)) != stored)
        if len(wrong):
            where = span.place(path, first + int(wrong[0]))
            raise BadFile(f"{where}: the CRC of its data is wrong.", DAMAGED)
        yield found


def masked(crcs: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """CRCs as a TFRecord stores them: rotated and shifted."""
    return ((crcs >> np.uint32(15)) | (crcs << np.uint32(17))) + MASK_DELTA


def crc32c(texts: Sequence[bytes]) -> NDArray[np.uint32]:
    """(n,) CRC32C of each text, by google_crc32c where it is installed, else by numpy."""
    if (package := _google_crc32c()) is None:
        return crc32c_by_numpy(texts)
    return np.fromiter(map(package.value, texts), np.uint32, len(texts))


@cache
def _google_crc32c() -> ModuleType | None:
    """The package, if it is there with its compiled part: without it, it is slower than ours."""
    try:
        package = import_module("google_crc32c")
    except ImportError:
        return None
    return package if package.implementation == "c" else None


def crc32c_by_numpy(texts: Sequence[bytes]) -> NDArray[np.uint32]:
    """(n,) CRC32C of each text, one byte of all texts at a time.

    Measured on 2,048 texts of 400 bytes: 2.7 us a text, 0.15 us with google_crc32c; decoding such
    a row takes some 1.2 us.
    """
    lengths = np.array([len(text) for text in texts], dtype=np.intp)
    ends = np.fromiter(accumulate(lengths.tolist()), np.intp, len(texts))
    # Longest first: those which have a byte at some place are then always the first ones.
    order = np.argsort(-lengths, kind="stable")
    starts = (ends - lengths)[order]
    data = np.frombuffer(b"".join(texts), dtype=np.uint8)
    table = _crc_table()
    crcs = np.full(len(texts), 0xFFFFFFFF, dtype=np.uint32)
    n_longer = len(texts) - np.searchsorted(np.sort(lengths), np.arange(lengths.max()), "right")
    for position, n in enumerate(n_longer.tolist()):
        crc = crcs[:n]
        low = (crc ^ data[starts[:n] + position]) & np.uint32(0xFF)
        np.bitwise_xor(table[low], crc >> np.uint32(8), out=crc)
    result = np.empty_like(crcs)
    result[order] = ~crcs
    return result


@cache
def _crc_table() -> NDArray[np.uint32]:
    """(256,) what a byte does to a CRC."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = (table >> np.uint32(1)) ^ (POLYNOMIAL * (table & np.uint32(1)))
    return table


class Evaluation(NamedTuple):
    """One message EvaluationData: seconds trained so far, accuracies as fractions."""

    seconds: float
    train: float
    valid: float
    test: float


class Metrics(NamedTuple):
    """One message ModelMetrics: what was measured half-way and at the end of one training."""

    half: Evaluation
    end: Evaluation
    n_params: int


# Fields by their numbers in the two messages.
EVALUATION_DATA, TRAINABLE_PARAMETERS = 1, 2
EVALUATION_FIELDS = {2: "training_time", 3: "train_accuracy", 4: "validation_accuracy"}
EVALUATION_FIELDS |= {5: "test_accuracy"}
VARINT, DOUBLE, TEXT, FLOAT = 0, 1, 2, 5  # Wire types.
VARINT_BYTES = 10  # What 64 bits need.
FIXED = {DOUBLE: struct.Struct("<d"), FLOAT: struct.Struct("<f")}
# current_epoch, training_time and the three accuracies as protobuf's own writers order them, each
# after its tag.
FIVE_DOUBLES = struct.Struct("<BdBdBdBdBd")
FIVE_TAGS = (0x09, 0x11, 0x19, 0x21, 0x29)
CHECKPOINT_TAG = 0x32
EVALUATION_TAG, PARAMETERS_TAG, TOTAL_TIME_TAG = 0x0A, 0x10, 0x19
LAYOUTS = 200  # Ours: a span of a real file has few, by the lengths of its paths and numbers.

Field = float | int | tuple[int, int]


def parse_metrics(message: bytes) -> Metrics:
    """The values in a serialised ModelMetrics.

    Its evaluations are those at the start, half-way and at the end.
    Raises: ValueError with what is wrong.
    """
    evaluations: list[tuple[int, int]] = []
    n_params: Field | None = None
    for number, value in _fields(message, 0, len(message)):
        if number == EVALUATION_DATA and isinstance(value, tuple):
            evaluations.append(value)
        elif number == TRAINABLE_PARAMETERS:
            n_params = value
    if len(evaluations) != 3:
        raise ValueError(f"its ModelMetrics has {len(evaluations)} evaluations, not 3")
    if not isinstance(n_params, int):
        raise ValueError("its ModelMetrics lacks trainable_parameters")
    return Metrics(
        _evaluation(message, *evaluations[1]), _evaluation(message, *evaluations[2]), n_params
    )


def metric_columns(
    n_rows: int, messages: Iterable[tuple[NDArray[np.intp], NDArray[np.uint8]]]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """What `parse_metrics` finds in many ModelMetrics at once.

    messages: those of one length together, (n,) their rows and (n, length) their bytes.
    Returns: (n_rows, 2, 3) fractions (half-way, end) x (train, valid, test), (n_rows,) seconds at
    the end, (n_rows,) parameters.
    Raises: ValueError if some are not laid out as protobuf's own writers do, or in more than
    LAYOUTS ways.
    """
    fractions = np.empty((n_rows, 2, 3))
    seconds, n_params = np.empty(n_rows), np.empty(n_rows, dtype=np.int64)
    n_layouts = 0
    for rows, data in messages:
        while len(rows):
            layout = _layout(data[0].tobytes())
            n_layouts += 1
            if layout is None or n_layouts > LAYOUTS:
                raise ValueError("other layouts")
            same = layout.fits(data)
            own, at = data[same], rows[same]
            for i, start in enumerate((layout.half, layout.end)):
                for j in range(3):
                    fractions[at, i, j] = _doubles(own, start + 19 + 9 * j)
            seconds[at] = _doubles(own, layout.end + 10)
            digits = (own[:, layout.n_params] & 0x7F).astype(np.int64)
            n_params[at] = digits @ (1 << 7 * np.arange(digits.shape[1]))
            data, rows = data[~same], rows[~same]
    return fractions, seconds, n_params


def _doubles(data: NDArray[np.uint8], start: int) -> NDArray[np.float64]:
    return data[:, start : start + 8].copy().view("<f8")[:, 0]


class _Layout(NamedTuple):
    """Where a ModelMetrics message has its values: the three evaluations, then the parameters.

    model: (length,) the message. fixed: (length,) whether a byte is the same in all messages of
    this layout. half, end: where these evaluations start. n_params: the bytes of that number.
    """

    model: NDArray[np.uint8]
    fixed: NDArray[np.bool_]
    half: int
    end: int
    n_params: slice

    def fits(self, data: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """(n, length) messages -> (n,) whether they have this layout."""
        same = (data[:, self.fixed] == self.model[self.fixed]).all(axis=1)
        goes_on = (data[:, self.n_params] ^ self.model[self.n_params]) & 0x80
        return np.asarray(same & (goes_on == 0).all(axis=1))


def _layout(message: bytes) -> _Layout | None:
    """The layout of a message; None if it is not as protobuf's own writers make it."""
    fixed = np.ones(len(message), dtype=np.bool_)
    starts, position = [], 0
    try:
        for _ in range(3):
            start, stop = _submessage(message, position)
            rest = start + FIVE_DOUBLES.size
            if FIVE_DOUBLES.unpack_from(message, start)[::2] != FIVE_TAGS:
                return None
            if rest != stop and not _is_one_text(message, rest, stop):
                return None
            for k in range(len(FIVE_TAGS)):
                fixed[start + 9 * k + 1 : start + 9 * k + 9] = False
            fixed[rest + 2 : stop] = False
            starts.append(start)
            position = stop
        if message[position] != PARAMETERS_TAG:
            return None
        _, end = _varint(message, position + 1, len(message))
    except (ValueError, IndexError, struct.error):
        return None
    total_time = message[end:]
    if total_time and (len(total_time) != 9 or total_time[0] != TOTAL_TIME_TAG):
        return None
    fixed[position + 1 : end] = False
    fixed[end + 1 :] = False
    model = np.frombuffer(message, dtype=np.uint8)
    return _Layout(model, fixed, starts[1], starts[2], slice(position + 1, end))


def _submessage(message: bytes, position: int) -> tuple[int, int]:
    """Start and stop of the evaluation at a place. Raises: ValueError, IndexError."""
    if message[position] != EVALUATION_TAG:
        raise ValueError("no EvaluationData")
    length, start = _varint(message, position + 1, len(message))
    return start, start + length


def _evaluation(message: bytes, start: int, stop: int) -> Evaluation:
    """The EvaluationData between two places."""
    rest = start + FIVE_DOUBLES.size
    if rest == stop or (rest + 1 < stop and _is_one_text(message, rest, stop)):
        tag1, _, tag2, seconds, tag3, train, tag4, valid, tag5, test = FIVE_DOUBLES.unpack_from(
            message, start
        )
        if (tag1, tag2, tag3, tag4, tag5) == FIVE_TAGS:
            return Evaluation(seconds, train, valid, test)
    found = dict(_fields(message, start, stop))
    values = []
    for number, name in EVALUATION_FIELDS.items():
        value = found.get(number)
        if not isinstance(value, float):
            raise ValueError(f"its EvaluationData lacks {name}")
        values.append(value)
    return Evaluation(*values)


def _is_one_text(message: bytes, start: int, stop: int) -> bool:
    """Whether all that is left is a checkpoint's path of less than 128 bytes."""
    length = message[start + 1]
    return message[start] == CHECKPOINT_TAG and length < 0x80 and start + 2 + length == stop


def _fields(message: bytes, start: int, stop: int) -> Iterator[tuple[int, Field]]:
    """(field number, value) of all fields; a text or message is its (start, stop).

    Raises: ValueError if the bytes between `start` and `stop` are no message.
    """
    position = start
    while position < stop:
        tag, position = _varint(message, position, stop)
        number, wire_type = tag >> 3, tag & 7
        value: Field
        if wire_type == VARINT:
            value, position = _varint(message, position, stop)
        elif wire_type == TEXT:
            length, position = _varint(message, position, stop)
            value = position, position + length
            position += length
        elif wire_type in FIXED:
            end = position + FIXED[wire_type].size
            if end > stop:
                raise ValueError("its ModelMetrics ends inside a number")
            (value,) = FIXED[wire_type].unpack_from(message, position)
            position = end
        else:
            raise ValueError(f"its ModelMetrics has a field of unknown type {wire_type}")
        if position > stop:
            raise ValueError("its ModelMetrics ends inside a field")
        yield number, value


def _varint(message: bytes, start: int, stop: int) -> tuple[int, int]:
    """A number of 7 bits a byte, and where it ends."""
    if start < stop and message[start] < 0x80:  # Tags and most lengths.
        return message[start], start + 1
    value = 0
    for i, byte in enumerate(message[start : min(stop, start + VARINT_BYTES)]):
        value |= (byte & 0x7F) << 7 * i
        if byte < 0x80:
            return value, start + i + 1
    raise ValueError("its ModelMetrics ends inside a number")
