"""Zero-cost NAS against the number of random cells that it scores: FreeDARTS figure 2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from harness.benchmark import Benchmark
from harness.record import Record
from reports import nb201
from reports.items import Item
from reports.search_curves import Axis, Line, Reached, over_searches, search_curves_item
from reports.untrained_rows import Search

SIZES = (10, 20, 50, 100, 200, 500, 1000)
SMALL = "searched on mini201's networks and images only"
N_SAMPLES = {"n_samples": SIZES[-1]}


def sample_size_item(
    name: str,
    title: str,
    n_seeds: Mapping[str, int],
    freedarts: Mapping[str, Search],
    images: Mapping[str, str],
) -> Item:
    """Both methods by the same measures. n_seeds: proxy -> seeds of zero-cost NAS. freedarts: proxy
    -> the searches that the level line is the mean of. images: proxy -> other images than the data
    set's own.
    """
    scored = {
        proxy: Search("zerocost_nas", n, {"proxy": proxy, **N_SAMPLES, **_images(images, proxy)})
        for proxy, n in n_seeds.items()
    }

    def lines(benchmark: Benchmark, shares: Sequence[Sequence[Record]]) -> list[Line]:
        ours, theirs = shares[: len(scored)], shares[len(scored) :]
        found = [
            Line(f"Zero-cost NAS, {proxy}", {}, problem)
            if (problem := search.problem(records)) is not None
            else Line(f"Zero-cost NAS, {proxy}", _best_of_first(benchmark, records))
            for (proxy, search), records in zip(scored.items(), ours, strict=True)
        ]
        for (proxy, search), records in zip(freedarts.items(), theirs, strict=True):
            points, reason = over_searches(benchmark, {0.0: search}, [records])
            level = {float(size): points[0.0] for size in SIZES} if points else {}
            found.append(Line(f"FreeDARTS, {proxy}", level, reason))
        return found

    return search_curves_item(
        name,
        title,
        Axis("Random cells scored", "cells", log=True),
        [*scored.values(), *freedarts.values()],
        lines,
        caption="Test accuracy of the best by a proxy of the first random cells of a sample,"
        " against their number, and of what FreeDARTS finds, which scores no sample: mean and one"
        " standard deviation.",
        footnotes=(
            f"Zero-cost NAS scores {SIZES[-1]:,} cells once a seed; smaller samples are the first"
            " of these, so the points of one curve are not independent.",
        ),
        unproven=SMALL,
    )


def _images(images: Mapping[str, str], proxy: str) -> dict[str, str]:
    return {"images": images[proxy]} if proxy in images else {}


def _best_of_first(benchmark: Benchmark, records: Sequence[Record]) -> Mapping[float, Reached]:
    """Sample size -> test accuracy of every search's best cell; NaN where none has a score."""
    rows = np.array([_best_rows(benchmark, record) for record in records])
    return {
        float(size): {
            dataset: _truth(benchmark, dataset, rows[:, position])
            for dataset in nb201.datasets(benchmark).values()
        }
        for position, size in enumerate(SIZES)
    }


def _best_rows(benchmark: Benchmark, record: Record) -> list[int]:
    """(n_sizes,) rows of the benchmark; -1 where there is no score or the cell is not held."""
    codes, scores = record.array("archs"), record.array("scores")
    row_of = {tuple(code): row for row, code in enumerate(benchmark.codes.tolist())}
    best = []
    for size in SIZES:
        first = scores[:size]
        known = not np.isnan(first).all()
        best.append(row_of.get(tuple(codes[np.nanargmax(first)].tolist()), -1) if known else -1)
    return best


def _truth(benchmark: Benchmark, dataset: str, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    at = benchmark.roles[dataset].truth
    column = benchmark.column(at, seed=nb201.seed_of(benchmark, at)).astype(np.float64)
    return np.where(rows >= 0, column[rows], np.nan)
