"""Community tables as CSV, plain or gzip, read by a map that says what the columns are.

The map's keys are described in `adapters._csv_map`; shipped maps lie in `adapters/maps`.
Nothing is imputed: what the file does not hold is NaN.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from sys import intern
from typing import NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from adapters._csv_map import (
    SLICE_PARTS,
    SPELLINGS,
    CostColumn,
    CsvMap,
    Tidy,
    Wide,
    read_map,
    shown,
    unit_of,
)
from harness.adapter import Adapter, Progress, RawSource
from harness.arch import ListedSpace
from harness.benchmark import UNSTATED, Cost, Holding, Roles, Seed, Slice
from harness.builder import Provenance, Source, StoreBuilder
from harness.errors import BadFile, HarnessError, InvalidSpec
from harness.store import check_new

GZIP_MAGIC = b"\x1f\x8b"
# ASCII digits only: `float` would also take 1_000, inf, nan and the digits of other scripts.
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
# Ours: a table with fewer values than this share of its seeds x epochs x archs is a misread one.
LEAST_FILLED = 1e-3
SMALL_TABLE = 1_000_000  # Ours: below this many values the share does not matter.

Rows = NDArray[np.intp]


class _Limits(NamedTuple):
    """The smallest and largest value that a cell may stand for, and what to do about others."""

    low: float
    high: float
    remedy: str

    def __str__(self) -> str:
        return f"{self.low:g}..{self.high:g}"


_CORRECT = "Correct the cell; if it stands for no measurement, list it under `missing` in the map."
PERCENT = _Limits(0, 100, "Accuracies are percent: set `scale` in the map (100.0 for fractions).")
FLOAT32_MAX = float(np.finfo(np.float32).max)  # Measurements are stored in 32 bits.
FLOAT32 = _Limits(-FLOAT32_MAX, FLOAT32_MAX, _CORRECT)
POSITIVE = _Limits(0, float(np.finfo(np.float64).max), _CORRECT)


def import_csv(file: Path, mapping: str | Path, name: str | None = None) -> str:
    """Packs a CSV into a store, all of it or nothing.

    mapping: path of a map, or the name of a shipped one. name: of the store; the map's otherwise.
    Returns: the store's name.
    Raises: BadFile with file, line and column; InvalidSpec if the map makes no sense; UnknownName
    if no map has this name; StorageFailed if the disk refuses.
    """
    csv_map = read_map(mapping)
    name = csv_map.name if name is None else name
    check_new(name, "tidy_csv")
    sheet = read_sheet(Path(file), csv_map.columns)
    archs = _archs(sheet, csv_map)
    layout = csv_map.layout
    if isinstance(layout, Wide):
        blocks = list(_wide_blocks(sheet, csv_map, layout))
        costs = {entry.cost: _cost(sheet, csv_map, entry, archs) for entry in layout.costs}
    else:
        blocks = list(_tidy_blocks(sheet, csv_map, layout))
        costs = {}
    arrays = dict(_arrays(sheet, csv_map, blocks, archs))
    roles = csv_map.roles({holding.slice for holding in arrays})
    _write(name, sheet, csv_map, archs, arrays, costs, roles)
    return name


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


@dataclass(frozen=True)
class _Archs:
    """The architectures of a file, in the official order, or in the file's where there is none.

    indices: (n_arch,) by that order; codes: (n_arch, n_positions); of_row: for every row of
    the file, the position of its architecture in both.
    """

    indices: NDArray[np.int64]
    codes: NDArray[np.uint8]
    of_row: Rows

    def __len__(self) -> int:
        return len(self.indices)


def _archs(sheet: Sheet, csv_map: CsvMap) -> _Archs:
    of_space = csv_map.space
    index_of: dict[str, int] = {}
    code_of: dict[int, tuple[int, ...]] = {}
    for row, text in enumerate(sheet.columns[csv_map.arch]):
        if text in index_of:
            continue
        try:
            arch = of_space.parse(text)
        except HarnessError as error:
            problem = error.message.rstrip(".")
            raise sheet.error(row, csv_map.arch, problem, error.remedy) from error
        if isinstance(of_space, ListedSpace):
            index_of[text] = of_space.index(arch)
        else:
            index_of[text] = len(index_of)
        code_of[index_of[text]] = arch.code
    every = np.array([index_of[text] for text in sheet.columns[csv_map.arch]], dtype=np.int64)
    _check_indices(sheet, csv_map, every)
    indices, of_row = np.unique(every, return_inverse=True)
    codes = np.array([code_of[index] for index in indices.tolist()], dtype=np.uint8)
    return _Archs(indices, codes, of_row)


def _check_indices(sheet: Sheet, csv_map: CsvMap, official: NDArray[np.int64]) -> None:
    if csv_map.index is None:
        return
    stated = sheet.columns[csv_map.index]
    for row, (text, index) in enumerate(zip(stated, official.tolist(), strict=True)):
        if text != str(index):
            raise sheet.error(
                row,
                csv_map.index,
                f"{shown(text)} is not the official index of this architecture, which is {index}",
                "Correct the file, or leave `index` out of the map: it is not needed.",
            )


def _refuse_repeats(sheet: Sheet, column: str, rows: Rows, archs: _Archs) -> None:
    """Raises: BadFile at the first of these rows whose architecture stood in one before."""
    _, firsts = np.unique(archs.of_row[rows], return_index=True)
    if len(firsts) == len(rows):
        return
    repeated = int(np.setdiff1d(np.arange(len(rows)), firsts)[0])
    same = archs.of_row[rows] == archs.of_row[rows[repeated]]
    first = sheet.lines[rows[int(np.argmax(same))]]
    raise sheet.error(
        int(rows[repeated]),
        column,
        f"the same measurement as in line {first}",
        "Keep one of the two; if both are right, the map lacks what tells them apart (seed?).",
    )


class _Block(NamedTuple):
    """Values of one slice, seed and epoch: one row an architecture."""

    at: Slice
    seed: Seed
    epoch: int
    unit: str
    scale: float | None
    column: str
    rows: Rows


def _wide_blocks(sheet: Sheet, csv_map: CsvMap, layout: Wide) -> Iterator[_Block]:
    label = csv_map.seeds or UNSTATED
    rows = np.arange(len(sheet))
    for entry in layout.slices:
        seed = label if entry.seed is None else entry.seed
        yield _Block(entry.slice, seed, entry.epoch, entry.unit, entry.scale, entry.column, rows)


def _tidy_blocks(sheet: Sheet, csv_map: CsvMap, layout: Tidy) -> Iterator[_Block]:
    keys = [key for key in SPELLINGS if key in layout.column_of or key in layout.constants]
    cells: list[Iterable[str]] = [
        sheet.columns[layout.column_of[key]]
        if key in layout.column_of
        else [str(layout.constants[key])] * len(sheet)
        for key in keys
    ]
    groups: dict[tuple[str, ...], list[int]] = {}
    for row, address in enumerate(zip(*cells, strict=True)):
        groups.setdefault(address, []).append(row)
    for address, rows in groups.items():
        told = dict(zip(keys, address, strict=True))
        yield _tidy_block(sheet, csv_map, layout, told, np.array(rows))


def _tidy_block(
    sheet: Sheet, csv_map: CsvMap, layout: Tidy, told: dict[str, str], rows: Rows
) -> _Block:
    first = int(rows[0])
    for key, text in told.items():
        pattern, meaning = SPELLINGS[key]
        if not pattern.fullmatch(text):
            raise sheet.error(
                first,
                layout.column_of[key],
                f"{key} is {meaning}, not {shown(text)}",
                "Correct the cell, or name another column in the map.",
            )
    dataset, trained_on, split, metric, epochs = (told[key] for key in SLICE_PARTS)
    at = Slice(dataset, trained_on, split, metric, int(epochs))
    epoch = int(told.get("epoch", epochs))
    if epoch > at.epochs:
        column = layout.column_of.get("epoch", layout.column_of["value"])
        raise sheet.error(
            first, column, f"epoch {epoch} is past the {epochs} epochs of {at}", "Correct it."
        )
    try:
        unit = unit_of(metric, layout.units.get(metric))
    except InvalidSpec as error:
        column = layout.column_of.get("metric", layout.column_of["value"])
        problem = f"{csv_map.path}, [unit]: {error.message.rstrip('.')}"
        raise sheet.error(first, column, problem, error.remedy) from error
    seed = int(told["seed"]) if "seed" in told else csv_map.seeds or UNSTATED
    return _Block(at, seed, epoch, unit, layout.scales.get(metric), layout.column_of["value"], rows)


def _arrays(
    sheet: Sheet, csv_map: CsvMap, blocks: Iterable[_Block], archs: _Archs
) -> Iterator[tuple[Holding, NDArray[np.float32]]]:
    """Per slice what is held and its (n_seed, n_epoch, n_arch) values."""
    by_slice: dict[Slice, list[_Block]] = {}
    for block in blocks:
        by_slice.setdefault(block.at, []).append(block)
    for at, of_slice in by_slice.items():
        numbered = sorted({block.seed for block in of_slice if isinstance(block.seed, int)})
        seeds: tuple[Seed, ...] = tuple(numbered) or (of_slice[0].seed,)
        epochs = tuple(sorted({block.epoch for block in of_slice}))
        _refuse_sparse(sheet, of_slice, (len(seeds), len(epochs), len(archs)))
        array = np.full((len(seeds), len(epochs), len(archs)), np.nan, dtype=np.float32)
        for block in of_slice:
            _refuse_repeats(sheet, csv_map.arch, block.rows, archs)
            place = seeds.index(block.seed), epochs.index(block.epoch)
            array[place][archs.of_row[block.rows]] = _measured(sheet, csv_map, block)
        _refuse_fractions(sheet, of_slice, array)
        yield Holding(at, of_slice[0].unit, seeds, epochs), array


def _measured(sheet: Sheet, csv_map: CsvMap, block: _Block) -> NDArray[np.float64]:
    limits = PERCENT if block.at.metric == "accuracy" else FLOAT32
    return _scaled(sheet, csv_map, block.column, block.rows, block.scale or 1.0, limits)


def _cost(sheet: Sheet, csv_map: CsvMap, entry: CostColumn, archs: _Archs) -> NDArray[np.float64]:
    rows = np.arange(len(sheet))
    array = np.full(len(archs), np.nan)
    array[archs.of_row] = _scaled(sheet, csv_map, entry.column, rows, entry.scale, POSITIVE)
    return array


def _scaled(
    sheet: Sheet, csv_map: CsvMap, column: str, rows: Rows, scale: float, limits: _Limits
) -> NDArray[np.float64]:
    """Values of some rows; NaN = never measured.

    Raises: BadFile with the line of the first cell that is no number or outside the limits.
    """
    with np.errstate(over="ignore"):
        values = _numbers(sheet, column, rows, csv_map.missing) * scale
    fits = np.isnan(values) | ((values >= limits.low) & (values <= limits.high))
    if fits.all():
        return values
    row = int(rows[int(np.argmin(fits))])
    factor = "" if scale == 1 else f" times {scale:g}"
    problem = f"{shown(sheet.columns[column][row])}{factor} is outside {limits}"
    raise sheet.error(row, column, problem, limits.remedy)


def _numbers(sheet: Sheet, column: str, rows: Rows, missing: frozenset[str]) -> NDArray[np.float64]:
    cells = sheet.columns[column]
    found = np.full(len(rows), np.nan)
    for position, row in enumerate(rows.tolist()):
        text = cells[row]
        if text in missing:
            continue
        if not NUMBER.fullmatch(text):
            raise sheet.error(
                row,
                column,
                f"{shown(text)} is not a finite number",
                _CORRECT,
            )
        found[position] = float(text)
    return found


def _refuse_sparse(sheet: Sheet, of_slice: list[_Block], shape: tuple[int, int, int]) -> None:
    n_seeds, n_epochs, n_archs = shape
    n_values = sum(len(block.rows) for block in of_slice)
    n_cells = n_seeds * n_epochs * n_archs
    if n_cells > SMALL_TABLE and n_values < LEAST_FILLED * n_cells:
        raise sheet.error(
            int(of_slice[0].rows[0]),
            of_slice[0].column,
            f"{of_slice[0].at} has {n_values} values for {n_archs} architectures,"
            f" {n_seeds} seeds and {n_epochs} epochs",
            "Check which columns the map names as seed and epoch.",
        )


def _refuse_fractions(sheet: Sheet, of_slice: list[_Block], array: NDArray[np.float32]) -> None:
    """Raises: BadFile if accuracies look like fractions and the map does not state a scale."""
    block = of_slice[0]
    is_stated = block.at.metric != "accuracy" or any(b.scale is not None for b in of_slice)
    if is_stated or np.isnan(array).all() or np.nanmax(array) > 1:
        return
    raise sheet.error(
        int(block.rows[0]),
        block.column,
        f"no accuracy of {block.at} is above 1 %, so these may be fractions",
        "Set scale = 100.0 in the map, or scale = 1.0 if they are percent.",
    )


def _write(
    name: str,
    sheet: Sheet,
    csv_map: CsvMap,
    archs: _Archs,
    arrays: Mapping[Holding, NDArray[np.float32]],
    costs: Mapping[Cost, NDArray[np.float64]],
    roles: Mapping[str, Roles],
) -> None:
    map_source = Source(
        csv_map.path.name, hashlib.sha256(csv_map.content).hexdigest(), len(csv_map.content)
    )
    provenance = Provenance(
        "tidy_csv", TidyCsv.version, (sheet.source, map_source), csv_map.licence, csv_map.citation
    )
    builder = StoreBuilder(name, csv_map.space, archs.codes, archs.indices.tolist())
    try:
        for holding, array in arrays.items():
            builder.add(holding, array)
        for cost, values in costs.items():
            builder.add_cost(cost, values)
        builder.commit(roles, provenance)
    except BaseException:
        builder.discard()
        raise


@final
class TidyCsv(Adapter):
    """Packs any CSV that a map describes."""

    version = 1
    sources = (
        RawSource(
            name="csv",
            summary="any table as CSV with a TOML map; shipped maps: nb201_dump",
            store="nb201-csv",
            patterns=("nb201.csv", "nb201.csv.gz"),
            download="a dump by the community, or your own table with a map of its columns",
            mapping="nb201_dump",
            tested_on="a dump of all 15,625 cells of NAS-Bench-201 (means over seeds)",
        ),
    )

    def pack(
        self, source: str, path: Path, *, mapping: str | None, jobs: int, progress: Progress
    ) -> str:
        if mapping is None:
            raise InvalidSpec("A CSV needs a map of its columns.", "Give --map nb201_dump or FILE.")
        progress(0, 1)
        name = import_csv(path, mapping)
        progress(1, 1)
        return name


ADAPTER = TidyCsv()
