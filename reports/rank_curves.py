"""Rank correlation against epoch of stored training curves: thesis figures 4.4 and 4.5."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from harness.benchmark import Benchmark, Slice
from harness.record import Record, RunSpec
from reports import nb201
from reports.card import card_of
from reports.figures import Curve, CurvePanel, rank_correlation
from reports.items import FIGURE, Artefact, Item
from reports.tables import Cell, Column, ResultTable, Row
from reports.verdict import Measured

N_CELLS = 200  # Thesis, section 4.2.1: 200 architectures ...
N_DRAWS = 10  # ... for 10 random seeds.
PROTOCOL = "sotl"
SHOWN_PARTS = (0.05, 0.25, 0.5, 1.0)  # ours: epochs shown in the table, as parts of the schedule.
HIGH = 0.9  # The correlation whose first epoch the thesis discusses in section 4.2.1.
TEST_NOTE = (
    "The benchmark stores no per-epoch accuracy or loss on the validation images alone for this"
    " data set, only on validation and test images together. The thesis draws that curve as"
    ' validation; here it is named "valid+test (contains test)".'
)
UNPROVEN = (
    "made on mini201 and on generated tables only: the real files at hand hold 3 architectures"
)
TRUTH_NOTE = "Truth is the final test accuracy of the long schedule in all panels."


@dataclass(frozen=True)
class Ranker:
    """One curve of a figure: its name and the score that the protocol records."""

    name: str
    score: str


@dataclass(frozen=True)
class Schedule:
    """One panel: a data set and a training schedule of which the table stores losses."""

    heading: str
    dataset: str
    trained_on: str
    epochs: int

    @property
    def title(self) -> str:
        return f"{self.heading}, {self.epochs}-epoch schedule"

    def slice(self, split: str, metric: str) -> Slice:
        """The slice of this schedule."""
        return Slice(self.dataset, self.trained_on, split, metric, self.epochs)


def rank_curves_item(
    name: str,
    title: str,
    titles: Sequence[str] | None,
    *,
    all_schedules: bool,
    n_cells: int | None = N_CELLS,
    n_draws: int = N_DRAWS,
    benchmark: str | None = None,
) -> Item:
    """A figure of rank correlations against the epoch.

    titles: the paper's names of the data sets; None: all of the benchmark, by its own names, for
    an item that is of no paper. all_schedules: a panel for every schedule of a data
    set, or only for the one of its truth. n_cells: of a draw; None: the whole space, once.
    benchmark: see `Item`.
    """
    if n_cells is None:
        n_draws = 1

    def panels(benchmark: Benchmark) -> list[Schedule]:
        return [
            schedule
            for heading, dataset in _headings(benchmark, titles).items()
            for schedule in _schedules(benchmark, heading, dataset, all_schedules)
        ]

    def problem(benchmark: Benchmark) -> str | None:
        if not panels(benchmark):
            return f"{benchmark.name} stores no training losses of {' or '.join(titles or ['any'])}"
        if len(benchmark) < (n_cells or benchmark.space.size):
            held = f"{len(benchmark):,} of {benchmark.space.size:,} archs"
            wanted = f"the thesis draws {n_cells}" if n_cells else "all are ranked"
            return f"{benchmark.name} holds {held}; {wanted}"
        return None

    def requests(benchmark: Benchmark) -> list[RunSpec]:
        return [
            _spec(benchmark, panel, ranker, draw, n_cells)
            for panel in panels(benchmark)
            for ranker in _rankers(benchmark, panel)
            for draw in range(n_draws)
        ]

    def measure(item: Item, benchmark: Benchmark | None, records: Sequence[Record]) -> Artefact:
        assert benchmark is not None
        artefact = _artefact(item, benchmark, panels(benchmark), records, n_cells, n_draws)
        notes = nb201.not_the_papers(benchmark) if titles is not None else []
        return replace(artefact, footnotes=(*artefact.footnotes, *notes))

    return Item(
        name,
        title,
        FIGURE,
        "training losses and accuracies of every epoch, and final test accuracy",
        space=nb201.SPACE,
        problem=problem,
        requests=requests,
        measure=measure,
        unproven="" if benchmark else UNPROVEN,
        benchmark=benchmark,
    )


def _headings(benchmark: Benchmark, titles: Sequence[str] | None) -> dict[str, str]:
    """Heading -> data set of the benchmark, of those that it has."""
    if titles is None:
        return {dataset: dataset for dataset in benchmark.datasets}
    held = nb201.datasets(benchmark)
    return {nb201.shown(benchmark, title): held[title] for title in titles if title in held}


def _schedules(benchmark: Benchmark, heading: str, dataset: str, every: bool) -> Iterator[Schedule]:
    """Schedules of which the training loss of every epoch is held, the longest first."""
    roles = benchmark.roles[dataset]
    trained_on = (roles.search or roles.truth).trained_on
    held = sorted({at.epochs for at in benchmark.holdings if at.dataset == dataset}, reverse=True)
    for epochs in held:
        schedule = Schedule(heading, dataset, str(trained_on), epochs)
        if (every or epochs == roles.truth.epochs) and _has_curve(
            benchmark, schedule.slice("train", "loss")
        ):
            yield schedule


def _has_curve(benchmark: Benchmark, at: Slice) -> bool:
    holding = benchmark.holdings.get(at)
    return holding is not None and len(holding.epochs) > 1


def _rankers(benchmark: Benchmark, schedule: Schedule) -> list[Ranker]:
    """SoTL, and every accuracy and loss whose curve the table holds."""
    sotl = f"sotl:{schedule.dataset}/{schedule.trained_on}/{schedule.epochs}"
    found = [Ranker("SoTL, last epoch", f"{sotl}:last=1"), Ranker("SoTL, all epochs", sotl)]
    validation = "valid", "validation {}"
    if not _has_curve(benchmark, schedule.slice("valid", "accuracy")):
        validation = "valid+test", "valid+test {} (contains test)"
    for split, named in (validation, ("train", "training {}")):
        # The training loss of an epoch is SoTL over that epoch, drawn already.
        for metric in ("accuracy", "loss") if split != "train" else ("accuracy",):
            at = schedule.slice(split, metric)
            if _has_curve(benchmark, at):
                found.append(Ranker(named.format(metric), f"slice:{at}"))
    return found


def _spec(
    benchmark: Benchmark, schedule: Schedule, ranker: Ranker, draw: int, n_cells: int | None
) -> RunSpec:
    truth = benchmark.roles[schedule.dataset].truth
    setting = {
        "dataset": schedule.dataset,
        "score": ranker.score,
        "n_archs": n_cells,
        "table_seed": nb201.seed_of(benchmark, truth),
    }
    return RunSpec(PROTOCOL, benchmark.name, draw, setting=setting)


@dataclass(frozen=True)
class Ranked:
    """Spearman of one ranker on every draw: epochs (n_epoch,), values (n_draws, n_epoch)."""

    name: str
    epochs: NDArray[np.int64]
    values: NDArray[np.float64]

    def curve(self) -> Curve:
        """Mean and deviation over the draws, at every epoch."""
        return Curve(
            self.name, self.epochs.astype(np.float64), self.values.mean(axis=0), self._std()
        )

    def _std(self) -> NDArray[np.float64]:
        if len(self.values) < 2:
            return np.full(len(self.epochs), np.nan)
        std: NDArray[np.float64] = self.values.std(axis=0, ddof=1)
        return std

    def at(self, epoch: int) -> Measured | None:
        """Mean and deviation at one epoch, None where the curve has none there."""
        found = np.flatnonzero(self.epochs == epoch)
        if not found.size:
            return None
        column = self.values[:, found[0]]
        std = float(self._std()[found[0]]) if len(column) > 1 else None
        return Measured(float(column.mean()), std, len(column))

    def first_epoch_above(self, level: float) -> int | None:
        """The first epoch at which the mean reaches a level."""
        reached = np.flatnonzero(self.values.mean(axis=0) >= level)
        return int(self.epochs[reached[0]]) if reached.size else None


def _ranked(ranker: Ranker, dataset: str, records: Sequence[Record]) -> Ranked:
    from harness.stats import spearman_curve

    own = [
        record
        for record in records
        if record.identity["setting"]["score"] == ranker.score
        and record.identity["setting"]["dataset"] == dataset
    ]
    values = [spearman_curve(record.array("scores"), record.array("truth")) for record in own]
    return Ranked(ranker.name, np.array(own[0].result["epochs"]), np.array(values))


def _artefact(
    item: Item,
    benchmark: Benchmark,
    panels: Sequence[Schedule],
    records: Sequence[Record],
    n_cells: int | None,
    n_draws: int,
) -> Artefact:
    over = f"on {n_draws} draws of {n_cells} cells: mean and one standard deviation"
    if n_cells is None:
        over = f"over all {len(benchmark):,} cells"
    found = {
        panel: [_ranked(ranker, panel.dataset, records) for ranker in _rankers(benchmark, panel)]
        for panel in panels
    }
    plot = rank_correlation(
        [
            CurvePanel(f"{p.heading}\n{p.epochs}-epoch schedule", tuple(r.curve() for r in ranked))
            for p, ranked in found.items()
        ],
        n_draws=n_draws,
        caption="Spearman's rank correlation of each score with final test accuracy, after every"
        f" epoch, {over}.",
    )
    datasets = list(dict.fromkeys(panel.dataset for panel in panels))
    slices = [
        (f"{panel.dataset}, score", ranker.score.removeprefix("slice:"))
        for panel in panels
        for ranker in _rankers(benchmark, panel)
    ]
    return Artefact(
        tables=(_table(item, found),),
        card=card_of(
            benchmark,
            datasets=datasets,
            roles=("truth",),
            seeds=nb201.seeds_in_words(benchmark, datasets[0])
            + (f"; draws 0 to {n_draws - 1}" if n_cells else ""),
            selection="none; all drawn cells are ranked, losses negated",
            recipe=f"protocol {PROTOCOL}",
            n=f"{n_draws} draws of {n_cells} cells without replacement"
            if n_cells
            else f"all {len(benchmark):,} cells",
            extra_slices=slices,
        ),
        plots=(plot,),
        footnotes=tuple(_notes(found)),
    )


def _table(item: Item, found: dict[Schedule, list[Ranked]]) -> ResultTable:
    """The curves at a few epochs of each schedule."""
    shown = [(panel, max(1, round(part * panel.epochs))) for panel in found for part in SHOWN_PARTS]
    names = dict.fromkeys(ranked.name for held in found.values() for ranked in held)
    rows = tuple(Row(name, tuple(_cell(found[p], name, e) for p, e in shown)) for name in names)
    columns = tuple(Column(panel.title, f"epoch {epoch}", 3) for panel, epoch in shown)
    return ResultTable(item.id, item.title, columns, rows, row_header="Score")


def _cell(held: Sequence[Ranked], name: str, epoch: int) -> Cell:
    measured = [ranked.at(epoch) for ranked in held if ranked.name == name]
    return Cell(measured[0] if measured else None)


def _notes(found: dict[Schedule, list[Ranked]]) -> list[str]:
    notes = [TRUTH_NOTE]
    if any("contains test" in ranked.name for held in found.values() for ranked in held):
        notes.append(TEST_NOTE)
    for panel, held in found.items():
        firsts = {ranked.name: ranked.first_epoch_above(HIGH) for ranked in held}
        reached = "; ".join(
            f"{name}: {'never' if first is None else f'epoch {first}'}"
            for name, first in firsts.items()
        )
        notes.append(f"{panel.title}: mean correlation first reaches {HIGH:.2f} at: {reached}.")
    return notes
