"""DARTS-PT's figures from records that are made by hand, so that what they must show is known."""

import numpy as np
import pytest
from made_records import asked, made, skipped

from harness import load, space
from harness.benchmark import Holding, Roles, Slice, Table
from harness.config import read_labelled
from harness.spaces.darts import EDGE_INDEX
from reports.cell_graphs import graphs
from reports.darts_edges import drawn, in_words, whole_cell
from reports.items import all_items
from reports.papers.darts_pt import BY_EPOCH, BY_TUNING, CELLS, FIXED_BY_EPOCH, SMALL_CELLS
from reports.probes import probes
from reports.reproduce import reproduce
from reports.row_search import NO_TORCH
from reports.selection_track import track_of
from reports.skip_gap import path_of
from reports.stand_in import StandIn, notes

NO_TABLE = "no-table:"
S2, NO_NONE = space("darts-s2"), space("darts-no-none")
DATASET = "cluttered-digits"
SKIP, CONV = 0, 1  # S2's options.


def build(name, records, benchmark=None):
    item = all_items()[f"darts_pt:{name}"]
    return item.build(load(benchmark or item.benchmark or NO_TABLE + item.space), records)


# Searches that stand in for the paper's.


def test_the_small_searches_stand_in_until_all_of_the_papers_are_done(home):
    search = StandIn("one edge", CELLS, SMALL_CELLS)
    theirs = [made(spec) for spec in read_labelled(CELLS)["one edge"]]
    ours = [made(spec) for spec in read_labelled(SMALL_CELLS)["one edge"]]
    refused = [skipped(asked(CELLS, "one edge", 5), "no GPU")]
    others = [made(asked(SMALL_CELLS, "three edges"))]

    assert search.records([*theirs, *ours, *others]) == theirs
    assert search.records([*theirs[:-1], *refused, *ours, *others]) == ours
    assert search.records(ours) == ours
    assert search.problem([*refused, *ours]) is None
    assert search.problem([skipped(asked(SMALL_CELLS, "one edge", 1), "no disk")]) == "no disk"
    said = notes([search], [*theirs[:-1], *refused, *ours])
    assert "cluttered-digits" in said[0]
    assert said[1] == "These settings are ours, in place of the paper's search: no GPU"
    assert all("cifar10" in note for note in notes([search], [*theirs, *ours]))


def test_only_the_asked_data_set_and_seed_of_the_paper_are_meant(home, searches):
    alone = StandIn("S2", CELLS, None, "svhn", (0,))
    both = StandIn("S2", CELLS, SMALL_CELLS, seeds=(0,))
    bench = load(NO_TABLE + "darts-s2")

    assert [spec.setting["dataset"] for spec in alone.specs(bench)] == ["svhn"]
    assert [(s.setting["dataset"], s.seed) for s in both.specs(bench)] == [
        ("cifar10", 0),
        (DATASET, 0),
    ]
    assert alone.records([made(asked(SMALL_CELLS, "S2", 0))]) == []


def test_without_torch_only_packed_runs_are_asked_for(home):
    item = all_items()["darts_pt:F2"]
    bench = load(item.benchmark)

    if not item.specs(bench):
        assert item.benchmark_problem(bench) == NO_TORCH
    assert all(spec.setting["dataset"] == DATASET for spec in item.specs(bench))


# Edges.


def test_edges_are_named_as_cells_are_drawn():
    assert in_words("op_normal", EDGE_INDEX[2, 0]) == "normal cell, c_{k-2} → 0"
    assert in_words("op_reduce", EDGE_INDEX[5, 4]) == "reduction cell, 2 → 3"
    assert drawn("normal cell, c_{k-1} → 1") == "normal cell, $c_{k-1}$ → 1"


def test_a_whole_cell_has_the_edges_of_every_cell():
    arch = S2.sample(np.random.default_rng(0))
    rows = S2.used_rows(arch, "op_normal")
    operations = [S2.groups[0].options[row][arch.code[row]] for row in range(14)]

    whole = whole_cell("all", operations)

    (normal, _) = graphs(arch)
    assert set(normal.edges) < set(whole.edges)
    assert len(whole.edges) == 14 + 4
    assert [(n.key, n.role) for n in whole.nodes] == [(n.key, n.role) for n in normal.nodes]
    assert len(rows) == 8


def probed(spec, rows, strengths, accuracies):
    return made(
        spec,
        probed=np.array(rows),
        probed_strength=np.array(strengths),
        discretised_accuracy=np.array(accuracies),
    )


ACCURACIES = np.array(
    [[60, 61, 62, 63, 64, 65, 66], [50, 49, 48, 47, 46, 45, 44], [70, 70, 99, 70, 70, 70, 70]],
    float,
)
WEIGHTS = np.array([[7, 6, 5, 4, 3, 2, 1], [7, 6, 5, 4, 3, 2, 1], [1, 1, 8, 1, 1, 1, 1]]) / 28


def edges(label="three edges", seed=0, suite=SMALL_CELLS, n=3):
    rows = [(0, 0), (1, 13), (0, 5)][:n]
    return probed(asked(suite, label, seed), rows, WEIGHTS[:n], ACCURACIES[:n])


def test_figure_1_shows_both_numbers_of_every_operation_of_three_edges(home):
    artefact = build("F1", [edges(), skipped(asked(CELLS, "three edges"), "no GPU")])

    (table,), (plot,) = artefact.tables, artefact.plots
    names = NO_NONE.groups[0].options[0]
    assert len(table.rows) == len(plot.data) == 21
    row = f"seed 0, normal cell, c_{{k-2}} → 0: {names[6]}"
    assert table.cell(row, "softmax weight").measured.mean == pytest.approx(1 / 28)
    assert table.cell(row, "accuracy once discretised").measured.mean == 66
    # Against each other, alike, and alike again.
    assert [note.rpartition("is ")[2] for note in artefact.footnotes[:3]] == [
        "-1.00.",
        "1.00.",
        "1.00.",
    ]
    assert (
        f"weight is that of {names[0]}, the highest accuracy that of {names[6]};"
        in (artefact.footnotes[0])
    )
    assert f"weight is that of {names[2]}, the highest accuracy too;" in artefact.footnotes[2]
    assert any("here it is 1 epoch." in note for note in artefact.footnotes)
    assert dict(artefact.card.entries())["Recipe"] == SMALL_CELLS
    first = plot.figure.axes[0]
    heights = [bar.get_height() for bar in first.patches]
    assert heights == pytest.approx(WEIGHTS[0].tolist())


def test_figure_7_shows_one_edge_of_every_supernet(home):
    records = [edges(), *(edges("one edge", seed, n=1) for seed in (1, 2))]

    (table,) = build("F7", records).tables

    seeds = [row.label.partition(",")[0] for row in table.rows]
    assert seeds == ["seed 0"] * 7 + ["seed 1"] * 7 + ["seed 2"] * 7


def test_the_papers_edges_are_shown_where_they_were_probed(home):
    theirs = edges(suite=CELLS)

    artefact = build("F1", [theirs, edges()])

    assert dict(artefact.card.entries())["Recipe"] == CELLS
    assert any("here it is 5 epochs." in note for note in artefact.footnotes)
    assert not any("in place of" in note for note in artefact.footnotes)


def test_operations_that_no_architecture_has_are_not_shown(home):
    holed = ACCURACIES[:1].copy()
    holed[0, 2] = np.nan

    (probe,) = probes(probed(asked(SMALL_CELLS, "three edges"), [(0, 0)], WEIGHTS[:1], holed))

    assert len(probe.names) == 6
    assert NO_NONE.groups[0].options[0][2] not in probe.names
    assert probe.weights.tolist() == pytest.approx([*WEIGHTS[0, :2], *WEIGHTS[0, 3:]])


def test_figure_2_counts_and_draws_the_operation_of_every_edge(home):
    spec = asked(SMALL_CELLS, "S2, discretised")
    by_alpha = [SKIP] * 12 + [CONV] * 2
    by_strength = [CONV] * 5 + [SKIP] * 8 + [CONV]
    weights = [[0.6, 0.4] if op == SKIP else [0.4, 0.6] for op in by_alpha]
    accuracies = [[71.0, 70.0] if op == SKIP else [70.0, 71.0] for op in by_strength]
    record = probed(spec, [(0, row) for row in range(14)], weights, accuracies)

    artefact = build("F2", [record])

    assert artefact.footnotes[0] == (
        "Of 14 edges, 12 by alpha and 8 by strength are skip_connect, 2 by alpha and 6 by strength"
        " are sep_conv_3x3; 6 differ."
    )
    (plot,) = artefact.plots
    names = ("skip_connect", "sep_conv_3x3")
    for title, ops in (("(a)", by_alpha), ("(b)", by_strength)):
        shown = [r["edge label"] for r in plot.data if r["cell"].startswith(title)]
        assert [op for op in shown if op] == [names[op] for op in ops]
    cell = artefact.tables[0].cell("normal cell, c_{k-2} → 0", "sep_conv_3x3 softmax weight")
    assert cell.measured.mean == 0.4


def test_figures_that_have_nothing_to_show_say_why(home):
    for name, label in (("F1", "three edges"), ("F2", "S2, discretised"), ("F3", "three edges")):
        artefact = build(name, [skipped(asked(SMALL_CELLS, label), "no images")])

        assert artefact.plots == ()
        assert "no images" in {c.reason for row in artefact.tables[0].rows for c in row.cells}


# Supernets in training.


def learnt(spec, gaps, accuracies):
    """Skips get so much more than every convolution; poolings have the rest."""
    n_epochs = len(gaps)
    names = NO_NONE.groups[0].options[0]
    strengths = np.zeros((n_epochs + 1, 14, len(names)), dtype=np.float32)
    for i, name in enumerate(names):
        strengths[..., i] = 0.05 if "_conv_" in name else 0.3
    strengths[1:, :, names.index("skip_connect")] = 0.05 + np.array(gaps)[:, None]
    reduction = strengths.copy()
    reduction[1:, :, names.index("skip_connect")] += 0.1
    curves = [{"accuracies": {}}, *({"accuracies": {"arch": value}} for value in accuracies)]
    return made(
        spec, {"curves": curves}, strengths_op_normal=strengths, strengths_op_reduce=reduction
    )


def test_figure_3_is_the_gap_by_hand(home):
    records = [
        learnt(asked(SMALL_CELLS, "three edges"), [0.0, 0.1, 0.3], [20.0, 40.0, 60.0]),
        learnt(asked(SMALL_CELLS, "one edge", 1), [0.0, 0.2, 0.1], [30.0, 50.0, 80.0]),
    ]

    artefact = build("F3", records)

    # The mean of both kinds of cells is half of 0.1 higher.
    assert path_of(records[0]).gaps == pytest.approx([0.05, 0.15, 0.35], abs=1e-6)
    last = artefact.tables[0].cell("epoch 3", "skip minus convolution").measured
    assert (last.mean, last.n) == (pytest.approx(0.25), 2)
    assert last.std == pytest.approx(0.2 / 2**0.5, abs=1e-6)
    assert artefact.tables[0].cell("epoch 2", "supernet accuracy").measured.mean == 45
    lines = artefact.plots[0].figure.axes[0].get_lines()
    assert [line.get_xdata().tolist() for line in lines] == [[20, 40, 60], [30, 50, 80]]
    assert artefact.card.seeds == "0, 1"


def test_rows_without_a_skip_or_a_convolution_have_no_gap(home):
    s1 = space("darts-s1")
    both = [
        sum("skip_connect" in row and any("_conv_" in op for op in row) for row in group.options)
        for group in s1.groups[:2]
    ]
    strengths = {
        f"strengths_{group.name}": np.tile(np.float32([0.9, 0.1]), (2, 14, 1))
        for group in s1.groups[:2]
    }
    record = made(
        asked(SMALL_CELLS, "S1"),
        {"curves": [{"accuracies": {}}, {"accuracies": {"arch": 50.0}}]},
        **strengths,
    )
    signs = [
        (0.8 if row[0] == "skip_connect" else -0.8)
        for group in s1.groups[:2]
        for row in group.options
        if "skip_connect" in row and any("_conv_" in op for op in row)
    ]

    assert 0 < sum(both) < 28
    assert path_of(record).gaps == pytest.approx([np.mean(signs)], abs=1e-6)


# Trajectories on NAS-Bench-201.


def of_mini(label, value_of):
    """Records of all runs of a label; value_of: of the selected cell, by spec."""
    return [
        made(
            spec,
            {
                "values": {DATASET: {"truth": value_of(spec)}},
                "track": [
                    {"values": {DATASET: {"truth": 100.0 * spec.seed + epoch}}}
                    for epoch in range(spec.setting["stop"] + 1)
                ],
            },
        )
        for spec in read_labelled("common/mini201_perturbation")[label]
    ]


def test_figure_4_is_argmax_by_epoch_and_perturbation_by_snapshot(home):
    records = of_mini("darts-pt, by epoch", lambda spec: spec.setting["stop"] + 10.0 * spec.seed)

    artefact = build("F4", records, "mini201")

    (table,), (plot,) = artefact.tables, artefact.plots
    column = table.columns[0].title
    argmax = table.cell("DARTS, epoch 7", column).measured
    assert (argmax.mean, argmax.std, argmax.n) == (107, 100, 3)
    selected = table.cell("DARTS+PT, epoch 15", column).measured
    assert (selected.mean, selected.std, selected.n) == (25, 10, 3)
    by_name = {}
    for point in plot.data:
        by_name.setdefault(point["curve"], []).append(point["Epoch of the supernet"])
    assert by_name == {"DARTS": [*range(26)], "DARTS+PT": [5, 10, 15, 20, 25]}
    card = dict(artefact.card.entries())
    assert card["Recipe"] == "common/mini201_perturbation"
    assert card["Seeds"].startswith("the table's seed 0")


def test_figure_8_compares_with_the_same_argmax(home):
    learning = of_mini("darts-pt, by epoch", lambda spec: 1.0)
    fixed = of_mini("fixed_alpha-pt, by epoch", lambda spec: None if spec.seed else 50.0)

    artefact = build("F8", [*learning, *fixed], "mini201")

    (table,) = artefact.tables
    column = table.columns[0].title
    # Cells of two seeds are not held.
    assert table.cell("DARTS+PT (fix alpha), epoch 5", column).measured.n == 1
    assert table.cell("DARTS, epoch 25", column).measured.mean == 125


def test_figure_9_is_by_epochs_of_tuning(home):
    records = of_mini(
        "darts-pt, by tuning", lambda spec: spec.setting["selection"]["tune_epochs"] + spec.seed
    )

    (table,) = build("F9", records, "mini201").tables

    column = table.columns[0].title
    found = {
        n: table.cell(f"DARTS+PT, epochs of tuning: {n}", column).measured for n in (0, 1, 2, 5, 10)
    }
    assert {n: m.mean for n, m in found.items()} == {n: n + 1 for n in found}
    assert {m.std for m in found.values()} == {1}


def test_a_snapshot_that_could_not_be_selected_from_is_a_reason(home):
    records = of_mini("darts-pt, by epoch", lambda spec: 50.0)
    records[4] = skipped(asked_at("darts-pt, by epoch", 4), "no images")

    artefact = build("F4", records, "mini201")

    assert artefact.plots == ()
    assert {cell.reason for row in artefact.tables[0].rows for cell in row.cells} == {"no images"}


def asked_at(label, place):
    return read_labelled("common/mini201_perturbation")[label][place]


# Selection.


def watched(spec, track, n_other=3):
    """Operations are decided in 14 rounds of both cells, then inputs in three."""
    operations = [(group, row) for row in range(14) for group in (0, 1)]
    inputs = [(group, 0) for group in range(2, 8)]
    accuracies = np.array([*track, *([1.0] * n_other)])
    return made(spec, decided=np.array([*operations, *inputs]), accuracy_left=accuracies)


def test_figure_6_ends_where_all_operations_are_decided(home):
    pt = [watched(asked(SMALL_CELLS, "S2", seed), 70 + seed + np.arange(15.0)) for seed in range(3)]
    magnitude = [
        watched(asked(SMALL_CELLS, "S2, by magnitude", seed), 70 - np.arange(15.0) * seed)
        for seed in range(3)
    ]

    artefact = build("F6", [*pt, *magnitude])

    (table,) = artefact.tables
    assert track_of(pt[0]).tolist() == [70.0 + n for n in range(15)]
    assert len(table.rows) == 15
    cell = table.cell("14 edges decided", "accuracy of the supernet DARTS+PT").measured
    assert (cell.mean, cell.std, cell.n) == (85, 1, 3)
    cell = table.cell("14 edges decided", "accuracy of the supernet DARTS+PT-Mag").measured
    assert (cell.mean, cell.std) == (56, 14)
    curves = {point["curve"] for point in artefact.plots[0].data}
    assert curves == {"DARTS+PT", "DARTS+PT-Mag"}


def test_one_rule_of_selection_is_shown_without_the_other(home):
    pt = [watched(asked(SMALL_CELLS, "S2", 0), np.full(15, 50.0))]
    missing = skipped(asked(SMALL_CELLS, "S2, by magnitude", 0), "no images")

    artefact = build("F6", [*pt, missing])

    cell = artefact.tables[0].cell("0 edges decided", "accuracy of the supernet DARTS+PT-Mag")
    assert cell.reason == "no images"
    assert {point["curve"] for point in artefact.plots[0].data} == {"DARTS+PT"}


# Cells.


def found(spec, arch, argmax):
    of_space = space(arch.space)
    return made(
        spec,
        {
            "arch": of_space.format(arch),
            "track": [{"arch": of_space.format(arch)}, {"arch": of_space.format(argmax)}],
            "search_seconds": 100.0,
            "selection_seconds": 30.0,
        },
    )


def cells_of(name):
    rng = np.random.default_rng(1)
    return space(name).sample(rng), space(name).sample(rng)


def drawn_ops(plot, title):
    return [r["edge label"] for r in plot.data if r["cell"] == title and r["edge label"]]


def test_figure_5_draws_normal_cells_by_both_rules_of_both_spaces(home):
    cells = {name: cells_of(f"darts-{name.lower()}") for name in ("S2", "S4")}
    records = [
        found(asked(SMALL_CELLS, name, 0), selected, argmax)
        for name, (selected, argmax) in cells.items()
    ]

    artefact = build("F5", records)

    for plot, (name, (selected, argmax)) in zip(artefact.plots, cells.items(), strict=True):
        for label, arch in (("DARTS", argmax), ("DARTS+PT", selected)):
            normal = [op for op, _ in space(arch.space).genotype(arch).normal]
            assert drawn_ops(plot, f"{name}, {label} on {DATASET}: normal cell") == normal
            cell = artefact.tables[0].cell(
                f"{name}, {label}, seed 0", "convolutions of 8 normal cell"
            )
            assert cell.measured.mean == normal.count("sep_conv_3x3")
        assert len({row["cell"] for row in plot.data}) == 2
    # The largest parameters take no time to select.
    table = artefact.tables[0]
    assert table.cell("S2, DARTS, seed 0", "search (s)").measured.mean == 70
    assert table.cell("S2, DARTS+PT, seed 0", "search (s)").measured.mean == 100


@pytest.mark.parametrize(
    ("name", "label"), [("F10", "darts-pt"), ("F11", "sdarts_rs-pt"), ("F12", "sgas-pt")]
)
def test_cells_of_the_darts_space_are_drawn_and_their_accuracy_is_looked_up(home, name, label):
    arch, other = cells_of("darts-no-none")
    record = found(asked(SMALL_CELLS, label), arch, other)
    title = {"F10": "DARTS+PT", "F11": "SDARTS+PT", "F12": "SGAS+PT"}[name]

    without = build(name, [record])
    item = all_items()[f"darts_pt:{name}"]
    table = darts_table([arch], [93.5])
    held = item.build(table, [record])
    missing = item.build(darts_table([other], [93.5]), [record])

    reason = without.tables[0].cell(f"{title}, seed 0", "accuracy by a table").reason
    assert reason.startswith("no benchmark of the space darts is imported")
    column = "accuracy by small"
    assert held.tables[0].cell(f"{title}, seed 0", column).measured.mean == 93.5
    assert missing.tables[0].cell(f"{title}, seed 0", column).reason
    (plot,) = without.plots
    genotype = NO_NONE.genotype(arch)
    for kind, pairs in (("normal", genotype.normal), ("reduction", genotype.reduce)):
        assert drawn_ops(plot, f"{title} on {DATASET}: {kind} cell") == [op for op, _ in pairs]
    assert any(NO_NONE.format(arch) in note for note in without.footnotes)


def darts_table(archs, values):
    """Cells of the space without `none`, as a table of the DARTS space."""
    of_space = space("darts")
    at = Slice("cifar10", "train", "valid", "accuracy", 100)
    own = [of_space.of_genotype(NO_NONE.genotype(arch)) for arch in archs]
    return Table(
        name="small",
        space=of_space,
        codes=np.array([arch.code for arch in own], dtype=np.uint8),
        indices=np.arange(len(own), dtype=np.int32),
        holdings=[Holding(at, "%", ("mean",), (100,))],
        arrays={at: np.array(values, dtype=np.float32)[None, None]},
        costs={},
        roles={"cifar10": Roles(at, at)},
        sha256="f" * 64,
    )


def test_cells_of_small_spaces_stand_in_for_cifar10_alone(home):
    for number, name in enumerate(("S1", "S2", "S3", "S4"), start=13):
        arch, other = cells_of(f"darts-{name.lower()}")
        record = found(asked(SMALL_CELLS, name, 0), arch, other)

        artefact = build(f"F{number}", [record])

        (plot,) = artefact.plots
        normal = [op for op, _ in space(arch.space).genotype(arch).normal]
        assert drawn_ops(plot, f"DARTS+PT on {DATASET}: normal cell") == normal
        for later in (number + 4, number + 8):
            assert build(f"F{later}", [record]).plots == ()


@pytest.mark.parametrize("name", ["F17", "F24"])
def test_figures_without_images_are_skipped_with_a_reason(
    home, searches, tmp_path, monkeypatch, name
):
    monkeypatch.setenv("NAS_HARNESS_DATA", str(home))

    summary = reproduce([f"darts_pt:{name}"], out=tmp_path)

    assert summary.failed == {}
    assert "1 of 1 runs skipped; the first: " in summary.skipped[f"darts_pt:{name}"]


# Suites.


def test_searches_by_epoch_share_their_supernets_with_the_other_suites():
    for suite, other in (
        ("common/mini201_perturbation", "common/mini201"),
        ("published/darts_pt_trajectories", "published/darts_pt_table4"),
    ):
        of_other = read_labelled(other)["darts-pt"][0].setting
        shared = {name: held for name, held in of_other.items() if name != "selection"}
        for label in ("darts-pt, by epoch", "darts-pt, by tuning"):
            for spec in read_labelled(suite)[label]:
                own = {k: v for k, v in spec.setting.items() if k not in ("selection", "stop")}
                assert own == {**shared, "dataset": own["dataset"]}
    stops = [
        spec.setting["stop"]
        for spec in read_labelled("common/mini201_perturbation")["darts-pt, by epoch"]
    ]
    assert stops == sorted(stops)


def test_five_epochs_of_tuning_are_the_last_snapshot(home, searches):
    bench = load("mini201")
    by_epoch, by_tuning = ({str(spec) for spec in s.specs(bench)} for s in (BY_EPOCH, BY_TUNING))

    assert len(by_epoch) == len(by_tuning) == 15
    assert len(by_epoch & by_tuning) == 3
    assert len(FIXED_BY_EPOCH.specs(bench)) == 15


def test_the_small_suite_has_every_run_of_the_papers_but_of_other_data():
    theirs, ours = read_labelled(CELLS), read_labelled(SMALL_CELLS)

    assert theirs.keys() == ours.keys()
    for label, specs in ours.items():
        first = theirs[label][0]
        assert {(s.method, s.benchmark) for s in specs} == {(first.method, first.benchmark)}
        assert {s.setting.get("selector") for s in specs} == {first.setting.get("selector")}
        assert all(spec.setting["device"] == "cuda" for spec in theirs[label])
        assert all("device" not in spec.setting for spec in specs)
