"""NTK condition number, negated: how unevenly the network would learn the batch's images.

-(largest / smallest eigenvalue) of G G^T, row i of G the gradient of image i's summed logits in all
parameters called weight, those of batch norm included; -1 is the most that there is.
One backward pass an image over the whole batch, as batch norm ties the images: the time grows with
the square of the batch. The source takes 72 images, a network of width 3 and one cell a stage, and
He's normal initialisation (fan out), three times. Source: Chen et al., ICLR 2021, section 3.1.1
(code: VITA-Group/TENAS, lib/procedures/ntk.py). A singular kernel has no score.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import torch
from torch import Tensor

from protocols.probe import derivatives, fast_layout
from protocols.proxies import NoScore, Proxy
from protocols.proxies._spectrum import positive_spectrum

if TYPE_CHECKING:
    from protocols.probe import Probe


@final
class NtkCond(Proxy):
    """-(largest / smallest eigenvalue of the NTK)."""

    version = 1

    def score(self, probe: Probe) -> float:
        kernel = tangent_kernel(probe)
        if not kernel.isfinite().all():
            return float("nan")
        values = positive_spectrum(kernel)
        return -float(values[-1] / values[0])


def tangent_kernel(probe: Probe) -> Tensor:
    """(n, n) float64: products of the gradients of two images' summed logits."""
    weights = {
        name: fast_layout(parameter).detach().requires_grad_()
        for name, parameter in probe.net.named_parameters()
        if name.endswith("weight")
    }
    if not weights:
        raise NoScore("the network has no weights")
    logits = probe.run(fast_layout(probe.batch.images), weights).sum(dim=1)
    rows = [
        torch.cat([g.flatten() for g in derivatives(logit, list(weights.values()))])
        for logit in logits.unbind()
    ]
    gradients = torch.stack(rows)
    parts = (part.double() for part in torch.split(gradients, 1 << 16, dim=1))
    return torch.stack([part @ part.T for part in parts]).sum(dim=0)


PROXY = NtkCond()
