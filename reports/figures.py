"""Figures for print: curves with bands, distributions, trajectories. matplotlib without pyplot."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = NDArray[np.floating]

DPI = 200
WIDTH_INCHES = 7.0  # The text width of a two-column page.
HEIGHT_INCHES = 2.7
PANELS_A_ROW = 4  # More are too narrow for their labels.
LEGEND_ROW_INCHES = 0.22
EFFECT_INCHES = 0.3
NAMES_INCHES = 0.6  # Of names that are written upwards.
BAND_ALPHA = 0.18
START_PART = 0.05  # ours: the first part of a trajectory, which may leave the axes.
# Okabe and Ito's colours (Color Universal Design, 2008), without yellow, which is lost on white.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
# Every curve differs by its dashes too, so that a grey print can be read.
DASHES: tuple[Any, ...] = (
    "-",
    (0, (5, 1.5)),
    (0, (1, 1.2)),
    (0, (5, 1.5, 1, 1.5)),
    (0, (3, 1, 1, 1, 1, 1)),
    (0, (8, 2)),
)
INK = "#222222"
STYLE: dict[Any, Any] = {
    "font.size": 8.5,
    "font.family": "DejaVu Sans",
    "axes.titlesize": 9,
    "axes.labelsize": 8.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.linewidth": 0.7,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E2E2E2",
    "grid.linewidth": 0.5,
    "xtick.color": INK,
    "ytick.color": INK,
    "lines.linewidth": 1.5,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "legend.handlelength": 2.8,
    "pdf.fonttype": 42,  # Text stays text.
}


@dataclass(frozen=True)
class Curve:
    """A named mean with its standard deviation: x, mean and std are (n,); std may be None.

    marked: whether each of the points gets a dot. n_runs: (n,), what each of them is over, where
    that is told.
    """

    name: str
    x: Floats
    mean: Floats
    std: Floats | None = None
    marked: bool = False
    n_runs: NDArray[np.integer] | None = None


@dataclass(frozen=True)
class CurvePanel:
    """Curves that share axes; the same name has the same colour in every panel.

    quantity: what they are of, where panels differ in that; the y axis then says so. lowest: the
    least that it can be, where bands would go below.
    """

    title: str
    curves: tuple[Curve, ...]
    quantity: str = ""
    lowest: float = -math.inf


@dataclass(frozen=True)
class Distribution:
    """Values of one statistic over draws, its value on everything, and what a paper prints."""

    title: str
    values: Floats
    whole: float
    published: float


@dataclass(frozen=True)
class Effects:
    """Named differences with their intervals, in one unit: (n,) each."""

    title: str
    names: tuple[str, ...]
    differences: Floats
    lows: Floats
    highs: Floats


@dataclass(frozen=True)
class Readings:
    """Two readings of each of some named things: heights as bars and levels as dots, (n,) each."""

    title: str
    names: tuple[str, ...]
    heights: Floats
    levels: Floats


@dataclass(frozen=True)
class Plot:
    """A finished figure, what it shows in one sentence, and the numbers behind it."""

    figure: Figure
    caption: str
    data: tuple[Mapping[str, object], ...] = ()


def rank_correlation(panels: Sequence[CurvePanel], *, caption: str, n_draws: int) -> Plot:
    """Spearman's rank correlation with the truth against the epoch, mean and one deviation."""
    label = f"Spearman with final test accuracy\n(mean ± 1 std, {n_draws} draws)"
    figure = _curves(panels, x_label="Epoch", y_label=label)
    return Plot(figure, caption, tuple(_curve_data(panels, "epoch", "spearman")))


def anytime(panels: Sequence[CurvePanel], *, caption: str, x_label: str, n_runs: int) -> Plot:
    """Test accuracy of the best cell seen so far against what was spent."""
    label = f"Test accuracy of incumbent (%)\n(mean ± 1 std, {n_runs} runs)"
    figure = _curves(panels, x_label=x_label, y_label=label, y_range=_settled_range)
    return Plot(figure, caption, tuple(_curve_data(panels, x_label, "test accuracy (%)")))


def reached(
    panels: Sequence[CurvePanel], *, caption: str, x_label: str, log_x: bool, n_runs: str
) -> Plot:
    """Test accuracy of the cells that searches end with, against a setting of the search.

    n_runs: how many runs a point is over, in words.
    """
    label = f"Test accuracy (%)\n(mean ± 1 std, {n_runs})"
    figure = _curves(panels, x_label=x_label, y_label=label, y_range=_whole_range, log_x=log_x)
    return Plot(figure, caption, tuple(_curve_data(panels, x_label, "test accuracy (%)")))


def against(panels: Sequence[CurvePanel], *, caption: str, x_label: str, y_label: str) -> Plot:
    """Any quantity against another; every panel has limits of its own."""
    figure = _curves(panels, x_label=x_label, y_label=y_label, y_range=_whole_range)
    return Plot(figure, caption, tuple(_curve_data(panels, x_label, y_label)))


def by_epoch(panels: Sequence[CurvePanel], *, caption: str, panels_a_row: int) -> Plot:
    """Quantities of searches against the epoch: means and one deviation; each panel has its own."""
    figure = _curves(
        panels,
        x_label="Epoch",
        y_label="",
        y_range=_whole_range,
        whole_x=True,
        panels_a_row=panels_a_row,
    )
    data = [
        {
            "panel": panel.title,
            "quantity": panel.quantity.replace("\n", " "),
            "curve": curve.name,
            "epoch": int(curve.x[i]),
            "mean": float(curve.mean[i]),
            "std": None if curve.std is None or np.isnan(curve.std[i]) else float(curve.std[i]),
            "n": None if curve.n_runs is None else int(curve.n_runs[i]),
        }
        for panel in panels
        for curve in panel.curves
        for i in range(len(curve.x))
    ]
    return Plot(figure, caption, tuple(data))


def distributions(panels: Sequence[Distribution], *, caption: str, x_label: str) -> Plot:
    """Histograms over draws, with the value on the whole space and the published one marked."""
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        figure, axes = _new_figure(len(panels), legend_rows=1)
        for axis, panel in zip(axes, panels, strict=True):
            _distribution(axis, panel)
            axis.set_xlabel(x_label)
        _label_rows(axes, "Draws (%)")
        _legend(figure, axes, n_columns=4)
        _finish(figure)
    data = [
        {"panel": panel.title, "draw": draw, "value": float(value)}
        for panel in panels
        for draw, value in enumerate(panel.values)
    ]
    return Plot(figure, caption, tuple(data))


def effects(panels: Sequence[Effects], *, caption: str) -> Plot:
    """Differences and their intervals, one a line, beside a line at 0."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    sizes = [len(panel.names) + 1.2 for panel in panels]
    with mpl.rc_context(STYLE):
        figure = Figure(
            figsize=(WIDTH_INCHES, EFFECT_INCHES * sum(sizes)), dpi=DPI, layout="constrained"
        )
        FigureCanvasAgg(figure)
        axes = figure.subplots(len(panels), height_ratios=sizes, squeeze=False).flat
        for axis, panel in zip(axes, panels, strict=True):
            _effects(axis, panel)
        _finish(figure)
    data = [
        {
            "panel": panel.title,
            "claim": name,
            "difference": float(panel.differences[i]),
            "low": float(panel.lows[i]),
            "high": float(panel.highs[i]),
        }
        for panel in panels
        for i, name in enumerate(panel.names)
    ]
    return Plot(figure, caption, tuple(data))


def _effects(axis: Axes, panel: Effects) -> None:
    places = np.arange(len(panel.names))[::-1]
    axis.axvline(0, color=INK, linewidth=0.8)
    axis.hlines(places, panel.lows, panel.highs, color=PALETTE[0], linewidth=2)
    axis.plot(panel.differences, places, "o", color=PALETTE[0], markersize=4.5)
    axis.set_yticks(places, panel.names)
    axis.set_ylim(-0.6, len(places) - 0.4)
    axis.grid(axis="y", visible=False)
    axis.set_xlabel(panel.title)


def two_readings(
    panels: Sequence[Readings], *, caption: str, heights_label: str, levels_label: str
) -> Plot:
    """Bars by the left axis, which starts at 0, and dots by the right one, which need not."""
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        figure, axes = _new_figure(
            len(panels), legend_rows=1, share_y=True, row_inches=HEIGHT_INCHES + NAMES_INCHES
        )
        levels = [value for panel in panels for value in panel.levels]
        margin = 0.12 * float(np.nanmax(levels) - np.nanmin(levels)) or 1.0
        handles = []
        for axis, panel in zip(axes, panels, strict=True):
            right = axis.twinx()
            handles = _two_readings(axis, right, panel)
            right.set_ylim(float(np.nanmin(levels)) - margin, float(np.nanmax(levels)) + margin)
            spec = axis.get_subplotspec()
            is_last = axis is axes[-1] or (spec is not None and spec.is_last_col())
            if is_last:
                right.set_ylabel(levels_label)
            else:
                right.set_yticklabels([])
        _label_rows(axes, heights_label)
        figure.legend(handles, [heights_label, levels_label], loc="outside lower center", ncols=2)
        _finish(figure)
    data = [
        {
            "panel": panel.title,
            "name": name,
            heights_label: float(panel.heights[i]),
            levels_label: float(panel.levels[i]),
        }
        for panel in panels
        for i, name in enumerate(panel.names)
    ]
    return Plot(figure, caption, tuple(data))


def _two_readings(axis: Axes, right: Axes, panel: Readings) -> list[Any]:
    """Bars and dots, for the legend."""
    places = np.arange(len(panel.names))
    bars = axis.bar(places, panel.heights, width=0.7, color="#9DB7CC")
    (dots,) = right.plot(places, panel.levels, "D", color=PALETTE[1], markersize=4.5)
    axis.set_xticks(places, panel.names, rotation=90)
    axis.set_title(panel.title)
    axis.grid(axis="x", visible=False)
    right.grid(visible=False)
    right.spines["right"].set_visible(True)
    return [bars, dots]


def _distribution(axis: Axes, panel: Distribution) -> None:
    from harness.stats import percentile_interval

    weights = np.full(len(panel.values), 100 / len(panel.values))
    axis.hist(panel.values, bins=30, weights=weights, color="#9DB7CC", label="Draws")
    low, high = percentile_interval(panel.values)
    band: dict[str, Any] = {"color": "#E6EFF6", "linewidth": 0, "zorder": 0}
    axis.axvspan(low, high, label="95 % of draws", **band)
    axis.axvline(panel.whole, color=PALETTE[0], label="Whole space")
    axis.axvline(panel.published, color=PALETTE[1], linestyle=DASHES[1], label="Published")
    axis.set_title(panel.title)
    axis.grid(axis="x", visible=False)


def _curves(
    panels: Sequence[CurvePanel],
    *,
    x_label: str,
    y_label: str,
    y_range: Callable[[CurvePanel], tuple[float, float]] | None = None,
    log_x: bool = False,
    whole_x: bool = False,
    panels_a_row: int = PANELS_A_ROW,
) -> Figure:
    """y_range: limits of each panel by itself; without it all panels share their y axis.

    whole_x: whether ticks are at whole numbers only.
    """
    import matplotlib as mpl
    from matplotlib.ticker import MaxNLocator

    names = list(dict.fromkeys(curve.name for panel in panels for curve in panel.curves))
    n_columns = min(len(names), 3)
    with mpl.rc_context(STYLE):
        figure, axes = _new_figure(
            len(panels),
            -(-len(names) // n_columns),
            share_y=y_range is None,
            panels_a_row=panels_a_row,
        )
        for axis, panel in zip(axes, panels, strict=True):
            for curve in panel.curves:
                _curve(axis, curve, names.index(curve.name))
            axis.set_title(panel.title)
            axis.set_xlabel(x_label)
            axis.margins(x=0.01)
            if log_x:
                axis.set_xscale("log")
            if whole_x:
                axis.xaxis.set_major_locator(MaxNLocator(integer=True))
            if y_range is not None:
                axis.set_ylim(*y_range(panel))
        _label_rows(axes, y_label)
        for axis, panel in zip(axes, panels, strict=True):
            if panel.quantity:
                axis.set_ylabel(panel.quantity)
        _legend(figure, axes, n_columns)
        _finish(figure)
    return figure


def _settled_range(panel: CurvePanel) -> tuple[float, float]:
    """Limits that show the curves after their start, which would flatten all that follows."""
    return _range(panel, START_PART)


def _whole_range(panel: CurvePanel) -> tuple[float, float]:
    return _range(panel, 0.0)


def _range(panel: CurvePanel, start_part: float) -> tuple[float, float]:
    """Limits of the curves with their bands, from a part of the x axis on; 0: all of them."""
    lows, highs = [], []
    for curve in panel.curves:
        settled = curve.x >= (start_part * curve.x[-1] if start_part else -math.inf)
        std = np.zeros_like(curve.mean) if curve.std is None else np.nan_to_num(curve.std)
        lows.append(float(np.nanmin((curve.mean - std)[settled])))
        highs.append(float(np.nanmax((curve.mean + std)[settled])))
    margin = 0.08 * (max(highs) - min(lows)) or 1.0
    return max(min(lows) - margin, panel.lowest - margin / 4), max(highs) + margin


def _curve(axis: Axes, curve: Curve, position: int) -> None:
    color = PALETTE[position % len(PALETTE)]
    dashes = DASHES[position % len(DASHES)]
    dots: dict[str, Any] = {"marker": "o", "markersize": 3} if curve.marked else {}
    axis.plot(curve.x, curve.mean, color=color, linestyle=dashes, label=curve.name, **dots)
    if curve.std is not None:
        low, high = curve.mean - curve.std, curve.mean + curve.std
        axis.fill_between(curve.x, low, high, color=color, alpha=BAND_ALPHA, linewidth=0)


def _new_figure(
    n_panels: int,
    legend_rows: int,
    *,
    share_y: bool = False,
    panels_a_row: int = PANELS_A_ROW,
    row_inches: float = HEIGHT_INCHES,
) -> tuple[Figure, list[Axes]]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    n_rows = -(-n_panels // panels_a_row)
    height = n_rows * row_inches + legend_rows * LEGEND_ROW_INCHES
    figure = Figure(figsize=(WIDTH_INCHES, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(n_rows, -(-n_panels // n_rows), sharey=share_y, squeeze=False).flat
    for unused in axes[n_panels:]:
        unused.remove()
    return figure, list(axes[:n_panels])


def _label_rows(axes: Sequence[Axes], y_label: str) -> None:
    """Names the y axis once a row."""
    for axis in axes:
        spec = axis.get_subplotspec()
        if spec is not None and spec.is_first_col():
            axis.set_ylabel(y_label)


def _legend(figure: Figure, axes: Sequence[Axes], n_columns: int) -> None:
    handles: dict[str, Any] = {}
    for axis in axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    figure.legend(
        list(handles.values()), list(handles), loc="outside lower center", ncols=n_columns
    )


def _finish(figure: Figure) -> None:
    """Draws inside the style, which ticks would forget, and keeps the layout for every save."""
    figure.canvas.draw()
    figure.set_layout_engine("none")


def _curve_data(
    panels: Sequence[CurvePanel], x_name: str, y_name: str
) -> list[Mapping[str, object]]:
    return [
        {
            "panel": panel.title,
            "curve": curve.name,
            x_name: float(curve.x[i]),
            f"{y_name} mean": float(curve.mean[i]),
            f"{y_name} std": None if curve.std is None else float(curve.std[i]),
        }
        for panel in panels
        for curve in panel.curves
        for i in range(len(curve.x))
    ]


def png(plot: Plot) -> bytes:
    """The figure as PNG at `DPI`."""
    return _saved(plot, "png")


def pdf(plot: Plot) -> bytes:
    """The figure as PDF; the same figure gives the same bytes."""
    return _saved(plot, "pdf", metadata={"CreationDate": None})


def _saved(plot: Plot, file_format: str, **options: Any) -> bytes:
    import matplotlib as mpl

    content = io.BytesIO()
    with mpl.rc_context(STYLE):
        plot.figure.savefig(content, format=file_format, dpi=DPI, **options)
    return content.getvalue()


def data_csv(plot: Plot) -> str:
    """The numbers behind the figure, one line a point."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(plot.data[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(plot.data)
    return text.getvalue()
