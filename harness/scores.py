"""Scores that rank architectures: costs, slices, curve scores, and zero-cost proxies.

Every score is oriented so that higher is better: losses are negated, nothing else is changed.

Spelling: `params`, `flops`, a recorded cost such as `latency/train/200`;
`slice:cifar10/train/valid/accuracy/12[@EPOCH]`;
`sotl:DATASET/TRAINED_ON/EPOCHS[:last=E][:skip=K][:ema=G][@EPOCH]`;
`proxy:NAME[:seed=N][:images=NAME][:batch=N]`.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.benchmark import COST_UNITS, TRAINED_ON, Benchmark, Holding, Seed, Slice
from harness.errors import MissingPackage, UnknownScore, unknown

if TYPE_CHECKING:
    from harness.record import RunSpec

SPELLINGS = (
    "a cost (params, flops, latency/train/200), slice:cifar10/train/valid/accuracy/12,"
    " sotl:cifar10/train/200[:last=E][:skip=K][:ema=G][@EPOCH]"
    " or proxy:synflow[:seed=N][:images=NAME][:batch=N]"
)
LOWER_IS_BETTER = ("loss",)


class Score(ABC):
    """One value an architecture, higher is better."""

    @abstractmethod
    def values(self, benchmark: Benchmark, dataset: str, seed: Seed | None) -> NDArray[np.floating]:
        """(n_arch,), NaN = not available. dataset: for scores that do not name their own."""

    def of_rows(
        self,
        benchmark: Benchmark,
        dataset: str,
        seed: Seed | None,
        rows: NDArray[np.intp],
        jobs: int = 1,
    ) -> NDArray[np.floating]:
        """(n_row,) of some architectures; jobs: processes, for scores that have to be computed."""
        return self.values(benchmark, dataset, seed)[rows]


class CurveScore(Score):
    """A score that has a value after every epoch."""

    epoch: int | None

    @abstractmethod
    def holding(self, benchmark: Benchmark) -> Holding:
        """What the score is computed from."""

    @abstractmethod
    def curve(self, benchmark: Benchmark, seed: Seed | None) -> NDArray[np.floating]:
        """(n_epoch, n_arch): the score as known after each of `holding(...).epochs`."""


@dataclass(frozen=True)
class CostScore(Score):
    """A cost, as it is: more parameters or multiply-adds score higher."""

    name: str
    trained_on: str | None = None
    epochs: int | None = None

    def values(self, benchmark: Benchmark, dataset: str, seed: Seed | None) -> NDArray[np.floating]:
        return benchmark.cost_column(
            self.name, dataset, trained_on=self.trained_on, epochs=self.epochs
        )


@dataclass(frozen=True)
class SliceScore(CurveScore):
    """A measured slice at one epoch (None: the last)."""

    at: Slice
    epoch: int | None = None

    def holding(self, benchmark: Benchmark) -> Holding:
        return benchmark.holding(self.at)

    def values(self, benchmark: Benchmark, dataset: str, seed: Seed | None) -> NDArray[np.floating]:
        return self._sign * benchmark.column(self.at, seed=seed, epoch=self.epoch)

    def curve(self, benchmark: Benchmark, seed: Seed | None) -> NDArray[np.floating]:
        return self._sign * benchmark.curves(self.at, seed=seed)

    @property
    def _sign(self) -> np.float32:
        return np.float32(-1 if self.at.metric in LOWER_IS_BETTER else 1)


@dataclass(frozen=True)
class SotlScore(CurveScore):
    """Sum over training losses, negated (Ru et al., 2021; thesis section 3.2).

    last: only the last E epochs (the thesis' default is 1). skip: leave out the first K epochs.
    ema: weight a loss that lies i epochs back by G^i. epoch: as known after this epoch.
    """

    dataset: str
    trained_on: str
    epochs: int
    last: int | None = None
    skip: int = 0
    ema: float | None = None
    epoch: int | None = None

    def holding(self, benchmark: Benchmark) -> Holding:
        """Raises: UnknownScore if the benchmark stores no losses for every epoch."""
        at = Slice(self.dataset, self.trained_on, "train", "loss", self.epochs)
        if at not in benchmark.holdings:
            losses = [str(h) for h in benchmark.holdings if h.metric == "loss"]
            stored = f"It stores {', '.join(losses)}." if losses else "It stores no losses at all."
            raise UnknownScore(f"{benchmark.name} stores no training losses {at}.", stored)
        holding = benchmark.holding(at)
        if holding.epochs != tuple(range(1, self.epochs + 1)):
            raise UnknownScore(f"{benchmark.name} does not store {at} for every epoch.")
        return holding

    def values(self, benchmark: Benchmark, dataset: str, seed: Seed | None) -> NDArray[np.floating]:
        position = self.holding(benchmark).epoch_position(self.epoch)
        losses = benchmark.curves(self.holding(benchmark).slice, seed=seed)
        return self._sums(losses[: position + 1])[-1]

    def curve(self, benchmark: Benchmark, seed: Seed | None) -> NDArray[np.floating]:
        return self._sums(benchmark.curves(self.holding(benchmark).slice, seed=seed))

    def _sums(self, losses: NDArray[np.float32]) -> NDArray[np.floating]:
        return -running_sums(losses, last=self.last, skip=self.skip, ema=self.ema)


@dataclass(frozen=True)
class ProxyScore(Score):
    """A zero-cost proxy of untrained networks; what was scored before is not scored again.

    seed: of weights, batch and whatever the proxy draws; not one of the table's. images: a name of
    protocols.images instead of the data set's own. batch: its size.
    """

    proxy: str
    seed: int = 0
    images: str | None = None
    batch: int | None = None

    def values(self, benchmark: Benchmark, dataset: str, seed: Seed | None) -> NDArray[np.floating]:
        return self.of_rows(benchmark, dataset, seed, np.arange(len(benchmark)))

    def of_rows(
        self,
        benchmark: Benchmark,
        dataset: str,
        seed: Seed | None,
        rows: NDArray[np.intp],
        jobs: int = 1,
    ) -> NDArray[np.floating]:
        """Raises: MissingPackage without torch; HarnessError with the reason of a run."""
        from harness import engine

        records = engine.run_all(self.specs(benchmark, dataset, rows), jobs=jobs)
        found: NDArray[np.float64] = _zerocost().scores_of(records, self.proxy).values
        return found

    def specs(self, benchmark: Benchmark, dataset: str, rows: NDArray[np.intp]) -> list[RunSpec]:
        """The runs that score some architectures.

        Raises: MissingPackage without torch.
        """
        archs = [benchmark.space.arch(code) for code in benchmark.codes[rows].tolist()]
        options = {"images": self.images, "batch_size": self.batch}
        found: list[RunSpec] = _zerocost().specs(
            benchmark.name,
            [benchmark.space.format(arch) for arch in archs],
            [self.proxy],
            seed=self.seed,
            dataset=dataset,
            **{name: value for name, value in options.items() if value is not None},
        )
        return found


def _zerocost() -> ModuleType:
    """The protocol that scores untrained networks, which needs torch.

    Raises: MissingPackage.
    """
    try:
        return import_module("protocols.zerocost")
    except ModuleNotFoundError as error:
        raise MissingPackage(
            f"Proxies need {error.name}.", "Install the extra: pip install '.[search]'"
        ) from error


def running_sums(
    losses: NDArray[np.floating],
    *,
    last: int | None = None,
    skip: int = 0,
    ema: float | None = None,
) -> NDArray[np.float64]:
    """Sum of the losses so far, epoch by epoch.

    losses: (n_epoch, ...). Returns: the same shape, float64; NaN after the first `skip` epochs,
    where no loss counts yet. last: at most so many epochs back. ema: as `SotlScore`.
    """
    counted = losses[skip:].astype(np.float64)
    if ema is not None:
        for epoch in range(1, len(counted)):
            counted[epoch] += ema * counted[epoch - 1]
        sums = counted
    elif last == 1:
        sums = counted
    elif last is None or last >= len(counted):
        sums = np.cumsum(counted, axis=0)
    else:
        # Window by window and not as a difference of sums, which one NaN or inf would spoil.
        sums = np.stack(
            [counted[max(0, end - last) : end].sum(axis=0) for end in range(1, len(counted) + 1)]
        )
    empty = np.full((min(skip, len(losses)), *losses.shape[1:]), np.nan)
    return np.concatenate([empty, sums]) if skip else sums


def parse_score(text: str) -> Score:
    """The score that a text spells.

    Raises: UnknownScore with what can be spelled.
    """
    kind, separator, rest = text.partition(":")
    if not separator:
        return _parse_cost(text)
    if kind == "slice":
        rest, epoch = _split_epoch(rest)
        return SliceScore(Slice.parse(rest), epoch)
    if kind == "sotl":
        return _parse_sotl(rest)
    if kind == "proxy":
        return _parse_proxy(rest)
    raise UnknownScore(f"There is no kind of score {kind!r}.", f"A score is {SPELLINGS}.")


def _parse_cost(text: str) -> CostScore:
    name, *rest = text.split("/")
    if name not in COST_UNITS:
        raise UnknownScore(unknown("score", name, COST_UNITS).message, f"A score is {SPELLINGS}.")
    if not rest:
        return CostScore(name)
    if len(rest) != 2 or rest[0] not in TRAINED_ON or not rest[1].isdecimal():
        raise UnknownScore(f"{text!r} is no cost.", f"A score is {SPELLINGS}.")
    return CostScore(name, rest[0], int(rest[1]))


def _split_epoch(text: str) -> tuple[str, int | None]:
    body, separator, epoch = text.partition("@")
    if not separator:
        return body, None
    if not epoch.isdecimal() or int(epoch) < 1:
        raise UnknownScore(f"{epoch!r} is not an epoch.", "Epochs are counted from 1: …@12.")
    return body, int(epoch)


def _parse_proxy(text: str) -> ProxyScore:
    from harness import registry

    name, *options = text.split(":")
    registry.get("proxy", name)
    readers: dict[str, Callable[[str], Any]] = {"seed": int, "images": str, "batch": int}
    values = _options(options, readers, "a proxy score")
    return ProxyScore(name, **values)


def _options(
    options: Sequence[str], readers: Mapping[str, Callable[[str], Any]], what: str
) -> dict[str, Any]:
    """NAME=VALUE options. Raises: UnknownScore for another name or a value that is none."""
    values: dict[str, Any] = {}
    for option in options:
        name, _, value = option.partition("=")
        try:
            values[name] = readers[name](value)
        except (KeyError, ValueError) as error:
            raise UnknownScore(
                f"{option!r} is no option of {what}.", f"A score is {SPELLINGS}."
            ) from error
    return values


def _parse_sotl(text: str) -> SotlScore:
    text, epoch = _split_epoch(text)
    where, *options = text.split(":")
    match = re.fullmatch(r"([^/]+)/([^/]+)/(\d+)", where)
    if match is None or match[2] not in TRAINED_ON:
        raise UnknownScore(f"{text!r} is no SoTL score.", f"A score is {SPELLINGS}.")
    values = _options(options, {"last": int, "skip": int, "ema": float}, "a SoTL score")
    score = SotlScore(match[1], match[2], int(match[3]), epoch=epoch, **values)
    if (score.last is not None and score.last < 1) or score.skip < 0:
        raise UnknownScore(f"{text!r}: last must be at least 1 and skip at least 0.")
    if score.ema is not None and (score.last is not None or not 0 < score.ema <= 1):
        raise UnknownScore(f"{text!r}: ema lies in (0, 1] and excludes last.")
    n_epochs = score.epochs if score.epoch is None else score.epoch
    if score.skip >= n_epochs:
        raise UnknownScore(f"{text!r}: skipping {score.skip} of {n_epochs} leaves nothing.")
    return score
