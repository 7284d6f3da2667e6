"""Sum over training losses (SoTL) for weight-sharing NAS: MSc thesis, University of Oxford."""

from __future__ import annotations

from harness.spaces.darts import CELL_TYPES
from harness.spaces.oneshot1 import OPS
from reports import reasons
from reports.epoch_curves import Panel, epoch_curves_item
from reports.epoch_quantities import (
    EIGENVALUE,
    ONESHOT_DEPTH,
    SKIPS,
    accuracy,
    blocks_with,
    depth_in,
)
from reports.items import FIGURE, TABLE, Item, Paper, waiting
from reports.known_cell import darts_normal_cell_item
from reports.learnt_cells import OF_DARTS, learnt_drawings_item
from reports.oneshot1_searches import SPACES, oneshot1_searches_item
from reports.params_draws import params_item
from reports.query_methods import query_methods_item
from reports.rank_curves import rank_curves_item
from reports.settings_table import Settings, settings_item
from reports.spaces_overview import overview_item
from reports.stand_in import StandIn
from reports.supernet_rows import MINI_ONLY, Searched

NATS, OWN = "published/nats_bench_search", "published/thesis_table4_6_search"
SOTL_ON_MINI = "common/mini201_sotl"
TABLE_4_6_SEARCHES = {
    "SPOS": Searched("random_nas", NATS, each=True),
    "GDAS": Searched("gdas", NATS, each=True),
    "ENAS": Searched("enas", NATS, each=True),
    "DrNAS": Searched("drnas", OWN, each=True),
    "DARTS (first-order)": Searched("darts", NATS, each=True),
    "DARTS (second-order)": Searched("darts, second order", NATS, each=True),
    "SoTL-DARTS": Searched("sotl", OWN, each=True),
    "SoTL-DARTS (150 epochs)": Searched("sotl, 150 epochs", OWN, SOTL_ON_MINI, each=True),
    "SoVL-DARTS": Searched("sovl", OWN, SOTL_ON_MINI, each=True),
    "SoTL-DrNAS": Searched("sotl-drnas", OWN, SOTL_ON_MINI, each=True),
}
# Some forks of the thesis keep the look-ahead's momentum; the text and this space's fork do not.
TABLE_4_6_VARIANTS = {
    "SoTL-DARTS, momentum leaks": Searched("sotl, leak", OWN, SOTL_ON_MINI, each=True)
}
SPOS = "supernets trained on single paths and their fine-tuning"
IN_DARTS, SMALL_DARTS = "published/thesis_darts", "common/darts"
IN_S2, SMALL_S2 = "published/thesis_s2", "common/darts_s2"
IN_ONESHOT1, SMALL_ONESHOT1 = "published/thesis_oneshot1", "common/oneshot1"
IN_NB201 = "published/thesis_nb201"
LABELS = {"DARTS": "darts", "SoTL-DARTS": "sotl", "SoTL-DARTS, momentum leaks": "sotl, leak"}
DARTS_SEARCHES = {name: StandIn(label, IN_DARTS, SMALL_DARTS) for name, label in LABELS.items()}
DRNAS_SEARCHES = {
    "DrNAS": StandIn("drnas", IN_DARTS, SMALL_DARTS),
    "SoTL-DrNAS": StandIn("sotl-drnas", IN_DARTS, SMALL_DARTS),
    "SoTL-DrNAS, momentum leaks": StandIn("sotl-drnas, leak", IN_DARTS, SMALL_DARTS),
}
DEEP = {
    "DARTS, deep": "darts, deep",
    "SoTL-DARTS, deep": "sotl, deep",
    "SoTL-DARTS, deep, momentum leaks": "sotl, deep, leak",
}
DEEP_DARTS = {name: StandIn(label, IN_DARTS, SMALL_DARTS) for name, label in DEEP.items()}
S2_SEARCHES = {name: StandIn(label, IN_S2, SMALL_S2) for name, label in LABELS.items()}
DEEP_S2 = {name: StandIn(label, IN_S2, SMALL_S2) for name, label in DEEP.items()}
NB201_SEARCHES = {
    "DARTS": Searched("darts", IN_NB201),
    "SoTL-DARTS": Searched("sotl", IN_NB201),
    "SoTL-DARTS, momentum leaks": Searched("sotl, leak", IN_NB201, SOTL_ON_MINI),
}
NB201_CURVATURE = {
    "DARTS": Searched("darts", IN_NB201, "common/mini201_curvature"),
    "SoTL-DARTS": Searched("sotl", IN_NB201, "common/mini201_curvature"),
    "SoTL-DARTS, momentum leaks": Searched("sotl, leak", IN_NB201, "common/mini201_curvature"),
}
ONESHOT1_SEARCHES = {
    number: {
        name: StandIn(f"space {number}, {label}", IN_ONESHOT1, SMALL_ONESHOT1)
        for name, label in {
            **LABELS,
            "SoTL-DARTS (diff. hparams)": "sotl, other settings",
        }.items()
    }
    for number in (1, 2, 3)
}
SPACE_3 = {name: ONESHOT1_SEARCHES[3][name] for name in LABELS}
ROWS_4_7 = {
    row: {
        of_space: ONESHOT1_SEARCHES[number][row]
        for number, of_space in enumerate(SPACES.values(), start=1)
    }
    for row in ONESHOT1_SEARCHES[1]
}
LEAKS = "SoTL-DARTS, momentum leaks"
ACCURACY = accuracy()
MOMENTUM_NOTE = (
    "The thesis does not say what becomes of the optimiser's momentum after a look-ahead."
    " SoTL-DARTS takes it back with the weights; where it leaks it is kept, as some of the thesis's"
    " forks do."
)
CURVATURE_NOTE = (
    "The dominant eigenvalue is the largest in size, with its sign, of the Hessian with respect to"
    " all architecture parameters, on the first batch of the validation half for DARTS and of the"
    " training half for SoTL-DARTS, which sees no other."
)
DEPTH_NOTE = (
    "Depth is the number of edges on the longest path from an input of the cell to its output: 2 to"
    " 5 in the DARTS space, at most 6 in space 3."
)
FIGURE_4_12_NOTES = (
    "Deep supernets are the thesis's DARTS-20 and SoTL-DARTS-20, of 20 cells in place of 8; there"
    " SoTL-DARTS learns from all training images. The small searches have 8 cells in place of 3, in"
    " the DARTS space 5, and the same images as the others.",
    MOMENTUM_NOTE,
)
FIGURE_4_11_NOTES = (
    "The thesis shows the best of three cells, by training. SoTL-DARTS-20 searches with 20 cells"
    " and all training images; the small search in its place has 5 cells.",
)
TABLE_4_7_NOTES = (
    '"diff. hparams" are look-aheads of 10 batches of 32 in place of 100 of 64; in the small'
    " searches one batch of 32 in place of 3 of 64.",
    MOMENTUM_NOTE,
)
TABLE_B_1 = {
    "NB201": Settings(OWN, "sotl"),
    "NB1Shot1": Settings(IN_ONESHOT1, "space 3, sotl"),
    "DARTS": Settings(IN_DARTS, "sotl"),
}
TABLE_B_1_NOTES = (
    "Epochs are those of searches with architecture parameters; one-shot searches, of 100, are no"
    " part of these suites.",
    "The small searches for mini201's images, such as common/darts, have settings of their own.",
)


def _illustration(name: str, title: str) -> Item:
    return waiting(f"sotl_thesis:{name}", title, FIGURE, "nothing", reasons.ILLUSTRATION)


def _tuned(name: str, title: str, kind: str = FIGURE, needs: str = SPOS) -> Item:
    return waiting(f"sotl_thesis:{name}", title, kind, needs, reasons.FINE_TUNING)


def _trained(name: str, title: str, needs: str) -> Item:
    return waiting(f"sotl_thesis:{name}", title, FIGURE, needs, reasons.SMALL_TRAINING)


PAPER = Paper(
    "sotl_thesis",
    "Improving weight-sharing Neural Architecture Search with a marginal likelihood estimator",
    "Improving weight-sharing Neural Architecture Search with a marginal likelihood estimator."
    " MSc thesis, University of Oxford, 2021.",
    (
        _illustration("F2.1", "A multi-layer perceptron"),
        _illustration("F2.2", "Connectivity of a convolution"),
        _illustration("F3.1", "Normal and reduction cells"),
        darts_normal_cell_item("sotl_thesis:F3.2", "A normal cell found by DARTS"),
        _illustration("F3.3", "Skeleton and cell of NAS-Bench-201"),
        _illustration("F3.4", "A DARTS cell during optimisation"),
        _illustration("F3.5", "A sampled architecture in one-shot NAS"),
        overview_item("sotl_thesis:T3.1", "Search spaces"),
        _trained("F4.1", "Learning rate tuned by SoTL", "small networks on MNIST and CIFAR-10"),
        _trained("F4.2", "Fourier model with fixed degrees", "linear models on synthetic data"),
        _trained("F4.3", "Fourier model, degree found by SoTL", "linear models on synthetic data"),
        rank_curves_item(
            "sotl_thesis:F4.4",
            "Rank correlation against epoch, CIFAR-10",
            ["CIFAR-10"],
            all_schedules=True,
        ),
        rank_curves_item(
            "sotl_thesis:F4.5",
            "Rank correlation against epoch, CIFAR-100 and ImageNet16-120",
            ["CIFAR-100", "ImageNet16-120"],
            all_schedules=False,
        ),
        _tuned("F4.6", "Rank correlation during fine-tuning"),
        _tuned("T4.1", "NAS-Bench-201 by five one-shot algorithms", TABLE),
        _tuned("T4.2", "NAS-Bench-1Shot1 and DARTS space by one-shot algorithms", TABLE),
        waiting(
            "sotl_thesis:T4.3",
            "Architectures from FairNAS supernets, trained",
            TABLE,
            "FairNAS supernets, then training of the found networks",
            reasons.RETRAIN,
        ),
        _tuned("F4.7", "Batch size and learning rate of fine-tuning"),
        _tuned("F4.8", "Training statistics of fine-tuning on ImageNet16-120"),
        _tuned("T4.4", "High and low learning rate of fine-tuning", TABLE),
        _tuned("F4.9", "SoG, SoGN and parameters during fine-tuning"),
        params_item("sotl_thesis:T4.5", "SoG, SoGN and parameters: Spearman correlations"),
        query_methods_item(
            "sotl_thesis:T4.6",
            "Search on NAS-Bench-201",
            TABLE_4_6_SEARCHES,
            TABLE_4_6_VARIANTS,
            unproven=MINI_ONLY,
        ),
        oneshot1_searches_item(
            "sotl_thesis:T4.7",
            "Search on NAS-Bench-1Shot1",
            {row: own for row, own in ROWS_4_7.items() if row != LEAKS},
            {LEAKS: ROWS_4_7[LEAKS]},
            TABLE_4_7_NOTES,
        ),
        waiting(
            "sotl_thesis:T4.8",
            "Search in the DARTS space",
            TABLE,
            "searches, NAS-Bench-301, then training of the found networks",
            reasons.RETRAIN,
        ),
        epoch_curves_item(
            "sotl_thesis:F4.10",
            "Search trajectories",
            [
                Panel("DARTS space", ACCURACY, "darts", DARTS_SEARCHES),
                Panel("DARTS space", ACCURACY, "darts", DRNAS_SEARCHES),
                Panel("NAS-Bench-201", ACCURACY, "nb201", NB201_SEARCHES),
            ],
            caption="Accuracy of the cell after every epoch of the search, with and without SoTL.",
            footnotes=(MOMENTUM_NOTE,),
            cells=OF_DARTS,
        ),
        learnt_drawings_item(
            "sotl_thesis:F4.11",
            "Best cells found by SoTL-DARTS",
            {
                "SoTL-DARTS": DARTS_SEARCHES["SoTL-DARTS"],
                LEAKS: DARTS_SEARCHES[LEAKS],
                "SoTL-DARTS-20": DEEP_DARTS["SoTL-DARTS, deep"],
            },
            (*FIGURE_4_11_NOTES, MOMENTUM_NOTE),
        ),
        epoch_curves_item(
            "sotl_thesis:F4.12",
            "Predicted accuracy and skips with 20 layers",
            [
                Panel(title, quantity, of_space, searches)
                for title, of_space, searches in (
                    ("S2", "darts-s2", DEEP_S2),
                    ("DARTS space", "darts", DEEP_DARTS),
                )
                for quantity in (ACCURACY, SKIPS)
            ],
            caption="Accuracy and skip connections of the cells after every epoch of the search in"
            " deeper supernets.",
            footnotes=FIGURE_4_12_NOTES,
            panels_a_row=2,
        ),
        epoch_curves_item(
            "sotl_thesis:F4.13",
            "Depth of the cell during search",
            [Panel("DARTS space", depth_in(cell), "darts", DARTS_SEARCHES) for cell in CELL_TYPES],
            caption="Depth of the normal and of the reduction cell after every epoch of the"
            " search.",
            footnotes=(DEPTH_NOTE, MOMENTUM_NOTE),
        ),
        epoch_curves_item(
            "sotl_thesis:F4.14",
            "Accuracy, depth and operations on NAS-Bench-1Shot1, space 3",
            [
                Panel("NB101-3", quantity, "oneshot1-3", SPACE_3)
                for quantity in (ACCURACY, ONESHOT_DEPTH, *map(blocks_with, OPS))
            ],
            caption="Accuracy and depth of the cell after every epoch of the search, and how"
            " many of its 5 blocks have which operation.",
            footnotes=(DEPTH_NOTE, MOMENTUM_NOTE),
        ),
        epoch_curves_item(
            "sotl_thesis:F4.15",
            "Dominant eigenvalue, accuracy and skips on S2",
            [
                Panel("S2", quantity, "darts-s2", S2_SEARCHES)
                for quantity in (EIGENVALUE, ACCURACY, SKIPS)
            ],
            caption="Dominant eigenvalue of the Hessian with respect to the architecture"
            " parameters, and accuracy and skip connections of the cell, after every epoch of the"
            " search in S2.",
            footnotes=(CURVATURE_NOTE, MOMENTUM_NOTE),
        ),
        epoch_curves_item(
            "sotl_thesis:F4.16",
            "Dominant eigenvalue and accuracy on three spaces",
            [
                Panel(title, quantity, of_space, searches)
                for title, of_space, searches in (
                    ("DARTS space", "darts", DARTS_SEARCHES),
                    ("NAS-Bench-201", "nb201", NB201_CURVATURE),
                    ("NB101-3", "oneshot1-3", SPACE_3),
                )
                for quantity in (EIGENVALUE, ACCURACY)
            ],
            caption="Dominant eigenvalue of the Hessian with respect to the architecture"
            " parameters, and accuracy of the cell, after every epoch of the search.",
            footnotes=(CURVATURE_NOTE, MOMENTUM_NOTE),
            panels_a_row=2,
        ),
        settings_item("sotl_thesis:TB.1", "Hyperparameters", TABLE_B_1, TABLE_B_1_NOTES),
    ),
)
