"""Community tables as CSV, plain or gzip, read by a map that says what the columns are.

The map's keys are described in `adapters._csv_map`; shipped maps lie in `adapters/maps`.
Nothing is imputed: what the file does not hold is NaN.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from adapters._csv_archs import Archs, read_archs
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
from adapters._csv_sheet import Sheet, read_sheet
from harness.adapter import Adapter, Progress, RawSource
from harness.benchmark import UNSTATED, Cost, Holding, Roles, Seed, Slice
from harness.builder import Provenance, Source, StoreBuilder
from harness.errors import InvalidSpec
from harness.store import check_new

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
    archs = read_archs(sheet, csv_map)
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


def _refuse_repeats(sheet: Sheet, column: str, rows: Rows, archs: Archs) -> None:
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
    sheet: Sheet, csv_map: CsvMap, blocks: Iterable[_Block], archs: Archs
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
            _refuse_repeats(sheet, csv_map.archs.naming, block.rows, archs)
            place = seeds.index(block.seed), epochs.index(block.epoch)
            array[place][archs.of_row[block.rows]] = _measured(sheet, csv_map, block)
        _refuse_fractions(sheet, of_slice, array)
        yield Holding(at, of_slice[0].unit, seeds, epochs), array


def _measured(sheet: Sheet, csv_map: CsvMap, block: _Block) -> NDArray[np.float64]:
    limits = PERCENT if block.at.metric == "accuracy" else FLOAT32
    return _scaled(sheet, csv_map, block.column, block.rows, block.scale or 1.0, limits)


def _cost(sheet: Sheet, csv_map: CsvMap, entry: CostColumn, archs: Archs) -> NDArray[np.float64]:
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
    archs: Archs,
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
        if archs.keys is not None:
            builder.add_keys(archs.keys)
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
            summary="any table as CSV with a TOML map; shipped maps: nb101_dump, nb201_dump",
            store="nb201-csv",
            patterns=("nb201.csv", "nb201.csv.gz"),
            download="a dump by the community, or your own table with a map of its columns",
            mapping="nb201_dump",
            tested_on="a dump of all 15,625 cells of NAS-Bench-201 (means over seeds)",
        ),
        RawSource(
            name="nb101-csv",
            summary="NAS-Bench-101 as a CSV of some cells; map: nb101_dump",
            store="nb101-csv",
            patterns=("nb101_30k.csv", "nb101_30k.csv.gz"),
            download="a dump by the community: hashes, graphs and validation accuracies",
            mapping="nb101_dump",
            tested_on="a dump of 30,001 cells of NAS-Bench-101 (one value a schedule)",
        ),
    )

    def pack(
        self, source: str, path: Path, *, mapping: str | None, jobs: int, progress: Progress
    ) -> str:
        if mapping is None:
            raw = next(raw for raw in self.sources if raw.name == source)
            raise InvalidSpec(
                "A CSV needs a map of its columns.", f"Give --map {raw.mapping} or FILE."
            )
        progress(0, 1)
        name = import_csv(path, mapping)
        progress(1, 1)
        return name


ADAPTER = TidyCsv()
