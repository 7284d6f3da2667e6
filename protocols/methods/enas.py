"""ENAS: a recurrent controller proposes cells, shared weights judge them.

Source: Pham et al., "Efficient Neural Architecture Search via Parameter Sharing", ICML 2018, with
the controller of NATS-Bench (D-X-Y/AutoDL-Projects, search-cell.py, whose numbers the defaults
are). An epoch of weights on cells that it proposes is followed by some steps of the controller.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple, final

import numpy as np
import torch
from torch import Tensor, nn

from harness.arch import Arch, SearchSpace
from harness.seeds import derive
from protocols.nets.mix import Mix, path_mix
from protocols.options import require
from protocols.search.method import Alphas, Method, Moment

if TYPE_CHECKING:
    from protocols.search.loop import Search

CONTROLLER, OPTIMISER, BASELINE = "controller", "optimiser", "baseline"


@final
@dataclass(frozen=True)
class Enas(Method):
    """n_steps: of the controller after an epoch, each by n_samples cells, a validation batch each.

    entropy: weight of the choices' entropy in the reward, which is the accuracy from 0 to 1.
    baseline: how much of the running mean reward stays. clip: largest norm of a gradient.
    beta1, beta2: of its Adam; the script of NAS-Bench-201 has a beta1 of 0. reward_batch: images of
    such a validation batch, 0 for the recipe's batch size.
    """

    version: ClassVar[int] = 2
    has_own_steps: ClassVar[bool] = True
    draws_learnt = True
    learns_arch: ClassVar[bool] = False
    is_single_path = True
    n_steps: int = 50
    n_samples: int = 20
    lr: float = 1e-3
    entropy: float = 1e-4
    baseline: float = 0.99
    clip: float = 5.0
    beta1: float = 0.5
    beta2: float = 0.999
    reward_batch: int = 0

    def __post_init__(self) -> None:
        require(self.reward_batch >= 0, f"A reward of {self.reward_batch} images is none.")

    def skip(self, space: SearchSpace) -> str | None:
        if any(not group.learned or group.take > 1 for group in space.groups):
            return f"ENAS' controller takes one option a row, of all groups; {space.name} differs."
        return None

    def mix(self, search: Search, alphas: Alphas, at: Moment, rng: np.random.Generator) -> Mix:
        with torch.no_grad():
            return path_mix(search.space, self._controller(search)(rng).arch)

    def draw(self, search: Search, rng: np.random.Generator, n: int) -> list[Arch]:
        controller = self._controller(search)
        with torch.no_grad():
            return [controller(rng).arch for _ in range(n)]

    def end_epoch(self, search: Search) -> None:
        rng, controller = search.method_rng(), self._controller(search)
        optimiser = torch.optim.Adam(
            controller.parameters(), lr=self.lr, betas=(self.beta1, self.beta2), eps=1e-3
        )
        if OPTIMISER in search.memory:
            optimiser.load_state_dict(search.memory[OPTIMISER])
        for _ in range(self.n_steps):
            losses = [self._loss(search, controller, rng) for _ in range(self.n_samples)]
            optimiser.zero_grad(set_to_none=True)
            torch.stack(losses).mean().backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(controller.parameters(), self.clip)
            optimiser.step()
            search.counts.arch_steps += 1
        search.memory[CONTROLLER] = controller.state_dict()
        search.memory[OPTIMISER] = optimiser.state_dict()

    def _loss(self, search: Search, controller: Controller, rng: np.random.Generator) -> Tensor:
        """-log p * (reward - baseline) of one cell on one batch."""
        proposed = controller(rng)
        batch = search.batches.drawn(self.reward_batch or search.recipe.batch_size, rng)
        share = search.batch_accuracy(batch, path_mix(search.space, proposed.arch)) / 100
        reward = share + self.entropy * float(proposed.entropy)
        before = search.memory.get(BASELINE, reward)
        search.memory[BASELINE] = self.baseline * before + (1 - self.baseline) * reward
        return -proposed.log_probability * (reward - search.memory[BASELINE])

    def _controller(self, search: Search) -> Controller:
        """The controller as it was left; a new one of the search's own start."""
        if CONTROLLER not in search.objects:
            controller = Controller(search.space, derive(search.seed, CONTROLLER))
            if CONTROLLER in search.memory:
                controller.load_state_dict(search.memory[CONTROLLER])
            search.objects[CONTROLLER] = controller
        held: Controller = search.objects[CONTROLLER]
        return held


class Proposed(NamedTuple):
    """A cell, the log of its probability, and the summed entropies of its choices in nats."""

    arch: Arch
    log_probability: Tensor
    entropy: Tensor


@final
class Controller(nn.Module):
    """An LSTM that chooses row by row, seeing what it chose before; it runs on the host."""

    HIDDEN = 32
    TANH, TEMPERATURE, START = 2.5, 5.0, 0.1

    def __init__(self, space: SearchSpace, rng: np.random.Generator) -> None:
        super().__init__()
        self.space = space
        self.sizes = [n_options for n_options, _ in space.rows]
        self.first = nn.Parameter(torch.empty(1, 1, self.HIDDEN))
        self.lstm = nn.LSTM(self.HIDDEN, self.HIDDEN, num_layers=2)
        self.chosen = nn.Embedding(max(self.sizes), self.HIDDEN)
        self.choose = nn.Linear(self.HIDDEN, max(self.sizes))
        generator = torch.Generator().manual_seed(int(rng.integers(2**63)))
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -self.START, self.START, generator=generator)

    def forward(self, rng: np.random.Generator) -> Proposed:
        """One cell; rng: a number is drawn from it for every row."""
        before, state = self.first, None
        code: list[int] = []
        logs, entropies = [], []
        for size in self.sizes:
            after, state = self.lstm(before, state)
            logits = self.choose(after.view(-1)) / self.TEMPERATURE
            weights = (self.TANH * torch.tanh(logits[:size])).log_softmax(dim=0)
            code.append(_choice(weights, float(rng.random())))
            logs.append(weights[code[-1]])
            entropies.append(-(weights.exp() * weights).sum())
            before = self.chosen(torch.tensor([[code[-1]]]))
        return Proposed(
            self.space.arch(code), torch.stack(logs).sum(), torch.stack(entropies).sum().detach()
        )


def _choice(logs: Tensor, number: float) -> int:
    """The option in whose part of [0, 1) the number lies."""
    ends: list[float] = logs.detach().double().exp().cumsum(dim=0).tolist()
    return next((i for i, end in enumerate(ends) if number < end), len(ends) - 1)


METHOD = Enas()
