"""BOHB: Hyperband's brackets, filled by density models of the good and of the other cells.

Source: Falkner et al., ICML 2018, and its reference code HpBandSter with the parameters of
NATS-Bench's script (Dong et al., TPAMI 2021). Each fidelity is charged as a training of its own,
as there. On a slice with one epoch nothing can be halved: what remains is the model at that epoch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import final

import numpy as np
from numpy.typing import NDArray

from harness.arch import SearchSpace
from harness.oracle import Oracle
from protocols.blackbox import BlackBoxMethod
from protocols.methods._density import bandwidths, density
from protocols.methods._hyperband import brackets, ladder
from protocols.methods._rows import Picks, Rows

N_CANDIDATES = 4  # NATS-Bench, bohb.py: --num_samples 4, the candidates of one acquisition
TOP_PERCENT = 15  # HpBandSter: top_n_percent
# NATS-Bench's --random_fraction is 0: once there is a model, all proposals come from it. Its
# --bandwidth_factor 3 has nothing to act on: HpBandSter widens numerical parameters only.

Scored = tuple[float, Picks]


@final
class Bohb(BlackBoxMethod):
    """Successive halving by 3 from the first to the last epoch that the oracle answers."""

    version = 1

    def search(self, space: SearchSpace, oracle: Oracle, rng: np.random.Generator) -> None:
        rows = Rows(space)
        rungs = ladder(oracle.epochs)
        seen: dict[int, list[Scored]] = {epoch: [] for epoch in rungs}

        def evaluate(picks: Picks, epoch: int) -> Scored:
            value = oracle.query(rows.arch(picks.tolist()), epoch=epoch)
            scored = (-math.inf if math.isnan(value) else value, picks)
            seen[epoch].append(scored)
            return scored

        while True:
            for (n_first, first_epoch), *later in brackets(rungs):
                alive = [evaluate(propose(seen, rows, rng), first_epoch) for _ in range(n_first)]
                for n_promoted, epoch in later:
                    alive = [evaluate(picks, epoch) for _, picks in best_first(alive)[:n_promoted]]


def best_first(scored: Sequence[Scored]) -> list[Scored]:
    """Highest value first; ties keep their order."""
    return sorted(scored, key=lambda one: -one[0])


def propose(seen: dict[int, list[Scored]], rows: Rows, rng: np.random.Generator) -> Picks:
    """The candidate with the largest ratio of good to bad density, at the largest epoch that has
    more good and more bad cells than rows; a uniform draw while there is none.
    """
    n_least = len(rows) + 1
    for epoch in sorted(seen, reverse=True):
        n_good = max(n_least, TOP_PERCENT * len(seen[epoch]) // 100)
        if len(seen[epoch]) >= n_good + n_least:
            ordered = np.stack([picks for _, picks in best_first(seen[epoch])])
            return _best_candidate(ordered[:n_good], ordered[n_good:], rows.sizes, rng)
    return rows.draw(rng)


def _best_candidate(
    good: NDArray[np.int64],
    bad: NDArray[np.int64],
    sizes: NDArray[np.int64],
    rng: np.random.Generator,
) -> Picks:
    """The best of N_CANDIDATES draws from the good density."""
    widths = bandwidths(good, sizes)
    centres = good[rng.integers(len(good), size=N_CANDIDATES)]
    moves = rng.random(centres.shape) < widths
    others = (centres + 1 + rng.integers(np.maximum(sizes - 1, 1), size=centres.shape)) % sizes
    candidates = np.where(moves, others, centres)
    ratio = density(candidates, good, widths, sizes) / density(
        candidates, bad, bandwidths(bad, sizes), sizes
    )
    return candidates[ratio.argmax()]


METHOD = Bohb()
