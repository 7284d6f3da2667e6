"""Architectures drawn from what a search has learnt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
    return draw_strengths(search, n, lambda row: row + rng.gumbel(size=len(row)))


def draw_strengths(
    search: Search,
    n: int,
    noisy: Callable[[NDArray[np.float64]], NDArray[np.float64]],
) -> list[Arch]:
    """What the space makes of n draws of strengths; noisy: of one row of parameters, anew."""
    rows = [row.detach().cpu().double().numpy() for row in search.rows]
    return [discretised(search, [noisy(row) for row in rows]) for _ in range(n)]


def discretised(search: Search, rows: Rows) -> Arch:
    """What the space makes of strengths that are given row by row over all learned groups."""
    lengths = [len(options) for group in learned(search.space) for options in group.options]
    if [len(row) for row in rows] != lengths:
        raise ValueError(f"rows of {[len(row) for row in rows]} options, not of {lengths}")
    return search.space.discretise(
        as_strengths(search.space, [torch.as_tensor(row) for row in rows])
    )
