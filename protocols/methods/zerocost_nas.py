"""Zero-cost selection: of some random architectures the one that a proxy scores best untrained.

Source: Abdelfattah et al., "Zero-Cost Proxies for Lightweight NAS", ICLR 2021, and Mellor et al.,
"Neural Architecture Search without Training", ICML 2021, as FreeDARTS and BaLeNAS run them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np

from harness.errors import HarnessError
from protocols.untrained import Found, UntrainedSearch, Workbench, network_score


@final
@dataclass(frozen=True)
class ZeroCostNas(UntrainedSearch):
    """Scores `n_samples` random architectures at initialisation, all on one batch.

    proxy: the score's name; "nwot" with a batch of 128 is NASWOT. The first of several best is
    kept; one without a score is not.
    """

    version: ClassVar[int] = 1
    proxy: str = "synflow"
    n_samples: int = 100
    batch_size: int = 64

    @property
    def uses(self) -> Sequence[tuple[str, str]]:
        return (("proxy", self.proxy),)

    def search(self, bench: Workbench, rng: np.random.Generator) -> Found:
        score = network_score(self.proxy, rng)
        batch = bench.batch(self.batch_size)
        archs = [bench.space.sample(rng) for _ in range(self.n_samples)]
        scores = np.array([score(bench.network(arch), batch) for arch in archs])
        if np.isnan(scores).all():
            raise HarnessError(f"{self.proxy} is NaN for each of {self.n_samples} architectures.")
        return Found(
            archs[int(np.nanargmax(scores))],
            arrays={
                "archs": np.array([arch.code for arch in archs], dtype=np.uint8),
                "scores": scores,
            },
        )


METHOD = ZeroCostNas()
