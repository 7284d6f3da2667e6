"""Items on the benchmark that ships, against scipy and plain numpy."""

import numpy as np
import pytest
from scipy import stats

from harness import load
from harness.engine import run_all
from reports import nb201
from reports.items import all_items
from reports.verdict import OTHER_BENCHMARK

TEST = "cluttered-digits/train/test/accuracy/10"


@pytest.fixture
def bench(home):
    return load("mini201")


def columns(bench):
    arrays = {str(at): bench.curves(at, seed=0) for at in bench.holdings}
    return {name: array.astype(np.float64) for name, array in arrays.items()}


def test_ranks_of_all_scores_are_scipys(bench):
    (table,) = all_items()["mini201:ranks"].build(bench, []).tables
    held = columns(bench)
    truth = held[TEST][-1]
    losses = held["cluttered-digits/train/train/loss/10"]
    scores = {
        "`params`": bench.cost_column("params", "cluttered-digits"),
        "SoTL, epoch 5 of 10": -losses[:5].sum(axis=0),
        "SoTL, last epoch only, epoch 10 of 10": -losses[9],
        "validation accuracy, epoch 2 of 10": held["cluttered-digits/train/valid/accuracy/10"][1],
    }

    for label, score in scores.items():
        both = ~np.isnan(score) & ~np.isnan(truth)
        measured = table.cell(label, "All cells Spearman").measured
        assert measured.mean == pytest.approx(stats.spearmanr(score[both], truth[both])[0])
        assert measured.n == both.sum()
        best = np.argsort(-score[both], kind="stable")[:10]
        top10 = table.cell(label, "All cells top 10 (%)").measured.mean
        assert top10 == pytest.approx(truth[both][best].mean())


def test_one_cell_a_class_is_one_cell_a_class(bench):
    (table,) = all_items()["mini201:ranks"].build(bench, []).tables
    classes = bench.space.representatives[bench.indices]

    measured = table.cell("`params`", "One cell a functional class Spearman").measured

    assert measured.n == len(np.unique(classes))


@pytest.mark.parametrize("item", ["balenas:T1", "freedarts:T1"])
def test_a_stand_in_is_named_and_gets_no_verdict(bench, item):
    (table,) = all_items()[item].build(bench, []).tables
    values = columns(bench)[TEST][-1]
    values = values[~np.isnan(values)]

    cell = table.cell("Random baseline", "CIFAR-10 (here cluttered-digits) test")
    absent = table.cell("Random baseline", "CIFAR-100 test")

    assert cell.measured.mean == pytest.approx(values.mean())
    assert cell.measured.std == pytest.approx(values.std())
    assert cell.verdict == OTHER_BENCHMARK
    assert cell.published is not None
    assert absent.measured is None
    assert absent.reason == "mini201 has no CIFAR-100 test accuracy"


def test_only_a_benchmark_without_the_papers_data_sets_stands_in(bench):
    assert nb201.datasets(bench) == {"CIFAR-10": "cluttered-digits"}
    assert nb201.shown(bench, "CIFAR-10") == "CIFAR-10 (here cluttered-digits)"
    assert nb201.shown(bench, "CIFAR-100") == "CIFAR-100"


def test_curves_of_the_thesis_figure_are_made_on_it(bench):
    item = all_items()["sotl_thesis:F4.4"]
    specs = [spec for spec in item.specs(bench) if "sotl" in spec.setting["score"]]

    assert item.benchmark_problem(bench) is None
    assert {spec.setting["dataset"] for spec in specs} == {"cluttered-digits"}
    assert run_all(specs[:1])[0].array("scores").shape[1] == 200
