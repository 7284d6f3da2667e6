"""What alpha and discretisation say of the operations of some edges: DARTS-PT figures 1 and 7."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.benchmark import Benchmark
from harness.record import Record
from harness.stats import spearman
from reports.card import card_of
from reports.darts_edges import drawn
from reports.figures import Plot, Readings, two_readings
from reports.items import Artefact, Item
from reports.probes import Probe, probes, rule
from reports.stand_in import StandIn, notes, stand_in_item, suites_in_words
from reports.tables import Cell, Column, ResultTable, Row
from reports.verdict import Measured

WEIGHT, ACCURACY = "Softmax weight of alpha", "Accuracy once discretised (%)"
COLUMNS = (Column("", "softmax weight", 3), Column("", "accuracy once discretised"))
Searches = Mapping[StandIn, int]  # Runs, and how many edges of each are shown.


def strength_bars_item(name: str, title: str, of_space: str, searches: Searches) -> Item:
    """A panel an edge, with all its operations."""

    def measure(item: Item, benchmark: Benchmark, records: Sequence[Record]) -> Artefact:
        return _artefact(item, benchmark, searches, records)

    return stand_in_item(
        name,
        title,
        f"trained supernets of {of_space}, tuned anew for every operation of an edge",
        of_space,
        list(searches),
        measure,
    )


def _artefact(
    item: Item, benchmark: Benchmark, searches: Searches, records: Sequence[Record]
) -> Artefact:
    shown = {search: search.done(records) for search in searches}
    done = [record for own in shown.values() for record in own]
    found = [
        probe
        for search, n_edges in searches.items()
        for record in shown[search]
        for probe in probes(record)[:n_edges]
    ]
    absent = [
        Row(f"{search.label}: not run", (Cell(reason=problem),) * len(COLUMNS))
        for search in searches
        if (problem := search.problem(records)) is not None
    ]
    rows = [row for probe in found for row in _rows(probe)]
    return Artefact(
        tables=(ResultTable(item.id, item.title, COLUMNS, (*rows, *absent), row_header="Edge"),),
        card=card_of(
            benchmark,
            datasets=(),
            roles=(),
            seeds="of a supernet, as the rows say",
            selection="edges drawn at random; of each, the operation of the largest weight and that"
            " of the highest accuracy once discretised",
            recipe=suites_in_words(list(searches), records),
            n="one number an operation",
        ),
        plots=(_plot(found),) if found else (),
        footnotes=(
            *map(_in_words, found),
            *([rule(done)] if done else []),
            *notes(list(searches), records),
        ),
    )


def _rows(probe: Probe) -> list[Row]:
    cells = zip(probe.names, probe.weights, probe.accuracies, strict=True)
    return [
        Row(
            f"seed {probe.seed}, {probe.edge}: {name}",
            (Cell(Measured(float(weight), n=1)), Cell(Measured(float(accuracy), n=1, unit="%"))),
        )
        for name, weight, accuracy in cells
    ]


def _plot(found: Sequence[Probe]) -> Plot:
    panels = [
        Readings(f"Seed {p.seed}\n{drawn(p.edge)}", p.names, p.weights, p.accuracies) for p in found
    ]
    return two_readings(
        panels,
        caption="Softmax weight of alpha (bars, left) and accuracy of the supernet once an edge is"
        " that operation alone and the rest was tuned (diamonds, right; the axis does not start at"
        f" 0), for every operation of {len(found)} random edges.",
        heights_label=WEIGHT,
        levels_label=ACCURACY,
    )


def _in_words(probe: Probe) -> str:
    agree = "too" if probe.by_alpha == probe.by_strength else f"that of {probe.by_strength}"
    correlation = spearman(probe.weights, probe.accuracies)
    return (
        f"Seed {probe.seed}, {probe.edge}: the largest weight is that of {probe.by_alpha}, the"
        f" highest accuracy {agree}; Spearman's correlation of weight and accuracy over"
        f" {len(probe.names)} operations is {correlation:.2f}."
    )
