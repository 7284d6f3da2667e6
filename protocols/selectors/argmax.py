"""Argmax: what the space's own rule makes of the architecture parameters.

The largest of every row; in the DARTS space the two inputs with the largest operations of a node,
as Liu et al., DARTS, ICLR 2019, section 2.4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

import numpy as np

from harness.arch import Arch, SearchSpace
from protocols.search.method import Method
from protocols.search.selector import Selected, Selector

if TYPE_CHECKING:
    from protocols.search.loop import Search


@final
@dataclass(frozen=True)
class Argmax(Selector):
    """max_skips: at most so many skips in the first kind of cell, -1 for any number.

    While there are more, the weakest of them counts 0 and the rule is applied again: P-DARTS, whose
    number is 2.
    """

    version: ClassVar[int] = 1
    max_skips: int = -1

    def skip(self, method: Method, space: SearchSpace) -> str | None:
        if not method.learns_arch:
            return (
                f"{type(method).__name__} learns no architecture parameters to take the largest of."
            )
        return None

    def select(self, search: Search, rng: np.random.Generator) -> Selected:
        strengths = [block.copy() for block in search.left_strengths()]
        arch = search.space.discretise(strengths)
        while self.max_skips >= 0 and len(skips := _skips(search.space, arch)) > self.max_skips:
            weakest = min(skips, key=lambda place: float(strengths[0][place]))
            strengths[0][weakest] = 0.0
            arch = search.space.discretise(strengths)
        return Selected(arch)


def _skips(space: SearchSpace, arch: Arch) -> list[tuple[int, int]]:
    """(row, option) of every skip in the first learned group, where its row is used."""
    group = space.groups[0]
    return [
        (row, arch.code[row])
        for row in space.used_rows(arch, group.name)
        if "skip" in group.options[row][arch.code[row]]
    ]


SELECTOR = Argmax()
