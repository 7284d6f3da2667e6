"""Fixed alpha: a DARTS supernet whose architecture parameters never learn.

Source: Wang et al., DARTS-PT, ICLR 2021, section 5.1, where a supernet trained so is discretised by
perturbation. The paper says that all parameters are 0; its code leaves the small random start.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

import numpy as np

from protocols.nets.mix import Mix, uniform
from protocols.search.method import Alphas, Method, Moment

if TYPE_CHECKING:
    from protocols.search.loop import Search


@final
@dataclass(frozen=True)
class FixedAlpha(Method):
    """Equal weights for all options of a row."""

    version: ClassVar[int] = 1
    learns_arch: ClassVar[bool] = False

    def mix(self, search: Search, alphas: Alphas, at: Moment, rng: np.random.Generator) -> Mix:
        return uniform(search.space, device=search.device)


METHOD = FixedAlpha()
