"""Search by queries alone: a method asks an oracle until its budget is spent.

Source: the multi-trial comparison of NATS-Bench (Dong et al., TPAMI 2021), which the thesis
reprints in table 4.6: look up a short training, report the full training of the best-seen cell.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from itertools import accumulate
from typing import Any, final

import numpy as np

from harness.arch import SearchSpace
from harness.benchmark import Benchmark, Seed, Slice, sealed_truth
from harness.engine import Outcome, Protocol, Run
from harness.errors import BudgetSpent, HarnessError, InvalidSpec, UnknownSeed, UnknownSlice
from harness.oracle import RANDOM, Budget, Oracle, Query
from harness.seeds import derive

ROLES = ("search", "short")


class BlackBoxMethod(ABC):
    """A search method that sees nothing but a space's choice groups and an oracle's answers.

    A file protocols/methods/NAME.py offers one as METHOD. `version` is raised whenever the
    queries of a seed change. All state lives in `search`; one object serves all runs.
    """

    version: int

    @abstractmethod
    def search(self, space: SearchSpace, oracle: Oracle, rng: np.random.Generator) -> None:
        """Queries the oracle until it raises BudgetSpent, which need not be caught.

        space: its `groups`, `rows`, `sample` and `neighbours`; a row may take more than one
        option (see `harness.arch.Arch` for the code). rng: the only source of randomness.
        Returning earlier is allowed. What was found is read from the oracle's log: the best-seen
        query, by the same rule for all methods (see `incumbents`).
        """


@dataclass(frozen=True)
class Setting:
    """The setting of a run: what is asked, what may be spent and what is reported.

    role: whose slice the oracle answers. oracle_seed: "random" (a seed a query), "mean", a seed,
    or None where the slice has one label. truth_seed: "mean", a seed or None, likewise.
    """

    dataset: str
    role: str = "search"
    oracle_seed: Seed | None = None
    truth_seed: Seed | None = None
    budget_queries: int | None = None
    budget_seconds: float | None = None

    @classmethod
    def read(cls, setting: Mapping[str, Any]) -> Setting:
        """The setting of a spec.

        Raises: InvalidSpec for an unknown or missing key or a value that makes no sense.
        """
        known = [field.name for field in fields(cls)]
        if foreign := sorted(set(setting) - set(known)):
            raise InvalidSpec(
                f"blackbox has no setting {foreign[0]!r}.", f"It has {', '.join(known)}."
            )
        if not isinstance(setting.get("dataset"), str):
            raise InvalidSpec("blackbox needs the setting dataset.", 'Set dataset = "cifar10".')
        found = cls(**setting)
        if found.role not in ROLES:
            raise InvalidSpec(f"role is one of {ROLES}, not {found.role!r}.")
        for limit in (found.budget_queries, found.budget_seconds):
            if limit is not None and not isinstance(limit, (int, float)):
                raise InvalidSpec(f"A budget is a number, not {limit!r}.")
        return found

    @property
    def budget(self) -> Budget:
        """Raises: InvalidSpec if there is neither limit, or one that is not positive."""
        return Budget(self.budget_queries, self.budget_seconds)


@final
class BlackBox(Protocol):
    """Runs one black-box method against one oracle and records the whole trajectory.

    setting: see `Setting`. Result, one entry a query: index (the benchmark's own), epoch, value
    (the slice's unit), seed (that was read), seconds (simulated, cumulative; null where not
    recorded), truth (the truth slice's unit); incumbent and incumbent_truth: the best-seen cell
    after that query, null before any value; final_index, final_truth, n_queries,
    simulated_seconds; the slices and seeds read; selected_on_truth.
    """

    version = 1
    takes_method = True
    headline = "final_truth"

    def accepts(self, method: object) -> bool:
        return isinstance(method, BlackBoxMethod)

    def skip(self, run: Run) -> str | None:
        """A reason where the method or the table cannot do what the setting asks."""
        setting = Setting.read(run.setting)
        budget = setting.budget
        bench = run.benchmark
        if not self.accepts(run.method):
            return f"{type(run.method).__name__} is not a black-box method."
        if bench.is_surrogate:
            return f"{bench.name} is a surrogate and lists no archs; black-box runs need a table."
        if len(bench) < bench.space.size:
            return (
                f"{bench.name} holds {len(bench):,} of {bench.space.size:,} archs; black-box"
                " methods may propose any."
            )
        try:
            oracle = _oracle(run, setting, budget)
            _truth(bench, setting)
        except (InvalidSpec, UnknownSeed, UnknownSlice) as error:
            return str(error)
        if oracle.slice.metric == "loss":
            return f"{oracle.slice} is a loss; black-box methods look for the highest value."
        return None

    def run(self, run: Run) -> Outcome:
        setting = Setting.read(run.setting)
        oracle = _oracle(run, setting, setting.budget)
        name = type(run.method).__name__
        with sealed_truth(f"the method {name} is running"), suppress(BudgetSpent):
            run.method.search(run.benchmark.space, oracle, derive(run.seed, "method"))
        if not oracle.log:
            raise HarnessError(
                f"The method {name} ended without a single query.",
                "Its search must call oracle.query until BudgetSpent is raised.",
            )
        return Outcome(result=_trajectory(run.benchmark, oracle, setting))


def incumbents(log: Sequence[Query]) -> list[int | None]:
    """Position in the log of the best-seen query after every query; None before any value.

    Best seen: among the queries with the largest epoch that gave a value, the highest value, the
    first one on ties. A query that answered NaN never counts.
    """
    best: int | None = None
    found = []
    for position, query in enumerate(log):
        if not math.isnan(query.value) and (
            best is None or (query.epoch, query.value) > (log[best].epoch, log[best].value)
        ):
            best = position
        found.append(best)
    return found


def _oracle(run: Run, setting: Setting, budget: Budget) -> Oracle:
    return Oracle(
        run.benchmark,
        setting.dataset,
        budget=budget,
        rng=derive(run.seed, "oracle"),
        role=setting.role,
        seed=setting.oracle_seed,
    )


def _truth(bench: Benchmark, setting: Setting) -> tuple[Slice, Seed]:
    """The truth slice and the seed that is meant, label included."""
    holding = bench.holding(bench.roles[setting.dataset].truth)
    return holding.slice, holding.check_seed(setting.truth_seed)


def _trajectory(bench: Benchmark, oracle: Oracle, setting: Setting) -> dict[str, Any]:
    log = oracle.log
    index = [query.index for query in log]
    truth_slice, truth_seed = _truth(bench, setting)
    rows = np.searchsorted(bench.indices, index)
    truth = bench.column(truth_slice, seed=truth_seed)[rows].tolist()
    best = incumbents(log)
    incumbent = [None if position is None else index[position] for position in best]
    incumbent_truth = [None if position is None else truth[position] for position in best]
    searched = bench.holding(oracle.slice)
    seed = setting.oracle_seed
    knows_seconds = oracle.knows_seconds
    return {
        "index": index,
        "epoch": [query.epoch for query in log],
        "value": [query.value for query in log],
        "seed": [query.seed for query in log],
        "seconds": list(accumulate(query.seconds for query in log)) if knows_seconds else None,
        "truth": truth,
        "incumbent": incumbent,
        "incumbent_truth": incumbent_truth,
        "final_index": incumbent[-1],
        "final_truth": incumbent_truth[-1],
        "n_queries": len(log),
        "simulated_seconds": oracle.seconds if knows_seconds else None,
        "search_slice": str(searched.slice),
        "truth_slice": str(truth_slice),
        "selected_on_truth": searched.slice == truth_slice,
        "oracle_seed": RANDOM if seed == RANDOM else searched.check_seed(seed),
        "truth_seed": truth_seed,
    }


PROTOCOL = BlackBox()
