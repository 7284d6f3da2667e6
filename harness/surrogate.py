"""Surrogate benchmarks: measurements predicted by an ensemble of fitted models."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, cast, final

import numpy as np
from numpy.typing import NDArray

from harness.arch import Arch, Codes
from harness.benchmark import MEAN, UNITS, Reading, Slice
from harness.errors import InvalidSpec, UnknownArch, UnknownName, UnknownSeed, UnknownSlice
from harness.spaces import space
from harness.spaces.darts import PRIMITIVES, DartsSpace

DARTS = cast(DartsSpace, space("darts"))
# NAS-Bench-301 trained every architecture for 100 epochs (T_max in its query API) on 80 % of
# CIFAR-10's training set, validation_split 0.2 in its run_proxy.py, and predicts the accuracy on
# the other 20 %.
NB301 = Slice("cifar10", "train", "valid", "accuracy", 100)

# (n, 40) codes of `darts` -> (n_members, n).
Predictor = Callable[[Codes], NDArray[np.float64]]


@final
@dataclass(frozen=True, eq=False)
class Surrogate:
    """An ensemble that predicts one slice for any architecture of the DARTS space.

    It measures nothing: a method that selects by it and is reported by it was selected on the
    reported quantity. members: names of the models. predictor: codes of `darts` to one row a
    member. averaged: the one member is a mean over models that cannot be told apart. seeds: those
    that the members were fitted with, where known.
    """

    name: str
    members: tuple[str, ...]
    predictor: Predictor
    slice: Slice = NB301
    averaged: bool = False
    seeds: tuple[int, ...] = ()
    citation: str = ""
    space: ClassVar[DartsSpace] = DARTS
    is_surrogate: ClassVar[bool] = True

    def predict(self, archs: Sequence[Arch] | Codes) -> NDArray[np.float64]:
        """Every member's prediction.

        archs: architectures of the DARTS family, or codes of `darts`, (n, 40).
        Returns: (n_members, n) in the slice's unit.
        Raises: UnknownArch as `darts_codes`; InvalidArch if the codes are not codes of `darts`.
        """
        found = self.predictor(darts_codes(archs))
        expected = (len(self.members), len(archs))
        if found.shape != expected:
            raise ValueError(f"{self.name} predicted {found.shape} values, not {expected}")
        return found

    def query(
        self,
        arch: Arch | str,
        at: Slice | None = None,
        *,
        member: str | None = None,
        noise: np.random.Generator | None = None,
    ) -> Reading:
        """The prediction for one architecture.

        arch: an `Arch` of the DARTS family or a genotype's text. at: None is the only slice.
        member: one of `members`; None or "mean" is the mean over them, with their std (ddof=1)
        and number. noise: draws the value from N(mean, std) with the caller's own generator;
        upstream's own noise has the std with ddof=0.
        Raises: UnknownSlice, UnknownArch, InvalidArch; UnknownSeed for a member that is not
            there; InvalidSpec for noise where no std over members is known.
        """
        at = self._checked(at)
        arch = self.space.parse(arch) if isinstance(arch, str) else arch
        values = self.predict([arch])[:, 0]
        unit = UNITS[at.metric]
        if member not in (None, MEAN):
            if noise is not None:
                raise InvalidSpec("One member has no std to draw noise from.", "Ask for the mean.")
            value = float(values[self._position(member)])
            return Reading(value, math.nan, 1, unit, at, is_surrogate=True)
        mean = float(values.mean())
        std = float(values.std(ddof=1)) if len(values) > 1 else math.nan
        if noise is not None:
            if math.isnan(std):
                raise InvalidSpec(
                    f"{self.name} has one member, so no std to draw noise from.",
                    "Ask without noise.",
                )
            mean += std * float(noise.standard_normal())
        n = None if self.averaged else len(values)
        return Reading(mean, std, n, unit, at, is_surrogate=True)

    def _checked(self, at: Slice | None) -> Slice:
        if at is None or at in (self.slice, replace(self.slice, trained_on=None)):
            return self.slice
        raise UnknownSlice(
            f"{self.name} does not hold {at}.",
            f"It predicts {self.slice} and nothing else: no other data, epoch or loss.",
        )

    def _position(self, member: str | None) -> int:
        if member not in self.members:
            raise UnknownSeed(
                f"{self.name} has no member {member!r}; it has {', '.join(self.members)}.",
                "Name one of them or ask for the mean.",
            )
        return self.members.index(member)


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
