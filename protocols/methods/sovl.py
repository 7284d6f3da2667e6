"""SoVL: as SoTL, with the sum of validation losses along the same look-ahead of the weights.

Source: the SoTL thesis, section 4.3, SoVL-DARTS.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from harness.arch import Arch, SearchSpace
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

    @property
    def network(self) -> Mapping[str, Any]:
        return inner_method(self.inner).network

    @property
    def n_stages(self) -> int:
        return inner_method(self.inner).n_stages

    def stage_network(self, search: Search, stage: int) -> Mapping[str, Any]:
        return inner_method(self.inner).stage_network(search, stage)

    def end_stage(self, search: Search, stage: int) -> None:
        inner_method(self.inner).end_stage(search, stage)

    def skip(self, space: SearchSpace) -> str | None:
        return inner_method(self.inner).skip(space)

    def init(
        self, space: SearchSpace, rng: np.random.Generator
    ) -> dict[str, list[NDArray[np.float64]]]:
        return inner_method(self.inner).init(space, rng)

    def strengths(self, search: Search) -> list[Tensor]:
        return inner_method(self.inner).strengths(search)

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
