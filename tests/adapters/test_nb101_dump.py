"""The dump of 30,001 cells of NAS-Bench-101: what its import answers against the CSV itself."""

import csv
import gzip
import itertools
import math

import numpy as np
import pytest

from adapters import tidy_csv
from harness import Slice, load, rank, space, store
from harness.benchmark import Cost
from harness.errors import UnknownArch, UnknownSeed
from harness.registry import adapter_of

SPACE = space("nb101")
OPS = ("conv3x3-bn-relu", "conv1x1-bn-relu", "maxpool3x3")
SCHEDULES = (4, 12, 36, 108)


def at(epochs=108):
    return Slice("cifar10", "train", "valid", "accuracy", epochs)


def spec(row):
    n_vertices = int(row["vertices"])
    matrix = np.array(list(row["adjacency"]), dtype=np.int8).reshape(n_vertices, n_vertices)
    return matrix, ["input", *(OPS[int(digit)] for digit in row["ops"]), "output"]


@pytest.fixture(scope="module")
def rows(data):
    with gzip.open(data / "nb101" / "nb101_30k.csv.gz", "rt", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def table(data, tmp_path_factory):
    """The dump, found as any raw file is and packed by the map that its source names."""
    (raw,) = (raw for raw in tidy_csv.ADAPTER.sources if raw.name == "nb101-csv")
    (path,) = (path for pattern in raw.patterns for path in data.rglob(pattern))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NAS_HARNESS_HOME", str(tmp_path_factory.mktemp("home")))
        name = adapter_of(raw.name).pack(
            raw.name, path, mapping=raw.mapping, jobs=1, progress=lambda *_: None
        )
        assert adapter_of(raw.name).store_of(raw.name, path) == name
        store.set_alias("nb101", name)
        yield load("nb101")


def test_every_value_is_the_csvs_in_percent(table, rows):
    rows_ = [table.row(row["key"]) for row in rows]

    assert len(table) == 30_001 == len(set(rows_))
    for epochs in SCHEDULES:
        fractions = np.array([float(row[f"val_acc_e{epochs}"]) for row in rows])
        expected = (100 * fractions).astype(np.float32)
        np.testing.assert_array_equal(expected, table.column(at(epochs))[rows_])


def test_every_cost_is_the_csvs(table, rows):
    rows_ = [table.row(row["key"]) for row in rows]
    params = [int(row["trainable_parameters"]) for row in rows]
    seconds = [float(row["final_training_time"]) for row in rows]

    assert table.costs()[:2] == [
        Cost("train_seconds", "cifar10", "train", 108),
        Cost("params-recorded", "cifar10"),
    ]
    assert seconds == table.cost_column("train_seconds", "cifar10")[rows_].tolist()
    for name in ("params-recorded", "params"):  # The formula needs the file's own numbering.
        millions = table.cost_column(name, "cifar10")[rows_]
        np.testing.assert_allclose(millions * 1e6, params, rtol=1e-12)


def test_cells_stand_in_the_order_of_their_hashes(table, rows):
    assert sorted(row["key"] for row in rows) == [key.decode() for key in table.keys.tolist()]
    assert list(range(30_001)) == table.indices.tolist()


def renumbered(matrix, ops):
    """The same cell with its inner vertices in another order, None if it has no other."""
    inner = range(1, len(ops) - 1)
    for order in list(itertools.permutations(inner))[1:]:
        places = [0, *order, len(ops) - 1]
        other, other_ops = matrix[np.ix_(places, places)], [ops[place] for place in places]
        is_other = other_ops != ops or (other != matrix).any()
        if is_other and not np.tril(other).any():
            return other, other_ops
    return None


def test_hash_spec_and_renumbered_spec_name_the_same_cell(table, rows):
    n_renumbered = 0
    for row in rows[::30]:
        expected = np.float32(100 * float(row["val_acc_e108"]))
        own = spec(row)
        other = renumbered(*own)

        assert expected == table.query(row["key"], at()).value
        assert expected == table.query(SPACE.of_spec(*own), at()).value
        if other is not None:
            n_renumbered += 1
            assert table.row(row["key"]) == table.row(SPACE.of_spec(*other))
    assert n_renumbered > 300


def test_a_cell_that_the_dump_lacks_is_named(table, rows):
    held = {row["key"] for row in rows}
    rng = np.random.default_rng(0)
    drawn = (SPACE.sample(rng) for _ in range(100))
    absent = next(arch for arch in drawn if SPACE.module_hash(arch) not in held)

    with pytest.raises(UnknownArch, match=f"no arch with the hash {SPACE.module_hash(absent)}"):
        table.query(absent, at())


@pytest.mark.parametrize("epochs", SCHEDULES)
def test_nothing_is_said_of_seeds(table, epochs):
    reading = table.query(0, at(epochs))

    assert reading.n is None
    assert math.isnan(reading.std)
    assert table.holdings[at(epochs)].seeds == ("unstated",)
    for seed in (0, "mean"):
        with pytest.raises(UnknownSeed, match="only the 'unstated' value"):
            table.query(0, at(epochs), seed=seed)


def test_validation_accuracy_is_signal_and_truth(table):
    roles = table.roles["cifar10"]

    assert (at(), at(), at(12)) == (roles.search, roles.truth, roles.short)
    assert set(table.holdings) == {at(epochs) for epochs in SCHEDULES}


@pytest.mark.parametrize(("epochs", "expected"), [(4, 0.451), (12, 0.618), (36, 0.879)])
def test_rank_correlations_of_early_epochs_are_those_that_the_data_states(table, epochs, expected):
    found = rank(table, f"slice:{at(epochs)}", at())

    assert (expected, 30_001) == (round(found.spearman, 3), found.n)


def test_one_shot_encodings_have_the_values_of_their_cells(table, rows):
    percent_of = {row["key"]: np.float32(100 * float(row["val_acc_e108"])) for row in rows}
    seen = load("oneshot1-1")
    values = seen.column(at())

    assert len(seen) > 100
    for row in range(0, len(seen), 7):
        key = seen.space.key(seen.space.arch(seen.codes[row].tolist()))
        assert percent_of[key] == values[row]


def test_the_store_verifies(table):
    assert store.verify("nb101-csv") == []
