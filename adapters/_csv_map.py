"""Maps for `tidy_csv`: TOML files that say what the columns of a CSV are.

    name = "my-table"                     # the store's name
    space = "nb201"
    layout = "wide"                       # or "tidy"
    licence = "MIT"
    citation = "Doe, ABC 2020"
    seeds = "mean"                        # or "unstated": where no column or key tells the seed
    arch = "arch"                         # column with the space's text
    index = "index"                       # optional column; must agree with the official index
    missing = ["", "nan", "NaN", "NA"]    # texts that mean never measured; this is the default
    [roles.cifar10]                       # one table a data set; search and short are optional
    search = "cifar10/train/valid/accuracy/200"
    truth = "cifar10/train+valid/test/accuracy/200"

Cells of nb101 may be given as graphs: a table [spec] then stands for `arch` and `index`. Their
store is ordered by the official hash, so that they are found however they are written:

    [spec]
    matrix = "adjacency"                  # column with the matrix as 0 and 1, row by row
    ops = "ops"                           # column with one character for every inner vertex
    hash = "key"                          # optional column; must agree with the official hash
    [spec.names]                          # the operation that each character stands for
    0 = "conv3x3-bn-relu"

Layout "wide" has one row an architecture:

    [[slice]]
    column = "test_200"
    slice = "cifar10/train+valid/test/accuracy/200"
    unit = "%"                            # must be given for metrics without a fixed unit
    scale = 100.0                         # optional factor, here for fractions
    epoch = 100                           # optional; the last epoch otherwise
    seed = 777                            # optional
    [[cost]]
    column = "params"
    cost = "params-recorded"
    dataset = "cifar10"                   # optional besides: trained_on, epochs, scale

Layout "tidy" has one row a measurement:

    [tidy]                                # columns; seed and epoch may be left out
    split = "split"
    value = "value"
    [constants]                           # what is the same in all rows
    dataset = "cifar10"
    trained_on = "train"
    metric = "accuracy"
    epochs = 200
    [scale]                               # optional, by metric; so is [unit]
    accuracy = 100.0
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from harness.arch import SearchSpace
from harness.benchmark import COST_UNITS, LABELS, SPLITS, TRAINED_ON, UNITS, Cost, Roles, Slice
from harness.errors import BadFile, HarnessError, InvalidSpec, unknown
from harness.spaces import space
from harness.spaces.nb101 import OPS, CellSpace
from harness.store import check_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MAPS_FOLDER = Path(__file__).parent / "maps"
DEFAULT_MISSING = ("", "nan", "NaN", "NA")
MAX_INDEX = int(np.iinfo(np.int32).max)  # The type of the indices in a store.

T = TypeVar("T", bound=Hashable)


class Key(NamedTuple):
    """What a map may hold under one key: a member of `KINDS`, and the texts that are allowed."""

    kind: str
    required: bool = False
    among: tuple[str, ...] = ()


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


KINDS: dict[str, Callable[[Any], bool]] = {
    "a text": lambda value: isinstance(value, str) and bool(value.strip()),
    "a whole number from 0": lambda value: _is_whole(value) and value >= 0,
    "a whole number from 1": lambda value: _is_whole(value) and value >= 1,
    "a positive number": lambda value: (
        (_is_whole(value) or isinstance(value, float)) and 0 < value <= sys.float_info.max
    ),
    "a list of texts": lambda value: (
        isinstance(value, list) and all(isinstance(item, str) for item in value)
    ),
    "a table": lambda value: isinstance(value, dict) and bool(value),
    "a list of tables": lambda value: (
        isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)
    ),
}

COMMON_KEYS = {
    "name": Key("a text", required=True),
    "space": Key("a text", required=True),
    "layout": Key("a text", required=True, among=("wide", "tidy")),
    "licence": Key("a text", required=True),
    "citation": Key("a text", required=True),
    "seeds": Key("a text", among=LABELS),
    "missing": Key("a list of texts"),
    "roles": Key("a table", required=True),
}
ARCH_KEYS = {
    "arch": {"arch": Key("a text", required=True), "index": Key("a text")},
    "spec": {"spec": Key("a table", required=True)},
}
SPEC_KEYS = {
    "matrix": Key("a text", required=True),
    "ops": Key("a text", required=True),
    "hash": Key("a text"),
    "names": Key("a table", required=True),
}
LAYOUT_KEYS = {
    "wide": {"slice": Key("a list of tables", required=True), "cost": Key("a list of tables")},
    "tidy": {
        "tidy": Key("a table", required=True),
        "constants": Key("a table"),
        "unit": Key("a table"),
        "scale": Key("a table"),
    },
}
SLICE_KEYS = {
    "column": Key("a text", required=True),
    "slice": Key("a text", required=True),
    "unit": Key("a text"),
    "scale": Key("a positive number"),
    "epoch": Key("a whole number from 1"),
    "seed": Key("a whole number from 0"),
}
COST_KEYS = {
    "column": Key("a text", required=True),
    "cost": Key("a text", required=True, among=tuple(COST_UNITS)),
    "dataset": Key("a text", required=True),
    "trained_on": Key("a text", among=TRAINED_ON),
    "epochs": Key("a whole number from 1"),
    "scale": Key("a positive number"),
}
ROLE_KEYS = {
    "search": Key("a text"),
    "truth": Key("a text", required=True),
    "short": Key("a text"),
}
CONSTANT_KEYS = {
    "dataset": Key("a text"),
    "trained_on": Key("a text", among=TRAINED_ON),
    "split": Key("a text", among=SPLITS),
    "metric": Key("a text"),
    "epochs": Key("a whole number from 1"),
    "seed": Key("a whole number from 0"),
    "epoch": Key("a whole number from 1"),
}
TIDY_KEYS = {**{key: Key("a text") for key in CONSTANT_KEYS}, "value": Key("a text", required=True)}
SLICE_PARTS = ("dataset", "trained_on", "split", "metric", "epochs")

_NAME = (re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,63}"), "a name of letters, digits and . _ + -")
_COUNT = (re.compile(r"[1-9][0-9]{0,8}"), "a whole number from 1")
# How each part of a measurement's address is written, in a cell and in a map alike.
SPELLINGS = {
    "dataset": _NAME,
    "trained_on": (re.compile("|".join(map(re.escape, TRAINED_ON))), " or ".join(TRAINED_ON)),
    "split": (re.compile("|".join(map(re.escape, SPLITS))), " or ".join(SPLITS)),
    "metric": _NAME,
    "epochs": _COUNT,
    "seed": (re.compile(r"0|[1-9][0-9]{0,17}"), "a whole number from 0"),
    "epoch": _COUNT,
}


@dataclass(frozen=True, slots=True)
class TextColumn:
    """Architectures as the space's text. index: the column with the official index, if any."""

    text: str
    index: str | None

    @property
    def naming(self) -> str:
        """The column in which one architecture is told from another."""
        return self.text

    @property
    def columns(self) -> list[str]:
        """Columns in the map's order."""
        return [self.text] if self.index is None else [self.text, self.index]


@dataclass(frozen=True, slots=True)
class SpecColumns:
    """Cells as matrix and operations. hash: the column with the official hash, if any.

    names: the operation that each character in the column of operations stands for.
    """

    space: CellSpace
    matrix: str
    ops: str
    hash: str | None
    names: Mapping[str, str]

    @property
    def naming(self) -> str:
        """The column in which one cell is told from another."""
        return self.hash or self.matrix

    @property
    def columns(self) -> list[str]:
        """Columns in the map's order."""
        graph = [self.matrix, self.ops]
        return graph if self.hash is None else [*graph, self.hash]


@dataclass(frozen=True, slots=True)
class SliceColumn:
    """A column of the wide layout; scale is None where the map states none."""

    column: str
    slice: Slice
    unit: str
    scale: float | None
    epoch: int
    seed: int | None


@dataclass(frozen=True, slots=True)
class CostColumn:
    """A column with a recorded cost."""

    column: str
    cost: Cost
    scale: float


@dataclass(frozen=True, slots=True)
class Wide:
    """One row an architecture."""

    slices: tuple[SliceColumn, ...]
    costs: tuple[CostColumn, ...]

    @property
    def columns(self) -> list[str]:
        """Columns in the map's order."""
        return [*(at.column for at in self.slices), *(cost.column for cost in self.costs)]


@dataclass(frozen=True, slots=True)
class Tidy:
    """One row a measurement: which column, or which constant, tells each part of its address.

    units, scales: by metric.
    """

    column_of: Mapping[str, str]
    constants: Mapping[str, str | int]
    units: Mapping[str, str]
    scales: Mapping[str, float]

    @property
    def columns(self) -> list[str]:
        """Columns in the map's order."""
        return list(self.column_of.values())


@dataclass(frozen=True, slots=True)
class CsvMap:
    """A checked map."""

    path: Path
    content: bytes
    name: str
    space: SearchSpace
    licence: str
    citation: str
    seeds: str | None
    archs: TextColumn | SpecColumns
    missing: frozenset[str]
    layout: Wide | Tidy
    role_tables: Mapping[str, Mapping[str, str]]

    @property
    def columns(self) -> list[str]:
        """All columns that the map names, each once."""
        return list(dict.fromkeys([*self.archs.columns, *self.layout.columns]))

    def roles(self, held: Collection[Slice]) -> dict[str, Roles]:
        """The roles of every data set.

        Raises: InvalidSpec with the place in the map if one of their slices is not held.
        """
        found = {}
        for dataset, table in self.role_tables.items():
            slices = {
                role: _role_slice(f"{self.path}, [roles.{dataset}], {role}", dataset, text, held)
                for role, text in table.items()
            }
            found[dataset] = Roles(slices.get("search"), slices["truth"], slices.get("short"))
        return found


def shipped_maps() -> dict[str, Path]:
    """The maps that ship with the project, by name."""
    return {path.stem: path for path in sorted(MAPS_FOLDER.glob("*.toml"))}


def read_map(mapping: str | Path) -> CsvMap:
    """Reads a map: a path, or the name of a shipped one.

    Raises: UnknownName, BadFile if it is not TOML, InvalidSpec if it makes no sense.
    """
    path = _find(mapping)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadFile(
            f"{path} cannot be read: {error.strerror}.",
            f"Give the path of a map, or one of: {', '.join(shipped_maps())}.",
        ) from error
    try:
        table = tomllib.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:  # Not UTF-8, or not TOML.
        raise BadFile(f"{path} is not a TOML file: {error}.", "Correct that place.") from error
    return _checked(path, content, table)


def _find(mapping: str | Path) -> Path:
    shipped = shipped_maps()
    if isinstance(mapping, str) and mapping in shipped:
        return shipped[mapping]
    path = Path(mapping)
    if path.suffix == ".toml" or len(path.parts) > 1 or path.is_file():
        return path
    raise unknown("map", str(mapping), shipped, "A file of your own works too: PATH.toml.")


def _checked(path: Path, content: bytes, table: dict[str, Any]) -> CsvMap:
    # The layout comes first: which keys are known depends on it.
    layout_key = {"layout": COMMON_KEYS["layout"]}
    _check_keys(str(path), {key: table[key] for key in layout_key if key in table}, layout_key)
    named_by = "spec" if "spec" in table else "arch"
    _check_keys(str(path), table, COMMON_KEYS | ARCH_KEYS[named_by] | LAYOUT_KEYS[table["layout"]])
    with _placed(f"{path}, name"):
        check_name(table["name"])
    with _placed(f"{path}, space"):
        of_space = _numbered_space(table["space"])
    for dataset, role_table in table["roles"].items():
        _check_keys(f"{path}, [roles.{dataset}]", role_table, ROLE_KEYS)
    return CsvMap(
        path=path,
        content=content,
        name=table["name"],
        space=of_space,
        licence=table["licence"],
        citation=table["citation"],
        seeds=table.get("seeds"),
        archs=ARCH_COLUMNS[named_by](path, table, of_space),
        missing=frozenset(text.strip() for text in table.get("missing", DEFAULT_MISSING)),
        layout=LAYOUTS[table["layout"]](path, table, of_space),
        role_tables=table["roles"],
    )


def _numbered_space(name: str) -> SearchSpace:
    of_space = space(name)
    if of_space.size > MAX_INDEX:
        raise InvalidSpec(
            f"{name} has {of_space.size} architectures, a table numbers at most {MAX_INDEX}.",
            "Choose a space that a table can hold.",
        )
    return of_space


def _text_column(path: Path, table: dict[str, Any], of_space: SearchSpace) -> TextColumn:
    return TextColumn(table["arch"], table.get("index"))


def _spec_columns(path: Path, table: dict[str, Any], of_space: SearchSpace) -> SpecColumns:
    place, spec = f"{path}, [spec]", table["spec"]
    if not isinstance(of_space, CellSpace):
        raise InvalidSpec(
            f"{place}: only cells of {CellSpace.name} have a spec, not archs of {of_space.name}.",
            "Name the column with their text: arch.",
        )
    _check_keys(place, spec, SPEC_KEYS)
    names = spec["names"]
    _check_keys(f"{path}, [spec.names]", names, dict.fromkeys(names, Key("a text", among=OPS)))
    if long := [text for text in names if len(text) != 1]:
        raise InvalidSpec(
            f"{path}, [spec.names]: {shown(long[0])} is not one character.",
            "Every character of a cell in the column `ops` is one operation.",
        )
    return SpecColumns(of_space, spec["matrix"], spec["ops"], spec.get("hash"), names)


ARCH_COLUMNS: dict[str, Callable[[Path, dict[str, Any], SearchSpace], TextColumn | SpecColumns]] = {
    "arch": _text_column,
    "spec": _spec_columns,
}


def _wide(path: Path, table: dict[str, Any], of_space: SearchSpace) -> Wide:
    slices = [
        _slice_column(f"{path}, [[slice]] number {number}", entry)
        for number, entry in enumerate(table["slice"], start=1)
    ]
    costs = [
        _cost_column(f"{path}, [[cost]] number {number}", entry, of_space)
        for number, entry in enumerate(table.get("cost", []), start=1)
    ]
    _check_merging(path, slices)
    _check_label(path, table, [entry.seed is not None for entry in slices])
    if repeated := _repeated([entry.cost for entry in costs]):
        raise InvalidSpec(f"{path}: two [[cost]] say {repeated}.", "Keep one of them.")
    return Wide(tuple(slices), tuple(costs))


def _slice_column(place: str, entry: dict[str, Any]) -> SliceColumn:
    _check_keys(place, entry, SLICE_KEYS)
    at = parse_slice(f"{place}, slice", entry["slice"])
    with _placed(f"{place}, unit"):
        unit = unit_of(at.metric, entry.get("unit"))
    epoch = entry.get("epoch", at.epochs)
    if epoch > at.epochs:
        raise InvalidSpec(
            f"{place}, epoch: {epoch} is past the {at.epochs} epochs of {at}.",
            f"Give one of 1..{at.epochs}.",
        )
    return SliceColumn(entry["column"], at, unit, entry.get("scale"), epoch, entry.get("seed"))


def _cost_column(place: str, entry: dict[str, Any], of_space: SearchSpace) -> CostColumn:
    _check_keys(place, entry, COST_KEYS)
    check_spelling(f"{place}, dataset", "dataset", entry["dataset"])
    name, dataset = entry["cost"], entry["dataset"]
    no_codes = np.empty((0, sum(take for _, take in of_space.rows)), dtype=np.uint8)
    if of_space.closed_form(name, dataset, no_codes) is not None:
        raise InvalidSpec(
            f"{place}, cost: {of_space.name} computes {name} of {dataset} by formula.",
            f"Leave the column out, or keep it as {name}-recorded.",
        )
    cost = Cost(name, dataset, entry.get("trained_on"), entry.get("epochs"))
    return CostColumn(entry["column"], cost, float(entry.get("scale", 1)))


def _check_merging(path: Path, slices: list[SliceColumn]) -> None:
    if repeated := _repeated([(entry.slice, entry.seed, entry.epoch) for entry in slices]):
        at, seed, epoch = repeated
        raise InvalidSpec(
            f"{path}: two [[slice]] say {at}, epoch {epoch}, seed {seed}.",
            "Give each its own slice, epoch or seed.",
        )
    by_slice: dict[Slice, SliceColumn] = {}
    for entry in slices:
        first = by_slice.setdefault(entry.slice, entry)
        if (first.seed is None) != (entry.seed is None):
            raise InvalidSpec(
                f"{path}: {entry.slice} has a seed for some columns ({first.column},"
                f" {entry.column}) and none for others.",
                "Name the seed of all of them or of none.",
            )
        if first.unit != entry.unit:
            raise InvalidSpec(
                f"{path}: {entry.slice} has the units {first.unit} and {entry.unit}.",
                "Give one unit and use `scale`.",
            )


def _tidy(path: Path, table: dict[str, Any], _: SearchSpace) -> Tidy:
    column_of, constants = table["tidy"], table.get("constants", {})
    _check_keys(f"{path}, [tidy]", column_of, TIDY_KEYS)
    _check_keys(f"{path}, [constants]", constants, CONSTANT_KEYS)
    for key in CONSTANT_KEYS:
        if key in column_of and key in constants:
            raise InvalidSpec(
                f"{path}: {key} stands in [tidy] and in [constants].", "Keep one of them."
            )
        if key in SLICE_PARTS and key not in column_of and key not in constants:
            raise InvalidSpec(
                f"{path}: [tidy] lacks the key {key!r}.",
                "Name its column there, or its value in [constants].",
            )
        if key in constants:
            check_spelling(f"{path}, [constants], {key}", key, str(constants[key]))
    _check_label(path, table, ["seed" in column_of or "seed" in constants])
    units, scales = table.get("unit", {}), table.get("scale", {})
    _check_keys(f"{path}, [unit]", units, dict.fromkeys(units, Key("a text")))
    _check_keys(f"{path}, [scale]", scales, dict.fromkeys(scales, Key("a positive number")))
    return Tidy(column_of, constants, units, scales)


LAYOUTS: dict[str, Callable[[Path, dict[str, Any], SearchSpace], Wide | Tidy]] = {
    "wide": _wide,
    "tidy": _tidy,
}


def _check_label(path: Path, table: dict[str, Any], has_seed: list[bool]) -> None:
    if "seeds" not in table and not all(has_seed):
        raise InvalidSpec(
            f"{path} lacks the key 'seeds'.",
            f"Say what values without a seed are: {' or '.join(LABELS)}.",
        )
    if "seeds" in table and all(has_seed):
        raise InvalidSpec(
            f"{path}, seeds: every value has a seed already.", "Remove one of the two."
        )


def parse_slice(place: str, text: str) -> Slice:
    """A slice with every part named.

    Raises: InvalidSpec with the place.
    """
    parts = text.split("/")
    if len(parts) != len(SLICE_PARTS):
        raise InvalidSpec(
            f"{place}: {shown(text)} is not dataset/trained_on/split/metric/epochs.",
            "Write it like cifar10/train+valid/test/accuracy/200.",
        )
    for key, part in zip(SLICE_PARTS, parts, strict=True):
        check_spelling(f"{place} {shown(text)}", key, part)
    dataset, trained_on, split, metric, epochs = parts
    return Slice(dataset, trained_on, split, metric, int(epochs))


def check_spelling(place: str, key: str, text: str) -> None:
    """Raises: InvalidSpec with the place if `text` cannot be the value of `key`."""
    pattern, meaning = SPELLINGS[key]
    if not pattern.fullmatch(text):
        raise InvalidSpec(f"{place}: {key} is {meaning}, not {shown(text)}.", "Correct it.")


def unit_of(metric: str, given: str | None) -> str:
    """The unit of a metric: the fixed one, or the given one where none is fixed.

    Raises: InvalidSpec if another unit is given, or none for a metric that has no fixed one.
    """
    fixed = UNITS.get(metric)
    if fixed is not None and given not in (None, fixed):
        raise InvalidSpec(f"{metric} is kept in {fixed}, not in {given}.", "Convert with `scale`.")
    unit = fixed or given
    if unit is None:
        close = get_close_matches(metric, UNITS, n=1)
        hint = f"Did you mean {close[0]}? " if close else ""
        raise InvalidSpec(
            f"The metric {metric!r} has no unit of its own.", f"{hint}If not, give its `unit`."
        )
    return unit


def _role_slice(place: str, dataset: str, text: str, held: Collection[Slice]) -> Slice:
    at = parse_slice(place, text)
    if at.dataset != dataset:
        raise InvalidSpec(
            f"{place}: {at} is of {at.dataset}, not of {dataset}.",
            f"Name a slice of {dataset}, or call the table [roles.{at.dataset}].",
        )
    if at not in held:
        near = get_close_matches(str(at), map(str, held), n=4, cutoff=0.4)
        raise InvalidSpec(
            f"{place}: the table does not hold {at}.",
            f"Near ones: {', '.join(near or map(str, held))}.",
        )
    return at


def _check_keys(place: str, table: object, keys: Mapping[str, Key]) -> None:
    """Raises: InvalidSpec if a key is unknown, missing or of the wrong kind."""
    if not isinstance(table, dict):
        raise InvalidSpec(f"{place} is no table.", f"Its keys are {', '.join(keys)}.")
    for name in table:
        if name not in keys:
            with _placed(place):
                raise unknown("key", name, keys, f"Keys here: {', '.join(keys)}.")
    for name, key in keys.items():
        if name not in table:
            if key.required:
                raise InvalidSpec(f"{place} lacks the key {name!r}.", f"It is {_wanted(key)}.")
        elif not KINDS[key.kind](table[name]) or key.among and table[name] not in key.among:
            close = get_close_matches(str(table[name]), key.among, n=1)
            hint = f"Did you mean {close[0]}?" if close else "Correct it."
            raise InvalidSpec(
                f"{place}, {name}: must be {_wanted(key)}, not {shown(table[name])}.", hint
            )


def _wanted(key: Key) -> str:
    return f"one of {', '.join(key.among)}" if key.among else key.kind


def shown(value: object) -> str:
    """A value as an error message shows it: its start, if it is long."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _repeated(values: list[T]) -> T | None:
    return next((value for value, n in Counter(values).items() if n > 1), None)


@contextmanager
def _placed(place: str) -> Iterator[None]:
    """Puts the place in the map before the message of any error of ours."""
    try:
        yield
    except HarnessError as error:
        raise InvalidSpec(f"{place}: {error.message}", error.remedy or "Correct it.") from error
