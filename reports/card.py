"""The metric card: what stands under every table so that its numbers can be made again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.benchmark import Benchmark

SHOWN_HEX_DIGITS = 12
LOOK_UP = "look-up"


@dataclass(frozen=True)
class MetricCard:
    """Benchmark, data, seeds and rules of one item.

    slices: (what for, slice). recipe: "published/..." or "common/..." (a suite), or "look-up".
    n: what was counted, in words. commit: of this software, None where it was installed without.
    """

    benchmark: str
    sha256: str
    slices: tuple[tuple[str, str], ...]
    seeds: str
    selection: str
    recipe: str
    n: str
    commit: str | None
    budget: str = ""
    citation: str = ""

    def entries(self) -> list[tuple[str, str]]:
        """(term, description) of everything that is known, in reading order."""
        listed = [
            ("Benchmark", self.benchmark),
            ("Table SHA-256", self.sha256[:SHOWN_HEX_DIGITS]),
            *((f"Slice: {role}", f"`{at}`") for role, at in self.slices),
            ("Seeds", self.seeds),
            ("Selection rule", self.selection),
            ("Recipe", self.recipe),
            ("Budget", self.budget),
            ("n", self.n),
            ("Commit", (self.commit or "")[:SHOWN_HEX_DIGITS]),
            ("Benchmark's source", self.citation),
        ]
        return [(term, text) for term, text in listed if text]


def card_of(
    benchmark: Benchmark,
    *,
    datasets: Sequence[str],
    roles: Sequence[str],
    seeds: str,
    selection: str,
    n: str,
    recipe: str = LOOK_UP,
    budget: str = "",
    extra_slices: Sequence[tuple[str, str]] = (),
) -> MetricCard:
    """The card of an item that was measured on this benchmark, in these roles of these data."""
    from harness.engine import environment

    slices = [
        (f"{dataset}, {role}", str(at))
        for dataset in datasets
        for role in roles
        if (at := getattr(benchmark.roles[dataset], role)) is not None
    ]
    return MetricCard(
        benchmark=f"{benchmark.name} ({holds(benchmark)} of {benchmark.space.name})",
        sha256=benchmark.sha256,
        slices=(*slices, *extra_slices),
        seeds=seeds,
        selection=selection,
        recipe=recipe,
        budget=budget,
        n=n,
        commit=environment()["commit"],
        citation=benchmark.citation,
    )


def card_without_benchmark(what: str, *, n: str, citation: str = "") -> MetricCard:
    """The card of an item that no benchmark has a part in; what: where it comes from instead."""
    from harness.engine import environment

    return MetricCard(
        benchmark=f"none: {what}",
        sha256="",
        slices=(),
        seeds="none",
        selection="none",
        recipe=LOOK_UP,
        n=n,
        commit=environment()["commit"],
        citation=citation,
    )


def holds(benchmark: Benchmark) -> str:
    """How much of its space a benchmark holds, in words."""
    if benchmark.is_surrogate and not len(benchmark):
        return "a surrogate: any arch"
    if not len(benchmark):
        return "no archs"
    if len(benchmark) == benchmark.space.size:
        return f"all {len(benchmark):,} archs"
    return f"{len(benchmark):,} of {benchmark.space.size:,} archs"
