"""Reptile: several steps on one batch of a random architecture, then part of the way to there.

Source: Nichol et al., "On First-Order Meta-Learning Algorithms", 2018, as in the SoTL thesis,
section 3.3. With the thesis's outer rate of 1 it is so many consecutive steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

import numpy as np

from protocols.nets.mix import Mix, path_mix
from protocols.search.inner_steps import inner_steps
from protocols.search.method import Alphas, Method, Moment
from protocols.training import Labelled

if TYPE_CHECKING:
    from protocols.search.loop import Search


@final
@dataclass(frozen=True)
class Reptile(Method):
    """n_inner: steps on a batch. outer: the part of the way that is gone."""

    version: ClassVar[int] = 1
    is_single_path: ClassVar[bool] = True
    learns_arch: ClassVar[bool] = False
    n_inner: int = 4
    outer: float = 1.0

    def mix(self, search: Search, alphas: Alphas, at: Moment, rng: np.random.Generator) -> Mix:
        return path_mix(search.space, search.space.sample(rng))

    def weight_step(self, search: Search, batch: Labelled) -> None:
        inner_steps(search, batch, n_steps=self.n_inner, outer=self.outer)


METHOD = Reptile()
