"""Rank correlation of the parameter count with accuracy over draws of cells: thesis table 4.5."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.benchmark import Benchmark
from harness.record import Record
from reports import nb201, reasons
from reports.card import card_of
from reports.figures import Distribution, distributions
from reports.items import TABLE, Artefact, Item
from reports.published import PublishedValue
from reports.tables import Cell, Column, ResultTable, Row, compared, from_published
from reports.verdict import Measured

PARAMS = "SPOS + Params"
N_CELLS = 200  # Thesis, section 4.2: 200 architectures on NAS-Bench-201.
N_DRAWS = 1_000  # ours: the 95 % interval's ends are then stable to about 0.005.
STREAM = "thesis table 4.5"
VERDICT_RULE = (
    "The thesis' deviation of 0.00 is over three supernets on one fixed draw of 200 cells, which"
    " have one parameter count; ours is over draws. The two cannot be tested against each other,"
    " so the percentile of our draws at which the published value lies is given instead."
)
OTHER_SPACES = (
    "needs accuracies and parameter counts on NAS-Bench-1Shot1 and in the DARTS space, which this"
    " version does not read"
)
ROUNDING = "Accuracies are ranked as the table holds them, not rounded to two decimals first."


def params_item(name: str, title: str, *, n_cells: int = N_CELLS, n_draws: int = N_DRAWS) -> Item:
    """Thesis table 4.5; the parameter rows on NAS-Bench-201 are measured."""

    def problem(benchmark: Benchmark) -> str | None:
        if len(benchmark) < n_cells:
            held = f"{len(benchmark):,} of {benchmark.space.size:,} archs"
            return f"{benchmark.name} holds {held}; the thesis draws {n_cells}"
        return nb201.no_datasets(benchmark)

    def measure(item: Item, benchmark: Benchmark | None, records: Sequence[Record]) -> Artefact:
        assert benchmark is not None
        return _artefact(item, benchmark, n_cells, n_draws)

    return Item(
        name,
        title,
        TABLE,
        "parameter counts and test accuracy of all cells of NAS-Bench-201",
        space=nb201.SPACE,
        problem=problem,
        measure=measure,
    )


@dataclass(frozen=True)
class Draws:
    """Spearman of parameters with accuracy on every draw, (n_draws,), and on the whole space."""

    values: NDArray[np.float64]
    whole: float

    @property
    def interval(self) -> tuple[float, float]:
        """Between these lie 95 % of the draws."""
        from harness.stats import percentile_interval

        return percentile_interval(self.values)

    def percentile(self, value: float) -> float:
        """Percent of the draws at or below a value."""
        return 100 * float((self.values <= value).mean())

    def measured(self) -> Measured:
        """Mean and deviation over the draws."""
        std = float(self.values.std(ddof=1))
        return Measured(float(self.values.mean()), std, len(self.values))


def draw_correlations(benchmark: Benchmark, dataset: str, n_cells: int, n_draws: int) -> Draws:
    """Draws of n_cells without replacement, from the stream of this data set."""
    from harness.seeds import derive
    from harness.stats import over_draws, spearman

    truth_slice = benchmark.roles[dataset].truth
    truth = benchmark.column(truth_slice, seed=nb201.seed_of(benchmark, truth_slice))
    params = benchmark.cost_column("params", dataset)
    # Every data set starts the same stream, so all are measured on the same draws of cells.
    rng = derive(0, STREAM)
    values = over_draws(spearman, params, truth, n_cells=n_cells, n_draws=n_draws, rng=rng)
    return Draws(values, spearman(params, truth))


def _artefact(item: Item, benchmark: Benchmark, n_cells: int, n_draws: int) -> Artefact:
    datasets = nb201.datasets(benchmark)
    found = {
        title: draw_correlations(benchmark, dataset, n_cells, n_draws)
        for title, dataset in datasets.items()
    }
    published = {
        value.dataset: value
        for value in item.published()
        if value.method == PARAMS and value.space == "NB201"
    }
    table = from_published(
        item.id,
        item.title,
        item.published(),
        row_of=lambda value: value.method,
        column_of=lambda value: _column(value, benchmark),
        fill=lambda value: _cell(value, benchmark, found),
    )
    printed = {title: float(published[title].text) for title in found}
    plot = distributions(
        [
            Distribution(nb201.shown(benchmark, title), draws.values, draws.whole, printed[title])
            for title, draws in found.items()
        ],
        x_label="Spearman correlation",
        caption=f"Rank correlation of the parameter count with test accuracy on {n_draws:,} draws"
        f" of {n_cells} cells, on the whole space, and as published.",
    )
    return Artefact(
        tables=(table, _draws_table(item, benchmark, found, printed, n_cells)),
        card=card_of(
            benchmark,
            datasets=list(datasets.values()),
            roles=("truth",),
            seeds=nb201.seeds_in_words(benchmark, next(iter(datasets.values())))
            + f'; draws from the stream "{STREAM}" of seed 0',
            selection="none; parameters in closed form are ranked against test accuracy",
            n=f"{n_draws:,} draws of {n_cells} cells without replacement",
        ),
        plots=(plot,),
        footnotes=(VERDICT_RULE, ROUNDING, *nb201.not_the_papers(benchmark)),
    )


def _column(value: PublishedValue, benchmark: Benchmark) -> Column:
    in_space = value.space == "NB201"
    return Column(value.space, nb201.shown(benchmark, value.dataset) if in_space else "")


def _cell(value: PublishedValue, benchmark: Benchmark, found: dict[str, Draws]) -> Cell:
    if value.method != PARAMS:
        return Cell(None, value, reason=reasons.FINE_TUNING)
    if value.space != "NB201":
        return Cell(None, value, reason=OTHER_SPACES)
    if value.dataset not in found:
        return Cell(None, value, reason=f"{benchmark.name} has no {value.dataset}")
    draws = found[value.dataset]
    low, high = draws.interval
    assert value.mean is not None
    return compared(
        draws.measured(),
        value,
        same_benchmark=nb201.is_the_papers(benchmark, nb201.datasets(benchmark)[value.dataset]),
        same_spread=False,
        note=f"whole space {draws.whole:.3f}; 95 % of draws in {low:.3f} to {high:.3f};"
        f" published value at percentile {draws.percentile(value.mean):.1f}",
    )


def _draws_table(
    item: Item,
    benchmark: Benchmark,
    found: dict[str, Draws],
    printed: dict[str, float],
    n_cells: int,
) -> ResultTable:
    """The distribution over draws in numbers, a row a data set."""
    group = f"Draws of {n_cells} cells"
    columns = (
        Column(group, "mean", 3),
        Column(group, "2.5 %", 3),
        Column(group, "97.5 %", 3),
        Column("", "whole space", 3),
        Column("", "published", 2),
        Column("", "its percentile", 1),
    )
    rows = []
    for title, draws in found.items():
        low, high = draws.interval
        numbers = (low, high, draws.whole, printed[title])
        percentile = Measured(draws.percentile(printed[title]), unit="percentile")
        cells = [Cell(draws.measured()), *(Cell(Measured(number)) for number in numbers)]
        rows.append(Row(nb201.shown(benchmark, title), (*cells, Cell(percentile))))
    return ResultTable(
        item.id, "Parameters over draws", columns, tuple(rows), row_header="Data set"
    )
