"""Discretisation: keep on some edges the operation that the supernet can do with alone.

Source: Wang et al., "Rethinking Architecture Selection in Differentiable NAS" (DARTS-PT), ICLR
2021, section 3.1, discretisation accuracy at convergence: an edge becomes one operation alone, the
rest is tuned, and the validation accuracy is that operation's strength. The paper does not say for
how long it tunes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

import numpy as np

from harness.arch import Arch, SearchSpace
from protocols.left import Left, Place
from protocols.nets.mix import learned
from protocols.options import require
from protocols.search.diagnostics import discretised_accuracies
from protocols.search.method import Method
from protocols.search.selector import Selected, Selector, padded

if TYPE_CHECKING:
    from protocols.search.loop import Search


@final
@dataclass(frozen=True)
class Discretisation(Selector):
    """n_rows: edges that are probed, drawn at random, 0 for all; each alone, all others mixed.

    group: the name of the only group that they are of, "" for any. tune_epochs, tune_lr: of the
    rest before it is measured, with the architecture parameters learning on.

    A probed row keeps its best operation, by the parameter that it has; of equal ones the first.
    All else is argmax's. Rows of which several options are taken are not probed.
    """

    version: ClassVar[int] = 1
    n_rows: int = 0
    group: str = ""
    tune_epochs: int = 5
    tune_lr: float = 0.0025  # That of perturbation.

    def __post_init__(self) -> None:
        require(min(self.n_rows, self.tune_epochs) >= 0, "Rows and epochs are 0 or more.")

    def skip(self, method: Method, space: SearchSpace) -> str | None:
        name = type(method).__name__
        if method.is_single_path:
            return f"{name} trains single paths; what one edge is worth shows in mixed ones."
        if method.decides:
            return f"{name} decides rows itself, on a schedule of its own."
        if not method.learns_arch:
            return f"{name} learns no architecture parameters for the rows that are not probed."
        if self.group not in ("", *(group.name for group in learned(space))):
            return f"{type(method).__name__} learns no group {self.group} on {space.name}."
        return None

    def select(self, search: Search, rng: np.random.Generator) -> Selected:
        places = self._drawn(search, rng)
        names = [group.name for group in learned(search.space)]
        of_row = [
            search.strengths()[names.index(search.space.groups[place.group].name)][place.row]
            for place in places
        ]
        found = [
            discretised_accuracies(search, place, n_epochs=self.tune_epochs, lr=self.tune_lr)
            for place in places
        ]
        return Selected(
            _with_kept(
                search, {p: int(np.nanargmax(f)) for p, f in zip(places, found, strict=True)}
            ),
            {
                "probed": np.array(places, dtype=np.int64).reshape(-1, 2),
                "discretised_accuracy": padded(found),
                "probed_strength": padded(of_row),
            },
        )

    def _drawn(self, search: Search, rng: np.random.Generator) -> list[Place]:
        """In the order of the rows where all are asked for; more are those of fewer and others."""
        left = search.left or Left(search.space.groups, search.net.without)
        places = [
            place
            for place in left.undecided()
            if (group := search.space.groups[place.group]).learned
            and group.take == 1
            and self.group in ("", group.name)
        ]
        if not self.n_rows:
            return places
        return [places[i] for i in rng.permutation(len(places))[: self.n_rows]]


def _with_kept(search: Search, kept: Mapping[Place, int]) -> Arch:
    """What the space makes of the strengths where some rows have one option alone."""
    strengths = [block.copy() for block in search.left_strengths()]
    is_whole = len(strengths) == len(search.space.groups)
    groups = search.space.groups if is_whole else learned(search.space)
    for place, option in kept.items():
        block = strengths[groups.index(search.space.groups[place.group])]
        others = np.arange(block.shape[1]) != option
        block[place.row, others] = -np.inf
    return search.space.discretise(strengths)


SELECTOR = Discretisation()
