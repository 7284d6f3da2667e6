"""The table of every score against what it costs."""

from types import SimpleNamespace

import numpy as np
import pytest
from nb201_stores import made_up_columns, mean_table

from harness import load
from harness.engine import run_all
from harness.ranking import rank
from reports import score_costs
from reports.items import all_items
from reports.row_search import NO_TORCH

DATASET = "cluttered-digits"
ITEM = "study:scores"
SOTL = "SoTL, epoch 5 of 10"


@pytest.fixture
def bench(home):
    return load("mini201")


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(score_costs, "N_CELLS", 6)
    names = ["linear_regions", "nwot", "synflow"]
    monkeypatch.setattr(score_costs, "registry", SimpleNamespace(names=lambda kind: names))


def made(bench):
    item = all_items()[ITEM]
    return item.build(bench, run_all(item.specs(bench))).tables[0]


@pytest.mark.parametrize(("half", "unique"), [("All cells", False), ("One cell a class", True)])
def test_scores_of_the_table_are_ranked_as_rank_does(bench, half, unique):
    table = made(bench)
    group = half.replace("a class", "a functional class")
    for label, spelling in (
        ("`params`", "params"),
        (SOTL, f"sotl:{DATASET}/train/10@5"),
        ("validation accuracy, epoch 2 of 10", f"slice:{DATASET}/train/valid/accuracy/10@2"),
    ):
        found = rank(
            bench,
            spelling,
            bench.roles[DATASET].truth,
            seed=0,
            unique=unique,
            sample=300,
            draw_seed=0,
        )
        values = {
            "Spearman": found.spearman,
            "from": found.interval[0],
            "to": found.interval[1],
            "Kendall": found.kendall,
            "top 10 (%)": found.top10,
        }
        for name, value in values.items():
            assert table.cell(label, f"{group} {name}").measured.mean == pytest.approx(value)


def test_seconds_of_a_curve_score_are_the_training_up_to_its_epoch(bench):
    table = made(bench)

    def seconds(label):
        return table.cell(label, "seconds a cell").measured.mean

    assert seconds("`params`") == 0
    assert seconds(SOTL) == pytest.approx(seconds("SoTL, epoch 10 of 10") / 2)
    assert seconds("validation accuracy, epoch 5 of 10") > seconds(SOTL)


def test_without_torch_proxies_are_reasons(bench):
    table = made(bench)

    assert table.cell("`synflow`", "All cells Spearman").reason == NO_TORCH
    assert table.cell("`synflow`", "seconds a cell").reason == NO_TORCH


def test_proxies_are_ranked_on_the_same_draws(bench, small, searches):
    table = made(bench)

    for unique, half in ((False, "All cells"), (True, "One cell a functional class")):
        found = rank(
            bench,
            "proxy:nwot",
            bench.roles[DATASET].truth,
            seed=0,
            unique=unique,
            sample=6,
            draw_seed=0,
        )
        assert table.cell("`nwot`", f"{half} Kendall").measured.mean == pytest.approx(found.kendall)
    assert 0 < table.cell("`nwot`", "seconds a cell").measured.mean < 60
    # On so many images all cells reach as many regions as there are images.
    assert table.cell("`linear_regions`", "All cells Spearman").reason == score_costs.NO_ORDER


def test_a_table_without_times_says_so(bench):
    from harness.scores import parse_score

    score = parse_score(f"slice:{DATASET}/train/valid/accuracy/10@2")
    rows = np.arange(5)
    assert score_costs._recorded_seconds(bench, score, rows) > 0
    bench.cost_column = _no_cost
    assert score_costs._recorded_seconds(bench, score, rows) is None


def _no_cost(name, dataset, **where):
    from harness.errors import UnknownCost

    raise UnknownCost(f"No {name}.")


def test_a_table_of_last_epochs_alone_ranks_what_it_has():
    bench = mean_table(made_up_columns(600))
    tables = all_items()[ITEM].build(bench, []).tables

    assert [table.title for table in tables] == ["cifar10", "cifar100", "ImageNet16-120"]
    for table in tables:
        labels = [row.label for row in table.rows if not row.label.startswith("`")]
        assert labels == [
            "validation accuracy, epoch 12 of 12",
            "validation accuracy, epoch 200 of 200",
        ]
        found = rank(
            bench,
            f"slice:{table.title}/train/valid/accuracy/12",
            bench.roles[table.title].truth,
            sample=300,
            draw_seed=0,
        )
        cell = table.cell(labels[0], "All cells Spearman")
        assert cell.measured.mean == pytest.approx(found.spearman)
        assert table.cell(labels[0], "seconds a cell").reason == score_costs.UNRECORDED
