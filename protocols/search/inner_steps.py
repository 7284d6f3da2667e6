"""Several steps of the weights on one batch, which then count as one: Reptile and its kin."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from protocols.search.method import WEIGHTS
from protocols.training import Labelled

if TYPE_CHECKING:
    from protocols.search.loop import Search


def inner_steps(
    search: Search,
    batch: Labelled,
    *,
    n_steps: int,
    n_paths: int = 1,
    outer: float = 1.0,
    proximal: float = 0.0,
) -> None:
    """To w + outer * (w' - w), w' after n_steps on the batch under the same mixes.

    proximal: adds proximal / 2 * |w' - w|^2 to the loss of every step.
    """
    before = {name: weight.detach().clone() for name, weight in search.weights.items()}

    def distance() -> Tensor:
        squares = [(w - before[name]).pow(2).sum() for name, w in search.weights.items()]
        return proximal / 2 * torch.stack(squares).sum()

    mixes = [search.mix(WEIGHTS) for _ in range(n_paths)]
    for _ in range(n_steps):
        search.step_weights(batch, mixes, penalty=distance if proximal else None)
    if outer == 1:
        return
    with torch.no_grad():
        for name, weight in search.weights.items():
            weight.lerp_(before[name], 1 - outer)
