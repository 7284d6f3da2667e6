"""Studies in no paper's layout: scores against their costs, and the papers' claims."""

from __future__ import annotations

from reports.claims import claims_item
from reports.items import Paper
from reports.score_costs import score_costs_item

PAPER = Paper(
    "study",
    "Studies of this project",
    "this project.",
    (
        score_costs_item("study:scores", "Every score against what it costs"),
        claims_item("study:claims", "What the papers claim of their searches"),
    ),
)
