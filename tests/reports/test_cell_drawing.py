import hashlib
import io
import os
import subprocess
import sys
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from harness.arch import Arch
from harness.errors import InvalidArch, InvalidSpec, UnknownName
from harness.spaces import space, spaces
from reports import cell_drawing, cell_graphs, figures
from reports.cell_drawing import draw
from reports.cell_graphs import CellGraph, Edge, Node, graphs
from reports.layered_layout import layout

# As in genotypes.py of quark0/darts; figures 4 and 5 of Liu et al., ICLR 2019, show it.
DARTS_V2 = (
    "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0),"
    " ('sep_conv_3x3', 1), ('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0),"
    " ('dil_conv_3x3', 2)], normal_concat=range(2, 6), reduce=[('max_pool_3x3', 0),"
    " ('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 1), ('max_pool_3x3', 0),"
    " ('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)], reduce_concat=range(2, 6))"
)
JOINS = {("0", "c_{k}", ""), ("1", "c_{k}", ""), ("2", "c_{k}", ""), ("3", "c_{k}", "")}
CONV3, CONV1, POOL = "conv3x3-bn-relu", "conv1x1-bn-relu", "maxpool3x3"
# Vertex 2 leads nowhere, vertex 3 comes from nowhere, 4 and 5 have no edges.
LOOSE = f"0>1,0>2,1>2,1>6,3>6|{CONV3},{POOL},{CONV1},{CONV3},{CONV3}"
DRAWABLE = [name for name in spaces() if name != "nb201-size"]


def edges_of(graph):
    return {(edge.source, edge.target, edge.label) for edge in graph.edges}


def nodes_of(graph):
    return [(node.key, node.label, node.role) for node in graph.nodes]


def random_graphs(name, n, seed=0):
    rng = np.random.default_rng(seed)
    return [g for _ in range(n) for g in graphs(space(name).sample(rng), pruned=True)]


# ---- graphs ----


def test_cells_of_darts_v2():
    normal, reduction = graphs(space("darts").parse(DARTS_V2))

    assert (normal.title, reduction.title) == ("Normal cell", "Reduction cell")
    assert edges_of(normal) == JOINS | {
        ("c_{k-2}", "0", "sep_conv_3x3"),
        ("c_{k-1}", "0", "sep_conv_3x3"),
        ("c_{k-2}", "1", "sep_conv_3x3"),
        ("c_{k-1}", "1", "sep_conv_3x3"),
        ("c_{k-1}", "2", "sep_conv_3x3"),
        ("c_{k-2}", "2", "skip_connect"),
        ("c_{k-2}", "3", "skip_connect"),
        ("0", "3", "dil_conv_3x3"),
    }
    assert edges_of(reduction) == JOINS | {
        ("c_{k-2}", "0", "max_pool_3x3"),
        ("c_{k-1}", "0", "max_pool_3x3"),
        ("0", "1", "skip_connect"),
        ("c_{k-1}", "1", "max_pool_3x3"),
        ("c_{k-2}", "2", "max_pool_3x3"),
        ("0", "2", "skip_connect"),
        ("0", "3", "skip_connect"),
        ("c_{k-1}", "3", "max_pool_3x3"),
    }


def test_nodes_of_a_darts_cell_are_named_as_in_the_papers():
    for graph in graphs(space("darts").parse(DARTS_V2)):
        roles = ["input", "input", "inner", "inner", "inner", "inner", "output"]
        names = ["c_{k-2}", "c_{k-1}", "0", "1", "2", "3", "c_{k}"]

        assert nodes_of(graph) == list(zip(names, names, roles, strict=True))
        assert len([edge for edge in graph.edges if edge.label]) == 8


def test_topology_cell_without_its_nones():
    text = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|none~1|nor_conv_1x1~2|"
    (graph,) = graphs(space("nb201").parse(text))

    assert nodes_of(graph) == [
        ("in", "in", "input"),
        ("1", "1", "inner"),
        ("2", "2", "inner"),
        ("out", "out", "output"),
    ]
    assert edges_of(graph) == {
        ("in", "1", "nor_conv_3x3"),
        ("1", "2", "skip_connect"),
        ("in", "out", "avg_pool_3x3"),
        ("2", "out", "nor_conv_1x1"),
    }


def test_loose_ends_of_an_nb101_cell_are_left_out():
    (graph,) = graphs(space("nb101").parse(LOOSE))

    assert nodes_of(graph) == [
        ("0", "input", "input"),
        ("1", CONV3, "inner"),
        ("6", "output", "output"),
    ]
    assert edges_of(graph) == {("0", "1", ""), ("1", "6", "")}


def test_loose_ends_of_an_nb101_cell_are_greyed_if_asked_for():
    (graph,) = graphs(space("nb101").parse(LOOSE), pruned=True)
    labels = ["input", CONV3, POOL, CONV1, CONV3, CONV3, "output"]
    roles = ["input", "inner", "pruned", "pruned", "pruned", "pruned", "output"]

    assert nodes_of(graph) == list(zip("0123456", labels, roles, strict=True))
    assert {(s, t) for s, t, _ in edges_of(graph)} == {
        ("0", "1"),
        ("0", "2"),
        ("1", "2"),
        ("1", "6"),
        ("3", "6"),
    }


def test_oneshot_cell_with_two_loose_blocks():
    text = f"{CONV3}<0|{POOL}<0,1|{CONV1}<0,1|{POOL}<0,2|output<1,2"
    arch = space("oneshot1-1").parse(text)
    (kept,) = graphs(arch)
    (whole,) = graphs(arch, pruned=True)

    assert nodes_of(kept) == [
        ("0", "input", "input"),
        ("1", CONV3, "inner"),
        ("2", POOL, "inner"),
        ("5", "output", "output"),
    ]
    assert edges_of(kept) == {
        ("0", "1", ""),
        ("0", "2", ""),
        ("1", "2", ""),
        ("1", "5", ""),
        ("2", "5", ""),
    }
    assert [n.label for n in whole.nodes if n.role == "pruned"] == [CONV1, POOL]
    assert edges_of(whole) - edges_of(kept) == {
        ("0", "3", ""),
        ("1", "3", ""),
        ("0", "4", ""),
        ("2", "4", ""),
    }


def test_pruning_is_that_of_the_space():
    nb101 = space("nb101")
    rng = np.random.default_rng(0)
    for _ in range(100):
        arch = nb101.sample(rng)
        (graph,) = graphs(arch)
        matrix, ops = nb101.pruned(arch)

        assert [node.label for node in graph.nodes] == list(ops)
        assert len(graph.edges) == matrix.sum()


@pytest.mark.parametrize("name", DRAWABLE)
def test_every_space_of_cells_can_be_drawn(name):
    cells = graphs(space(name).sample(np.random.default_rng(1)))
    plot = draw(cells, caption="A.")

    assert len(plot.figure.axes) == len(cells) == (2 if name.startswith("darts") else 1)


# ---- errors ----


def test_size_space_has_no_cell_to_draw():
    with pytest.raises(InvalidSpec, match="no cell to draw.*8:16:24:32:64"):
        graphs(space("nb201-size").parse("8:16:24:32:64"))


def test_space_that_nobody_draws(monkeypatch):
    monkeypatch.setattr(cell_graphs, "GRAPHS", {})

    with pytest.raises(InvalidSpec, match="No drawing is known for cells of nb201"):
        graphs(space("nb201").sample(np.random.default_rng(0)))


@pytest.mark.parametrize(
    ("arch", "error"),
    [(Arch("nb2001", (0,) * 6), UnknownName), (Arch("nb201", (0,) * 5), InvalidArch)],
)
def test_what_is_no_arch(arch, error):
    with pytest.raises(error):
        graphs(arch)


def test_nothing_is_left_of_a_cell_without_a_path():
    arch = space("nb101").parse(f"0>1,2>6|{','.join([CONV3] * 5)}")

    with pytest.raises(InvalidArch, match="no path leads to the output.*pruned=True"):
        graphs(arch)

    (graph,) = graphs(arch, pruned=True)
    assert {node.role for node in graph.nodes} == {"pruned"}
    assert figures.png(draw([graph], caption="A.")).startswith(b"\x89PNG")


A, B = Node("a", "a", "input"), Node("b", "b", "output")


@pytest.mark.parametrize(
    ("nodes", "edges", "message"),
    [
        ((A, A), (), "two nodes have one key"),
        ((A, B), (Edge("b", "a"),), "not lead to a later node"),
        ((A, B), (Edge("a", "a"),), "not lead to a later node"),
        ((A, B), (Edge("a", "c"),), "not lead to a later node"),
        ((A, B), (Edge("c", "b"),), "not lead to a later node"),
    ],
)
def test_what_is_no_graph(nodes, edges, message):
    with pytest.raises(ValueError, match=message):
        CellGraph("Cell", nodes, edges)


def test_no_cells_are_no_figure():
    with pytest.raises(ValueError, match="no cells"):
        draw([], caption="A.")


# ---- layout ----


def rectangles(figure, gid):
    renderer = figure.canvas.get_renderer()
    return [t.get_window_extent(renderer) for t in figure.axes[0].texts if t.get_gid() == gid]


def boxes_of(figure):
    return [
        patch.get_window_extent()
        for patch in figure.axes[0].patches
        if isinstance(patch, FancyBboxPatch)
    ]


def points_of(figure):
    """Per edge (n, 2) points on its line, without those next to its ends."""
    axis = figure.axes[0]
    arrows = [patch for patch in axis.patches if isinstance(patch, FancyArrowPatch)]
    paths = [axis.transData.transform_path(arrow._path_original) for arrow in arrows]
    at = np.linspace(0, 1, 50)
    lines = [np.concatenate([piece(at) for piece, _ in path.iter_bezier()]) for path in paths]
    return [line[(line[:, 0] > line[0, 0] + 1) & (line[:, 0] < line[-1, 0] - 1)] for line in lines]


def overlap(a, b):
    return a.x0 < b.x1 and b.x0 < a.x1 and a.y0 < b.y1 and b.y0 < a.y1


def hits(points, box):
    x, y = points.T
    return ((box.x0 < x) & (x < box.x1) & (box.y0 < y) & (y < box.y1)).any()


@pytest.mark.parametrize(
    ("name", "n"),
    [
        ("darts", 20),
        pytest.param("darts", 60, marks=pytest.mark.slow),
        ("nb201", 20),
        ("nb101", 20),
        ("oneshot1-3", 20),
    ],
)
def test_nothing_overlaps_as_it_is_rendered(name, n):
    for graph in random_graphs(name, n):
        figure = draw([graph], caption="A.").figure
        nodes, labels = boxes_of(figure), rectangles(figure, "label")
        texts = rectangles(figure, "node")

        assert len(nodes) == len(texts) == len(graph.nodes)
        assert len(labels) == sum(bool(edge.label) for edge in graph.edges)
        assert not any(overlap(a, b) for a, b in combinations(nodes, 2))
        assert not any(overlap(label, node) for label in labels for node in nodes)
        assert not any(overlap(a, b) for a, b in combinations(labels, 2))
        for node, text in zip(nodes, texts, strict=True):
            assert node.x0 < text.x0 < text.x1 < node.x1
            assert node.y0 < text.y0 < text.y1 < node.y1
        for inside in (*nodes, *labels):
            assert 0 < inside.x0 < inside.x1 < figure.bbox.width
            assert 0 < inside.y0 < inside.y1 < figure.bbox.height


@pytest.mark.parametrize("name", ["darts", "nb201", "nb101", "oneshot1-3"])
def test_edges_run_through_no_node_and_no_label_but_their_own(name):
    for graph in random_graphs(name, 20):
        figure = draw([graph], caption="A.").figure
        nodes, labels = boxes_of(figure), rectangles(figure, "label")
        labelled = [edge for edge in graph.edges if edge.label]
        for edge, points in zip(graph.edges, points_of(figure), strict=True):
            assert not any(hits(points, node) for node in nodes)
            assert [hits(points, label) for label in labels] == [own == edge for own in labelled]


@pytest.mark.parametrize("name", DRAWABLE)
def test_edges_lead_from_left_to_right(name):
    for graph in random_graphs(name, 5):
        nodes = layout(graph).nodes
        for edge in graph.edges:
            source, target = nodes[edge.source], nodes[edge.target]

            assert source.x + source.width / 2 < target.x - target.width / 2


def test_inputs_are_leftmost_and_the_output_rightmost():
    for graph in random_graphs("darts", 10):
        x = {key: box.x for key, box in layout(graph).nodes.items()}
        inner = [x[str(i)] for i in range(4)]

        assert x["c_{k-2}"] == pytest.approx(x["c_{k-1}"])
        assert x["c_{k-1}"] < min(inner)
        assert max(inner) < x["c_{k}"]


def test_a_graph_that_can_be_drawn_without_crossings_is():
    # The edges a-d and b-c cross as long as c stands above d.
    names = "abcde"
    nodes = tuple(Node(n, n, "input" if n in "ab" else "inner") for n in names[:4])
    graph = CellGraph("Cell", (*nodes, Node("e", "e", "output")), (Edge("a", "d"), Edge("b", "c")))
    y = {key: box.y for key, box in layout(graph).nodes.items()}

    assert (y["a"] - y["b"]) * (y["d"] - y["c"]) > 0


def test_all_figures_have_the_width_of_a_column_and_so_one_size_of_text():
    for name in ("darts", "nb201", "nb101", "oneshot1-1", "oneshot1-3"):
        for graph in random_graphs(name, 20, seed=2):
            assert layout(graph).width == 5.5


@pytest.mark.parametrize("op", ["max_pool_3x3", "avg_pool_3x3", "sep_conv_5x5", "dil_conv_5x5"])
def test_the_deepest_cell_of_darts_fits_too(op):
    sources = (0, 1, 0, 2, 0, 3, 0, 4)
    cell = str([(op, source) for source in sources])
    text = f"Genotype(normal={cell}, normal_concat=range(2, 6), reduce={cell}, reduce_concat="
    graph = graphs(space("darts").parse(f"{text}range(2, 6))"))[0]

    assert layout(graph).width == 5.5


def test_a_graph_that_needs_more_width_gets_it():
    graph = CellGraph("Cell", (A, B), (Edge("a", "b", "x" * 100),))
    figure = draw([graph], caption="A.").figure

    assert layout(graph).width == figure.get_figwidth() > 5.5
    assert not any(overlap(rectangles(figure, "label")[0], node) for node in boxes_of(figure))


# ---- figures ----


def test_roles_differ_in_a_grey_print_and_their_text_is_legible():
    def luminance(colour):  # Relative luminance of WCAG 2.
        srgb = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
        linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    looks = cell_drawing.LOOKS
    for a, b in combinations(looks.values(), 2):
        assert abs(luminance(a.fill) - luminance(b.fill)) > 0.05
    for role in ("input", "inner", "output"):
        contrast = (luminance(looks[role].fill) + 0.05) / (luminance(looks[role].line) + 0.05)
        assert contrast > 7  # Level AAA.


def test_data_are_the_edges_and_the_nodes_without_edges():
    (graph,) = graphs(space("nb101").parse(LOOSE), pruned=True)
    text = figures.data_csv(draw([graph], caption="A."))
    frame = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)

    assert frame.columns.tolist() == [
        "cell",
        "source",
        "source label",
        "target",
        "target label",
        "edge label",
    ]
    assert frame.iloc[0].tolist() == ["NAS-Bench-101 cell", "0", "input", "1", CONV3, ""]
    assert frame["source"].tolist() == ["0", "0", "1", "1", "3", "4", "5"]
    assert frame["target"].tolist() == ["1", "2", "2", "6", "6", "", ""]


def test_a_cell_without_edges_still_has_data():
    (graph,) = graphs(Arch("nb201", (0,) * 6))

    assert len(figures.data_csv(draw([graph], caption="A.")).splitlines()) == 1 + 4


HASH = (
    "import hashlib, sys; from harness.spaces import space; from reports import figures;"
    "from reports.cell_drawing import draw; from reports.cell_graphs import graphs;"
    "plot = draw(graphs(space('darts').parse(sys.argv[1])), caption='A.');"
    "print(hashlib.sha256(figures.png(plot)).hexdigest())"
)


def test_same_arch_gives_the_same_bytes_in_any_process():
    cells = graphs(space("darts").parse(DARTS_V2))
    first, second = (draw(cells, caption="A.") for _ in range(2))
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    command = [sys.executable, "-c", HASH, DARTS_V2]
    other = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)

    assert figures.png(first) == figures.png(second)
    assert figures.pdf(first) == figures.pdf(second)
    assert hashlib.sha256(figures.png(first)).hexdigest() == other.stdout.strip()


def test_graphs_need_neither_matplotlib_nor_scipy():
    code = (
        "import sys; from harness.arch import Arch; from reports.cell_graphs import graphs;"
        "graphs(Arch('nb201', (1,) * 6));"
        "print([m for m in ('matplotlib', 'scipy', 'pandas', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
