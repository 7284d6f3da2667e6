"""The supernets of NAS-Bench-1Shot1: choice blocks with mixed operations and mixed inputs.

Zela, Siems and Hutter, ICLR 2020, and automl/nasbench-1shot1, optimizers/darts/model_search.py:
stem, nine cells with max pooling and twice the width before the fourth and the seventh, a last
1x1 convolution, global pooling, classifier. A cell has one input, the output of the cell before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn

from harness.errors import InvalidSpec
from harness.spaces.oneshot1 import OPS, OUTPUT, OneShotSpace
from protocols.nets.mix import Mix, MixedOp, Supernet, Terms, part_of, weighted_sum
from protocols.nets.ops import ConvBNReLU, ReLUConvBN, nb101_op

# The repository's value for its batch norms, taken over from TensorFlow, where it is the share of
# the old average that is kept. In torch it is the share of the new batch, so that the running
# average is almost the last batch alone.
NORM_MOMENTUM = 0.997
NORM_EPS = 1e-5


@final
class MixedCell(nn.Module):
    """A cell of choice blocks: (n, n_in, h, w) -> (n, n_blocks * width, h, w).

    A block applies its mixed operation to the weighted sum of its parents; where the cell's input
    is one, a 1x1 convolution brings it to the block's width. The output joins the weighted blocks
    and adds the cell's input through another such convolution. What nothing takes is not computed.

    ops: the terms of every block. parents: those of every block and last of the output; option 0
    is the cell's input, option i is block i.
    """

    def __init__(
        self, n_in: int, width: int, n_blocks: int, *, momentum: float, eps: float, partial: int = 1
    ) -> None:
        super().__init__()
        self.width = width
        part = part_of(width, partial)
        self.blocks = nn.ModuleList(
            MixedOp((nb101_op(op, part, momentum=momentum, eps=eps) for op in OPS), partial=partial)
            for _ in range(n_blocks)
        )
        self.projections = nn.ModuleList(
            ConvBNReLU(n_in, n_out, 1, momentum=momentum, eps=eps)
            for n_out in (*[width] * n_blocks, n_blocks * width)
        )

    def forward(self, x: Tensor, ops: Sequence[Terms], parents: Sequence[Terms]) -> Tensor:
        zero = x.new_zeros(()).expand(len(x), self.width, *x.shape[2:])
        needed = _needed(parents)
        nodes: list[Tensor] = [x]
        for i, (block, of_block) in enumerate(zip(self.blocks, ops, strict=True)):
            value = None
            if i + 1 in needed:
                mixed = weighted_sum(
                    (weight, nodes[node] if node else self.projections[i](x))
                    for node, weight in parents[i]
                )
                value = block(zero if mixed is None else mixed, of_block)
            nodes.append(zero if value is None else value)
        weights = dict(parents[-1])
        joined = [_scaled(nodes[i], weights, i, zero) for i in range(1, len(nodes))]
        output = torch.cat(joined, dim=1)
        if 0 not in weights:
            return output
        projected = self.projections[-1](x)
        return output + _scaled(projected, weights, 0, projected)


def _needed(parents: Sequence[Terms]) -> set[int]:
    """Nodes that the output depends on, by the path alone."""
    needed = {node for node, _ in parents[-1]}
    for block in range(len(parents) - 1, 0, -1):
        if block in needed:
            needed |= {node for node, _ in parents[block - 1]}
    return needed


def _scaled(value: Tensor, weights: dict[int, Tensor | None], node: int, zero: Tensor) -> Tensor:
    if node not in weights:
        return zero
    weight = weights[node]
    return value if weight is None else weight * value


@final
class OneShotSupernet(Supernet):
    """(n, n_in, side, side) images and a mix of all groups to (n, n_classes) logits.

    channels: of the stem and of each block of the first cells. pool_padding: of the 2x2 max
    pooling between the thirds; the repository's 1 makes odd sides (32, 17, 9). momentum, eps: of
    the batch norms of stem and cells, in torch's meaning; see `NORM_MOMENTUM`. partial: one of so
    many channels goes through the operations, see `MixedOp`.
    Raises: InvalidSpec if there are no cells.
    """

    def __init__(
        self,
        space: OneShotSpace,
        *,
        n_classes: int,
        channels: int = 16,
        n_cells: int = 9,
        n_in: int = 3,
        pool_padding: int = 1,
        momentum: float = NORM_MOMENTUM,
        eps: float = NORM_EPS,
        partial: int = 1,
    ) -> None:
        super().__init__()
        if n_cells < 1:
            raise InvalidSpec(f"A supernet cannot have {n_cells} cells.", "Give at least 1.")
        self.space = space
        self.n_blocks = space.n_blocks
        self.stem = ConvBNReLU(n_in, channels, 3, momentum=momentum, eps=eps)
        self.pool = nn.MaxPool2d(2, 2, pool_padding)
        self.halvings = (n_cells // 3, 2 * n_cells // 3)
        self.cells = nn.ModuleList()
        n_before, width = channels, channels
        for position in range(n_cells):
            width = 2 * width if position in self.halvings else width
            self.cells.append(
                MixedCell(
                    n_before, width, self.n_blocks, momentum=momentum, eps=eps, partial=partial
                )
            )
            n_before = self.n_blocks * width
        self.last = ReLUConvBN(n_before, width, 1, affine=False)
        self.classifier = nn.Linear(width, n_classes)

    def forward(self, images: Tensor, mix: Mix) -> Tensor:
        ops = mix.terms(self.space.groups[0])
        parents = self._parents(mix)
        x = self.stem(images)
        for position, cell in enumerate(self.cells):
            if position in self.halvings:
                x = self.pool(x)
            x = cell(x, ops, parents)
        logits: Tensor = self.classifier(self.last(x).mean(dim=(2, 3)))
        return logits

    def _parents(self, mix: Mix) -> list[Terms]:
        """Of every block and of the output; a node without a choice takes all earlier nodes."""
        groups = {group.name: group for group in self.space.groups}
        names = [*map(str, range(1, self.n_blocks + 1)), OUTPUT]
        found: list[Terms] = []
        for n_earlier, name in enumerate(names, start=1):
            group = groups.get(f"parents_{name}")
            if group is None:
                found.append([(node, None) for node in range(n_earlier)])
            else:
                found += mix.terms(group)
        return found
