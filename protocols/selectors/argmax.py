"""Argmax: what the space's own rule makes of the architecture parameters.

The largest of every row; in the DARTS space the two inputs with the largest operations of a node,
as Liu et al., DARTS, ICLR 2019, section 2.4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

import numpy as np

from harness.arch import SearchSpace
from protocols.search.method import Method
from protocols.search.selector import Selected, Selector

if TYPE_CHECKING:
    from protocols.search.loop import Search


@final
@dataclass(frozen=True)
class Argmax(Selector):
    """Has no options and costs nothing."""

    version: ClassVar[int] = 1

    def skip(self, method: Method, space: SearchSpace) -> str | None:
        if not method.learns_arch:
            return (
                f"{type(method).__name__} learns no architecture parameters to take the largest of."
            )
        return None

    def select(self, search: Search, rng: np.random.Generator) -> Selected:
        arch = search.arch()
        assert arch is not None
        return Selected(arch)


SELECTOR = Argmax()
