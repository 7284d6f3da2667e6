"""Best of n: of architectures drawn from what was learnt, the one that the supernet finds best.

Source: Li and Talwalkar, UAI 2019, for uniform draws; D-X-Y/AutoDL-Projects for those of a
controller. Each is measured by the weights that it has in the supernet.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

import numpy as np

from protocols.nets.mix import path_mix
from protocols.options import require
from protocols.search.selector import Selected, Selector

if TYPE_CHECKING:
    from protocols.search.loop import Search


@final
@dataclass(frozen=True)
class BestOfN(Selector):
    """n: architectures, uniform ones where a method has learnt no distribution.

    n_batches: validation batches, the recipe's and for all the same, that each is measured on; 0
    for all. The first of several best is kept.
    """

    version: ClassVar[int] = 1
    n: int = 100
    n_batches: int = 0

    def __post_init__(self) -> None:
        require(self.n >= 1 and self.n_batches >= 0, "One architecture is the least.")

    def select(self, search: Search, rng: np.random.Generator) -> Selected:
        archs = search.method.draw(search, rng, self.n)
        accuracies = np.array(
            [
                search.accuracy(path_mix(search.space, arch), self.n_batches or None)
                for arch in archs
            ]
        )
        codes = np.array([arch.code for arch in archs], dtype=np.uint8)
        return Selected(
            archs[int(accuracies.argmax())], {"drawn": codes, "drawn_accuracy": accuracies}
        )


SELECTOR = BestOfN()
