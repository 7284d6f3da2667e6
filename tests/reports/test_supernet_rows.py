"""Rows of tables that are supernet searches, by a tiny suite on the benchmark that ships."""

from dataclasses import replace

import numpy as np
import pytest

from harness import load, record, space, store
from harness.config import read_labelled, read_suite
from harness.engine import run_all
from harness.errors import HarnessError
from harness.record import DONE, FAILED, SKIPPED, Record
from reports.extremes import extremes_item
from reports.items import all_items
from reports.papers.balenas import TABLE_1, TABLE_1_NOTES, TABLE_1_SEARCHES
from reports.papers.sotl_thesis import TABLE_4_6_SEARCHES, TABLE_4_6_VARIANTS
from reports.query_methods import query_methods_item
from reports.reproduce import _check
from reports.row_search import NO_TORCH, RowSearch, specs_of
from reports.selection_errors import selection_errors_item
from reports.spent import spent_table
from reports.supernet_rows import COMMON, Searched
from reports.tables import MISSING, lines
from reports.verdict import OTHER_BENCHMARK

DATASET = "cluttered-digits"
COLUMN = f"CIFAR-10 (here {DATASET}) test"
SUITE = f"""
[setting]
dataset = "{DATASET}"
truth_seed = 0
search_seed = 0
network = {{ channels = 2, n_cells = 1 }}
recipe = {{ epochs = 2, batch_size = 200 }}
[[run]]
protocol = "supernet"
method = "darts"
benchmark = "mini201"
seeds = 3
[[run]]
protocol = "supernet"
method = "darts"
benchmark = "mini201"
label = "again"
seeds = 3
[[run]]
protocol = "supernet"
method = "darts"
benchmark = "mini201"
label = "pt"
seeds = 3
[run.setting]
selector = "perturbation"
selection = {{ tune_epochs = 0 }}
"""


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A home in which all of the suite was run, and the suite: searches are made once."""
    folder = tmp_path_factory.mktemp("searches")
    file = folder / "small.toml"
    file.write_text(SUITE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NAS_HARNESS_HOME", str(folder / "home"))
        run_all(read_suite(str(file)))
    return folder


@pytest.fixture
def rows(kept, monkeypatch):
    """Rows of a suite of two searches; the same file stands for the paper's."""
    monkeypatch.setenv("NAS_HARNESS_HOME", str(kept / "home"))
    file = str(kept / "small.toml")
    return {
        "DARTS": Searched("darts", file, file, each=True),
        "DARTS+PT": Searched("pt", file, file, each=True),
    }


def run(rows, bench):
    return run_all([spec for row in rows.values() for spec in row.specs(bench)])


def truths(bench, records):
    """Test accuracy of what each run chose; NaN where the benchmark does not hold the cell."""
    column = bench.column(bench.roles[DATASET].truth, seed=0)
    archs = [space("nb201").parse(held.result["arch"]) for held in records]
    return np.array([column[bench.row(arch)] for arch in archs], dtype=np.float64)


def test_a_row_is_the_truth_of_what_its_own_runs_chose(rows, searches):
    bench = load("mini201")
    records = run(rows, bench)
    own = rows["DARTS+PT"].records(records)
    found = rows["DARTS+PT"].measured(records, DATASET, "truth")
    expected = truths(bench, own)

    assert len(records) == 6
    assert [held.identity["setting"]["selector"] for held in own] == ["perturbation"] * 3
    assert found.mean == pytest.approx(expected.mean())
    assert found.std == pytest.approx(expected.std(ddof=1))
    assert found.n == 3
    assert rows["DARTS"].values(records, "another data set", "truth").size == 0


def test_runs_that_two_rows_share_count_once_in_each(rows, searches):
    bench = load("mini201")
    again = Searched("again", rows["DARTS"].published, rows["DARTS"].common, each=True)
    specs = specs_of([rows["DARTS"], again], bench)

    assert again.specs(bench) == rows["DARTS"].specs(bench)
    assert [spec.seed for spec in specs] == [0, 1, 2]
    assert again.measured(run_all(specs), DATASET, "truth").n == 3


def test_errors_are_what_accuracy_leaves(rows, searches):
    bench = load("mini201")
    item = selection_errors_item(
        "darts_pt:T4",
        "small",
        {**rows, "DARTS+PT (fix alpha)": rows["DARTS+PT"]},
        {"DARTS once more": rows["DARTS"]},
        "not here",
        unproven="",
    )
    records = run_all(item.specs(bench))
    table, spent = item.build(bench, records).tables
    cell = table.cell("DARTS", "NB201 test error")

    expected = truths(bench, rows["DARTS"].records(records))
    assert cell.measured.mean == pytest.approx(100 - expected.mean())
    assert cell.published.text == "45.7"
    assert cell.verdict == OTHER_BENCHMARK
    assert table.cell("DARTS", "DARTS test error").reason == "not here"
    assert table.rows[-1].label == spent.rows[-1].label == "DARTS once more"
    assert table.cell("DARTS once more", "NB201 test error").measured == cell.measured
    assert table.cell("DARTS once more", "DARTS test error").measured is None
    assert [row.label for row in spent.rows[:2]] == ["DARTS", "DARTS+PT"]


def test_what_was_spent_is_counted(rows, searches):
    bench = load("mini201")
    records = run(rows, bench)
    table = spent_table("balenas:T1", rows, records)

    (n_images,) = {held.result["curves"][1]["counts"]["image_passes"] for held in records}
    assert table.cell("DARTS", "image-passes").measured.mean == 2 * n_images
    assert table.cell("DARTS", "image-passes").measured.std == 0
    assert table.cell("DARTS", "images measured").measured.mean == 0
    # Six rows of five options, each measured once on the validation half.
    half = n_images / 2
    assert table.cell("DARTS+PT", "images measured").measured.mean == 6 * 5 * half
    assert table.cell("DARTS+PT", "arch steps").measured.n == 3
    assert spent_table("balenas:T1", rows, []) is None


def test_without_torch_a_row_is_made_of_what_is_packed(rows, searches, monkeypatch):
    bench = load("mini201")
    records = run(rows, bench)
    record.pack(store.home() / "packs" / "some.zip", rows["DARTS"].records(records)[:2])
    monkeypatch.setattr("reports.row_search.find_spec", lambda name: None)

    assert [spec.seed for spec in rows["DARTS"].specs(bench)] == [0, 1]
    assert rows["DARTS+PT"].specs(bench) == []
    assert rows["DARTS+PT"].problem([]) == NO_TORCH
    found = rows["DARTS"].measured(run_all(rows["DARTS"].specs(bench)), DATASET, "truth")
    assert found.mean == pytest.approx(truths(bench, rows["DARTS"].records(records)[:2]).mean())


def test_tables_hold_searched_rows_beside_the_others(rows, searches):
    bench = load("mini201")
    waits = {label: "left out" for label in TABLE_1_SEARCHES if label != "DARTS (1st)"}
    best = {"BaLeNAS-TF (best single run)": "DARTS (1st)"}
    item = extremes_item(
        "balenas:T1", "small", waits, searches={"DARTS (1st)": rows["DARTS"]}, best_of=best
    )
    records = run_all(item.specs(bench))
    artefact = item.build(bench, records)
    table, spent = artefact.tables
    expected = truths(bench, records)

    assert table.cell("DARTS (1st)", COLUMN).measured.mean == pytest.approx(expected.mean())
    assert table.cell(next(iter(best)), COLUMN).measured.mean == pytest.approx(expected.max())
    assert table.cell("GDAS", COLUMN).reason == "left out"
    assert spent.rows[0].label == "DARTS (1st)"
    assert rows["DARTS"].common in dict(artefact.card.entries())["Recipe"]


def test_the_thesis_table_has_searches_and_variants_of_its_own(rows, searches):
    bench = load("mini201")
    labels = {label: rows["DARTS"] for label in TABLE_4_6_SEARCHES}
    variants = {label: rows["DARTS+PT"] for label in TABLE_4_6_VARIANTS}
    item = query_methods_item("sotl_thesis:T4.6", "small", labels, variants, n_seeds=2)
    records = run_all(item.specs(bench))
    table, spent = item.build(bench, records).tables
    expected = truths(bench, rows["DARTS+PT"].records(records))

    last = table.rows[-1]
    assert last.label == "SoTL-DARTS, momentum leaks"
    assert last.cells[0].measured.mean == pytest.approx(np.mean(expected[:3]))
    assert [line.cells[1].text for line in lines(table) if line.label == "GDAS"] == [MISSING]
    assert table.cell("REA", f"CIFAR-10 (here {DATASET})").measured.n == 2
    assert len(spent.rows) == len(labels) + len(variants)


def test_every_row_of_the_papers_has_runs_in_both_suites(home):
    """Labels are text in two files; a misspelt one would leave a row empty."""
    from reports.papers import balenas, darts_pt, freedarts, sotl_thesis

    tables = (
        balenas.TABLE_1_SEARCHES,
        balenas.CONSTANTS,
        balenas.TABLE_2_SEARCHES,
        balenas.TABLE_4_SEARCHES,
        balenas.TABLE_5_SEARCHES,
        darts_pt.TABLE_4_SEARCHES,
        darts_pt.TABLE_4_VARIANTS,
        freedarts.WEIGHT_SHARING,
        sotl_thesis.TABLE_4_6_SEARCHES,
        sotl_thesis.TABLE_4_6_VARIANTS,
    )
    own = [row for table in tables for row in table.values() if isinstance(row, Searched)]

    assert len(own) > 30
    for row in own:
        for suite in (row.common, row.published):
            assert row.label in read_labelled(suite), (row.label, suite)
        datasets = {spec.setting["dataset"] for spec in read_labelled(row.published)[row.label]}
        assert len(datasets) == (3 if row.each else 1)


def of(dataset, status, reason=""):
    return Record(
        identity={"method": "darts", "setting": {"dataset": dataset}},
        status=status,
        reason=reason,
        result={"values": {dataset: {"truth": 90.0}}} if status == DONE else {},
        seconds=0.0,
        environment={},
        plugin_files={},
    )


class Each(RowSearch):
    """Of every data set, one run that was asked for."""

    def specs(self, benchmark):
        return []

    def records(self, records):
        return list(records)

    def of_dataset(self, records, dataset):
        return [r for r in records if r.identity["setting"]["dataset"] == dataset]

    def cannot_run(self):
        return None


def test_a_data_set_is_shown_though_the_images_of_another_are_missing():
    records = [of("cifar10", DONE), of("cifar100", SKIPPED, "Download CIFAR-100.")]

    assert Each().problem(records, "cifar10") is None
    assert Each().problem(records, "cifar100") == "Download CIFAR-100."
    assert Each().problem(records) == "Download CIFAR-100."
    assert Each().values(records[:1], "cifar10", "truth").tolist() == [90.0]


def test_a_row_of_which_a_run_failed_says_so():
    records = [of("cifar10", DONE), of("cifar10", FAILED, "The loss is nan.")]

    assert Each().problem(records, "cifar10") == "1 of 2 runs failed: The loss is nan."


@pytest.mark.parametrize(
    ("tells_skips", "statuses", "error"),
    [
        (True, [DONE, FAILED, SKIPPED], None),
        (True, [FAILED, FAILED], "2 of 2 runs failed"),
        (False, [DONE, FAILED], "1 of 2 runs failed"),
        (False, [DONE, SKIPPED], "1 of 2 runs skipped"),
    ],
)
def test_an_item_is_made_without_runs_only_if_it_tells_why(tells_skips, statuses, error):
    item = replace(all_items()["balenas:T1"], tells_skips=tells_skips)
    records = [of("cifar10", status, "so") for status in statuses]

    if error is None:
        _check(records, item)
    else:
        with pytest.raises(HarnessError, match=error):
            _check(records, item)


def test_the_constants_that_table_1_tells_are_those_of_its_searches():
    pytest.importorskip("torch", reason="torch is not installed")
    from protocols.methods.balenas import METHOD

    theirs, mini = (read_labelled(s)["balenas"][0].setting for s in (TABLE_1, COMMON))
    rates = [setting["recipe"]["arch_lr"] for setting in (theirs, mini)]

    assert "n_data" not in theirs  # The validation half of CIFAR-10, 25,000 images.
    assert mini["n_data"] == 25_000
    assert f"N = 25,000, delta / N = {METHOD.decay}" in TABLE_1_NOTES[0]
    assert f"a rate of alpha of {rates[0]}, on mini201 of {rates[1]}" in TABLE_1_NOTES[0]
