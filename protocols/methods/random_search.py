"""Random search: every query is a uniform draw from the space, with replacement.

Source: the baseline of NATS-Bench (Dong et al., TPAMI 2021), whose script draws cells until the
simulated time is spent; thesis table 4.6.
"""

from __future__ import annotations

from typing import final

import numpy as np

from harness.arch import SearchSpace
from harness.oracle import Oracle
from protocols.blackbox import BlackBoxMethod


@final
class RandomSearch(BlackBoxMethod):
    """Draws until the budget is spent; has no parameter."""

    version = 1

    def search(self, space: SearchSpace, oracle: Oracle, rng: np.random.Generator) -> None:
        while True:
            oracle.query(space.sample(rng))


METHOD = RandomSearch()
