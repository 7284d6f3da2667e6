"""The supernet of NAS-Bench-201's topology space: every edge mixes the five operations.

The skeleton is that of the stand-alone network (Dong and Yang, ICLR 2020). As in the benchmark
authors' search code (D-X-Y/AutoDL-Projects, search-cell.py), the batch norms of searched cells
have no scale and shift, and all cells share one set of weights per edge.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch.nn.functional as F
from torch import Tensor, nn

from harness.spaces.nb201 import EDGES, N_NODES, OPS, OUTPUT, TopologySpace
from protocols.nets.mix import Drop, Mix, MixedOp, Supernet, Terms, part_of, plus, scaled
from protocols.nets.nb201 import N_STAGES, ResidualBlock
from protocols.nets.ops import nb201_op
from protocols.nets.wide import mixed_edges

# Source -> the rows of edges that leave it.
ROWS_FROM = {
    node: [row for row, (_, source) in enumerate(EDGES) if source == node] for node in range(OUTPUT)
}


@final
class MixedCell(nn.Module):
    """A cell with a mixed operation on every edge; (n, channels, h, w) keeps its shape.

    terms: of every edge, in the order of `EDGES`; scales, idle: a scalar each, if any. wide: see
    `Mix`; it needs whole channels, and no drop, which is of every edge by itself.
    """

    def __init__(
        self, channels: int, *, affine: bool, track_running_stats: bool, partial: int = 1
    ) -> None:
        super().__init__()
        norm = {"affine": affine, "track_running_stats": track_running_stats}
        width = part_of(channels, partial)
        self.is_whole = partial == 1
        self.edges = nn.ModuleList(
            MixedOp((nb201_op(op, width, **norm) for op in OPS), partial=partial) for _ in EDGES
        )

    def forward(
        self,
        x: Tensor,
        terms: Sequence[Terms],
        scales: Sequence[Tensor] | None = None,
        idle: Sequence[Tensor] | None = None,
        *,
        wide: bool = False,
        drop: Drop | None = None,
    ) -> Tensor:
        zero = x.new_zeros(()).expand_as(x)
        nodes: list[Tensor | None] = [x, *[None] * (N_NODES - 1)]
        # Sources ascend, so that a node is complete before it is one.
        for source, rows in ROWS_FROM.items():
            value = nodes[source]
            given = zero if value is None else value
            of_rows = self._edges_from(given, rows, terms, wide, drop)
            for row, found in zip(rows, of_rows, strict=True):
                if idle is not None:
                    found = idle[row] + (zero if found is None else found)
                target, _ = EDGES[row]
                nodes[target] = plus(nodes[target], scaled(found, scales, row))
        output = nodes[OUTPUT]
        return zero if output is None else output

    def _edges_from(
        self, x: Tensor, rows: Sequence[int], terms: Sequence[Terms], wide: bool, drop: Drop | None
    ) -> list[Tensor | None]:
        if wide and self.is_whole and drop is None:
            edges: list[MixedOp] = [self.edges[row] for row in rows]  # type: ignore[misc]
            return mixed_edges(x, edges, [terms[row] for row in rows])
        return [self.edges[row](x, terms[row], drop) for row in rows]


@final
class NB201Supernet(Supernet):
    """(n, n_in, side, side) images and a mix of the group `op` to (n, n_classes) logits.

    channels: C of the first stage. n_cells: N, cells a stage. The side must be one that 4 divides.
    affine, track_running_stats: of the searched cells' batch norms; without running statistics
    they use the batch's at evaluation too, as NATS-Bench's search script does by default. partial:
    one of so many channels goes through the operations, see `MixedOp`.
    """

    def __init__(
        self,
        space: TopologySpace,
        *,
        n_classes: int,
        channels: int = 16,
        n_cells: int = 5,
        n_in: int = 3,
        affine: bool = False,
        track_running_stats: bool = True,
        partial: int = 1,
    ) -> None:
        super().__init__()
        self.space = space
        self.stem = nn.Sequential(
            nn.Conv2d(n_in, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        )
        widths = [channels << stage for stage in range(N_STAGES)]
        self.reductions = nn.ModuleList(
            ResidualBlock(width // 2, width) if stage else nn.Identity()
            for stage, width in enumerate(widths)
        )
        self.n_cells = n_cells
        self.cells = nn.ModuleList(
            MixedCell(
                width, affine=affine, track_running_stats=track_running_stats, partial=partial
            )
            for width in widths
            for _ in range(n_cells)
        )
        self.norm = nn.BatchNorm2d(widths[-1])
        self.classifier = nn.Linear(widths[-1], n_classes)

    def forward(self, images: Tensor, mix: Mix) -> Tensor:
        (group,) = self.space.groups
        terms = mix.terms(group)
        scales, idle = mix.scales.get(group.name), mix.idle.get(group.name)
        drop = mix.drop(images.device)
        x = self.stem(images)
        for position, cell in enumerate(self.cells):
            if position % self.n_cells == 0:
                x = self.reductions[position // self.n_cells](x)
            x = cell(x, terms, scales, idle, wide=mix.wide, drop=drop)
        features = F.relu(self.norm(x))
        logits: Tensor = self.classifier(features.mean(dim=(2, 3)))
        return logits
