"""Cells that supernet searches end with, drawn and looked up; the thesis's table of settings."""

import numpy as np
import pytest
from test_epoch_curves import CHAIN, DARTS_V2, SHORT, SKIP_GENOTYPE, oneshot_table, record

from harness import load, space
from harness.config import read_labelled
from harness.record import SKIPPED
from harness.surrogate import Surrogate
from reports import oneshot1_searches, settings_table
from reports.items import all_items
from reports.published import published
from reports.verdict import EXACT, NO_TEST, OTHER_BENCHMARK

NO_CUDA = "There is no device cuda here."
DARTS, ONESHOT = space("darts"), space("oneshot1-3")


def done(suite, label, texts):
    """A record a seed, which ended with these cells."""
    specs = read_labelled(suite)[label]
    return [record(spec, [text]) for spec, text in zip(specs, texts, strict=True)]


def skipped(suite, label):
    return [
        record(spec, [], status=SKIPPED, reason=NO_CUDA) for spec in read_labelled(suite)[label]
    ]


def figure_5(benchmark):
    records = [
        *done("common/darts", "balenas", [DARTS_V2, SKIP_GENOTYPE, DARTS_V2]),
        *done("common/darts", "balenas-tf", [SKIP_GENOTYPE] * 3),
    ]
    return all_items()["balenas:F5"].build(benchmark, records)


def test_cells_are_counted_over_the_seeds_and_the_first_is_drawn(home):
    artefact = figure_5(load("no-table:darts"))

    (table,) = artefact.tables
    # DARTS_V2: depth 3 and 3, 2 skips of 8; the other: depth 2 and 5, all skips.
    depth = table.cell("BaLeNAS", "depth normal cell").measured
    assert (depth.mean, depth.n) == (pytest.approx(8 / 3), 3)
    assert depth.std == pytest.approx(np.std([3, 2, 3], ddof=1))
    assert table.cell("BaLeNAS", "depth reduction cell").measured.mean == pytest.approx(11 / 3)
    assert table.cell("BaLeNAS", "skips (normal cell)").measured.mean == pytest.approx(4)
    assert table.cell("BaLeNAS-TF", "skips (normal cell)").measured.mean == 8
    first, second = artefact.plots
    genotype = DARTS.genotype(DARTS.parse(DARTS_V2))
    drawn = [row["edge label"] for row in first.data if row["edge label"]]
    assert drawn == [op for op, _ in (*genotype.normal, *genotype.reduce)]
    assert {row["cell"] for row in second.data} == {
        "BaLeNAS-TF, seed 0: normal cell",
        "BaLeNAS-TF, seed 0: reduction cell",
    }
    assert "nothing tells which is the best" in first.caption


def test_with_a_table_the_best_is_drawn(home):
    """By a model that likes skips."""

    def predict(codes):
        cells = [DARTS.arch(code) for code in codes.tolist()]
        return np.array([[DARTS.skip_ratio(arch, "normal") for arch in cells]])

    first, _ = figure_5(Surrogate("model", ("only",), predict)).plots

    assert {row["cell"] for row in first.data} == {
        "BaLeNAS, seed 1: normal cell",
        "BaLeNAS, seed 1: reduction cell",
    }
    assert "the best of 3 by model" in first.caption


def test_searches_that_cannot_run_are_not_drawn(home):
    item = all_items()["sotl_thesis:F4.11"]
    records = [
        *done("common/darts", "sotl", [DARTS_V2] * 3),
        *skipped("published/thesis_darts", "sotl"),
        *skipped("common/darts", "sotl, deep"),
    ]

    artefact = item.build(load("no-table:darts"), records)

    (table,) = artefact.tables
    assert len(artefact.plots) == 1
    assert table.cell("SoTL-DARTS-20", "depth normal cell").reason == NO_CUDA
    assert table.cell("SoTL-DARTS", "depth normal cell").measured.n == 3


def table_4_7(benchmark, records):
    return all_items()["sotl_thesis:T4.7"].build(benchmark, records).tables


def test_table_4_7_without_a_table_shows_the_cells(home):
    table, cells = table_4_7(
        load("no-table:oneshot1-3"),
        done("common/oneshot1", "space 3, sotl", [CHAIN, CHAIN, SHORT]),
    )

    found = table.cell("SoTL-DARTS", "NB1Shot1-3")
    assert found.measured is None
    assert found.published.text == "87.87"
    assert found.reason.startswith("no benchmark of the space oneshot1-3 is imported")
    depth = cells.cell("SoTL-DARTS, NB1Shot1-3", "depth").measured
    assert (depth.mean, depth.n) == (pytest.approx((6 + 6 + 2) / 3), 3)
    assert cells.cell("SoTL-DARTS, NB1Shot1-3", "3x3 convolutions").measured.mean == pytest.approx(
        (3 + 3 + 4) / 3
    )
    assert cells.cell("SoTL-DARTS, NB1Shot1-1", "depth").reason


def test_table_4_7_looks_up_the_test_accuracy(home, monkeypatch):
    monkeypatch.setattr(oneshot1_searches, "table_of", lambda name, benchmark: benchmark)
    held = oneshot_table(90.0, 80.0)
    both = done("common/oneshot1", "space 3, sotl", [CHAIN, CHAIN, SHORT])
    none = done("common/oneshot1", "space 3, darts", [SHORT] * 3)

    table, _ = table_4_7(held, [*both, *none])

    cell = table.cell("SoTL-DARTS", "NB1Shot1-3")
    assert (cell.measured.mean, cell.measured.n, cell.verdict) == (80.0, 2, OTHER_BENCHMARK)
    reason = table.cell("DARTS", "NB1Shot1-3").reason
    assert reason == "small holds none of the cells that were found"
    table, _ = table_4_7(oneshot_table(90.0), both)
    assert table.cell("SoTL-DARTS", "NB1Shot1-3").reason == "small has no test accuracy"


def test_the_listed_settings_are_those_of_our_suites():
    (table,) = all_items()["sotl_thesis:TB.1"].build(None, []).tables
    cells = [cell for row in table.rows for cell in row.cells]
    numbers = [value for value in published("sotl_thesis", "B.1") if value.mean is not None]

    assert [cell.verdict for cell in cells if cell.verdict] == [EXACT] * len(numbers)
    assert len(numbers) == 7 * 3 + 1  # Epochs are a number in one column alone.
    assert table.cell("Epochs", "NB201").measured.mean == 50
    assert table.cell("Weight decay", "NB201").measured.mean == 5e-4
    assert table.cell("Optimizer", "DARTS").measured is None


def test_a_setting_that_differs_would_be_seen(monkeypatch):
    def read(suite):
        specs = read_labelled(suite)
        for spec in (spec for held in specs.values() for spec in held):
            spec.setting["recipe"]["lr"] = 0.1
        return specs

    monkeypatch.setattr(settings_table, "read_labelled", read)
    (table,) = all_items()["sotl_thesis:TB.1"].build(None, []).tables

    assert table.cell("LR max", "DARTS").verdict == NO_TEST
    assert table.cell("LR min", "DARTS").verdict == EXACT
