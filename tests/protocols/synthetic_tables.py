"""Small tables whose values are known by formula, and a space that is not NAS-Bench-201."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from harness.arch import Arch, Choice, Codes, SearchSpace
from harness.benchmark import Cost, Holding, Roles, Seed, Slice, Table
from harness.spaces import space
from harness.spaces.nb201 import OPS

DATASET = "cifar10"
SHORT = Slice(DATASET, "train", "valid", "accuracy", 12)
SEARCH = Slice(DATASET, "train", "valid", "accuracy", 200)
TRUTH = Slice(DATASET, "train+valid", "test", "accuracy", 200)
ROLES = {DATASET: Roles(SEARCH, TRUTH, SHORT)}
TRAIN_SECONDS, VALID_SECONDS = 120.0, 3.0  # A query of all 12 epochs costs 123 s, of one 13 s.


class ListedSpace(SearchSpace):
    """Any choice groups; indices count up in the order of itertools.product."""

    def __init__(self, *groups: Choice) -> None:
        self.name = "listed"
        self.groups = groups

    @cached_property
    def codes(self) -> Codes:
        rows = [itertools.combinations(range(n), take) for n, take in self.rows]
        codes = [sum(chosen, start=()) for chosen in itertools.product(*rows)]
        return np.array(codes, dtype=np.uint8)

    def index(self, arch: Arch) -> int:
        return self.codes.tolist().index(list(arch.code))

    def parse(self, text: str) -> Arch:
        return self.arch([int(part) for part in text.split("-")])

    def format(self, arch: Arch) -> str:
        return "-".join(map(str, arch.code))

    def canonical(self, arch: Arch) -> Arch:
        return arch


# Rows of unlike lengths, one without a choice, and rows that take two of four.
UNEVEN = ListedSpace(
    Choice("op", (("a", "b", "c"), ("a",), ("a", "b"))),
    Choice("inputs", (("0", "1", "2", "3"),) * 2, take=2),
)


def n_conv3(codes: Codes) -> NDArray[np.float32]:
    """How many 3x3 convolutions each topology cell has."""
    return (codes == OPS.index("nor_conv_3x3")).sum(axis=1).astype(np.float32)


def accuracy_of(codes: Codes) -> NDArray[np.float32]:
    """The easy landscape: every 3x3 convolution adds 10 points to 30."""
    return np.float32(30) + np.float32(10) * n_conv3(codes)


def make_table(
    values: NDArray[np.float32],
    *,
    of_space: SearchSpace | None = None,
    truth: NDArray[np.float32] | None = None,
    seeds: tuple[Seed, ...] = ("mean",),
    epochs: Sequence[int] = tuple(range(1, 13)),
    seconds: tuple[float, float] | None = (TRAIN_SECONDS, VALID_SECONDS),
    name: str = "synthetic",
) -> Table:
    """A table of a whole space: the short slice holds `values` less 1 an epoch that is missing.

    truth: values + 5 unless given, so that it is told from what a method sees.
    """
    of_space = of_space or space("nb201")
    n_archs = len(values)
    missing = np.float32(epochs[-1]) - np.array(epochs, dtype=np.float32)
    curve = np.broadcast_to(values - missing[:, None], (len(seeds), len(epochs), n_archs))
    last = np.broadcast_to(values, (len(seeds), 1, n_archs))
    final = np.broadcast_to(values + 5 if truth is None else truth, (len(seeds), 1, n_archs))
    costs = {}
    if seconds is not None:
        for cost, amount in zip(("train_seconds", "valid_seconds"), seconds, strict=True):
            costs[Cost(cost, DATASET, "train", 12)] = np.full(n_archs, amount)
    return Table(
        name=name,
        space=of_space,
        codes=of_space.codes,
        indices=np.arange(n_archs, dtype=np.int32),
        holdings=[
            Holding(SHORT, "%", seeds, tuple(epochs)),
            Holding(SEARCH, "%", seeds, (200,)),
            Holding(TRUTH, "%", seeds, (200,)),
        ],
        arrays={SHORT: curve, SEARCH: last, TRUTH: final},
        costs=costs,
        roles=ROLES,
    )
