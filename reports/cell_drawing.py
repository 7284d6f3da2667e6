"""Drawings of cells as the DARTS family of papers prints them: inputs left, output right."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from reports.cell_graphs import CellGraph, Edge, Role
from reports.figures import DPI, INK, STYLE, Plot
from reports.layered_layout import LABEL_POINTS, NODE_POINTS, Box, Layout, layout, printed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.path import Path

TITLE_POINTS = 9.0
TITLE_INCHES = 0.22


class Look(NamedTuple):
    """How a role is drawn; roles differ in shape and line too, so that a grey print can be read."""

    fill: str
    line: str = INK
    width: float = 0.8
    dashes: Any = "-"
    corner: float = 0.0


GREY = "#8C8C8C"
# The papers' green, light blue and yellow; their lightness differs.
LOOKS: dict[Role, Look] = {
    "input": Look("#8FCFA8"),
    "inner": Look("#C3E0F4", corner=0.09),
    "output": Look("#FFF3B0", width=1.6),
    "pruned": Look("#FFFFFF", GREY, dashes=(0, (3, 2)), corner=0.09),
}
CENTRED: dict[str, Any] = {"ha": "center", "va": "center"}
ARROW: dict[str, Any] = {
    "arrowstyle": "-|>,head_length=4,head_width=1.7",
    "mutation_scale": 1,
    "linewidth": 0.8,
    "shrinkA": 0,
    "shrinkB": 0,
}


def draw(cells: Sequence[CellGraph], *, caption: str) -> Plot:
    """The cells below one another, each under its title, for `reports.figures` to save.

    The figure is `WIDTH_INCHES` wide, more only if a cell's texts need it, so texts are of one
    size in all figures. The data are one line an edge, and one for every node without edges.
    Raises: ValueError if there are no cells.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    if not cells:
        raise ValueError("there are no cells to draw")
    width = max(layout(cell).width for cell in cells)
    places = [layout(cell, width) for cell in cells]
    height = sum(place.height + TITLE_INCHES for place in places)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, height), dpi=DPI)
        FigureCanvasAgg(figure)
        bottom = height
        for cell, place in zip(cells, places, strict=True):
            own = place.height + TITLE_INCHES
            bottom -= own
            axis = figure.add_axes((0, bottom / height, 1, own / height))
            axis.set(xlim=(0, width), ylim=(place.height, -TITLE_INCHES))
            axis.set_axis_off()
            axis.text(width / 2, -TITLE_INCHES / 2, cell.title, size=TITLE_POINTS, **CENTRED)
            _draw_cell(axis, cell, place)
    return Plot(figure, caption, tuple(row for cell in cells for row in _data(cell)))


def _draw_cell(axis: Axes, cell: CellGraph, place: Layout) -> None:
    from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

    look_of = {node.key: LOOKS[node.role] for node in cell.nodes}
    for i, edge in enumerate(cell.edges):
        ends = (look_of[edge.source], look_of[edge.target])
        look = LOOKS["pruned" if LOOKS["pruned"] in ends else "inner"]
        style = {"color": look.line, "linestyle": look.dashes, **ARROW}
        axis.add_patch(FancyArrowPatch(path=_curve(place.routes[i]), **style, zorder=1))
        if edge.label:
            _write(axis, place.labels[i], edge.label, LABEL_POINTS, "label", look.line)
    for node in cell.nodes:
        look, box = look_of[node.key], place.nodes[node.key]
        style = {"facecolor": look.fill, "edgecolor": look.line, "linestyle": look.dashes}
        corner = (box.x - box.width / 2, box.y - box.height / 2)
        shape = f"round,pad=0,rounding_size={look.corner}"
        axis.add_patch(
            FancyBboxPatch(
                corner, box.width, box.height, shape, linewidth=look.width, **style, zorder=3
            )
        )
        _write(axis, box, printed(node), NODE_POINTS, "node", look.line)


def _write(axis: Axes, box: Box, text: str, points: float, gid: str, color: str) -> None:
    """Text in the middle of its box; that of an edge interrupts the edge's line."""
    backing = {"facecolor": "white", "linewidth": 0, "pad": 1.0} if gid == "label" else None
    style = {"size": points, "color": color, "gid": gid, "linespacing": 1.0, **CENTRED}
    axis.text(box.x, box.y, text, bbox=backing, **style, zorder=2 if backing else 4)


def _curve(route: Sequence[tuple[float, float, float]]) -> Path:
    from matplotlib.path import Path

    left, right, y = route[0]
    points, codes = [(left, y), (right, y)], [Path.MOVETO, Path.LINETO]
    for (_, start, above), (left, right, y) in pairwise(route):
        middle = (start + left) / 2
        points += [(middle, above), (middle, y), (left, y), (right, y)]
        codes += [*[Path.CURVE4] * 3, Path.LINETO]
    return Path(points, codes)


def _data(cell: CellGraph) -> Iterator[dict[str, object]]:
    labels = {node.key: node.label for node in cell.nodes}
    ends = {key for edge in cell.edges for key in (edge.source, edge.target)}
    alone = [Edge(key, "") for key in labels if key not in ends]
    for edge in (*cell.edges, *alone):
        yield {
            "cell": cell.title,
            "source": edge.source,
            "source label": labels[edge.source],
            "target": edge.target,
            "target label": labels.get(edge.target, ""),
            "edge label": edge.label,
        }
