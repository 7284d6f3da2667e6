"""Architectures as one number a row, for methods that treat each row as one categorical variable.

A row that takes k of its n options is a variable with comb(n, k) values, so that methods need
not care how many options a row takes.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations
from typing import final

import numpy as np
from numpy.typing import NDArray

from harness.arch import Arch, SearchSpace

Picks = NDArray[np.int64]  # (n_rows,): which of its values every row has.


@final
class Rows:
    """The rows of a space as categorical variables; `sizes` (n_rows,) counts their values."""

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        self._values = [list(combinations(range(n), take)) for n, take in space.rows]
        self.sizes = np.array([len(values) for values in self._values], dtype=np.int64)

    def __len__(self) -> int:
        return len(self._values)

    def draw(self, rng: np.random.Generator) -> Picks:
        """One architecture, uniform over all encodings."""
        return rng.integers(self.sizes)

    def arch(self, picks: Iterable[int]) -> Arch:
        """The architecture whose rows have these values."""
        rows = zip(self._values, picks, strict=True)
        return self._space.arch([option for values, pick in rows for option in values[pick]])
