"""BaLeNAS: differentiable architecture search via the Bayesian learning rule (CVPR 2022)."""

from __future__ import annotations

from reports import reasons
from reports.extremes import extremes_item
from reports.items import FIGURE, TABLE, Paper, waiting
from reports.untrained_rows import best_of_random

TABLE_1_WAITS = {
    "ENAS": reasons.SEARCH,
    "RandomNAS": reasons.SEARCH,
    "SETN": reasons.SEARCH,
    "GDAS": reasons.SEARCH,
    "DrNAS": reasons.SEARCH,
    "DARTS (1st)": reasons.SEARCH,
    "DARTS (2nd)": reasons.SEARCH,
    "BaLeNAS (1st)": reasons.SEARCH,
    "BaLeNAS (2nd)": reasons.SEARCH,
    "BaLeNAS-TF": reasons.SEARCH,
    "BaLeNAS-TF (best single run)": reasons.OWN_BEST,
}
TABLE_5_WAITS = {
    **{f"BaLeNAS (2nd) M = {samples}": reasons.SEARCH for samples in (1, 2, 3, 4)},
    "DARTS (2nd)": reasons.SEARCH,
}
SAMPLE_SIZES = (10, 50, 100)
DARTS_SEARCH = "supernet search in the DARTS space"

PAPER = Paper(
    "balenas",
    "BaLeNAS: Differentiable Architecture Search via the Bayesian Learning Rule",
    "M. Zhang et al. BaLeNAS: Differentiable Architecture Search via the Bayesian Learning Rule."
    " CVPR 2022.",
    (
        extremes_item(
            "balenas:T1",
            "Comparison on NAS-Bench-201",
            TABLE_1_WAITS,
            searches={"Zero-cost NAS": best_of_random(100)},
        ),
        extremes_item(
            "balenas:T2",
            "Sample size of the selection by SynFlow",
            {f"BaLeNAS-TF({n})": reasons.SEARCH for n in SAMPLE_SIZES},
            searches={f"Zero-cost NAS({n})": best_of_random(n) for n in SAMPLE_SIZES},
        ),
        waiting(
            "balenas:T3",
            "Comparison in the DARTS space",
            TABLE,
            f"{DARTS_SEARCH}, then training of the found networks",
            reasons.RETRAIN,
        ),
        waiting(
            "balenas:T4",
            "Selection by SNIP, GraSP and SynFlow on NAS-Bench-201",
            TABLE,
            "supernet search, three proxies, NAS-Bench-201",
            reasons.SEARCH,
        ),
        extremes_item(
            "balenas:T5",
            "Number of Monte-Carlo samples on NAS-Bench-201",
            TABLE_5_WAITS,
        ),
        waiting(
            "balenas:F1",
            "Validation and test error during search on NAS-Bench-1Shot1, space 3",
            FIGURE,
            "supernet search on NAS-Bench-1Shot1, NAS-Bench-101",
            reasons.ONESHOT1,
        ),
        waiting(
            "balenas:F2",
            "Share of skip connections in the normal cell during search",
            FIGURE,
            DARTS_SEARCH,
            reasons.SEARCH,
        ),
        waiting(
            "balenas:F3",
            "Norm of the Hessian during search",
            FIGURE,
            DARTS_SEARCH,
            reasons.SEARCH,
        ),
        waiting(
            "balenas:F4",
            "Drawing of the DARTS space",
            FIGURE,
            "nothing",
            reasons.ILLUSTRATION,
        ),
        waiting("balenas:F5", "Cells found", FIGURE, DARTS_SEARCH, reasons.SEARCH),
    ),
)
