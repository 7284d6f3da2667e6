"""Fisher: how much the loss changes when channels are taken away.

For a channel of a layer's output a with gradient g it is half the mean over images of the square
of the sum over pixels of a g; more is better. The score is the sum over all weights of the channel
that each belongs to, so a channel counts once for each of its weights. Source: Theis et al., 2018
(arXiv:1801.05787), and Turner et al., ICLR 2020, for a channel; the sum over weights is that of the
code of Abdelfattah et al., ICLR 2021 (SamsungLabs/zero-cost-nas,
foresight/pruners/measures/fisher.py), whose text sums over channels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import torch

from protocols.proxies import Proxy

if TYPE_CHECKING:
    from protocols.probe import Probe


@final
class Fisher(Proxy):
    """Sum over weights of half the mean of (a g)^2 of their channel."""

    version = 1
    passes = ("saliencies",)

    def score(self, probe: Probe) -> float:
        n_images = len(probe.batch)
        squares = (
            saliency.of_channels.square().sum(dtype=torch.float64) * saliency.n_weights
            for saliency in probe.saliencies
        )
        return float(sum(squares)) / (2 * n_images)


PROXY = Fisher()
