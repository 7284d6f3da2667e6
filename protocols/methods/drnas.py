"""DrNAS: weights of the options drawn from Dirichlet distributions whose concentrations learn.

Source: Chen et al., "DrNAS: Dirichlet Neural Architecture Search", ICLR 2021, and
xiangning-chen/DrNAS. The second stage of its progressive variant goes on with the parameters of
what is left, and with the weights in a wider network, as there; but which channels are copied is
not drawn (`protocols.search.stages.hand_over`), and a divergence is that of what is left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torch.distributions import Dirichlet, kl_divergence

from harness.arch import Arch
from protocols.left import Left
from protocols.nets.mix import Mix, learned
from protocols.options import require
from protocols.search.learnt import draw_strengths
from protocols.search.method import Alphas, Method, Moment, adam
from protocols.search.mixing import dirichlet, dirichlet_mean, index, mapped, softmax_of_left
from protocols.search.recipe import Recipe
from protocols.search.stages import keep_strongest

if TYPE_CHECKING:
    from protocols.search.loop import Search


@final
@dataclass(frozen=True)
class DrNas(Method):
    """The concentrations are elu(beta) + 1; the largest beta of a row is kept.

    kl: how much of the divergence from the uniform Dirichlet distribution is added to the loss; the
    code has 0.001 there, and none by default, where the decay of beta stands in its place.

    progressive: two stages, of which the second has the share `kept` of every row's options, the
    strongest. One of `partial` channels is mixed in the first and one of `second_partial` in the
    second: 4 and 2 for NAS-Bench-201, where 3 of 5 options are kept; 6 and 4 for the DARTS space,
    with 4 of 7 and 36 channels. A recipe's `warmup_epochs`, 10 there, are those of either stage.
    """

    version: ClassVar[int] = 1
    draws_learnt = True
    kl: float = 0.0
    progressive: bool = False
    kept: float = 0.6
    partial: int = 4
    second_partial: int = 2

    def __post_init__(self) -> None:
        require(0 < self.kept <= 1, f"The share of options that is kept is not {self.kept}.")

    @property
    def n_stages(self) -> int:
        return 2 if self.progressive else 1

    @property
    def goes_on(self) -> bool:
        return self.progressive

    def stage_network(self, search: Search, stage: int) -> Mapping[str, Any]:
        if not self.progressive:
            return {}
        return {"partial": (self.partial, self.second_partial)[stage]}

    def end_stage(self, search: Search, stage: int) -> None:
        keep_strongest(search, self.kept)

    def mix(self, search: Search, alphas: Alphas, at: Moment, rng: np.random.Generator) -> Mix:
        left = self._left(search)
        path = None if left is None else left.path()
        concentrations = mapped(alphas, concentration)
        if at.twice:
            return Mix(dirichlet_mean(concentrations, path))
        return Mix(dirichlet(concentrations, rng, path))

    def penalty(self, search: Search) -> Tensor | None:
        return self.kl * divergence(self._rows(search)) if self.kl else None

    def strengths(self, search: Search) -> list[Tensor]:
        shares = softmax_of_left(search.space, search.alphas, self._left(search))
        return [row for rows in shares.values() for row in rows]

    def arch_optimiser(self, rows: Sequence[Tensor], recipe: Recipe) -> torch.optim.Optimizer:
        """Without a decay where the divergence stands in its place."""
        return adam(rows, replace(recipe, arch_weight_decay=0.0) if self.kl else recipe)

    def draw(self, search: Search, rng: np.random.Generator, n: int) -> list[Arch]:
        return draw_strengths(search, n, lambda row: _random(row, rng))

    def _left(self, search: Search) -> Left | None:
        """What a stage has left; without stages the distributions are of all options."""
        return search.left if self.progressive else None

    def _rows(self, search: Search) -> list[Tensor]:
        """The parameters of what is left."""
        left = self._left(search)
        if left is None:
            return search.rows
        path = left.path()
        return [
            row[index(options, row.device)]
            for group in learned(search.space)
            for row, options in zip(search.alphas[group.name], path[group.name], strict=True)
        ]


def concentration(beta: Tensor) -> Tensor:
    """Positive, and 1 at beta = 0."""
    return F.elu(beta) + 1


def _random(beta: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """A draw of one row; 0 for what is gone."""
    drawn, left = np.zeros(len(beta)), np.isfinite(beta)
    held = beta[left]
    drawn[left] = rng.dirichlet(np.where(held > 0, held, np.expm1(held)) + 1)
    return drawn


def divergence(rows: list[Tensor]) -> Tensor:
    """Summed over the rows: Kullback and Leibler's, from the uniform Dirichlet distribution."""
    parts = [
        kl_divergence(Dirichlet(concentration(row)), Dirichlet(torch.ones_like(row)))
        for row in rows
    ]
    return torch.stack(parts).sum()


METHOD = DrNas()
