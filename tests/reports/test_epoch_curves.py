"""Quantities against the epoch: BaLeNAS figures 1 to 3, and the thesis's of its searches."""

import math
from dataclasses import dataclass

import numpy as np
import pytest
from nb201_stores import made_up_columns, mean_table

from harness import Roles, Slice, load, space
from harness.benchmark import Holding, Table
from harness.config import read_labelled, read_suite
from harness.engine import identity_of, run_all
from harness.record import DONE, SKIPPED, Record, RunSpec, identity_key
from harness.surrogate import Surrogate
from reports import epoch_curves
from reports.cell_depth import depth
from reports.cell_graphs import CellGraph, Edge, Node, graphs
from reports.epoch_curves import Panel, epoch_curves_item
from reports.epoch_quantities import (
    EIGENVALUE,
    ONESHOT_DEPTH,
    SKIP_SHARE,
    SKIPS,
    SPECTRAL_NORM,
    TRACE,
    accuracy,
    blocks_with,
    depth_in,
)
from reports.figures import Curve, CurvePanel, by_epoch
from reports.items import all_items
from reports.known_cell import DARTS_V2
from reports.reproduce import can_run
from reports.row_search import RowSearch
from reports.stand_in import StandIn

DARTS, ONESHOT, NB201 = (space(name) for name in ("darts", "oneshot1-3", "nb201"))
# Every node takes the two inputs of the cell: nothing is shallower.
SHALLOW = "[" + ", ".join("('skip_connect', 0), ('skip_connect', 1)" for _ in range(4)) + "]"
# Every node takes the one before.
DEEP = "[" + ", ".join(f"('sep_conv_3x3', 0), ('skip_connect', {n})" for n in (1, 2, 3, 4)) + "]"
SKIP_GENOTYPE = (
    f"Genotype(normal={SHALLOW}, normal_concat=range(2, 6), reduce={DEEP},"
    " reduce_concat=range(2, 6))"
)
CHAIN = (
    "conv3x3-bn-relu<0|conv3x3-bn-relu<1|maxpool3x3<2|conv3x3-bn-relu<2,3|conv1x1-bn-relu<3,4"
    "|output<4,5"
)
# Only the first block is used, which all loose ends hang on.
SHORT = (
    "conv1x1-bn-relu<0|conv3x3-bn-relu<1|conv3x3-bn-relu<1|conv3x3-bn-relu<1,2"
    "|conv3x3-bn-relu<1,2|output<0,1"
)
ITEMS = {
    "balenas": ("F1", "F2", "F3", "F5"),
    "sotl_thesis": ("F4.10", "F4.11", "F4.12", "F4.13", "F4.14", "F4.15", "F4.16", "T4.7"),
}
SMALL = ("common/darts", "common/darts_s2", "common/oneshot1")
PUBLISHED = (
    "published/balenas_darts",
    "published/balenas_oneshot1",
    "published/thesis_darts",
    "published/thesis_s2",
    "published/thesis_oneshot1",
    "published/thesis_nb201",
)


def record(spec, texts, *, measured=None, status=DONE, reason="", values=None):
    """What a finished run of a spec would have kept of these cells, one an epoch."""
    identity = {
        "benchmark": spec.benchmark,
        "space": spec.benchmark.removeprefix("no-table:"),
        "method": spec.method,
        "setting": spec.setting,
        "seed": spec.seed,
    }
    if status != DONE:
        return Record(identity, status, reason)
    of_values = values or [{}] * len(texts)
    track = [
        {"epoch": i, "arch": text, "values": held}
        for i, (text, held) in enumerate(zip(texts, of_values, strict=True))
    ]
    of_epochs = measured or [{}] * len(texts)
    result = {
        "arch": texts[-1],
        "track": track,
        "curves": [{"measured": held} for held in of_epochs],
        "recipe": spec.setting.get("recipe", {"epochs": 1, "batch_size": 1, "lr": 1, "arch_lr": 1}),
        "search_seconds": 1.0,
    }
    return Record(identity, DONE, result=result)


@dataclass(frozen=True)
class Given(RowSearch):
    """Runs that differ in their seeds alone, in place of a suite's."""

    name: str
    benchmark: str
    n_seeds: int = 2

    def specs(self, benchmark):
        return [
            RunSpec("supernet", self.benchmark, seed, self.name, {"dataset": "cluttered-digits"})
            for seed in range(self.n_seeds)
        ]

    def records(self, records):
        return [r for r in records if r.identity["method"] == self.name]

    def cannot_run(self):
        return None


def item_of(*panels, **options):
    return epoch_curves_item("balenas:F2", "made up", panels, caption="Made up.", **options)


def of(quantity, texts, benchmark="no-table:darts", table=None, **kept):
    spec = RunSpec("supernet", benchmark, 0, "darts", {})
    found = record(spec, texts, **kept)
    return list(quantity.of(found, load(benchmark) if table is None else table))


def test_depth_is_the_longest_path_whatever_leads_nowhere():
    nodes = [Node("a", "", "input"), Node("b", "", "inner"), Node("c", "", "inner")]
    ends = (*nodes, Node("d", "", "output"))

    def of_edges(*pairs):
        return depth(CellGraph("", ends, tuple(Edge(*pair) for pair in pairs)))

    assert of_edges(("a", "d")) == 1
    assert of_edges(("a", "d"), ("a", "b"), ("b", "c")) == 1  # c leads nowhere.
    assert of_edges(("b", "c"), ("c", "d"), ("a", "d")) == 1  # Nothing leads to b.
    assert of_edges(("c", "d"), ("a", "b"), ("b", "c")) == 3
    assert of_edges(("a", "b")) == 0


def test_depth_agrees_with_that_of_the_darts_space():
    rng = np.random.default_rng(0)
    found = set()
    for arch in (DARTS.sample(rng) for _ in range(40)):
        own = [depth(cell) for cell in graphs(arch)]

        assert own == [DARTS.depth(arch, cell) for cell in ("normal", "reduce")]
        found.update(own)
    assert found >= {3, 4, 5}


def test_quantities_of_cells_by_hand():
    # Of DARTS_V2: skips are the second input of node 4 and the first of node 5, of 8; the normal
    # cell's longest path is input, node 2, node 5, output.
    cells = [SKIP_GENOTYPE, DARTS_V2]

    assert of(SKIP_SHARE, cells) == [1.0, 0.25]
    assert of(SKIPS, cells) == [8 + 4, 2 + 3]
    assert of(depth_in("normal"), cells) == [2, 3]
    assert of(depth_in("reduce"), cells) == [5, 3]
    oneshot = "no-table:oneshot1-3"
    assert of(ONESHOT_DEPTH, [CHAIN, SHORT], oneshot) == [6, 2]
    assert of(blocks_with("conv3x3-bn-relu"), [CHAIN, SHORT], oneshot) == [3, 4]
    assert of(blocks_with("maxpool3x3"), [CHAIN, SHORT], oneshot) == [1, 0]


def test_diagnostics_are_what_was_measured():
    kept = {"measured": [{"eigenvalue": -0.5, "trace_estimate": 2.0}, {"eigenvalue": 0.25}]}
    cells = [DARTS_V2] * 2

    assert of(EIGENVALUE, cells, **kept) == [-0.5, 0.25]
    assert of(SPECTRAL_NORM, cells, **kept) == [0.5, 0.25]
    assert of(TRACE, cells, measured=[{"trace": 1.0, "trace_estimate": 9.0}] * 2) == [1.0, 1.0]
    assert of(TRACE, cells, measured=[{"trace_estimate": 9.0}] * 2) == [9.0, 9.0]
    assert np.isnan(of(EIGENVALUE, cells)).all()


def oneshot_table(valid, test=None):
    """CHAIN alone; with a test accuracy that is the truth, or without."""
    slices = {"valid": valid} if test is None else {"valid": valid, "test": test}
    at = {name: Slice("cifar10", "train", name, "accuracy", 108) for name in slices}
    arch = ONESHOT.parse(CHAIN)
    return Table(
        name="small",
        space=ONESHOT,
        codes=np.array([arch.code], dtype=np.uint8),
        indices=np.array([ONESHOT.index(arch)]),
        holdings=[Holding(s, "%", ("mean",), (108,)) for s in at.values()],
        arrays={at[name]: np.full((1, 1, 1), value) for name, value in slices.items()},
        costs={},
        roles={"cifar10": Roles(search=at["valid"], truth=at["test" if test else "valid"])},
    )


def test_cells_are_looked_up_now_where_the_search_had_no_table():
    table = oneshot_table(90.0, 80.0)
    cells = [CHAIN, SHORT]

    assert of(accuracy(), cells, "no-table:oneshot1-3", table) == [
        80.0,
        pytest.approx(np.nan, nan_ok=True),
    ]
    assert of(accuracy("valid", error=True), cells[:1], "no-table:oneshot1-3", table) == [10.0]
    assert accuracy("test").cannot(table) is None
    assert accuracy("test").cannot(oneshot_table(90.0)) == "small has no test accuracy"
    assert accuracy("valid").cannot(load("no-table:oneshot1-3")).startswith("no benchmark of")


def test_what_the_search_looked_up_is_taken_from_its_record():
    table = mean_table(made_up_columns(n_archs=5), "five")
    text = NB201.format(table.archs[0])
    spec = RunSpec("supernet", "five", 0, "darts", {})
    held = record(
        spec, [text] * 2, values=[{"cifar10": {"truth": 12.5}}, {"cifar10": {"truth": None}}]
    )

    first, second = accuracy().of(held, table)
    assert first == 12.5
    assert math.isnan(second)


def test_cells_of_s2_are_looked_up_as_cells_of_the_darts_space():
    """By a model that predicts the share of separable convolutions among all operations."""

    def predict(codes):
        cells = [DARTS.genotype(DARTS.arch(code)) for code in codes.tolist()]
        share = [sum(op == "sep_conv_3x3" for op, _ in (*g.normal, *g.reduce)) / 16 for g in cells]
        return 100 * np.array([share])

    model = Surrogate("model", ("only",), predict)

    assert of(accuracy(), [SKIP_GENOTYPE], "no-table:darts-s2", model) == [25.0]


def test_a_surrogate_is_found_though_it_lists_no_cells(monkeypatch):
    model = Surrogate("model", ("only",), lambda codes: np.zeros((1, len(codes))))
    monkeypatch.setattr(epoch_curves, "best", lambda name: model if name == "darts" else None)
    nothing = load("no-table:nb201")

    assert epoch_curves.table_of("darts-s2", nothing) is model
    assert epoch_curves.table_of("nb201", nothing) is nothing
    assert epoch_curves.table_of("oneshot1-3", nothing).name == "no-table:oneshot1-3"


def test_curves_are_means_over_the_searches(home):
    name = "no-table:darts"
    item = item_of(Panel("DARTS space", SKIP_SHARE, "darts", {"A": Given("a", name, 3)}))
    texts = [[SKIP_GENOTYPE] * 2, [SKIP_GENOTYPE, DARTS_V2], [DARTS_V2, DARTS_V2]]
    records = [record(*pair) for pair in zip(item.specs(load(name)), texts, strict=True)]

    artefact = item.build(load(name), records)

    (plot,), (table,) = artefact.plots, artefact.tables
    expected = [([1, 1, 0.25], 0), ([1, 0.25, 0.25], 1)]
    for row, (values, epoch) in zip(plot.data, expected, strict=True):
        assert (row["curve"], row["epoch"], row["n"]) == ("A", epoch, 3)
        assert row["mean"] == pytest.approx(np.mean(values))
        assert row["std"] == pytest.approx(np.std(values, ddof=1))
    assert "over 3 searches" in plot.caption
    column = "(a) DARTS space Share of skips in the normal cell"
    last = table.cell("A, after the last epoch", column).measured
    assert (last.mean, last.n) == (pytest.approx(0.5), 3)
    assert table.cell("A, before the first epoch", column).measured.mean == pytest.approx(0.75)


def test_only_known_values_count_and_one_has_no_deviation(monkeypatch, home):
    monkeypatch.setattr(epoch_curves, "table_of", lambda *_: oneshot_table(90.0, 80.0))
    name = "no-table:oneshot1-3"
    item = item_of(Panel("NB101-3", accuracy(), "oneshot1-3", {"A": Given("a", name)}))
    texts = [[CHAIN, CHAIN, SHORT], [CHAIN, SHORT, SHORT]]
    records = [record(*pair) for pair in zip(item.specs(load(name)), texts, strict=True)]

    artefact = item.build(load(name), records)

    (plot,), (table,) = artefact.plots, artefact.tables
    rows = [(row["epoch"], row["mean"], row["std"], row["n"]) for row in plot.data]
    assert rows == [(0, 80.0, 0.0, 2), (1, 80.0, None, 1)]
    last = table.cell("A, after the last epoch", "(a) NB101-3 Accuracy of the cell (%)")
    assert (last.measured, last.reason) == (None, "none of these cells is held")
    (told,) = [note for note in artefact.footnotes if "looked up" in note]
    assert told == (
        "(a) NB101-3: looked up in small, `cifar10/train/test/accuracy/108`, of cells that were"
        " searched on cluttered-digits; 3 of 6 values are held."
    )


def test_what_cannot_be_shown_is_left_out_with_the_reason(home):
    name = "no-table:darts"
    searches = {"A": Given("a", name, 1), "B": Given("b", name, 1)}
    item = item_of(
        Panel("DARTS space", accuracy(), "darts", searches),
        Panel("DARTS space", SKIPS, "darts", searches),
        Panel("DARTS space", EIGENVALUE, "darts", {"A": searches["A"]}),
    )
    specs = item.specs(load(name))
    assert len(specs) == 2  # Asked for by several panels, and run once.
    skipped = record(specs[1], [], status=SKIPPED, reason="There is no device cuda here.")

    artefact = item.build(load(name), [record(specs[0], [DARTS_V2] * 3), skipped])

    (plot,) = artefact.plots
    assert {(row["panel"], row["curve"]) for row in plot.data} == {("(b) DARTS space", "A")}
    told = [note for note in artefact.footnotes if note.startswith("Not shown")]
    assert told == [
        "Not shown: (a) A: no benchmark of the space darts is imported; nas-harness import --help.",
        "Not shown: (a) B; (b) B: There is no device cuda here.",
        "Not shown: (c): its searches did not measure it.",
    ]


def test_where_nothing_can_be_shown_there_is_no_figure(home):
    name = "no-table:darts"
    item = item_of(Panel("DARTS space", EIGENVALUE, "darts", {"A": Given("a", name, 1)}))
    (spec,) = item.specs(load(name))

    artefact = item.build(load(name), [record(spec, [DARTS_V2] * 2)])

    assert artefact.plots == ()
    (table,) = artefact.tables
    assert {cell.reason for row in table.rows for cell in row.cells} == {
        "its searches did not measure it"
    }


def test_runs_of_another_space_with_the_same_options_are_others(home):
    searches = {"A": Given("a", "no-table:darts", 1)}
    item = item_of(Panel("DARTS space", SKIPS, "darts", searches))
    (spec,) = item.specs(load("no-table:darts"))
    other = RunSpec("supernet", "no-table:darts-s2", 0, "a", spec.setting)
    records = [record(spec, [DARTS_V2] * 2), record(other, [SKIP_GENOTYPE] * 2)]

    (plot,) = item.build(load("no-table:darts"), records).plots

    assert [(row["mean"], row["n"]) for row in plot.data] == [(5, 1)] * 2


def test_the_papers_runs_are_shown_where_all_were_done(home):
    search = StandIn("darts", "published/balenas_darts", "common/darts")
    item = item_of(Panel("DARTS space", SKIPS, "darts", {"DARTS": search}))
    benchmark = load("no-table:darts")
    papers = read_labelled("published/balenas_darts")["darts"]
    small = read_labelled("common/darts")["darts"]
    own = [record(spec, [SKIP_GENOTYPE] * 2) for spec in papers]
    others = [record(spec, [DARTS_V2] * 2) for spec in small]
    missing = record(papers[-1], [], status=SKIPPED, reason="There is no device cuda here.")

    (theirs,) = item.build(benchmark, [*own, *others]).plots
    (ours,) = item.build(benchmark, [*own[:-1], missing, *others]).plots

    assert [(row["mean"], row["n"]) for row in theirs.data] == [(12, 5)] * 2
    assert [(row["mean"], row["n"]) for row in ours.data] == [(5, 3)] * 2


def test_axes_name_their_quantity_and_end_where_it_does():
    curve = Curve("A", np.arange(3.0), np.full(3, 0.1), np.full(3, 0.5))
    panels = [CurvePanel("one", (curve,), "Skips", 0.0), CurvePanel("two", (curve,), "Trace")]

    plot = by_epoch(panels, caption="Made up.", panels_a_row=1)

    skips, trace = plot.figure.axes
    assert [axis.get_ylabel() for axis in (skips, trace)] == ["Skips", "Trace"]
    assert -0.05 < skips.get_ylim()[0] < 0
    assert trace.get_ylim()[0] < -0.4
    assert all(tick == round(tick) for tick in skips.get_xticks())
    assert plot.data[0] == {
        "panel": "one",
        "quantity": "Skips",
        "curve": "A",
        "epoch": 0,
        "mean": 0.1,
        "std": 0.5,
        "n": None,
    }


@pytest.mark.parametrize("is_packed", [True, False])
def test_without_torch_packed_records_will_do(home, monkeypatch, is_packed):
    monkeypatch.setattr("reports.row_search.is_packed", lambda spec: is_packed)

    for name in ("balenas:F2", "balenas:F5", "sotl_thesis:F4.13", "sotl_thesis:T4.7"):
        assert can_run(all_items()[name])[0] == is_packed


@pytest.mark.parametrize("paper", ITEMS)
def test_every_item_asks_for_runs_of_its_suites(home, searches, paper):
    for name in ITEMS[paper]:
        item = all_items()[f"{paper}:{name}"]
        specs = item.specs(load(f"no-table:{item.space}"))
        small = [spec for spec in specs if spec.setting["dataset"] == "cluttered-digits"]

        assert len({str(spec) for spec in specs}) == len(specs) > len(small) > 0
        assert all(spec.setting["device"] == "cuda" for spec in specs if spec not in small)


@pytest.mark.parametrize("suite", SMALL)
def test_parameters_can_go_3_along_in_small_searches(searches, suite):
    """Of mini201's 1,000 images, batch after batch, and one step a look-ahead."""
    for spec in read_suite(suite):
        recipe, look_ahead = spec.setting["recipe"], spec.setting.get("steps", 1)
        n_steps = recipe["epochs"] * -(-(1000 // recipe["batch_size"]) // look_ahead)

        assert n_steps * recipe["arch_lr"] >= 3
        assert spec.setting["dataset"] == "cluttered-digits"
        assert spec.seed in range(3)


def test_curvature_on_mini201_is_that_of_its_common_searches(searches):
    """So that the same searches are looked at, seed by seed."""
    common = {**read_labelled("common/mini201_sotl"), **read_labelled("common/mini201")}
    own = read_labelled("common/mini201_curvature")

    assert list(own) == ["darts", "sotl", "sotl, leak"]
    for label, half in (("darts", "valid"), ("sotl", "train"), ("sotl, leak", "train")):
        for spec, like in zip(own[label], common[label], strict=False):
            setting = dict(spec.setting)
            assert setting.pop("diagnostics") == {"eigenvalue": half}
            assert (setting, spec.method, spec.seed) == (like.setting, like.method, like.seed)


@pytest.mark.parametrize("suite", [*SMALL, *PUBLISHED])
def test_suites_name_settings_that_there_are(home, searches, suite):
    """By the identity of a run, which knows the options of its method and selector."""
    benchmark = "no-table:nb201" if suite == "published/thesis_nb201" else None
    specs = read_suite(suite, benchmark=benchmark)

    assert len({identity_key(identity_of(spec)) for spec in specs}) == len(specs)


@pytest.mark.parametrize("suite", PUBLISHED)
def test_published_suites_have_the_rates_of_darts(searches, suite):
    for spec in read_suite(suite):
        recipe = spec.setting["recipe"]

        assert (recipe["epochs"], recipe["lr"], recipe["arch_lr"]) == (50, 0.025, 3e-4)
        assert (spec.setting["device"], spec.setting["dataset"]) == ("cuda", "cifar10")


def test_curves_of_a_search_are_those_of_its_strengths(home, searches):
    setting = {
        "dataset": "cifar10",
        "images": "gaussian",
        "n_made": 16,
        "network": {"channels": 2, "n_cells": 3},
        "recipe": {"epochs": 2, "batch_size": 8, "arch_lr": 1.0},
        "diagnostics": {"eigenvalue": "valid"},
    }
    name = "no-table:oneshot1-3"
    (found,) = run_all([RunSpec("supernet", name, 0, "darts", setting)])
    assert (found.status, found.reason) == (DONE, "")
    item = item_of(
        *(
            Panel("", quantity, "oneshot1-3", {"A": Given("darts", name)})
            for quantity in (ONESHOT_DEPTH, EIGENVALUE)
        )
    )

    (plot,) = item.build(load(name), [found]).plots

    groups = [group.name for group in ONESHOT.groups]
    blocks = [found.array(f"strengths_{name}") for name in groups]
    cells = [ONESHOT.discretise([block[epoch] for block in blocks]) for epoch in range(3)]
    shown = [row["mean"] for row in plot.data]
    assert shown[:3] == [depth(graphs(arch)[0]) for arch in cells]
    assert shown[3:] == [at["measured"]["eigenvalue"] for at in found.result["curves"]]
    assert len(set(shown[3:])) == 3
