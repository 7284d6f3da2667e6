"""The black-box protocol: what it records, what it refuses and that a method sees no truth."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from synthetic_tables import (
    DATASET,
    ROLES,
    SEARCH,
    SHORT,
    TRUTH,
    UNEVEN,
    accuracy_of,
    make_table,
    n_conv3,
)

from harness import engine, registry
from harness.arch import SearchSpace
from harness.benchmark import Roles, Slice, Table
from harness.builder import Provenance, StoreBuilder
from harness.config import read_suite
from harness.engine import Run
from harness.errors import HarnessError, InvalidSpec
from harness.oracle import Oracle, Query
from harness.record import DONE, FAILED, SKIPPED, Record, RunSpec
from harness.spaces import space
from protocols.blackbox import PROTOCOL, BlackBoxMethod, Setting, incumbents

METHODS = ("random_search", "rea", "reinforce", "bohb")
NB201 = space("nb201")
STORED = "blackbox-test"
SETTING = {"dataset": DATASET, "role": "short", "oracle_seed": "mean", "truth_seed": "mean"}
IN_QUERIES = {**SETTING, "budget_queries": 30}
NAN = math.nan


class Scripted(BlackBoxMethod):
    """Asks for the architectures with these indices, at these epochs, and returns."""

    version = 1

    def __init__(self, *asked: tuple[int, int]) -> None:
        self._asked = asked

    def search(self, space: SearchSpace, oracle: Oracle, rng: np.random.Generator) -> None:
        for index, epoch in self._asked:
            oracle.query(space.arch(space.codes[index].tolist()), epoch=epoch)


def run_scripted(table: Table, *asked: tuple[int, int], **setting: Any) -> dict[str, Any]:
    settings = {**SETTING, "budget_queries": 100, **setting}
    return dict(PROTOCOL.run(Run(table, 0, settings, Scripted(*asked))).result)


def flat_table(**options: Any) -> Table:
    return make_table(accuracy_of(NB201.codes), **options)


@pytest.fixture(scope="module")
def stored_home(tmp_path_factory):
    """A home with one store: the easy landscape, two seeds, seconds recorded."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NAS_HARNESS_HOME", str(home))
        table = flat_table(seeds=(111, 777))
        builder = StoreBuilder(STORED, NB201, table.codes, table.indices.tolist())
        for at, holding in table.holdings.items():
            builder.add(holding, np.array(table._arrays[at]))
        for cost, column in table._recorded_costs().items():
            builder.add_cost(cost, column)
        builder.commit(ROLES, Provenance("test", 1, (), "none", "none"))
        yield home


def execute(method: str, seed: int = 0, **setting: Any) -> Record:
    return engine.execute(RunSpec("blackbox", STORED, seed, method, {**IN_QUERIES, **setting}))


@pytest.mark.parametrize("method", METHODS)
def test_the_engine_records_every_query_with_its_truth(stored_home, method):
    n_queries = 30
    truth_of = accuracy_of(NB201.codes) + 5

    record = execute(method)

    result = record.result
    assert (record.status, record.reason) == (DONE, "")
    per_query = ("index", "epoch", "value", "seconds", "truth", "incumbent", "incumbent_truth")
    assert {n_queries} == {len(result[name]) for name in per_query} | {result["n_queries"]}
    assert result["truth"] == truth_of[result["index"]].tolist()
    assert result["final_truth"] == truth_of[result["final_index"]]
    assert (result["incumbent"][-1], result["incumbent_truth"][-1]) == (
        result["final_index"],
        result["final_truth"],
    )
    assert result["search_slice"] == "cifar10/train/valid/accuracy/12"
    assert result["truth_slice"] == "cifar10/train+valid/test/accuracy/200"
    assert (result["oracle_seed"], result["truth_seed"]) == ("mean", "mean")


def test_a_budget_in_seconds_answers_the_crossing_query_and_no_more(stored_home):
    # 123 s a query of 12 epochs: the ninth crosses 1,000 s.
    expected = [123.0 * n for n in range(1, 10)]

    record = execute("random_search", budget_queries=None, budget_seconds=1000)

    assert expected == pytest.approx(record.result["seconds"])
    assert record.result["simulated_seconds"] == pytest.approx(1107.0)


PEEKS = {
    "query": "load(NAME).query(0, TRUTH, seed='mean')",
    "curve": "load(NAME).curve(0, TRUTH, seed=111)",
    "column": "load(NAME).column(TRUTH, seed='mean')",
    "curves": "load(NAME).curves(TRUTH, seed='mean')",
    "to_frame": "load(NAME).to_frame()",
}


@pytest.mark.parametrize("peek", PEEKS.values(), ids=PEEKS)
def test_a_method_that_reads_the_truth_fails_and_the_seal_ends(stored_home, tmp_path, peek):
    file = tmp_path / "peeking.py"
    file.write_text(
        "from harness import Slice, load\n"
        "from protocols.blackbox import BlackBoxMethod\n"
        f"NAME, TRUTH = {STORED!r}, Slice.parse({str(TRUTH)!r})\n"
        "class Peeking(BlackBoxMethod):\n"
        "    version = 1\n"
        "    def search(self, space, oracle, rng):\n"
        "        oracle.query(space.sample(rng))\n"
        f"        {peek}\n"
        "METHOD = Peeking()\n"
    )

    record = execute(str(file))

    assert record.status == FAILED
    assert f"{TRUTH} is sealed: the method Peeking is running" in record.reason
    assert engine._open(STORED).column(TRUTH, seed="mean").shape == (15625,)


def test_a_method_that_never_asks_has_failed():
    with pytest.raises(HarnessError, match="Scripted ended without a single query"):
        run_scripted(flat_table())


def test_a_method_may_stop_before_its_budget_is_spent():
    result = run_scripted(flat_table(), (3, 12), (4, 12))

    assert result["n_queries"] == 2


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        ([(1, 50.0), (1, 60.0), (1, 60.0), (1, 55.0)], [0, 1, 1, 1]),  # first one on ties
        ([(1, 50.0), (4, 40.0), (1, 90.0), (4, 41.0)], [0, 1, 1, 3]),  # largest epoch only
        ([(4, NAN), (1, 50.0), (4, NAN), (4, 10.0)], [None, 1, 1, 3]),  # NaN never counts
        ([(1, NAN)], [None]),
    ],
)
def test_the_incumbent_is_the_first_highest_value_at_the_largest_epoch(log, expected):
    queries = [Query(index, epoch, value, NAN, None) for index, (epoch, value) in enumerate(log)]

    assert expected == incumbents(queries)


def test_a_trajectory_by_hand():
    # The short slice reads 30 + 10 convolutions - (12 - epoch); the truth is 35 + 10 convolutions.
    counts = n_conv3(NB201.codes)
    none, one, two = (int(np.flatnonzero(counts == n)[0]) for n in (0, 1, 2))
    table = flat_table(epochs=(1, 4, 12))

    result = run_scripted(table, (two, 1), (none, 12), (one, 4), (one, 12))

    assert result["index"] == [two, none, one, one]
    assert result["epoch"] == [1, 12, 4, 12]
    assert result["value"] == [50.0 - 11, 30.0, 40.0 - 8, 40.0]
    assert result["seconds"] == pytest.approx([13.0, 136.0, 179.0, 302.0])  # 10 s an epoch, 3 s
    assert result["truth"] == [55.0, 35.0, 45.0, 45.0]
    assert result["incumbent"] == [two, none, none, one]
    assert result["incumbent_truth"] == [55.0, 35.0, 35.0, 45.0]
    assert (result["final_index"], result["final_truth"]) == (one, 45.0)


def test_without_recorded_seconds_the_seconds_are_null():
    result = run_scripted(flat_table(seconds=None), (0, 12))

    assert (result["seconds"], result["simulated_seconds"]) == (None, None)


def test_a_truth_that_was_never_measured_is_not_filled_in():
    truth = accuracy_of(NB201.codes)
    truth[7] = NAN

    result = run_scripted(flat_table(truth=truth), (7, 12))

    assert result["final_index"] == 7
    assert math.isnan(result["final_truth"])


def test_the_index_is_the_benchmarks_own():
    table = make_table(np.arange(216, dtype=np.float32), of_space=UNEVEN)
    table.indices = np.arange(1000, 1216, dtype=np.int32)

    result = run_scripted(table, (5, 12), (100, 12))

    assert result["index"] == [1005, 1100]
    assert result["truth"] == [10.0, 105.0]


def test_the_seeds_that_were_read_are_recorded():
    single = run_scripted(
        flat_table(seeds=(111, 777)), (0, 12), oracle_seed="random", truth_seed=777
    )
    labelled = run_scripted(
        flat_table(seeds=("unstated",)), (0, 12), oracle_seed=None, truth_seed=None
    )

    assert (single["oracle_seed"], single["truth_seed"]) == ("random", 777)
    assert (labelled["oracle_seed"], labelled["truth_seed"]) == ("unstated", "unstated")


def test_a_run_that_selects_on_the_reported_quantity_says_so():
    both = with_roles(flat_table(), Roles(SEARCH, SEARCH))

    assert run_scripted(flat_table(), (0, 12))["selected_on_truth"] is False
    assert run_scripted(both, (0, 200), role="search")["selected_on_truth"] is True


def only_three_archs(table: Table) -> Table:
    table.codes, table.indices = table.codes[:3], table.indices[:3]
    return table


def with_roles(table: Table, roles: Roles) -> Table:
    table.roles = {DATASET: roles}
    return table


SKIPS = {
    "part of a space": (
        lambda: only_three_archs(flat_table()),
        {},
        "holds 3 of 15,625 archs; black-box methods may propose any",
    ),
    "no such data set": (flat_table, {"dataset": "svhn"}, "no roles for 'svhn'; only cifar10"),
    "no short slice": (
        lambda: with_roles(flat_table(), Roles(SEARCH, TRUTH)),
        {},
        "no slice for the role 'short'",
    ),
    "slice not held": (
        lambda: with_roles(flat_table(), Roles(SEARCH, TRUTH, replace(SHORT, epochs=50))),
        {},
        "does not hold cifar10/train/valid/accuracy/50",
    ),
    "no seconds": (
        lambda: flat_table(seconds=None),
        {"budget_seconds": 1.0},
        "records no seconds",
    ),
    "no single seeds": (flat_table, {"oracle_seed": "random"}, "no single seeds"),
    "no such seed": (flat_table, {"truth_seed": 777}, "'mean' value of its seeds, not 777"),
    "guided by test data": (
        lambda: with_roles(flat_table(), Roles(SEARCH, SEARCH, TRUTH)),
        {},
        "contains test data",
    ),
}


@pytest.mark.parametrize(("make", "changed", "reason"), SKIPS.values(), ids=SKIPS)
def test_what_a_table_cannot_do_is_skipped_with_its_reason(make, changed, reason):
    run = Run(make(), 0, {**IN_QUERIES, **changed}, Scripted((0, 12)))

    assert reason in (PROTOCOL.skip(run) or "")


def test_a_loss_is_no_guide():
    table = flat_table()
    at = Slice(DATASET, "train", "valid", "loss", 12)
    table.holdings = {**table.holdings, at: replace(table.holdings[SHORT], slice=at)}
    table.roles = {DATASET: Roles(SEARCH, TRUTH, at)}

    assert "highest value" in (PROTOCOL.skip(Run(table, 0, IN_QUERIES, Scripted())) or "")


def test_a_whole_table_with_a_black_box_method_is_not_skipped():
    assert PROTOCOL.skip(Run(flat_table(), 0, IN_QUERIES, Scripted((0, 12)))) is None
    assert PROTOCOL.skip(Run(flat_table(), 0, IN_QUERIES, object())) == (
        "object is not a black-box method."
    )


def test_the_engine_records_a_skip(stored_home):
    record = execute("rea", dataset="svhn")

    assert (record.status, dict(record.result)) == (SKIPPED, {})
    assert "svhn" in record.reason


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"rolle": "short"}, "'rolle'. It has dataset, role, oracle_seed, truth_seed, budget_"),
        ({"dataset": None}, "needs the setting dataset"),
        ({"role": "truth"}, "role is one of"),
        ({"budget_queries": None}, "needs queries, seconds or both"),
        ({"budget_queries": -1}, "positive"),
        ({"budget_queries": "100"}, "A budget is a number"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(changed, message):
    with pytest.raises(InvalidSpec, match=message):
        PROTOCOL.skip(Run(flat_table(), 0, {**IN_QUERIES, **changed}, Scripted((0, 12))))


def test_the_published_suite_has_the_scripts_budgets_and_repetitions():
    # NATS-Bench, exps/NATS-algos/run-all.sh: seconds of simulated time by data set.
    expected = {"cifar10": 20_000, "cifar100": 40_000, "ImageNet16-120": 120_000}

    specs = read_suite("published/thesis_table4_6")

    assert len(specs) == 2 * 3 * 500
    assert {spec.seed for spec in specs} == set(range(500))
    settings = [Setting.read(spec.setting) for spec in specs]
    assert expected == {setting.dataset: setting.budget_seconds for setting in settings}
    assert {(s.role, s.oracle_seed, s.truth_seed) for s in settings} == {
        ("short", "random", "mean")
    }


def test_the_common_suite_gives_every_black_box_method_the_same_queries():
    black_box = {
        name
        for name in registry.names("method")
        if isinstance(registry.get("method", name).offer, BlackBoxMethod)
    }

    specs = read_suite("common/blackbox_queries")

    assert black_box == {spec.method for spec in specs} >= set(METHODS)
    assert len(specs) == len(black_box) * 3 * 100
    assert {Setting.read(spec.setting).budget_queries for spec in specs} == {100}


@pytest.fixture(scope="module")
def real_table(data: Path) -> tuple[Table, np.ndarray]:
    """NAS-Bench-201's 12-epoch CIFAR-10 validation accuracies and a table that holds them."""
    frame = pd.read_csv(data / "nb201" / "nb201.csv.gz").sort_values("index")
    assert [NB201.format(arch) for arch in NB201] == frame["arch"].tolist()
    values = frame["e12_c10_valid"].to_numpy(dtype=np.float32)
    truth = frame["c10_test"].to_numpy(dtype=np.float32)
    return make_table(values, truth=truth, epochs=(12,), seconds=None), values


def test_random_search_finds_what_the_maximum_of_uniform_draws_is_expected_to_be(real_table):
    table, values = real_table
    n_seeds, n_draws = 200, 100
    ordered = np.sort(values.astype(np.float64))
    ranks = np.arange(1, len(ordered) + 1) / len(ordered)
    chance = ranks**n_draws - (ranks - 1 / len(ordered)) ** n_draws
    expected = float(ordered @ chance)
    method = registry.get("method", "random_search").offer
    setting = {**SETTING, "budget_queries": n_draws}

    results = [PROTOCOL.run(Run(table, seed, setting, method)).result for seed in range(n_seeds)]

    found = [max(result["value"]) for result in results]
    assert not np.isnan(values).any()
    assert found == [values[result["final_index"]] for result in results]
    assert expected == pytest.approx(
        np.mean(found), abs=3 * np.std(found, ddof=1) / math.sqrt(n_seeds)
    )
