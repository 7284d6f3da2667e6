"""Plain: the loss's slope along the weights themselves.

The sum over weights of w dL/dw, with its sign; more is better, as in the source's ranking. Source:
Abdelfattah et al., ICLR 2021 (code: SamsungLabs/zero-cost-nas,
foresight/pruners/measures/plain.py), after Mozer and Smolensky, NIPS 1988.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import torch

from protocols.proxies import Proxy

if TYPE_CHECKING:
    from protocols.probe import Probe


@final
class Plain(Proxy):
    """Sum of w g."""

    version = 1
    passes = ("gradients",)

    def score(self, probe: Probe) -> float:
        pairs = zip(probe.weights.values(), probe.gradients, strict=True)
        return float(sum((w * g).sum(dtype=torch.float64) for w, g in pairs))


PROXY = Plain()
