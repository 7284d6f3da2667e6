"""Architectures as values and search spaces as lists of categorical choices."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from math import comb, prod

import numpy as np
from numpy.typing import NDArray

from harness.errors import InvalidArch

Codes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Choice:
    """One group of categorical choices: per row, `take` of the row's options are chosen.

    options: one tuple of option names per row; rows may differ (RobustDARTS' S1 does).
    learned: False where discretisation derives the choice from other groups.
    """

    name: str
    options: tuple[tuple[str, ...], ...]
    take: int = 1
    learned: bool = True


@dataclass(frozen=True, slots=True)
class Arch:
    """One architecture: the name of its space and its code.

    code: for every row of every group in order, the `take` chosen option indices, ascending.
    """

    space: str
    code: tuple[int, ...]


class SearchSpace(ABC):
    """A finite space of architectures, described by its choice groups alone.

    It may be far too large to list; see `ListedSpace` for one that is not.
    """

    name: str
    groups: tuple[Choice, ...]

    @cached_property
    def rows(self) -> tuple[tuple[int, int], ...]:
        """(number of options, take) for every row of every group, in code order."""
        return tuple((len(row), group.take) for group in self.groups for row in group.options)

    @cached_property
    def size(self) -> int:
        """Number of architectures: of encodings, unless the space says that it counts otherwise."""
        return prod(comb(n_options, take) for n_options, take in self.rows)

    def arch(self, code: Sequence[int]) -> Arch:
        """The architecture with this code.

        Raises: InvalidArch if the code has the wrong length or an index that no row offers.
        """
        code = tuple(int(value) for value in code)
        n_positions = sum(take for _, take in self.rows)
        if len(code) != n_positions:
            raise InvalidArch(f"{self.name} codes have {n_positions} numbers, not {len(code)}.")
        start = 0
        for row, (n_options, take) in enumerate(self.rows):
            chosen = code[start : start + take]
            start += take
            if list(chosen) != sorted(set(chosen)) or not all(0 <= i < n_options for i in chosen):
                raise InvalidArch(
                    f"{self.name}: row {row} takes {take} ascending of 0..{n_options - 1},"
                    f" not {chosen}."
                )
        return Arch(self.name, code)

    def sample(self, rng: np.random.Generator) -> Arch:
        """One encoding, uniform over all encodings."""
        code: list[int] = []
        for n_options, take in self.rows:
            if take == 1:  # Much the most common, and much faster than a general draw.
                code.append(int(rng.integers(n_options)))
            else:
                chosen = rng.choice(n_options, size=take, replace=False, shuffle=False)
                code.extend(sorted(int(i) for i in chosen))
        return Arch(self.name, tuple(code))

    def neighbours(self, arch: Arch) -> list[Arch]:
        """All encodings that differ in exactly one row."""
        found = []
        start = 0
        for n_options, take in self.rows:
            own = arch.code[start : start + take]
            for chosen in combinations(range(n_options), take):
                if chosen != own:
                    code = arch.code[:start] + chosen + arch.code[start + take :]
                    found.append(Arch(self.name, code))
            start += take
        return found

    def one_hot(self, arch: Arch) -> list[NDArray[np.float32]]:
        """Per group, an (n_rows, n_options) array with 1 where chosen; short rows end in 0."""
        encoded = []
        position = 0
        for group in self.groups:
            width = max(len(row) for row in group.options)
            block = np.zeros((len(group.options), width), dtype=np.float32)
            for row in range(len(group.options)):
                block[row, list(arch.code[position : position + group.take])] = 1.0
                position += group.take
            encoded.append(block)
        return encoded

    def discretise(self, strengths: Sequence[NDArray[np.floating]]) -> Arch:
        """The `take` strongest options of every row; ties go to the lowest index.

        strengths: per group, (n_rows, n_options); entries past a short row are ignored.
        Raises: InvalidArch if a strength is NaN.
        """
        code: list[int] = []
        for group, block in zip(self.groups, strengths, strict=True):
            for row, options in enumerate(group.options):
                values = np.asarray(block[row][: len(options)], dtype=np.float64)
                if np.isnan(values).any():
                    raise InvalidArch(f"{self.name}: NaN strength in {group.name} row {row}.")
                best = np.argsort(-values, kind="stable")[: group.take]
                code.extend(sorted(int(i) for i in best))
        return Arch(self.name, tuple(code))

    def fed_by(self, group: str, row: int) -> tuple[str, int] | None:
        """The unlearned group and the option of it that let a row be used; None: it always is."""
        return None

    def used_rows(self, arch: Arch, group: str) -> list[int]:
        """The rows of a learned group that say something of an architecture: by default, all."""
        (found,) = (held for held in self.groups if held.name == group)
        return list(range(len(found.options)))

    def target(self, group: str, row: int) -> int | None:
        """The node that a row of a learned group is an edge into; None where it is no edge."""
        return None

    @abstractmethod
    def parse(self, text: str) -> Arch:
        """The architecture that the text names.

        Raises: InvalidArch with what is wrong and an example of what is right.
        """

    @abstractmethod
    def format(self, arch: Arch) -> str:
        """The official text of an architecture; `parse` reads it back."""

    @abstractmethod
    def canonical(self, arch: Arch) -> Arch:
        """The one that stands for all architectures which compute the same function."""

    def key(self, arch: Arch) -> str | None:
        """The official name of the function that an architecture computes, None if none is given.

        Raises: InvalidArch if the architecture computes none.
        """
        return None

    def closed_form(self, cost: str, dataset: str, codes: Codes) -> NDArray[np.float64] | None:
        """A cost of many architectures by formula, or None where there is no formula.

        codes: (n, n_positions). Returns: (n,) in the unit of `harness.benchmark.COST_UNITS`.
        """
        return None


class ListedSpace(SearchSpace):
    """A space that is small enough to list, with an official order of its encodings.

    `canonical` is the lowest-index member of the functional equivalence class.
    """

    def __iter__(self) -> Iterator[Arch]:
        """All encodings in the official index order."""
        for code in self.codes.tolist():
            yield Arch(self.name, tuple(code))

    @property
    @abstractmethod
    def codes(self) -> Codes:
        """(size, n_positions) uint8: every code, row i has official index i."""

    @abstractmethod
    def index(self, arch: Arch) -> int:
        """Official index of an encoding."""
