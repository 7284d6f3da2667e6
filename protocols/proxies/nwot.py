"""NASWOT: how differently images light up the network's ReLUs.

log det K, where K counts the ReLU units on which two images agree: for binary codes x, the sum over
layers of x x^T + (1 - x)(1 - x)^T; more is better. The source's batch is 128 images. Source: Mellor
et al., ICML 2021 (code: BayesWatch/nas-without-training, score_networks.py with --score
hook_logdet). Counted are the ReLUs that lie between images and logits, as the code intends by its
backward hooks; its operation `none` multiplies by 0, which keeps dead ReLUs in. A singular K has no
score.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from protocols.proxies import Proxy
from protocols.proxies._spectrum import positive_spectrum

if TYPE_CHECKING:
    from protocols.probe import Probe


@final
class Nwot(Proxy):
    """log det K."""

    version = 1
    passes = ("codes",)

    def score(self, probe: Probe) -> float:
        return float(positive_spectrum(probe.codes.agreements).log().sum())


PROXY = Nwot()
