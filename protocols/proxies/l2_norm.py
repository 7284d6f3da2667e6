"""Weight norm: the length of the weights, layer by layer.

The sum over convolutions and linear layers of the Euclidean norm of w; more is better. It sees no
data, and also counts layers that lead nowhere. Source: Abdelfattah et al., ICLR 2021 (code:
SamsungLabs/zero-cost-nas, foresight/pruners/measures/l2_norm.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import torch

from protocols.proxies import Proxy

if TYPE_CHECKING:
    from protocols.probe import Probe


@final
class L2Norm(Proxy):
    """Sum of the layers' |w|."""

    version = 1

    def score(self, probe: Probe) -> float:
        norms = (torch.linalg.vector_norm(w, dtype=torch.float64) for w in probe.weights.values())
        return float(sum(norms))


PROXY = L2Norm()
