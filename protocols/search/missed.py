"""How much a supernet misses an option: its accuracy without it (DARTS-PT, section 4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from protocols.left import Place
from protocols.search.method import EVALUATION

if TYPE_CHECKING:
    from protocols.search.loop import Search

# By what an option may be kept: what the supernet is worth without it, or its parameter.
ACCURACY, MAGNITUDE = "accuracy", "magnitude"


def accuracies_without(
    search: Search, place: Place, options: Sequence[int], n_batches: int = 0
) -> NDArray[np.float64]:
    """Percent of the validation half, per option of a row with that option alone taken out.

    The weights of the others stay as they are. `search.left` says what is there. n_batches: the
    first ones of the half, 0 for all.
    """
    base = search.mix(EVALUATION)
    return np.array(
        [
            search.accuracy(search.constrained(base, (place, option)), n_batches or None)
            for option in options
        ]
    )
