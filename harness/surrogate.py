"""Surrogate benchmarks: measurements predicted by an ensemble of fitted models."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import cast, final

import numpy as np
from numpy.typing import NDArray

from harness.arch import Arch, Codes
from harness.benchmark import (
    AVERAGES,
    MEAN,
    MEDIAN,
    UNITS,
    Benchmark,
    Cost,
    Holding,
    Reading,
    Roles,
    Seed,
    Slice,
    Table,
)
from harness.errors import InvalidSpec, UnknownArch, UnknownName
from harness.spaces import space
from harness.spaces.darts import PRIMITIVES, DartsSpace

DARTS = cast(DartsSpace, space("darts"))
# NAS-Bench-301 trained every architecture for 100 epochs (T_max in its query API) on 80 % of
# CIFAR-10's training set, validation_split 0.2 in its run_proxy.py, and predicts the accuracy on
# the other 20 %.
NB301 = Slice("cifar10", "train", "valid", "accuracy", 100)
# The networks that it trained had 8 cells and 32 channels, as its encoding's constants say.
N_CELLS, CHANNELS = 8, 32

# (n, 40) codes of `darts` -> (n_members, n).
Predictor = Callable[[Codes], NDArray[np.float64]]


@final
class Surrogate(Benchmark):
    """An ensemble that predicts one slice for any architecture of the DARTS space.

    It measures nothing: a method that selects by it and is reported by it was selected on the
    reported quantity. It lists no architectures, so it has no rows, columns or curves;
    `tabulate` makes a table of those that are asked for.
    """

    is_surrogate = True

    def __init__(
        self,
        name: str,
        members: tuple[str, ...],
        predictor: Predictor,
        *,
        at: Slice = NB301,
        averaged: bool = False,
        seeds: tuple[int, ...] = (),
        sha256: str = "",
        citation: str = "",
    ) -> None:
        """members: names of the models. predictor: codes of `darts` to one row a member.

        averaged: the one member is a mean over models that cannot be told apart. seeds: those
        that the members were fitted with; their places in `members` where two have the same.
        """
        self.name, self.members, self.sha256, self.citation = name, members, sha256, citation
        self.space = DARTS
        self.codes = np.empty((0, sum(take for _, take in DARTS.rows)), dtype=np.uint8)
        self.indices = np.empty(0, dtype=np.int32)
        if len(set(seeds)) != len(members):
            seeds = tuple(range(len(members)))
        held: tuple[Seed, ...] = (MEAN,) if averaged else seeds
        self.slice = at
        self.holdings = {at: Holding(at, UNITS[at.metric], held, (at.epochs,))}
        self.roles = {at.dataset: Roles(search=at, truth=at)}
        self._predictor = predictor

    def predict(self, archs: Sequence[Arch] | Codes) -> NDArray[np.float64]:
        """Every member's prediction.

        archs: architectures of the DARTS family, or codes of `darts`, (n, 40).
        Returns: (n_members, n) in the slice's unit.
        Raises: UnknownArch as `darts_codes`; InvalidArch if the codes are not codes of `darts`.
        """
        found = self._predictor(darts_codes(archs))
        expected = (len(self.members), len(archs))
        if found.shape != expected:
            raise ValueError(f"{self.name} predicted {found.shape} values, not {expected}")
        return found

    def query(
        self,
        arch: Arch | str | int,
        at: Slice,
        *,
        seed: Seed | None = None,
        epoch: int | None = None,
        noise: np.random.Generator | None = None,
    ) -> Reading:
        """The prediction for one architecture; std and n are over the members (ddof=1).

        arch: an `Arch` of the DARTS family or a genotype's text. seed: of one member, "mean" or
        "median". noise: draws the value from N(mean, std) with the caller's own generator;
        upstream's own noise has the std with ddof=0.
        Raises: UnknownSlice, UnknownArch, InvalidArch, UnknownSeed, UnknownEpoch; InvalidSpec for
            an index, or for noise where no std over members is known.
        """
        holding = self.holding(at)
        seed = holding.check_seed(seed)
        holding.epoch_position(epoch)
        if isinstance(arch, int):
            raise self._lists_none()
        arch = self.space.parse(arch) if isinstance(arch, str) else arch
        values = self.predict([arch])[:, 0]
        n: int | None = None if holding.label else len(values)
        if seed not in (*AVERAGES, holding.label):
            values = values[[holding.seeds.index(seed)]]
            n = 1
        value = float(np.median(values) if seed == MEDIAN else values.mean())
        std = float(values.std(ddof=1)) if len(values) > 1 else math.nan
        if noise is not None:
            if math.isnan(std):
                raise InvalidSpec(
                    "One member has no std to draw noise from.",
                    "Ask for the mean of several, or without noise.",
                )
            value += std * float(noise.standard_normal())
        return Reading(value, std, n, holding.unit, holding.slice, is_surrogate=True)

    def tabulate(self, archs: Sequence[Arch] | Codes) -> Table:
        """A table of predictions, row by row, with the costs of the networks trained there.

        archs: as for `predict`; indices count them.
        """
        codes = darts_codes(archs)
        (holding,) = self.holdings.values()
        values = self.predict(codes).astype(np.float32)[:, None, :]
        cost = partial(DARTS.network_cost, codes=codes, channels=CHANNELS, n_cells=N_CELLS)
        return Table(
            name=self.name,
            space=self.space,
            codes=codes,
            indices=np.arange(len(codes), dtype=np.int32),
            holdings=[holding],
            arrays={holding.slice: values},
            costs={Cost(name, holding.slice.dataset): cost(name) for name in ("params", "flops")},
            roles=self.roles,
            sha256=self.sha256,
            citation=self.citation,
            is_surrogate=True,
        )

    def drawn(self, n: int, rng: np.random.Generator) -> Table:
        """The table of n architectures sampled from the space."""
        return self.tabulate([self.space.sample(rng) for _ in range(n)])

    def row(self, arch: Arch | str | int) -> int:
        """Raises: InvalidSpec, since there are no rows."""
        raise self._lists_none()

    def _lists_none(self) -> InvalidSpec:
        return InvalidSpec(
            f"{self.name} predicts any arch of {self.space.name} and lists none: it has no rows,"
            " columns or curves.",
            "Ask for an arch by its genotype, or for a sample (rank --sample N --draw-seed S).",
        )

    def _at(self, holding: Holding, row: int, position: int) -> list[float]:
        raise self._lists_none()

    def _array(self, holding: Holding) -> NDArray[np.float32]:
        raise self._lists_none()

    def _recorded_costs(self) -> Mapping[Cost, NDArray[np.float64]]:
        return {}


def darts_codes(archs: Sequence[Arch] | Codes) -> Codes:
    """Codes of `darts` for architectures of any space of the DARTS family, (n, 40).

    Codes are passed on unchecked. The others are taken over by their genotypes: all operations of
    `darts-no-none` and `darts-s1` to `darts-s3` are operations of `darts`; the noise of
    `darts-s4` is not.
    Raises: UnknownArch for an architecture of another space, or with another operation.
    """
    if isinstance(archs, np.ndarray):
        return archs
    codes = [a.code if a.space == DARTS.name else _in_darts(a).code for a in archs]
    n_positions = sum(take for _, take in DARTS.rows)
    return np.array(codes, dtype=np.uint8).reshape(len(codes), n_positions)


def _in_darts(arch: Arch) -> Arch:
    try:
        own = space(arch.space)
    except UnknownName as error:
        raise UnknownArch(f"There is no space {arch.space}.", error.message) from error
    if not isinstance(own, DartsSpace):
        raise UnknownArch(
            f"The surrogate predicts archs of the DARTS family, not of {arch.space}.",
            f"Give one of {DARTS.name}.",
        )
    genotype = own.genotype(arch)
    for op, _ in (*genotype.normal, *genotype.reduce):
        if op not in PRIMITIVES:
            raise UnknownArch(
                f"{op!r} of {arch.space} is no operation that the surrogate was fitted on, so"
                " nothing is known of this arch.",
                f"It knows {', '.join(PRIMITIVES[1:])}.",
            )
    return DARTS.of_genotype(genotype)
