"""DARTS: softmax weights of all options, learned on validation images beside the network.

Source: Liu et al., "DARTS: Differentiable Architecture Search", ICLR 2019, and quark0/darts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

import numpy as np

from protocols.nets.mix import Mix, softmax_mix
from protocols.options import one_of
from protocols.search.batches import Pair
from protocols.search.hypergradients import second_order
from protocols.search.method import ARCH, Alphas, Method, Moment, first_order_step

if TYPE_CHECKING:
    from protocols.search.loop import Search


@final
@dataclass(frozen=True)
class Darts(Method):
    """order: 1, the gradient at the weights as they are; 2, one step of the weights further.

    exact: whether the second-order term is differentiated twice and not taken as a difference.
    """

    version: ClassVar[int] = 1
    order: int = 1
    exact: bool = False

    def __post_init__(self) -> None:
        one_of("order", self.order, (1, 2))

    @property
    def has_own_steps(self) -> bool:
        return self.order == 2

    def mix(self, search: Search, alphas: Alphas, at: Moment, rng: np.random.Generator) -> Mix:
        return softmax_mix(alphas)

    def arch_step(self, search: Search, pair: Pair) -> None:
        if self.order == 1:
            first_order_step(search, pair)
            return
        mixer = search.mixer(ARCH)
        search.step_arch(second_order(search, pair, mixer, search.rows, exact=self.exact))


METHOD = Darts()
