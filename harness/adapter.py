"""What adapters offer: raw sources that they pack into stores, and views of other benchmarks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from harness.arch import ListedSpace
    from harness.benchmark import Benchmark

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class RawSource:
    """A kind of raw file: what `nas-harness import NAME PATH` takes, and where it is to be had.

    store: default name of the store. patterns: file names to look for below NAS_HARNESS_DATA.
    size, checksum: as published, in words; empty where nothing is published. mapping: the
    shipped map that reads files of these patterns, for sources that need one.
    tested_on: the real input that the reader has seen so far, in words. shipped: a file of this
    kind that comes with the project; it is unpacked into its store when that is first asked for.
    """

    name: str
    summary: str
    store: str
    patterns: tuple[str, ...]
    download: str
    size: str = ""
    checksum: str = ""
    mapping: str | None = None
    tested_on: str = ""
    shipped: Path | None = None


class Adapter(ABC):
    """Reads raw files of some kinds. `version` is raised whenever the packed values change."""

    version: int
    sources: tuple[RawSource, ...]

    def store_of(self, source: str, path: Path) -> str:
        """The name of the store that `pack` would make."""
        return next(raw.store for raw in self.sources if raw.name == source)

    @abstractmethod
    def pack(
        self, source: str, path: Path, *, mapping: str | None, jobs: int, progress: Progress
    ) -> str:
        """Packs a raw file into a store and returns the store's name.
        source: one of `sources` by name. mapping: for sources that need one. jobs: processes.
        progress: called with (done, total) in units of the adapter's choice.
        Raises: BadFile with file, place and remedy; StorageFailed; InvalidSpec.
        """

    def open(self, name: str, folder: Path, manifest: Mapping[str, Any]) -> Benchmark:
        """Opens a store of this adapter that is no table; folder: where its files lie.

        Raises: BrokenStore.
        """
        raise NotImplementedError(f"{type(self).__name__} makes tables only")


class View(ABC):
    """Benchmarks that hold no values of their own and are looked up in a table of another space.

    bases: for each, named like its space, the benchmark that it is looked up in. `version` is
    raised whenever `rows` changes.
    """

    version: int
    bases: Mapping[str, str]
    citation: str

    @abstractmethod
    def rows(self, base: Benchmark, of_space: ListedSpace) -> NDArray[np.int32]:
        """(size of the space,): the row of the base that answers for each encoding; -1: none.

        Raises: InvalidSpec if the base is of another space than expected.
        """
