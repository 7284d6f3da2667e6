"""FreeDARTS: architecture search meets network pruning at initialisation."""

from __future__ import annotations

from reports import oneshot1_random, reasons, surrogate_random
from reports.extremes import extremes_item
from reports.items import FIGURE, TABLE, Paper, waiting
from reports.untrained_rows import Search, best_of_random

TABLE_1_WAITS = {
    **{
        method: reasons.SEARCH
        for method in ("SETN", "GDAS", "DARTS (1st)", "DARTS (2nd)", "PC-DARTS", "SNAS")
    },
    **dict.fromkeys(("Zero-Cost-PT NAS", "TE-NAS*"), reasons.UNTRAINED),
}
# The paper does not state its numbers of seeds; these are ours. SynFlow looks at no image, so it
# gets noise of the data set's shape and needs no files.
SYNFLOW = Search("freedarts", 100, {"saliency": "synflow", "images": "gaussian"})
SNIP = Search("freedarts", 30, {"saliency": "snip"})
GRASP = Search("freedarts", 30, {"saliency": "grasp"})
BEST_SYNFLOW = best_of_random(100)
BEST_SNIP = Search("zerocost_nas", 10, {"proxy": "snip"})
BEST_GRASP = Search("zerocost_nas", 4, {"proxy": "grasp"})
NASWOT = Search("zerocost_nas", 10, {"proxy": "nwot", "batch_size": 128})
SEARCHED = (
    "FreeDARTS is run as its released code for NAS-Bench-201 does, which mixes by the parameters"
    " themselves and not by their softmax. It is searched once a seed, and the cell looked up on"
    " every data set. The paper does not state how many seeds its deviations are over."
)
TABLE_1_NOTES = (
    "CIFAR-100 test of FreeDARTS: 70.70 ± 0.08 is read as the mean and 70.78 as the best run; the"
    " paper's table 2 prints 70.78 as the mean.",
)
TABLE_3_WAITS = {
    **dict.fromkeys(("GDAS", "PC-DARTS", "DARTS (1st)", "DARTS (2nd)"), reasons.SEARCH),
    "FreeDARTS": reasons.UNTRAINED,
}
TABLE_6_WAITS = {
    **dict.fromkeys(("GDAS", "PC-DARTS", "DARTS (2nd)"), reasons.SEARCH),
    **{f"FreeDARTS({saliency})": reasons.UNTRAINED for saliency in ("SNIP", "GraSP", "Synflow")},
}
PROXIES = "zero-cost proxies on untrained networks of NAS-Bench-201"

PAPER = Paper(
    "freedarts",
    "Differentiable Architecture Search Meets Network Pruning at Initialization",
    "M. Zhang et al. Differentiable Architecture Search Meets Network Pruning at Initialization: A"
    " More Reliable, Efficient, and Flexible Framework.",
    (
        extremes_item(
            "freedarts:T1",
            "Comparison on NAS-Bench-201",
            TABLE_1_WAITS,
            searches={"NASWOT": NASWOT, "Zero-Cost NAS": BEST_SYNFLOW, "FreeDARTS": SYNFLOW},
            best_of={"FreeDARTS (best single run)": "FreeDARTS"},
            footnotes=(*TABLE_1_NOTES, SEARCHED),
        ),
        extremes_item(
            "freedarts:T2",
            "Zero-cost NAS and FreeDARTS with three saliency metrics",
            {},
            searches={
                "Zero-cost with SNIP": BEST_SNIP,
                "Zero-cost with Grasp": BEST_GRASP,
                "Zero-cost with SynFlow": BEST_SYNFLOW,
                "FreeDARTS with SNIP": SNIP,
                "FreeDARTS with Grasp": GRASP,
                "FreeDARTS with SynFlow": SYNFLOW,
            },
            footnotes=(SEARCHED,),
        ),
        oneshot1_random.random_item(
            "freedarts:T3", "Test error on NAS-Bench-1Shot1, space 3", TABLE_3_WAITS
        ),
        waiting(
            "freedarts:T4",
            "Comparison in the DARTS space",
            TABLE,
            "searches in the DARTS space, then training of the found networks",
            reasons.RETRAIN,
        ),
        waiting(
            "freedarts:T5",
            "Best and mean of searched cells",
            TABLE,
            "15 searches in the DARTS space, then training of the found networks",
            reasons.RETRAIN,
        ),
        surrogate_random.random_item(
            "freedarts:T6", "Test error by NAS-Bench-301", TABLE_6_WAITS, reasons.RETRAIN
        ),
        surrogate_random.random_item(
            "freedarts:T7", "Number of seeds", TABLE_6_WAITS, reasons.RETRAIN
        ),
        waiting("freedarts:F1", "Scale of the initial alpha", FIGURE, PROXIES, reasons.UNTRAINED),
        waiting("freedarts:F2", "Accuracy against sample size", FIGURE, PROXIES, reasons.UNTRAINED),
        waiting("freedarts:F3", "Accuracy while pruning", FIGURE, PROXIES, reasons.UNTRAINED),
        waiting(
            "freedarts:F4",
            "Best cells found",
            FIGURE,
            "untrained supernets of the DARTS space",
            reasons.UNTRAINED,
        ),
        waiting(
            "freedarts:F5",
            "Cells found with other seeds",
            FIGURE,
            "untrained supernets of the DARTS space",
            reasons.UNTRAINED,
        ),
    ),
)
