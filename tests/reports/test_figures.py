import io
import struct
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from reports import figures
from reports.figures import Curve, CurvePanel, Distribution, anytime, distributions
from reports.figures import rank_correlation as rank_correlation_plot

X = np.arange(1.0, 51)


def curves(n):
    return tuple(Curve(f"curve {i}", X, 1 - (i + 1) / X, 0.1 / X) for i in range(n))


def plots():
    panels = [CurvePanel("left", curves(5)), CurvePanel("right", curves(2))]
    rng = np.random.default_rng(0)
    return {
        "rank": rank_correlation_plot(panels, caption="A.", n_draws=10),
        "anytime": anytime(panels, caption="B.", x_label="Queries", n_runs=500),
        "distributions": distributions(
            [Distribution("one", rng.normal(0.7, 0.03, 1000), 0.71, 0.75)],
            caption="C.",
            x_label="Spearman correlation",
        ),
    }


@pytest.fixture(scope="module")
def drawn():
    return plots()


@pytest.mark.parametrize(
    ("name", "legend_rows"), [("rank", 2), ("anytime", 2), ("distributions", 1)]
)
def test_png_has_the_width_of_a_page_at_print_resolution(drawn, name, legend_rows):
    content = figures.png(drawn[name])
    width, height = struct.unpack(">II", content[16:24])

    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    assert width == 7.0 * 200
    assert height == pytest.approx((2.7 + 0.22 * legend_rows) * 200, abs=1)
    assert len(content) > 10_000


def test_pdf_is_the_same_each_time(drawn):
    first, second = figures.pdf(drawn["rank"]), figures.pdf(drawn["rank"])

    assert first.startswith(b"%PDF")
    assert first == second


def test_curves_differ_by_dashes_as_well_as_colour(drawn):
    axis = drawn["rank"].figure.axes[0]
    colours = [line.get_color() for line in axis.lines]
    dashes = [str(line.get_linestyle()) + str(line._dash_pattern) for line in axis.lines]

    assert len(set(colours)) == 5
    assert len(set(dashes)) == 5


def test_axes_are_labelled_with_units(drawn):
    assert drawn["anytime"].figure.axes[0].get_ylabel().startswith("Test accuracy of incumbent (%)")
    assert drawn["rank"].figure.axes[1].get_xlabel() == "Epoch"


def test_published_value_is_marked(drawn):
    marked = {
        line.get_label(): line.get_xdata()[0]
        for line in drawn["distributions"].figure.axes[0].lines
    }

    assert marked == {"Whole space": 0.71, "Published": 0.75}


def test_data_behind_a_figure(drawn):
    frame = pd.read_csv(io.StringIO(figures.data_csv(drawn["rank"])))

    assert len(frame) == 7 * len(X)
    assert frame.columns.tolist() == ["panel", "curve", "epoch", "spearman mean", "spearman std"]
    assert frame["spearman mean"].iloc[1] == 0.5


def test_trajectories_are_scaled_to_what_follows_the_start(drawn):
    low, high = drawn["anytime"].figure.axes[0].get_ylim()

    assert low > -1.9  # Curve 4 begins at 1 - 5 / 1 = -4.
    assert high > 1 - 1 / 50


def test_nothing_heavy_is_imported_before_it_is_used():
    code = (
        "import sys, reports.reproduce as r, reports.items as i; i.all_items();"
        "print([m for m in ('matplotlib', 'pandas', 'scipy', 'jinja2', 'torch')"
        " if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
