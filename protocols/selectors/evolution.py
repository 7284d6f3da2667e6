"""Evolution: architectures are mutated and crossed, and judged by their weights in the supernet.

Source: Guo et al., "Single Path One-Shot Neural Architecture Search with Uniform Sampling", ECCV
2020, algorithm 1, with its numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

import numpy as np

from harness.arch import Arch, SearchSpace
from protocols.nets.mix import path_mix
from protocols.options import require
from protocols.search.selector import Selected, Selector

if TYPE_CHECKING:
    from protocols.search.loop import Search


@final
@dataclass(frozen=True)
class Evolution(Selector):
    """population: architectures a generation, half of them crossed and half mutated from the best.

    n_best: parents. mutation: how often each row is drawn anew. n_batches: validation batches, the
    recipe's and for all the same, that each is measured on, 0 for all; none is measured twice.
    """

    version: ClassVar[int] = 1
    population: int = 50
    n_generations: int = 20
    n_best: int = 10
    mutation: float = 0.1
    n_batches: int = 0

    def __post_init__(self) -> None:
        least = min(self.population, self.n_generations, self.n_best)
        require(least >= 1 and self.n_batches >= 0, "One architecture a generation is the least.")

    def select(self, search: Search, rng: np.random.Generator) -> Selected:
        known: dict[Arch, float] = {}
        generation = search.method.draw(search, rng, self.population)
        for _ in range(self.n_generations):
            for arch in generation:
                if arch not in known:
                    mix = path_mix(search.space, arch)
                    known[arch] = search.accuracy(mix, self.n_batches or None)
            best = sorted(known, key=lambda arch: -known[arch])[: self.n_best]
            generation = [
                self._child(search.space, best, position, rng)
                for position in range(self.population)
            ]
        return Selected(
            max(known, key=lambda arch: known[arch]),
            {
                "measured": np.array([arch.code for arch in known], dtype=np.uint8),
                "measured_accuracy": np.array(list(known.values())),
            },
        )

    def _child(
        self, space: SearchSpace, best: list[Arch], position: int, rng: np.random.Generator
    ) -> Arch:
        """The first half of a generation is crossed, the other mutated."""
        if position < self.population // 2:
            other, share = best[int(rng.integers(len(best)))], 0.5
        else:
            other, share = space.sample(rng), self.mutation
        return crossed(space, best[int(rng.integers(len(best)))], other, share, rng)


def crossed(
    space: SearchSpace, one: Arch, other: Arch, share: float, rng: np.random.Generator
) -> Arch:
    """The first architecture, with about this share of its rows from the other."""
    code: list[int] = []
    for _, take in space.rows:
        source = other if rng.random() < share else one
        code.extend(source.code[len(code) : len(code) + take])
    return space.arch(code)


SELECTOR = Evolution()
