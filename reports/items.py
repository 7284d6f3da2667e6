"""What can be asked for: every table and figure of the papers, made now or waiting for a reason."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness import no_table, registry
from harness.errors import unknown
from reports.published import PublishedValue, published

if TYPE_CHECKING:
    from harness.benchmark import Benchmark
    from harness.record import Record, RunSpec
    from reports.card import MetricCard
    from reports.figures import Plot
    from reports.tables import ResultTable

TABLE, FIGURE, TEXT = "table", "figure", "text"
ALL = "all"


@dataclass(frozen=True)
class Artefact:
    """What an item is made into: the first table is in the paper's layout."""

    tables: tuple[ResultTable, ...]
    card: MetricCard
    plots: tuple[Plot, ...] = ()
    footnotes: tuple[str, ...] = ()


def no_problem(benchmark: Benchmark) -> str | None:
    """For items that any benchmark of their space can answer."""
    return None


def no_runs(benchmark: Benchmark) -> list[RunSpec]:
    """For items that only look values up."""
    return []


@dataclass(frozen=True)
class Item:
    """One table, figure or number in the text of a paper.

    id: such as "balenas:T1". needs: what it is made from, in words. waits_for: why it cannot be
    made yet, in words for a user. space: of the benchmark that it needs; None: it needs none.
    unproven: what of it has never been run at the paper's scale; empty if nothing. benchmark: the
    one that it is about, where it is about one; it is made on another only if that is asked for.
    preferred: names of the stores that the paper used, where there are several of the space.
    tells_skips: whether it is made without the runs that were skipped and says why.
    without_table: whether its runs alone are worth making where no benchmark of the space is here.
    problem, requests, measure: behind `benchmark_problem`, `specs` and `build`.
    """

    id: str
    title: str
    kind: str
    needs: str
    waits_for: str | None = None
    space: str | None = None
    problem: Callable[[Benchmark], str | None] = no_problem
    requests: Callable[[Benchmark], list[RunSpec]] = no_runs
    measure: Callable[[Item, Benchmark | None, Sequence[Record]], Artefact] | None = None
    unproven: str = ""
    benchmark: str | None = None
    preferred: tuple[str, ...] = ()
    tells_skips: bool = False
    without_table: bool = False

    def __post_init__(self) -> None:
        if (self.measure is None) == (self.waits_for is None):
            raise ValueError(f"{self.id} must either be measured or wait for something")

    @property
    def paper(self) -> str:
        return self.id.partition(":")[0]

    def published(self) -> tuple[PublishedValue, ...]:
        """The numbers that the paper prints in this table or text; none for a figure."""
        if self.kind == FIGURE:
            return ()
        name = self.id.partition(":")[2]
        return published(self.paper, name.removeprefix("T"))

    def benchmark_problem(self, benchmark: Benchmark) -> str | None:
        """Why this benchmark cannot answer the item, or None. Reads no results."""
        if self.space is not None and benchmark.space.name != self.space:
            return f"{benchmark.name} holds archs of {benchmark.space.name}, not of {self.space}"
        if no_table.is_name(benchmark.name) and not self.without_table:
            return f"{benchmark.name} holds nothing to make it from"
        return self.problem(benchmark)

    def specs(self, benchmark: Benchmark | None) -> list[RunSpec]:
        """The runs that must be done before `build`."""
        return self.requests(benchmark) if benchmark is not None else []

    def build(self, benchmark: Benchmark | None, records: Sequence[Record]) -> Artefact:
        """The finished item; records: one for every one of `specs`, in order."""
        if self.measure is None:
            raise ValueError(f"{self.id} cannot be made: {self.waits_for}")
        return self.measure(self, benchmark, records)


@dataclass(frozen=True)
class Paper:
    """A paper with all its tables and figures in reading order."""

    name: str
    title: str
    citation: str
    items: tuple[Item, ...]


def papers() -> list[Paper]:
    """All papers, shipped and installed."""
    return [registry.get("paper", name).offer for name in registry.names("paper")]


def all_items() -> dict[str, Item]:
    """Every item by its id."""
    return {item.id: item for paper in papers() for item in paper.items}


def select(asked: Sequence[str]) -> list[Item]:
    """The items that were asked for, each once: ids, names of papers, or "all".

    Raises: UnknownName with the nearest name.
    """
    known = all_items()
    of_paper = {paper.name: [item.id for item in paper.items] for paper in papers()}
    groups = {ALL: list(known), **of_paper, **{name: [name] for name in known}}
    chosen: dict[str, Item] = {}
    for name in asked:
        if name not in groups:
            raise unknown("item", name, groups, "See nas-harness list items.")
        chosen.update({held: known[held] for held in groups[name]})
    return list(chosen.values())


def waiting(name: str, title: str, kind: str, needs: str, waits_for: str) -> Item:
    """An item that cannot be made yet."""
    return Item(name, title, kind, needs, waits_for=waits_for)
