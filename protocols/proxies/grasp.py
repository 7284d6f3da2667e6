"""GraSP: how much taking weights away would shrink the gradient, to first order.

The sum over weights of -w (H g), g and H the loss's gradient and Hessian in the weights, both on
the whole batch, at temperature 1; more is better. Source: Wang et al., ICLR 2020; the sign and the
temperature are those of Abdelfattah et al., ICLR 2021 (code: SamsungLabs/zero-cost-nas,
foresight/pruners/measures/grasp.py), where accuracy falls with the sum of w (H g).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import torch

from protocols.proxies import Proxy

if TYPE_CHECKING:
    from protocols.probe import Probe


@final
class Grasp(Proxy):
    """Sum of -w (H g)."""

    version = 1
    passes = ("curvature",)

    def score(self, probe: Probe) -> float:
        pairs = zip(probe.weights.values(), probe.curvature, strict=True)
        return -float(sum((w * hg).sum(dtype=torch.float64) for w, hg in pairs))


PROXY = Grasp()
