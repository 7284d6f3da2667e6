"""Metaprox: Reptile whose steps on one batch are held near to where they started.

Source: the SoTL thesis, section 3.3, after Nichol et al. 2018 (Reptile) and Zhou et al., "Efficient
meta learning via minibatch proximal update", NeurIPS 2019; code: Mirofil/AutoDL-Projects. The
thesis prints the penalty without a square; the code squares it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

import numpy as np

from protocols.nets.mix import Mix, path_mix
from protocols.search.inner_steps import inner_steps
from protocols.search.method import Alphas, Method, Moment
from protocols.training import Labelled

if TYPE_CHECKING:
    from protocols.search.loop import Search


@final
@dataclass(frozen=True)
class Metaprox(Method):
    """n_inner: steps on a batch. outer: the part of the way that is gone. proximal: the penalty on
    the squared way. n_paths: architectures that an inner step averages over.
    """

    version: ClassVar[int] = 1
    is_single_path: ClassVar[bool] = True
    learns_arch: ClassVar[bool] = False
    n_inner: int = 4
    outer: float = 1.0
    proximal: float = 10.0
    n_paths: int = 1

    def mix(self, search: Search, alphas: Alphas, at: Moment, rng: np.random.Generator) -> Mix:
        return path_mix(search.space, search.space.sample(rng))

    def weight_step(self, search: Search, batch: Labelled) -> None:
        inner_steps(
            search,
            batch,
            n_steps=self.n_inner,
            n_paths=self.n_paths,
            outer=self.outer,
            proximal=self.proximal,
        )


METHOD = Metaprox()
