"""Rows that are searched without training, on the benchmark that ships."""

import numpy as np
import pytest

from harness import load, record, space
from harness.engine import run_all
from reports.extremes import extremes_item
from reports.items import all_items
from reports.papers.freedarts import WEIGHT_SHARING
from reports.reproduce import NOT_QUICK, reproduce
from reports.row_search import NO_TORCH
from reports.untrained_rows import Search
from reports.verdict import OTHER_BENCHMARK

CIFAR_10 = "CIFAR-10 (here cluttered-digits)"
DATASET = "cluttered-digits"


def small(n_seeds=3, **options):
    return extremes_item(
        "freedarts:T1",
        "small",
        dict.fromkeys(WEIGHT_SHARING, "left out"),
        searches={"FreeDARTS": Search("freedarts", n_seeds, {"saliency": "synflow", **options})},
        best_of={"FreeDARTS (best single run)": "FreeDARTS"},
    )


@pytest.fixture
def made(home, searches):
    item, bench = small(), load("mini201")
    records = run_all(item.specs(bench))
    return bench, records, item.build(bench, records).tables[0]


def test_the_row_is_the_truth_of_the_chosen_cells(made):
    bench, records, table = made
    roles = bench.roles[DATASET]
    chosen = [space("nb201").parse(record.result["arch"]) for record in records]
    held = {tuple(code) for code in bench.codes.tolist()}

    for split, at in (("valid", roles.search), ("test", roles.truth)):
        values = [bench.query(a, at, seed=0).value for a in chosen if a.code in held]
        cell = table.cell("FreeDARTS", f"{CIFAR_10} {split}")
        assert cell.measured.mean == pytest.approx(np.mean(values))
        assert cell.measured.std == pytest.approx(np.std(values, ddof=1))
        assert cell.measured.n == len(values)
        assert cell.verdict == OTHER_BENCHMARK
    best = table.cell("FreeDARTS (best single run)", f"{CIFAR_10} test")
    assert best.measured.mean == pytest.approx(max(values))
    assert table.cell("Random baseline", f"{CIFAR_10} test").measured.n > 1000


def test_networks_are_those_that_the_benchmark_trained(made):
    _, records, _ = made

    assert {record.identity["setting"]["dataset"] for record in records} == {DATASET}
    assert len({record.result["arch"] for record in records}) > 1


def test_without_torch_the_row_says_so_and_the_others_are_made(home):
    item, bench = small(), load("mini201")

    assert item.specs(bench) == []
    (table,) = item.build(bench, []).tables
    assert table.cell("FreeDARTS", f"{CIFAR_10} test").reason == NO_TORCH
    assert table.cell("optimal", f"{CIFAR_10} test").measured is not None


def test_a_search_that_cannot_run_is_a_reason(home, monkeypatch, searches):
    item, bench = small(1, images="svhn"), load("mini201")
    monkeypatch.setenv("NAS_HARNESS_DATA", str(home))

    (table,) = item.build(bench, run_all(item.specs(bench))).tables

    assert "train_32x32.mat" in table.cell("FreeDARTS", f"{CIFAR_10} test").reason


def test_table_2_has_no_rules_of_rows_that_it_lacks(home, tmp_path):
    artefact = all_items()["freedarts:T2"].build(load("mini201"), [])

    assert not any("optimal" in note or "Random" in note for note in artefact.footnotes)
    assert reproduce(["freedarts:T2"], out=tmp_path).done == ("freedarts:T2",)


def test_a_quick_report_runs_no_networks(home, tmp_path, searches):
    made = reproduce(["freedarts:F1", "study:claims"], out=tmp_path, quick=True)
    text = (tmp_path / "freedarts_F1.md").read_text()

    assert made.done == ("freedarts:F1", "study:claims")
    assert NOT_QUICK in text
    assert record.keys() == []
