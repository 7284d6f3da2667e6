"""GDAS: one option a row, drawn by Gumbel's trick and learned through its relaxation.

Source: Dong and Yang, "Searching for a Robust Neural Architecture in Four GPU Hours", CVPR 2019,
and D-X-Y/AutoDL-Projects, search-cell.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

import numpy as np

from harness.arch import Arch
from protocols.nets.mix import Mix
from protocols.search.learnt import draw_categorical
from protocols.search.method import Alphas, Method, Moment
from protocols.search.mixing import gumbel, hard

if TYPE_CHECKING:
    from protocols.search.loop import Search


@final
@dataclass(frozen=True)
class Gdas(Method):
    """tau_first, tau_last: the temperature in the first and in the last epoch, on a line.

    The end is NATS-Bench's; NAS-Bench-1Shot1's script ends at 1.
    """

    version: ClassVar[int] = 1
    draws_learnt = True
    is_single_path = True
    tau_first: float = 10.0
    tau_last: float = 0.1

    def mix(self, search: Search, alphas: Alphas, at: Moment, rng: np.random.Generator) -> Mix:
        soft = gumbel(alphas, at.between(self.tau_first, self.tau_last), rng)
        return hard(search.space, soft)

    def draw(self, search: Search, rng: np.random.Generator, n: int) -> list[Arch]:
        return draw_categorical(search, rng, n)


METHOD = Gdas()
