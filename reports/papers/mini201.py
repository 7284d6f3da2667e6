"""mini201, the benchmark that ships: its rankings, in the layouts of the papers' figures."""

from __future__ import annotations

from reports.items import Paper
from reports.rank_curves import rank_curves_item
from reports.score_ranks import score_ranks_item

BENCHMARK = "mini201"

PAPER = Paper(
    "mini201",
    "mini201: every cell of NAS-Bench-201's space, trained on cluttered digits",
    "mini201, this project.",
    (
        score_ranks_item("mini201:ranks", "Every score over the whole space", BENCHMARK),
        rank_curves_item(
            "mini201:curves",
            "Rank correlation against epoch over the whole space",
            None,
            all_schedules=True,
            n_cells=None,
            benchmark=BENCHMARK,
        ),
    ),
)
