"""SGAS: edge after edge is decided during the search, the surest and most important one first.

Source: Li et al., "SGAS: Sequential Greedy Architecture Search", CVPR 2020, criterion 1, and
lightaime/sgas. Its batches grow after every decision; here they stay as the recipe has them, as for
all methods.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

import numpy as np
from numpy.typing import NDArray

from protocols.left import Left, Place
from protocols.nets.mix import Mix, softmax_mix
from protocols.options import require
from protocols.search.method import Alphas, Method, Moment

if TYPE_CHECKING:
    from protocols.search.loop import Search

NONE = "none"


@final
@dataclass(frozen=True)
class Sgas(Method):
    """first: the epoch, counted from 0, after which the first row of every group is decided.

    every: epochs from one decision to the next. In the DARTS space a node with two decided edges
    loses the others. What is undecided at the end goes by the largest parameter.
    """

    version: ClassVar[int] = 1
    has_own_steps: ClassVar[bool] = True
    decides: ClassVar[bool] = True
    first: int = 9
    every: int = 5

    def __post_init__(self) -> None:
        require(self.first >= 0 and self.every >= 1, "Decisions are at least an epoch apart.")

    def mix(self, search: Search, alphas: Alphas, at: Moment, rng: np.random.Generator) -> Mix:
        return softmax_mix(alphas)

    def end_epoch(self, search: Search) -> None:
        since = search.epoch - self.first
        if since < 0 or since % self.every:
            return
        if search.left is None:
            search.left = Left(search.space.groups)
        strengths = iter(search.strengths())
        for position, group in enumerate(search.space.groups):
            if group.learned:
                _decide_one(search, search.left, position, next(strengths))


def _decide_one(search: Search, left: Left, position: int, strengths: NDArray[np.float64]) -> None:
    """The row of a group with the largest product of importance and certainty is decided.

    Both are scaled over all rows, the decided ones too, as in the code.
    """
    group = left.groups[position]
    places = [place for place in left.undecided() if place.group == position]
    if not places:
        return
    some = [[i for i, name in enumerate(row) if name != NONE] for row in group.options]
    rows = [strengths[row][options] for row, options in enumerate(some)]
    scores = scaled([row.sum() for row in rows]) * scaled([certainty(row) for row in rows])
    chosen = max(places, key=lambda place: (scores[place.row], -place.row))
    best = np.argsort(-rows[chosen.row], kind="stable")[: group.take]
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


def scaled(values: list[float]) -> NDArray[np.float64]:
    """From 0 for the smallest to 1 for the largest; 1 for all if they are equal."""
    array = np.array(values)
    reach = array.max() - array.min()
    return (array - array.min()) / reach if reach else np.ones(len(array))


METHOD = Sgas()
