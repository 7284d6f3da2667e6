"""1Shot1 encodings on a NAS-Bench-101 table: values of the cell that the official hash names."""

import json

import nb101_files
import numpy as np
import pytest
from click.testing import CliRunner

from adapters.nb101 import ADAPTER
from adapters.oneshot1 import OneShot1
from harness import Slice, cli, load, space, store, views
from harness.engine import identity_of
from harness.errors import InvalidSpec, UnknownBenchmark
from harness.record import RunSpec

VALID = Slice("cifar10", "train", "valid", "accuracy", 108)


@pytest.fixture(scope="module")
def base(data, tmp_path_factory):
    """The real cells that spaces 1 and 2 have, and some that they have not."""
    place = tmp_path_factory.mktemp("oneshot1")
    cells = nb101_files.read_cells(data / "nb101" / "nb101_30k.csv.gz")
    wanted = {
        of_space.key(of_space.arch(of_space.codes[index].tolist()))
        for of_space in (space("oneshot1-1"), space("oneshot1-2"))
        for index in np.unique(of_space.representatives)
    }
    chosen = [cell for cell in cells if cell.module_hash in wanted] + cells[:200]
    unique = list({cell.module_hash: cell for cell in chosen}.values())
    path = nb101_files.write(place / "nasbench_full.tfrecord", nb101_files.rows(unique))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NAS_HARNESS_HOME", str(place / "home"))
        ADAPTER.pack("nb101", path, mapping=None, jobs=1, progress=lambda *_: None)
        yield load("nb101")


@pytest.mark.parametrize("name", ["oneshot1-1", "oneshot1-2", "oneshot1-3"])
def test_every_held_encoding_has_the_values_of_its_cell(base, name):
    of_space = space(name)
    seen = views.over(of_space.name, base)
    values = seen.values(VALID)

    assert len(seen) > 500
    for row in np.random.default_rng(0).choice(len(seen), 200, replace=False).tolist():
        key = (
            of_space.key(seen.archs[row])
            if len(seen) < 50_000
            else of_space.key(of_space.arch(seen.codes[row].tolist()))
        )
        cell = base.row(key)
        assert np.array_equal(values[:, :, row], base.values(VALID)[:, :, cell])
        assert int(seen.indices[row]) == of_space.index(of_space.arch(seen.codes[row].tolist()))


def test_every_encoding_of_a_held_cell_is_held(base):
    of_space = space("oneshot1-1")
    seen = views.over(of_space.name, base)
    held = {key.decode() for key in base.keys.tolist()}

    expected = [
        index
        for index, code in enumerate(of_space.codes.tolist())
        if of_space.key(of_space.arch(code)) in held
    ]

    assert seen.indices.tolist() == expected


def test_queries_columns_and_costs_are_one_and_the_same(base):
    of_space = space("oneshot1-2")
    seen = views.over(of_space.name, base)
    arch = seen.archs[17]

    reading = seen.query(arch, VALID, seed="mean")
    of_cell = base.query(of_space.key(arch), VALID, seed="mean")

    assert (reading.value, reading.std, reading.n) == (of_cell.value, of_cell.std, of_cell.n)
    assert seen.column(VALID, seed=0)[17] == seen.query(arch, VALID, seed=0).value
    params = seen.cost(arch, "params-recorded", "cifar10").value
    assert params == base.cost(of_space.key(arch), "params-recorded", "cifar10").value
    assert seen.cost_column("params", "cifar10")[17] == pytest.approx(params)
    assert seen.roles == base.roles


def test_another_benchmark_cannot_be_viewed(home):
    with pytest.raises(InvalidSpec, match="a table of nb101"):
        views.over("oneshot1-1", load("mini201"))


# --- By name ------------------------------------------------------------------------------------


def call(*arguments):
    answer = CliRunner().invoke(cli.app, [*arguments, "--json"], catch_exceptions=False)
    return json.loads(answer.stdout)


@pytest.mark.usefixtures("base")
def test_views_are_opened_by_name_where_their_base_is():
    listed = {row["name"]: row["summary"] for row in call("list", "benchmarks")["benchmarks"]}
    text = space("oneshot1-1").format(load("oneshot1-1").archs[5])
    asked = ("query", "oneshot1-1", text, "--dataset", "cifar10", "--split", "valid")

    reading = call(*asked, "--epochs", "108", "--seed", "mean")

    assert listed["oneshot1-3"] == "looked up in nb101"
    key = space("oneshot1-1").key(space("oneshot1-1").parse(text))
    assert reading["value"] == load("nb101").query(key, VALID, seed="mean").value
    assert reading["n"] == 3


@pytest.mark.usefixtures("base")
def test_what_was_worked_out_is_kept_and_goes_with_its_base(monkeypatch):
    first = load("oneshot1-2")
    monkeypatch.setattr(OneShot1, "rows", None)

    again = load("oneshot1-2")

    assert (first.sha256, first.indices.tolist()) == (again.sha256, again.indices.tolist())
    monkeypatch.setattr(OneShot1, "version", 2)
    with pytest.raises(TypeError):  # Another version works it out anew.
        load("oneshot1-2")


@pytest.mark.usefixtures("base")
def test_doctor_and_runs_know_views():
    found = {bench["name"]: bench for bench in call("doctor")["benchmarks"]}
    spec = RunSpec("sotl", "oneshot1-1", 0, setting={})

    identity = identity_of(spec)

    assert found["oneshot1-1"]["status"] == "view"
    assert found["oneshot1-1"]["sha256"] == load("oneshot1-1").sha256 == identity["table_sha256"]
    assert (identity["benchmark"], identity["space"]) == ("oneshot1-1", "oneshot1-1")


def test_a_view_without_its_base_says_what_is_missing(home):
    assert "oneshot1-1" not in store.names()
    with pytest.raises(UnknownBenchmark, match="looked up in nb101, which is not here"):
        load("oneshot1-1")
