"""How a trained supernet becomes one architecture: what a rule must offer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from harness.arch import Arch, SearchSpace
from protocols.search.method import Method

if TYPE_CHECKING:
    from protocols.search.loop import Search


@dataclass(frozen=True)
class Selected:
    """What was selected. arrays: raw scores by name. notes: JSON values for the record."""

    arch: Arch
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)


class Selector(ABC):
    """A selection rule. A file protocols/selectors/NAME.py offers one as SELECTOR.

    A concrete one is a frozen dataclass whose fields are its options, with defaults. It works with
    the same handle as a method, so that what it spends is counted. `version` is raised whenever
    the choice changes.
    """

    version: ClassVar[int]

    @property
    def uses(self) -> Sequence[tuple[str, str]]:
        """(kind, name) of the plug-ins whose versions the result depends on besides its own."""
        return ()

    def skip(self, method: Method, space: SearchSpace) -> str | None:
        """Why it cannot select from what the method trains, or None."""
        return None

    @abstractmethod
    def select(self, search: Search, rng: np.random.Generator) -> Selected:
        """One architecture of the search's space, after its last epoch."""


def padded(rows: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Rows of different lengths as (n_rows, longest), NaN past the end of each."""
    table = np.full((len(rows), max(map(len, rows), default=0)), np.nan)
    for line, row in zip(table, rows, strict=True):
        line[: len(row)] = row
    return table
