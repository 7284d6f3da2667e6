"""DARTS-PT: rethinking architecture selection in differentiable NAS (ICLR 2021)."""

from __future__ import annotations

from reports import reasons
from reports.items import FIGURE, TABLE, TEXT, Item, Paper, waiting
from reports.selection_errors import selection_errors_item
from reports.supernet_rows import MINI_ONLY, Searched

SUPERNET = "a trained DARTS supernet"
TRAJECTORY = "snapshots of a supernet on NAS-Bench-201 and the table's test accuracy"
FOUND_CELLS = {
    "F10": "DARTS+PT on CIFAR-10",
    "F11": "SDARTS+PT on CIFAR-10",
    "F12": "SGAS+PT on CIFAR-10",
    **{
        f"F{13 + 4 * row + column}": f"DARTS+PT on {dataset}, space S{column + 1}"
        for row, dataset in enumerate(("CIFAR-10", "CIFAR-100", "SVHN"))
        for column in range(4)
    },
}

TABLE_4 = "published/darts_pt_table4"
TABLE_4_SEARCHES = {
    "DARTS": Searched("darts", TABLE_4, each=True),
    "DARTS+PT": Searched("darts-pt", TABLE_4, each=True),
    "DARTS+PT (fix alpha)": Searched("fixed_alpha-pt", TABLE_4, each=True),
}


def _retrained(name: str, title: str, needs: str) -> Item:
    return waiting(f"darts_pt:{name}", title, TABLE, needs, reasons.RETRAIN)


def _searched(name: str, title: str, needs: str = SUPERNET) -> Item:
    return waiting(f"darts_pt:{name}", title, FIGURE, needs, reasons.SEARCH)


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
        _searched("F1", "Alpha against discretisation accuracy on three edges"),
        _searched("F2", "Chosen operation on each edge of S2", "a trained supernet of S2"),
        _searched("F3", "Gap of skip and convolution against supernet accuracy"),
        _searched("F4", "Trajectories of DARTS and DARTS+PT on NAS-Bench-201", TRAJECTORY),
        _searched("F5", "Normal cells found on S2 and S4", "searches on S2 and S4"),
        _searched("F6", "Validation accuracy while selecting on S2", "a trained supernet of S2"),
        _searched("F7", "Alpha against discretisation accuracy, six seeds"),
        _searched("F8", "Trajectories with fixed alpha on NAS-Bench-201", TRAJECTORY),
        _searched("F9", "Number of fine-tuning epochs on NAS-Bench-201", TRAJECTORY),
        *(
            _searched(name, f"Cells found by {what}", "a search")
            for name, what in FOUND_CELLS.items()
        ),
    ),
)
