"""Rows of NAS-Bench-201 tables that are searched without training, where torch is installed."""

from __future__ import annotations

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


@dataclass(frozen=True)
class Search:
    """The searches of one row: a training-free method, its options and how many seeds."""

    method: str
    n_seeds: int
    options: Mapping[str, Any] = field(default_factory=dict)

    def specs(self, benchmark: Benchmark) -> list[RunSpec]:
        """One run a seed: searched on the first data set, looked up on all; none without torch."""
        if find_spec("torch") is None:
            return []
        (dataset, *_) = nb201.datasets(benchmark).values()
        roles = benchmark.roles[dataset]
        setting = {
            "dataset": dataset,
            "truth_seed": nb201.seed_of(benchmark, roles.truth),
            "search_seed": nb201.seed_of(benchmark, roles.search) if roles.search else None,
            **self.options,
        }
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
            and all(record.identity["setting"].get(k) == v for k, v in self.options.items())
        ]

    def problem(self, records: Sequence[Record]) -> str | None:
        """Why there is nothing to show: no torch, or the reason of a run that was skipped."""
        own = self.records(records)
        if not own:
            return NO_TORCH if find_spec("torch") is None else NOT_ASKED
        return next((record.reason for record in own if record.status != DONE), None)

    def measured(self, records: Sequence[Record], dataset: str, role: str) -> Measured:
        """Mean and deviation over the seeds of what the chosen cells reach."""
        values = self.values(records, dataset, role)
        return Measured(float(values.mean()), float(values.std(ddof=1)), len(values), "%")

    def values(
        self, records: Sequence[Record], dataset: str, role: str
    ) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """(n,) in percent, of the cells that the benchmark holds."""
        found = [record.result["values"][dataset][role] for record in self.records(records)]
        return np.array([value for value in found if value is not None])

    def seconds(self, records: Sequence[Record]) -> Measured:
        """Wall-clock seconds of a search on the machine that ran it."""
        found = np.array([record.result["search_seconds"] for record in self.records(records)])
        return Measured(float(found.mean()), float(found.std(ddof=1)), len(found), "s")


def best_of_random(n_samples: int) -> Search:
    """The best of some random cells by SynFlow, which looks at no image; the seeds are ours."""
    options = {"proxy": "synflow", "n_samples": n_samples, "images": "gaussian"}
    return Search("zerocost_nas", 10, options)
