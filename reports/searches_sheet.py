"""What searches found, as Markdown: the generated parts of docs/searches.md.

The part of the mid scale needs NAS-Bench-201's dump, imported as nb201.

python -m reports.searches_sheet
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import click
import numpy as np

from harness.config import read_labelled
from harness.engine import run_all
from harness.record import DONE, Record, RunSpec
from harness.spaces import space
from harness.spaces.darts import SKIP
from harness.spaces.nb201 import OPS
from harness.stats import mean_interval
from reports.papers.balenas import CONSTANTS
from reports.supernet_rows import COMMON

FOLLOWED = ("darts", "drnas", "balenas", "sotl")  # Of 50 epochs each.
EPOCHS = (1, 5, 10, 25, 50)
SUMMED = ("darts", "drnas", "sotl")  # What the variants of SoTL-DARTS are shown beside.
SUMS, MID_SCALE = "common/mini201_sotl", "common/nb201_cifar"
BALENAS = "common/mini201_balenas"
SAMPLES = tuple(f"{n} sample{'s' if n > 1 else ''}" for n in (1, 2, 3, 4))


def on_mini201() -> dict[str, str]:
    """The parts about mini201 by name. Of the records that are kept or packed; none is run."""
    rows = _finished(COMMON)
    return {
        "searches": "\n".join(_searches(rows)),
        "track": "\n".join(_on_the_way({label: rows[label] for label in FOLLOWED})),
        "sums": "\n".join(_searches({label: rows[label] for label in SUMMED} | _finished(SUMS))),
        "constants": "\n".join(_searches({"balenas": rows["balenas"]} | _varied())),
    }


def at_mid_scale() -> dict[str, str]:
    """The part about NAS-Bench-201's own supernet, in the same way."""
    return {"mid-scale": "\n".join(_mid_scale(_finished(MID_SCALE)))}


def _finished(suite: str) -> dict[str, list[Record]]:
    return {
        label: [r for r in run_all(specs, leave_out=_never) if r.status == DONE]
        for label, specs in read_labelled(suite).items()
    }


def _varied() -> dict[str, list[Record]]:
    """BaLeNAS with other constants and numbers of samples, each by its largest mean."""
    constants = [*SAMPLES, *(label.partition(", ")[2] for label in CONSTANTS)]
    rows = _finished(BALENAS)
    return {label: rows[label] for label in constants}


def _searches(rows: Mapping[str, Sequence[Record]]) -> list[str]:
    """Every label: what its cells reach and are made of, best mean first.

    The loss is the last epoch's, of the batches as weights learnt from them.
    """
    ranked = sorted(rows, key=lambda label: -float(_truths(rows[label]).mean()))
    lines = [
        f"| search | n | test accuracy (%) | 95 % of its mean | loss (nats) | {' | '.join(OPS)} |",
        "|---|--:|--:|--:|--:|" + "--:|" * len(OPS),
    ]
    for label in ranked:
        truths = _truths(rows[label])
        low, high = mean_interval(truths)
        loss = np.mean([_loss_after(record, -1) for record in rows[label]])
        lines.append(
            f"| {label} | {len(truths)} | {truths.mean():.1f} ± {truths.std(ddof=1):.1f} |"
            f" {low:.1f} to {high:.1f} | {loss:.3f} |"
            + "".join(f" {n:.1f} |" for n in _operations(rows[label]))
        )
    return lines


def _on_the_way(rows: Mapping[str, Sequence[Record]]) -> list[str]:
    """After some epochs: mean test accuracy of the cell of the epoch, and the training loss."""
    heads = [f"epoch {epoch} (%) | loss (nats)" for epoch in EPOCHS]
    lines = [f"| search | {' | '.join(heads)} |", "|---|" + "--:|--:|" * len(EPOCHS)]
    for label, records in rows.items():
        cells = []
        for epoch in EPOCHS:
            truths = [_truth_after(record, epoch) for record in records]
            losses = [_loss_after(record, epoch) for record in records]
            cells.append(f"{np.mean(truths):.1f} | {np.mean(losses):.3f}")
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return lines


def _mid_scale(rows: Mapping[str, Sequence[Record]]) -> list[str]:
    """Every run: what it spent, the test accuracy of its cell on every data set, and its skips.

    A method that learns no parameters has no cell after an epoch.
    """
    (datasets,) = {tuple(record.result["values"]) for held in rows.values() for record in held}
    lines = [
        f"| search | seed | epochs | image-passes | minutes | {' | '.join(datasets)} | cell |"
        " skips after each epoch |",
        "|---|--:|--:|--:|--:|" + "--:|" * len(datasets) + "---|---|",
    ]
    for label, records in rows.items():
        for record in records:
            found = record.result
            spent = [
                found["recipe"]["epochs"],
                f"{found['counts']['image_passes']:,}",
                f"{found['search_seconds'] / 60:.0f}",
            ]
            truths = [f"{found['values'][dataset]['truth']:.2f}" for dataset in datasets]
            cell = found["arch"].replace("|", "\\|")
            skips = [at["arch"].count(SKIP) for at in found["track"] if at["epoch"]]
            of_epochs = ", ".join(map(str, skips)) or "–"
            held = [label, record.identity["seed"], *spent, *truths, cell, of_epochs]
            lines.append(f"| {' | '.join(map(str, held))} |")
    return lines


def _loss_after(record: Record, epoch: int) -> float:
    return float(record.result["curves"][epoch]["losses"]["weights"])


def _truth_after(record: Record, epoch: int) -> float:
    (roles,) = record.result["track"][epoch]["values"].values()
    return float(roles["truth"])


def _never(spec: RunSpec) -> str:
    return "not run"


def _truths(records: Sequence[Record]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.array([record.result["final_truth"] for record in records], dtype=np.float64)


def _operations(records: Sequence[Record]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """(n_ops,) how many of a cell's six edges have each operation, on average."""
    cells = space("nb201")
    codes = np.array([cells.parse(record.result["arch"]).code for record in records])
    found: np.ndarray[tuple[int], np.dtype[np.float64]] = (
        (codes[:, :, np.newaxis] == np.arange(len(OPS))).sum(axis=1).mean(axis=0)
    )
    return found


if __name__ == "__main__":
    for name, part in (on_mini201() | at_mid_scale()).items():
        click.echo(f"<!-- {name}: begin -->\n{part}\n<!-- {name}: end -->\n")
