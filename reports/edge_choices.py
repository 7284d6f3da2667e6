"""The operation of every edge by alpha and by discretisation: DARTS-PT figure 2."""

from __future__ import annotations

from collections.abc import Sequence

from harness.benchmark import Benchmark
from harness.record import Record
from reports.card import card_of
from reports.cell_drawing import draw
from reports.darts_edges import whole_cell
from reports.figures import Plot
from reports.items import Artefact, Item
from reports.probes import Probe, probes, rule
from reports.stand_in import StandIn, notes, stand_in_item, suites_in_words
from reports.tables import Cell, Column, ResultTable, Row
from reports.verdict import Measured

PAPER = "The paper: by alpha 12 of 14 are skip_connect, by strength half are sep_conv_3x3."


def edge_choices_item(name: str, title: str, of_space: str, search: StandIn) -> Item:
    """Two cells with all their edges, and both numbers of every operation."""

    def measure(item: Item, benchmark: Benchmark, records: Sequence[Record]) -> Artefact:
        return _artefact(item, benchmark, search, records)

    return stand_in_item(
        name,
        title,
        f"a trained supernet of {of_space}, tuned anew for every operation of every edge",
        of_space,
        [search],
        measure,
    )


def _artefact(
    item: Item, benchmark: Benchmark, search: StandIn, records: Sequence[Record]
) -> Artefact:
    done = search.done(records)
    found = probes(done[0]) if done else []
    names = found[0].names if found else ()
    columns = tuple(
        Column(name, what, digits)
        for what, digits in (("softmax weight", 3), ("accuracy once discretised", 2))
        for name in names
    )
    absent = Row(search.label, (Cell(reason=search.problem(records) or ""),))
    rows = tuple(_row(probe) for probe in found)
    return Artefact(
        tables=(
            ResultTable(item.id, item.title, columns, rows, row_header="Edge")
            if found
            else ResultTable(item.id, item.title, (Column("", "softmax weight"),), (absent,)),
        ),
        card=card_of(
            benchmark,
            datasets=(),
            roles=(),
            seeds=f"of the supernet, {done[0].identity['seed']}" if done else "none",
            selection="of every edge, the operation of the largest weight, and that of the highest"
            " accuracy once discretised",
            recipe=suites_in_words([search], records),
            n="one supernet, all edges of its normal cell",
        ),
        plots=(_plot(found),) if found else (),
        footnotes=(
            *([_counts(found), PAPER, rule(done)] if found else []),
            *notes([search], records),
        ),
    )


def _row(probe: Probe) -> Row:
    weights = [Cell(Measured(float(weight), n=1)) for weight in probe.weights]
    accuracies = [Cell(Measured(float(value), n=1, unit="%")) for value in probe.accuracies]
    return Row(probe.edge, (*weights, *accuracies))


def _plot(found: Sequence[Probe]) -> Plot:
    return draw(
        [
            whole_cell("(a) Largest alpha", [probe.by_alpha for probe in found]),
            whole_cell("(b) Highest accuracy once discretised", [p.by_strength for p in found]),
        ],
        caption="The operation of each edge of the normal cell with the largest parameter, and the"
        " one that the supernet is best with when the edge is that operation alone.",
    )


def _counts(found: Sequence[Probe]) -> str:
    by_alpha = [probe.by_alpha for probe in found]
    by_strength = [probe.by_strength for probe in found]
    of_each = [
        f"{by_alpha.count(name)} by alpha and {by_strength.count(name)} by strength are {name}"
        for name in found[0].names
    ]
    differ = sum(a != b for a, b in zip(by_alpha, by_strength, strict=True))
    return f"Of {len(found)} edges, {', '.join(of_each)}; {differ} differ."
