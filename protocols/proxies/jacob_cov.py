"""Jacobian covariance: how little the gradients in different images have in common.

With v the eigenvalues of the correlation matrix of the images' gradients of the summed logits, it
is -sum(log(v + k) + 1 / (v + k)), k = 1e-5; more is better, and the most is at v = 1. Source: the
first version of Mellor et al. (arXiv:2006.04647v1), as used by Abdelfattah et al., ICLR 2021 (code:
SamsungLabs/zero-cost-nas, foresight/pruners/measures/jacob_cov.py). Logits are summed over the
batch too, so batch norm lets an image's gradient see the other images.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import torch

from protocols.proxies import NoScore, Proxy

if TYPE_CHECKING:
    from protocols.probe import Probe

K = 1e-5  # zero-cost-nas, jacob_cov.py


@final
class JacobCov(Proxy):
    """-sum(log(v + k) + 1 / (v + k))."""

    version = 1
    passes = ("jacobian",)

    def score(self, probe: Probe) -> float:
        rows = probe.jacobian.double()
        rows = rows - rows.mean(dim=1, keepdim=True)
        norms = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
        if not norms.all():
            raise NoScore("the logits' gradient in an image is constant, so it has no correlation")
        rows = rows / norms
        shifted = torch.linalg.eigvalsh(rows @ rows.T) + K
        return -float((shifted.log() + 1 / shifted).sum())


PROXY = JacobCov()
