"""SNIP: how much the loss changes when weights are taken away, to first order.

The sum over weights of |dL/dm| where the mask m multiplies the weight, which is |w dL/dw| at m = 1;
more is better. Source: Lee et al., ICLR 2019; not normalised, and summed over the network, as by
Abdelfattah et al., ICLR 2021 (code: SamsungLabs/zero-cost-nas,
foresight/pruners/measures/snip.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import torch

from protocols.proxies import Proxy

if TYPE_CHECKING:
    from protocols.probe import Probe


@final
class Snip(Proxy):
    """Sum of |w g|."""

    version = 1
    passes = ("gradients",)

    def score(self, probe: Probe) -> float:
        pairs = zip(probe.weights.values(), probe.gradients, strict=True)
        return float(sum((w * g).abs().sum(dtype=torch.float64) for w, g in pairs))


PROXY = Snip()
