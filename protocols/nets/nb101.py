"""The network of NAS-Bench-101, at any width, depth, classes and input size.

Ying et al., ICML 2019, and nasbench's lib/model_builder.py: stem, three stacks of three modules
with 2x2 max pooling between the stacks, each stack twice as wide as the one before, global
pooling, classifier. Weights start as torch's layers do, not as TensorFlow's.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from harness.arch import Arch
from harness.errors import InvalidArch
from harness.spaces.nb101 import (
    LAST,
    MAX_EDGES,
    MODULES_PER_STACK,
    STACKS,
    STEM_CHANNELS,
    CellSpace,
    vertex_channels,
)
from protocols.nets.ops import ConvBNReLU, nb101_op

SPACE = CellSpace()
STEM_KERNEL = 3


@final
class Module(nn.Module):
    """A cell: (n, n_in, h, w) -> (n, n_out, h, w).

    What flows into an inner vertex is summed: the input through a 1x1 convolution of its own, any
    other vertex cut to the width of the target. The output joins its vertices, and adds the input
    through another 1x1 convolution where it has an edge.

    matrix: (v, v), ops: v names, of a pruned cell.
    """

    def __init__(self, matrix: NDArray[np.int8], ops: Sequence[str], n_in: int, n_out: int) -> None:
        super().__init__()
        edges = [(int(source), int(target)) for source, target in np.argwhere(matrix)]
        self.channels = vertex_channels(len(matrix), edges, n_in, n_out)
        self.sources = [[v for v in range(1, t) if matrix[v][t]] for t in range(len(matrix))]
        self.projections = nn.ModuleDict(
            {
                str(vertex): ConvBNReLU(n_in, width, 1)
                for vertex, width in enumerate(self.channels)
                if matrix[0][vertex]
            }
        )
        self.ops = nn.ModuleList(
            nb101_op(op, width) for op, width in zip(ops[1:-1], self.channels[1:-1], strict=True)
        )

    def forward(self, x: Tensor) -> Tensor:
        values = [x]
        for vertex, op in enumerate(self.ops, start=1):
            width = self.channels[vertex]
            terms = [values[source][:, :width] for source in self.sources[vertex]]
            values.append(op(reduce(torch.add, terms + self._projected(x, vertex))))
        joined = [values[source] for source in self.sources[-1]]
        terms = [torch.cat(joined, dim=1)] if joined else []
        return reduce(torch.add, terms + self._projected(x, len(self.channels) - 1))

    def _projected(self, x: Tensor, vertex: int) -> list[Tensor]:
        """The input as the vertex gets it, if it does."""
        key = str(vertex)
        return [self.projections[key](x)] if key in self.projections else []


@final
class Network(nn.Module):
    """(n, n_in, side, side) images to (n, n_classes) logits.

    arch: of nb101; a spec becomes one by `CellSpace.of_spec`. The numbering of its vertices
    decides which of them get the channels that do not divide evenly. channels: of the stem and of
    the first stack. n_cells: in three stacks, if they divide evenly.
    Raises: InvalidArch if the benchmark has no such cell; InvalidSpec if there are fewer channels
        than vertices that feed the output.
    """

    def __init__(
        self,
        arch: Arch,
        *,
        n_classes: int,
        channels: int = STEM_CHANNELS,
        n_cells: int = STACKS * MODULES_PER_STACK,
        n_in: int = 3,
    ) -> None:
        super().__init__()
        matrix, ops = _pruned(arch)
        self.stem = ConvBNReLU(n_in, channels, STEM_KERNEL)
        blocks: list[nn.Module] = []
        before = width = channels
        for position in range(n_cells):
            if position and position in (n_cells // STACKS, 2 * n_cells // STACKS):
                # TensorFlow's "same" padding keeps the last row and column of an odd side.
                blocks.append(nn.MaxPool2d(2, 2, ceil_mode=True))
                width *= 2
            blocks.append(Module(matrix, ops, before, width))
            before = width
        self.blocks = nn.Sequential(*blocks)
        self.classifier = nn.Linear(before, n_classes)

    def forward(self, images: Tensor) -> Tensor:
        features = self.blocks(self.stem(images))
        logits: Tensor = self.classifier(features.mean(dim=(2, 3)))
        return logits


def _pruned(arch: Arch) -> tuple[NDArray[np.int8], tuple[str, ...]]:
    pruned = SPACE.pruned(arch)
    if pruned is None or not SPACE.is_valid(arch):
        raise InvalidArch(
            f"{SPACE.format(arch)}: NAS-Bench-101 has no such cell.",
            f"A cell has a path from 0 to {LAST} and, once pruned, at most {MAX_EDGES} edges.",
        )
    return pruned
