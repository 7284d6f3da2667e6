"""FairNAS: every step trains all options of every row once, in as many single paths.

Source: Chu et al., "FairNAS: Rethinking Evaluation Fairness of Weight Sharing Neural Architecture
Search", ICCV 2021; for these spaces as in the SoTL thesis and its code (Mirofil/AutoDL-Projects).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

import numpy as np

from harness.arch import SearchSpace
from protocols.nets.mix import Mix, Path, learned, path_of
from protocols.search.method import Alphas, Method, Moment
from protocols.search.mixing import random_path
from protocols.training import Labelled

if TYPE_CHECKING:
    from protocols.search.loop import Search


@final
@dataclass(frozen=True)
class FairNas(Method):
    """A permutation of the options a row; the i-th path takes every row's i-th.

    What is not learned, such as which nodes of a DARTS cell feed which, is drawn once a step.
    """

    version: ClassVar[int] = 1
    is_single_path = True
    learns_arch: ClassVar[bool] = False

    def skip(self, space: SearchSpace) -> str | None:
        groups = learned(space)
        sizes = {len(options) for group in groups for options in group.options}
        if len(sizes) > 1 or any(group.take > 1 for group in groups):
            return f"FairNAS takes one of equally many options a row; {space.name}'s rows differ."
        return None

    def mix(self, search: Search, alphas: Alphas, at: Moment, rng: np.random.Generator) -> Mix:
        return random_path(search.space, rng)

    def weight_step(self, search: Search, batch: Labelled) -> None:
        paths = fair_paths(search.space, search.method_rng())
        search.step_weights(batch, [Mix(path=path) for path in paths])


def fair_paths(space: SearchSpace, rng: np.random.Generator) -> list[Path]:
    """As many single paths as a row has options, no two with the same option of a learned row."""
    fixed = path_of(space, space.sample(rng))
    orders = {
        group.name: [rng.permutation(len(options)).tolist() for options in group.options]
        for group in learned(space)
    }
    n_paths = len(next(iter(orders.values()))[0])
    return [
        {**fixed, **{name: [(row[i],) for row in rows] for name, rows in orders.items()}}
        for i in range(n_paths)
    ]


METHOD = FairNas()
