"""The CSV adapter: facts of the published table, and every way in which a file can be wrong."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters._csv_map import read_map, shipped_maps
from adapters.tidy_csv import ADAPTER, import_csv
from harness.arch import Arch
from harness.benchmark import Slice, Table
from harness.builder import StoreBuilder
from harness.errors import BadFile, HarnessError, InvalidSpec, StorageFailed, UnknownName
from harness.files import sha256_of
from harness.spaces.nb101 import CellSpace
from harness.store import imported as imported_stores
from harness.store import load, manifest, stores_folder, verify

# The size space counts like an odometer of base 8, so its indices can be worked out by hand.
ARCH_0, ARCH_1, ARCH_8 = "8:8:8:8:8", "8:8:8:8:16", "8:8:8:16:8"
VALID = Slice("cifar10", "train", "valid", "accuracy", 90)
TEST = Slice("cifar10", "train", "test", "accuracy", 90)

WIDE_MAP = """
name = "small"
space = "nb201-size"
layout = "wide"
licence = "MIT"
citation = "Doe 2020"
seeds = "mean"
arch = "arch"
index = "index"
[roles.cifar10]
search = "cifar10/train/valid/accuracy/90"
truth = "cifar10/train/test/accuracy/90"
[[slice]]
column = "valid"
slice = "cifar10/train/valid/accuracy/90"
[[slice]]
column = "test"
slice = "cifar10/train/test/accuracy/90"
[[cost]]
column = "seconds"
cost = "train_seconds"
dataset = "cifar10"
trained_on = "train"
epochs = 90
"""
WIDE_CSV = f"""index,arch,valid,test,seconds
8,{ARCH_8},80.5,81.5,30
0,{ARCH_0},60.25,61,10
1,{ARCH_1},70,,NaN
"""
TIDY_MAP = """
name = "small-tidy"
space = "nb201-size"
layout = "tidy"
licence = "MIT"
citation = "Doe 2020"
arch = "arch"
[tidy]
split = "split"
seed = "seed"
epoch = "after"
value = "percent"
[constants]
dataset = "cifar10"
trained_on = "train"
metric = "accuracy"
epochs = 90
[roles.cifar10]
truth = "cifar10/train/test/accuracy/90"
"""
TIDY_CSV = f"""arch,split,seed,after,percent
{ARCH_8},valid,777,45,50
{ARCH_8},valid,777,90,60
{ARCH_8},valid,888,90,61
{ARCH_0},valid,777,90,40
{ARCH_8},test,777,90,59
"""
# NAS-Bench-101's own hashes of three of its cells: input > output; one vertex, or two in a row,
# beside an edge.
DIRECT, BESIDE_ONE, BESIDE_TWO = (
    "043721b9c7fe8c5fad811d47d83132ec",
    "09fc2d10bdd6225e167a6f81a22a3f06",
    "001a6fcc8b38cbc515be788a86bdc804",
)
CONV3, CONV1, POOL = "conv3x3-bn-relu", "conv1x1-bn-relu", "maxpool3x3"


def diamond(*inner: str) -> Arch:
    """Two operations side by side."""
    matrix = [[0, 1, 1, 0], [0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 0]]
    return CellSpace().of_spec(matrix, ["input", *inner, "output"])


DIAMOND = CellSpace().module_hash(diamond(CONV3, POOL))
SPEC_MAP = """
name = "small-cells"
space = "nb101"
layout = "wide"
licence = "MIT"
citation = "Doe 2020"
seeds = "unstated"
[spec]
matrix = "bits"
ops = "inner"
hash = "md5"
[spec.names]
a = "conv3x3-bn-relu"
b = "conv1x1-bn-relu"
2 = "maxpool3x3"
[roles.cifar10]
truth = "cifar10/train/valid/accuracy/90"
[[slice]]
column = "valid"
slice = "cifar10/train/valid/accuracy/90"
"""
SPEC_CSV = f"""md5,bits,inner,valid
{DIRECT},0100,,50
{DIAMOND},0110000100010000,a2,60
{BESIDE_ONE},011001000,b,70
{BESIDE_TWO},0110001000010000,22,80
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty place for stores."""
    monkeypatch.setenv("NAS_HARNESS_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


Import = Callable[..., Table]


@pytest.fixture
def imported(tmp_path: Path) -> Import:
    """Writes a CSV and a map, imports them and opens the store."""

    def run(content: str | bytes, mapping: str, file: str = "small.csv") -> Table:
        (tmp_path / "small.toml").write_text(mapping, encoding="utf-8")
        raw = content.encode() if isinstance(content, str) else content
        (tmp_path / file).write_bytes(raw)
        return load(import_csv(tmp_path / file, tmp_path / "small.toml"))

    return run


# What the published table says.


@pytest.fixture(scope="module")
def nb201(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Table]:
    """The published table, imported once with the shipped map."""
    data = os.environ.get("NAS_HARNESS_DATA")
    file = Path(data or "") / "nb201" / "nb201.csv.gz"
    if data is None or not file.exists():
        pytest.skip("NAS_HARNESS_DATA names no folder with nb201/nb201.csv.gz")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NAS_HARNESS_HOME", str(tmp_path_factory.mktemp("home")))
        began = time.perf_counter()
        table = load(import_csv(file, "nb201_dump"))
        assert time.perf_counter() - began < 10  # About one second on a laptop.
        assert verify("nb201-csv") == []
        assert manifest("nb201-csv")["provenance"]["sources"][0]["sha256"] == sha256_of(file)
        for at in table.holdings:  # Maps the arrays while the store's place is known.
            table.column(at)
        table.cost_column("params-recorded", "cifar10")
        yield table


@pytest.mark.parametrize(
    ("dataset", "role", "best", "indices"),
    [  # NAS-Bench-201's published optima.
        ("cifar10", "truth", 94.3733, {6111, 13714}),
        ("cifar100", "truth", 73.5133, {9930}),
        ("ImageNet16-120", "truth", 47.3111, {857}),
        ("cifar10", "search", 91.6067, None),
        ("cifar100", "search", 73.4933, None),
        ("ImageNet16-120", "search", 46.7333, None),
    ],
)
def test_published_optima(
    nb201: Table, dataset: str, role: str, best: float, indices: set[int] | None
) -> None:
    values = nb201.column(nb201.roles[dataset].named(role))

    assert best == pytest.approx(float(values.max()), abs=5e-5)
    assert indices in (None, set(nb201.indices[values == values.max()].tolist()))


def test_all_skip_cell_of_the_published_table(nb201: Table) -> None:
    skips = "|skip_connect~0|+|skip_connect~0|skip_connect~1|"
    cell = f"{skips}+|skip_connect~0|skip_connect~1|skip_connect~2|"
    reading = nb201.query(cell, Slice("cifar10", "train+valid", "test", "accuracy", 200))

    assert 54.297 == round(reading.value, 3)
    assert nb201.row(1835) == nb201.row(cell)
    assert reading.n is None and np.isnan(reading.std)


def test_published_table_is_whole_and_in_the_official_order(nb201: Table) -> None:
    expected = np.arange(15625)

    assert np.array_equal(expected, nb201.indices)
    assert np.array_equal(nb201.space.codes, nb201.codes)
    assert {("mean",)} == {holding.seeds for holding in nb201.holdings.values()}


def test_trainings_on_half_and_on_all_of_cifar10_are_kept_apart(nb201: Table) -> None:
    half = nb201.column(Slice("cifar10", "train", "test", "accuracy", 200))
    whole = nb201.column(Slice("cifar10", "train+valid", "test", "accuracy", 200))

    assert float(half.mean()) < float(whole.mean())  # Twice the data is better.
    assert 87.06 == round(float(whole.mean(dtype=np.float64)), 2)
    assert 12.94 == round(float(whole.std(dtype=np.float64)), 2)


@pytest.mark.parametrize(
    ("dataset", "trained_on", "best"),
    [
        ("cifar10", "train+valid", 89.16),
        ("cifar100", "train", 61.18),
        ("ImageNet16-120", "train", 38.27),
    ],
)
def test_optima_of_the_short_schedule(
    nb201: Table, dataset: str, trained_on: str, best: float
) -> None:
    values = nb201.column(Slice(dataset, trained_on, "test", "accuracy", 12))

    assert best == round(float(values.max()), 2)


def test_recorded_parameters_differ_from_the_formula_in_204_cells(nb201: Table) -> None:
    recorded = nb201.cost_column("params-recorded", "cifar10")
    computed = nb201.cost_column("params", "cifar10")

    assert 204 == int((np.abs(recorded - computed) > 1e-9).sum())


# What an import keeps.


def test_rows_are_sorted_by_official_index_and_gaps_stay_gaps(imported: Import) -> None:
    table = imported(WIDE_CSV, WIDE_MAP)

    assert [0, 1, 8] == table.indices.tolist()
    assert [ARCH_0, ARCH_1, ARCH_8] == [table.space.format(arch) for arch in table.archs]
    assert [60.25, 70, 80.5] == table.column(VALID).tolist()
    np.testing.assert_array_equal([61, np.nan, 81.5], table.column(TEST))
    np.testing.assert_array_equal([10, np.nan, 30], table.cost_column("train_seconds", "cifar10"))
    assert table.roles["cifar10"].search == VALID and table.roles["cifar10"].short is None


@pytest.mark.parametrize(
    ("content", "file"),
    [
        (gzip.compress(WIDE_CSV.encode()), "small.csv.gz"),
        (b"\xef\xbb\xbf" + WIDE_CSV.encode(), "bom.csv"),
        (WIDE_CSV.replace("\n", "\r\n").encode(), "windows.csv"),
        (WIDE_CSV.replace("\n", "\n\n").encode(), "blank_lines.csv"),
        (WIDE_CSV.replace(ARCH_0, f'"{ARCH_0}"').replace("70", " 7.0e1 ").encode(), "quoted.csv"),
        (WIDE_CSV.rstrip("\n").encode(), "no_last_newline.csv"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_forms_of_the_same_file_give_the_same_store(
    imported: Import, content: bytes, file: str
) -> None:
    expected = imported(WIDE_CSV, WIDE_MAP).sha256

    assert expected == imported(content, WIDE_MAP, file).sha256


def test_provenance_names_both_files(imported: Import, tmp_path: Path) -> None:
    imported(WIDE_CSV, WIDE_MAP)
    expected = {
        ("small.csv", sha256_of(tmp_path / "small.csv")),
        ("small.toml", sha256_of(tmp_path / "small.toml")),
    }
    provenance = manifest("small")["provenance"]

    assert expected == {(s["file"], s["sha256"]) for s in provenance["sources"]}
    assert ("tidy_csv", "MIT", "Doe 2020") == tuple(
        provenance[key] for key in ("adapter", "licence", "citation")
    )


def test_name_replaces_the_name_of_the_map(imported: Import, tmp_path: Path) -> None:
    imported(WIDE_CSV, WIDE_MAP)
    name = import_csv(tmp_path / "small.csv", tmp_path / "small.toml", "other")

    assert "other" == name
    assert {"small", "other"} == set(imported_stores())


def test_columns_of_one_slice_are_merged_by_seed_and_epoch(imported: Import) -> None:
    entries = "".join(
        f'[[slice]]\ncolumn = "s{seed}e{epoch}"\nslice = "{TEST}"\nseed = {seed}\nepoch = {epoch}\n'
        for seed, epoch in [(888, 90), (777, 90), (777, 45)]
    )
    head = WIDE_MAP.partition("[[slice]]")[0].replace('seeds = "mean"\n', "")
    mapping = head.replace('search = "cifar10/train/valid/accuracy/90"\n', "") + entries
    table = imported(f"index,arch,s888e90,s777e90,s777e45\n1,{ARCH_1},62,60,50\n", mapping)
    reading = table.query(ARCH_1, TEST, seed="mean")

    assert (777, 888) == table.holdings[TEST].seeds
    assert (45, 90) == table.holdings[TEST].epochs
    assert [50, 60] == table.curve(ARCH_1, TEST, seed=777).values.tolist()
    np.testing.assert_array_equal([np.nan, 62], table.curve(ARCH_1, TEST, seed=888).values)
    assert (61, 2) == (reading.value, reading.n)


def test_tidy_rows_become_seeds_and_epochs(imported: Import) -> None:
    table = imported(TIDY_CSV, TIDY_MAP)

    assert [0, 8] == table.indices.tolist()
    assert (777, 888) == table.holdings[VALID].seeds
    assert (45, 90) == table.holdings[VALID].epochs
    np.testing.assert_array_equal([40, 60], table.column(VALID, seed=777))
    np.testing.assert_array_equal([np.nan, 61], table.column(VALID, seed=888))
    np.testing.assert_array_equal([np.nan, 50], table.column(VALID, seed=777, epoch=45))
    np.testing.assert_array_equal([np.nan, 59], table.column(TEST, seed=777))


def test_tidy_and_wide_tell_the_same_table(imported: Import) -> None:
    long = "arch,split,v\n" + "".join(
        f"{arch},{split},{value}\n"
        for arch, split, value in [
            (ARCH_1, "valid", "0.7"),
            (ARCH_1, "test", "NA"),
            (ARCH_0, "valid", "0.6025"),
            (ARCH_8, "test", ".815"),
            (ARCH_0, "test", "61e-2"),
            (ARCH_8, "valid", "0.805"),
        ]
    )
    mapping = (
        TIDY_MAP.replace('seed = "seed"\n', "")
        .replace('epoch = "after"\n', "")
        .replace('"percent"', '"v"')
        .replace('arch = "arch"', 'arch = "arch"\nseeds = "mean"')
    )
    expected = imported(WIDE_CSV, WIDE_MAP)
    table = imported(long, mapping + "[scale]\naccuracy = 100\n")

    assert expected.holdings == table.holdings
    for at in (VALID, TEST):
        np.testing.assert_allclose(expected.column(at), table.column(at), rtol=1e-6)


@pytest.mark.parametrize("scale", ["1.0", "100"])
def test_a_stated_scale_settles_what_fractions_are(imported: Import, scale: str) -> None:
    entry = f'column = "valid"\nscale = {scale}\n'
    mapping = WIDE_MAP.replace('column = "valid"\n', entry)
    content = WIDE_CSV.replace("80.5", "0.5").replace("60.25", "0.25").replace("70", "")

    expected = [0.25 * float(scale), np.nan, 0.5 * float(scale)]
    np.testing.assert_array_equal(expected, imported(content, mapping).column(VALID))


def test_a_metric_without_a_fixed_unit_takes_the_one_of_the_map(imported: Import) -> None:
    entry = f'[[slice]]\ncolumn = "seconds"\nslice = "{VALID}"\nunit = "points"\n'
    mapping = WIDE_MAP + entry.replace("accuracy", "fluency")
    table = imported(WIDE_CSV, mapping)

    assert "points" == table.holdings[Slice("cifar10", "train", "valid", "fluency", 90)].unit


# Cells that are given as graphs.


def test_cells_are_found_by_hash_and_by_graph_however_it_is_numbered(imported: Import) -> None:
    table = imported(SPEC_CSV, SPEC_MAP)
    expected = sorted([(DIRECT, 50), (DIAMOND, 60), (BESIDE_ONE, 70), (BESIDE_TWO, 80)])

    assert table.keys is not None
    assert [key for key, _ in expected] == [key.decode() for key in table.keys.tolist()]
    assert [value for _, value in expected] == table.column(VALID).tolist()
    assert [0, 1, 2, 3] == table.indices.tolist()
    for asked in (DIAMOND, diamond(CONV3, POOL), diamond(POOL, CONV3)):
        assert 60 == table.query(asked, VALID).value
    assert diamond(CONV3, POOL) == table.archs[table.row(DIAMOND)]


def test_hashes_that_are_not_stated_are_computed(imported: Import) -> None:
    lines = [line.partition(",")[2] for line in SPEC_CSV.splitlines()]
    expected = imported(SPEC_CSV, SPEC_MAP).sha256
    table = imported("\n".join(lines), SPEC_MAP.replace('hash = "md5"\n', ""))

    assert expected == table.sha256


def test_a_cell_that_is_written_in_two_ways_is_one(imported: Import) -> None:
    cells = SPEC_MAP[: SPEC_MAP.index("[roles")].replace('seeds = "unstated"\n', "")
    rest = TIDY_MAP[TIDY_MAP.index("[tidy]") :].replace("train/test/", "train/valid/")
    content = f"""md5,bits,inner,split,seed,after,percent
{DIAMOND},0110000100010000,2a,valid,5,90,60
{DIRECT},0100,,valid,5,90,50
{DIAMOND},0110000100010000,a2,valid,5,45,40
"""
    table = imported(content, cells.replace("wide", "tidy") + rest)

    assert 2 == len(table)
    assert [40, 60] == table.curve(DIAMOND, VALID, seed=5).values.tolist()
    assert diamond(POOL, CONV3) == table.archs[table.row(DIAMOND)]


SPEC_ERRORS = {
    "wrong hash": (SPEC_CSV.replace(DIAMOND, "0" * 32), ["line 3", "'md5'", DIAMOND, "spec.names"]),
    "no hash": (SPEC_CSV.replace(DIAMOND, ""), ["line 3", "'md5'", DIAMOND]),
    "hashes of two cells swapped": (
        SPEC_CSV.replace(DIAMOND, "x").replace(DIRECT, DIAMOND).replace("x", DIRECT),
        ["line 2", "'md5'", DIRECT],
    ),
    "too few bits": (
        SPEC_CSV.replace("011001000", "11001000"),
        ["line 4", "'bits'", "3 vertices", "zeros that lead"],
    ),
    "too few operations": (SPEC_CSV.replace("a2", "2"), ["line 3", "'bits'", "'inner'"]),
    "other bits": (SPEC_CSV.replace("0100,", "0200,"), ["line 2", "'bits'", "0 and 1"]),
    "no bits": (SPEC_CSV.replace("0100,", ","), ["line 2", "'bits'", "2 vertices"]),
    "unknown operation": (SPEC_CSV.replace("a2", "a0"), ["line 3", "'inner'", "'0'", "a, b, 2"]),
    "edge below the diagonal": (
        SPEC_CSV.replace("011001000", "011011000"),
        ["line 4", "'bits'", "upper triangular", "1>1"],
    ),
    "no path": (SPEC_CSV.replace("0100,", "0000,"), ["line 2", "'bits'", "no path"]),
    "too many vertices": (
        SPEC_CSV.replace("0100,", "0" * 64 + ",aaaaaa"),
        ["line 2", "'bits'", "8 vertices"],
    ),
    "too many edges": (
        SPEC_CSV.replace("0100,", "0111100111000110000100000,aaa"),
        ["line 2", "'bits'", "10 edges"],
    ),
    "cell repeated": (SPEC_CSV + f"{DIRECT},0100,,51\n", ["line 6", "'md5'", "line 2"]),
    "cell repeated with another numbering": (
        SPEC_CSV + f"{DIAMOND},0110000100010000,2a,51\n",
        ["line 6", "'md5'", "line 3"],
    ),
}


@pytest.mark.parametrize(("content", "fragments"), SPEC_ERRORS.values(), ids=SPEC_ERRORS.keys())
def test_a_bad_graph_is_refused_with_its_place(
    imported: Import, content: str, fragments: list[str]
) -> None:
    assert content != SPEC_CSV

    with pytest.raises(BadFile) as error:
        imported(content, SPEC_MAP)

    check_refused(error, "small.csv", fragments)
    assert {} == imported_stores()


SPEC_MAP_ERRORS = {
    "unknown operation": ('"maxpool3x3"', '"maxpool"', ["[spec.names]", "2", "maxpool3x3?"]),
    "operation is no text": ('"maxpool3x3"', "2", ["[spec.names]", "2"]),
    "two characters": ("2 =", "22 =", ["[spec.names]", "'22'", "one character"]),
    "no operations": ('ops = "inner"\n', "", ["[spec]", "'ops'"]),
    "no names": (SPEC_MAP[SPEC_MAP.index("[spec.n") : SPEC_MAP.index("[roles")], "", ["'names'"]),
    "unknown key": ("matrix =", "matrics =", ["[spec]", "matrix?"]),
    "text beside the graph": ("[spec]", 'arch = "arch"\n[spec]', ["'arch'", "spec"]),
    "index beside the graph": ("[spec]", 'index = "i"\n[spec]', ["'index'"]),
    "space without graphs": ('"nb101"', '"nb201"', ["[spec]", "nb101", "nb201", "arch"]),
    "neither text nor graph": (
        SPEC_MAP[SPEC_MAP.index("[spec]") : SPEC_MAP.index("[roles")],
        "",
        ["'arch'"],
    ),
}


@pytest.mark.parametrize(
    ("old", "new", "fragments"), SPEC_MAP_ERRORS.values(), ids=SPEC_MAP_ERRORS.keys()
)
def test_a_bad_map_of_graphs_is_refused_with_its_place(
    imported: Import, old: str, new: str, fragments: list[str]
) -> None:
    assert old in SPEC_MAP

    with pytest.raises(InvalidSpec) as error:
        imported(SPEC_CSV, SPEC_MAP.replace(old, new, 1))

    check_refused(error, "small.toml", fragments)


# What is refused.

CSV_ERRORS = {
    "missing column": (WIDE_CSV.replace(",valid,", ",vaild,"), ["line 1", "'valid'", "vaild?"]),
    "two columns of one name": (
        WIDE_CSV.replace("seconds", "valid"),
        ["line 1", "two columns", "'valid'"],
    ),
    "semicolons": (WIDE_CSV.replace(",", ";"), ["line 1", "'arch'", "commas"]),
    "text for a number": (WIDE_CSV.replace("60.25", "high"), ["line 3", "'valid'", "'high'"]),
    "nan not listed": (WIDE_CSV.replace("60.25", "NAN"), ["line 3", "'valid'", "missing"]),
    "number as Python writes it": (WIDE_CSV.replace("60.25", "6_0"), ["line 3", "'valid'"]),
    "number of another script": (WIDE_CSV.replace("60.25", "٦٠"), ["line 3", "'valid'"]),
    "infinite": (WIDE_CSV.replace("60.25", "inf"), ["line 3", "'valid'", "finite"]),
    "overflow": (WIDE_CSV.replace("60.25", "1e999"), ["line 3", "'valid'"]),
    "infinite cost": (WIDE_CSV.replace("30", "1e999"), ["line 2", "'seconds'"]),
    "negative cost": (WIDE_CSV.replace("30", "-30"), ["line 2", "'seconds'"]),
    "above 100": (WIDE_CSV.replace("81.5", "8150"), ["line 2", "'test'", "0..100", "scale"]),
    "below 0": (WIDE_CSV.replace("81.5", "-1"), ["line 2", "'test'", "scale"]),
    "fractions": (
        WIDE_CSV.replace("80.5", "0.5").replace("60.25", "0.25").replace("70", "1"),
        ["line 2", "'valid'", "scale"],
    ),
    "repeated arch": (WIDE_CSV + f"1,{ARCH_1},1,2,3\n", ["line 5", "'arch'", "line 4"]),
    "unknown arch": (WIDE_CSV.replace(ARCH_0, "8:8:8:8:9"), ["line 3", "'arch'", "8:8:8:8:9"]),
    "empty arch": (WIDE_CSV.replace(ARCH_0, ""), ["line 3", "'arch'"]),
    "index disagrees": (WIDE_CSV.replace(f"8,{ARCH_8}", f"9,{ARCH_8}"), ["line 2", "'index'", "8"]),
    "index no number": (WIDE_CSV.replace(f"0,{ARCH_0}", f"?,{ARCH_0}"), ["line 3", "'index'"]),
    "short row": (WIDE_CSV.replace(",81.5,30", ",81.5"), ["line 2", "'seconds'", "4 cells"]),
    "long row": (WIDE_CSV.replace("61,10", "61,10,9"), ["line 3", "'seconds'", "6 cells"]),
    "open quote": (WIDE_CSV.replace(ARCH_0, f'"{ARCH_0}'), ["line 3", "quote"]),
    "stray quote": (WIDE_CSV.replace(ARCH_0, f'"{ARCH_0}"x'), ["line 3", "quote"]),
    "cell too long": (WIDE_CSV.replace(ARCH_0, "8" * 200_000), ["line 3"]),
    "line after a quoted line break": (
        WIDE_CSV.replace("index,", '"in\ndex",index,')
        .replace("\n8,", '\n"a\nb",8,')
        .replace("\n0,", "\n,0,")
        .replace("\n1,", "\n,1,")
        .replace("70", "x"),
        ["line 6", "'valid'"],
    ),
    "line after a blank line": (
        WIDE_CSV.replace("\n0,", "\n\n0,").replace("60.25", "x"),
        ["line 4", "'valid'"],
    ),
    "line in a Windows file": (
        WIDE_CSV.replace("60.25", "x").replace("\n", "\r\n"),
        ["line 3", "'valid'"],
    ),
    "header only": (WIDE_CSV.partition("\n")[0] + "\n", ["no row"]),
    "empty": ("", ["empty"]),
    "blank": ("\n\n", ["'arch'"]),
    "NUL byte": (WIDE_CSV.replace("60.25", "60\0"), ["line 3", "NUL"]),
    "not UTF-8": (WIDE_CSV.encode().replace(b"60.25", b"60\xff"), ["line 3", "UTF-8"]),
    "not UTF-8 after a mark": (
        b"\xef\xbb\xbf" + WIDE_CSV.encode().replace(b"60.25", b"60\xff"),
        ["line 3", "UTF-8"],
    ),
    "UTF-16": (WIDE_CSV.encode("utf-16"), ["line 1", "UTF-8"]),
}


def check_refused(
    error: pytest.ExceptionInfo[HarnessError], file: str, fragments: list[str]
) -> None:
    assert file in error.value.message
    assert error.value.remedy
    for fragment in fragments:
        assert fragment in str(error.value)


@pytest.mark.parametrize(("content", "fragments"), CSV_ERRORS.values(), ids=CSV_ERRORS.keys())
def test_a_bad_file_is_refused_with_its_place(
    imported: Import, home: Path, content: str | bytes, fragments: list[str]
) -> None:
    expected = imported(WIDE_CSV, WIDE_MAP).sha256
    before = sorted(home.rglob("*"))

    with pytest.raises(BadFile) as error:
        imported(content, WIDE_MAP)

    check_refused(error, "small.csv", fragments)
    assert before == sorted(home.rglob("*"))
    assert expected == load("small").sha256 and verify("small") == []


@pytest.mark.parametrize(
    ("content", "fragment"),
    [
        (gzip.compress(WIDE_CSV.encode())[:-20], "cut short"),
        (gzip.compress(WIDE_CSV.encode())[:-8] + bytes(8), "damaged"),
        (gzip.compress(WIDE_CSV.encode())[:5], "cut short"),
        (WIDE_CSV.encode(), "not a gzip"),
    ],
    ids=["truncated", "checksum", "header only", "plain"],
)
def test_a_bad_gzip_is_refused(imported: Import, content: bytes, fragment: str) -> None:
    with pytest.raises(BadFile) as error:
        imported(content, WIDE_MAP, "small.csv.gz")

    check_refused(error, "small.csv.gz", [fragment])


@pytest.mark.parametrize("file", ["nowhere.csv", "."])
def test_a_file_that_cannot_be_opened_is_refused(tmp_path: Path, file: str) -> None:
    with pytest.raises(BadFile) as error:
        import_csv(tmp_path / file, "nb201_dump")

    check_refused(error, str(tmp_path), ["Check the path"])


TIDY_ERRORS = {
    "repeated measurement": (TIDY_CSV + f"{ARCH_0},valid,777,90,41\n", ["line 7", "line 5"]),
    "unknown split": (TIDY_CSV.replace("test", "tset"), ["line 6", "'split'", "'tset'"]),
    "seed missing": (TIDY_CSV.replace(",888,", ",,"), ["line 4", "'seed'"]),
    "seed no number": (TIDY_CSV.replace(",888,", ",mean,"), ["line 4", "'seed'", "'mean'"]),
    "epoch 0": (TIDY_CSV.replace(",45,", ",0,"), ["line 2", "'after'", "from 1"]),
    "epoch past the last": (TIDY_CSV.replace(",45,", ",91,"), ["line 2", "'after'", "91"]),
    "value no number": (TIDY_CSV.replace(",40", ",x"), ["line 5", "'percent'"]),
    "value above 100": (TIDY_CSV.replace(",40", ",400"), ["line 5", "'percent'", "scale"]),
}


@pytest.mark.parametrize(("content", "fragments"), TIDY_ERRORS.values(), ids=TIDY_ERRORS.keys())
def test_a_bad_tidy_file_is_refused_with_its_place(
    imported: Import, content: str, fragments: list[str]
) -> None:
    with pytest.raises(BadFile) as error:
        imported(content, TIDY_MAP)

    check_refused(error, "small.csv", fragments)
    assert {} == imported_stores()


def test_a_tidy_metric_without_unit_is_refused_with_its_place(imported: Import) -> None:
    mapping = TIDY_MAP.replace('metric = "accuracy"\n', "").replace(
        'value = "percent"', 'value = "percent"\nmetric = "metric"'
    )
    content = TIDY_CSV.replace("percent", "percent,metric").replace("0\n", "0,acuracy\n")
    content = content.replace("1\n", "1,acuracy\n").replace("9\n", "9,acuracy\n")

    with pytest.raises(BadFile) as error:
        imported(content, mapping)

    check_refused(error, "small.csv", ["line 2", "'metric'", "Did you mean accuracy?"])


def test_a_column_that_cannot_be_a_seed_is_refused(imported: Import) -> None:
    archs = [f"8:8:{a}:{b}:{c}" for a in (8, 16) for b in range(8, 65, 8) for c in range(8, 65, 8)]
    rows = [
        f"{arch},valid,{number},{epoch},50"
        for number, arch in enumerate(archs)
        for epoch in range(1, 91)
    ]
    rows = [f"{row}\n" for number, row in enumerate(rows) if number % 90 == number // 90 % 90]

    with pytest.raises(BadFile) as error:
        imported("arch,split,seed,after,percent\n" + "".join(rows), TIDY_MAP)

    check_refused(error, "small.csv", ["128 seeds", "90 epochs"])


ROLE = 'search = "cifar10/train/valid/accuracy/90"\n'
SLICE = 'column = "valid"\n'
MAP_ERRORS = {
    "unknown key": ('arch = "arch"', 'arch = "arch"\nlicense = "MIT"', ["license", "licence?"]),
    "missing key": ('licence = "MIT"', "", ["'licence'"]),
    "wrong type": ('licence = "MIT"', "licence = 3", ["licence", "a text", "3"]),
    "empty text": ('licence = "MIT"', 'licence = " "', ["licence", "a text"]),
    "no layout": ('layout = "wide"', "", ["'layout'", "wide, tidy"]),
    "unknown layout": ('"wide"', '"wied"', ["layout", "wide?"]),
    "layout of another type": ('"wide"', "[]", ["layout", "[]"]),
    "key of the other layout": ('arch = "arch"', 'arch = "arch"\ntidy = {}', ["'tidy'"]),
    "unknown space": ('"nb201-size"', '"nb201-sise"', ["space", "nb201-size?"]),
    "impossible name": ('"small"', '"../small"', ["name", "../small"]),
    "seeds of another kind": ('"mean"', '"median"', ["seeds", "mean?"]),
    "seeds missing": ('seeds = "mean"\n', "", ["'seeds'", "unstated"]),
    "missing is no list": ('arch = "arch"', 'arch = "arch"\nmissing = "-"', ["missing"]),
    "no slice": (WIDE_MAP[WIDE_MAP.index("[[slice]]") :], "", ["'slice'"]),
    "slice is no table": (
        WIDE_MAP[WIDE_MAP.index("[roles") :],
        'slice = ["a"]\n[roles.cifar10]\ntruth = "a"\n',
        ["slice", "tables"],
    ),
    "slice without column": (SLICE, "", ["[[slice]] number 1", "'column'"]),
    "unknown key in a slice": (SLICE, SLICE + "seeds = 1\n", ["[[slice]] number 1", "seed?"]),
    "slice of 4 parts": (
        'slice = "cifar10/train/valid/',
        'slice = "cifar10/valid/',
        ["[[slice]] number 1", "like"],
    ),
    "unknown split": (
        'slice = "cifar10/train/valid/',
        'slice = "cifar10/train/vlaid/',
        ["number 1", "'vlaid'"],
    ),
    "unknown training set": (
        'slice = "cifar10/train/valid/',
        'slice = "cifar10/half/valid/',
        ["number 1", "'half'"],
    ),
    "schedule of 0 epochs": (
        'slice = "cifar10/train/valid/accuracy/90',
        'slice = "cifar10/train/valid/accuracy/0',
        ["number 1", "epochs", "from 1"],
    ),
    "schedule of a huge number": (
        'slice = "cifar10/train/valid/accuracy/90',
        f'slice = "cifar10/train/valid/accuracy/{"9" * 5000}',
        ["number 1", "epochs"],
    ),
    "no data set": ('slice = "cifar10/train/valid/', 'slice = "/train/valid/', ["dataset"]),
    "slice named twice": (
        'slice = "cifar10/train/test/',
        'slice = "cifar10/train/valid/',
        ["two [[slice]]", str(VALID)],
    ),
    "seed for one column only": (
        'slice = "cifar10/train/test/accuracy/90"\n[',
        'slice = "cifar10/train/valid/accuracy/90"\nseed = 1\n[',
        ["valid", "test", "seed"],
    ),
    "seed is no number": (SLICE, SLICE + "seed = true\n", ["number 1", "seed", "True"]),
    "epoch past the last": (SLICE, SLICE + "epoch = 91\n", ["number 1", "epoch", "91"]),
    "epoch 0": (SLICE, SLICE + "epoch = 0\n", ["number 1", "epoch", "from 1"]),
    "scale 0": (SLICE, SLICE + "scale = 0\n", ["number 1", "scale", "positive"]),
    "scale infinite": (SLICE, SLICE + "scale = inf\n", ["number 1", "scale"]),
    "scale nan": (SLICE, SLICE + "scale = nan\n", ["number 1", "scale"]),
    "scale huge": (SLICE, SLICE + f"scale = 1{'0' * 400}\n", ["number 1", "scale"]),
    "another unit": (SLICE, SLICE + 'unit = "fraction"\n', ["number 1", "unit", "scale"]),
    "no unit": (
        'slice = "cifar10/train/valid/accuracy',
        'slice = "cifar10/train/valid/acuracy',
        ["number 1", "unit", "accuracy?"],
    ),
    "unknown cost": ('"train_seconds"', '"train_second"', ["[[cost]] number 1", "train_seconds?"]),
    "cost known by formula": ('"train_seconds"', '"flops"', ["number 1", "flops-recorded"]),
    "cost named twice": (
        "[[cost]]",
        WIDE_MAP[WIDE_MAP.index("[[cost]]") :] + "[[cost]]",
        ["two [[cost]]"],
    ),
    "cost of an impossible data set": (
        'dataset = "cifar10"',
        'dataset = "cifar10/"',
        ["[[cost]] number 1", "dataset"],
    ),
    "no roles": (WIDE_MAP[WIDE_MAP.index("[roles") : WIDE_MAP.index("[[sl")], "", ["'roles'"]),
    "role is no table": ("[roles.cifar10]", "[roles]", ["[roles.search]"]),
    "no truth": ("truth =", "short =", ["[roles.cifar10]", "'truth'"]),
    "unknown role": ("search =", "serach =", ["[roles.cifar10]", "search?"]),
    "role not held": (ROLE, ROLE.replace("90", "9"), ["[roles.cifar10], search", str(VALID)]),
    "role of another data set": (
        "[roles.cifar10]",
        "[roles.cifar100]",
        ["[roles.cifar100]", "cifar10"],
    ),
    "role is no slice": (ROLE, 'search = "valid"\n', ["[roles.cifar10], search", "'valid'"]),
}


@pytest.mark.parametrize(("old", "new", "fragments"), MAP_ERRORS.values(), ids=MAP_ERRORS.keys())
def test_a_bad_map_is_refused_with_its_place(
    imported: Import, old: str, new: str, fragments: list[str]
) -> None:
    assert old in WIDE_MAP

    with pytest.raises(InvalidSpec) as error:
        imported(WIDE_CSV, WIDE_MAP.replace(old, new, 1))

    check_refused(error, "small.toml", fragments)
    assert {} == imported_stores()


TIDY_MAP_ERRORS = {
    "key left out": ('split = "split"\n', "", ["[tidy]", "'split'", "[constants]"]),
    "key twice": ("[constants]\n", '[constants]\nsplit = "test"\n', ["split", "[constants]"]),
    "no value": ('value = "percent"\n', "", ["[tidy]", "'value'"]),
    "value as a constant": ("[constants]\n", "[constants]\nvalue = 1\n", ["[constants]", "value"]),
    "unknown constant": ('"train"', '"trian"', ["[constants]", "trained_on", "train?"]),
    "constant of another type": ("epochs = 90", 'epochs = "90"', ["[constants]", "epochs"]),
    "impossible data set": ('"cifar10"', '"cifar 10"', ["[constants]", "dataset"]),
    "no seed and no label": ('seed = "seed"\n', "", ["'seeds'", "unstated"]),
    "seed and label": ('arch = "arch"', 'arch = "arch"\nseeds = "mean"', ["seeds", "Remove"]),
    "scale of another type": ("[tidy]", '[scale]\naccuracy = "x"\n[tidy]', ["[scale]", "accuracy"]),
    "cost in a tidy map": ("[tidy]", "[[cost]]\n[tidy]", ["'cost'"]),
}


@pytest.mark.parametrize(
    ("old", "new", "fragments"), TIDY_MAP_ERRORS.values(), ids=TIDY_MAP_ERRORS.keys()
)
def test_a_bad_tidy_map_is_refused_with_its_place(
    imported: Import, old: str, new: str, fragments: list[str]
) -> None:
    assert old in TIDY_MAP

    with pytest.raises(InvalidSpec) as error:
        imported(TIDY_CSV, TIDY_MAP.replace(old, new, 1))

    check_refused(error, "small.toml", fragments)


@pytest.mark.parametrize(
    "mapping", ["name = ", 'name = "a"\nname = "b"', "[" * 5000, "x = " + "[" * 100_000]
)
def test_a_map_that_is_not_toml_is_refused(imported: Import, mapping: str) -> None:
    with pytest.raises(BadFile) as error:
        imported(WIDE_CSV, mapping)

    check_refused(error, "small.toml", ["TOML"])


def test_an_unknown_map_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    with pytest.raises(UnknownName) as error:
        import_csv(tmp_path / "small.csv", "nb201_dum")

    check_refused(error, "nb201_dum", ["Did you mean nb201_dump?"])


def test_a_map_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadFile) as error:
        import_csv(tmp_path / "small.csv", tmp_path / "none.toml")

    check_refused(error, "none.toml", ["nb201_dump"])


def test_every_shipped_map_is_readable_and_belongs_to_a_source() -> None:
    stores = {raw.mapping: raw.store for raw in ADAPTER.sources}

    assert {name: read_map(name).name for name in shipped_maps()} == stores


@pytest.mark.parametrize("step", ["add", "add_cost", "commit"])
def test_a_full_disk_leaves_the_earlier_store(
    imported: Import, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    expected = imported(WIDE_CSV, WIDE_MAP).sha256
    before = sorted(stores_folder().rglob("*"))

    def refuse(*_: object) -> None:
        raise StorageFailed("no space left", "free some")

    monkeypatch.setattr(StoreBuilder, step, refuse)
    with pytest.raises(StorageFailed):
        imported(WIDE_CSV.replace("80.5", "80"), WIDE_MAP)

    assert before == sorted(stores_folder().rglob("*"))
    assert expected == load("small").sha256 and verify("small") == []


def test_importing_the_adapter_loads_no_pandas() -> None:
    code = "import sys, json, adapters.tidy_csv; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    loaded = json.loads(done.stdout)

    assert "adapters.tidy_csv" in loaded
    assert not {"pandas", "torch", "scipy"} & set(loaded)


# Whatever the bytes are, an import works or says what is wrong.

SEEDS = [
    (WIDE_CSV.encode(), WIDE_MAP.encode(), "f.csv"),
    (TIDY_CSV.encode(), TIDY_MAP.encode(), "f.csv"),
    (SPEC_CSV.encode(), SPEC_MAP.encode(), "f.csv"),
    (gzip.compress(WIDE_CSV.encode(), mtime=0), WIDE_MAP.encode(), "f.csv.gz"),
]
TOKENS = [b"", b"\0", b"\xff", b'"', b"'", b",", b"\n", b"\r", b"[", b"]", b"=", b"nan", b"inf"]
TOKENS += [b"-1", b"1e999", b"9" * 40, b"true", b"1979-05-27", b"\xc3\xa9", b"\xe2\x80\xa8", b"{}"]


def mutated(content: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    for start, n_removed, new in edits:
        at = start % (len(content) + 1)
        content = content[:at] + new + content[at + n_removed :]
    return content


EDITS = st.lists(
    st.tuples(
        st.integers(0, 2000),
        st.integers(0, 12),
        st.one_of(st.sampled_from(TOKENS), st.binary(max_size=4)),
    ),
    max_size=3,
)


@pytest.fixture(scope="module")
def fuzz_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


@settings(max_examples=400, deadline=None)
@given(seed=st.sampled_from(SEEDS), csv_edits=EDITS, map_edits=EDITS)
def test_any_bytes_are_imported_or_refused(
    fuzz_folder: Path,
    seed: tuple[bytes, bytes, str],
    csv_edits: list[tuple[int, int, bytes]],
    map_edits: list[tuple[int, int, bytes]],
) -> None:
    content, mapping, file = seed
    (fuzz_folder / file).write_bytes(mutated(content, csv_edits))
    (fuzz_folder / "f.toml").write_bytes(mutated(mapping, map_edits))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NAS_HARNESS_HOME", str(fuzz_folder))
        try:
            name = import_csv(fuzz_folder / file, fuzz_folder / "f.toml", "fuzz")
        except HarnessError as error:
            assert error.message and not list(stores_folder().glob(".new-*"))
        else:
            assert len(load(name)) >= 1 and verify(name) == []
