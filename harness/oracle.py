"""What a search method may see: search data, charged, until the budget is spent."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from harness.arch import Arch
from harness.benchmark import Benchmark, Seed, Slice
from harness.errors import BudgetSpent, InvalidSpec, UnknownCost

RANDOM: Final = "random"


@dataclass(frozen=True, slots=True)
class Budget:
    """When a method must stop: after so many queries, or simulated seconds, or either."""

    queries: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        if self.queries is None and self.seconds is None:
            raise InvalidSpec("A budget needs queries, seconds or both.")
        if any(limit is not None and limit <= 0 for limit in (self.queries, self.seconds)):
            raise InvalidSpec("A budget must be positive.")


@dataclass(frozen=True, slots=True)
class Query:
    """One answered query: the benchmark's index, epoch and seed read, the value, its charge in s.

    seed: the seed that was read, or "mean" or the slice's label; None where none had a value.
    """

    index: int
    epoch: int
    value: float
    seconds: float
    seed: Seed | None


class Oracle:
    """Answers one role's slice of one data set and charges every answer.

    A query costs the training seconds up to its epoch and one validation, where the table
    records them. The query that crosses a budget in seconds is answered and is the last, as in
    NATS-Bench's scripts.

    role: "search" or "short". seed: a seed, "mean", or "random" (each query reads a seed drawn
    from those present, as NATS-Bench's simulate_train_eval does by default).
    """

    def __init__(
        self,
        benchmark: Benchmark,
        dataset: str,
        *,
        budget: Budget,
        rng: np.random.Generator,
        role: str = "search",
        seed: Seed | None = None,
    ) -> None:
        if role not in ("search", "short"):
            raise InvalidSpec(f"An oracle answers the roles search and short, not {role!r}.")
        if dataset not in benchmark.roles:
            known = ", ".join(benchmark.datasets) or "none"
            raise InvalidSpec(f"{benchmark.name} declares no roles for {dataset!r}; only {known}.")
        self._slice = benchmark.roles[dataset].named(role)
        self._budget = budget
        self._log: list[Query] = []
        self._seconds = 0.0
        self._benchmark = benchmark
        self._holding = benchmark.holding(self.slice)
        if self._holding.slice.contains_test:
            raise InvalidSpec(f"{self.slice} contains test data; no method may see it.")
        self._seed = seed if seed == RANDOM else self._holding.check_seed(seed)
        if self._seed == RANDOM and self._holding.label:
            label = self._holding.label
            raise InvalidSpec(f"{self.slice} holds no single seeds to draw from.", f"Use {label}.")
        self._rng = rng
        self._charges = self._epoch_charges()

    def _epoch_charges(self) -> tuple[list[float], list[float]] | None:
        """Seconds to train an epoch and to validate once, by row; None if not recorded."""
        at = self.slice
        try:
            train, valid = (
                self._benchmark.cost_column(
                    name, at.dataset, trained_on=at.trained_on, epochs=at.epochs
                )
                for name in ("train_seconds", "valid_seconds")
            )
        except UnknownCost as error:
            if self.budget.seconds is not None:
                raise InvalidSpec(
                    f"{self._benchmark.name} records no seconds for {at}.", "Budget in queries."
                ) from error
            return None
        if self.budget.seconds is not None and not np.isfinite(train + valid).all():
            raise InvalidSpec(
                f"{self._benchmark.name} lacks the seconds of some architectures for {at}.",
                "Budget in queries.",
            )
        return (train / at.epochs).tolist(), valid.tolist()

    @property
    def slice(self) -> Slice:
        """What is answered."""
        return self._slice

    @property
    def budget(self) -> Budget:
        """What may be spent in all."""
        return self._budget

    @property
    def log(self) -> tuple[Query, ...]:
        """Every answered query, in order."""
        return tuple(self._log)

    @property
    def seconds(self) -> float:
        """Simulated seconds charged so far."""
        return self._seconds

    @property
    def epochs(self) -> tuple[int, ...]:
        """Epochs at which the slice can be read."""
        return self._holding.epochs

    @property
    def knows_seconds(self) -> bool:
        """Whether queries are charged in seconds too."""
        return self._charges is not None

    def query(self, arch: Arch, *, epoch: int | None = None) -> float:
        """The value of an arch after `epoch` epochs (None: the last); NaN = never measured.

        Raises: BudgetSpent when nothing is left; UnknownEpoch.
        """
        self._check_budget()
        row = self._benchmark.row(arch)
        epoch = self.epochs[-1] if epoch is None else epoch
        value, seed = self._read(row, epoch)
        seconds = math.nan
        if self._charges is not None:
            per_epoch, validation = self._charges
            seconds = per_epoch[row] * epoch + validation[row]
            self._seconds += seconds
        self._log.append(Query(int(self._benchmark.indices[row]), epoch, value, seconds, seed))
        return value

    def _check_budget(self) -> None:
        limit = self.budget
        if limit.queries is not None and len(self._log) >= limit.queries:
            raise BudgetSpent(f"All {limit.queries} queries are used.")
        if limit.seconds is not None and self._seconds >= limit.seconds:
            raise BudgetSpent(f"All {limit.seconds:g} simulated seconds are used.")

    def _read(self, row: int, epoch: int) -> tuple[float, Seed | None]:
        """The value and the seed that gave it; a random seed is one of those with a value."""
        index = int(self._benchmark.indices[row])
        seed = self._seed
        if seed == RANDOM:
            present = [s for s in self._holding.seeds if self._is_held(index, s, epoch)]
            if not present:
                return math.nan, None
            seed = present[self._rng.integers(len(present))]
        return self._benchmark.query(index, self.slice, seed=seed, epoch=epoch).value, seed

    def _is_held(self, index: int, seed: Seed, epoch: int) -> bool:
        value = self._benchmark.query(index, self.slice, seed=seed, epoch=epoch).value
        return not math.isnan(value)
