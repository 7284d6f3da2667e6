"""FreeDARTS removing one operation after the other: its figure 3."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from harness.benchmark import Benchmark
from harness.record import Record
from reports import nb201
from reports.items import Item
from reports.search_curves import Axis, Line, Reached, search_curves_item
from reports.untrained_rows import Search

N_SEEDS = 20  # ours
ONE_BY_ONE = {"saliency": "synflow", "images": "gaussian", "one_by_one": True}
SEARCHES = {
    "Scored anew after every removal": Search("freedarts", N_SEEDS, {**ONE_BY_ONE}),
    "Scored once": Search("freedarts", N_SEEDS, {**ONE_BY_ONE, "rescored": False}),
}
NOTE = (
    "After every removal of the operation with the least saliency, the cell is that of the largest"
    " remaining architecture parameters; before the first it is a random one, and after the last"
    " only one is left. The paper does not say whether saliencies are computed anew; both are"
    " shown."
)


def pruning_track_item(name: str, title: str) -> Item:
    """Test accuracy of the cell that is left after every removal."""
    return search_curves_item(
        name,
        title,
        Axis("Operations removed", "removed"),
        list(SEARCHES.values()),
        _lines,
        caption="Test accuracy of the cell by the largest remaining architecture parameters while"
        f" FreeDARTS with SynFlow removes one operation at a time: mean over {N_SEEDS} seeds and"
        " one standard deviation.",
        footnotes=(NOTE,),
    )


def _lines(benchmark: Benchmark, shares: Sequence[Sequence[Record]]) -> list[Line]:
    return [
        Line(label, {}, problem)
        if (problem := search.problem(records)) is not None
        else Line(label, _track(benchmark, records))
        for (label, search), records in zip(SEARCHES.items(), shares, strict=True)
    ]


def _track(benchmark: Benchmark, records: Sequence[Record]) -> Mapping[float, Reached]:
    """After so many removals, the test accuracy of every search's cell."""
    steps = zip(*(record.result["track"] for record in records), strict=True)
    return {
        float(step): {
            dataset: np.array([at["values"][dataset]["truth"] for at in cells], dtype=np.float64)
            for dataset in nb201.datasets(benchmark).values()
        }
        for step, cells in enumerate(steps)
    }
