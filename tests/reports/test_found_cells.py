"""Cells found by training-free searches: counted and weighed, in tables and drawn."""

from dataclasses import replace

import numpy as np
import pytest

from harness import Roles, Slice, load, space
from harness.benchmark import Holding
from harness.builder import Provenance, StoreBuilder
from harness.engine import run_all
from reports import oneshot1_random
from reports import reproduce as module
from reports.found_cells import OF_ONESHOT1, n_weight_free, of_darts
from reports.found_drawings import RELEASED_WEIGHT_FREE, drawings_item
from reports.items import all_items
from reports.known_cell import DARTS_V2
from reports.oneshot1_random import random_item
from reports.papers.freedarts import DRAWN, TABLE_3_WAITS, TABLE_6
from reports.reproduce import can_run, reproduce
from reports.row_search import NO_TORCH
from reports.surrogate_random import random_item as predicted_item
from reports.untrained_rows import Search
from reports.verdict import OTHER_BENCHMARK

ONESHOT = space("oneshot1-3")
VALID = Slice("cifar10", "train", "valid", "accuracy", 108)
TEST = Slice("cifar10", "train", "test", "accuracy", 108)
SMALL = {"saliency": "synflow", "images": "gaussian", "channels": 4, "n_made": 4}
IMPORT = "is imported; nas-harness import --help"


def table_3(n_seeds=3):
    # So large parameters make the cells of the seeds differ.
    search = Search("freedarts", n_seeds, {**SMALL, "scale": 1.0}, "cifar10")
    return random_item("freedarts:T3", "small", TABLE_3_WAITS, {"FreeDARTS": search})


def made(item, name):
    benchmark = load(name)
    records = run_all(item.specs(benchmark))
    return records, item.build(benchmark, records)


def store_of(archs, truth=TEST, name="small"):
    """The architectures with 90, 91, ... percent of validation and 80, 81, ... of test accuracy."""
    archs = sorted(archs, key=ONESHOT.index)
    codes = np.array([arch.code for arch in archs], dtype=np.uint8)
    builder = StoreBuilder(name, ONESHOT, codes, [ONESHOT.index(arch) for arch in archs])
    for at, lowest in ((VALID, 90), (TEST, 80)):
        values = np.arange(lowest, lowest + len(archs), dtype=np.float32)
        builder.add(Holding(at, "%", ("mean",), (108,)), values[None, None])
    builder.commit({"cifar10": Roles(VALID, truth)}, Provenance("none", 1, (), "none", "nobody"))
    return archs


def test_weight_free_operations_by_hand():
    # Two skips in the normal cell; the poolings and skips of the reduction cell do not count.
    arch = space("darts").parse(DARTS_V2)

    assert n_weight_free(arch) == 2
    assert n_weight_free(space("darts-no-none").parse(DARTS_V2)) == 2


def test_sizes_are_those_of_the_trained_networks():
    (_, size) = of_darts(0)
    (of_oneshot,) = OF_ONESHOT1
    # Only the first block is used: one 3x3 convolution, and the input joins the output. The stem
    # is 3,456 + 256; then by width C with the sum over 3 modules of two projections from the width
    # before and of the convolution, 9 C^2, all with 2 C of batch norm; last 512 * 10 + 10.
    text = "|".join(["conv3x3-bn-relu<0"] * 3 + ["conv3x3-bn-relu<0,1"] * 2 + ["output<0,1"])
    n_params = 3456 + 256 + 5130
    for width, before in ((128, 128), (256, 128), (512, 256)):
        projections = 2 * (before + 2 * width) * width
        n_params += projections + 3 * (9 * width**2 + 3 * 2 * width)

    assert round(size.of(space("darts").parse(DARTS_V2)), 1) == 3.3  # DARTS, table 1
    assert of_oneshot.of(ONESHOT.parse(text)) == pytest.approx(n_params / 1e6)


@pytest.fixture
def no_spaces(monkeypatch):
    """Without the table over whole spaces, whose distinct cells take seconds to count."""
    monkeypatch.setattr(oneshot1_random, "SPACES", ())


def test_table_3_by_hand(home, searches, no_spaces):
    item = table_3()
    without, _ = made(item, "no-table:oneshot1-3")
    found = [ONESHOT.parse(record.result["arch"]) for record in without]
    assert len(set(found)) == 3
    others = [ONESHOT.arch(code) for code in ONESHOT.codes[:9].tolist()]
    archs = store_of({*found[:2], *others})

    records, artefact = made(item, "small")

    table, _, cells = artefact.tables
    assert [record.result["arch"] for record in records] == [
        record.result["arch"] for record in without
    ]
    # The third cell is not held.
    for split, highest in (("valid", 10), ("test", 20)):
        errors = [highest - archs.index(arch) for arch in found[:2]]
        average = table.cell("FreeDARTS", f"CIFAR-10 error (average) {split}")
        assert average.measured.mean == pytest.approx(sum(errors) / 2)
        assert average.measured.std == pytest.approx(abs(errors[0] - errors[1]) / 2**0.5)
        assert (average.measured.n, average.verdict) == (2, OTHER_BENCHMARK)
        best = table.cell("FreeDARTS", f"CIFAR-10 error (best) {split}")
        assert (best.measured.mean, best.measured.std) == (min(errors), None)
    cost = table.cell("FreeDARTS", "search cost (s)")
    seconds = [record.result["search_seconds"] for record in records]
    assert cost.measured.mean == pytest.approx(np.mean(seconds))
    assert (cost.measured.n, cost.published.text) == (3, "1.1")
    assert table.cell("Random", "CIFAR-10 error (best) test").measured.n == 5
    assert [row.label for row in cells.rows] == [f"FreeDARTS, seed {seed}" for seed in range(3)]


def test_table_3_where_no_cell_or_no_split_is_held(home, searches, no_spaces):
    item = table_3(n_seeds=1)
    store_of([ONESHOT.arch(code) for code in ONESHOT.codes[:9].tolist()], truth=VALID)

    (table, *_) = made(item, "small")[1].tables

    reason = table.cell("FreeDARTS", "CIFAR-10 error (average) valid").reason
    assert reason == "small holds none of the cells that were found"
    reason = table.cell("FreeDARTS", "CIFAR-10 error (average) test").reason
    assert reason == "small has no test accuracy"
    cost = table.cell("FreeDARTS", "search cost (s)").measured
    assert (cost.n, cost.std) == (1, None)


def test_without_a_table_the_search_is_run_and_its_cells_are_shown(
    home, searches, tmp_path, monkeypatch
):
    monkeypatch.setattr(module, "select", lambda asked: [table_3()])

    summary = reproduce(["freedarts:T3"], out=tmp_path)

    assert summary.benchmarks == {"freedarts:T3": "no-table:oneshot1-3"}
    records, artefact = made(table_3(), "no-table:oneshot1-3")
    table, cells = artefact.tables
    for row in ("Random", "FreeDARTS"):
        reason = table.cell(row, "CIFAR-10 error (best) test").reason
        assert reason == f"no benchmark of the space oneshot1-3 {IMPORT}"
    assert table.cell("FreeDARTS", "search cost (s)").measured.n == 3
    arch = records[1].result["arch"]
    assert f"FreeDARTS, seed 1: `{arch}`." in artefact.footnotes
    (quantity,) = OF_ONESHOT1
    size = cells.cell("FreeDARTS, seed 1", "parameters (M)").measured
    assert (size.mean, size.unit) == (pytest.approx(quantity.of(ONESHOT.parse(arch))), "M")


def test_without_a_table_and_torch_the_reason_is_the_table(home):
    for name, of_space in (("T3", "oneshot1-3"), ("T6", "darts"), ("T7", "darts")):
        reason = f"no benchmark of the space {of_space} {IMPORT}"
        assert can_run(all_items()[f"freedarts:{name}"]) == (False, reason)
    assert can_run(all_items()["freedarts:F4"]) == (False, NO_TORCH)


def test_with_torch_they_can_be_made(home, searches):
    assert all(can_run(all_items()[f"freedarts:{n}"])[0] for n in ("T3", "T6", "T7", "F4", "F5"))


def test_items_that_need_a_table_refuse_one_that_holds_nothing(home, tmp_path):
    found = reproduce(["balenas:T1"], out=tmp_path, benchmark="no-table:nb201")

    assert found.skipped == {"balenas:T1": "no-table:nb201 holds nothing to make it from"}


def small_table_6(n_seeds=3):
    tiny = {**TABLE_6.searches["FreeDARTS(Synflow)"].options, **SMALL, "n_cells": 3}
    return replace(
        TABLE_6,
        searches={
            "FreeDARTS(SNIP)": Search("freedarts", 1, {"saliency": "snip"}, "cifar10"),
            "FreeDARTS(GraSP)": Search("freedarts", 1, {"saliency": "grasp"}, "cifar10", 1e6),
            "FreeDARTS(Synflow)": Search("freedarts", n_seeds, tiny, "cifar10"),
        },
    )


def test_table_6_without_a_table_images_or_memory(home, searches, monkeypatch):
    monkeypatch.setenv("NAS_HARNESS_DATA", str(home))
    item = predicted_item("freedarts:T6", "small", small_table_6())

    records, artefact = made(item, "no-table:darts")

    table, cells = artefact.tables
    column = "error (average)"
    assert "cifar-10-python.tar.gz" in table.cell("FreeDARTS(SNIP)", column).reason
    assert "needs 1000000 GB of memory" in table.cell("FreeDARTS(GraSP)", column).reason
    no_table = f"no benchmark of the space darts {IMPORT}"
    assert table.cell("FreeDARTS(Synflow)", column).reason == no_table
    assert table.cell("Random", column).reason == no_table
    counts = [
        sum(
            record.result["arch"].partition("normal_concat")[0].count(op) for op in ("skip", "pool")
        )
        for record in records
        if record.result
    ]
    shown = cells.cell("FreeDARTS(Synflow)", "weight-free (normal cell)").measured
    assert (shown.mean, shown.n) == (pytest.approx(np.mean(counts)), 3)
    assert cells.cell("FreeDARTS(GraSP)", "parameters (M)").reason.endswith("GB here")


def test_tables_6_and_7_and_the_drawings_share_their_searches(home, searches):
    benchmark = load("no-table:darts")
    of = {name: all_items()[f"freedarts:{name}"].specs(benchmark) for name in ("T6", "T7", "F4")}

    assert len(of["T6"]) == 30
    assert len(of["T7"]) == 120
    assert all(spec in of["T7"] for spec in of["T6"])
    assert of["F4"][0] in of["T6"]


def test_the_drawn_seeds_are_the_papers():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("reports.row_search.find_spec", lambda name: True)
        benchmark = load("no-table:darts")
        best, others = (all_items()[f"freedarts:{n}"].specs(benchmark) for n in ("F4", "F5"))

    assert [spec.seed for spec in best] == [4, 1, 3]
    assert len(others) == 12
    drawn = {(str(sorted(spec.setting.items(), key=str)), spec.seed) for spec in [*best, *others]}
    assert len(drawn) == 15
    assert {seed for _, seed in drawn} == set(range(5))
    assert {spec.setting.get("n_cells") for spec in others} == {None, 20, 14}
    assert [len(counts) for counts in RELEASED_WEIGHT_FREE.values()] == [5, 5, 5]


def test_drawings_are_of_the_cells_that_were_found(home, searches):
    drawn = {
        label: replace(search, options={**search.options, **SMALL, "n_cells": n_cells})
        for n_cells, (label, search) in enumerate(DRAWN.items(), 3)
    }
    item = drawings_item(
        "freedarts:F4", "small", drawn, {"FreeDARTS": (2, 0), "FreeDARTS†": (), "FreeDARTS‡": (1,)}
    )

    records, artefact = made(item, "no-table:darts")

    assert [record.identity["seed"] for record in records] == [0, 2, 1]
    (table,) = artefact.tables
    labels = ["FreeDARTS, seed 0", "FreeDARTS, seed 2", "FreeDARTS‡, seed 1"]
    assert [row.label for row in table.rows] == labels
    for record, plot, label in zip(records, artefact.plots, labels, strict=True):
        genotype = space("darts").genotype(space("darts").parse(record.result["arch"]))
        edges = [row["edge label"] for row in plot.data if row["edge label"]]
        assert edges == [op for op, _ in (*genotype.normal, *genotype.reduce)]
        titles = [row["cell"] for row in plot.data]
        assert dict.fromkeys(titles) == dict.fromkeys(
            (f"{label}: normal cell", f"{label}: reduction cell")
        )
        free = sum(op.endswith(("pool_3x3", "connect")) for op, _ in genotype.normal)
        assert table.cell(label, "weight-free (normal cell)").measured.mean == free
    # Of the released genotypes, seeds 0 and 2 have 1 each and seed 1 of the last has 2.
    assert any("code, 2 of 3." in note for note in artefact.footnotes)


def test_a_search_that_cannot_run_is_not_drawn_and_says_why(home, searches, monkeypatch):
    monkeypatch.setenv("NAS_HARNESS_DATA", str(home))
    snip = Search("freedarts", 1, {"saliency": "snip"}, "cifar10")
    item = drawings_item("freedarts:F4", "none", {"FreeDARTS": snip}, {"FreeDARTS": (0,)})

    artefact = made(item, "no-table:darts")[1]

    (table,) = artefact.tables
    assert artefact.plots == ()
    assert "cifar-10-python" in table.cell("FreeDARTS, seed 0", "search (s)").reason


def test_searches_with_more_options_are_others(home, searches):
    benchmark = load("no-table:oneshot1-3")
    less = Search("freedarts", 1, SMALL, "cifar10")
    more = replace(less, options={**SMALL, "scale": 0.01})
    elsewhere = replace(less, dataset="mnist")
    specs = [spec for one in (less, more, elsewhere) for spec in one.specs(benchmark)]
    records = run_all(specs)

    assert [less.records(records), more.records(records), elsewhere.records(records)] == [
        [record] for record in records
    ]
