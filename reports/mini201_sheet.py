"""What mini201 measured, as Markdown: the generated section of docs/mini201.md.

python -m reports.mini201_sheet
"""

from __future__ import annotations

import math

import click
import numpy as np
from numpy.typing import NDArray

from harness import class_table, load, stats
from harness.benchmark import MEAN, Benchmark, Slice
from harness.class_table import SPLITS, ClassTable
from harness.errors import HarnessError
from harness.ranking import unique_rows
from harness.scores import parse_score
from harness.shipped import shipped

SECOND_SEED = 1
SEED = 0
CHANCE = 0.1  # Of ten classes.
REAL = "nb201"  # A store of the real benchmark, where one is imported.
REAL_TRUTH = Slice("cifar10", "train+valid", "test", "accuracy", 200)
N_SETTLED, SETTLED_SEED = 40, 42


def settled_on() -> NDArray[np.int32]:
    """(40,): indices of the classes on which the settings were chosen."""
    representatives = np.unique(load("mini201").space.representatives)  # type: ignore[attr-defined]
    rng = np.random.default_rng(SETTLED_SEED)
    return np.sort(rng.choice(representatives, N_SETTLED, replace=False))


def sheet() -> str:
    """The facts as a Markdown table; the line on NAS-Bench-201 needs its table imported."""
    table = class_table.read(shipped()["mini201"].file)
    lines = ["| fact | value |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in [*_trained(table), *_facts(table)]]
    return "\n".join(lines)


def _trained(table: ClassTable) -> list[tuple[str, str]]:
    """How many classes have a training, by schedule and seed, and what that took."""
    n_classes = len(table.classes)
    counts = [
        (f"classes trained, {name}", f"{n:,} of {n_classes:,}")
        for name, n in table.counts().items()
    ]
    seconds = sum(
        epochs * float(np.nansum(table.arrays[epochs, split, "seconds"]))
        for epochs in table.schedules
        for split in SPLITS
    )
    hours = ("hours of one core, evaluations included", f"{seconds / 3600:.1f}")
    return [*counts, hours, ("machine", "; ".join(table.machines))]


def _facts(table: ClassTable) -> list[tuple[str, str]]:
    bench = load("mini201")
    (dataset,) = bench.datasets
    roles, rows = bench.roles[dataset], unique_rows(bench)
    test = bench.column(roles.truth, seed=SEED)[rows]
    limit = 100 * (CHANCE + 3 * math.sqrt(CHANCE * (1 - CHANCE) / table.n_images("test")))
    low = [int(row) for row in rows[test < limit]]
    cut = [row for row in low if not _reaches_output(bench, row)]
    scores = {
        "validation accuracy": f"slice:{roles.search}",
        "SoTL, all epochs": f"sotl:{dataset}/train/{roles.truth.epochs}",
    }
    if roles.short is not None:
        scores["validation accuracy of the short schedule"] = f"slice:{roles.short}"
    low_text, median, high = (f"{q:.1f}" for q in np.nanpercentile(test, [10, 50, 90]))
    return [
        ("test accuracy, 10th / 50th / 90th percentile (%)", f"{low_text} / {median} / {high}"),
        ("test accuracy, largest (%)", f"{np.nanmax(test):.1f}"),
        (f"classes below chance + 3 sigma ({limit:.2f} %)", _low(bench, low, cut)),
        *(
            (f"Spearman of {name} with test accuracy", _spearman(bench, score, test, rows))
            for name, score in scores.items()
        ),
        ("Spearman with NAS-Bench-201's CIFAR-10 test accuracy", _with_real(bench, test, rows)),
        *_second_seed(bench, test, rows),
    ]


def _second_seed(
    bench: Benchmark, test: NDArray[np.float32], rows: NDArray[np.intp]
) -> list[tuple[str, str]]:
    """How alike two trainings of one class end, where there are two."""
    truth = bench.holding(bench.roles[bench.datasets[0]].truth)
    if SECOND_SEED not in truth.seeds:
        return []
    again = bench.column(truth.slice, seed=SECOND_SEED)[rows]
    both = stats.complete(test, again)
    differences = test[both] - again[both]
    return [
        (
            "Spearman of two seeds' test accuracy",
            f"{stats.spearman(test, again):.3f} (n={int(both.sum()):,})",
        ),
        (
            "standard deviation of one seed's test accuracy (points)",
            f"{differences.std() / math.sqrt(2):.1f} (n={int(both.sum()):,}, of differences)",
        ),
    ]


def _reaches_output(bench: Benchmark, row: int) -> bool:
    return bool(bench.space.reaches_output(bench.archs[row]))  # type: ignore[attr-defined]


def _low(bench: Benchmark, low: list[int], cut: list[int]) -> str:
    others = [f"`{bench.space.format(bench.archs[row])}`" for row in low if row not in cut]
    if not others:
        return f"{len(low)}, all without a path to the output"
    return f"{len(low)}, of which these have a path to the output: {', '.join(others)}"


def _spearman(
    bench: Benchmark, score: str, test: NDArray[np.float32], rows: NDArray[np.intp]
) -> str:
    (dataset,) = bench.datasets
    values = parse_score(score).values(bench, dataset, SEED)[rows]
    n = int(stats.complete(values, test).sum())
    return f"{stats.spearman(values, test):.3f} (n={n:,})"


def _with_real(bench: Benchmark, test: NDArray[np.float32], rows: NDArray[np.intp]) -> str:
    """On the classes that were not used to choose the settings, with a bootstrap interval."""
    try:
        real = load(REAL)
        truth = real.column(REAL_TRUTH, seed=real.holding(REAL_TRUTH).label or MEAN)
    except HarnessError as error:
        return f"not measured: {error.message}"
    unused = ~np.isin(bench.indices[rows], settled_on())
    ours, theirs = test[unused], truth[[real.row(int(i)) for i in bench.indices[rows][unused]]]
    low, high = stats.bootstrap_interval(ours, theirs)
    n = int(stats.complete(ours, theirs).sum())
    return f"{stats.spearman(ours, theirs):.3f} (95 % bootstrap {low:.3f} … {high:.3f}, n={n:,})"


if __name__ == "__main__":
    click.echo(sheet())
