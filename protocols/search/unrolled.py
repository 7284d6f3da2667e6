"""A block of weight steps taken twice: once to learn architecture parameters from, once for good.

Source: the SoTL thesis, algorithm 3 and appendix A. Look ahead over a block of batches with the
parameters as they are, and sum up the first-order gradients on the way; step the parameters by the
sum; take everything else back; train the weights over the same block with the new parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch

from protocols.search.batches import Pair

if TYPE_CHECKING:
    from protocols.search.loop import Search

RESTORE, LEAK = "restore", "leak"
SAME, FRESH = "same", "fresh"
Step = Callable[["Search", Pair], None]


def unrolled_round(
    search: Search,
    pairs: Sequence[Pair],
    *,
    look: Step,
    step: Step,
    momentum: str,
    noise: str,
) -> None:
    """One round of the algorithm.

    look: a step of the look-ahead, which leaves its gradient in the parameters' `grad`. step: one
    of those for good. momentum: "restore", or "leak" where the look-ahead's stays, as in the forks
    for NAS-Bench-1Shot1 and the DARTS space. noise: whether the second pass draws the "same" random
    numbers or "fresh" ones.
    """
    if search.is_learning_arch:
        before, drawn = search.snapshot(), search.noise_state
        for row in search.rows:
            row.grad = torch.zeros_like(row)
        for pair in pairs:
            look(search, pair)
        gradients = [row.grad for row in search.rows if row.grad is not None]
        search.restore(before, momentum=momentum == RESTORE)
        search.step_arch(gradients)
        if noise == SAME:
            search.noise_state = drawn
    for pair in pairs:
        step(search, pair)
