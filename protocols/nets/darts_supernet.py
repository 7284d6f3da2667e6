"""The supernet of the DARTS family: darts, darts-no-none and S1 to S4.

Liu et al., ICLR 2019, and quark0/darts, cnn/model_search.py: stem, a row of cells of which those
at one and two thirds halve the side and double the width, global pooling, classifier. No batch
norm of a cell has scale and shift, and one follows every pooling. On ImageNet the stem is that of
FreeDARTS' search network, which is 3 times as wide as the stand-alone network's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import final

import torch
from torch import Tensor, nn

from harness.errors import InvalidSpec, unknown
from harness.spaces.darts import (
    CELL_TYPES,
    EDGE_INDEX,
    EDGES,
    NODES,
    NONE,
    STEM_MULTIPLIER,
    CellType,
    DartsSpace,
    Rows,
)
from protocols.nets.darts import Stem, cifar_stem, imagenet_stem
from protocols.nets.mix import Drop, Mix, MixedOp, Supernet, Terms, part_of, plus, scaled
from protocols.nets.ops import FactorizedReduce, ReLUConvBN, darts_op

# (channels of the images, channels of the first cell's nodes) -> stem.
STEMS: dict[str, Callable[[int, int], Stem]] = {
    "cifar": cifar_stem,
    "imagenet": lambda n_in, channels: imagenet_stem(n_in, STEM_MULTIPLIER * channels),
}


@final
class MixedCell(nn.Module):
    """A cell with a mixed operation on each of 14 edges: two inputs to (n, 4 * width, h, w).

    rows: the operations of every edge. halves: a reduction cell; after_halving: the cell or stem
    before halved the side, so that the older input is twice as large. terms: of every edge, in
    the order of `EDGES`; an edge without any is left out. scales: a scalar an edge, if any. drop:
    see `MixedOp`.
    """

    def __init__(
        self,
        rows: Rows,
        n_before: int,
        n_last: int,
        width: int,
        *,
        halves: bool,
        after_halving: bool,
        affine: bool,
        track_running_stats: bool,
        partial: int = 1,
    ) -> None:
        super().__init__()
        norm = {"affine": affine, "track_running_stats": track_running_stats}
        self.width = width
        self.stride = 2 if halves else 1
        self.before = (
            FactorizedReduce(n_before, width, **norm)
            if after_halving
            else ReLUConvBN(n_before, width, 1, **norm)
        )
        self.last = ReLUConvBN(n_last, width, 1, **norm)
        part = part_of(width, partial)
        strides = [1 if source in NODES else self.stride for _, source in EDGES]
        self.edges = nn.ModuleList(
            MixedOp(
                (darts_op(op, part, stride, pool_norm=True, **norm) for op in row),
                partial=partial,
                stride=stride,
            )
            for row, stride in zip(rows, strides, strict=True)
        )

    def forward(
        self,
        before: Tensor,
        last: Tensor,
        terms: Sequence[Terms],
        scales: Sequence[Tensor] | None = None,
        drop: Drop | None = None,
    ) -> Tensor:
        nodes = [self.before(before), self.last(last)]
        zero = nodes[1].new_zeros(()).expand_as(nodes[1][..., :: self.stride, :: self.stride])
        for node in NODES:
            total: Tensor | None = None
            for source in range(node):
                edge = EDGE_INDEX[node, source]
                found = self.edges[edge](nodes[source], terms[edge], drop)
                total = plus(total, scaled(found, scales, edge))
            nodes.append(zero if total is None else total)
        return torch.cat(nodes[NODES[0] :], dim=1)


@final
class DartsSupernet(Supernet):
    """(n, n_in, side, side) images and a mix of `op_normal` and `op_reduce` to (n, n_classes).

    The path may name the groups of inputs too; then an edge that is no input is left out.

    channels: of each node of the first cell. stem: "cifar", whose images have a side that 4
    divides, or "imagenet" (32). affine, track_running_stats: of the batch norms of cells. DARTS
    searches with 8 cells and 16 channels; FreeDARTS also with 20, and on ImageNet with 14 and 48.
    partial: one of so many channels goes through the operations, see `MixedOp`.
    Raises: UnknownName for the stem; InvalidSpec if there are no cells.
    """

    def __init__(
        self,
        space: DartsSpace,
        *,
        n_classes: int,
        channels: int = 16,
        n_cells: int = 8,
        n_in: int = 3,
        stem: str = "cifar",
        affine: bool = False,
        track_running_stats: bool = True,
        partial: int = 1,
    ) -> None:
        super().__init__()
        if stem not in STEMS:
            raise unknown("stem", stem, STEMS)
        if n_cells < 1:
            raise InvalidSpec(f"A supernet cannot have {n_cells} cells.", "Give at least 1.")
        self.space = space
        self.without = frozenset({NONE})
        self.stem = STEMS[stem](n_in, channels)
        self.cell_types: list[CellType] = []
        self.cells = nn.ModuleList()
        n_before = n_last = self.stem.width
        width, after_halving = channels, self.stem.halves
        for position in range(n_cells):
            halves = position in (n_cells // 3, 2 * n_cells // 3)
            width = 2 * width if halves else width
            self.cell_types.append(CELL_TYPES[halves])
            self.cells.append(
                MixedCell(
                    space.groups[halves].options,
                    n_before,
                    n_last,
                    width,
                    halves=halves,
                    after_halving=after_halving,
                    affine=affine,
                    track_running_stats=track_running_stats,
                    partial=partial,
                )
            )
            n_before, n_last, after_halving = n_last, len(NODES) * width, halves
        self.classifier = nn.Linear(n_last, n_classes)

    def forward(self, images: Tensor, mix: Mix) -> Tensor:
        terms = {cell: self._terms(cell, mix) for cell in CELL_TYPES}
        before, last = self.stem(images)
        drop = mix.drop(images.device)
        for cell_type, cell in zip(self.cell_types, self.cells, strict=True):
            scales = mix.scales.get(f"op_{cell_type}")
            before, last = last, cell(before, last, terms[cell_type], scales, drop)
        logits: Tensor = self.classifier(last.mean(dim=(2, 3)))
        return logits

    def _terms(self, cell: CellType, mix: Mix) -> list[Terms]:
        """Of every edge of a cell; none for edges that are no inputs by the path."""
        groups = {group.name: group for group in self.space.groups}
        terms = mix.terms(groups[f"op_{cell}"])
        for node in NODES[1:]:  # Node 2 always takes both inputs of the cell.
            (sources,) = mix.taken(groups[f"inputs_{cell}_{node}"])
            for source in set(range(node)) - set(sources):
                terms[EDGE_INDEX[node, source]] = ()
        return terms
