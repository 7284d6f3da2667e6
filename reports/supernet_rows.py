"""Rows of tables that are supernet searches: the runs of a suite that have the row's label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, final

from harness.benchmark import Benchmark
from harness.config import read_labelled
from harness.files import canonical_json
from harness.record import Record, RunSpec
from reports.card import LOOK_UP
from reports.nb201 import MINI
from reports.row_search import OF_THE_BENCHMARK, RowSearch, no_torch, table_seeds

COMMON = "common/mini201"
MINI_ONLY = "supernets were trained on mini201's images at most, not at the paper's size"


@final
@dataclass(frozen=True)
class Searched(RowSearch):
    """The runs that a suite calls by a label.

    published: the suite with the paper's settings, for benchmarks of its space. common: the suite
    for mini201, on which the paper's settings make no sense. each: whether every data set has
    searches of its own; else one data set is searched on and the cell looked up on all.
    """

    label: str
    published: str
    common: str = COMMON
    each: bool = False

    def specs(self, benchmark: Benchmark) -> list[RunSpec]:
        """The suite's, with the seeds that the table holds; without torch, those that are packed.

        Data sets that the benchmark does not have are left out.
        """
        if benchmark.name == MINI:
            specs = read_labelled(self.common)[self.label]
        else:
            specs = [
                _seeded(spec, benchmark)
                for spec in read_labelled(self.published, benchmark=benchmark.name)[self.label]
                if spec.setting["dataset"] in benchmark.roles
            ]
        return self.possible(specs)

    def records(self, records: Sequence[Record]) -> list[Record]:
        return [
            record
            for record in records
            if _options(record.identity["method"], record.identity["setting"]) in self._asked
        ]

    def cannot_run(self) -> str | None:
        return no_torch()

    def of_dataset(self, records: Sequence[Record], dataset: str) -> list[Record]:
        own = self.records(records)
        return [r for r in own if not self.each or r.identity["setting"]["dataset"] == dataset]

    @cached_property
    def _asked(self) -> set[bytes]:
        """Method and options of every run, on whatever benchmark."""
        return {
            _options(spec.method, spec.setting)
            for suite in (self.common, self.published)
            for spec in read_labelled(suite).get(self.label, [])
        }


def recipes_in_words(searches: Mapping[str, RowSearch], benchmark: Benchmark) -> str:
    """The suites that the supernet searches of an item are taken from."""
    own = [search for search in searches.values() if isinstance(search, Searched)]
    suites = [s.common if benchmark.name == MINI else s.published for s in own]
    return ", ".join(dict.fromkeys(suites)) or LOOK_UP


def _seeded(spec: RunSpec, benchmark: Benchmark) -> RunSpec:
    seeds = table_seeds(benchmark, spec.setting["dataset"])
    return replace(spec, setting={**spec.setting, **seeds})


def _options(method: str | None, setting: Any) -> bytes:
    options = {name: held for name, held in setting.items() if name not in OF_THE_BENCHMARK}
    return canonical_json([method, options])
