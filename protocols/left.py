"""Which options of a space's rows are left while a method removes them one after the other."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from harness.arch import Arch, Choice, SearchSpace


class Place(NamedTuple):
    """A row, by the positions of its group and of itself."""

    group: int
    row: int


@final
class Left:
    """The options that are left in every row of some groups.

    without: names of options that are not there from the start. A row is undecided while more
    options are left than its group takes.
    """

    def __init__(self, groups: Sequence[Choice], without: Collection[str] = ()) -> None:
        self.groups = tuple(groups)
        self._left = [
            [[i for i, name in enumerate(row) if name not in without] for row in group.options]
            for group in groups
        ]

    @classmethod
    def of_state(cls, groups: Sequence[Choice], state: Sequence[Sequence[Sequence[int]]]) -> Left:
        """What `state` was taken from."""
        made = cls(groups)
        made._left = [[list(row) for row in rows] for rows in state]
        return made

    def state(self) -> list[list[list[int]]]:
        """Per group and row, the options that are left."""
        return [[list(row) for row in rows] for rows in self._left]

    def places(self) -> list[Place]:
        """All rows in order."""
        return [Place(g, r) for g, rows in enumerate(self._left) for r in range(len(rows))]

    def undecided(self) -> list[Place]:
        """The rows in which something has to be removed."""
        return [place for place in self.places() if len(self.options(place)) > self.take(place)]

    def take(self, place: Place) -> int:
        """How many options of the row an architecture has."""
        return self.groups[place.group].take

    def options(self, place: Place) -> list[int]:
        """Those that are left in the row, ascending."""
        return list(self._left[place.group][place.row])

    def remove(self, place: Place, option: int) -> None:
        """Takes an option away for good."""
        self._left[place.group][place.row].remove(option)

    def keep(self, place: Place, options: Collection[int]) -> None:
        """Takes all options of the row away but these."""
        self._left[place.group][place.row] = sorted(options)

    def path(self, removed: tuple[Place, int] | None = None) -> dict[str, list[tuple[int, ...]]]:
        """What is left as the path of a mix. removed: one option that is left out of it too."""
        return {
            group.name: [
                tuple(i for i in row if removed != (Place(g, r), i)) for r, row in enumerate(rows)
            ]
            for g, (group, rows) in enumerate(zip(self.groups, self._left, strict=True))
        }

    def kept(self) -> list[NDArray[np.bool_]]:
        """Per group (n_rows, n_options): whether an option is left; False past a short row."""
        blocks = []
        for group, rows in zip(self.groups, self._left, strict=True):
            block = np.zeros((len(rows), max(map(len, group.options))), dtype=np.bool_)
            for values, row in zip(block, rows, strict=True):
                values[row] = True
            blocks.append(block)
        return blocks

    def arch(self, space: SearchSpace) -> Arch:
        """The architecture that is left; all groups of the space must be here."""
        return space.discretise([block.astype(np.float64) for block in self.kept()])
