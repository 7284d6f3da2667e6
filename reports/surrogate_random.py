"""Random cells of the DARTS space as NAS-Bench-301 predicts them: FreeDARTS tables 6 and 7."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from harness.benchmark import MEAN, Benchmark
from harness.record import Record
from harness.seeds import derive
from harness.surrogate import Surrogate
from reports.card import card_of
from reports.items import TABLE, Artefact, Item
from reports.published import PublishedValue
from reports.tables import Cell, Column, compared, from_published
from reports.verdict import Measured

RANDOM = "Random"
AVERAGE, BEST = "error (average)", "error (best)"
N_DRAWS = 10  # Where a table names no number: table 6 prints what table 7 has for 10.
MOST_DRAWS = 1_000
STREAM = "freedarts tables 6 and 7"
PREFERRED = ("nb301-v1.0-gnn_gin", "nb301-v0.9-gnn_gin")
NOTES = (
    "Nothing here was measured: every number is 100 minus the validation accuracy that the models"
    " predict, the mean over the members of the ensemble, without noise.",
    "The paper used a graph isomorphism network and does not state its version, so the verdict"
    " compares with any version of that model.",
    "Smaller samples are the first of the largest.",
)


def random_item(name: str, title: str, waits: Mapping[str, str], trained: str) -> Item:
    """FreeDARTS table 6 or 7; waits: row -> why it is not run yet, for all rows but `RANDOM`.

    trained: why no network is trained.
    """

    def measure(item: Item, benchmark: Benchmark | None, records: Sequence[Record]) -> Artefact:
        assert isinstance(benchmark, Surrogate)
        return _artefact(item, benchmark, waits, trained)

    return Item(
        name,
        title,
        TABLE,
        "predictions of NAS-Bench-301 for random cells",
        space="darts",
        preferred=PREFERRED,
        measure=measure,
        unproven="made with models that are fitted to random data only",
    )


def _artefact(item: Item, benchmark: Surrogate, waits: Mapping[str, str], trained: str) -> Artefact:
    (dataset,) = benchmark.roles
    drawn = benchmark.drawn(MOST_DRAWS, derive(0, STREAM))
    at = benchmark.roles[dataset].truth
    errors = 100 - drawn.column(at, seed=MEAN).astype(np.float64)
    table = from_published(
        item.id,
        item.title,
        item.published(),
        row_of=lambda value: value.method,
        column_of=_column(item),
        fill=lambda value: _cell(value, benchmark, errors, waits, trained),
    )
    return Artefact(
        tables=(table,),
        card=card_of(
            benchmark,
            datasets=[dataset],
            roles=("search", "truth"),
            seeds="mean over the members of the ensemble;"
            f' cells sampled from the stream "{STREAM}" of seed 0',
            selection="none; random cells. Signal and truth are one and the same prediction",
            n=f"up to {MOST_DRAWS:,} random cells, as the columns say",
        ),
        footnotes=NOTES,
    )


def _column(item: Item) -> Callable[[PublishedValue], Column]:
    """The number of seeds is a part of the heading where the table has several."""
    has_several = len({value.n for value in item.published()}) > 1

    def column_of(value: PublishedValue) -> Column:
        return Column(value.metric, f"{value.n:,} seeds" if has_several else "")

    return column_of


def _cell(
    value: PublishedValue,
    benchmark: Surrogate,
    errors: NDArray[np.float64],
    waits: Mapping[str, str],
    trained: str,
) -> Cell:
    if value.metric not in (AVERAGE, BEST):
        return Cell(None, value, reason=trained)
    if value.method != RANDOM:
        return Cell(None, value, reason=waits[value.method])
    held = errors[: value.n or N_DRAWS]
    if value.metric == BEST:
        measured = Measured(float(held.min()), None, len(held), "%")
    else:
        measured = Measured(float(held.mean()), float(held.std(ddof=1)), len(held), "%")
    return compared(measured, value, same_benchmark=benchmark.name in PREFERRED)
