"""FreeDARTS: architecture search meets network pruning at initialisation."""

from __future__ import annotations

from dataclasses import replace

from reports import oneshot1_random, reasons, surrogate_random
from reports.alpha_scale import alpha_scale_item
from reports.extremes import extremes_item
from reports.found_drawings import drawings_item
from reports.items import TABLE, Paper, waiting
from reports.pruning_track import pruning_track_item
from reports.sample_size import sample_size_item
from reports.supernet_rows import Searched
from reports.untrained_rows import Search, best_of_random

BY_BALENAS, TABLE_1 = "published/balenas_table1", "published/freedarts_table1"
WEIGHT_SHARING = {
    "SETN": Searched("setn", BY_BALENAS),
    "GDAS": Searched("gdas", BY_BALENAS),
    "DARTS (1st)": Searched("darts", BY_BALENAS),
    "DARTS (2nd)": Searched("darts, second order", BY_BALENAS),
    "PC-DARTS": Searched("pc_darts", TABLE_1),
    "SNAS": Searched("snas", TABLE_1),
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
# Its scripts have four seeds, 0 to 3; FreeDARTS says that it ran Zero-Cost-PT by SynFlow.
ZERO_COST_PT = Search("zerocost_pt", 4, {"proxy": "synflow", "images": "gaussian"})
# The time of the tangent kernel grows with the square of the batch: TE-NAS's scripts have 72 images
# for this space and 14 for the DARTS space, which is ours.
TE_NAS = Search("te_nas", 3, {"batch_size": 14})
# A proxy -> seeds of zero-cost NAS in figure 2, where each scores 1,000 cells.
SAMPLED = {"snip": 3, "grasp": 2, "synflow": 10}
DARTS_CODE = {"variant": "released-darts"}  # The code for the DARTS space differs from the other.
# The released code's search network for ImageNet, and its scale of the parameters. Of its images
# SynFlow takes no more than the shape, so one of noise is made.
IMAGENET = {
    "n_cells": 14,
    "channels": 48,
    "network": {"stem": "imagenet"},
    "scale": 5e-4,
    "n_made": 1,
}
SEARCHED = (
    "FreeDARTS is run as its released code for NAS-Bench-201 does, which mixes by the parameters"
    " themselves and not by their softmax. It is searched once a seed, and the cell looked up on"
    " every data set. The paper does not state how many seeds its deviations are over."
)
TE_NAS_NOTE = (
    f"TE-NAS is run with {TE_NAS.options['batch_size']} images a tangent kernel, not its scripts'"
    " 72, and compares all removals of a round on the same networks."
)
TABLE_1_NOTES = (
    "CIFAR-100 test of FreeDARTS: 70.70 ± 0.08 is read as the mean and 70.78 as the best run; the"
    " paper's table 2 prints 70.78 as the mean.",
)
TABLE_3_WAITS = dict.fromkeys(
    ("GDAS", "PC-DARTS", "DARTS (1st)", "DARTS (2nd)"), reasons.OTHER_SEARCHES
)
TABLE_3_SEARCHES = {"FreeDARTS": replace(SYNFLOW, n_seeds=5, dataset="cifar10")}
DARTS_SYNFLOW = Search("freedarts", 10, {**SYNFLOW.options, **DARTS_CODE}, "cifar10")
# Gigabytes that a search held at most, and below, the processor seconds that it took: one of each,
# on noise of CIFAR-10's shape and in one thread. Ten seeds of all three are 20 minutes of one such
# core, and two GraSP searches at once need twice the memory.
DARTS_SEARCHES = {
    "FreeDARTS(SNIP)": Search("freedarts", 10, {**SNIP.options, **DARTS_CODE}, "cifar10", 8),
    "FreeDARTS(GraSP)": Search("freedarts", 10, {**GRASP.options, **DARTS_CODE}, "cifar10", 18),
    "FreeDARTS(Synflow)": DARTS_SYNFLOW,
}
DARTS_SECONDS = {"FreeDARTS(SNIP)": 31, "FreeDARTS(GraSP)": 87, "FreeDARTS(Synflow)": 1.2}
TABLE_6 = surrogate_random.Rows(
    dict.fromkeys(("GDAS", "PC-DARTS", "DARTS (2nd)"), reasons.OTHER_SEARCHES),
    DARTS_SEARCHES,
    DARTS_SECONDS,
    reasons.RETRAIN,
)
TABLE_7 = replace(
    TABLE_6,
    searches={**DARTS_SEARCHES, "FreeDARTS(Synflow)": replace(DARTS_SYNFLOW, n_seeds=100)},
)

DRAWN = {
    "FreeDARTS": replace(DARTS_SYNFLOW, n_seeds=5),
    "FreeDARTS†": Search("freedarts", 5, {**DARTS_SYNFLOW.options, "n_cells": 20}, "cifar10"),
    "FreeDARTS‡": Search("freedarts", 5, {**DARTS_SYNFLOW.options, **IMAGENET}, "imagenet"),
}
# Those whose cells were the best after training, by the paper's section E.
BEST_SEEDS = {"FreeDARTS": (4,), "FreeDARTS†": (1,), "FreeDARTS‡": (3,)}
OTHER_SEEDS = {
    label: tuple(seed for seed in range(5) if seed not in best)
    for label, best in BEST_SEEDS.items()
}

PAPER = Paper(
    "freedarts",
    "Differentiable Architecture Search Meets Network Pruning at Initialization",
    "M. Zhang et al. Differentiable Architecture Search Meets Network Pruning at Initialization: A"
    " More Reliable, Efficient, and Flexible Framework.",
    (
        extremes_item(
            "freedarts:T1",
            "Comparison on NAS-Bench-201",
            {},
            searches={
                **WEIGHT_SHARING,
                "NASWOT": NASWOT,
                "Zero-Cost NAS": BEST_SYNFLOW,
                "Zero-Cost-PT NAS": ZERO_COST_PT,
                "TE-NAS*": TE_NAS,
                "FreeDARTS": SYNFLOW,
            },
            best_of={"FreeDARTS (best single run)": "FreeDARTS"},
            footnotes=(*TABLE_1_NOTES, SEARCHED, TE_NAS_NOTE),
            unproven="Zero-Cost-PT, TE-NAS and supernets were searched on mini201's networks and"
            " images only",
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
            "freedarts:T3",
            "Test error on NAS-Bench-1Shot1, space 3",
            TABLE_3_WAITS,
            TABLE_3_SEARCHES,
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
        surrogate_random.random_item("freedarts:T6", "Test error by NAS-Bench-301", TABLE_6),
        surrogate_random.random_item("freedarts:T7", "Number of seeds", TABLE_7),
        alpha_scale_item("freedarts:F1", "Scale of the initial alpha"),
        sample_size_item(
            "freedarts:F2",
            "Accuracy against sample size",
            SAMPLED,
            {"snip": SNIP, "grasp": GRASP, "synflow": SYNFLOW},
            {"synflow": "gaussian"},
        ),
        pruning_track_item("freedarts:F3", "Accuracy while pruning"),
        drawings_item("freedarts:F4", "Best cells found", DRAWN, BEST_SEEDS),
        drawings_item("freedarts:F5", "Cells found with other seeds", DRAWN, OTHER_SEEDS),
    ),
)
