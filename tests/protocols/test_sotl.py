"""The SoTL protocol: a whole generated space by closed form, three real cells by hand."""

import math

import numpy as np
import pytest
import scipy.stats
from tables import PROVENANCE, make_store

from adapters import nats
from harness import Roles, Slice, load, rank, registry, space
from harness.benchmark import Holding
from harness.builder import StoreBuilder
from harness.engine import run_all
from harness.record import RunSpec
from harness.scores import parse_score
from harness.stats import spearman, spearman_curve
from reports.suite_summary import rank_curves, summary

N_SPACE, N_EPOCHS = 15_625, 12
LOSS = Slice("cifar10", "train", "train", "loss", N_EPOCHS)
TEST = Slice("cifar10", "train+valid", "test", "accuracy", N_EPOCHS)


def whole_space():
    """A store in which cell i has the quality i: the truth is 10 + i / 200 percent.

    The loss of epoch e is 5 - q_i minus noise that shrinks to nothing at the last epoch, so that
    the last loss ranks perfectly and the first does not.
    """
    quality = np.arange(N_SPACE) / N_SPACE
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(N_EPOCHS, N_SPACE)) * np.linspace(1, 0, N_EPOCHS)[:, None]
    of_space = space("nb201")
    builder = StoreBuilder("whole", of_space, of_space.codes, list(range(N_SPACE)))
    losses = (5 - quality + noise).astype(np.float32)
    builder.add(Holding(LOSS, "nats", (0,), tuple(range(1, N_EPOCHS + 1))), losses[None])
    truth = (10 + 80 * quality).astype(np.float32)
    builder.add(Holding(TEST, "%", (0,), (N_EPOCHS,)), truth[None, None])
    builder.commit({"cifar10": Roles(None, TEST)}, PROVENANCE)
    return losses, truth


def spec(score="sotl:cifar10/train/12", **changes):
    setting = {"dataset": "cifar10", "score": score, "table_seed": 0, **changes}
    return RunSpec("sotl", "whole", 0, setting=setting)


def test_a_whole_space_study_on_a_generated_table(home):
    losses, truth = whole_space()
    last, full = run_all([spec("sotl:cifar10/train/12:last=1"), spec("sotl:cifar10/train/12")])
    curve = spearman_curve(last.array("scores"), last.array("truth"))

    assert last.array("scores").shape == (N_EPOCHS, N_SPACE)
    np.testing.assert_allclose(last.array("scores"), -losses, rtol=1e-6)
    assert curve[-1] == pytest.approx(1.0, abs=1e-6)
    assert curve[0] < 0.5
    assert np.all(np.diff(curve) > 0)
    np.testing.assert_allclose(full.array("scores")[-1], -losses.sum(axis=0), rtol=1e-5)
    assert curve[3] == pytest.approx(
        rank(load("whole"), "sotl:cifar10/train/12:last=1@4", TEST, seed=0).spearman
    )
    assert curve[3] == pytest.approx(spearman(-losses[3], truth))


def test_draws_are_of_200_cells_and_repeat(home, monkeypatch, tmp_path):
    def rows(seed, place):
        monkeypatch.setenv("NAS_HARNESS_HOME", str(tmp_path / place))
        whole_space()
        setting = {**spec().setting, "n_archs": 200}
        return run_all([RunSpec("sotl", "whole", seed, setting=setting)])[0].array("rows").tolist()

    one, again, other = rows(0, "one"), rows(0, "again"), rows(1, "one")

    assert len(set(one)) == 200
    assert one == again != other


def test_the_summary_of_draws_is_their_spearman_kendall_and_top_10(home):
    whole_space()
    records = run_all([RunSpec("sotl", "whole", s, setting=spec().setting) for s in (0, 1)])
    (group,) = summary(records)
    rows = rank_curves(records)
    scores, truth = records[0].array("scores"), records[0].array("truth")
    best = np.argsort(-scores[4])[:10]

    assert group.headline == "Spearman after epoch 12"
    assert (group.n, group.mean) == (2, pytest.approx(spearman(scores[-1], truth)))
    assert len(rows) == 2 * N_EPOCHS
    assert rows[4]["spearman"] == pytest.approx(scipy.stats.spearmanr(scores[4], truth).statistic)
    assert rows[4]["kendall"] == pytest.approx(scipy.stats.kendalltau(scores[4], truth).statistic)
    assert rows[4]["top10"] == pytest.approx(float(np.mean(truth[best])))


@pytest.mark.parametrize(
    ("changes", "status", "says"),
    [
        ({"score": "sotl:cifar100/train/12"}, "skipped", "stores no training losses"),
        ({"score": f"slice:{TEST}"}, "skipped", "there is no curve"),
        ({"n_archs": 20_000}, "skipped", "15625 cells"),
        ({"score": "params"}, "failed", "no value per epoch"),
        ({"table_seed": 3}, "failed", "seed 3"),
        ({"cells": 3}, "failed", "no setting 'cells'"),
    ],
)
def test_what_cannot_be_is_told(home, changes, status, says):
    whole_space()
    (found,) = run_all([spec(**changes)])

    assert found.status == status
    assert says in found.reason


def test_a_curve_with_test_data_says_so(home):
    make_store(n_archs=12)
    setting = {"dataset": "cifar10", "table_seed": 777}
    valid, test = run_all(
        [
            RunSpec("sotl", "small", 0, setting={**setting, "score": f"slice:cifar10/{at}"})
            for at in ("train/valid/accuracy/4", "train+valid/test/accuracy/4")
        ]
    )

    assert valid.result["contains_test"] is False
    assert test.result["contains_test"] is True


def test_curve_scores_of_three_real_cells_by_hand(data, home):
    folder = data / "nats" / "NATS-tss-v1_0-3ffb9-simple"
    registry.adapter_of("nats-tss").pack(
        "nats-tss", folder, mapping=None, jobs=1, progress=lambda done, total: None
    )
    table = load("nats-tss")
    losses = {
        i: nats.unpickle_arch((folder / f"{i:06d}.pickle.pbz2").read_bytes(), "")["200"][
            "all_results"
        ]["cifar10-valid", 777]["train_losses"]
        for i in (0, 11, 284)
    }
    truth = Slice("cifar10", "train+valid", "test", "accuracy", 200)

    for text, expected in [
        ("sotl:cifar10/train/200", lambda run: math.fsum(run.values())),
        ("sotl:cifar10/train/200:last=1", lambda run: run[199]),
        ("sotl:cifar10/train/200:last=5@50", lambda run: math.fsum(run[e] for e in range(45, 50))),
        ("sotl:cifar10/train/200:skip=10@20", lambda run: math.fsum(run[e] for e in range(10, 20))),
        (
            "sotl:cifar10/train/200:ema=0.9",
            lambda run: math.fsum(0.9 ** (199 - e) * run[e] for e in range(200)),
        ),
    ]:
        sums = [-expected(losses[i]) for i in (0, 11, 284)]
        found = parse_score(text).values(table, "cifar10", 777)

        np.testing.assert_allclose(found, sums, rtol=1e-5)
        # The three test accuracies are 85.86, 91.58 and 88.79 percent.
        order = np.argsort(np.argsort(sums))
        expected_rho = 1 - 6 * np.sum((order - np.array([0, 2, 1])) ** 2) / 24
        assert rank(table, text, truth, seed=777).spearman == pytest.approx(expected_rho)
