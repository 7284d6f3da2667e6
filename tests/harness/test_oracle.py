from __future__ import annotations

import math

import numpy as np
import pytest

from harness.benchmark import Cost, Holding, Roles, Slice, Table, sealed_truth
from harness.errors import BudgetSpent, InvalidSpec, TestSliceSealed, UnknownEpoch, UnknownSeed
from harness.oracle import Budget, Oracle
from harness.seeds import derive
from harness.spaces import space

DATASET = "cifar10"
SHORT = Slice(DATASET, "train", "valid", "accuracy", 12)
SEARCH = Slice(DATASET, "train", "valid", "accuracy", 200)
TRUTH = Slice(DATASET, "train+valid", "test", "accuracy", 200)
MIXED = Slice("cifar100", "train", "valid+test", "accuracy", 12)
N_ARCHS = 4
# Architecture i reads 10 i + epoch with seed 111 and 1 more with seed 777, which 2 and 3 lack.
TRAIN_SECONDS = np.array([120.0, 240.0, 60.0, 12.0])
VALID_SECONDS = np.array([3.0, 5.0, 2.0, 1.0])


def make_table(*, with_seconds: bool = True, with_short: bool = True) -> Table:
    nb201 = space("nb201")
    first = 10.0 * np.arange(N_ARCHS)[None, :] + np.arange(1, 13)[:, None]
    second = first + 1
    second[:, 2:] = math.nan
    short = np.stack([first, second]).astype(np.float32)
    short[:, :, 3] = math.nan
    last = np.full((1, 1, N_ARCHS), 90, dtype=np.float32)
    costs = {
        Cost("train_seconds", DATASET, "train", 12): TRAIN_SECONDS,
        Cost("valid_seconds", DATASET, "train", 12): VALID_SECONDS,
    }
    return Table(
        name="small",
        space=nb201,
        codes=nb201.codes[:N_ARCHS],
        indices=np.array([3, 5, 8, 9], dtype=np.int32),
        holdings=[
            Holding(SHORT, "%", (111, 777), tuple(range(1, 13))),
            Holding(SEARCH, "%", ("mean",), (200,)),
            Holding(TRUTH, "%", ("mean",), (200,)),
            Holding(MIXED, "%", ("mean",), (12,)),
        ],
        arrays={SHORT: short, SEARCH: last, TRUTH: last, MIXED: last},
        costs=costs if with_seconds else {},
        roles={
            DATASET: Roles(SEARCH, TRUTH, SHORT if with_short else None),
            "cifar100": Roles(None, TRUTH, MIXED),
        },
    )


def make_oracle(table: Table | None = None, **options: object) -> Oracle:
    settings = {"budget": Budget(queries=1000), "role": "short", "seed": 111, **options}
    dataset = settings.pop("dataset", DATASET)
    return Oracle(table or make_table(), dataset, rng=derive(0, "oracle"), **settings)  # type: ignore[arg-type]


def test_a_budget_of_queries_answers_exactly_so_many():
    table = make_table()
    oracle = make_oracle(table, budget=Budget(queries=7))
    expected = [12.0, 22.0, 32.0, 12.0, 22.0, 32.0, 12.0]

    answered = [oracle.query(table.archs[i % 3]) for i in range(7)]

    assert expected == answered
    with pytest.raises(BudgetSpent, match="7 queries"):
        oracle.query(table.archs[0])
    assert len(oracle.log) == 7


def test_a_query_costs_training_up_to_its_epoch_and_one_validation():
    table = make_table()
    oracle = make_oracle(table)
    expected = [
        120.0 / 12 * 4 + 3.0,  # architecture 0 for 4 of 12 epochs
        240.0 + 5.0,  # architecture 1 for all
        60.0 / 12 + 2.0,  # architecture 2 for one
    ]

    oracle.query(table.archs[0], epoch=4)
    oracle.query(table.archs[1])
    oracle.query(table.archs[2], epoch=1)

    assert oracle.knows_seconds
    assert expected == pytest.approx([query.seconds for query in oracle.log])
    assert sum(expected) == pytest.approx(oracle.seconds)
    assert [(3, 4), (5, 12), (8, 1)] == [(query.index, query.epoch) for query in oracle.log]


@pytest.mark.parametrize(("limit", "expected"), [(122.0, 1), (123.0, 1), (123.5, 2), (246.5, 3)])
def test_the_query_that_crosses_the_seconds_is_answered_and_is_the_last(limit, expected):
    table = make_table()
    oracle = make_oracle(table, budget=Budget(seconds=limit))

    with pytest.raises(BudgetSpent, match="simulated seconds"):
        for _ in range(10):
            oracle.query(table.archs[0])  # 123 s each

    assert expected == len(oracle.log)


def test_of_two_limits_the_first_reached_ends_the_run():
    table = make_table()
    by_queries = make_oracle(table, budget=Budget(queries=2, seconds=1e6))
    by_seconds = make_oracle(table, budget=Budget(queries=100, seconds=200.0))

    for oracle in (by_queries, by_seconds):
        with pytest.raises(BudgetSpent):
            for _ in range(101):
                oracle.query(table.archs[0])

    assert len(by_queries.log) == 2
    assert len(by_seconds.log) == 2


def test_a_random_seed_is_drawn_a_query_from_those_present():
    table = make_table()
    oracle = make_oracle(table, seed="random")

    both = [oracle.query(table.archs[0]) for _ in range(400)]
    only_first = {oracle.query(table.archs[2]) for _ in range(50)}

    # Seed 111 reads 12, seed 777 reads 13; 400 fair draws stay within 5 standard deviations.
    assert {12.0, 13.0} == set(both)
    assert abs(both.count(12.0) - 200) < 5 * math.sqrt(400 / 4)
    assert {32.0} == only_first


def test_mean_averages_the_seeds_present_and_missing_is_nan():
    table = make_table()
    oracle = make_oracle(table, seed="mean")

    assert oracle.query(table.archs[1], epoch=2) == (12.0 + 13.0) / 2
    assert oracle.query(table.archs[2], epoch=2) == 22.0
    assert math.isnan(oracle.query(table.archs[3]))
    assert math.isnan(make_oracle(table, seed="random").query(table.archs[3]))


def test_an_unknown_epoch_is_refused_and_not_charged():
    table = make_table()
    oracle = make_oracle(table)

    with pytest.raises(UnknownEpoch, match="13"):
        oracle.query(table.archs[0], epoch=13)

    assert () == oracle.log
    assert oracle.seconds == 0.0


def test_without_recorded_seconds_queries_are_counted_only():
    table = make_table(with_seconds=False)
    oracle = make_oracle(table)

    oracle.query(table.archs[0])

    assert not oracle.knows_seconds
    assert math.isnan(oracle.log[0].seconds)
    with pytest.raises(InvalidSpec, match="records no seconds"):
        make_oracle(table, budget=Budget(seconds=10.0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"role": "truth"}, "search and short"),
        ({"dataset": "svhn"}, "no roles for 'svhn'; only cifar10, cifar100"),
        ({"dataset": "cifar100", "role": "search"}, "no slice for the role 'search'"),
        ({"dataset": "cifar100", "seed": "mean"}, "contains test data"),
        ({"role": "search", "seed": "random"}, "no single seeds"),
    ],
)
def test_what_no_oracle_can_be_is_said(options, message):
    with pytest.raises(InvalidSpec, match=message):
        make_oracle(**options)


def test_a_slice_with_seeds_has_no_default_seed():
    with pytest.raises(UnknownSeed, match="111, 777"):
        make_oracle(seed=None)


@pytest.mark.parametrize(
    "limits", [{}, {"queries": 0}, {"seconds": -1.0}, {"queries": 5, "seconds": 0.0}]
)
def test_a_budget_needs_a_positive_limit(limits):
    with pytest.raises(InvalidSpec):
        Budget(**limits)


PUBLIC_READINGS = {
    "query": lambda table: table.query(3, TRUTH, seed="mean"),
    "curve": lambda table: table.curve(3, TRUTH, seed="mean"),
    "column": lambda table: table.column(TRUTH, seed="mean"),
    "curves": lambda table: table.curves(TRUTH, seed="mean"),
    "to_frame": lambda table: table.to_frame(),
    "valid+test": lambda table: table.column(MIXED, seed="mean"),
}


@pytest.mark.parametrize("reading", PUBLIC_READINGS.values(), ids=PUBLIC_READINGS)
def test_truth_is_sealed_while_the_oracle_answers_and_open_afterwards(reading):
    table = make_table()
    oracle = make_oracle(table)

    with sealed_truth("a test is running"):
        answered = oracle.query(table.archs[0])
        with pytest.raises(TestSliceSealed, match="a test is running"):
            reading(table)

    assert answered == 12.0
    reading(table)


def test_the_seal_ends_with_an_error_too():
    with pytest.raises(RuntimeError), sealed_truth("a test is running"):
        raise RuntimeError

    assert make_table().query(3, TRUTH).value == 90.0
