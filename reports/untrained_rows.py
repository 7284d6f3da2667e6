"""Rows of tables that are searched without training, where torch is installed."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final

from harness.benchmark import Benchmark
from harness.record import Record, RunSpec
from reports import nb201
from reports.row_search import OF_THE_BENCHMARK, RowSearch, no_torch, table_seeds

PROTOCOL = "untrained"


@final
@dataclass(frozen=True)
class Search(RowSearch):
    """A training-free method, its options and how many seeds.

    dataset: what is searched on; None for the benchmark's first. memory_gb: what one needs.
    """

    method: str
    n_seeds: int
    options: Mapping[str, Any] = field(default_factory=dict)
    dataset: str | None = None
    memory_gb: float = 0.0

    def specs(self, benchmark: Benchmark) -> list[RunSpec]:
        """One run a seed: searched on one data set, looked up on all.

        Those that are packed where none can run.
        """
        dataset = self.dataset or next(iter(nb201.datasets(benchmark).values()))
        setting = {"dataset": dataset, **table_seeds(benchmark, dataset), **self.options}
        specs = [
            RunSpec(PROTOCOL, benchmark.name, seed, self.method, setting)
            for seed in range(self.n_seeds)
        ]
        return self.possible(specs)

    def records(self, records: Sequence[Record]) -> list[Record]:
        return [
            record
            for record in records
            if record.identity["method"] == self.method
            and self._is_mine(record.identity["setting"])
        ]

    def cannot_run(self) -> str | None:
        """No torch, or too little memory."""
        return no_torch() or _too_little_memory(self.memory_gb)

    def _is_mine(self, setting: Mapping[str, Any]) -> bool:
        options = {k: v for k, v in setting.items() if k not in OF_THE_BENCHMARK}
        return options == self.options and self.dataset in (None, setting["dataset"])


def _too_little_memory(needed_gb: float) -> str | None:
    """A reason where a search would end in the system killing it; nothing where that is unknown."""
    try:
        here_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    except (AttributeError, ValueError):
        return None
    if here_gb >= needed_gb:
        return None
    return f"a search needs {needed_gb:.0f} GB of memory, more than the {here_gb:.0f} GB here"


def best_of_random(n_samples: int) -> Search:
    """The best of some random cells by SynFlow, which looks at no image; the seeds are ours."""
    options = {"proxy": "synflow", "n_samples": n_samples, "images": "gaussian"}
    return Search("zerocost_nas", 10, options)
