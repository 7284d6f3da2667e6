"""SDARTS-RS: DARTS whose weights are trained under randomly disturbed mixtures.

Source: Chen and Hsieh, "Stabilizing Differentiable Architecture Search via Perturbation-based
Regularization", ICML 2020, and xiangning-chen/SmoothDARTS. DARTS-PT calls the noise Gaussian; in
the code it is uniform.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

import numpy as np
import torch
from torch import Tensor

from protocols.nets.mix import Mix, softmax_mix
from protocols.search.method import WEIGHTS, Alphas, Method, Moment
from protocols.search.mixing import as_row, mapped

if TYPE_CHECKING:
    from protocols.search.loop import Search


@final
@dataclass(frozen=True)
class SdartsRs(Method):
    """smallest, largest: how far a weight is moved at most, at the start and at the end."""

    version: ClassVar[int] = 1
    smallest: float = 0.03
    largest: float = 0.3

    def mix(self, search: Search, alphas: Alphas, at: Moment, rng: np.random.Generator) -> Mix:
        if at.phase != WEIGHTS:
            return softmax_mix(alphas)
        reach = self.smallest + (self.largest - self.smallest) * at.epoch / at.n_epochs

        def disturbed(row: Tensor) -> Tensor:
            noise = as_row(rng.uniform(-reach, reach, len(row)), row)
            return normalised(row.softmax(dim=0) + noise)

        return Mix(mapped(alphas, disturbed))


def normalised(row: Tensor) -> Tensor:
    """Between 0 and 1, then of sum 1; where all are 0, the largest is 1."""
    kept = row.clamp(0, 1)
    total = kept.sum()
    largest = torch.zeros_like(kept).scatter(0, row.argmax(dim=0, keepdim=True), 1.0)
    return torch.where(total > 0, kept / total.clamp_min(torch.finfo(row.dtype).tiny), largest)


METHOD = SdartsRs()
