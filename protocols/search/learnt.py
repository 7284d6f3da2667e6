"""Architectures drawn from what a search has learnt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from harness.arch import Arch
from protocols.nets.mix import learned
from protocols.saliency import as_strengths

if TYPE_CHECKING:
    from protocols.search.loop import Search

Rows = Sequence[NDArray[np.float64]]


def draw_categorical(search: Search, rng: np.random.Generator, n: int) -> list[Arch]:
    """Every row's options by their softmax, as many as the row takes: by the Gumbel-top-k trick."""
    return draw_strengths(search, n, lambda row: softmax(row + rng.gumbel(size=len(row))))


def draw_strengths(
    search: Search,
    n: int,
    noisy: Callable[[NDArray[np.float64]], NDArray[np.float64]],
) -> list[Arch]:
    """What the space makes of n draws of strengths; noisy: of one row of parameters, anew.

    The parameters of options that are gone are minus infinity.
    """
    rows = _parameters_of_left(search)
    return [discretised(search, [noisy(row) for row in rows]) for _ in range(n)]


def _parameters_of_left(search: Search) -> Rows:
    rows = [row.detach().cpu().double().numpy() for row in search.rows]
    if search.left is None:
        return rows
    blocks = zip(search.space.groups, search.left.kept(), strict=True)
    kept = [mask for group, block in blocks if group.learned for mask in block]
    return [np.where(mask[: len(row)], row, -np.inf) for mask, row in zip(kept, rows, strict=True)]


def discretised(search: Search, rows: Rows) -> Arch:
    """What the space makes of strengths that are given row by row over all learned groups."""
    lengths = [len(options) for group in learned(search.space) for options in group.options]
    if [len(row) for row in rows] != lengths:
        raise ValueError(f"rows of {[len(row) for row in rows]} options, not of {lengths}")
    return search.space.discretise(
        as_strengths(search.space, [torch.as_tensor(row) for row in rows])
    )


def most_probable(search: Search, n: int) -> list[Arch]:
    """The n architectures of the highest probability, rows independent, the most probable first.

    Of a row that takes several options, their weights multiply. Choices that are not learned are
    the space's own.
    """
    ranked = [
        sorted(
            (
                (float(sum(logs[i] for i in chosen)), chosen)
                for chosen in combinations(range(len(logs)), take)
            ),
            reverse=True,
        )
        for logs, take in _log_rows(search)
    ]
    best = tuple([0] * len(ranked))
    queue, seen, found = [(-_total(ranked, best), best)], {best}, dict[Arch, None]()
    while queue and len(found) < n:
        _, places = heappop(queue)
        found.setdefault(_arch_at(search, ranked, places))
        for row in range(len(places)):
            worse = (*places[:row], places[row] + 1, *places[row + 1 :])
            if worse[row] < len(ranked[row]) and worse not in seen:
                seen.add(worse)
                heappush(queue, (-_total(ranked, worse), worse))
    return list(found)


Ranked = Sequence[Sequence[tuple[float, tuple[int, ...]]]]


def _log_rows(search: Search) -> list[tuple[NDArray[np.float64], int]]:
    takes = [group.take for group in learned(search.space) for _ in group.options]
    logs = [row.detach().cpu().double().log_softmax(dim=0).numpy() for row in search.rows]
    return list(zip(logs, takes, strict=True))


def _total(ranked: Ranked, places: Sequence[int]) -> float:
    return sum(row[place][0] for row, place in zip(ranked, places, strict=True))


def _arch_at(search: Search, ranked: Ranked, places: Sequence[int]) -> Arch:
    rows = []
    for parameters, row, place in zip(search.rows, ranked, places, strict=True):
        weights = softmax(parameters.detach().cpu().double().numpy())
        strengths = np.zeros(len(weights))
        chosen = list(row[place][1])
        strengths[chosen] = weights[chosen]
        rows.append(strengths)
    return discretised(search, rows)


def softmax(row: NDArray[np.float64]) -> NDArray[np.float64]:
    """Positive weights of sum 1."""
    weights: NDArray[np.float64] = np.exp(row - row.max())
    return weights / weights.sum()
