"""What a supernet computes: the weights of its options and which of them are computed at all.

A supernet is a pure function of images and a `Mix`, so that one network serves any number of
architectures and samples of architecture weights at once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.arch import Arch, Choice, SearchSpace
from harness.errors import InvalidSpec
from protocols.nets.ops import Zero

# Of one row: the options that are computed, each with its weight; None where that is 1.
Terms = Sequence[tuple[int, Tensor | None]]
Weights = Mapping[str, Sequence[Tensor]]
Path = Mapping[str, Sequence[tuple[int, ...]]]
Drop = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Dropout:
    """Sets values to 0 at a rate below 1 and scales up the others, so that the mean is kept.

    seed: of what is drawn: every pass under one mix draws the same.
    """

    rate: float
    seed: int

    def on(self, device: torch.device) -> Drop:
        """As a function, which draws anew in every call."""
        generator = torch.Generator(device).manual_seed(self.seed)
        keep = 1 - self.rate

        def drop(x: Tensor) -> Tensor:
            # Drawn in one order, however the values lie in memory.
            mask = torch.empty_like(x, memory_format=torch.contiguous_format)
            return x * mask.bernoulli_(keep, generator=generator) / keep

        return drop


@dataclass(frozen=True)
class Mix:
    """The weights of the options and, on the host, which options there are.

    weights: per learned group by its name and per row, (n_options,); rows may differ in length. A
    group that is not named has weights of 1. path: per group, learned or not, and per row, the
    options that are computed; the others cost nothing and count 0, whatever their weight is. A
    group that is not named has all its options. A single path names one option a row, and carries
    weights where gradients are to reach them (straight-through). scales: per group whose rows are
    edges, a scalar a row, by which the row's whole output is multiplied. idle: likewise, what is
    added to it: 0, with the gradient of options that are not computed (GDAS). wide: whether edges
    with one input may be computed together, which is faster and hides single convolutions from who
    watches them. skip_dropout: of what the skips give that are identities.

    The weights may lie on any device and carry gradients; nothing here reads their values.
    """

    weights: Weights = field(default_factory=dict)
    path: Path | None = None
    scales: Weights = field(default_factory=dict)
    idle: Weights = field(default_factory=dict)
    wide: bool = False
    skip_dropout: Dropout | None = None

    def drop(self, device: torch.device) -> Drop | None:
        """The dropout of one pass, if there is one."""
        return None if self.skip_dropout is None else self.skip_dropout.on(device)

    def taken(self, group: Choice) -> Sequence[tuple[int, ...]]:
        """Per row of the group, the options that are computed.

        Raises: InvalidSpec if the path has not the group's rows or an option that they lack.
        """
        named = None if self.path is None else self.path.get(group.name)
        if named is None:
            return [tuple(range(len(options))) for options in group.options]
        fits = len(named) == len(group.options) and all(
            0 <= option < len(options)
            for taken, options in zip(named, group.options, strict=True)
            for option in taken
        )
        if not fits:
            raise InvalidSpec(
                f"The path of {group.name} is {named}.",
                f"Its rows have {[len(options) for options in group.options]} options.",
            )
        return named

    def terms(self, group: Choice) -> list[Terms]:
        """Per row of the group, what is to be computed and with which weight.

        The row's vector is split once and its parts are shared by all cells of a supernet.
        Raises: InvalidSpec if weights or path have not the group's rows.
        """
        taken = self.taken(group)
        rows = self.weights.get(group.name)
        if rows is None:
            return [[(option, None) for option in options] for options in taken]
        expected = [(len(options),) for options in group.options]
        shapes = [tuple(row.shape) for row in rows]
        if shapes != expected:
            raise InvalidSpec(
                f"The weights of {group.name} have the shapes {shapes}.", f"They need {expected}."
            )
        scalars = [row.unbind() for row in rows]
        return [
            [(option, of_row[option]) for option in options]
            for options, of_row in zip(taken, scalars, strict=True)
        ]


class Supernet(nn.Module, ABC):
    """All architectures of a space in one network with shared weights.

    without: names of options that no architecture can have, such as `none` in the DARTS family.
    """

    space: SearchSpace
    without: frozenset[str] = frozenset()

    @abstractmethod
    def forward(self, images: Tensor, mix: Mix) -> Tensor:
        """(n, n_in, side, side) images to (n, n_classes) logits."""


@final
class Fixed(nn.Module):
    """A supernet under one mix: images to logits, as any network."""

    def __init__(self, supernet: Supernet, mix: Mix) -> None:
        super().__init__()
        self.supernet = supernet
        self.mix = replace(mix, wide=False)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.supernet(images, self.mix)
        return logits


@final
class MixedOp(nn.Module):
    """The weighted sum of operations on one input; only those that are named are computed.

    `none` never is: its term is 0, and so is the gradient of its weight. partial: the operations
    get one of so many channels; the others pass by, halved by max pooling where stride is 2, and
    all are shuffled (PC-DARTS). drop: what is done to what an identity gives.
    """

    def __init__(self, ops: Iterable[nn.Module], *, partial: int = 1, stride: int = 1) -> None:
        super().__init__()
        self.ops = nn.ModuleList(ops)
        self.partial, self.stride = partial, stride
        self._zeros = frozenset(i for i, op in enumerate(self.ops) if isinstance(op, Zero))
        self._skips = frozenset(i for i, op in enumerate(self.ops) if isinstance(op, nn.Identity))

    def forward(self, x: Tensor, terms: Terms, drop: Drop | None = None) -> Tensor | None:
        """None stands for 0, where there is nothing to compute."""
        if self.partial == 1 or not terms:
            return self._mixed(x, terms, drop)
        width = x.shape[1] // self.partial
        rest = x[:, width:]
        if self.stride == 2:
            rest = F.max_pool2d(rest, 2)
        mixed = self._mixed(x[:, :width], terms, drop)
        if mixed is None:
            mixed = torch.zeros_like(rest[:, :width])
        return F.channel_shuffle(torch.cat([mixed, rest], dim=1), self.partial)

    def _mixed(self, x: Tensor, terms: Terms, drop: Drop | None) -> Tensor | None:
        return weighted_sum(
            (weight, self._given(option, x, drop))
            for option, weight in terms
            if option not in self._zeros
        )

    def _given(self, option: int, x: Tensor, drop: Drop | None) -> Tensor:
        given: Tensor = self.ops[option](x)
        return given if drop is None or option not in self._skips else drop(given)


def part_of(width: int, partial: int) -> int:
    """Channels of the operations where one of `partial` is mixed.

    Raises: InvalidSpec if the width cannot be divided so.
    """
    if partial < 1 or width % partial:
        raise InvalidSpec(f"{width} channels cannot be divided by {partial}.")
    return width // partial


def scaled(value: Tensor | None, scales: Sequence[Tensor] | None, row: int) -> Tensor | None:
    """An edge's output times its scalar, where there is one."""
    return value if value is None or scales is None else scales[row] * value


def weighted_sum(terms: Iterable[tuple[Tensor | None, Tensor]]) -> Tensor | None:
    """The sum of (weight, value) pairs, a weight of None being 1; None if there are none.

    Takes one pair at a time, so that a generator's values need not be held all together.
    """
    total: Tensor | None = None
    for weight, value in terms:
        term = value if weight is None else weight * value
        total = term if total is None else total + term
    return total


def plus(total: Tensor | None, term: Tensor | None) -> Tensor | None:
    """The sum of two, where None stands for 0."""
    if total is None or term is None:
        return total if term is None else term
    return total + term


def learned(space: SearchSpace) -> tuple[Choice, ...]:
    """The groups of a space that have weights."""
    return tuple(group for group in space.groups if group.learned)


def uniform(
    space: SearchSpace,
    path: Path | None = None,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
) -> Mix:
    """Equal weights that add up to 1 in every row: over all options, or over those of the path."""
    mix = Mix(path=path)
    weights = {
        group.name: [
            torch.full((len(options),), 1 / max(len(taken), 1), device=device, dtype=dtype)
            for options, taken in zip(group.options, mix.taken(group), strict=True)
        ]
        for group in learned(space)
    }
    return Mix(weights, path)


def one_hot_mix(
    space: SearchSpace,
    arch: Arch,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
) -> Mix:
    """Weight 1 for the options of an architecture and 0 for all others, which are computed too."""
    weights = {
        group.name: [
            torch.as_tensor(row[: len(options)], device=device, dtype=dtype)
            for row, options in zip(block, group.options, strict=True)
        ]
        for group, block in zip(space.groups, space.one_hot(arch), strict=True)
        if group.learned
    }
    return Mix(weights)


def path_mix(space: SearchSpace, arch: Arch) -> Mix:
    """The single path of an architecture, without weights: it costs what the path costs."""
    return Mix(path=path_of(space, arch))


def path_of(space: SearchSpace, arch: Arch) -> dict[str, list[tuple[int, ...]]]:
    """Per group and row, the options of an architecture."""
    path: dict[str, list[tuple[int, ...]]] = {}
    position = 0
    for group in space.groups:
        path[group.name] = []
        for _ in group.options:
            path[group.name].append(arch.code[position : position + group.take])
            position += group.take
    return path


def softmax_mix(alphas: Weights, path: Path | None = None) -> Mix:
    """The softmax of every row, over all options whatever the path is."""
    return _mapped(alphas, lambda row: row.softmax(dim=0), path)


def raw_mix(alphas: Weights, path: Path | None = None) -> Mix:
    """The parameters themselves as weights."""
    return _mapped(alphas, lambda row: row, path)


def _mapped(alphas: Weights, function: Callable[[Tensor], Tensor], path: Path | None) -> Mix:
    return Mix({name: [function(row) for row in rows] for name, rows in alphas.items()}, path)
