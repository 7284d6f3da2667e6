"""Every score, proxies of untrained networks among them, against the seconds that it costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness import registry
from harness.benchmark import Benchmark
from harness.errors import UnknownCost
from harness.ranking import Ranking, agreement, draw, unique_rows
from harness.record import DONE, Record, RunSpec
from harness.scores import CostScore, CurveScore, ProxyScore, Score, parse_score
from reports import nb201
from reports.card import card_of
from reports.items import TABLE, Artefact, Item
from reports.row_search import no_torch
from reports.score_ranks import CLASSES, EVERY, table_scores
from reports.tables import Cell, Column, ResultTable, Row
from reports.verdict import Measured

N_CELLS = 300  # Of a draw, ours: all proxies take about half a minute a cell of NAS-Bench-201.
DRAW_SEED = 0
# What is asked of single proxies. SynFlow looks at no image, so noise of their shape will do. The
# seconds of ntk_cond grow with the square of the batch; ours is near TE-NAS's 14 on CIFAR-10.
OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "synflow": {"images": "gaussian"},
    "ntk_cond": {"batch": 16},
}
CLOSED_FORM = ("params", "flops")
NUMBERS = (("Spearman", 3), ("from", 3), ("to", 3), ("Kendall", 3), ("top 10 (%)", 2))
COLUMNS = (
    *(Column(group, name, digits) for group in (EVERY, CLASSES) for name, digits in NUMBERS),
    Column("", "seconds a cell", 3),
)
UNRECORDED = "the table records no training time"
NO_ORDER = "all cells have the same score"
NOTE = (
    f"Each half is one draw of {N_CELLS} cells, the same for all scores: of all cells, and of one"
    " cell a functional class. From and to are the 95 % percentile bootstrap of Spearman over the"
    " draw. Cells without a score or without a truth are left out."
)
SECONDS_NOTE = (
    "Seconds of a proxy are wall clock for one score alone on one thread of the machine that ran"
    " it, without building the network; of a curve score, the training up to that epoch as the"
    " table records it, on its own machine, with the validations for validation accuracy."
    " Parameters and multiply-adds are computed in closed form."
)


def score_costs_item(name: str, title: str) -> Item:
    """A table a data set: rank correlations of all scores beside what one of them costs."""
    return Item(
        name,
        title,
        TABLE,
        "accuracies of NAS-Bench-201's cells, and its networks, untrained, on their images",
        space=nb201.SPACE,
        problem=nb201.no_datasets,
        requests=lambda benchmark: [
            spec for asked in _asked(benchmark) for spec in asked.specs(benchmark)
        ],
        measure=_measure,
        unproven="made whole on mini201 only; five proxies were ranked on NAS-Bench-201's networks",
        tells_skips=True,
    )


@dataclass(frozen=True)
class Asked:
    """The cells on which a proxy is asked for, and its runs."""

    dataset: str
    score: ProxyScore
    rows: NDArray[np.intp]

    def specs(self, benchmark: Benchmark) -> list[RunSpec]:
        return self.score.specs(benchmark, self.dataset, self.rows)


@dataclass(frozen=True)
class Found:
    """A score of one draw: (n,) values, seconds of one of them, or why there are none."""

    values: NDArray[np.floating]
    seconds: float | None = None
    reason: str = ""


def _asked(benchmark: Benchmark) -> Iterator[Asked]:
    """All proxies on both draws of every data set; none without torch."""
    if no_torch():
        return
    for dataset in benchmark.datasets:
        for name in registry.names("proxy"):
            for rows in _draws(benchmark):
                yield Asked(dataset, ProxyScore(name, **OPTIONS.get(name, {})), rows)


def _draws(benchmark: Benchmark) -> list[NDArray[np.intp]]:
    """Rows of the benchmark: of all its cells, and of one cell a class."""
    halves = np.arange(len(benchmark)), unique_rows(benchmark)
    return [draw(rows, min(N_CELLS, len(rows)), DRAW_SEED) for rows in halves]


def _measure(item: Item, benchmark: Benchmark | None, records: Sequence[Record]) -> Artefact:
    assert benchmark is not None
    left = iter(records)
    proxies: dict[tuple[str, str], list[Found]] = {}
    for asked in _asked(benchmark):
        own = [next(left) for _ in asked.specs(benchmark)]
        proxies.setdefault((asked.dataset, asked.score.proxy), []).append(
            _of_proxy(asked.score.proxy, own)
        )
    tables = tuple(_table(item, benchmark, dataset, proxies) for dataset in benchmark.datasets)
    return Artefact(
        tables=tables,
        card=card_of(
            benchmark,
            datasets=benchmark.datasets,
            roles=("truth",),
            seeds=nb201.seeds_in_words(benchmark, benchmark.datasets[0])
            + f"; proxies: seed 0; draws: seed {DRAW_SEED}",
            selection="none; all drawn cells are ranked, losses negated",
            recipe="look-up; proxies: protocol zerocost",
            n=f"{N_CELLS} cells a draw",
        ),
        footnotes=(NOTE, SECONDS_NOTE),
    )


def _of_proxy(proxy: str, records: Sequence[Record]) -> Found:
    failed = next((record for record in records if record.status != DONE), None)
    if failed is not None:
        return Found(np.empty(0), reason=failed.reason)
    values, seconds = (
        np.concatenate([record.array(name) for record in records])
        for name in (proxy, f"seconds_{proxy}")
    )
    return Found(values, float(seconds.mean()))


def _table(
    item: Item,
    benchmark: Benchmark,
    dataset: str,
    proxies: dict[tuple[str, str], list[Found]],
) -> ResultTable:
    at = benchmark.roles[dataset].truth
    truth = benchmark.column(at, seed=nb201.seed_of(benchmark, at))
    draws = _draws(benchmark)
    rows = [
        _row(
            scored.label,
            [_of_table(benchmark, dataset, scored.score, d) for d in draws],
            truth,
            draws,
        )
        for scored in table_scores(benchmark, dataset)
        if _is_shown(scored.score)
    ]
    for name in registry.names("proxy"):
        found = proxies.get((dataset, name), [Found(np.empty(0), reason=no_torch() or "")] * 2)
        rows.append(_row(_label(name), found, truth, draws))
    return ResultTable(item.id, dataset, COLUMNS, tuple(rows), row_header="Score")


def _label(proxy: str) -> str:
    batch = OPTIONS.get(proxy, {}).get("batch")
    return f"`{proxy}`" + (f", batch of {batch}" if batch else "")


def _is_shown(spelling: str) -> bool:
    """Of the costs only those that need no run."""
    score = parse_score(spelling)
    return not isinstance(score, CostScore) or score.name in CLOSED_FORM


def _of_table(benchmark: Benchmark, dataset: str, spelling: str, rows: NDArray[np.intp]) -> Found:
    score = parse_score(spelling)
    at = benchmark.roles[dataset].truth
    values = score.of_rows(benchmark, dataset, nb201.seed_of(benchmark, at), rows)
    return Found(values, _recorded_seconds(benchmark, score, rows))


def _recorded_seconds(benchmark: Benchmark, score: Score, rows: NDArray[np.intp]) -> float | None:
    """Mean seconds of the training that a score needs; 0 for a closed form, None if unknown."""
    if not isinstance(score, CurveScore):
        return 0.0
    holding = score.holding(benchmark)
    at, epoch = holding.slice, score.epoch or holding.epochs[-1]
    names = ["train_seconds", *(["valid_seconds"] if at.split == "valid" else [])]
    try:
        train, *valid = (
            benchmark.cost_column(name, at.dataset, trained_on=at.trained_on, epochs=at.epochs)[
                rows
            ]
            for name in names
        )
    except UnknownCost:
        return None
    per_epoch = train / at.epochs + sum(valid)
    return float(np.nanmean(per_epoch * epoch))


def _row(
    label: str,
    found: Sequence[Found],
    truth: NDArray[np.floating],
    draws: Sequence[NDArray[np.intp]],
) -> Row:
    cells = [
        cell for half, rows in zip(found, draws, strict=True) for cell in _half(half, truth[rows])
    ]
    known = [half.seconds for half in found if half.seconds is not None]
    reason = next((half.reason for half in found if half.reason), UNRECORDED)
    seconds = Cell(Measured(float(np.mean(known)), unit="s")) if known else Cell(reason=reason)
    return Row(label, (*cells, seconds))


def _half(found: Found, truth: NDArray[np.floating]) -> list[Cell]:
    if found.reason:
        return [Cell(reason=found.reason) for _ in NUMBERS]
    ranking = agreement(found.values, truth, is_sample=True)
    if np.isnan(ranking.spearman):
        return [Cell(reason=NO_ORDER) for _ in NUMBERS]
    return [Cell(measured) for measured in _numbers(ranking)]


def _numbers(ranking: Ranking) -> list[Measured]:
    low, high = ranking.interval or (np.nan, np.nan)
    plain = [
        Measured(value, None, ranking.n) for value in (ranking.spearman, low, high, ranking.kendall)
    ]
    return [*plain, Measured(ranking.top10, None, min(10, ranking.n), "%")]
