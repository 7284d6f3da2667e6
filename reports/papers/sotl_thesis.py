"""Sum over training losses (SoTL) for weight-sharing NAS: MSc thesis, University of Oxford."""

from __future__ import annotations

from reports import reasons
from reports.items import FIGURE, TABLE, Item, Paper, waiting
from reports.known_cell import darts_normal_cell_item
from reports.params_draws import params_item
from reports.query_methods import query_methods_item
from reports.rank_curves import rank_curves_item
from reports.spaces_overview import overview_item
from reports.supernet_rows import MINI_ONLY, Searched

NATS, OWN = "published/nats_bench_search", "published/thesis_table4_6_search"
SOTL_ON_MINI = "common/mini201_sotl"
TABLE_4_6_SEARCHES = {
    "SPOS": Searched("spos", NATS, each=True),
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
SEARCHES = "three searches of DARTS and of SoTL-DARTS"


def _illustration(name: str, title: str) -> Item:
    return waiting(f"sotl_thesis:{name}", title, FIGURE, "nothing", reasons.ILLUSTRATION)


def _tuned(name: str, title: str, kind: str = FIGURE, needs: str = SPOS) -> Item:
    return waiting(f"sotl_thesis:{name}", title, kind, needs, reasons.FINE_TUNING)


def _searched(name: str, title: str, kind: str = FIGURE, needs: str = SEARCHES) -> Item:
    return waiting(f"sotl_thesis:{name}", title, kind, needs, reasons.SEARCH)


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
        waiting(
            "sotl_thesis:T4.7",
            "Search on NAS-Bench-1Shot1",
            TABLE,
            "searches on NAS-Bench-1Shot1, NAS-Bench-101",
            reasons.ONESHOT1,
        ),
        waiting(
            "sotl_thesis:T4.8",
            "Search in the DARTS space",
            TABLE,
            "searches, NAS-Bench-301, then training of the found networks",
            reasons.RETRAIN,
        ),
        _searched("F4.10", "Search trajectories"),
        _searched("F4.11", "Best cells found by SoTL-DARTS"),
        _searched("F4.12", "Predicted accuracy and skips with 20 layers"),
        _searched("F4.13", "Depth of the cell during search"),
        _searched("F4.14", "Accuracy, depth and operations on NAS-Bench-1Shot1, space 3"),
        _searched("F4.15", "Dominant eigenvalue, accuracy and skips on S2"),
        _searched("F4.16", "Dominant eigenvalue and accuracy on three spaces"),
        waiting("sotl_thesis:TB.1", "Hyperparameters", TABLE, "nothing", reasons.SETTINGS),
    ),
)
