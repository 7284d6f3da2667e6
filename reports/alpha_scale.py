"""FreeDARTS against the scale of its initial parameters: its figure 1."""

from __future__ import annotations

from collections.abc import Sequence

from harness.benchmark import Benchmark
from harness.record import Record
from reports.items import Item
from reports.search_curves import Axis, Line, over_searches, search_curves_item
from reports.untrained_rows import Search

# Those that the authors' file lists.
SCALES = (1e-7, 1e-5, 1e-4, 2e-4, 4e-4, 6e-4, 1e-3, 1e-2, 0.1, 1.0)
N_SEEDS = 20  # ours
SYNFLOW = {"saliency": "synflow", "images": "gaussian"}
SEARCHES = {scale: Search("freedarts", N_SEEDS, {**SYNFLOW, "scale": scale}) for scale in SCALES}
NOTE = (
    "The parameters are a times a standard normal draw, the same draw at every a. The released code"
    " mixes by the parameters themselves, without a softmax."
)


def alpha_scale_item(name: str, title: str) -> Item:
    """Test accuracy of what FreeDARTS finds with SynFlow, against the deviation a."""
    return search_curves_item(
        name,
        title,
        Axis("Deviation a of the initial parameters", "a =", log=True),
        list(SEARCHES.values()),
        _lines,
        caption="Test accuracy of the cells that FreeDARTS finds with SynFlow, against the standard"
        f" deviation of the initial architecture parameters: mean over {N_SEEDS} seeds and one"
        " standard deviation.",
        footnotes=(NOTE,),
    )


def _lines(benchmark: Benchmark, shares: Sequence[Sequence[Record]]) -> list[Line]:
    return [Line("FreeDARTS with SynFlow", *over_searches(benchmark, SEARCHES, shares))]
