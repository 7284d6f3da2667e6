"""Searches in spaces without a table: the paper's where they can run, else small ones instead.

The small ones look at mini201's images, by small networks, so that a processor can do them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

from harness import no_table
from harness.benchmark import Benchmark
from harness.config import read_labelled
from harness.files import canonical_json
from harness.record import DONE, Record, RunSpec
from reports.items import FIGURE, Artefact, Item
from reports.row_search import RowSearch, no_torch, specs_of
from reports.supernet_rows import MINI_ONLY

NEVER = "its searches were never run"
Measure = Callable[[Item, Benchmark, Sequence[Record]], Artefact]


@final
@dataclass(frozen=True)
class StandIn(RowSearch):
    """The runs that two suites call by one label.

    published: the suite with the paper's settings; its runs count where all of them were done.
    small: the suite whose runs stand in for them; None where nothing does. dataset: which of the
    published runs are meant. seeds: which runs of either are, None for all.
    """

    label: str
    published: str
    small: str | None
    dataset: str = "cifar10"
    seeds: tuple[int, ...] | None = None

    def specs(self, benchmark: Benchmark) -> list[RunSpec]:
        """Of both suites, on benchmarks that hold nothing; without torch, those that are packed."""
        return self.possible([*self._of_paper, *self._instead])

    def records(self, records: Sequence[Record]) -> list[Record]:
        """Those of the paper's runs if all were done or there are no others, else the others."""
        own = _of(records, self._of_paper)
        if self.is_papers(records) or not self._instead:
            return own
        return _of(records, self._instead)

    def is_papers(self, records: Sequence[Record]) -> bool:
        """Whether the paper's runs were all done."""
        own = _of(records, self._of_paper)
        return len(own) == len(self._of_paper) and all(r.status == DONE for r in own)

    def why_not(self, records: Sequence[Record]) -> str | None:
        """Why a run of the paper was skipped or failed; None if none was."""
        own = _of(records, self._of_paper)
        return next((record.reason for record in own if record.status != DONE), None)

    def cannot_run(self) -> str | None:
        return no_torch()

    @cached_property
    def _of_paper(self) -> list[RunSpec]:
        specs = read_labelled(self.published)[self.label]
        return self._meant(s for s in specs if s.setting["dataset"] == self.dataset)

    @cached_property
    def _instead(self) -> list[RunSpec]:
        return self._meant(read_labelled(self.small)[self.label]) if self.small else []

    def _meant(self, specs: Iterable[RunSpec]) -> list[RunSpec]:
        return [spec for spec in specs if self.seeds is None or spec.seed in self.seeds]


def _of(records: Sequence[Record], specs: Sequence[RunSpec]) -> list[Record]:
    asked = set(map(_of_spec, specs))
    return [r for r in records if _key(r.identity) in asked]


def _of_spec(spec: RunSpec) -> bytes:
    return _key(vars(spec))


def _key(asked: Mapping[str, Any]) -> bytes:
    """What a run was asked, whatever the versions of its plug-ins."""
    return canonical_json([asked[name] for name in ("benchmark", "method", "setting", "seed")])


def stand_in_item(
    name: str,
    title: str,
    needs: str,
    space: str,
    searches: Sequence[StandIn],
    measure: Measure,
    *,
    has_tables: bool = False,
) -> Item:
    """A figure of searches in a space; where none has a stand-in, it needs them all.

    has_tables: whether it looks something up where a benchmark of the space is here.
    """
    has_stand_in = any(search.small for search in searches)

    def requests(benchmark: Benchmark) -> list[RunSpec]:
        return specs_of(searches, benchmark)

    def build(item: Item, benchmark: Benchmark | None, records: Sequence[Record]) -> Artefact:
        assert benchmark is not None
        return measure(item, benchmark, records)

    return Item(
        name,
        title,
        FIGURE,
        needs,
        space=space,
        problem=lambda benchmark: None if requests(benchmark) else no_torch(),
        requests=requests,
        measure=build,
        unproven=MINI_ONLY if has_stand_in else NEVER,
        benchmark=None if has_tables else no_table.name_of(space),
        tells_skips=has_stand_in,
        without_table=True,
    )


def suites_in_words(searches: Sequence[StandIn], records: Sequence[Record]) -> str:
    """Which suites the records that are shown come from."""
    found = [s.published if s.is_papers(records) or not s.small else s.small for s in searches]
    return ", ".join(dict.fromkeys(found))


def notes(searches: Sequence[StandIn], records: Sequence[Record]) -> list[str]:
    """What was searched on, and why it is not what the paper searched on."""
    shown = [record for search in searches for record in search.done(records)]
    instead = [s for s in searches if s.small and not s.is_papers(records)]
    reasons = dict.fromkeys(reason for s in instead if (reason := s.why_not(records)))
    return [
        *_in_words(shown),
        *(f"These settings are ours, in place of the paper's search: {r}" for r in reasons),
    ]


def _in_words(records: Sequence[Record]) -> list[str]:
    """One sentence for all that differ in their space and their seed alone."""
    spaces: dict[tuple[str, str], list[str]] = {}
    for record in records:
        setting, recipe = record.identity["setting"], record.result["recipe"]
        network = ", ".join(f"{name} {value}" for name, value in setting.get("network", {}).items())
        search = (
            f"Searched on {setting['dataset']}, {recipe['epochs']} epochs of batches of"
            f" {recipe['batch_size']}, rates from {recipe['lr']:g} for weights and"
            f" {recipe['arch_lr']:g} for architecture parameters"
        )
        held = spaces.setdefault((search, network or "the settings of its paper"), [])
        held.append(record.identity["space"])
    return [
        f"{search}, by the supernet of {', '.join(dict.fromkeys(held))} with {network}."
        for (search, network), held in spaces.items()
    ]
