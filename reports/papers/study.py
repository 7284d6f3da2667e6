"""Rank correlations of all scores on whatever benchmark is here, in no paper's layout."""

from __future__ import annotations

from reports.items import Paper
from reports.score_costs import score_costs_item

PAPER = Paper(
    "study",
    "Rankings without training",
    "this project.",
    (score_costs_item("study:scores", "Every score against what it costs"),),
)
