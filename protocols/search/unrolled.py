"""A search whose architecture parameters follow losses that are summed up along a look-ahead.

Source: the SoTL thesis, section 3.4, equations 3.21 and 3.22, algorithm 3 and appendix A. Over a
block of batches the weights learn with the parameters as they are, and the first-order gradients on
the way are summed up; the parameters take one step by the sum; everything else is taken back; and
the weights learn over the same block once more, with the new parameters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, TypeGuard, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness import registry
from harness.arch import Arch, SearchSpace
from harness.errors import InvalidSpec
from protocols.nets.mix import Mix
from protocols.options import configured, one_of, require
from protocols.search.batches import Pair
from protocols.search.hypergradients import unrolled_sotl
from protocols.search.method import ARCH, WEIGHTS, Alphas, Method, Moment
from protocols.search.recipe import Recipe

if TYPE_CHECKING:
    from protocols.search.loop import Search

TRAIN, VALID = "train", "valid"
RESTORE, LEAK = "restore", "leak"
SAME, FRESH = "same", "fresh"
REMEDY = "Its parameters must learn by the gradient of its mixtures, and by nothing else."


@final
@dataclass(frozen=True)
class Unrolled(Method):
    """inner: the search whose mixtures these are; inner_options: its options, by name.

    What it adds to a loss is added to each that is summed. steps: T, batches of a look-ahead.

    summed: whose losses, of the training batches that the weights learn from ("train", SoTL) or of
    a validation batch before each step ("valid", SoVL). momentum: "restore", or "leak" as in some
    forks of the thesis, where the look-ahead's stays. noise: whether the pass for good draws the
    "same" random numbers or "fresh" ones. exact: the gradient through the steps of the look-ahead
    and not only along them, of training losses, for few steps (the thesis has 7) and mixtures of
    all options. Steps are clipped as the recipe says, where the thesis does not clip.
    """

    version: ClassVar[int] = 1
    has_own_steps: ClassVar[bool] = True
    inner: str = "darts"
    steps: int = 100
    summed: str = TRAIN
    momentum: str = RESTORE
    noise: str = SAME
    exact: bool = False
    inner_options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require(self.steps >= 1, "A look-ahead has at least one step.")
        one_of("summed", self.summed, (TRAIN, VALID))
        one_of("momentum", self.momentum, (RESTORE, LEAK))
        one_of("noise", self.noise, (SAME, FRESH))
        require(not self.exact or self.summed == TRAIN, "The exact gradient is of training losses.")

    def round(self, search: Search, pairs: Sequence[Pair]) -> None:
        if search.is_learning_arch:
            drawn = search.noise_state
            slopes = self._exact(search, pairs) if self.exact else self._sum(search, pairs)
            search.step_arch(self._penalised(search, slopes, len(pairs)))
            if self.noise == SAME:
                search.noise_state = drawn
        for pair in pairs:
            self._inner.weight_step(search, pair.train)

    def _sum(self, search: Search, pairs: Sequence[Pair]) -> list[Tensor]:
        """The summed gradients along the look-ahead, which is then taken back."""
        before = search.snapshot()
        for row in search.rows:
            row.grad = torch.zeros_like(row)
        for pair in pairs:
            if self.summed == VALID:
                loss = search.loss(pair.valid, search.mix(ARCH), phase=ARCH)
                for row, slope in zip(search.rows, search.arch_gradient(loss), strict=True):
                    row.grad = slope if row.grad is None else row.grad + slope
                self._inner.weight_step(search, pair.train)
            else:
                with search.traced():
                    self._inner.weight_step(search, pair.train)
        search.restore(before, momentum=self.momentum == RESTORE)
        return [row.grad for row in search.rows if row.grad is not None]

    def _penalised(self, search: Search, slopes: list[Tensor], n_losses: int) -> list[Tensor]:
        """With the gradient of what the inner method adds to each of the losses."""
        penalty = self._inner.penalty(search)
        if penalty is None:
            return slopes
        more = search.arch_gradient(n_losses * penalty)
        return [slope + extra for slope, extra in zip(slopes, more, strict=True)]

    def _exact(self, search: Search, pairs: Sequence[Pair]) -> list[Tensor]:
        return unrolled_sotl(search, pairs, [search.mixer(WEIGHTS) for _ in pairs])

    # All else is the inner method's.

    @cached_property
    def _asked(self) -> object:
        """What may be no search, or one that cannot be unrolled."""
        return configured(registry.get("method", self.inner).offer, self.inner_options)

    @property
    def _inner(self) -> Method:
        found = self._asked
        if not _unrolls(found):
            raise InvalidSpec(f"{self.inner} cannot be unrolled.", REMEDY)
        return found

    @property
    def block(self) -> int:
        return self.steps

    @property
    def is_single_path(self) -> bool:
        return self._inner.is_single_path

    @property
    def draws_learnt(self) -> bool:
        return self._inner.draws_learnt

    @property
    def uses(self) -> Sequence[tuple[str, str]]:
        found = self._asked
        return (("method", self.inner), *(found.uses if isinstance(found, Method) else ()))

    @property
    def network(self) -> Mapping[str, Any]:
        return self._inner.network

    @property
    def n_stages(self) -> int:
        return self._inner.n_stages

    @property
    def goes_on(self) -> bool:
        return self._inner.goes_on

    def images_a_batch(self, search: Search) -> int:
        return self._inner.images_a_batch(search)

    def stage_network(self, search: Search, stage: int) -> Mapping[str, Any]:
        return self._inner.stage_network(search, stage)

    def end_stage(self, search: Search, stage: int) -> None:
        self._inner.end_stage(search, stage)

    def skip(self, space: SearchSpace) -> str | None:
        found = self._asked
        if not _unrolls(found):
            return f"{self.inner} cannot be unrolled. {REMEDY}"
        return found.skip(space)

    def init(
        self, space: SearchSpace, rng: np.random.Generator
    ) -> dict[str, list[NDArray[np.float64]]]:
        return self._inner.init(space, rng)

    def arch_optimiser(self, rows: Sequence[Tensor], recipe: Recipe) -> torch.optim.Optimizer:
        return self._inner.arch_optimiser(rows, recipe)

    def strengths(self, search: Search) -> list[Tensor]:
        return self._inner.strengths(search)

    def mix(self, search: Search, alphas: Alphas, at: Moment, rng: np.random.Generator) -> Mix:
        return self._inner.mix(search, alphas, at, rng)

    def draw(self, search: Search, rng: np.random.Generator, n: int) -> list[Arch]:
        return self._inner.draw(search, rng, n)


def _unrolls(method: object) -> TypeGuard[Method]:
    """Whether all that its parameters learn from is the gradient of its mixtures."""
    return isinstance(method, Method) and method.learns_arch and not method.has_own_steps
