"""SNAS: all options under weights from a Gumbel-softmax whose temperature falls.

Source: Xie et al., "SNAS: Stochastic Neural Architecture Search", ICLR 2019; temperatures as in the
code of DrNAS for NAS-Bench-201.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

import numpy as np

from harness.arch import Arch
from protocols.nets.mix import Mix
from protocols.search.learnt import draw_categorical
from protocols.search.method import Alphas, Method, Moment
from protocols.search.mixing import gumbel

if TYPE_CHECKING:
    from protocols.search.loop import Search


@final
@dataclass(frozen=True)
class Snas(Method):
    """tau_first, tau_last: the temperature in the first and in the last epoch, on a line.

    DrNAS' code stops one step of that line before its end.
    """

    version: ClassVar[int] = 1
    draws_learnt = True
    tau_first: float = 10.0
    tau_last: float = 1.0

    def mix(self, search: Search, alphas: Alphas, at: Moment, rng: np.random.Generator) -> Mix:
        return Mix(gumbel(alphas, at.between(self.tau_first, self.tau_last), rng))

    def draw(self, search: Search, rng: np.random.Generator, n: int) -> list[Arch]:
        return draw_categorical(search, rng, n)


METHOD = Snas()
