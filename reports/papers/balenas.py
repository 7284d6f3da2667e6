"""BaLeNAS: differentiable architecture search via the Bayesian learning rule (CVPR 2022)."""

from __future__ import annotations

from reports import reasons
from reports.extremes import extremes_item
from reports.items import FIGURE, TABLE, Paper, waiting
from reports.supernet_rows import MINI_ONLY, Searched
from reports.untrained_rows import best_of_random

TABLE_1, TABLE_5 = "published/balenas_table1", "published/balenas_table5"
ON_MINI = "common/mini201_balenas"
TABLE_1_SEARCHES = {
    "ENAS": Searched("enas", TABLE_1),
    "RandomNAS": Searched("random_nas", TABLE_1),
    "SETN": Searched("setn", TABLE_1),
    "GDAS": Searched("gdas", TABLE_1),
    "DrNAS": Searched("drnas", TABLE_1),
    "DARTS (1st)": Searched("darts", TABLE_1),
    "DARTS (2nd)": Searched("darts, second order", TABLE_1),
    "Zero-cost NAS": best_of_random(100),
    "BaLeNAS (1st)": Searched("balenas", TABLE_1),
    "BaLeNAS (2nd)": Searched("balenas, second order", TABLE_1),
    "BaLeNAS-TF": Searched("balenas-tf, second order", TABLE_1),
}
TABLE_1_NOTES = (
    'The last rows change one of the constants that the paper does not state; "printed step" is'
    " that of equations 17 and 18 in place of VAdam's, which the paper names.",
    "On mini201 every search spends the same image-passes, and the second order takes one sample a"
    " step; the paper's row has three, which table 5 has.",
)
# N, delta and the rate are not stated in the paper: what other values give, one at a time.
CONSTANTS = {
    f"BaLeNAS (1st), {label}": Searched(label, TABLE_5, ON_MINI)
    for label in (
        "N = 1,000",
        "N = 1,000,000",
        "delta / N = 0.0001",
        "delta / N = 0.01",
        "alpha rate / 4",
        "alpha rate x 4",
        "printed step",
    )
}
SAMPLE_SIZES = (10, 50, 100)
TABLE_2_SEARCHES = {
    **{f"Zero-cost NAS({n})": best_of_random(n) for n in SAMPLE_SIZES},
    **{f"BaLeNAS-TF({n})": Searched(f"synflow, {n} draws", TABLE_5, ON_MINI) for n in SAMPLE_SIZES},
}
PROXIES = {"SNIP": "snip", "Grasp": "grasp", "SynFlow": "synflow"}
TABLE_4_SEARCHES = {
    "BaLeNAS": Searched("argmax", TABLE_5, ON_MINI),
    **{
        f"BaLeNAS with {name} ({n})": Searched(f"{proxy}, {n} draws", TABLE_5, ON_MINI)
        for name, proxy in PROXIES.items()
        for n in SAMPLE_SIZES
    },
}
TABLE_5_SEARCHES = {
    "BaLeNAS (2nd) M = 1": Searched("1 sample", TABLE_5, ON_MINI),
    **{f"BaLeNAS (2nd) M = {n}": Searched(f"{n} samples", TABLE_5, ON_MINI) for n in (2, 3, 4)},
    "DARTS (2nd)": Searched("darts, second order", TABLE_1),
}
SELECTED_NOTE = (
    "On mini201 the selections are of the search with one sample a step, of as many image-passes as"
    " all others in table 1.",
)
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
            {},
            searches=TABLE_1_SEARCHES,
            variants=CONSTANTS,
            best_of={"BaLeNAS-TF (best single run)": "BaLeNAS-TF"},
            footnotes=TABLE_1_NOTES,
            unproven=MINI_ONLY,
        ),
        extremes_item(
            "balenas:T2",
            "Sample size of the selection by SynFlow",
            {},
            searches=TABLE_2_SEARCHES,
            footnotes=SELECTED_NOTE,
            unproven=MINI_ONLY,
        ),
        waiting(
            "balenas:T3",
            "Comparison in the DARTS space",
            TABLE,
            f"{DARTS_SEARCH}, then training of the found networks",
            reasons.RETRAIN,
        ),
        extremes_item(
            "balenas:T4",
            "Selection by SNIP, GraSP and SynFlow on NAS-Bench-201",
            {},
            searches=TABLE_4_SEARCHES,
            footnotes=SELECTED_NOTE,
            unproven=MINI_ONLY,
        ),
        extremes_item(
            "balenas:T5",
            "Number of Monte-Carlo samples on NAS-Bench-201",
            {},
            searches=TABLE_5_SEARCHES,
            unproven=MINI_ONLY,
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
