"""TE-NAS: prune the supernet by how its trainability and its expressivity change.

Source: Chen et al., "Neural architecture search on ImageNet in four GPU hours", ICLR 2021, and
VITA-Group/TENAS, prune_tenas.py. Trainability is the condition number of the neural tangent kernel,
expressivity the number of linear regions, both of networks that are not trained.

Two differences, ours. Within a round all options are compared on the same networks and batches,
where the code draws new ones for each option; that is less noise and half the work. Linear regions
are counted with a thin copy of the run's supernet on crops that its stages can halve, where the
code has one without a stem on crops of 3 x 3 pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from protocols.left import Left, Place
from protocols.nets.mix import Fixed, Mix, Path, Supernet, uniform
from protocols.training import Labelled
from protocols.untrained import Found, NetworkScore, UntrainedSearch, Workbench, network_score

EXCLUDED = "none"  # The code masks it before the first round, in every space.
Removal = tuple[Place, int]
Input = Callable[[], tuple[Supernet, Labelled]]


@final
@dataclass(frozen=True)
class TeNas(UntrainedSearch):
    """Prunes `per_row` options of every row a round, until each has as many as it takes.

    condition, regions: names of the two scores. batch_size: validation images for the first;
    n_points, side, thin_channels: crops for the second, their side, and the width of its network.
    repeats: networks that a round averages over. digits: of the relative changes, which are
    rounded so that small ones tie. The array `changes` has a row per removal that was looked at:
    round, positions of group, row and option, and the changes of both scores.
    """

    version: ClassVar[int] = 1
    condition: str = "ntk_cond"
    regions: str = "linear_regions"
    batch_size: int = 72  # prune_launch.py, NAS-Bench-201; 14 on the DARTS space with CIFAR-10.
    repeats: int = 3
    per_row: int = 1  # There; 3 on the DARTS space with CIFAR-10, 2 with ImageNet.
    digits: int = 3
    n_points: int = 1000  # The code counts over 3 batches of so many.
    side: int = 8  # Ours: the smallest side that can be halved twice and has an inside then.
    thin_channels: int = 2  # Ours: the narrowest that every space allows; the code has 1.

    @property
    def uses(self) -> Sequence[tuple[str, str]]:
        return (("proxy", self.condition), ("proxy", self.regions))

    def search(self, bench: Workbench, rng: np.random.Generator) -> Found:
        scores = network_score(self.condition, rng), network_score(self.regions, rng)
        return self.search_by(*scores, bench, rng)

    def search_by(
        self,
        condition: NetworkScore,
        regions: NetworkScore,
        bench: Workbench,
        rng: np.random.Generator,
    ) -> Found:
        """The search with any two scores; the sign of either does not matter."""
        comparison = Comparison(self, condition, regions, bench, rng)
        left = Left(bench.space.groups, {EXCLUDED})
        table: list[tuple[float, ...]] = []
        n_rounds = 0
        while places := _open_places(left):
            removals = [(place, option) for place in places for option in left.options(place)]
            changes = comparison.changes(left, removals)
            table += [
                (n_rounds, *place, option, *both)
                for (place, option), both in zip(removals, changes, strict=True)
            ]
            # A row of which several are taken is decided at once.
            per_row = self.per_row if left.take(places[0]) == 1 else len(removals)
            _prune(left, [removals[i] for i in pruning_order(changes)], per_row)
            n_rounds += 1
        return Found(left.arch(bench.space), arrays={"changes": np.array(table)})


def pruning_order(changes: NDArray[np.float64]) -> NDArray[np.int64]:
    """(n,) positions of removals, what should go first at the front.

    What lowers the condition number most and the number of regions least comes first, by the sum of
    the two ranks; equal sums are told apart by the condition number. changes: (n, 2), the share by
    which each removal lowers the condition number and the number of regions.
    """
    by_condition, by_regions = dense_ranks(-changes[:, 0]), dense_ranks(changes[:, 1])
    return np.lexsort((by_condition, by_condition + by_regions))


@final
class Comparison:
    """What removals do to both scores."""

    def __init__(
        self,
        method: TeNas,
        condition: NetworkScore,
        regions: NetworkScore,
        bench: Workbench,
        rng: np.random.Generator,
    ) -> None:
        self._method, self._condition, self._regions = method, condition, regions
        self._bench, self._rng = bench, rng

    def changes(self, left: Left, removals: Sequence[Removal]) -> NDArray[np.float64]:
        """(n_removals, 2): the share by which each lowers either score, over the repeats' mean."""
        paths = [left.path(), *(left.path(removal) for removal in removals)]
        condition = self._relative(self._condition, paths, "fan_out", self._batch)
        regions = self._relative(self._regions, paths, "fan_in", self._crops)
        return np.stack([condition, regions], axis=1)

    def _relative(
        self, score: NetworkScore, paths: Sequence[Path], fan: str, made: Input
    ) -> NDArray[np.float64]:
        """(n_paths - 1,): (first - other) / first, rounded and averaged over the repeats."""
        changes = []
        for _ in range(self._method.repeats):
            net, batch = made()
            initialise(net, fan, self._rng)
            values = [score(Fixed(net, _mix(net, path, batch)), batch) for path in paths]
            changes.append([self._change(values[0], value) for value in values[1:]])
        return np.asarray(np.mean(changes, axis=0))

    def _change(self, before: float, after: float) -> float:
        if before == after:
            return 0.0
        return round((before - after) / before, self._method.digits) if before else math.nan

    def _batch(self) -> tuple[Supernet, Labelled]:
        return self._bench.supernet(), self._bench.batch(self._method.batch_size)

    def _crops(self) -> tuple[Supernet, Labelled]:
        """A thin network and grey crops of validation images."""
        net = self._bench.supernet(channels=self._method.thin_channels, n_in=1)
        batch = self._bench.batch(self._method.n_points)
        side = self._method.side
        grey = batch.images.mean(dim=1, keepdim=True)
        top, first = (int(self._rng.integers(size - side + 1)) for size in grey.shape[2:])
        return net, Labelled(grey[..., top : top + side, first : first + side], batch.labels)


def initialise(net: nn.Module, fan: str, rng: np.random.Generator) -> None:
    """He et al.'s normal weights for convolutions and linear layers, 0 for their biases.

    fan: "fan_in" keeps the variance of values, "fan_out" that of gradients. The numbers do not
    depend on the device.
    """
    generator = torch.Generator().manual_seed(int(rng.integers(2**63)))
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                drawn = torch.empty(module.weight.shape, dtype=module.weight.dtype)
                nn.init.kaiming_normal_(
                    drawn,
                    mode=fan,  # type: ignore[arg-type]
                    nonlinearity="relu",
                    generator=generator,
                )
                module.weight.copy_(drawn)
                if module.bias is not None:
                    module.bias.zero_()


def dense_ranks(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """(n,) from 0 for the smallest; equal values have one rank; NaN comes last."""
    return np.unique(values, return_inverse=True)[1].reshape(-1).astype(np.int64)


def _open_places(left: Left) -> list[Place]:
    """The rows that the next round prunes: all that take one option, then the others singly."""
    undecided = left.undecided()
    return [place for place in undecided if left.take(place) == 1] or undecided[:1]


def _prune(left: Left, ranked: Sequence[Removal], per_row: int) -> None:
    """Removes the first `per_row` options of every row, but leaves as many as it takes."""
    for place in {place for place, _ in ranked}:
        own = [option for row, option in ranked if row == place]
        for option in own[: min(per_row, len(own) - left.take(place))]:
            left.remove(place, option)


def _mix(net: Supernet, path: Path, batch: Labelled) -> Mix:
    """Equal weights over what is left, as the softmax of equal parameters gives them."""
    return uniform(net.space, path, device=batch.images.device, dtype=batch.images.dtype)


METHOD = TeNas()
