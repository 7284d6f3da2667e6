"""Perturbation: keep on every edge the operation that the supernet misses most.

Source: Wang et al., "Rethinking Architecture Selection in Differentiable NAS" (DARTS-PT), ICLR
2021, algorithm 1, and ruocwang/darts-pt. Edge after edge in a random order: each option is taken
out alone, its weight and no other; the one without which the supernet is worst stays, and the
supernet is tuned. Where nodes choose their inputs, those are decided last, in the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

import numpy as np
from numpy.typing import NDArray

from harness.arch import SearchSpace
from harness.errors import HarnessError
from protocols.left import Left, Place
from protocols.nets.mix import Fixed
from protocols.options import require
from protocols.search.method import EVALUATION, Method
from protocols.search.missed import ACCURACY, MAGNITUDE, accuracies_without
from protocols.search.selector import Selected, Selector, padded
from protocols.training import own_chance

if TYPE_CHECKING:
    from protocols.search.loop import Search

WATCHING_SEED = 0  # Of what a supernet draws itself, such as the noise of S4.


@final
@dataclass(frozen=True)
class Perturbation(Selector):
    """criterion: "accuracy" on the validation half, a proxy's name, or "magnitude", which keeps the
    option with the largest parameter (the paper's PT-Mag). tune_epochs, tune_lr: after every
    decision, with the architecture parameters learning on. batch_size: images for a proxy.
    n_batches: validation batches that an accuracy is of, the recipe's, 0 for all. watched: whether
    the accuracy of what is left is recorded too, on all of them, before the first decision and
    after every one with its tuning; what is selected does not depend on it.

    Of equal options the first is kept. Options of a decided row weigh 1.
    """

    version: ClassVar[int] = 1
    criterion: str = ACCURACY
    tune_epochs: int = 5
    tune_lr: float = 0.0025  # A tenth of the search's, in the code; a constant there.
    batch_size: int = 64
    n_batches: int = 0
    watched: bool = False

    def __post_init__(self) -> None:
        require(min(self.tune_epochs, self.n_batches) >= 0, "Epochs and batches are 0 or more.")

    @property
    def uses(self) -> Sequence[tuple[str, str]]:
        own = (ACCURACY, MAGNITUDE)
        return () if self.criterion in own else (("proxy", self.criterion),)

    def skip(self, method: Method, space: SearchSpace) -> str | None:
        if method.is_single_path:
            return f"{type(method).__name__} trains single paths; perturbation needs them mixed."
        if method.decides:
            return f"{type(method).__name__} decides rows itself, on a schedule of its own."
        if self.criterion == MAGNITUDE and not method.learns_arch:
            return f"{type(method).__name__} learns no parameters to take the largest of."
        return None

    def select(self, search: Search, rng: np.random.Generator) -> Selected:
        left = search.left = search.left or Left(search.space.groups, search.net.without)
        for place in left.undecided():  # A search that has shrunk may have kept such options.
            names = left.groups[place.group].options[place.row]
            usable = [i for i in left.options(place) if names[i] not in search.net.without]
            left.keep(place, usable or left.options(place))
        order: list[tuple[int, int]] = []
        scores: list[NDArray[np.float64]] = []
        seen = [_accuracy_left(search)] if self.watched else []
        while undecided := left.undecided():
            for place in _next_places(left, undecided, rng):
                found = self._missed(search, left, place, rng)
                kept = np.argsort(found, kind="stable")[: left.take(place)]
                options = left.options(place)
                left.keep(place, [options[i] for i in kept])
                order.append((place.group, place.row))
                scores.append(found)
            if self.tune_epochs and left.undecided():
                search.tune(self.tune_epochs, self.tune_lr)
            if self.watched:
                seen.append(_accuracy_left(search))
        arrays = {"decided": np.array(order), "without_option": padded(scores)}
        if self.watched:
            arrays["accuracy_left"] = np.array(seen)
        return Selected(left.arch(search.space), arrays)

    def _missed(
        self, search: Search, left: Left, place: Place, rng: np.random.Generator
    ) -> NDArray[np.float64]:
        """Per option that is left, how good the supernet is without it; lower is more important."""
        options = left.options(place)
        if self.criterion == MAGNITUDE and left.groups[place.group].learned:
            return -search.strengths()[_learned_position(left, place)][place.row][options]
        if self.criterion in (ACCURACY, MAGNITUDE):
            return accuracies_without(search, place, options, self.n_batches)
        base = search.mix(EVALUATION)
        mixes = [search.constrained(base, (place, option)) for option in options]
        from protocols.probe import score_all  # Only selection by a proxy needs it.

        batch = search.batches.drawn(self.batch_size, rng)
        seed = int(rng.integers(2**31))
        found = [
            score_all(Fixed(search.net, mix), batch, [self.criterion], seed=seed)[self.criterion]
            for mix in mixes
        ]
        search.counts.scored += len(found)
        for option, scored in zip(options, found, strict=True):
            if np.isnan(scored.value):
                raise HarnessError(
                    f"{self.criterion} is NaN without option {option} of row {place.row}:"
                    f" {scored.reason}"
                )
        return np.array([scored.value for scored in found])


def _accuracy_left(search: Search) -> float:
    """Percent of the validation half; no random number is taken from what selects."""
    before = search.noise_state
    with own_chance(WATCHING_SEED, search.device):
        accuracy = search.accuracy(search.mix(EVALUATION))
    search.noise_state = before
    return accuracy


def _next_places(left: Left, undecided: Sequence[Place], rng: np.random.Generator) -> list[Place]:
    """One random row, and one of every group with rows alike: both kinds of DARTS' cells.

    Rows of which one option is taken come first.
    """
    open_places = [place for place in undecided if left.take(place) == 1] or undecided
    first = open_places[int(rng.integers(len(open_places)))]
    shape = _shape(left, first.group)
    chosen = [first]
    for position in range(len(left.groups)):
        own = [place for place in undecided if place.group == position]
        if position != first.group and _shape(left, position) == shape and own:
            chosen.append(own[int(rng.integers(len(own)))])
    return chosen


def _shape(left: Left, position: int) -> tuple[int, list[int]]:
    group = left.groups[position]
    return group.take, [len(row) for row in group.options]


def _learned_position(left: Left, place: Place) -> int:
    return sum(group.learned for group in left.groups[: place.group])


SELECTOR = Perturbation()
