"""The searches behind one row of a table: which runs they are, and what they found."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.benchmark import Benchmark
from harness.engine import is_packed
from harness.files import canonical_json
from harness.record import DONE, FAILED, Record, RunSpec
from reports import nb201
from reports.verdict import Measured

NO_TORCH = "needs torch, which is not installed here: pip install '.[search]'"
NOT_ASKED = "was not run"
# What of a run's setting the benchmark decides; the rest are a search's options.
OF_THE_BENCHMARK = ("dataset", "truth_seed", "search_seed")


def no_torch() -> str | None:
    """Why nothing can be searched here, or None."""
    return NO_TORCH if find_spec("torch") is None else None


class RowSearch(ABC):
    """A number of runs that differ in their seeds, and in their data set where each has its own."""

    @abstractmethod
    def specs(self, benchmark: Benchmark) -> list[RunSpec]:
        """The runs; none where none can run."""

    @abstractmethod
    def records(self, records: Sequence[Record]) -> list[Record]:
        """Those of the runs that `specs` asked for."""

    @abstractmethod
    def cannot_run(self) -> str | None:
        """Why `specs` asks for nothing here, or None."""

    def possible(self, specs: Sequence[RunSpec]) -> list[RunSpec]:
        """All of them where they can run, else those that are packed."""
        return [spec for spec in specs if is_packed(spec)] if self.cannot_run() else list(specs)

    def done(self, records: Sequence[Record]) -> list[Record]:
        """Those of the runs that were finished."""
        return [record for record in self.records(records) if record.status == DONE]

    def of_dataset(self, records: Sequence[Record], dataset: str) -> list[Record]:
        """Those of the runs that say something of a data set."""
        return self.records(records)

    def problem(self, records: Sequence[Record], dataset: str | None = None) -> str | None:
        """Why there is nothing to show, of one data set or of all; None if all runs were done.

        A row of which a run failed is not shown: what the others reach would flatter it.
        """
        own = self.records(records) if dataset is None else self.of_dataset(records, dataset)
        if not own:
            return self.cannot_run() or NOT_ASKED
        failed = [record for record in own if record.status == FAILED]
        if failed:
            return f"{len(failed)} of {len(own)} runs failed: {failed[0].reason}"
        return next((record.reason for record in own if record.status != DONE), None)

    def measured(self, records: Sequence[Record], dataset: str, role: str) -> Measured:
        """Mean and deviation over the seeds of what the chosen cells reach."""
        return over_runs(self.values(records, dataset, role), "%")

    def values(self, records: Sequence[Record], dataset: str, role: str) -> NDArray[np.float64]:
        """(n,) in percent, of the cells that the benchmark holds."""
        own = self.of_dataset(records, dataset)
        looked_up = [record.result["values"].get(dataset, {}) for record in own]
        found = [values[role] for values in looked_up if values.get(role) is not None]
        return np.array(found, dtype=np.float64)

    def seconds(self, records: Sequence[Record]) -> Measured:
        """Wall-clock seconds of a search on the machine that ran it."""
        found = [record.result["search_seconds"] for record in self.records(records)]
        return over_runs(np.array(found, dtype=np.float64), "s")


def specs_of(searches: Iterable[RowSearch], benchmark: Benchmark) -> list[RunSpec]:
    """The runs of several rows, each once: what counts for two rows must not count twice in one."""
    return distinct(spec for search in searches for spec in search.specs(benchmark))


def distinct(specs: Iterable[RunSpec]) -> list[RunSpec]:
    """Every run once, in their order."""
    return list({canonical_json(vars(spec)): spec for spec in specs}.values())


def over_runs(values: NDArray[np.float64], unit: str) -> Measured:
    """Mean and deviation (ddof=1); NaN of nothing, no deviation of one."""
    n = len(values)
    mean = float(values.mean()) if n else float("nan")
    return Measured(mean, float(values.std(ddof=1)) if n > 1 else None, n, unit)


def table_seeds(benchmark: Benchmark, dataset: str) -> dict[str, Any]:
    """Which seeds of the table a run asks for; nothing where it says nothing of the data set."""
    roles = benchmark.roles.get(dataset)
    if roles is None:
        return {}
    return {
        "truth_seed": nb201.seed_of(benchmark, roles.truth),
        "search_seed": nb201.seed_of(benchmark, roles.search) if roles.search else None,
    }
