"""The cells of a CSV, plain or gzip, as text, and where they stand in the file."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from sys import intern

from adapters._csv_map import shown
from harness.builder import Source
from harness.errors import BadFile

GZIP_MAGIC = b"\x1f\x8b"


@dataclass(frozen=True)
class Sheet:
    """The cells of the wanted columns, and where they stand in the file."""

    file: Path
    source: Source
    # Line of every row's start, as an editor counts it; the header is usually line 1.
    lines: list[int]
    columns: dict[str, list[str]]

    def __len__(self) -> int:
        return len(self.lines)

    def error(self, row: int, column: str, problem: str, remedy: str) -> BadFile:
        """The error for one cell."""
        return BadFile(
            f"{self.file}, line {self.lines[row]}, column {column!r}: {problem}.", remedy
        )


def read_sheet(file: Path, wanted: Sequence[str]) -> Sheet:
    """Reads columns of a CSV, plain or gzip, as text.

    Raises: BadFile with file, line and column.
    """
    raw = _bytes(file)
    source = Source(file.name, hashlib.sha256(raw).hexdigest(), len(raw))
    records = _records(file, _text(file, _unzipped(file, raw)))
    header_line, header = next(records, (1, []))
    positions = [_position(file, header_line, header, column) for column in wanted]
    lines: list[int] = []
    columns: list[list[str]] = [[] for _ in wanted]
    for line, cells in records:
        if len(cells) != len(header):
            raise _ragged(file, line, cells, header)
        lines.append(line)
        for column, position in zip(columns, positions, strict=True):
            # Cells repeat (architectures, splits, seeds): one copy of each saves much memory.
            column.append(intern(cells[position].strip()))
    if not lines:
        raise BadFile(f"{file} holds no row below its header.", "Export the table again.")
    return Sheet(file, source, lines, dict(zip(wanted, columns, strict=True)))


def _bytes(file: Path) -> bytes:
    try:
        raw = file.read_bytes()
    except OSError as error:
        raise BadFile(f"{file} cannot be read: {error.strerror}.", "Check the path.") from error
    if not raw:
        raise BadFile(f"{file} is empty.", "Download or export it again.")
    return raw


def _unzipped(file: Path, raw: bytes) -> bytes:
    if not raw.startswith(GZIP_MAGIC):
        if file.suffix == ".gz":
            raise BadFile(
                f"{file} is not a gzip file.",
                "Download it again; if it is a plain CSV, remove .gz from its name.",
            )
        return raw
    try:
        return gzip.decompress(raw)
    except (EOFError, OSError, zlib.error) as error:
        raise BadFile(f"{file} is cut short or damaged: {error}.", "Download it again.") from error


def _text(file: Path, raw: bytes) -> str:
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = _line_at(raw[: error.start].decode("latin-1"))
        raise BadFile(
            f"{file}, line {line}: not UTF-8 ({error.reason}).", "Save it as CSV in UTF-8."
        ) from error
    if (at := text.find("\0")) >= 0:
        raise BadFile(
            f"{file}, line {_line_at(text[:at])}: holds a NUL byte, so it is no text file.",
            "Download or export it again.",
        )
    return text


def _line_at(before: str) -> int:
    before = before.replace("\r\n", "\n")
    return 1 + before.count("\n") + before.count("\r")


def _records(file: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    """(line on which it starts, cells) of every record; blank lines are passed over."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    line = 1
    try:
        for cells in reader:
            if cells:
                yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        raise BadFile(
            f"{file}, line {line}: not CSV ({error}).",
            "A cell with a comma or a quote stands in double quotes, quotes in it are doubled.",
        ) from error


def _position(file: Path, line: int, header: list[str], column: str) -> int:
    if header.count(column) == 1:
        return header.index(column)
    place = f"{file}, line {line}"
    if column in header:
        raise BadFile(f"{place}: two columns are called {column!r}.", "Rename one of them.")
    close = get_close_matches(column, header, n=1)
    hint = f"Did you mean {close[0]}?" if close else f"It has: {shown(', '.join(header))}."
    raise BadFile(
        f"{place}: there is no column {column!r}.",
        f"{hint} Cells are separated by commas; the map says what the columns are called.",
    )


def _ragged(file: Path, line: int, cells: list[str], header: list[str]) -> BadFile:
    short = len(cells) < len(header)
    where = f"ends before column {header[len(cells)]!r}" if short else "goes on past the last"
    return BadFile(
        f"{file}, line {line}: {len(cells)} cells where the header has {len(header)}; the row"
        f" {where}{'' if short else f' column {header[-1]!r}'}.",
        "Correct the line; a text with a comma stands in double quotes.",
    )
