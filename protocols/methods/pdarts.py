"""P-DARTS: DARTS in three stages, with ever fewer operations an edge and ever more cells.

Source: Chen et al., "Progressive Differentiable Architecture Search", ICCV 2019, and
chenxin061/pdarts. Of the cell that is selected at most two operations are skips: `max_skips` of the
selector argmax.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, final

import numpy as np
from torch import Tensor

from protocols.nets.mix import Dropout, Mix, learned
from protocols.options import require
from protocols.search.method import EVALUATION, Alphas, Method, Moment
from protocols.search.mixing import softmax_of_left
from protocols.search.stages import keep_strongest

if TYPE_CHECKING:
    from protocols.search.loop import Search

DECAY = 0.2  # scale_factor in the code's train_search.py.


@final
@dataclass(frozen=True)
class PDarts(Method):
    """second, third: the share of a row's options that later stages keep: 5 and 3 of DARTS' 8.

    first_cells, second_cells, third_cells: of the supernets, 0 for the run's own; only in spaces of
    cells with inputs to choose. Every stage starts from new weights and parameters, and its rate
    falls by a cosine of its own; a recipe's `warmup_epochs` are those of every stage.

    first_dropout, second_dropout, third_dropout: rates for what skips give that are identities;
    0.1, 0.4 and 0.7 in the code's command, and 0 by default. As there, steps of either kind have
    it, and a rate falls twice in a stage: on a line over the warm-up, and from its full height
    again by an exponential.
    """

    version: ClassVar[int] = 2
    second: float = 0.625
    third: float = 0.375
    first_cells: int = 5
    second_cells: int = 11
    third_cells: int = 17
    first_dropout: float = 0.0
    second_dropout: float = 0.0
    third_dropout: float = 0.0

    def __post_init__(self) -> None:
        rates = self.first_dropout, self.second_dropout, self.third_dropout
        require(all(0 <= rate < 1 for rate in rates), f"Rates of dropout are not {rates}.")

    @property
    def n_stages(self) -> int:
        return 3

    def stage_network(self, search: Search, stage: int) -> Mapping[str, Any]:
        n_cells = (self.first_cells, self.second_cells, self.third_cells)[stage]
        has_inputs = any(not group.learned for group in search.space.groups)
        return {"n_cells": n_cells} if n_cells and has_inputs else {}

    def end_stage(self, search: Search, stage: int) -> None:
        keep_strongest(search, (self.second, self.third)[stage])

    def mix(self, search: Search, alphas: Alphas, at: Moment, rng: np.random.Generator) -> Mix:
        ops = {group.name: alphas[group.name] for group in learned(search.space)}
        weights = softmax_of_left(search.space, ops, search.left)
        rate = 0.0 if at.phase == EVALUATION else self._rate(search, at.epoch)
        return Mix(weights, skip_dropout=Dropout(rate, int(rng.integers(2**63))) if rate else None)

    def strengths(self, search: Search) -> list[Tensor]:
        """Weights of the mix, 0 for what is gone: edges are compared by what is left."""
        shares = softmax_of_left(search.space, search.alphas, search.left)
        return [row for rows in shares.values() for row in rows]

    def _rate(self, search: Search, epoch: int) -> float:
        """Of the dropout in an epoch of the run, counted from 0."""
        stage, since = search.stage_of(epoch)
        full = (self.first_dropout, self.second_dropout, self.third_dropout)[stage]
        n_epochs = max(search.recipe.epochs // self.n_stages, 1)
        warmup = search.recipe.warmup_epochs
        if since < warmup:
            return full * max(n_epochs - since - 1, 0) / n_epochs
        return full * math.exp(-DECAY * (since - warmup))


METHOD = PDarts()
