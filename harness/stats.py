"""Rank correlations, top-k, regret and intervals. scipy is imported where it is used."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]

N_RESAMPLES = 1000
RESAMPLES_AT_ONCE = 50


def complete(scores: Floats, truth: Floats) -> NDArray[np.bool_]:
    """(n,) True where both are measured."""
    return ~(np.isnan(scores) | np.isnan(truth))


def spearman(scores: Floats, truth: Floats) -> float:
    """Spearman's rank correlation with average ranks for ties.

    Pairs with a NaN are left out; NaN if fewer than two are left or one side is constant.
    """
    held = complete(scores, truth)
    return float(spearman_curve(scores[held][np.newaxis], truth[held])[0])


def spearman_curve(scores: Floats, truth: Floats) -> NDArray[np.float64]:
    """Spearman of every row of scores with truth.

    scores: (n_epoch, n). truth: (n,). Returns: (n_epoch,); pairs with a NaN are left out, row by
    row; NaN where fewer than two are left or one side is constant.
    """
    from scipy.stats import rankdata

    held = ~np.isnan(truth)
    if not held.all():
        scores, truth = scores[:, held], truth[held]
    gaps = np.isnan(scores).any(axis=1)
    if gaps.any():
        correlations = np.empty(len(scores))
        correlations[gaps] = [spearman(row, truth) for row in scores[gaps]]
        correlations[~gaps] = spearman_curve(scores[~gaps], truth)
        return correlations
    return _rank_correlations(rankdata(scores, axis=1), rankdata(truth)[np.newaxis])


def _rank_correlations(
    ranks: NDArray[np.float64], others: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Correlation of each row of ranks with the same row of others, or with its only row.

    Average ranks of n values always have the mean (n + 1) / 2, so nothing has to be centred in
    memory but the others.
    """
    n = ranks.shape[1]
    if n < 2:
        return np.full(len(ranks), math.nan)
    mean = (n + 1) / 2
    others = others - mean
    shared = ranks @ others[0] if len(others) == 1 else np.einsum("ij,ij->i", ranks, others)
    norms = (np.einsum("ij,ij->i", ranks, ranks) - n * mean**2) * np.einsum(
        "ij,ij->i", others, others
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        return shared / np.sqrt(norms)


def kendall(scores: Floats, truth: Floats) -> float:
    """Kendall's tau-b; pairs with a NaN are left out, NaN as for `spearman`."""
    from scipy.stats import kendalltau

    held = complete(scores, truth)
    if held.sum() < 2:
        return math.nan
    return float(kendalltau(scores[held], truth[held], variant="b").statistic)


def top(scores: Floats, k: int) -> NDArray[np.intp]:
    """Positions of the k best scores, best first; ties go to the lowest position, NaN never."""
    order = np.argsort(-scores, kind="stable")
    return order[: min(k, int((~np.isnan(scores)).sum()))]


def top_mean(scores: Floats, truth: Floats, k: int = 10) -> float:
    """Mean truth of the k best by score, among those with both; of all if there are fewer."""
    held = complete(scores, truth)
    best = truth[held][top(scores[held], k)]
    return float(best.mean(dtype=np.float64)) if best.size else math.nan


def regret(truth: Floats, chosen: float) -> float:
    """How far the chosen value lies below the best measured one."""
    return float(np.nanmax(truth)) - chosen


def bootstrap_interval(
    scores: Floats, truth: Floats, *, level: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval of Spearman over architectures (1,000 resamples).

    scores, truth: (n,). Resamples that are constant on a side have no correlation and are left
    out.
    """
    from scipy.stats import rankdata

    held = complete(scores, truth)
    scores, truth = scores[held], truth[held]
    if len(scores) < 2:
        return math.nan, math.nan
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(N_RESAMPLES // RESAMPLES_AT_ONCE):
        drawn = rng.integers(len(scores), size=(RESAMPLES_AT_ONCE, len(scores)))
        ranks = [rankdata(side[drawn], axis=1) for side in (scores, truth)]
        found.append(_rank_correlations(ranks[0], ranks[1]))
    return percentile_interval(np.concatenate(found), level)


def percentile_interval(values: Floats, level: float = 0.95) -> tuple[float, float]:
    """The central interval that holds `level` of the values; NaNs are left out."""
    tail = 100 * (1 - level) / 2
    values = values[~np.isnan(values)]
    if not values.size:
        return math.nan, math.nan
    low, high = np.percentile(values, [tail, 100 - tail])
    return float(low), float(high)


def welch_interval(
    mean1: float, std1: float, n1: int, mean2: float, std2: float, n2: int, *, level: float = 0.95
) -> tuple[float, float]:
    """Welch's interval of mean1 - mean2 (unequal variances; std with ddof=1).

    Returns: NaNs if a std or n is unknown or an n is below 2.
    """
    from scipy.stats import t

    if n1 < 2 or n2 < 2 or math.isnan(std1) or math.isnan(std2):
        return math.nan, math.nan
    part1, part2 = std1**2 / n1, std2**2 / n2
    difference = mean1 - mean2
    if part1 + part2 == 0:
        return difference, difference
    freedom = (part1 + part2) ** 2 / (part1**2 / (n1 - 1) + part2**2 / (n2 - 1))
    half = float(t.ppf(0.5 + level / 2, freedom)) * math.sqrt(part1 + part2)
    return difference - half, difference + half


def mean_interval(values: Floats, *, level: float = 0.95) -> tuple[float, float]:
    """Student's interval of a mean. values: (n,). Returns: NaNs for fewer than two."""
    from scipy.stats import t

    n = len(values)
    if n < 2:
        return math.nan, math.nan
    mean, error = float(np.mean(values)), float(np.std(values, ddof=1)) / math.sqrt(n)
    half = float(t.ppf(0.5 + level / 2, n - 1)) * error
    return mean - half, mean + half


def hedges_g(first: Floats, second: Floats) -> float:
    """The difference of two means over their pooled deviation, corrected for few values.

    first, second: (n,) each. Source: Hedges, Journal of Educational Statistics 1981, with the usual
    approximation 1 - 3 / (4 df - 1) of the factor. NaN if there is no deviation or none is known.
    """
    freedom = len(first) + len(second) - 2
    if min(len(first), len(second)) < 2:
        return math.nan
    squares = sum((len(v) - 1) * float(np.var(v, ddof=1)) for v in (first, second))
    pooled = math.sqrt(squares / freedom)
    if pooled == 0:
        return math.nan
    return (float(np.mean(first)) - float(np.mean(second))) / pooled * (1 - 3 / (4 * freedom - 1))


def over_draws(
    statistic: Callable[[Floats, Floats], float],
    scores: Floats,
    truth: Floats,
    *,
    n_cells: int,
    n_draws: int,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """A statistic on many draws of n_cells without replacement: (n_draws,)."""
    held = np.flatnonzero(complete(scores, truth))
    draws = (rng.choice(held, size=n_cells, replace=False) for _ in range(n_draws))
    return np.array([statistic(scores[drawn], truth[drawn]) for drawn in draws])
