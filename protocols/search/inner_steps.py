"""Several steps of the weights on one batch, which then count as one: Reptile and Metaprox.

Source: the SoTL thesis, section 3.3, after Nichol et al., "On First-Order Meta-Learning
Algorithms", 2018, and Zhou et al., "Efficient meta learning via minibatch proximal update", NeurIPS
2019; code: Mirofil/AutoDL-Projects. The thesis prints the penalty without a square; the code
squares it. Its momentum is forgotten every epoch; here it is the recipe's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

import numpy as np
import torch
from torch import Tensor

from protocols.nets.mix import Mix
from protocols.options import require
from protocols.search.method import WEIGHTS, Alphas, Method, Moment
from protocols.search.mixing import random_path
from protocols.training import Labelled

if TYPE_CHECKING:
    from protocols.search.loop import Search


@final
@dataclass(frozen=True)
class InnerSteps(Method):
    """n_inner: steps on a batch. outer: the part of the way that is gone: w + outer * (w' - w).

    proximal: adds proximal / 2 * |w' - w|^2 to the loss of every inner step. n_paths: architectures
    that an inner step averages over, the same ones in all steps on a batch.
    """

    version: ClassVar[int] = 1
    learns_arch: ClassVar[bool] = False
    is_single_path = True
    n_inner: int = 4
    outer: float = 1.0
    proximal: float = 0.0
    n_paths: int = 1

    def __post_init__(self) -> None:
        require(min(self.n_inner, self.n_paths) >= 1, "One step on one path is the least.")

    def mix(self, search: Search, alphas: Alphas, at: Moment, rng: np.random.Generator) -> Mix:
        return random_path(search.space, rng)

    def weight_step(self, search: Search, batch: Labelled) -> None:
        before = {name: weight.detach().clone() for name, weight in search.weights.items()}

        def distance() -> Tensor:
            # What the paths do not use has not moved, and must not get a gradient of 0.
            moved = [name for name, w in search.weights.items() if w.grad is not None]
            squares = [(search.weights[name] - before[name]).pow(2).sum() for name in moved]
            return self.proximal / 2 * torch.stack(squares).sum()

        mixes = [search.mix(WEIGHTS) for _ in range(self.n_paths)]
        for _ in range(self.n_inner):
            search.step_weights(batch, mixes, penalty=distance if self.proximal else None)
        if self.outer == 1:
            return
        with torch.no_grad():
            for name, weight in search.weights.items():
                weight.lerp_(before[name], 1 - self.outer)
