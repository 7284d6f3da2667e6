"""Gradient norm: the length of the loss's gradient, layer by layer.

The sum over convolutions and linear layers of the Euclidean norm of dL/dw; more is better. Source:
Abdelfattah et al., ICLR 2021 (code: SamsungLabs/zero-cost-nas,
foresight/pruners/measures/grad_norm.py, which sums the layers' norms).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import torch

from protocols.proxies import Proxy

if TYPE_CHECKING:
    from protocols.probe import Probe


@final
class GradNorm(Proxy):
    """Sum of the layers' |g|."""

    version = 1
    passes = ("gradients",)

    def score(self, probe: Probe) -> float:
        return float(sum(torch.linalg.vector_norm(g, dtype=torch.float64) for g in probe.gradients))


PROXY = GradNorm()
