"""SoVL: as SoTL, with the sum of validation losses along the same look-ahead of the weights.

Source: the SoTL thesis, section 4.3, SoVL-DARTS.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

import numpy as np

from harness.arch import Arch
from protocols.nets.mix import Mix
from protocols.search.batches import Pair
from protocols.search.method import ARCH, Alphas, Method, Moment
from protocols.search.unrolled import RESTORE, SAME, unrolled_round
from protocols.search.wrapped import inner_method

if TYPE_CHECKING:
    from protocols.search.loop import Search


@final
@dataclass(frozen=True)
class Sovl(Method):
    """inner, steps, momentum, noise: as in `sotl`. The validation loss precedes each step."""

    version: ClassVar[int] = 1
    inner: str = "darts"
    steps: int = 100
    momentum: str = RESTORE
    noise: str = SAME

    @property
    def block(self) -> int:
        return self.steps

    @property
    def uses(self) -> Sequence[tuple[str, str]]:
        return (("method", self.inner),)

    def mix(self, search: Search, alphas: Alphas, at: Moment, rng: np.random.Generator) -> Mix:
        return inner_method(self.inner).mix(search, alphas, at, rng)

    def draw(self, search: Search, rng: np.random.Generator, n: int) -> list[Arch]:
        return inner_method(self.inner).draw(search, rng, n)

    def round(self, search: Search, pairs: Sequence[Pair]) -> None:
        inner = inner_method(self.inner)

        def look(search: Search, pair: Pair) -> None:
            loss = search.loss(pair.valid, search.mix(ARCH), phase=ARCH)
            for row, slope in zip(search.rows, search.arch_gradient(loss), strict=True):
                assert row.grad is not None
                row.grad += slope
            inner.weight_step(search, pair.train)

        def step(search: Search, pair: Pair) -> None:
            inner.weight_step(search, pair.train)

        unrolled_round(
            search, pairs, look=look, step=step, momentum=self.momentum, noise=self.noise
        )


METHOD = Sovl()
