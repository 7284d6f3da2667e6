"""The networks of NAS-Bench-201: cells of the topology space, widths of the size space.

Dong and Yang, ICLR 2020: stem, three stages of N cells at C, 2C and 4C channels with a residual
block of stride 2 between them, global pooling, classifier. C = 16, N = 5 is the benchmark's. In
NATS-Bench's size space (Dong et al., TPAMI 2021) a stage is one cell, always the same, and each of
the five layers has a width of its own.
"""

from __future__ import annotations

from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.arch import Arch
from harness.paths import between
from harness.spaces.nb201 import EDGES, N_NODES, OPS, OUTPUT, SizeSpace
from protocols.nets.ops import ReLUConvBN, nb201_op

N_STAGES = 3
# The size space's cell, by its operations in the order of EDGES: see `SizeSpace`.
SIZE_CELL = tuple(
    OPS.index(op) for op in (*["nor_conv_3x3"] * 3, "skip_connect", "nor_conv_3x3", "nor_conv_3x3")
)


def live_edges(code: tuple[int, ...]) -> list[int]:
    """Edges that lie on a path from the cell's input to its output; none if there is no path."""
    open_edges = [edge for edge, op in enumerate(code) if OPS[op] != "none"]
    nodes = between([EDGES[edge][::-1] for edge in open_edges], OUTPUT)
    return [edge for edge in open_edges if nodes.issuperset(EDGES[edge])]


@final
class Cell(nn.Module):
    """A cell: node j is the sum over i < j of op_ij(node i); (n, channels, h, w) keeps its shape.

    n_in: channels of the input where they differ; all other nodes have `channels`. Operations on
    the input must then be able to change them: see `nb201_op`.
    only_live: edges that cannot change the output are not computed. They keep their parameters,
    so the network is the same function with the same cost of parameters, made faster.
    """

    def __init__(
        self,
        code: tuple[int, ...],
        channels: int,
        *,
        n_in: int | None = None,
        only_live: bool = False,
    ) -> None:
        super().__init__()
        self.ops = nn.ModuleList(
            nb201_op(OPS[i], channels, n_in=channels if source else n_in)
            for i, (_, source) in zip(code, EDGES, strict=True)
        )
        self.computed = live_edges(code) if only_live else list(range(len(code)))

    def forward(self, x: Tensor) -> Tensor:
        nodes: list[Tensor | None] = [x, *[None] * (N_NODES - 1)]
        for edge in self.computed:
            target, source = EDGES[edge]
            term = self.ops[edge](nodes[source])
            held = nodes[target]
            nodes[target] = term if held is None else held + term
        output = nodes[OUTPUT]
        return torch.zeros_like(x) if output is None else output


@final
class ResidualBlock(nn.Module):
    """Halves the side and changes the width: two 3x3 convolutions beside a pooled 1x1 shortcut."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.first = ReLUConvBN(n_in, n_out, 3, stride=2)
        self.second = ReLUConvBN(n_out, n_out, 3)
        self.shortcut = nn.Conv2d(n_in, n_out, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        pooled = F.avg_pool2d(x, 2)
        out: Tensor = self.second(self.first(x)) + self.shortcut(pooled)
        return out


@final
class Network(nn.Module):
    """(n, n_in, side, side) images to (n, n_classes) logits; any side that 4 divides.

    channels: C of the first stage. n_cells: N, cells a stage. only_live: see `Cell`.
    """

    def __init__(
        self,
        arch: Arch,
        *,
        n_classes: int,
        channels: int = 16,
        n_cells: int = 5,
        n_in: int = 3,
        only_live: bool = False,
    ) -> None:
        super().__init__()
        self.stem = _stem(n_in, channels)
        blocks: list[nn.Module] = []
        for stage in range(N_STAGES):
            width = channels << stage
            if stage:
                blocks.append(ResidualBlock(width // 2, width))
            blocks += [Cell(arch.code, width, only_live=only_live) for _ in range(n_cells)]
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.BatchNorm2d(width)
        self.classifier = nn.Linear(width, n_classes)

    def forward(self, images: Tensor) -> Tensor:
        return _logits(self, images)


@final
class SizeNetwork(nn.Module):
    """(n, n_in, side, side) images to (n, n_classes) logits; any side that 4 divides.

    Layers 1, 3 and 5 are cells, layers 2 and 4 residual blocks of stride 2; the architecture gives
    the width of each. The stem has that of the first.
    """

    def __init__(self, arch: Arch, *, n_classes: int, n_in: int = 3) -> None:
        super().__init__()
        widths = [SizeSpace.WIDTHS[i] for i in arch.code]
        self.stem = _stem(n_in, widths[0])
        blocks: list[nn.Module] = []
        before = widths[0]
        for layer, width in enumerate(widths):
            halves = layer % 2 == 1
            blocks.append(
                ResidualBlock(before, width) if halves else Cell(SIZE_CELL, width, n_in=before)
            )
            before = width
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.BatchNorm2d(before)
        self.classifier = nn.Linear(before, n_classes)

    def forward(self, images: Tensor) -> Tensor:
        return _logits(self, images)


def _stem(n_in: int, channels: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(n_in, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
    )


def _logits(net: Network | SizeNetwork, images: Tensor) -> Tensor:
    features = F.relu(net.norm(net.blocks(net.stem(images))))
    logits: Tensor = net.classifier(features.mean(dim=(2, 3)))
    return logits
