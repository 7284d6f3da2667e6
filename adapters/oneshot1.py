"""NAS-Bench-1Shot1: the encodings of its three spaces, looked up in NAS-Bench-101.

Source: Zela, Siems and Hutter, "NAS-Bench-1Shot1: Benchmarking and Dissecting One-shot Neural
Architecture Search", ICLR 2020. It trained nothing: every encoding is a cell of NAS-Bench-101.
"""

from __future__ import annotations

from typing import final

import numpy as np
from numpy.typing import NDArray

from harness.adapter import View
from harness.arch import ListedSpace
from harness.benchmark import Benchmark
from harness.errors import InvalidSpec
from harness.spaces.nb101 import CellSpace
from harness.spaces.oneshot1 import SPACES, OneShotSpace


@final
class OneShot1(View):
    """All encodings whose cell a NAS-Bench-101 table holds, with that cell's values.

    Many encodings are one cell, so they share values and parameters, which are those of the
    network that NAS-Bench-101 trained.
    """

    version = 1
    bases = {of_space.name: "nb101" for of_space in SPACES}
    citation = "Zela, Siems and Hutter, NAS-Bench-1Shot1, ICLR 2020"

    def rows(self, base: Benchmark, of_space: ListedSpace) -> NDArray[np.int32]:
        cells = base.space
        if not isinstance(cells, CellSpace):
            raise InvalidSpec(
                f"{base.name} holds archs of {cells.name}.",
                f"{of_space.name} is looked up in a table of nb101.",
            )
        assert isinstance(of_space, OneShotSpace)
        held = cells.numbers(cells.canonical_codes(base.codes))
        asked = cells.numbers(cells.canonical_codes(of_space.nb101_codes(of_space.codes)))
        order = np.argsort(held)
        places = np.minimum(np.searchsorted(held[order], asked), len(held) - 1)
        rows = order[places]
        return np.where(held[rows] == asked, rows, -1).astype(np.int32)


VIEW = OneShot1()
