"""REINFORCE: a softmax a row, moved along the score-function gradient of the expected accuracy.

Source: Williams, Machine Learning 1992; parameters of NATS-Bench's script (Dong et al., TPAMI
2021), whose reward is the accuracy in percent and whose baseline holds the newest reward already
when it is subtracted: the first query therefore moves nothing.
"""

from __future__ import annotations

import math
from typing import final

import numpy as np
from numpy.typing import NDArray

from harness.arch import SearchSpace
from harness.oracle import Oracle
from protocols.blackbox import BlackBoxMethod
from protocols.methods._rows import Picks, Rows

LEARNING_RATE = 0.01  # NATS-Bench, reinforce.py: --learning_rate 0.01
BASELINE_MOMENTUM = 0.9  # NATS-Bench, reinforce.py: --EMA_momentum
INITIAL_SCALE = 1e-3  # NATS-Bench, reinforce.py: logits start at 1e-3 times a standard normal
BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8  # Kingma and Ba, ICLR 2015; the script's defaults


@final
class Reinforce(BlackBoxMethod):
    """One policy step a query; a NaN reward is no signal and moves nothing."""

    version = 1

    def search(self, space: SearchSpace, oracle: Oracle, rng: np.random.Generator) -> None:
        rows = Rows(space)
        policy = Policy(rows.sizes, rng)
        weighted_sum = weight = 0.0
        while True:
            picks = policy.draw(rng)
            reward = oracle.query(rows.arch(picks.tolist()))
            if not math.isnan(reward):
                weighted_sum = BASELINE_MOMENTUM * weighted_sum + (1 - BASELINE_MOMENTUM) * reward
                weight = BASELINE_MOMENTUM * weight + (1 - BASELINE_MOMENTUM)
                policy.step(picks, reward - weighted_sum / weight)


@final
class Policy:
    """Independent softmaxes with Adam. `logits`: (n_rows, widest row), -inf past a short row."""

    def __init__(self, sizes: NDArray[np.int64], rng: np.random.Generator) -> None:
        shape = (len(sizes), int(sizes.max()))
        exists = np.arange(shape[1]) < sizes[:, None]
        self.logits = np.where(exists, INITIAL_SCALE * rng.standard_normal(shape), -np.inf)
        self._mean, self._square = np.zeros(shape), np.zeros(shape)
        self._n_steps = 0

    def probabilities(self) -> NDArray[np.float64]:
        """(n_rows, widest row); every row sums to 1."""
        weights = np.exp(self.logits - self.logits.max(axis=1, keepdims=True))
        return weights / weights.sum(axis=1, keepdims=True)

    def draw(self, rng: np.random.Generator) -> Picks:
        """One value a row: the argmax of logits with Gumbel noise is a draw from the softmax."""
        return (self.logits + rng.gumbel(size=self.logits.shape)).argmax(axis=1)

    def step(self, picks: Picks, advantage: float) -> None:
        """One Adam step up the gradient of advantage * log p(picks): advantage * (1 - p)."""
        gradient = -advantage * self.probabilities()
        gradient[np.arange(len(picks)), picks] += advantage
        self._n_steps += 1
        self._mean = BETA_1 * self._mean + (1 - BETA_1) * gradient
        self._square = BETA_2 * self._square + (1 - BETA_2) * gradient**2
        mean = self._mean / (1 - BETA_1**self._n_steps)
        scale = np.sqrt(self._square / (1 - BETA_2**self._n_steps))
        self.logits += LEARNING_RATE * mean / (scale + EPSILON)


METHOD = Reinforce()
