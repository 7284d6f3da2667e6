import numpy as np
import pytest
from nb201_stores import (
    COLUMNS,
    SPACE,
    loss_store,
    made_up_columns,
    mean_store,
    mean_table,
    seconds_store,
)
from scipy.stats import spearmanr

from harness import load
from harness.engine import run_all
from harness.errors import UnknownName
from harness.registry import names
from reports import params_draws, query_methods, rank_curves, reasons
from reports.items import FIGURE, TABLE, TEXT, Item, all_items, papers, select
from reports.nb201 import is_the_papers
from reports.papers.sotl_thesis import TABLE_4_6_SEARCHES
from reports.row_search import NO_TORCH
from reports.verdict import EXACT, NO_TEST, OTHER_BENCHMARK

# Every table and figure of the four papers, listed by hand from the papers.
LISTED = {
    "balenas": "T1 T2 T3 T4 T5 F1 F2 F3 F4 F5",
    "darts_pt": "T1 T2 T3 T4 T5 text F1 F2 F3 F4 F5 F6 F7 F8 F9 F10 F11 F12 F13 F14 F15 F16 F17"
    " F18 F19 F20 F21 F22 F23 F24",
    "sotl_thesis": "T3.1 T4.1 T4.2 T4.3 T4.4 T4.5 T4.6 T4.7 T4.8 TB.1 F2.1 F2.2 F3.1 F3.2 F3.3 F3.4"
    " F3.5 F4.1 F4.2 F4.3 F4.4 F4.5 F4.6 F4.7 F4.8 F4.9 F4.10 F4.11 F4.12 F4.13 F4.14 F4.15 F4.16",
    "freedarts": "T1 T2 T3 T4 T5 T6 T7 F1 F2 F3 F4 F5",
}
OWN = {"mini201:curves", "mini201:ranks", "study:scores", "study:claims"}  # Of no paper.
MADE = {
    "balenas:T1",
    "balenas:T2",
    "balenas:T4",
    "balenas:T5",
    "darts_pt:T4",
    *(f"darts_pt:F{number}" for number in range(1, 25)),
    "freedarts:T1",
    "freedarts:T2",
    "freedarts:T3",
    "freedarts:T6",
    "freedarts:T7",
    "freedarts:F1",
    "freedarts:F2",
    "freedarts:F3",
    "freedarts:F4",
    "freedarts:F5",
    "sotl_thesis:F3.2",
    "sotl_thesis:T3.1",
    "sotl_thesis:F4.4",
    "sotl_thesis:F4.5",
    "sotl_thesis:T4.5",
    "sotl_thesis:T4.6",
    "balenas:F1",
    "balenas:F2",
    "balenas:F3",
    "balenas:F5",
    "sotl_thesis:T4.7",
    "sotl_thesis:TB.1",
    "sotl_thesis:F4.10",
    "sotl_thesis:F4.11",
    "sotl_thesis:F4.12",
    "sotl_thesis:F4.13",
    "sotl_thesis:F4.14",
    "sotl_thesis:F4.15",
    "sotl_thesis:F4.16",
}


def test_every_table_and_figure_of_the_papers_is_an_item():
    listed = {f"{paper}:{name}" for paper, held in LISTED.items() for name in held.split()}

    assert set(all_items()) == listed | OWN
    assert names("paper") == sorted([*LISTED, "mini201", "study"])


def test_kinds_follow_from_the_ids():
    kinds = {"T": TABLE, "F": FIGURE, "t": TEXT}

    of_papers = [item for item in all_items().values() if item.id not in OWN]
    assert all(item.kind == kinds[item.id.partition(":")[2][0]] for item in of_papers)


def test_published_rows_of_every_table_are_found():
    for item in all_items().values():
        if item.id not in OWN:
            assert bool(item.published()) == (item.kind != FIGURE), item.id


def test_items_are_made_now_or_say_why_not():
    made = {item.id for item in all_items().values() if item.waits_for is None}
    drawings = [i for i in all_items().values() if i.waits_for == reasons.ILLUSTRATION]

    assert made == MADE | OWN
    assert len(drawings) == 7
    for paper in papers():
        assert paper.citation
        assert all(item.paper == paper.name and item.needs for item in paper.items)


def test_select_takes_ids_papers_and_all_once():
    assert [item.id for item in select(["balenas:T5", "balenas:T5"])] == ["balenas:T5"]
    assert len(select(["balenas"])) == 10
    assert len(select(["all", "balenas:T1"])) == 85 + len(OWN)


def test_unknown_item_names_the_nearest():
    with pytest.raises(UnknownName, match="Did you mean balenas:T1"):
        select(["balenas:t1"])


def test_an_item_is_measured_or_waits():
    with pytest.raises(ValueError, match="either"):
        Item("balenas:T9", "none", TABLE, "nothing")


@pytest.fixture
def five():
    """Five cells whose accuracies differ by column in a known way."""
    base = np.array([10.0, 20.0, 40.0, 60.0, 20.0], dtype=np.float32)
    columns = {at: base + i for i, at in enumerate(COLUMNS.values())}
    return columns, mean_table(columns, "five")


@pytest.mark.parametrize("name", ["balenas:T1", "balenas:T5", "freedarts:T1"])
def test_random_and_optimal_rows_by_hand(five, name):
    _, benchmark = five
    item = all_items()[name]
    (table,) = item.build(benchmark, []).tables
    random = table.cell("Random baseline", "CIFAR-10 valid").measured
    optimal = table.cell("optimal", "CIFAR-10 test").measured

    assert item.benchmark_problem(benchmark) is None
    # c10_valid is the first column, c10_test the second; mean of 10 20 40 60 20 is 30, the squares
    # of the differences sum to 400 + 100 + 100 + 900 + 100 = 1600, divided by 5: 320.
    assert random.mean == pytest.approx(30.0)
    assert random.std == pytest.approx(320**0.5)
    assert (random.n, random.whole_population) == (5, True)
    assert optimal.mean == 61.0
    assert optimal.std is None
    assert table.cell("optimal", "CIFAR-10 test").verdict == OTHER_BENCHMARK


def test_a_cell_that_was_never_measured_does_not_count(five):
    columns, _ = five
    first = next(iter(columns))
    holed = {**columns, first: np.array([np.nan, 20, 40, 60, 20], dtype=np.float32)}
    (table,) = all_items()["balenas:T1"].build(mean_table(holed, "holed"), []).tables

    assert table.cell("Random baseline", "CIFAR-10 valid").measured.mean == 35.0
    assert table.cell("Random baseline", "CIFAR-10 valid").measured.n == 4
    assert table.cell("optimal", "CIFAR-10 valid").measured.mean == 60.0


def test_rows_that_are_not_run_show_the_papers_numbers_and_a_reason(five):
    _, benchmark = five
    (table,) = all_items()["freedarts:T1"].build(benchmark, []).tables
    cell = table.cell("SNAS", "CIFAR-10 test")

    assert cell.measured is None
    assert cell.published.text == "92.77"
    assert cell.reason == NO_TORCH
    assert table.cell("FreeDARTS", "search cost (GPU sec)").published.text == "0.6"
    assert table.cell("optimal", "search cost (GPU sec)").measured is None


def test_the_maximum_is_named(five):
    _, benchmark = five
    footnotes = all_items()["balenas:T1"].build(benchmark, []).footnotes
    cell = SPACE.format(benchmark.archs[3])

    assert any(
        note.startswith("CIFAR-10 test: 61.0000 at index 3, ") and cell in note
        for note in footnotes
    )
    assert any("misprint of 73.49" in note for note in footnotes)


def test_a_missing_data_set_is_a_reason(five):
    columns, benchmark = five
    benchmark.roles.pop("cifar100")
    (table,) = all_items()["balenas:T1"].build(benchmark, []).tables

    assert table.cell("optimal", "CIFAR-100 test").reason == "five has no CIFAR-100 test accuracy"
    assert table.cell("optimal", "CIFAR-10 test").measured is not None


def test_only_the_whole_space_on_the_papers_slices_is_the_papers_benchmark(five):
    columns, benchmark = five
    whole = mean_table(made_up_columns())

    assert is_the_papers(whole, "cifar10")
    assert not is_the_papers(benchmark, "cifar10")


def test_overview_counts_every_space_as_the_thesis_does():
    table, rules = all_items()["sotl_thesis:T3.1"].build(None, []).tables
    cells = [cell for row in table.rows for cell in row.cells]

    assert [cell.verdict for cell in cells] == [EXACT] * 10
    assert table.cell("NB201", "architectures").measured.mean == 5**6
    assert table.cell("DARTS", "architectures").measured.mean == (1 * 3 * 6 * 10 * 7**8) ** 2
    assert rules.cell("all encodings", "oneshot1-3").measured.mean == 5400 * 3**5


def test_parameters_over_draws(home):
    columns = made_up_columns(n_archs=400)
    benchmark = mean_table(columns, "part")
    item = params_draws.params_item("sotl_thesis:T4.5", "draws", n_cells=200, n_draws=50)
    artefact = item.build(benchmark, [])
    table, draws = artefact.tables
    cell = table.cell("SPOS + Params", "NB201 CIFAR-10")
    truth = columns[COLUMNS["c10_test"]]
    expected = spearmanr(SPACE.closed_form("params", "cifar10", benchmark.codes), truth).statistic

    assert draws.cell("CIFAR-10", "whole space").measured.mean == pytest.approx(expected, abs=1e-6)
    assert cell.measured.n == 50
    assert abs(cell.measured.mean - expected) < 0.02
    assert 0 < cell.measured.std < 0.1
    assert cell.verdict == OTHER_BENCHMARK
    assert "published value at percentile" in cell.note
    assert table.cell("SPOS + Params", "DARTS").reason == "no benchmark of darts is here"
    assert len(artefact.plots) == 1


def test_parameters_need_enough_cells(five):
    _, benchmark = five
    reason = all_items()["sotl_thesis:T4.5"].benchmark_problem(benchmark)

    assert reason == "five holds 5 of 15,625 archs; the thesis draws 200"


def test_no_losses_is_a_reason(five):
    _, benchmark = five
    reason = all_items()["sotl_thesis:F4.4"].benchmark_problem(benchmark)

    assert reason == "five stores no training losses of CIFAR-10"


def test_too_few_cells_is_a_reason(home):
    loss_store(n_archs=30)
    reason = all_items()["sotl_thesis:F4.4"].benchmark_problem(load("with-losses"))

    assert reason == "with-losses holds 30 of 15,625 archs; the thesis draws 200"


def rank_curves_of(name, datasets, all_schedules):
    item = rank_curves.rank_curves_item(
        name, "curves", datasets, all_schedules=all_schedules, n_cells=20, n_draws=2
    )
    benchmark = load("with-losses")
    assert item.benchmark_problem(benchmark) is None
    specs = item.specs(benchmark)
    return specs, item.build(benchmark, run_all(specs))


def test_rank_correlation_curves_of_both_schedules(home):
    loss_store(epochs=(24, 200, 12))
    specs, artefact = rank_curves_of("sotl_thesis:F4.4", ["CIFAR-10"], True)
    (table,) = artefact.tables

    assert len(specs) == 3 * 5 * 2
    # By construction training loss ranks as the truth, validation accuracy the other way round
    # until the last epoch.
    assert (
        table.cell("SoTL, last epoch", "CIFAR-10, 200-epoch schedule epoch 10").measured.mean == 1
    )
    assert table.cell("SoTL, all epochs", "CIFAR-10, 12-epoch schedule epoch 6").measured.mean == 1
    early = table.cell("validation accuracy", "CIFAR-10, 200-epoch schedule epoch 100").measured
    late = table.cell("validation accuracy", "CIFAR-10, 200-epoch schedule epoch 200").measured
    assert (early.mean, late.mean, late.n) == (pytest.approx(-1), pytest.approx(1), 2)
    assert any("validation accuracy: epoch 200" in note for note in artefact.footnotes)
    assert not any("contains test" in row.label for row in table.rows)


def test_curves_that_contain_test_say_so(home):
    loss_store()
    specs, artefact = rank_curves_of("sotl_thesis:F4.5", ["CIFAR-100", "ImageNet16-120"], False)
    (table,) = artefact.tables
    labels = [row.label for row in table.rows]

    assert len(specs) == 2 * 5 * 2
    assert "valid+test accuracy (contains test)" in labels
    assert not any(label.startswith("validation") for label in labels)
    assert rank_curves.TEST_NOTE in artefact.footnotes


@pytest.fixture
def whole(home):
    mean_store(made_up_columns(), "whole")
    return load("whole")


def table_4_6(n_seeds):
    return query_methods.query_methods_item(
        "sotl_thesis:T4.6", "search", TABLE_4_6_SEARCHES, {}, n_seeds=n_seeds
    )


def test_searches_are_budgeted_in_queries_where_there_are_no_seconds(whole):
    item = query_methods.query_methods_item(
        "sotl_thesis:T4.6", "search", TABLE_4_6_SEARCHES, {}, n_seeds=3
    )
    specs = item.specs(whole)
    records = run_all(specs)
    artefact = item.build(whole, records)
    (table,) = artefact.tables
    finals = [
        record.result["final_truth"]
        for record in records
        if record.identity["method"] == "rea" and record.identity["setting"]["dataset"] == "cifar10"
    ]
    cell = table.cell("REA", "CIFAR-10")

    assert item.benchmark_problem(whole) is None
    assert len(specs) == 2 * 3 * 3
    assert all(
        spec.setting["budget_queries"] == 200
        and "budget_seconds" not in spec.setting
        and spec.setting["oracle_seed"] == spec.setting["truth_seed"] == "mean"
        for spec in specs
    )
    assert cell.measured.mean == pytest.approx(np.mean(finals))
    assert cell.measured.std == pytest.approx(np.std(finals, ddof=1))
    assert (cell.measured.n, cell.verdict) == (3, NO_TEST)
    assert dict(artefact.card.entries())["Budget"] == (
        "cifar10, cifar100, ImageNet16-120: 200 queries (ours; the table does not record the"
        " paper's seconds)"
    )
    assert any("That budget is ours" in note for note in artefact.footnotes)


def test_searches_are_budgeted_in_seconds_where_they_are_recorded(home):
    seconds_store()
    benchmark = load("with-seconds")
    item = query_methods.query_methods_item(
        "sotl_thesis:T4.6", "search", TABLE_4_6_SEARCHES, {}, n_seeds=2
    )
    records = run_all(item.specs(benchmark))
    artefact = item.build(benchmark, records)
    budgets = {
        record.identity["setting"]["dataset"]: record.identity["setting"]["budget_seconds"]
        for record in records
    }
    (plot,) = artefact.plots

    assert budgets == {"cifar10": 20_000, "cifar100": 40_000, "ImageNet16-120": 120_000}
    # 1,000 seconds a query: the budgets buy 20, 40 and 120.
    assert {record.result["n_queries"] for record in records} == {20, 40, 120}
    assert "cifar10: 20,000 simulated seconds" in dict(artefact.card.entries())["Budget"]
    assert not any("budget is ours" in note for note in artefact.footnotes)
    assert [axis.get_xlabel() for axis in plot.figure.axes] == ["Simulated search time (s)"] * 3
    assert artefact.tables[0].cell("Random Search", "CIFAR-100").measured.n == 2


def test_incumbents_are_steps():
    spent, values = np.array([10.0, 20.0]), np.array([80.0, 90.0])
    found = query_methods._steps(spent, values, np.array([5.0, 10.0, 15.0, 20.0, 99.0]))

    np.testing.assert_array_equal(found, [np.nan, 80.0, 80.0, 90.0, 90.0])


def test_searches_need_the_whole_space(five):
    _, benchmark = five
    reason = all_items()["sotl_thesis:T4.6"].benchmark_problem(benchmark)

    assert reason == "five holds 5 of 15,625 archs; a search may ask for any of them"
