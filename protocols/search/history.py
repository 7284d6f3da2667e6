"""What a search spent, and what is recorded of each of its epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from harness.arch import Arch, SearchSpace

Strengths = Sequence[NDArray[np.float64]]


@dataclass
class Counts:
    """What was spent.

    image_passes: images that went forwards and backwards once. weight_steps: those of a look-ahead
    too. scored: networks by a proxy, in a selection. evaluated: images that only went forwards, to
    measure or to select. diagnostic_passes: of products with a batch's Hessian, one an image and
    product; the pass that the products of a measurement share is not among them.
    """

    image_passes: int = 0
    weight_steps: int = 0
    arch_steps: int = 0
    scored: int = 0
    evaluated: int = 0
    diagnostic_passes: int = 0


@dataclass(frozen=True)
class Epoch:
    """What is known after an epoch, counted from 1; 0 is before the first.

    strengths: per learned group (n_rows, n_options). arch: what `discretise` makes of them; None
    where nothing learns. losses, accuracies: by phase, of the batches as they were learnt from.
    measured: diagnostics by name. seconds: without these.
    """

    epoch: int
    strengths: Strengths
    arch: Arch | None
    losses: Mapping[str, float] = field(default_factory=dict)
    accuracies: Mapping[str, float] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    measured: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0

    def state(self) -> dict[str, Any]:
        """The same in what torch.load takes without trust."""
        return {
            **vars(self),
            "strengths": [torch.from_numpy(block) for block in self.strengths],
            "arch": None if self.arch is None else list(self.arch.code),
        }

    @classmethod
    def of_state(cls, space: SearchSpace, state: Mapping[str, Any]) -> Epoch:
        """The epoch that a state was made of."""
        strengths = [block.cpu().numpy() for block in state["strengths"]]
        arch = None if state["arch"] is None else space.arch(state["arch"])
        return cls(**{**state, "strengths": strengths, "arch": arch})
