"""P-DARTS: DARTS in three stages, with ever fewer operations an edge and ever more cells.

Source: Chen et al., "Progressive Differentiable Architecture Search", ICCV 2019, and
chenxin061/pdarts. Skips are dropped out at random there, at a rate that is 0 by default and here.
Of the cell that is selected at most two operations are skips: `max_skips` of the selector argmax.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, final

import numpy as np

from protocols.left import Left, Place
from protocols.nets.mix import Mix, learned
from protocols.search.method import Alphas, Method, Moment
from protocols.search.mixing import softmax_of_left

if TYPE_CHECKING:
    from protocols.search.loop import Search


@final
@dataclass(frozen=True)
class PDarts(Method):
    """second, third: the share of a row's options that later stages keep: 5 and 3 of DARTS' 8.

    first_cells, second_cells, third_cells: of the supernets, 0 for the run's own; only in spaces of
    cells with inputs to choose. Every stage starts from new weights and parameters, and its rate
    falls by a cosine of its own; a recipe's `warmup_epochs` are those of every stage.
    """

    version: ClassVar[int] = 1
    second: float = 0.625
    third: float = 0.375
    first_cells: int = 5
    second_cells: int = 11
    third_cells: int = 17

    @property
    def n_stages(self) -> int:
        return 3

    def stage_network(self, search: Search, stage: int) -> Mapping[str, Any]:
        n_cells = (self.first_cells, self.second_cells, self.third_cells)[stage]
        has_inputs = any(not group.learned for group in search.space.groups)
        return {"n_cells": n_cells} if n_cells and has_inputs else {}

    def end_stage(self, search: Search, stage: int) -> None:
        left = search.left or Left(search.space.groups)
        strengths = iter(search.strengths())
        share = (self.second, self.third)[stage]
        for position, group in enumerate(left.groups):
            if not group.learned:
                continue
            block = next(strengths)
            for row, names in enumerate(group.options):
                place = Place(position, row)
                options = left.options(place)
                n_kept = max(group.take, round(share * len(names)))
                order = np.argsort(-block[row][options], kind="stable")
                left.keep(place, [options[i] for i in order[:n_kept]])
        search.left = left

    def mix(self, search: Search, alphas: Alphas, at: Moment, rng: np.random.Generator) -> Mix:
        ops = {group.name: alphas[group.name] for group in learned(search.space)}
        return Mix(softmax_of_left(search.space, ops, search.left))


METHOD = PDarts()
