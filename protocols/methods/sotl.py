"""SoTL: any search, with architecture parameters that follow the sum of training losses.

Source: the SoTL thesis, section 3.4, equations 3.21 and 3.22, and algorithm 3.
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
from protocols.search.hypergradients import unrolled_sotl
from protocols.search.method import WEIGHTS, Alphas, Method, Moment
from protocols.search.unrolled import RESTORE, SAME, unrolled_round
from protocols.search.wrapped import inner_method

if TYPE_CHECKING:
    from protocols.search.loop import Search


@final
@dataclass(frozen=True)
class Sotl(Method):
    """inner: the search whose mixtures these are. steps: T, batches of a look-ahead.

    momentum: "restore", or "leak" as in some forks of the thesis. noise: "same" or "fresh" in the
    pass for good. exact: the gradient through the steps of the look-ahead and not only along them,
    for few of them (the thesis has 7) and mixtures of all options. Both halves of a pair of batches
    are there, but the second is not looked at.
    """

    version: ClassVar[int] = 1
    inner: str = "darts"
    steps: int = 100
    momentum: str = RESTORE
    noise: str = SAME
    exact: bool = False

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
            with search.traced():
                inner.weight_step(search, pair.train)

        def step(search: Search, pair: Pair) -> None:
            inner.weight_step(search, pair.train)

        if self.exact and search.is_learning_arch:
            drawn = search.noise_state
            mixers = [search.mixer(WEIGHTS) for _ in pairs]
            search.step_arch(unrolled_sotl(search, pairs, mixers))
            if self.noise == SAME:
                search.noise_state = drawn
            for pair in pairs:
                step(search, pair)
            return
        unrolled_round(
            search, pairs, look=look, step=step, momentum=self.momentum, noise=self.noise
        )


METHOD = Sotl()
