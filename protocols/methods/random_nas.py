"""Random search with shared weights: every step trains one uniformly random architecture.

Source: Li and Talwalkar, "Random Search and Reproducibility for Neural Architecture Search", UAI
2019. Guo et al.'s single path one-shot (ECCV 2020) trains a supernet the same way and selects by
evolution.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

import numpy as np

from protocols.nets.mix import Mix
from protocols.search.method import Alphas, Method, Moment
from protocols.search.mixing import random_path

if TYPE_CHECKING:
    from protocols.search.loop import Search


@final
@dataclass(frozen=True)
class RandomNas(Method):
    """A single path a step."""

    version: ClassVar[int] = 1
    is_single_path = True
    learns_arch: ClassVar[bool] = False

    def mix(self, search: Search, alphas: Alphas, at: Moment, rng: np.random.Generator) -> Mix:
        return random_path(search.space, rng)


METHOD = RandomNas()
