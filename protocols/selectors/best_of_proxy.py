"""Best of n by a proxy: of architectures drawn from what was learnt, the best when untrained.

Source: Zhang et al., BaLeNAS, CVPR 2022, section 3.4 (BaLeNAS-TF): 100 draws from the learned
Gaussian, scored by SynFlow as new networks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

import numpy as np

from harness.arch import SearchSpace
from harness.errors import HarnessError
from protocols.nets.mix import Fixed, path_mix
from protocols.options import require
from protocols.search.method import Method
from protocols.search.selector import Selected, Selector

if TYPE_CHECKING:
    from protocols.search.loop import Search


@final
@dataclass(frozen=True)
class BestOfProxy(Selector):
    """n: draws; equal ones are scored once. proxy: its name. batch_size: validation images.

    A draw is scored on a single path of a new supernet, which computes what its own network does.
    The first of several best is kept; one without a score is not.
    """

    version: ClassVar[int] = 1
    n: int = 100
    proxy: str = "synflow"
    batch_size: int = 64

    @property
    def uses(self) -> Sequence[tuple[str, str]]:
        return (("proxy", self.proxy),)

    def __post_init__(self) -> None:
        require(min(self.n, self.batch_size) >= 1, "One draw and one image are the least.")

    def skip(self, method: Method, space: SearchSpace) -> str | None:
        if not method.draws_learnt:
            return f"{type(method).__name__} has learnt no distribution to draw from."
        return None

    def select(self, search: Search, rng: np.random.Generator) -> Selected:
        from protocols.probe import score_all  # Only selection by a proxy needs it.

        archs = list(dict.fromkeys(search.method.draw(search, rng, self.n)))
        batch = search.batches.drawn(self.batch_size, rng)
        seed = int(rng.integers(2**31))
        net = search.fresh_net(int(rng.integers(2**63)))
        scores = np.array(
            [
                score_all(Fixed(net, path_mix(search.space, arch)), batch, [self.proxy], seed=seed)[
                    self.proxy
                ].value
                for arch in archs
            ]
        )
        search.counts.scored += len(archs)
        if np.isnan(scores).all():
            raise HarnessError(f"{self.proxy} is NaN for each of {len(archs)} architectures.")
        codes = np.array([arch.code for arch in archs], dtype=np.uint8)
        return Selected(archs[int(np.nanargmax(scores))], {"drawn": codes, "drawn_score": scores})


SELECTOR = BestOfProxy()
