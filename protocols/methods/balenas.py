"""BaLeNAS: a Gaussian over the architecture parameters, learned by VAdam.

Source: Zhang et al., "BaLeNAS: Differentiable Architecture Search via the Bayesian Learning Rule",
CVPR 2022; the optimiser: Khan et al., "Fast and Scalable Bayesian Deep Learning by
Weight-Perturbation in Adam", ICML 2018, algorithm 1. The paper states neither the size of the data,
nor the precision of the prior, nor the rates; ours are DARTS' rates, the number of validation
images, and a prior as strong as DARTS' weight decay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

import numpy as np
import torch
from torch import Tensor

from harness.arch import Arch
from protocols.nets.mix import Mix, learned, softmax_mix
from protocols.options import one_of, require
from protocols.search.batches import Pair
from protocols.search.hypergradients import second_order
from protocols.search.learnt import discretised, softmax
from protocols.search.method import ARCH, Alphas, Method, Moment
from protocols.search.mixing import as_row

if TYPE_CHECKING:
    from protocols.search.loop import Search

# What is remembered beside the mean: of VAdam the momentum, of the printed step the mean before.
BEFORE, SCALE, N_STEPS = "before", "scale", "steps"


@final
@dataclass(frozen=True)
class BaLeNas(Method):
    """The loop's parameters are the mean; the weights are trained under it.

    order: of the gradient at every draw, as in `darts`. samples: draws a step, M; with 0 the
    gradient is taken at the mean, without what the paper calls implicit regularization from
    sampling. decay: the prior's precision over the number of data, which enters where a weight
    decay does. n_data: that number, 0 for the validation images. The standard deviation starts at
    1 / sqrt(n_data * decay).
    printed: the step of the paper's equations 17 and 18 as they are printed, without a root, in
    place of VAdam's, which the paper names.
    """

    version: ClassVar[int] = 1
    has_own_steps: ClassVar[bool] = True
    draws_learnt = True
    order: int = 1
    samples: int = 1
    decay: float = 1e-3
    n_data: int = 0
    printed: bool = False

    def __post_init__(self) -> None:
        one_of("order", self.order, (1, 2))
        require(self.samples >= 0 and self.decay > 0, "BaLeNAS draws under a prior, or not at all.")

    def mix(self, search: Search, alphas: Alphas, at: Moment, rng: np.random.Generator) -> Mix:
        return softmax_mix(alphas)

    def arch_step(self, search: Search, pair: Pair) -> None:
        self._remember(search)
        draws = [self._slopes(search, pair) for _ in range(self.samples or 1)]
        slopes = [torch.stack(held).mean(dim=0) for held in zip(*draws, strict=True)]
        squares = [torch.stack(held).pow(2).mean(dim=0) for held in zip(*draws, strict=True)]
        if self.printed:
            self._printed(search, slopes)
        else:
            self._vadam(search, slopes, squares)
        search.counts.arch_steps += 1

    def deviations(self, search: Search) -> list[Tensor]:
        """The standard deviation of every parameter: 1 / sqrt(n_data * (s + decay))."""
        n = self.n_data or len(search.batches.halves.valid.indices)
        held = search.memory.get(SCALE) or [torch.zeros_like(row) for row in search.rows]
        return [(n * (scale + self.decay)).rsqrt() for scale in held]

    def draw(self, search: Search, rng: np.random.Generator, n: int) -> list[Arch]:
        means = [row.detach().cpu().double().numpy() for row in search.rows]
        spreads = [row.cpu().double().numpy() for row in self.deviations(search)]
        return [
            discretised(
                search,
                [
                    softmax(mean + spread * rng.standard_normal(len(mean)))
                    for mean, spread in zip(means, spreads, strict=True)
                ],
            )
            for _ in range(n)
        ]

    def _remember(self, search: Search) -> None:
        if SCALE not in search.memory:
            search.memory[SCALE] = [torch.zeros_like(row) for row in search.rows]
            start = torch.clone if self.printed else torch.zeros_like
            search.memory[BEFORE] = [start(row.detach()) for row in search.rows]
            search.memory[N_STEPS] = 0

    def _slopes(self, search: Search, pair: Pair) -> list[Tensor]:
        """The gradient of the loss at one draw of the parameters, or at their mean."""
        rows = [row.detach().requires_grad_() for row in self._drawn(search)]
        left = iter(rows)
        drawn = {group.name: [next(left) for _ in group.options] for group in learned(search.space)}
        mixer = search.mixer(ARCH, drawn)
        if self.order == 2:
            return second_order(search, pair, mixer, rows)
        loss = search.loss(pair.valid, mixer(), phase=ARCH)
        return list(torch.autograd.grad(loss, rows, materialize_grads=True))

    def _drawn(self, search: Search) -> list[Tensor]:
        if not self.samples:
            return list(search.rows)
        rng = search.method_rng()
        spreads = zip(search.rows, self.deviations(search), strict=True)
        return [
            row.detach() + spread * as_row(rng.standard_normal(len(row)), row)
            for row, spread in spreads
        ]

    @torch.no_grad()
    def _vadam(self, search: Search, slopes: Sequence[Tensor], squares: Sequence[Tensor]) -> None:
        memory, recipe = search.memory, search.recipe
        memory[N_STEPS] += 1
        beta1, beta2 = recipe.arch_beta1, recipe.arch_beta2
        correct1, correct2 = (1 - beta ** memory[N_STEPS] for beta in (beta1, beta2))
        parts = zip(search.rows, memory[BEFORE], memory[SCALE], slopes, squares, strict=True)
        for mean, momentum, scale, slope, square in parts:
            momentum.lerp_(slope + self.decay * mean, 1 - beta1)
            scale.lerp_(square, 1 - beta2)
            step = (momentum / correct1) / ((scale / correct2).sqrt() + self.decay)
            mean.sub_(recipe.arch_lr * step)

    @torch.no_grad()
    def _printed(self, search: Search, slopes: Sequence[Tensor]) -> None:
        """The mean's last value is what is remembered; momentum is beta1 and the rate arch_lr."""
        memory, recipe = search.memory, search.recipe
        parts = zip(search.rows, memory[BEFORE], memory[SCALE], slopes, strict=True)
        for mean, before, scale, slope in parts:
            old = scale + self.decay
            scale.lerp_(slope.pow(2), 1 - recipe.arch_beta2)
            new = scale + self.decay
            moved = mean - before
            before.copy_(mean)
            mean.sub_(recipe.arch_lr * (slope + self.decay * mean) / new)
            mean.add_(recipe.arch_beta1 * old / new * moved)


METHOD = BaLeNas()
