"""DARTS-PT: rethinking architecture selection in differentiable NAS (ICLR 2021)."""

from __future__ import annotations

from collections.abc import Iterator

from reports import reasons
from reports.cell_trajectories import trajectories_item, tuning_item
from reports.edge_choices import edge_choices_item
from reports.items import TABLE, TEXT, Item, Paper, waiting
from reports.selected_cells import Shown, selected_cells_item
from reports.selection_errors import selection_errors_item
from reports.selection_track import selection_track_item
from reports.skip_gap import skip_gap_item
from reports.stand_in import StandIn
from reports.strength_bars import strength_bars_item
from reports.supernet_rows import MINI_ONLY, Searched

TABLE_4 = "published/darts_pt_table4"
TABLE_4_SEARCHES = {
    "DARTS": Searched("darts", TABLE_4, each=True),
    "DARTS+PT": Searched("darts-pt", TABLE_4, each=True),
    "DARTS+PT (fix alpha)": Searched("fixed_alpha-pt", TABLE_4, each=True),
}
TABLE_4_VARIANTS = {
    "DARTS+PT, running norms": Searched("darts-pt, running norms", TABLE_4, each=True)
}

TRAJECTORIES, PERTURBATION = "published/darts_pt_trajectories", "common/mini201_perturbation"
BY_EPOCH = Searched("darts-pt, by epoch", TRAJECTORIES, PERTURBATION, each=True)
FIXED_BY_EPOCH = Searched("fixed_alpha-pt, by epoch", TRAJECTORIES, PERTURBATION, each=True)
BY_TUNING = Searched("darts-pt, by tuning", TRAJECTORIES, PERTURBATION, each=True)
CELLS, SMALL_CELLS = "published/darts_pt_cells", "common/darts_pt"
THREE_EDGES = StandIn("three edges", CELLS, SMALL_CELLS)
ONE_EDGE = StandIn("one edge", CELLS, SMALL_CELLS)
SPACES = ("S1", "S2", "S3", "S4")
PT, MAGNITUDE = "DARTS+PT", "DARTS+PT-Mag"
IN_DARTS = {
    "F10": ("DARTS+PT", "darts-pt"),
    "F11": ("SDARTS+PT", "sdarts_rs-pt"),
    "F12": ("SGAS+PT", "sgas-pt"),
}
DATASETS = {"CIFAR-10": "cifar10", "CIFAR-100": "cifar100", "SVHN": "svhn"}
FIRST_SEED = (
    "The paper searches four times and shows the cell that trained best; this is the first seed's."
)
FIGURE_5 = (
    "The paper: on S2 DARTS ends with skips almost everywhere and DARTS+PT has 4 convolutions; on"
    " S4 DARTS+PT takes sep_conv_3x3 where alpha takes noise."
)


def _first(label: str, dataset: str = "cifar10") -> StandIn:
    """The run of the first seed; mini201's images stand in for CIFAR-10's alone."""
    return StandIn(label, CELLS, SMALL_CELLS if dataset == "cifar10" else None, dataset, (0,))


def _of_name(name: str) -> str:
    return f"darts-{name.lower()}"


def _in_darts() -> Iterator[Item]:
    for name, (label, runs) in IN_DARTS.items():
        yield selected_cells_item(
            f"darts_pt:{name}",
            f"Cells found by {label} on CIFAR-10",
            "darts",
            [[Shown(label, _first(runs))]],
            footnotes=(FIRST_SEED,),
            has_tables=True,
        )


def _in_small_spaces() -> Iterator[Item]:
    """Figures 13 to 24: the data sets one after the other, each with all spaces."""
    pairs = [(title, name) for title in DATASETS for name in SPACES]
    for number, (title, name) in enumerate(pairs, start=13):
        yield selected_cells_item(
            f"darts_pt:F{number}",
            f"Cells found by DARTS+PT on {title}, space {name}",
            _of_name(name),
            [[Shown(PT, _first(name, DATASETS[title]))]],
        )


def _retrained(name: str, title: str, needs: str) -> Item:
    return waiting(f"darts_pt:{name}", title, TABLE, needs, reasons.RETRAIN)


PAPER = Paper(
    "darts_pt",
    "Rethinking Architecture Selection in Differentiable NAS",
    "R. Wang et al. Rethinking Architecture Selection in Differentiable NAS. ICLR 2021.",
    (
        _retrained("T1", "Accuracy before and after shuffling layers", "three trained networks"),
        _retrained("T2", "DARTS space, CIFAR-10", "searches, then training of the found networks"),
        _retrained("T3", "S1 to S4 on three data sets", "24 searches, then training"),
        selection_errors_item(
            "darts_pt:T4",
            "Trained and fixed alpha, DARTS space and NAS-Bench-201",
            TABLE_4_SEARCHES,
            TABLE_4_VARIANTS,
            reasons.RETRAIN,
            unproven=MINI_ONLY,
        ),
        _retrained("T5", "ImageNet, mobile setting", "training on ImageNet"),
        waiting(
            "darts_pt:text",
            "Selection by magnitude with the same schedule (PT-Mag)",
            TEXT,
            "a search, then training of the found network",
            reasons.RETRAIN,
        ),
        strength_bars_item(
            "darts_pt:F1",
            "Alpha against discretisation accuracy on three edges",
            "darts",
            {THREE_EDGES: 3},
        ),
        edge_choices_item(
            "darts_pt:F2",
            "Chosen operation on each edge of S2",
            "darts-s2",
            StandIn("S2, discretised", CELLS, SMALL_CELLS),
        ),
        skip_gap_item(
            "darts_pt:F3",
            "Gap of skip and convolution against supernet accuracy",
            "darts",
            (THREE_EDGES, ONE_EDGE),
        ),
        trajectories_item(
            "darts_pt:F4",
            "Trajectories of DARTS and DARTS+PT on NAS-Bench-201",
            {PT: BY_EPOCH},
            BY_EPOCH,
        ),
        selected_cells_item(
            "darts_pt:F5",
            "Normal cells found on S2 and S4",
            "darts-s2",
            [
                [Shown(f"{name}, DARTS", _first(name), True), Shown(f"{name}, {PT}", _first(name))]
                for name in ("S2", "S4")
            ],
            only_normal=True,
            footnotes=(FIGURE_5,),
        ),
        selection_track_item(
            "darts_pt:F6",
            "Validation accuracy while selecting on S2",
            "darts-s2",
            {
                PT: StandIn("S2", CELLS, SMALL_CELLS),
                MAGNITUDE: StandIn("S2, by magnitude", CELLS, SMALL_CELLS),
            },
        ),
        strength_bars_item(
            "darts_pt:F7",
            "Alpha against discretisation accuracy, several seeds",
            "darts",
            {THREE_EDGES: 1, ONE_EDGE: 1},
        ),
        trajectories_item(
            "darts_pt:F8",
            "Trajectories with fixed alpha on NAS-Bench-201",
            {"DARTS+PT (fix alpha)": FIXED_BY_EPOCH},
            BY_EPOCH,
        ),
        tuning_item("darts_pt:F9", "Number of fine-tuning epochs on NAS-Bench-201", PT, BY_TUNING),
        *_in_darts(),
        *_in_small_spaces(),
    ),
)
