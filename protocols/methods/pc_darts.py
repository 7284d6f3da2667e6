"""PC-DARTS: a part of the channels through the mixed operations, and weights for the edges.

Source: Xu et al., "PC-DARTS: Partial Channel Connections for Memory-Efficient Architecture Search",
ICLR 2020, and yuhuixu1993/PC-DARTS. Its first epochs train weights alone: a recipe's
`warmup_epochs`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.arch import SearchSpace
from protocols.nets.mix import Mix, learned, softmax_mix
from protocols.search.method import INIT_SCALE, Alphas, Method, Moment, small_normal

if TYPE_CHECKING:
    from protocols.search.loop import Search

EDGES = "edges of "  # Before a group's name: its edge weights' parameters, a row a node.


@final
@dataclass(frozen=True)
class PcDarts(Method):
    """partial: one of so many channels is mixed, the others pass by.

    Where rows are edges into nodes, the edges of a node share a softmax, which scales them in the
    search and counts in the selection. NAS-Bench-1Shot1's parents are such weights already.
    """

    version: ClassVar[int] = 1
    partial: int = 4

    @property
    def network(self) -> Mapping[str, Any]:
        return {"partial": self.partial}

    def init(
        self, space: SearchSpace, rng: np.random.Generator
    ) -> dict[str, list[NDArray[np.float64]]]:
        ops = small_normal(space, rng)
        edges = {
            EDGES + name: [INIT_SCALE * rng.standard_normal(len(rows)) for rows in nodes]
            for name, nodes in nodes_of(space).items()
        }
        return {**ops, **edges}

    def mix(self, search: Search, alphas: Alphas, at: Moment, rng: np.random.Generator) -> Mix:
        ops = {group.name: alphas[group.name] for group in learned(search.space)}
        return Mix(softmax_mix(ops).weights, scales=_scales(search.space, alphas))

    def strengths(self, search: Search) -> list[Tensor]:
        scales = _scales(search.space, search.alphas)
        return [
            row.softmax(dim=0) * (scales[group.name][position] if group.name in scales else 1)
            for group in learned(search.space)
            for position, row in enumerate(search.alphas[group.name])
        ]


def nodes_of(space: SearchSpace) -> dict[str, list[list[int]]]:
    """Per learned group whose rows are edges, the rows into each node, nodes ascending."""
    found: dict[str, list[list[int]]] = {}
    for group in learned(space):
        targets = [space.target(group.name, row) for row in range(len(group.options))]
        if None not in targets:
            found[group.name] = [
                [row for row, target in enumerate(targets) if target == node]
                for node in sorted(set(targets))  # type: ignore[type-var]
            ]
    return found


def _scales(space: SearchSpace, alphas: Alphas) -> dict[str, Sequence[Tensor]]:
    """Per such group a scalar a row: the softmax over the edges into its node."""
    scales: dict[str, Sequence[Tensor]] = {}
    for name, nodes in nodes_of(space).items():
        softmax = [row.softmax(dim=0) for row in alphas[EDGES + name]]
        order = [row for rows in nodes for row in rows]
        flat = torch.cat(softmax)
        scales[name] = [flat[order.index(row)] for row in range(len(order))]
    return scales


METHOD = PcDarts()
