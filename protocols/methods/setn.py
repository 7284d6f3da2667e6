"""SETN: weights of uniformly random single paths, a distribution over architectures beside them.

Source: Dong and Yang, "One-Shot Neural Architecture Search via Self-Evaluated Template Network",
ICCV 2019, as in D-X-Y/AutoDL-Projects, search-cell.py. The best of its most probable cells is taken
(selector best_of_n with one batch each).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

import numpy as np

from harness.arch import Arch
from protocols.nets.mix import Mix, softmax_mix
from protocols.search.learnt import most_probable
from protocols.search.method import WEIGHTS, Alphas, Method, Moment
from protocols.search.mixing import random_path

if TYPE_CHECKING:
    from protocols.search.loop import Search


@final
@dataclass(frozen=True)
class Setn(Method):
    """Parameters learn by the validation loss of all options under their softmax."""

    version: ClassVar[int] = 1
    has_own_steps: ClassVar[bool] = True
    draws_learnt = True
    is_single_path = True

    def mix(self, search: Search, alphas: Alphas, at: Moment, rng: np.random.Generator) -> Mix:
        if at.phase == WEIGHTS:
            return random_path(search.space, rng)
        return softmax_mix(alphas)

    def draw(self, search: Search, rng: np.random.Generator, n: int) -> list[Arch]:
        return most_probable(search, n)


METHOD = Setn()
