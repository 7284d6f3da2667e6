"""BaLeNAS: differentiable architecture search via the Bayesian learning rule (CVPR 2022)."""

from __future__ import annotations

from reports import reasons
from reports.epoch_curves import Panel, epoch_curves_item
from reports.epoch_quantities import SKIP_SHARE, SPECTRAL_NORM, TRACE, accuracy
from reports.extremes import extremes_item
from reports.items import FIGURE, TABLE, Paper, waiting
from reports.learnt_cells import ONESHOT_CELL, learnt_drawings_item
from reports.stand_in import StandIn
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
    "The last rows change one of the constants that the paper does not state, which else are N ="
    " 25,000, delta / N = 0.001, and a rate of alpha of 0.0003, on mini201 of 0.02;"
    ' "printed step" is that of equations 17 and 18 in place of VAdam\'s, which the paper names.',
    "On mini201 every search spends the same image-passes, and both orders take one sample a step;"
    " the paper's rows have three, which table 5 has.",
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
DARTS_SPACE, SMALL_DARTS = "published/balenas_darts", "common/darts"
DARTS, BALENAS = (StandIn(label, DARTS_SPACE, SMALL_DARTS) for label in ("darts", "balenas"))
IN_DARTS = {"DARTS": DARTS, "BaLeNAS": BALENAS}
ONESHOT1, SMALL_ONESHOT1 = "published/balenas_oneshot1", "common/oneshot1"
BY_ORDER = {
    order: {
        "DARTS": StandIn(f"space 3, darts{label}", ONESHOT1, SMALL_ONESHOT1),
        "BaLeNAS": StandIn(f"space 3, balenas{label}", ONESHOT1, SMALL_ONESHOT1),
    }
    for order, label in (("First order", ""), ("Second order", ", second order"))
}
SPLITS = ("valid", "test")
FIGURE_1_NOTES = (
    "The paper draws both errors of an order into one panel, and says that it looks at the cell in"
    " every iteration; here it is after every epoch.",
)
FIGURE_2_NOTES = (
    "The paper: DARTS is likely to have more than 3 skips of 8 operations, a share of 0.375,"
    " BaLeNAS generally fewer than 2, 0.25.",
)
FIGURE_3_NOTES = (
    "The paper does not say which norm of the Hessian of the validation loss it shows, on how many"
    " images, or at which draw. Here it is at the mean of the architecture parameters, on the first"
    " batch of the validation half: the largest eigenvalue in size, which is the spectral norm, and"
    " the trace, of which the paper's equation 19 says that BaLeNAS controls it.",
    "The small searches estimate the trace from 12 products of the Hessian with random signs, the"
    " same ones after every epoch, since the exact one takes as many as there are parameters, 224.",
)
FOUND_CELLS = {
    "BaLeNAS": BALENAS,
    "BaLeNAS-TF": StandIn("balenas-tf", DARTS_SPACE, SMALL_DARTS),
    "BaLeNAS, at the mean": StandIn("balenas, at the mean", DARTS_SPACE, SMALL_DARTS),
}
FIGURE_5_NOTES = (
    "The paper searches with 5 seeds and shows the cells that trained best. It says that BaLeNAS"
    ' tends to "shallow" cells and that BaLeNAS-TF finds "deeper" ones. Its caption calls the two'
    " BaLeNAS and BaLeNAS without regularizations, its text BaLeNAS and BaLeNAS-TF. It does not say"
    ' what is left out; the only regularization that it names is that "from MCMC sampling", so that'
    " without it the gradient is taken at the mean.",
)

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
        epoch_curves_item(
            "balenas:F1",
            "Validation and test error during search on NAS-Bench-1Shot1, space 3",
            [
                Panel(order, accuracy(split, error=True), "oneshot1-3", searches)
                for order, searches in BY_ORDER.items()
                for split in SPLITS
            ],
            caption="Errors of the cells of DARTS and BaLeNAS after every epoch of the search, by"
            " the gradient of first and of second order.",
            footnotes=FIGURE_1_NOTES,
            panels_a_row=2,
            cells=ONESHOT_CELL,
        ),
        epoch_curves_item(
            "balenas:F2",
            "Share of skip connections in the normal cell during search",
            [Panel("DARTS space", SKIP_SHARE, "darts", IN_DARTS)],
            caption="Share of skip connections among the 8 operations of the normal cell after"
            " every epoch of the search.",
            footnotes=FIGURE_2_NOTES,
        ),
        epoch_curves_item(
            "balenas:F3",
            "Norm of the Hessian during search",
            [Panel("DARTS space", norm, "darts", IN_DARTS) for norm in (SPECTRAL_NORM, TRACE)],
            caption="Curvature of the validation loss with respect to the architecture parameters"
            " after every epoch of the search.",
            footnotes=FIGURE_3_NOTES,
        ),
        waiting(
            "balenas:F4",
            "Drawing of the DARTS space",
            FIGURE,
            "nothing",
            reasons.ILLUSTRATION,
        ),
        learnt_drawings_item(
            "balenas:F5",
            "Cells found",
            FOUND_CELLS,
            FIGURE_5_NOTES,
        ),
    ),
)
