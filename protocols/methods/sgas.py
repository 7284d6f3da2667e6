"""SGAS: edge after edge is decided during the search, the surest and most important one first.

Source: Li et al., "SGAS: Sequential Greedy Architecture Search", CVPR 2020, criterion 1, and
lightaime/sgas.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

import numpy as np
from numpy.typing import NDArray

from protocols.left import Left, Place
from protocols.nets.mix import Mix, softmax_mix
from protocols.options import one_of, require
from protocols.search.method import Alphas, Method, Moment
from protocols.search.missed import ACCURACY, MAGNITUDE, accuracies_without

if TYPE_CHECKING:
    from protocols.search.loop import Search

NONE = "none"
DECISIONS = "decisions"  # How many epochs ended with one.
ROUNDING = 1e-6  # Ours: more than a softmax in float32 is wrong by.


@final
@dataclass(frozen=True)
class Sgas(Method):
    """first: the epoch, counted from 0, after which the first row of every group is decided.

    every: epochs from one decision to the next. In the DARTS space a node with two decided edges
    loses the others. What is undecided at the end goes by the largest parameter. batch_growth: by
    how many images batches of both halves are larger after every decision: 8 in the code, and 0 by
    default, where they stay as the recipe has them, as for all methods.

    criterion: which operation an edge gets: that of the largest parameter ("magnitude"), or the one
    without which the supernet is worst on the validation half ("accuracy"; DARTS-PT's SGAS+PT).
    n_batches: validation batches that this is measured on, the recipe's, 0 for all.
    """

    version: ClassVar[int] = 2
    has_own_steps: ClassVar[bool] = True
    decides: ClassVar[bool] = True
    first: int = 9
    every: int = 5
    batch_growth: int = 0
    criterion: str = MAGNITUDE
    n_batches: int = 0

    def __post_init__(self) -> None:
        require(self.first >= 0 and self.every >= 1, "Decisions are at least an epoch apart.")
        require(self.batch_growth >= 0, "Batches do not shrink.")
        require(self.n_batches >= 0, "Batches are 0 or more.")
        one_of("criterion", self.criterion, (MAGNITUDE, ACCURACY))

    def images_a_batch(self, search: Search) -> int:
        n_decisions: int = search.memory.get(DECISIONS, 0)
        return search.batches.batch_size + self.batch_growth * n_decisions

    def mix(self, search: Search, alphas: Alphas, at: Moment, rng: np.random.Generator) -> Mix:
        return softmax_mix(alphas)

    def end_epoch(self, search: Search) -> None:
        since = search.epoch - self.first
        if since < 0 or since % self.every:
            return
        if search.left is None:
            search.left = Left(search.space.groups)
        if search.left.undecided():
            search.memory[DECISIONS] = search.memory.get(DECISIONS, 0) + 1
        strengths = iter(search.strengths())
        for position, group in enumerate(search.space.groups):
            if group.learned:
                self._decide_one(search, search.left, position, next(strengths))

    def _decide_one(
        self, search: Search, left: Left, position: int, strengths: NDArray[np.float64]
    ) -> None:
        """The row of a group with the largest product of importance and certainty is decided.

        Importance is 1 minus the weight of `none`, 1 where there is no such option. Both are scaled
        over all rows, the decided ones too, as in the code.
        """
        group = left.groups[position]
        places = [place for place in left.undecided() if place.group == position]
        if not places:
            return
        some = [[i for i, name in enumerate(row) if name != NONE] for row in group.options]
        rows = [strengths[row][options] for row, options in enumerate(some)]
        important = [
            1 - sum(strengths[row][i] for i, name in enumerate(names) if name == NONE)
            for row, names in enumerate(group.options)
        ]
        scores = scaled(important, ROUNDING) * scaled([certainty(row) for row in rows])
        chosen = max(places, key=lambda place: (scores[place.row], -place.row))
        worth = rows[chosen.row]
        if self.criterion == ACCURACY:
            worth = -accuracies_without(search, chosen, some[chosen.row], self.n_batches)
        best = np.argsort(-worth, kind="stable")[: group.take]
        left.keep(chosen, [some[chosen.row][i] for i in best])
        _close_node(search, left, chosen)


def _close_node(search: Search, left: Left, place: Place) -> None:
    """Where rows feed a node that takes some of them: once so many are decided, the others go."""
    group = left.groups[place.group]
    fed = {
        Place(place.group, row): found
        for row in range(len(group.options))
        if (found := search.space.fed_by(group.name, row)) is not None
    }
    if place not in fed:
        return
    inputs = fed[place][0]
    of_node = {row: source for row, (name, source) in fed.items() if name == inputs}
    decided = [row for row in of_node if len(left.options(row)) == left.take(row)]
    (at,) = (i for i, held in enumerate(left.groups) if held.name == inputs)
    if len(decided) < left.groups[at].take:
        return
    left.keep(Place(at, 0), [of_node[row] for row in decided])
    for row in of_node:  # The others are never computed again.
        left.keep(row, left.options(row)[: left.take(row)])


def certainty(weights: NDArray[np.float64]) -> float:
    """1 minus the entropy of the weights, which are made to add up to 1, over its largest value."""
    shares = weights / weights.sum()
    entropy = -(shares * np.log(np.maximum(shares, np.finfo(float).tiny))).sum()
    return float(1 - entropy / np.log(len(shares))) if len(shares) > 1 else 1.0


def scaled(values: list[float], noise: float = 0.0) -> NDArray[np.float64]:
    """From 0 for the smallest to 1 for the largest; 1 for all if they are equal up to the noise."""
    array = np.array(values)
    reach = array.max() - array.min()
    return (array - array.min()) / reach if reach > noise else np.ones(len(array))


METHOD = Sgas()
