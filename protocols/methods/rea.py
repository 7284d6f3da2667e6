"""Regularised evolution: mutate the best of a small tournament, let the oldest die.

Source: Real et al., AAAI 2019, algorithm 1; parameters of NATS-Bench's script (Dong et al., TPAMI
2021). One difference: that script draws a node first and then one of its edges, which favours
the edge of the first node; here all rows are equally likely, on every space.
"""

from __future__ import annotations

import math
from collections import deque
from typing import final

import numpy as np

from harness.arch import SearchSpace
from harness.oracle import Oracle
from protocols.blackbox import BlackBoxMethod
from protocols.methods._rows import Picks, Rows

POPULATION = 10  # NATS-Bench, regularized_ea.py: --ea_population 10
TOURNAMENT = 3  # NATS-Bench, regularized_ea.py: --ea_sample_size 3, drawn with replacement


@final
class RegularisedEvolution(BlackBoxMethod):
    """Population of 10, tournaments of 3, one row mutated; the oldest makes room for a child."""

    version = 1

    def search(self, space: SearchSpace, oracle: Oracle, rng: np.random.Generator) -> None:
        rows = Rows(space)
        # A full deque drops its first member, which is the oldest, when a child is appended.
        population: deque[tuple[float, Picks]] = deque(maxlen=POPULATION)
        while True:
            if len(population) < POPULATION:
                child = rows.draw(rng)
            else:
                drawn = rng.integers(POPULATION, size=TOURNAMENT).tolist()
                _, parent = max((population[i] for i in drawn), key=lambda member: member[0])
                child = mutate(parent, rows, rng)
            value = oracle.query(rows.arch(child.tolist()))
            population.append((-math.inf if math.isnan(value) else value, child))


def mutate(parent: Picks, rows: Rows, rng: np.random.Generator) -> Picks:
    """The parent with one row, uniform among those that can change, moved to another value."""
    changeable = np.flatnonzero(rows.sizes > 1)
    row = changeable[rng.integers(len(changeable))]
    size = rows.sizes[row]
    child = parent.copy()
    child[row] = (parent[row] + 1 + rng.integers(size - 1)) % size
    return child


METHOD = RegularisedEvolution()
