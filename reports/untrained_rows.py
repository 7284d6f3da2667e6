"""Rows of tables that are searched without training, where torch is installed."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

import numpy as np

from harness.benchmark import Benchmark
from harness.record import DONE, Record, RunSpec
from reports import nb201
from reports.verdict import Measured

PROTOCOL = "untrained"
NO_TORCH = "needs torch, which is not installed here: pip install '.[search]'"

NOT_ASKED = "was not run"
# What of a run's setting the benchmark decides; the rest are a search's options.
OF_THE_BENCHMARK = ("dataset", "truth_seed", "search_seed")


def no_torch() -> str | None:
    """Why nothing can be searched here, or None."""
    return NO_TORCH if find_spec("torch") is None else None


@dataclass(frozen=True)
class Search:
    """The searches of one row: a training-free method, its options and how many seeds.

    dataset: what is searched on; None for the benchmark's first. memory_gb: what one needs.
    """

    method: str
    n_seeds: int
    options: Mapping[str, Any] = field(default_factory=dict)
    dataset: str | None = None
    memory_gb: float = 0.0

    def specs(self, benchmark: Benchmark) -> list[RunSpec]:
        """One run a seed: searched on one data set, looked up on all; none where none can run."""
        if self._cannot_run():
            return []
        dataset = self.dataset or next(iter(nb201.datasets(benchmark).values()))
        setting = {"dataset": dataset, **_table_seeds(benchmark, dataset), **self.options}
        return [
            RunSpec(PROTOCOL, benchmark.name, seed, self.method, setting)
            for seed in range(self.n_seeds)
        ]

    def records(self, records: Sequence[Record]) -> list[Record]:
        """Those of the runs that `specs` asked for."""
        return [
            record
            for record in records
            if record.identity["method"] == self.method
            and self._is_mine(record.identity["setting"])
        ]

    def _cannot_run(self) -> str | None:
        return no_torch() or _too_little_memory(self.memory_gb)

    def _is_mine(self, setting: Mapping[str, Any]) -> bool:
        options = {k: v for k, v in setting.items() if k not in OF_THE_BENCHMARK}
        return options == self.options and self.dataset in (None, setting["dataset"])

    def problem(self, records: Sequence[Record]) -> str | None:
        """Why there is nothing to show: no torch or memory, or why a run was skipped."""
        own = self.records(records)
        if not own:
            return self._cannot_run() or NOT_ASKED
        return next((record.reason for record in own if record.status != DONE), None)

    def measured(self, records: Sequence[Record], dataset: str, role: str) -> Measured:
        """Mean and deviation over the seeds of what the chosen cells reach."""
        return over_runs(self.values(records, dataset, role), "%")

    def values(
        self, records: Sequence[Record], dataset: str, role: str
    ) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """(n,) in percent, of the cells that the benchmark holds."""
        looked_up = [record.result["values"].get(dataset, {}) for record in self.records(records)]
        found = [values[role] for values in looked_up if values.get(role) is not None]
        return np.array(found, dtype=np.float64)

    def seconds(self, records: Sequence[Record]) -> Measured:
        """Wall-clock seconds of a search on the machine that ran it."""
        found = [record.result["search_seconds"] for record in self.records(records)]
        return over_runs(np.array(found, dtype=np.float64), "s")


def _too_little_memory(needed_gb: float) -> str | None:
    """A reason where a search would end in the system killing it; nothing where that is unknown."""
    try:
        here_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    except (AttributeError, ValueError):
        return None
    if here_gb >= needed_gb:
        return None
    return f"a search needs {needed_gb:.0f} GB of memory, more than the {here_gb:.0f} GB here"


def over_runs(values: np.ndarray[tuple[int], np.dtype[np.float64]], unit: str) -> Measured:
    """Mean and deviation (ddof=1); NaN of nothing, no deviation of one."""
    n = len(values)
    mean = float(values.mean()) if n else float("nan")
    return Measured(mean, float(values.std(ddof=1)) if n > 1 else None, n, unit)


def _table_seeds(benchmark: Benchmark, dataset: str) -> dict[str, Any]:
    """Which seeds of the table a run asks for; nothing where it says nothing of the data set."""
    roles = benchmark.roles.get(dataset)
    if roles is None:
        return {}
    return {
        "truth_seed": nb201.seed_of(benchmark, roles.truth),
        "search_seed": nb201.seed_of(benchmark, roles.search) if roles.search else None,
    }


def best_of_random(n_samples: int) -> Search:
    """The best of some random cells by SynFlow, which looks at no image; the seeds are ours."""
    options = {"proxy": "synflow", "n_samples": n_samples, "images": "gaussian"}
    return Search("zerocost_nas", 10, options)
