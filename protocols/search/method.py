"""What a search method owns: a few hooks. The loop owns everything else."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.arch import Arch, SearchSpace
from protocols.nets.mix import Mix, learned
from protocols.search.batches import Pair
from protocols.search.recipe import Recipe
from protocols.training import Labelled

if TYPE_CHECKING:
    from protocols.search.loop import Search

Alphas = Mapping[str, Sequence[Tensor]]  # Per learned group and row, (n_options,).
WEIGHTS, ARCH, EVALUATION = "weights", "arch", "evaluation"


@dataclass(frozen=True)
class Moment:
    """When a mix is asked for.

    phase: what for: a step of the weights, one of the architecture parameters, or a measurement.
    epoch: counted from 0. n_epochs: of the whole run. twice: whether the mix is differentiated
    twice; one that is drawn, and cannot be, is then the mean of what is drawn.
    """

    phase: str
    epoch: int
    n_epochs: int
    twice: bool = False

    def between(self, first: float, last: float) -> float:
        """A line over the epochs: the first value in the first, the last in the last and after."""
        last_epoch = max(self.n_epochs - 1, 1)
        return first + (last - first) * min(self.epoch, last_epoch) / last_epoch


class Method(ABC):
    """A weight-sharing search. A file protocols/methods/NAME.py offers one as METHOD.

    A concrete one is a frozen dataclass whose fields are the method's options, with defaults: a
    run's setting may name any of them. It keeps no state: parameters are the loop's, and whatever
    else it must remember belongs into `search.memory`. `version` is raised whenever the result of a
    seed changes.

    learns_arch: whether there are architecture parameters that learn. is_single_path: whether
    weights are trained under one option a row at a time. has_own_steps: whether parameters learn by
    more than the gradient of a mix. decides: whether it decides rows on the way. draws_learnt:
    whether `draw` depends on what was learnt. block: pairs of batches that a round takes; the last
    one of an epoch may have fewer.
    """

    version: ClassVar[int]
    learns_arch: ClassVar[bool] = True
    decides: ClassVar[bool] = False

    @property
    def has_own_steps(self) -> bool:
        return False

    @property
    def is_single_path(self) -> bool:
        return False

    @property
    def draws_learnt(self) -> bool:
        return False

    @property
    def block(self) -> int:
        return 1

    @property
    def uses(self) -> Sequence[tuple[str, str]]:
        """(kind, name) of the plug-ins whose versions the result depends on besides its own."""
        return ()

    @property
    def network(self) -> Mapping[str, Any]:
        """Settings of the supernet that it needs; a run's own settings come on top."""
        return {}

    @property
    def n_stages(self) -> int:
        """Parts of equal length that a run has, each with a new network."""
        return 1

    @property
    def goes_on(self) -> bool:
        """Whether a stage goes on with the parameters, weights and rate of the one before.

        Its network may be a wider one, see `protocols.search.stages.hand_over`.
        """
        return False

    def stage_network(self, search: Search, stage: int) -> Mapping[str, Any]:
        """Settings of the supernet in a stage, counted from 0; they come on top of the run's."""
        return {}

    def end_stage(self, search: Search, stage: int) -> None:
        """What is done after a stage that is not the last, with what it has learnt."""
        return

    def skip(self, space: SearchSpace) -> str | None:
        """Why it cannot run on a space, or None."""
        return None

    def init(
        self, space: SearchSpace, rng: np.random.Generator
    ) -> dict[str, list[NDArray[np.float64]]]:
        """The first architecture parameters: per learned group and row, (n_options,).

        After all learned groups of the space in its order, groups of the method's own may follow.
        """
        return small_normal(space, rng)

    def images_a_batch(self, search: Search) -> int:
        """Of the batches of the epoch that begins: by default, as the recipe has it."""
        return search.batches.batch_size

    @abstractmethod
    def mix(self, search: Search, alphas: Alphas, at: Moment, rng: np.random.Generator) -> Mix:
        """The weights of all options.

        A function of the parameters, the random numbers and what the search remembers alone, so
        that unrolled gradients, samples and replays are calls of it.
        """

    def round(self, search: Search, pairs: Sequence[Pair]) -> None:
        """What is done with one block of batches: by default, a step of either kind for each."""
        for pair in pairs:
            if search.is_learning_arch and search.recipe.arch_first:
                self.arch_step(search, pair)
            self.weight_step(search, pair.train)
            if search.is_learning_arch and not search.recipe.arch_first:
                self.arch_step(search, pair)

    def arch_step(self, search: Search, pair: Pair) -> None:
        """One step of the architecture parameters: by default, down the validation loss."""
        first_order_step(search, pair)

    def penalty(self, search: Search) -> Tensor | None:
        """What is added to every loss that architecture parameters learn from, if anything."""
        return None

    def weight_step(self, search: Search, batch: Labelled) -> None:
        """One step of the weights: by default, down the training loss under one mix."""
        search.step_weights(batch, [search.mix(WEIGHTS)])

    def end_epoch(self, search: Search) -> None:
        """What is done after the batches of an epoch: by default, nothing."""
        return

    def arch_optimiser(self, rows: Sequence[Tensor], recipe: Recipe) -> torch.optim.Optimizer:
        """What `search.step_arch` steps by: by default, DARTS' Adam."""
        return adam(rows, recipe)

    def strengths(self, search: Search) -> list[Tensor]:
        """Per row of the learned groups, what the space's rule goes by: by default, a softmax."""
        return [
            row.softmax(dim=0)
            for group in learned(search.space)
            for row in search.alphas[group.name]
        ]

    def draw(self, search: Search, rng: np.random.Generator, n: int) -> list[Arch]:
        """Architectures from the distribution that was learnt; by default, uniform ones."""
        return [search.space.sample(rng) for _ in range(n)]


INIT_SCALE = 1e-3  # DARTS official code, cnn/model_search.py.


def small_normal(
    space: SearchSpace, rng: np.random.Generator
) -> dict[str, list[NDArray[np.float64]]]:
    """Per learned group and row, (n_options,) normal numbers of a small deviation."""
    return {
        group.name: [INIT_SCALE * rng.standard_normal(len(options)) for options in group.options]
        for group in learned(space)
    }


def first_order_step(search: Search, pair: Pair) -> None:
    """Down the gradient of the validation loss and the penalty, the weights as they are."""
    loss = search.loss(pair.valid, search.mix(ARCH), phase=ARCH)
    penalty = search.method.penalty(search)
    search.step_arch(search.arch_gradient(loss if penalty is None else loss + penalty))


def adam(rows: Sequence[Tensor], recipe: Recipe) -> torch.optim.Optimizer:
    """DARTS' Adam by the recipe's numbers."""
    return torch.optim.Adam(
        rows,
        lr=recipe.arch_lr,
        betas=(recipe.arch_beta1, recipe.arch_beta2),
        weight_decay=recipe.arch_weight_decay,
    )
