"""What a search method may see: search data, charged, until the budget is spent."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from harness.arch import Arch
from harness.benchmark import Benchmark, Seed
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
    """One answered query: the benchmark's index, the epoch read, the value, its charge in s."""

    index: int
    epoch: int
    value: float
    seconds: float


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
        self.slice = benchmark.roles[dataset].named(role)
        self.budget = budget
        self.log: list[Query] = []
        self.seconds = 0.0
        self._benchmark = benchmark
        self._holding = benchmark.holding(self.slice)
        if self._holding.slice.contains_test:
            raise InvalidSpec(f"{self.slice} contains test data; no method may see it.")
        self._seed = seed if seed == RANDOM else self._holding.check_seed(seed)
        if self._seed == RANDOM and self._holding.label:
            raise InvalidSpec(f"{self.slice} holds no single seeds to draw from.", "Use seed=mean.")
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
        return (train / at.epochs).tolist(), valid.tolist()

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
        value = self._value(arch, epoch)
        seconds = math.nan
        if self._charges is not None:
            per_epoch, validation = self._charges
            seconds = per_epoch[row] * epoch + validation[row]
            self.seconds += seconds
        self.log.append(Query(int(self._benchmark.indices[row]), epoch, value, seconds))
        return value

    def _check_budget(self) -> None:
        limit = self.budget
        if limit.queries is not None and len(self.log) >= limit.queries:
            raise BudgetSpent(f"All {limit.queries} queries are used.")
        if limit.seconds is not None and self.seconds >= limit.seconds:
            raise BudgetSpent(f"All {limit.seconds:g} simulated seconds are used.")

    def _value(self, arch: Arch, epoch: int) -> float:
        if self._seed != RANDOM:
            return self._benchmark.query(arch, self.slice, seed=self._seed, epoch=epoch).value
        readings = [
            self._benchmark.query(arch, self.slice, seed=seed, epoch=epoch).value
            for seed in self._holding.seeds
        ]
        present = [value for value in readings if not math.isnan(value)]
        return present[self._rng.integers(len(present))] if present else math.nan
