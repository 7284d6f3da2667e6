"""Cells of supernets in training, and of ones that are tuned longer: DARTS-PT figures 4, 8, 9."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from harness.benchmark import Benchmark
from harness.record import Record
from reports import nb201
from reports.items import Item
from reports.nb201 import MINI
from reports.search_curves import (
    Axis,
    Kind,
    Line,
    Reached,
    search_curves_item,
    seeds_of_table,
)
from reports.supernet_rows import MINI_ONLY, Searched

TRUTH = "truth"
ARGMAX = "DARTS"
SNAPSHOTS = (
    "Perturbation selects from snapshots of one supernet a seed; that of the largest parameters is"
    " the cell of the supernet whose snapshots are taken while its parameters learn.",
    "All snapshots are of one schedule of rates, whose later epochs they did not have.",
)
TUNING = (
    "Searches are of the same supernets, seed by seed, after their last epoch; the tuning is that"
    " between two decisions, at a constant rate.",
)


def trajectories_item(
    name: str, title: str, perturbed: Mapping[str, Searched], learning: Searched
) -> Item:
    """Test accuracy of cells by both rules against the epoch.

    perturbed: name of a curve -> searches that stop after several epochs. learning: those whose
    cells by the largest parameters are shown.
    """
    searches = list(dict.fromkeys((learning, *perturbed.values())))

    def lines(benchmark: Benchmark, shares: Sequence[Sequence[Record]]) -> list[Line]:
        of = dict(zip(searches, shares, strict=True))
        found = [_line(ARGMAX, learning, of[learning], lambda: _argmax(benchmark, of[learning]))]
        for label, search in perturbed.items():
            found.append(_by(label, search, of[search], benchmark, _stop))
        return found

    return search_curves_item(
        name,
        title,
        Axis("Epoch of the supernet", "epoch"),
        searches,
        lines,
        caption="Test accuracy of the cell of the largest parameters after every epoch, and of the"
        " cell that perturbation selects from snapshots of the supernet: mean and one standard"
        " deviation over searches.",
        footnotes=SNAPSHOTS,
        kind=_kind(searches[0]),
        unproven=MINI_ONLY,
    )


def tuning_item(name: str, title: str, label: str, search: Searched) -> Item:
    """Test accuracy of the selected cells against the epochs of tuning between decisions."""

    def lines(benchmark: Benchmark, shares: Sequence[Sequence[Record]]) -> list[Line]:
        (records,) = shares
        return [_by(label, search, records, benchmark, _tuned)]

    return search_curves_item(
        name,
        title,
        Axis("Epochs of tuning after a decision", "epochs of tuning:"),
        [search],
        lines,
        caption="Test accuracy of the cell that perturbation selects against the epochs for which"
        " the supernet is tuned after every decision: mean and one standard deviation over"
        " searches.",
        footnotes=TUNING,
        kind=_kind(search),
        unproven=MINI_ONLY,
    )


def _kind(search: Searched) -> Kind:
    """In words; the suite for mini201 asks for its seed 0, which every cell has."""
    return Kind(
        "snapshots of a supernet on NAS-Bench-201, and the table's test accuracy",
        "perturbation, and the largest parameters where a curve says so",
        lambda bench: search.common if bench.name == MINI else search.published,
        lambda bench: (
            "the table's seed 0; of a search, from 0 on"
            if bench.name == MINI
            else seeds_of_table(bench)
        ),
    )


def _stop(record: Record) -> float:
    return float(record.identity["setting"]["stop"])


def _tuned(record: Record) -> float:
    return float(record.identity["setting"]["selection"]["tune_epochs"])


def _line(
    name: str,
    search: Searched,
    records: Sequence[Record],
    points: Callable[[], Mapping[float, Reached]],
) -> Line:
    problem = search.problem(records)
    return Line(name, points()) if problem is None else Line(name, {}, problem)


def _by(
    name: str,
    search: Searched,
    records: Sequence[Record],
    benchmark: Benchmark,
    x_of: Callable[[Record], float],
) -> Line:
    """What searches end with, by a number of their setting."""

    def points() -> Mapping[float, Reached]:
        return {
            x: {
                dataset: search.values([r for r in records if x_of(r) == x], dataset, TRUTH)
                for dataset in nb201.datasets(benchmark).values()
            }
            for x in sorted(set(map(x_of, records)))
        }

    return _line(name, search, records, points)


def _argmax(benchmark: Benchmark, records: Sequence[Record]) -> Mapping[float, Reached]:
    """The cells of the largest parameters after every epoch of the longest searches."""
    longest = max(map(_stop, records))
    own = [record for record in records if _stop(record) == longest]
    tracks = {
        dataset: np.array(
            [_track(r, dataset) for r in own if r.identity["setting"]["dataset"] == dataset]
        )
        for dataset in nb201.datasets(benchmark).values()
    }
    return {
        float(epoch): {dataset: track[:, epoch] for dataset, track in tracks.items()}
        for epoch in range(int(longest) + 1)
    }


def _track(record: Record, dataset: str) -> NDArray[np.float64]:
    """(n_epochs + 1,) test accuracy of the cell after every epoch; NaN where it is not held."""
    values = [at["values"][dataset][TRUTH] for at in record.result["track"]]
    return np.array(values, dtype=np.float64)
