"""Every score that a table can answer without training, ranked against the truth of its space."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from harness.benchmark import Benchmark
from harness.ranking import Ranking, rank
from harness.record import Record
from reports import nb201
from reports.card import card_of
from reports.items import TABLE, Artefact, Item
from reports.tables import Cell, Column, ResultTable, Row
from reports.verdict import Measured

PARTS = (0.2, 0.5, 1.0)  # ours: of a schedule, after which curve scores are read.
EMA = 0.9  # ours
EVERY, CLASSES = "All cells", "One cell a functional class"
COLUMNS = tuple(
    Column(group, name, digits)
    for group in (EVERY, CLASSES)
    for name, digits in (("Spearman", 3), ("Kendall", 3), ("top 10 (%)", 2))
)
NOTE = (
    "Top 10 is the mean truth of the ten best cells by the score, ties broken by index. Cells of"
    " one functional class differ in cost, so costs rank all cells and single classes differently."
)


class Scored(NamedTuple):
    """A row: its label and the score's spelling."""

    label: str
    score: str


def score_ranks_item(name: str, title: str, benchmark: str) -> Item:
    """A table of rank correlations over the whole space of a benchmark's first data set."""

    def problem(benchmark: Benchmark) -> str | None:
        return nb201.no_datasets(benchmark)

    return Item(
        name,
        title,
        TABLE,
        "costs, and accuracies and training losses of every epoch",
        space=nb201.SPACE,
        problem=problem,
        measure=_measure,
        benchmark=benchmark,
    )


def _measure(item: Item, benchmark: Benchmark | None, records: Sequence[Record]) -> Artefact:
    assert benchmark is not None
    dataset = benchmark.datasets[0]
    truth = benchmark.roles[dataset].truth
    seed = nb201.seed_of(benchmark, truth)
    rows = tuple(
        Row(
            scored.label,
            tuple(
                Cell(measured)
                for unique in (False, True)
                for measured in _numbers(
                    rank(benchmark, scored.score, truth, seed=seed, unique=unique)
                )
            ),
        )
        for scored in table_scores(benchmark, dataset)
    )
    return Artefact(
        tables=(ResultTable(item.id, item.title, COLUMNS, rows, row_header="Score"),),
        card=card_of(
            benchmark,
            datasets=[dataset],
            roles=("truth",),
            seeds=nb201.seeds_in_words(benchmark, dataset),
            selection="none; all cells are ranked, losses negated",
            n=f"{len(benchmark):,} cells",
        ),
        footnotes=(NOTE,),
    )


def _numbers(found: Ranking) -> tuple[Measured, Measured, Measured]:
    return (
        Measured(found.spearman, None, found.n),
        Measured(found.kendall, None, found.n),
        Measured(found.top10, None, 10, "%"),
    )


def table_scores(benchmark: Benchmark, dataset: str) -> Iterator[Scored]:
    """Costs, then validation accuracies and sums of training losses, schedule by schedule."""
    for cost in benchmark.costs():
        if cost.dataset == dataset:
            parts = (cost.name, cost.trained_on, cost.epochs)
            spelling = "/".join(str(part) for part in parts if part is not None)
            yield Scored(f"`{spelling}`", spelling)
    roles = benchmark.roles[dataset]
    on = (roles.search or roles.truth).trained_on
    held = {str(at): holding.epochs for at, holding in benchmark.holdings.items()}
    for epochs in sorted({at.epochs for at in benchmark.holdings if at.dataset == dataset}):
        accuracy, sotl = f"{dataset}/{on}/valid/accuracy/{epochs}", f"sotl:{dataset}/{on}/{epochs}"
        losses = held.get(f"{dataset}/{on}/train/loss/{epochs}", ())
        for epoch in sorted({max(1, round(part * epochs)) for part in PARTS}):
            place = f"epoch {epoch} of {epochs}"
            if epoch in held.get(accuracy, ()):
                yield Scored(f"validation accuracy, {place}", f"slice:{accuracy}@{epoch}")
            if len(losses) == epochs:
                yield Scored(f"SoTL, {place}", f"{sotl}@{epoch}")
                yield Scored(f"SoTL, last epoch only, {place}", f"{sotl}:last=1@{epoch}")
                yield Scored(f"SoTL, weighted {EMA}, {place}", f"{sotl}:ema={EMA}@{epoch}")
