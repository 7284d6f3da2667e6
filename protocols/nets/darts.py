"""The stand-alone networks of the DARTS family, for CIFAR and for ImageNet.

Liu et al., ICLR 2019, and quark0/darts, cnn/model.py: stem, a row of cells of which those at one
and two thirds halve the side and double the width, global pooling, classifier. In training an
auxiliary head may stand on the second of those two.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, final

import torch
from torch import Tensor, nn

from harness import surrogate
from harness.arch import Arch
from harness.errors import InvalidArch, InvalidSpec, unknown
from harness.spaces import space
from harness.spaces.darts import (
    AUXILIARY_WIDTHS,
    NODES,
    STEM_MULTIPLIER,
    DartsSpace,
    Genotype,
    Pair,
)
from protocols.nets.ops import DropPath, FactorizedReduce, ReLUConvBN, darts_op

# Settings of `Network` other than its own defaults, which are those of DARTS on CIFAR.
IMAGENET: dict[str, Any] = {"skeleton": "imagenet", "channels": 48, "n_cells": 14}  # DARTS'.
# The networks whose accuracy NAS-Bench-301's surrogates predict.
NB301: dict[str, Any] = {"channels": surrogate.CHANNELS, "n_cells": surrogate.N_CELLS}


@final
class Stem(nn.Module):
    """(n, n_in, side, side) images to the two inputs of the first cell.

    before, last: what makes the first of them of the images, and the second of the first. width:
    channels of both; halves: whether the second has half the side of the first.
    """

    def __init__(self, before: nn.Module, last: nn.Module, width: int, *, halves: bool) -> None:
        super().__init__()
        self.before = before
        self.last = last
        self.width = width
        self.halves = halves

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        before = self.before(images)
        return before, self.last(before)


def cifar_stem(n_in: int, channels: int) -> Stem:
    """One convolution to 3 times as many channels as the first cell's nodes have."""
    width = STEM_MULTIPLIER * channels
    return Stem(
        nn.Sequential(*_conv_norm(n_in, width, stride=1)), nn.Identity(), width, halves=False
    )


def imagenet_stem(n_in: int, channels: int) -> Stem:
    """Three convolutions of stride 2: the cells start at an eighth of the side."""
    before = [
        *_conv_norm(n_in, channels // 2, stride=2),
        nn.ReLU(),
        *_conv_norm(channels // 2, channels, stride=2),
    ]
    last = [nn.ReLU(), *_conv_norm(channels, channels, stride=2)]
    return Stem(nn.Sequential(*before), nn.Sequential(*last), channels, halves=True)


def _conv_norm(n_in: int, n_out: int, *, stride: int) -> list[nn.Module]:
    return [nn.Conv2d(n_in, n_out, 3, stride, padding=1, bias=False), nn.BatchNorm2d(n_out)]


class Skeleton(NamedTuple):
    """What differs between the networks for CIFAR and for ImageNet.

    head_stride: of the auxiliary head's pooling, which leaves a side of 2; head_norm: whether its
    second convolution has a batch norm, which was left out for ImageNet by oversight and so stayed.
    """

    stem: Callable[[int, int], Stem]
    head_stride: int
    head_norm: bool


SKELETONS = {
    "cifar": Skeleton(cifar_stem, head_stride=3, head_norm=True),
    "imagenet": Skeleton(imagenet_stem, head_stride=2, head_norm=False),
}


@final
class Cell(nn.Module):
    """A cell: outputs of the two cells before it to (n, 4 * width, h, w).

    pairs: the two (operation, source) of each node. halves: a reduction cell; after_halving: the
    cell or stem before halved the side, so that the older input is twice as large.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        n_before: int,
        n_last: int,
        width: int,
        drop_path: DropPath,
        *,
        halves: bool,
        after_halving: bool,
    ) -> None:
        super().__init__()
        self.n_out = len(NODES) * width
        self.before = (
            FactorizedReduce(n_before, width) if after_halving else ReLUConvBN(n_before, width, 1)
        )
        self.last = ReLUConvBN(n_last, width, 1)
        self.sources = [source for _, source in pairs]
        self.ops = nn.ModuleList(
            darts_op(op, width, 2 if halves and source not in NODES else 1) for op, source in pairs
        )
        self.drop_path = drop_path

    def forward(self, before: Tensor, last: Tensor) -> Tensor:
        nodes = [self.before(before), self.last(last)]
        terms: list[Tensor] = []
        for source, op in zip(self.sources, self.ops, strict=True):
            value = op(nodes[source])
            # An identity is never dropped: a node that lost both its inputs would be 0.
            terms.append(value if isinstance(op, nn.Identity) else self.drop_path(value))
            if len(terms) == 2:
                nodes.append(terms[0] + terms[1])
                terms = []
        return torch.cat(nodes[NODES[0] :], dim=1)


@final
class AuxiliaryHead(nn.Module):
    """(n, n_in, 8, 8), or 14 by 14 at stride 2, to (n, n_classes) logits; larger sides work too."""

    def __init__(self, n_in: int, n_classes: int, *, stride: int, has_norm: bool) -> None:
        super().__init__()
        n_mid, n_out = AUXILIARY_WIDTHS
        self.layers = nn.Sequential(
            nn.ReLU(),
            nn.AvgPool2d(5, stride, count_include_pad=False),
            nn.Conv2d(n_in, n_mid, 1, bias=False),
            nn.BatchNorm2d(n_mid),
            nn.ReLU(),
            nn.Conv2d(n_mid, n_out, 2, bias=False),
            nn.BatchNorm2d(n_out) if has_norm else nn.Identity(),
            nn.ReLU(),
        )
        self.classifier = nn.Linear(n_out, n_classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.layers(x).mean(dim=(2, 3)))
        return logits


@final
class Network(nn.Module):
    """(n, n_in, side, side) images to (n, n_classes) logits.

    The probability of `drop_path` starts at 0 and is the trainer's to set: DARTS sets it to
    0.2 * epoch / epochs before every epoch.

    arch: of any space of the family. channels: of each node of the first cell. skeleton: a name in
    `SKELETONS`; "cifar" takes sides that 4 divides, "imagenet" those that 32 divides. auxiliary:
    whether there is a head for `with_auxiliary`, which needs sides of 32 or 224 at least.
    Raises: InvalidArch if the architecture is of another space; UnknownName for the skeleton;
        InvalidSpec if there are no cells.
    """

    def __init__(
        self,
        arch: Arch,
        *,
        n_classes: int,
        channels: int = 36,
        n_cells: int = 20,
        auxiliary: bool = False,
        n_in: int = 3,
        skeleton: str = "cifar",
    ) -> None:
        super().__init__()
        genotype = _genotype(arch)
        if skeleton not in SKELETONS:
            raise unknown("skeleton", skeleton, SKELETONS)
        if n_cells < 1:
            raise InvalidSpec(f"A network cannot have {n_cells} cells.", "Give at least 1.")
        chosen = SKELETONS[skeleton]
        self.drop_path = DropPath()
        self.stem = chosen.stem(n_in, channels)
        cells = _cells(genotype, self.stem, channels, n_cells, self.drop_path)
        self.cells = nn.ModuleList(cells)
        self.head_position = 2 * n_cells // 3
        self.head: AuxiliaryHead | None = None
        if auxiliary:
            self.head = AuxiliaryHead(
                cells[self.head_position].n_out,
                n_classes,
                stride=chosen.head_stride,
                has_norm=chosen.head_norm,
            )
        self.classifier = nn.Linear(cells[-1].n_out, n_classes)

    def forward(self, images: Tensor) -> Tensor:
        return self._classified(self._features(images)[1])

    def with_auxiliary(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The logits, and those of the auxiliary head; (n, n_classes) each.

        Raises: InvalidSpec if the network has no such head.
        """
        if self.head is None:
            raise InvalidSpec("This network has no auxiliary head.", "Build it with one.")
        at_head, last = self._features(images)
        return self._classified(last), self.head(at_head)

    def _features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """What the cell under the auxiliary head puts out, and what the last cell does."""
        before, last = self.stem(images)
        at_head = last
        for position, cell in enumerate(self.cells):
            before, last = last, cell(before, last)
            if position == self.head_position:
                at_head = last
        return at_head, last

    def _classified(self, features: Tensor) -> Tensor:
        logits: Tensor = self.classifier(features.mean(dim=(2, 3)))
        return logits


def _cells(
    genotype: Genotype, stem: Stem, channels: int, n_cells: int, drop_path: DropPath
) -> list[Cell]:
    """The row of cells; those at one and two thirds halve the side and double the width."""
    cells: list[Cell] = []
    n_before = n_last = stem.width
    width, after_halving = channels, stem.halves
    for position in range(n_cells):
        halves = position in (n_cells // 3, 2 * n_cells // 3)
        width = 2 * width if halves else width
        cell = Cell(
            genotype.reduce if halves else genotype.normal,
            n_before,
            n_last,
            width,
            drop_path,
            halves=halves,
            after_halving=after_halving,
        )
        cells.append(cell)
        n_before, n_last, after_halving = n_last, cell.n_out, halves
    return cells


def _genotype(arch: Arch) -> Genotype:
    of_space = space(arch.space)
    if not isinstance(of_space, DartsSpace):
        raise InvalidArch(
            f"An architecture of {arch.space} is no pair of DARTS cells.",
            "Give one of darts or of a space that is named after it.",
        )
    return of_space.genotype(arch)
