"""Where the parts of a drawn cell go: pure geometry in inches.

The labels of edges have columns of their own between those of the nodes, so that nothing overlaps.
The steps are those of Gansner et al., "A technique for drawing directed graphs", 1993.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations, pairwise
from statistics import fmean
from typing import NamedTuple

import numpy as np

from reports.cell_graphs import CellGraph, Ends, Node
from reports.figures import STYLE

WIDTH_INCHES = 5.5  # The text width of ICLR and NeurIPS.
NODE_POINTS, LABEL_POINTS = 7.5, 6.5
LINE_INCHES = 1.3 / 72  # Height of a line of text for each of its points.
# ours, in inches: room around things, chosen by eye at the width above.
MARGIN, NODE_PAD, LABEL_PAD, SEPARATION = 0.04, 0.06, 0.02, 0.06
MIN_GAP, MAX_GAP, STUB, PORT, BEND = 0.08, 0.5, 0.07, 0.07, 0.08
LONG_NAME = 12  # ours: longer names of operations take two lines in a node.
N_STARTS, N_SWEEPS = 16, 7  # ours: more sweeps find nothing new, more starts next to nothing.
BEND_WEIGHTS = (1, 3, 20)  # By how many ends are bends. Gansner et al., section 4.2: 1, 2, 8.
WEAK_WEIGHT = 1e-3  # ours: holds what no edge holds, moves nothing else visibly.


class Box(NamedTuple):
    """A rectangle by its centre and size, y downwards."""

    x: float
    y: float
    width: float
    height: float


class Layout(NamedTuple):
    """Where everything is. labels: by the edge's place in the graph.

    routes: per edge its level stretches (left, right, y); smooth curves lead from one to the next.
    """

    width: float
    height: float
    nodes: Mapping[str, Box]
    labels: Mapping[int, Box]
    routes: Sequence[Sequence[tuple[float, float, float]]]


@dataclass(frozen=True)
class _Grid:
    """Items, by number, in columns: first the nodes, then every bend where an edge passes a column.

    columns: of every item: 2 g for nodes of layer g, 2 g + 1 for labels between g and g + 1.
    sizes: of every item. chains: per edge the items that it passes, its ends included. labelled:
    edge -> the bend that holds its label.
    """

    columns: list[int]
    sizes: list[tuple[float, float]]
    chains: list[list[int]]
    labelled: dict[int, int]

    @property
    def links(self) -> list[Ends]:
        """(left, right) of all that follow each other on an edge; they are in adjacent columns."""
        return [link for chain in self.chains for link in pairwise(chain)]


def layout(graph: CellGraph, width: float = WIDTH_INCHES) -> Layout:
    """Places nodes in layers by their longest path from the inputs, with few crossings.

    width: in inches, as all of the layout; that is wider if the texts do not fit.
    """
    grid = _grid(graph)
    order = _ordered(grid)
    ports = _ports(grid, order)
    y = _heights(grid, order, ports)
    spans, total = _spans(grid, y, width)
    x = [sum(spans[column]) / 2 for column in grid.columns]
    boxes = [Box(x[i], y[i], *size) for i, size in enumerate(grid.sizes)]
    routes = []
    for edge, chain in enumerate(grid.chains):
        runs = [(*spans[grid.columns[item]], y[item]) for item in chain]
        source, target = boxes[chain[0]], boxes[chain[-1]]
        start, end = source.x + source.width / 2, target.x - target.width / 2
        runs[0] = (start, runs[0][1], source.y + ports[edge, 0])
        runs[-1] = (runs[-1][0] - STUB, end, target.y + ports[edge, -1])
        routes.append(runs)
    height = max(box.y + box.height / 2 for box in boxes) + MARGIN
    nodes = {node.key: box for node, box in zip(graph.nodes, boxes, strict=False)}
    labels = {edge: boxes[bend] for edge, bend in grid.labelled.items()}
    return Layout(total, height, nodes, labels, routes)


def _grid(graph: CellGraph) -> _Grid:
    """A label stands in the gap before its edge's target, so that no gap gets many."""
    layer = _layers(graph)
    number = {node.key: i for i, node in enumerate(graph.nodes)}
    columns = [2 * layer[node.key] for node in graph.nodes]
    present = sorted({*columns} | {2 * layer[e.target] - 1 for e in graph.edges if e.label})
    sizes = [_text_size(printed(node), NODE_POINTS, NODE_PAD) for node in graph.nodes]
    chains, labelled = [], {}
    for place, edge in enumerate(graph.edges):
        passed = [c for c in present if 2 * layer[edge.source] < c < 2 * layer[edge.target]]
        bends = range(len(columns), len(columns) + len(passed))
        chains.append([number[edge.source], *bends, number[edge.target]])
        columns += passed
        sizes += [(0.0, BEND)] * len(passed)
        if edge.label:
            labelled[place] = bends[-1]
            sizes[-1] = _text_size(edge.label, LABEL_POINTS, LABEL_PAD)
    return _Grid(columns, sizes, chains, labelled)


def _layers(graph: CellGraph) -> dict[str, int]:
    """Per node the length of the longest path to it; inputs come first, the output last."""
    layers: dict[str, int] = {}
    for node in graph.nodes:
        sources = [layers[edge.source] for edge in graph.edges if edge.target == node.key]
        layers[node.key] = 0 if node.role == "input" else max(sources, default=0) + 1
    last = max((layers[node.key] for node in graph.nodes if node.role != "output"), default=0)
    return {n.key: last + 1 if n.role == "output" else layers[n.key] for n in graph.nodes}


def _ordered(grid: _Grid) -> dict[int, list[int]]:
    """Per column its items, in the order with the fewest crossings that sweeps come upon.

    A sweep sorts column after column by the means of the neighbours' places, forwards or
    backwards. The first start is the order of the graph; the others are shuffled, always alike.
    """
    near: tuple[dict[int, list[int]], ...] = (defaultdict(list), defaultdict(list))
    for left, right in grid.links:
        near[0][right].append(left)
        near[1][left].append(right)
    best: dict[int, list[int]] = {}
    fewest = np.inf
    for start in range(N_STARTS):
        items = np.arange(len(grid.columns))
        items = np.random.default_rng(start).permutation(items) if start else items
        order: dict[int, list[int]] = {column: [] for column in sorted(set(grid.columns))}
        for item in items.tolist():
            order[grid.columns[item]].append(item)
        place = {item: i for held in order.values() for i, item in enumerate(held)}
        for sweep in range(N_SWEEPS):
            n_crossings = _n_crossings(grid, place)
            if n_crossings < fewest:
                best, fewest = dict(order), n_crossings
            _sweep(order, place, near[sweep % 2], backwards=bool(sweep % 2))
    return best


def _sweep(
    order: dict[int, list[int]],
    place: dict[int, int],
    near: Mapping[int, Sequence[int]],
    *,
    backwards: bool,
) -> None:
    """Sorts columns in place. near: per item its neighbours on the side that is sorted already."""
    for column in sorted(order, reverse=backwards)[1:]:
        mean = {i: fmean([place[n] for n in near.get(i, [i])]) for i in order[column]}
        order[column] = sorted(order[column], key=mean.__getitem__)
        place.update({item: i for i, item in enumerate(order[column])})


def _n_crossings(grid: _Grid, place: Mapping[int, int]) -> int:
    return sum(
        (place[a] - place[c]) * (place[b] - place[d]) < 0
        for (a, b), (c, d) in combinations(grid.links, 2)
        if grid.columns[a] == grid.columns[c]
    )


def _ports(grid: _Grid, order: Mapping[int, Sequence[int]]) -> dict[Ends, float]:
    """(edge, 0 for its start or -1 for its end) -> how far from the node's middle it meets it."""
    place = {item: i for items in order.values() for i, item in enumerate(items)}
    sides: dict[Ends, list[tuple[int, int]]] = defaultdict(list)
    for edge, chain in enumerate(grid.chains):
        sides[chain[0], 0].append((place[chain[1]], edge))
        sides[chain[-1], -1].append((place[chain[-2]], edge))
    ports = {}
    for (node, end), held in sides.items():
        step = min(PORT, 0.8 * grid.sizes[node][1] / len(held))
        for i, (_, edge) in enumerate(sorted(held)):
            ports[edge, end] = step * (i - (len(held) - 1) / 2)
    return ports


def _heights(
    grid: _Grid, order: Mapping[int, Sequence[int]], ports: Mapping[Ends, float]
) -> list[float]:
    """Y of every item: edges as level, by least squares, as the order and the room allow."""
    from scipy.optimize import lsq_linear

    # Unknown are the y of the first item of every column and, for the others, the room beyond
    # what they need above them; so the constraints are bounds.
    n = len(grid.columns)
    sums, needed, least = np.zeros((n, n)), np.zeros(n), np.full(n, -np.inf)
    for items in order.values():
        for above, item in pairwise(items):
            room = (grid.sizes[above][1] + grid.sizes[item][1]) / 2 + SEPARATION
            needed[item], least[item] = needed[above] + room, 0.0
        for i, item in enumerate(items):
            sums[item, items[: i + 1]] = 1.0
    rows, wanted = [*(WEAK_WEIGHT * sums)], [*(-WEAK_WEIGHT * needed)]
    for edge, chain in enumerate(grid.chains):
        at = [ports[edge, 0], *[0.0] * (len(chain) - 2), ports[edge, -1]]
        for i, (left, right) in enumerate(pairwise(chain)):
            weight = BEND_WEIGHTS[(i > 0) + (i < len(chain) - 2)]
            climb = at[i] - at[i + 1] + needed[left] - needed[right]
            rows.append(weight * (sums[right] - sums[left]))
            wanted.append(weight * climb)
    bounds = (least, np.inf)
    found = lsq_linear(np.array(rows), np.array(wanted), bounds, method="bvls", max_iter=20 * n)
    y = sums @ found.x + needed
    return (y - min(y - np.array(grid.sizes)[:, 1] / 2) + MARGIN).tolist()


def _spans(
    grid: _Grid, y: Sequence[float], width: float
) -> tuple[dict[int, tuple[float, float]], float]:
    """(left, right) of every column, and the width of all; the steepest gaps get most room."""
    widths = {column: 0.0 for column in sorted(set(grid.columns))}
    climbs = dict.fromkeys(widths, 0.0)
    for column, (own, _) in zip(grid.columns, grid.sizes, strict=True):
        widths[column] = max(widths[column], own)
    for left, right in grid.links:
        column = grid.columns[right]
        climbs[column] = max(climbs[column], abs(y[left] - y[right]))
    # Arrows need room before nodes, in even columns, not before labels.
    gaps = {column: MIN_GAP + (0.0 if column % 2 else STUB) for column in widths}
    gaps[min(gaps)] = 0.0
    fixed = 2 * MARGIN + sum(widths.values()) + sum(gaps.values())
    spare = max(width - fixed, 0.0) / (sum(climbs.values()) or 1.0)
    gaps = {column: gap + min(climbs[column] * spare, MAX_GAP) for column, gap in gaps.items()}
    used = 2 * MARGIN + sum(widths.values()) + sum(gaps.values())
    at = (max(width, fixed) - used) / 2 + MARGIN
    spans = {}
    for column, own in widths.items():
        spans[column] = (at + gaps[column], at + gaps[column] + own)
        at = spans[column][1]
    return spans, max(width, fixed)


@cache
def _text_size(text: str, points: float, pad: float) -> tuple[float, float]:
    """Width and height in inches with room around it; at least as wide as high."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    font = FontProperties(family=STYLE["font.family"])
    lines = text.split("\n")
    wide = max(TextPath((0, 0), line, size=points, prop=font).get_extents().width for line in lines)
    height = LINE_INCHES * points * len(lines) + 2 * pad
    return max(float(wide) / 72 + 2 * pad, height), height


def printed(node: Node) -> str:
    """What is written in a node: indices as such, long names of operations in two lines."""
    if "_{" in node.label:
        return f"${node.label}$"
    return node.label.replace("-", "-\n", 1) if len(node.label) > LONG_NAME else node.label
