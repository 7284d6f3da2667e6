"""Random and searched cells as NAS-Bench-301 predicts them: FreeDARTS tables 6 and 7."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.benchmark import MEAN, Benchmark
from harness.record import Record, RunSpec
from harness.seeds import derive
from harness.surrogate import Surrogate
from reports import reasons
from reports.average_best import METRICS, statistic
from reports.card import card_of
from reports.found_cells import Group, found_cells, of_darts
from reports.items import TABLE, Artefact, Item
from reports.published import PublishedValue
from reports.row_search import specs_of
from reports.tables import Cell, Column, compared, from_published
from reports.untrained_rows import Search

RANDOM = "Random"
DATASET = "cifar10"
N_DRAWS = 10  # Where a table names no number: table 6 prints what table 7 has for 10.
MOST_DRAWS = 1_000
STREAM = "freedarts tables 6 and 7"
PREFERRED = ("nb301-v1.0-gnn_gin", "nb301-v0.9-gnn_gin")
NOTES = (
    "Nothing here was measured: every number is 100 minus the validation accuracy that the models"
    " predict, the mean over the members of the ensemble, without noise.",
    "The paper used a graph isomorphism network and does not state its version, so the verdict"
    " compares with any version of that model.",
    "Smaller samples are the first of the largest, and of a search those with the first seeds.",
    "FreeDARTS is searched as its released code for the DARTS space does: a supernet of 8 cells and"
    " 16 channels, mixed by the parameters themselves and not by their softmax. SNIP and GraSP look"
    " at one batch of 64 images of CIFAR-10, SynFlow at none.",
    "Cells found: mean and deviation over the seeds. Weight-free are skips and poolings, of the 8"
    " operations of a normal cell; parameters are those of the network of 20 cells and 36 channels"
    " that DARTS trains. Seconds are those of one processor core.",
)


@dataclass(frozen=True)
class Rows:
    """What each row of the table is made from.

    waits: row label -> why it is not run yet. searches: row label -> the training-free searches of
    the row; seconds: what one of them takes, by row label. trained: why no network is trained.
    """

    waits: Mapping[str, str]
    searches: Mapping[str, Search]
    seconds: Mapping[str, float]
    trained: str


def random_item(name: str, title: str, rows: Rows) -> Item:
    """FreeDARTS table 6 or 7; the row `RANDOM` is always made."""

    def requests(benchmark: Benchmark) -> list[RunSpec]:
        return specs_of(rows.searches.values(), benchmark)

    def measure(item: Item, benchmark: Benchmark | None, records: Sequence[Record]) -> Artefact:
        assert benchmark is not None
        return _artefact(item, benchmark, rows, records)

    return Item(
        name,
        title,
        TABLE,
        "predictions of NAS-Bench-301; untrained supernets of the DARTS space",
        space="darts",
        preferred=PREFERRED,
        requests=requests,
        measure=measure,
        unproven="made with models that are fitted to random data only, and without CIFAR-10, which"
        " SNIP and GraSP look at",
        tells_skips=True,
        without_table=True,
    )


def _artefact(item: Item, benchmark: Benchmark, rows: Rows, records: Sequence[Record]) -> Artefact:
    drawn = _random_errors(benchmark) if benchmark.roles else None
    table = from_published(
        item.id,
        item.title,
        item.published(),
        row_of=lambda value: value.method,
        column_of=_column(item),
        fill=lambda value: _cell(value, benchmark, drawn, rows, records),
    )
    groups = [
        Group(label, search.records(records), search.problem(records) or "")
        for label, search in rows.searches.items()
    ]
    return Artefact(
        tables=(
            table,
            *([found_cells(item.id, "Cells found", groups, of_darts(1))] if records else []),
        ),
        card=card_of(
            benchmark,
            datasets=benchmark.datasets,
            roles=("search", "truth"),
            seeds="mean over the members of the ensemble;"
            f' cells sampled from the stream "{STREAM}" of seed 0; of a search, from 0 on',
            selection="random cells; the cell that a search chose. Signal and truth are one and the"
            " same prediction, and no search sees it",
            recipe="look-up; protocol untrained",
            n=f"up to {MOST_DRAWS:,} random cells, as the columns say; of a search, its seeds",
        ),
        footnotes=NOTES,
    )


def _random_errors(benchmark: Benchmark) -> NDArray[np.float64]:
    """(MOST_DRAWS,) percent."""
    assert isinstance(benchmark, Surrogate)
    drawn = benchmark.drawn(MOST_DRAWS, derive(0, STREAM))
    at = benchmark.roles[DATASET].truth
    return 100 - drawn.column(at, seed=MEAN).astype(np.float64)


def _column(item: Item) -> Callable[[PublishedValue], Column]:
    """The number of seeds is a part of the heading where the table has several."""
    has_several = len({value.n for value in item.published()}) > 1

    def column_of(value: PublishedValue) -> Column:
        return Column(value.metric, f"{value.n:,} seeds" if has_several else "")

    return column_of


def _cell(
    value: PublishedValue,
    benchmark: Benchmark,
    drawn: NDArray[np.float64] | None,
    rows: Rows,
    records: Sequence[Record],
) -> Cell:
    if value.metric not in METRICS:
        return Cell(None, value, reason=rows.trained)
    if value.method in rows.waits:
        return Cell(None, value, reason=rows.waits[value.method])
    search = None if value.method == RANDOM else rows.searches[value.method]
    if search is not None and (problem := search.problem(records)) is not None:
        return Cell(None, value, reason=problem)
    if drawn is None:
        return Cell(None, value, reason=reasons.no_benchmark(benchmark.space.name))
    n = value.n or N_DRAWS
    if search is not None and n > search.n_seeds:
        return Cell(None, value, reason=_too_long(n, rows.seconds[value.method]))
    errors = drawn if search is None else 100 - search.values(records, DATASET, "truth")
    measured = statistic(value.metric, errors[:n])
    return compared(measured, value, same_benchmark=benchmark.name in PREFERRED)


def _too_long(n: int, seconds: float) -> str:
    minutes = n * seconds / 60
    duration = f"{minutes:.0f} minutes" if minutes < 100 else f"{minutes / 60:.0f} hours"
    return f"{n:,} searches would take one processor core about {duration}"
