"""MultiPath: every step averages the gradients of several random architectures.

Source: the SoTL thesis, section 3.3; code: Mirofil/AutoDL-Projects.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

import numpy as np

from protocols.nets.mix import Mix
from protocols.search.method import WEIGHTS, Alphas, Method, Moment
from protocols.search.mixing import random_path
from protocols.training import Labelled

if TYPE_CHECKING:
    from protocols.search.loop import Search


@final
@dataclass(frozen=True)
class MultiPath(Method):
    """n_paths: architectures a step, on one batch."""

    version: ClassVar[int] = 1
    is_single_path = True
    learns_arch: ClassVar[bool] = False
    n_paths: int = 4

    def mix(self, search: Search, alphas: Alphas, at: Moment, rng: np.random.Generator) -> Mix:
        return random_path(search.space, rng)

    def weight_step(self, search: Search, batch: Labelled) -> None:
        search.step_weights(batch, [search.mix(WEIGHTS) for _ in range(self.n_paths)])


METHOD = MultiPath()
