"""Drawings of the cells that searches in the DARTS space and S1 to S4 end with: DARTS-PT's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple, cast

from harness.arch import Arch
from harness.benchmark import Benchmark
from harness.errors import HarnessError
from harness.record import Record
from harness.spaces import space
from harness.spaces.darts import CellType, DartsSpace
from reports import nb201, reasons
from reports.card import card_of
from reports.cell_drawing import draw
from reports.cell_graphs import graphs
from reports.darts_edges import CONVOLUTION
from reports.figures import Plot
from reports.found_cells import Quantity, of_darts
from reports.items import Artefact, Item
from reports.stand_in import StandIn, notes, stand_in_item, suites_in_words
from reports.tables import Cell, Column, ResultTable, Row
from reports.verdict import Measured

RULE = (
    "Convolutions are counted among the 8 operations of a cell. Parameters are those of the network"
    " of 20 cells and 36 channels that DARTS trains on CIFAR-10, without the auxiliary head."
)


class Shown(NamedTuple):
    """A cell of one search. by_argmax: that of the largest parameters, not the selected one."""

    label: str
    search: StandIn
    by_argmax: bool = False


Drawings = Sequence[Sequence[Shown]]  # One a figure; its cells are below one another.


def selected_cells_item(
    name: str,
    title: str,
    of_space: str,
    drawings: Drawings,
    *,
    only_normal: bool = False,
    footnotes: Sequence[str] = (),
    has_tables: bool = False,
) -> Item:
    """Drawings of what was found, and what it is made of.

    only_normal: without the reduction cells. has_tables: whether accuracies are looked up where a
    benchmark of the space is here.
    """
    shown = [cell for drawing in drawings for cell in drawing]

    def measure(item: Item, benchmark: Benchmark, records: Sequence[Record]) -> Artefact:
        searches = list(dict.fromkeys(cell.search for cell in shown))
        plots = (_plot(drawing, records, only_normal) for drawing in drawings)
        return Artefact(
            tables=(_table(item, benchmark, shown, records, has_tables),),
            card=card_of(
                benchmark,
                datasets=benchmark.datasets if benchmark.roles else (),
                roles=("truth",),
                seeds="of a search, as the rows say",
                selection="perturbation; that of the largest parameters where a row says so",
                recipe=suites_in_words(searches, records),
                n="one search a cell; none was trained afterwards",
            ),
            plots=tuple(plot for plot in plots if plot is not None),
            footnotes=(*footnotes, RULE, *_texts(shown, records), *notes(searches, records)),
        )

    return stand_in_item(
        name,
        title,
        f"supernet searches in {of_space}",
        of_space,
        list(dict.fromkeys(cell.search for cell in shown)),
        measure,
        has_tables=has_tables,
    )


def _n_convolutions(cell: CellType) -> Quantity:
    def of(arch: Arch) -> float:
        found = cast(DartsSpace, space(arch.space)).genotype(arch)
        pairs = found.normal if cell == "normal" else found.reduce
        return float(sum(CONVOLUTION in op for op, _ in pairs))

    name = "normal" if cell == "normal" else "reduction"
    return Quantity(Column("convolutions of 8", f"{name} cell", 0), "", of)


QUANTITIES = (_n_convolutions("normal"), _n_convolutions("reduce"), of_darts(0)[1])
SECONDS = Column("", "search (s)", 0)


def _found(cell: Shown, records: Sequence[Record]) -> tuple[Record, Arch] | None:
    done = cell.search.done(records)
    if not done:
        return None
    record = done[0]
    text = record.result["track"][-1]["arch"] if cell.by_argmax else record.result["arch"]
    return record, space(record.identity["space"]).parse(text)


def _table(
    item: Item,
    benchmark: Benchmark,
    shown: Sequence[Shown],
    records: Sequence[Record],
    has_tables: bool,
) -> ResultTable:
    columns = [quantity.column for quantity in QUANTITIES] + [SECONDS]
    if has_tables:
        columns.append(
            Column("accuracy", f"by {benchmark.name}" if benchmark.roles else "by a table")
        )
    rows = []
    for cell in shown:
        found = _found(cell, records)
        if found is None:
            reason = cell.search.problem(records) or ""
            rows.append(Row(cell.label, (Cell(reason=reason),) * len(columns)))
            continue
        record, arch = found
        cells = [Cell(Measured(q.of(arch), None, 1, q.unit)) for q in QUANTITIES]
        cells.append(Cell(Measured(_seconds(record, cell.by_argmax), None, 1, "s")))
        if has_tables:
            cells.append(_looked_up(benchmark, arch))
        rows.append(Row(f"{cell.label}, seed {record.identity['seed']}", tuple(cells)))
    return ResultTable(item.id, item.title, tuple(columns), tuple(rows), row_header="Search")


def _seconds(record: Record, by_argmax: bool) -> float:
    """Wall clock; the largest parameters take none to select."""
    spent = record.result["selection_seconds"] if by_argmax else 0.0
    return float(record.result["search_seconds"] - spent)


def _looked_up(benchmark: Benchmark, arch: Arch) -> Cell:
    """What a benchmark of a space with the same operations and more says of a cell."""
    if not benchmark.roles:
        return Cell(reason=reasons.no_benchmark(benchmark.space.name))
    at = next(iter(benchmark.roles.values())).truth
    try:
        theirs = cast(DartsSpace, benchmark.space).of_genotype(
            cast(DartsSpace, space(arch.space)).genotype(arch)
        )
        value = benchmark.query(theirs, at, seed=nb201.seed_of(benchmark, at)).value
    except HarnessError as error:
        return Cell(reason=str(error))
    return Cell(Measured(value, None, 1, "%"), note=f"{at}")


def _plot(drawing: Sequence[Shown], records: Sequence[Record], only_normal: bool) -> Plot | None:
    cells, names = [], []
    for cell in drawing:
        found = _found(cell, records)
        if found is None:
            continue
        name = f"{cell.label} on {found[0].identity['setting']['dataset']}"
        own = graphs(found[1])
        names.append(name)
        cells += [
            replace(graph, title=f"{name}: {graph.title.lower()}")
            for graph in (own[:1] if only_normal else own)
        ]
    return draw(cells, caption=f"Found here by {' and by '.join(names)}.") if cells else None


def _texts(shown: Sequence[Shown], records: Sequence[Record]) -> list[str]:
    """Every cell as the text of its space."""
    texts = []
    for cell in shown:
        if (found := _found(cell, records)) is not None:
            texts.append(f"{cell.label}: `{space(found[1].space).format(found[1])}`.")
    return texts
