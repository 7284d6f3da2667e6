import math

import numpy as np
import pytest
from tables import TEST, make_table

from harness import rank
from harness.errors import InvalidSpec, UnknownEpoch, UnknownScore, UnknownSeed
from harness.scores import CostScore, SliceScore, SotlScore, parse_score, running_sums

LOSSES = np.array([[4.0], [3.0], [2.0], [1.0]])


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [4, 7, 9, 10]),
        ({"last": 1}, [4, 3, 2, 1]),
        ({"last": 2}, [4, 7, 5, 3]),
        ({"last": 9}, [4, 7, 9, 10]),
        ({"skip": 2}, [math.nan, math.nan, 2, 3]),
        ({"skip": 1, "last": 2}, [math.nan, 3, 5, 3]),
        ({"ema": 0.5}, [4, 5, 4.5, 3.25]),
        ({"ema": 1.0}, [4, 7, 9, 10]),
        ({"ema": 0.5, "skip": 1}, [math.nan, 3, 3.5, 2.75]),
    ],
)
def test_running_sums_by_hand(options, expected):
    np.testing.assert_allclose(running_sums(LOSSES, **options)[:, 0], expected)


def test_a_loss_that_was_never_measured_spoils_only_the_windows_that_hold_it():
    losses = np.array([[math.nan], [1.0], [1], [1], [math.inf], [1], [1]])
    expected = [math.nan, math.nan, 2, 2, math.inf, math.inf, 2]

    np.testing.assert_array_equal(running_sums(losses, last=2)[:, 0], expected)


def test_losses_are_not_changed_by_scoring_them():
    before = LOSSES.copy()
    running_sums(LOSSES, ema=0.9)
    running_sums(LOSSES, last=2)

    np.testing.assert_array_equal(LOSSES, before)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("params", CostScore("params")),
        ("latency/train/200", CostScore("latency", "train", 200)),
        ("slice:cifar10/train+valid/test/accuracy/4", SliceScore(TEST)),
        ("slice:cifar10/train+valid/test/accuracy/4@2", SliceScore(TEST, 2)),
        ("sotl:cifar10/train/200", SotlScore("cifar10", "train", 200)),
        (
            "sotl:cifar10/train/200:last=1@25",
            SotlScore("cifar10", "train", 200, last=1, epoch=25),
        ),
        (
            "sotl:cifar10/train+valid/12:skip=2:ema=0.9",
            SotlScore("cifar10", "train+valid", 12, skip=2, ema=0.9),
        ),
    ],
)
def test_scores_are_read_as_spelled(text, expected):
    assert parse_score(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "param",
        "surrogate:synflow",
        "sotl:cifar10/200",
        "sotl:cifar10/test/200",
        "sotl:cifar10/train/200:first=3",
        "sotl:cifar10/train/200:last=x",
        "sotl:cifar10/train/200:last=0",
        "sotl:cifar10/train/200:skip=200",
        "sotl:cifar10/train/200:skip=-1",
        "sotl:cifar10/train/200:skip=10@5",
        "latency/train",
        "latency/test/200",
        "sotl:cifar10/train/200:ema=2",
        "sotl:cifar10/train/200:ema=0.9:last=1",
        "sotl:cifar10/train/200@0",
        "slice:cifar10/train/valid/accuracy/12@x",
    ],
)
def test_wrong_scores_say_how_to_spell_one(text):
    with pytest.raises(UnknownScore):
        parse_score(text)


def test_a_score_of_losses_is_negated():
    table = make_table()
    sotl = parse_score("sotl:cifar10/train/4").values(table, "cifar10", 777)
    loss = parse_score("slice:cifar10/train/train/loss/4@2").values(table, "cifar10", 777)

    np.testing.assert_allclose(sotl[0], -(4.9 + 4.8 + 4.7 + 4.6), rtol=1e-6)
    np.testing.assert_allclose(loss[0], -4.8, rtol=1e-6)


def test_the_last_point_of_the_curve_is_the_value():
    table = make_table()
    for text in ("sotl:cifar10/train/4:last=2", "slice:cifar10/train/train/loss/4"):
        score = parse_score(text)
        curve = score.curve(table, "mean")
        np.testing.assert_allclose(curve[-1], score.values(table, "cifar10", "mean"), rtol=1e-6)
        early = parse_score(text + "@2").values(table, "cifar10", "mean")
        np.testing.assert_allclose(curve[1], early, rtol=1e-6)


def test_a_table_without_losses_says_so():
    table = make_table()
    table.holdings = {at: h for at, h in table.holdings.items() if at.metric != "loss"}
    with pytest.raises(UnknownScore, match="stores no training losses"):
        rank(table, "sotl:cifar10/train/4", TEST, seed=777)


def test_an_epoch_that_the_curve_lacks_is_an_error():
    with pytest.raises(UnknownEpoch):
        rank(make_table(), "sotl:cifar10/train/4@5", TEST, seed=777)


def test_rank_needs_a_seed_where_single_seeds_are_held():
    with pytest.raises(UnknownSeed):
        rank(make_table(), "params", TEST)


def test_rank_over_the_space_has_no_interval_and_over_a_sample_has_one():
    table = make_table(n_archs=40)
    whole = rank(table, "sotl:cifar10/train/4", TEST, seed=777)
    drawn = rank(table, "params", TEST, seed=777, sample=20, draw_seed=0)
    again = rank(table, "params", TEST, seed=777, sample=20, draw_seed=0)

    assert whole.interval is None and whole.n == 40
    assert whole.spearman == pytest.approx(1.0)
    assert whole.top10 == pytest.approx(np.mean(54 + np.arange(30, 40) / 100))
    assert drawn.n == 20 and drawn == again
    assert drawn.interval[0] <= drawn.spearman <= drawn.interval[1]


@pytest.mark.parametrize("options", [{"sample": 5}, {"sample": 41, "draw_seed": 0}])
def test_a_sample_needs_a_seed_and_enough_cells(options):
    with pytest.raises(InvalidSpec):
        rank(make_table(n_archs=40), "params", TEST, seed=777, **options)


def test_unique_keeps_the_lowest_index_with_its_own_value():
    table = make_table(n_archs=400)
    space = table.space
    first = {}
    for row, arch in enumerate(table.archs):
        first.setdefault(space.canonical(arch), row)
    found = rank(table, "params", TEST, seed=777, unique=True)

    assert found.n == len(first) < 400
