"""What is true of the four black-box methods, found by hand, by closed form or by counting."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from synthetic_tables import UNEVEN, ListedSpace, accuracy_of, make_table, n_conv3

from harness import registry
from harness.arch import Arch, Choice, SearchSpace
from harness.errors import BudgetSpent
from harness.oracle import Budget, Oracle
from harness.seeds import derive
from harness.spaces import space
from protocols.blackbox import BlackBoxMethod, incumbents
from protocols.methods._density import bandwidths, density
from protocols.methods._hyperband import brackets, ladder
from protocols.methods._rows import Rows
from protocols.methods.bohb import propose
from protocols.methods.rea import mutate
from protocols.methods.reinforce import Policy

METHODS = ("random_search", "rea", "reinforce", "bohb")
NB201 = space("nb201")
BANDIT = ListedSpace(Choice("arm", (("a", "b", "c", "d"),)))


class ScriptedOracle:
    """Answers by a formula of (arch, epoch, number of the query) and remembers what was asked."""

    def __init__(
        self,
        value: Callable[[Arch, int, int], float],
        n_queries: int,
        epochs: tuple[int, ...] = (12,),
    ) -> None:
        self.epochs = epochs
        self.archs: list[Arch] = []
        self.asked_epochs: list[int] = []
        self._value = value
        self._n_queries = n_queries

    def query(self, arch: Arch, *, epoch: int | None = None) -> float:
        if len(self.archs) == self._n_queries:
            raise BudgetSpent("All queries are used.")
        epoch = epoch or self.epochs[-1]
        self.archs.append(arch)
        self.asked_epochs.append(epoch)
        return self._value(arch, epoch, len(self.archs))


def method_named(name: str) -> BlackBoxMethod:
    method = registry.get("method", name).offer
    assert isinstance(method, BlackBoxMethod)
    return method


def search(name: str, of_space: SearchSpace, oracle: Oracle | ScriptedOracle, seed: int) -> None:
    with pytest.raises(BudgetSpent):
        method_named(name).search(of_space, oracle, derive(seed, "method"))  # type: ignore[arg-type]


def trajectory(name: str, seed: int, n_queries: int = 120) -> list[tuple[int, int]]:
    """(index, epoch) of every query on the easy landscape."""
    table = make_table(accuracy_of(NB201.codes))
    oracle = Oracle(
        table,
        "cifar10",
        budget=Budget(queries=n_queries),
        rng=derive(seed, "oracle"),
        role="short",
        seed="mean",
    )
    search(name, NB201, oracle, seed)
    return [(query.index, query.epoch) for query in oracle.log]


@pytest.mark.parametrize("name", METHODS)
def test_a_method_file_states_version_and_source(name):
    plugin = registry.get("method", name)

    assert plugin.version == 1
    assert registry.summary("method", plugin.name).endswith(".")
    assert "Source: " in (plugin.module.__doc__ or "")


def test_same_seed_in_another_process_gives_the_same_trajectory_and_another_seed_another():
    script = (
        "import json, sys; sys.path.insert(0, sys.argv[1]); import test_methods as t;"
        "print(json.dumps({name: t.trajectory(name, 7) for name in t.METHODS}))"
    )
    expected = {name: [list(query) for query in trajectory(name, 7)] for name in METHODS}

    other = subprocess.run(
        [sys.executable, "-c", script, str(Path(__file__).parent)],
        capture_output=True,
        text=True,
        check=True,
    )

    assert expected == json.loads(other.stdout)
    assert all(trajectory(name, 8) != trajectory(name, 7) for name in METHODS)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("of_space", [NB201, space("nb201-size"), UNEVEN], ids=lambda s: s.name)
def test_every_method_runs_on_every_space_and_proposes_only_its_archs(name, of_space):
    oracle = ScriptedOracle(lambda arch, epoch, n: sum(arch.code) + epoch, 60, epochs=(1, 4, 12))

    search(name, of_space, oracle, 0)

    assert len(oracle.archs) == 60
    assert oracle.archs == [of_space.arch(arch.code) for arch in oracle.archs]
    assert set(oracle.asked_epochs) <= {1, 4, 12}


@pytest.mark.parametrize("name", METHODS)
def test_every_method_survives_answers_that_were_never_measured(name):
    oracle = ScriptedOracle(lambda arch, epoch, n: math.nan if n % 2 else 50.0, 60)

    search(name, NB201, oracle, 0)

    assert len(oracle.archs) == 60


@pytest.mark.parametrize("name", METHODS)
def test_every_method_finds_one_of_the_best_two_percent_in_a_hundred_queries(name):
    # 1.7 % of the cells have four or more 3x3 convolutions (binomial, 6 draws of chance 1/5).
    values = accuracy_of(NB201.codes)
    table = make_table(values, epochs=(12,))
    share_of_four = sum(math.comb(6, k) * 0.2**k * 0.8 ** (6 - k) for k in (4, 5, 6))
    found = []

    for seed in range(20):
        oracle = Oracle(
            table,
            "cifar10",
            budget=Budget(queries=100),
            rng=derive(seed, "oracle"),
            role="short",
            seed="mean",
        )
        search(name, NB201, oracle, seed)
        best = incumbents(oracle.log)[-1]
        assert best is not None
        found.append(n_conv3(NB201.codes)[oracle.log[best].index])

    assert share_of_four == pytest.approx(np.mean(n_conv3(NB201.codes) >= 4))
    # 100 draws at random have four with chance 1 - (1 - 0.017)^100 = 0.82.
    assert np.mean(np.array(found) >= 4) > 0.5
    assert min(found) >= 3


@pytest.mark.parametrize("name", ["rea", "bohb"])
def test_a_method_that_learns_beats_random_search_on_the_easy_landscape(name):
    def mean_of_last_queries(method: str) -> float:
        table = make_table(accuracy_of(NB201.codes), epochs=(12,))
        last = []
        for seed in range(20):
            oracle = Oracle(
                table,
                "cifar10",
                budget=Budget(queries=200),
                rng=derive(seed, "oracle"),
                role="short",
                seed="mean",
            )
            search(method, NB201, oracle, seed)
            last.append(np.mean([query.value for query in oracle.log[100:]]))
        return float(np.mean(last))

    chance = 30 + 10 * 6 / 5

    assert mean_of_last_queries("random_search") == pytest.approx(chance, abs=1.0)
    assert mean_of_last_queries(name) > chance + 10


def test_random_search_is_uniform():
    oracle = ScriptedOracle(lambda arch, epoch, n: 0.0, 4000)

    search("random_search", BANDIT, oracle, 0)

    counts = Counter(arch.code for arch in oracle.archs)
    # Each arm: 1,000 expected, standard deviation sqrt(4000 * 1/4 * 3/4) = 27.4.
    assert set(counts) == {(0,), (1,), (2,), (3,)}
    assert all(abs(count - 1000) < 4.5 * 27.4 for count in counts.values())


def test_rea_starts_with_ten_draws_then_mutates_one_of_the_ten_youngest():
    # The first cell is the best by far. Only the eleventh may descend from it: then it is removed.
    oracle = ScriptedOracle(lambda arch, epoch, n: 100.0 if n == 1 else 1.0 / n, 300)

    search("rea", NB201, oracle, 3)

    for born in range(10, 300):
        youngest = oracle.archs[born - 10 : born]
        neighbours = {code.code for member in youngest for code in NB201.neighbours(member)}
        assert oracle.archs[born].code in neighbours


def test_rea_takes_the_best_of_three_drawn_with_replacement():
    # Values rise with age, so the parent is the oldest drawn. The oldest of ten is drawn at least
    # once in three with chance 1 - 0.9^3 = 0.271; without replacement it would be 0.3.
    n_children = 20_000
    oracle = ScriptedOracle(lambda arch, epoch, n: -float(n), 10 + n_children)
    wide = ListedSpace(Choice("op", (tuple(map(str, range(200))),) * 30))
    expected = 1 - 0.9**3

    search("rea", wide, oracle, 0)

    codes = np.array([arch.code for arch in oracle.archs])
    differing = (codes[10:] != codes[:n_children]).sum(axis=1)
    # 20,000 tournaments have a standard error of 0.003; a child of another member is rarely one
    # row away from the oldest as well.
    assert expected == pytest.approx(np.mean(differing == 1), abs=0.012)


def test_rea_moves_every_row_that_can_move_equally_often_and_no_other():
    rows = Rows(UNEVEN)  # values: 3, 1, 2, 6 and 6; the second cannot move
    rng = derive(0, "test")
    parent = rows.draw(rng)
    n_children = 4000

    moved = [np.flatnonzero(mutate(parent, rows, rng) != parent) for _ in range(n_children)]

    counts = Counter(tuple(rows_moved.tolist()) for rows_moved in moved)
    # Each of four rows: 1,000 expected, standard deviation 27.4.
    assert set(counts) == {(0,), (2,), (3,), (4,)}
    assert all(abs(count - 1000) < 4.5 * 27.4 for count in counts.values())


def log_probability(logits: np.ndarray, picks: np.ndarray) -> float:
    return sum(
        row[pick] - math.log(sum(math.exp(logit) for logit in row))
        for row, pick in zip(logits.tolist(), picks.tolist(), strict=True)
    )


def finite_difference(policy: Policy, picks: np.ndarray, advantage: float) -> np.ndarray:
    """Gradient of advantage * log p(picks) by central differences; 0 past a short row."""
    gradient = np.zeros_like(policy.logits)
    for place in zip(*np.nonzero(np.isfinite(policy.logits)), strict=True):
        ends = []
        for offset in (1e-5, -1e-5):
            moved = policy.logits.copy()
            moved[place] += offset
            ends.append(advantage * log_probability(moved, picks))
        gradient[place] = (ends[0] - ends[1]) / 2e-5
    return gradient


def test_reinforce_takes_adams_steps_up_the_gradient_of_the_log_probability():
    policy = Policy(np.array([3, 2, 4]), derive(0, "test"))
    first_picks, second_picks = np.array([2, 0, 1]), np.array([0, 0, 3])
    exists = np.isfinite(policy.logits)
    start = policy.logits.copy()
    g1 = finite_difference(policy, first_picks, 7.0)
    # The first step of Adam is the sign of the gradient; the moments' corrections cancel.
    after_first = start + 0.01 * np.sign(g1)

    policy.step(first_picks, 7.0)

    assert policy.logits[exists] == pytest.approx(after_first[exists], abs=1e-7)
    g2 = finite_difference(policy, second_picks, -2.5)
    mean = (0.9 * 0.1 * g1 + 0.1 * g2) / (1 - 0.9**2)
    square = (0.999 * 0.001 * g1**2 + 0.001 * g2**2) / (1 - 0.999**2)
    with np.errstate(invalid="ignore"):
        after_second = after_first + 0.01 * mean / np.sqrt(square)

    policy.step(second_picks, -2.5)

    assert policy.logits[exists] == pytest.approx(after_second[exists], abs=1e-7)
    assert (policy.probabilities()[~exists] == 0).all()


def test_reinforce_subtracts_the_corrected_average_that_holds_the_newest_reward(monkeypatch):
    rewards = [40.0, 70.0, math.nan, 10.0]
    second = 70 - (0.09 * 40 + 0.1 * 70) / 0.19
    third = 10 - (0.081 * 40 + 0.09 * 70 + 0.1 * 10) / 0.271
    expected = [0.0, second, third]  # NaN is no signal
    advantages: list[float] = []
    monkeypatch.setattr(Policy, "step", lambda self, picks, by: advantages.append(by))

    search("reinforce", BANDIT, ScriptedOracle(lambda arch, epoch, n: rewards[n - 1], 4), 0)

    assert expected == pytest.approx(advantages)


def test_reinforce_draws_from_its_softmax():
    policy = Policy(np.array([2, 3]), derive(0, "test"))
    policy.logits = np.log(np.array([[0.8, 0.2, 0.0], [0.1, 0.6, 0.3]]) + 1e-300)
    rng = derive(1, "test")
    expected = [0.8, 0.2, 0.0, 0.1, 0.6, 0.3]

    drawn = np.stack([policy.draw(rng) for _ in range(10_000)])

    shares = [np.mean(drawn[:, row] == pick) for row in (0, 1) for pick in (0, 1, 2)]
    assert expected == pytest.approx(shares, abs=0.02)  # four standard errors of 0.005


def test_reinforce_settles_on_the_best_arm_of_a_bandit():
    rewards = (20.0, 50.0, 90.0, 60.0)
    oracle = ScriptedOracle(lambda arch, epoch, n: rewards[arch.code[0]], 3000)

    search("reinforce", BANDIT, oracle, 0)

    last = [arch.code[0] for arch in oracle.archs[-500:]]
    assert last.count(2) > 450


def test_bohb_reads_a_third_at_a_time_of_the_epochs_that_are_held():
    assert ladder(range(1, 13)) == [1, 4, 12]  # 12, 4, 1.33
    assert ladder((4, 12, 36, 108)) == [4, 12, 36, 108]
    assert ladder((1, 200)) == [1, 200]  # between them nothing is held
    assert ladder((200,)) == [200]


def test_bohb_brackets_are_hyperbands():
    # HpBandSter with eta 3 and budgets 1..12: 9, then 3, then 3 cells to start with.
    expected = [[(9, 1), (3, 4), (1, 12)], [(3, 4), (1, 12)], [(3, 12)]]

    assert expected == brackets([1, 4, 12])
    # Five rungs: floor(5 / 5) 81, floor(5 / 4) 27, floor(5 / 3) 9, floor(5 / 2) 3, floor(5 / 1).
    assert [bracket[0] for bracket in brackets([1, 3, 9, 27, 81])] == [
        (81, 1),
        (27, 3),
        (9, 9),
        (6, 27),
        (5, 81),
    ]
    assert brackets([200]) == [[(1, 200)]]


def test_bohb_promotes_the_best_third_of_each_rung():
    # A value that no query shares and that does not depend on the order of the queries.
    def value(arch: Arch, epoch: int, n: int) -> float:
        return epoch + NB201.index(arch) / 1e5

    oracle = ScriptedOracle(value, 13, epochs=tuple(range(1, 13)))

    search("bohb", NB201, oracle, 1)

    indices = [NB201.index(arch) for arch in oracle.archs]
    ranked = sorted(indices[:9], reverse=True)
    assert oracle.asked_epochs == [1] * 9 + [4] * 3 + [12]
    assert ranked[:3] == indices[9:12]
    assert ranked[0] == indices[12]


def test_bohb_repeats_its_three_brackets():
    oracle = ScriptedOracle(lambda arch, epoch, n: 0.0, 40, epochs=tuple(range(1, 13)))
    one_round = [1] * 9 + [4] * 3 + [12] + [4] * 3 + [12] + [12] * 3

    search("bohb", NB201, oracle, 0)

    assert one_round * 2 == oracle.asked_epochs


def test_density_of_two_points_by_hand():
    sizes = np.array([2, 3])
    points = np.array([[0, 0], [0, 2]])
    widths = np.array([0.3, 0.4])
    at = np.array([[0, 0], [1, 1], [0, 2], [1, 2]])
    # Kernels: row one 0.7 at its centre, 0.3 beside it; row two 0.6 and 0.4 / 2 = 0.2.
    expected = [
        (0.7 * 0.6 + 0.7 * 0.2) / 2,
        (0.3 * 0.2 + 0.3 * 0.2) / 2,
        (0.7 * 0.2 + 0.7 * 0.6) / 2,
        (0.3 * 0.2 + 0.3 * 0.6) / 2,
    ]

    assert expected == pytest.approx(density(at, points, widths, sizes))


def test_a_density_sums_to_one_over_the_space():
    rng = derive(0, "test")
    rows = Rows(UNEVEN)
    points = np.stack([rows.draw(rng) for _ in range(9)])
    everything = np.stack(np.unravel_index(np.arange(rows.sizes.prod()), rows.sizes), axis=1)

    total = density(everything, points, bandwidths(points, rows.sizes), rows.sizes).sum()

    assert total == pytest.approx(1.0)


def test_bandwidths_by_hand():
    sizes = np.array([5, 5, 2, 5])
    points = np.array([[1, 0, 0, 0], [1, 1, 1, 4]])  # standard deviations 0, 1/2, 1/2 and 2
    scott = 1.06 * 0.5 * 2 ** (-1 / 8)  # 0.486: n = 2, four rows
    expected = [0.3, scott, scott, 0.8]  # no less than 0.3, no more than (5 - 1) / 5

    assert expected == pytest.approx(bandwidths(points, sizes))


def test_bohb_has_no_model_before_seven_good_and_seven_bad_cells_of_six_rows():
    rows = Rows(NB201)
    zeros, fours = np.zeros(6, dtype=np.int64), np.full(6, 4)
    thirteen = [(90.0, zeros)] * 7 + [(10.0, fours)] * 6
    fourteen = [*thirteen, (10.0, fours)]
    uniform = rows.draw(derive(5, "test")).tolist()

    assert uniform == propose({12: thirteen, 1: []}, rows, derive(5, "test")).tolist()
    # Of four candidates, each row 0 with chance 0.7 and 4 with 0.075, the most zero-like wins: it
    # has fewer than three zeros with chance 0.07^4 at most, a uniform cell with 0.9.
    proposals = [propose({12: fourteen, 1: []}, rows, derive(s, "test")) for s in range(50)]
    assert min((proposal == 0).sum() for proposal in proposals) >= 3


def test_bohb_trusts_the_largest_epoch_that_has_a_model():
    rows = Rows(NB201)
    zeros, fours = np.zeros(6, dtype=np.int64), np.full(6, 4)
    zeros_good = [(90.0, zeros)] * 7 + [(10.0, fours)] * 7
    fours_good = [(10.0, zeros)] * 7 + [(90.0, fours)] * 7
    few = [(90.0, fours)]

    low = propose({1: zeros_good, 4: few, 12: []}, rows, derive(0, "test"))
    high = propose({1: zeros_good, 4: fours_good, 12: few}, rows, derive(0, "test"))

    assert (low == 0).sum() >= 3
    assert (high == 4).sum() >= 3
