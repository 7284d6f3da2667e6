"""DrNAS: weights of the options drawn from Dirichlet distributions whose concentrations learn.

Source: Chen et al., "DrNAS: Dirichlet Neural Architecture Search", ICLR 2021, and
xiangning-chen/DrNAS. Its progressive variant is not here yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, final

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Dirichlet, kl_divergence

from harness.arch import Arch
from protocols.nets.mix import Mix
from protocols.search.batches import Pair
from protocols.search.learnt import draw_strengths
from protocols.search.method import ARCH, Alphas, Method, Moment, adam
from protocols.search.mixing import dirichlet, mapped
from protocols.search.recipe import Recipe

if TYPE_CHECKING:
    from protocols.search.loop import Search


@final
@dataclass(frozen=True)
class DrNas(Method):
    """The concentrations are elu(beta) + 1; the largest beta of a row is kept.

    kl: how much of the divergence from the uniform Dirichlet distribution is added to the loss; the
    code has 0.001 there, and none by default, where the decay of beta stands in its place.
    """

    version: ClassVar[int] = 1
    draws_learnt = True
    kl: float = 0.0

    def mix(self, search: Search, alphas: Alphas, at: Moment, rng: np.random.Generator) -> Mix:
        return Mix(dirichlet(mapped(alphas, concentration), rng))

    def arch_step(self, search: Search, pair: Pair) -> None:
        loss = search.loss(pair.valid, search.mix(ARCH), phase=ARCH)
        if self.kl:
            loss = loss + self.kl * divergence(search.rows)
        search.step_arch(search.arch_gradient(loss))

    def arch_optimiser(self, rows: Sequence[Tensor], recipe: Recipe) -> torch.optim.Optimizer:
        """Without a decay where the divergence stands in its place."""
        return adam(rows, replace(recipe, arch_weight_decay=0.0) if self.kl else recipe)

    def draw(self, search: Search, rng: np.random.Generator, n: int) -> list[Arch]:
        return draw_strengths(
            search, n, lambda row: rng.dirichlet(np.where(row > 0, row, np.expm1(row)) + 1)
        )


def concentration(beta: Tensor) -> Tensor:
    """Positive, and 1 at beta = 0."""
    return F.elu(beta) + 1


def divergence(rows: list[Tensor]) -> Tensor:
    """Summed over the rows: Kullback and Leibler's, from the uniform Dirichlet distribution."""
    parts = [
        kl_divergence(Dirichlet(concentration(row)), Dirichlet(torch.ones_like(row)))
        for row in rows
    ]
    return torch.stack(parts).sum()


METHOD = DrNas()
