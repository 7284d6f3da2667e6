"""Quantities of searches against the epoch: many figures of BaLeNAS and of the SoTL thesis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import ascii_lowercase

import numpy as np

from harness import no_table, store
from harness.benchmark import Benchmark
from harness.record import DONE, Record, RunSpec
from reports.candidates import best
from reports.card import MetricCard, card_of
from reports.epoch_quantities import Quantity, Values
from reports.figures import Curve, CurvePanel, by_epoch
from reports.found_cells import Quantity as OfCells
from reports.items import FIGURE, Artefact, Item
from reports.learnt_cells import COUNTS_NOTE, learnt_cells
from reports.nb201 import MINI, SPACE
from reports.row_search import RowSearch, distinct, no_torch, over_runs, specs_of
from reports.stand_in import StandIn, notes, suites_in_words
from reports.supernet_rows import MINI_ONLY, Searched, recipes_in_words
from reports.tables import Cell, Column, ResultTable, Row

# Spaces whose cells a benchmark of another space holds.
HELD_BY = {f"darts-s{number}": "darts" for number in (1, 2, 3, 4)}
MOST_DOTS = 20  # Ours: epochs from which on dots would run into one another.
WHEN = ("before the first epoch", "half-way", "after the last epoch")
TRACK_NOTE = (
    "After every epoch the cell is the one that the architecture parameters give then, as the"
    " search would end with; epoch 0 is before the first."
)


@dataclass(frozen=True)
class Panel:
    """One quantity of some searches in one space. searches: name of a curve -> its runs."""

    title: str
    quantity: Quantity
    space: str
    searches: Mapping[str, RowSearch]


@dataclass(frozen=True)
class Found:
    """What a panel shows, by the name of a curve.

    values: (n_runs, n_epochs + 1). reasons: why a curve is not shown. datasets: that were searched
    on.
    """

    values: Mapping[str, Values]
    reasons: Mapping[str, str]
    datasets: frozenset[str] = frozenset()


def epoch_curves_item(
    name: str,
    title: str,
    panels: Sequence[Panel],
    *,
    caption: str,
    footnotes: Sequence[str] = (),
    panels_a_row: int = 3,
    cells: Sequence[OfCells] = (),
) -> Item:
    """A figure with a panel a quantity and space, and its numbers at three epochs as a table.

    Panels that have nothing to show are left out, with the reason. The item is made on a benchmark
    of the first panel's space, the other panels on the best that is here, or on mini201 where there
    are no searches for the best. cells: what is told of the cells that searches in the first
    panel's space end with.
    """

    def requests(benchmark: Benchmark) -> list[RunSpec]:
        return distinct(
            spec
            for panel in panels
            for table in tables_of(panel.space, benchmark)
            for spec in specs_of(panel.searches.values(), table)
        )

    def build(item: Item, benchmark: Benchmark | None, records: Sequence[Record]) -> Artefact:
        assert benchmark is not None
        shown_on = [_first_held(panel, benchmark, records) for panel in panels]
        tables, found = [table for table, _ in shown_on], [held for _, held in shown_on]
        shown = [
            _panel(i, panels, found[i], table) for i, table in enumerate(tables) if found[i].values
        ]
        return Artefact(
            tables=(
                _table(item, panels, found),
                *([_ends(item, panels, records, cells)] if cells else []),
            ),
            card=_card(benchmark, panels, tables, records),
            plots=(
                by_epoch(shown, caption=f"{caption} {_n_runs(shown)}", panels_a_row=panels_a_row),
            )
            if shown
            else (),
            footnotes=(
                TRACK_NOTE,
                *footnotes,
                *([COUNTS_NOTE] if cells else []),
                *_slices(panels, tables, found),
                *_left_out(panels, found),
                *notes(_stand_ins(panels), records),
            ),
        )

    return Item(
        name,
        title,
        FIGURE,
        "supernet searches, epoch by epoch",
        space=HELD_BY.get(panels[0].space, panels[0].space),
        problem=lambda benchmark: None if requests(benchmark) else no_torch(),
        requests=requests,
        measure=build,
        unproven=MINI_ONLY,
        tells_skips=True,
        without_table=True,
    )


def table_of(space: str, benchmark: Benchmark) -> Benchmark:
    """Where cells of a space are looked up: this benchmark, the best that is here, or nothing."""
    held_by = HELD_BY.get(space, space)
    if benchmark.space.name == held_by:
        return benchmark
    found = best(held_by)
    return store.load(no_table.name_of(held_by)) if found is None else found


def tables_of(space: str, benchmark: Benchmark) -> list[Benchmark]:
    """`table_of`, and mini201 where it is another that has the space's cells."""
    table = table_of(space, benchmark)
    has_another = space == SPACE and table.name != MINI
    return [table, store.load(MINI)] if has_another else [table]


def _first_held(
    panel: Panel, benchmark: Benchmark, records: Sequence[Record]
) -> tuple[Benchmark, Found]:
    """The first of the tables that the panel has something to show on."""
    found = [(table, _found(panel, table, records)) for table in tables_of(panel.space, benchmark)]
    return next((pair for pair in found if pair[1].values), found[0])


def _found(panel: Panel, table: Benchmark, records: Sequence[Record]) -> Found:
    """Runs of one space and table only, since others may have the same options."""
    places = (table.name, no_table.name_of(panel.space))
    own = [
        record
        for record in records
        if record.identity["space"] == panel.space and record.identity["benchmark"] in places
    ]
    values, reasons, datasets = {}, {}, set()
    for name, search in panel.searches.items():
        problem = search.problem(own) or panel.quantity.cannot(table)
        if problem is None:
            done = search.done(own)
            held = np.array([panel.quantity.of(record, table) for record in done])
            if np.isnan(held).all():
                problem = _nothing_known(panel, table)
            else:
                values[name] = held
                datasets |= {record.identity["setting"]["dataset"] for record in done}
        if problem is not None:
            reasons[name] = problem
    return Found(values, reasons, frozenset(datasets))


def _nothing_known(panel: Panel, table: Benchmark) -> str:
    if panel.quantity.at(table) is not None:
        return f"{table.name} holds none of the cells"
    return "its searches did not measure it"


def _panel(place: int, panels: Sequence[Panel], found: Found, table: Benchmark) -> CurvePanel:
    """What is drawn of a panel that shows something."""
    panel = panels[place]
    title = panel.title if len(panels) == 1 else _lettered(place, panel)
    here = f" (here {MINI})" if table.name == MINI else ""
    curves = tuple(_curve(name, values) for name, values in found.values.items())
    return CurvePanel(title + here, curves, panel.quantity.label, panel.quantity.lowest)


def _curve(name: str, values: Values) -> Curve:
    """Over the runs for which an epoch's value is known."""
    known = ~np.isnan(values).all(axis=0)
    of_epochs = [over_runs(held[~np.isnan(held)], "") for held in values.T[known]]
    return Curve(
        name,
        np.flatnonzero(known).astype(np.float64),
        np.array([measured.mean for measured in of_epochs]),
        np.array([np.nan if measured.std is None else measured.std for measured in of_epochs]),
        marked=len(of_epochs) <= MOST_DOTS,
        n_runs=np.array([measured.n for measured in of_epochs]),
    )


def _n_runs(panels: Sequence[CurvePanel]) -> str:
    """What the curves are, in words."""
    curves = [curve for panel in panels for curve in panel.curves]
    counts = [int(n) for curve in curves if curve.n_runs is not None for n in curve.n_runs]
    told = " to ".join(map(str, sorted({min(counts), max(counts)})))
    return f"Mean and one standard deviation over {told} search{'' if told == '1' else 'es'}."


def _table(item: Item, panels: Sequence[Panel], found: Sequence[Found]) -> ResultTable:
    """Three epochs of every curve; those of a panel are by its own number of epochs."""
    columns = tuple(
        Column(_lettered(i, panel), panel.quantity.label.replace("\n", " "), panel.quantity.digits)
        for i, panel in enumerate(panels)
    )
    names = dict.fromkeys(name for panel in panels for name in panel.searches)
    rows = [
        Row(
            f"{name}, {when}",
            tuple(_cell(*pair, name, place) for pair in zip(panels, found, strict=True)),
        )
        for name in names
        for place, when in enumerate(WHEN)
    ]
    return ResultTable(item.id, item.title, columns, tuple(rows), row_header="Search")


def _cell(panel: Panel, found: Found, name: str, place: int) -> Cell:
    if name not in found.values:
        return Cell(reason=found.reasons.get(name, "not one of this panel's searches"))
    values = found.values[name]
    last = values.shape[1] - 1
    at_epoch = values[:, (0, last // 2, last)[place]]
    held = at_epoch[~np.isnan(at_epoch)]
    if not len(held):
        return Cell(reason="none of these cells is held")
    return Cell(over_runs(held, panel.quantity.unit))


def _ends(
    item: Item, panels: Sequence[Panel], records: Sequence[Record], cells: Sequence[OfCells]
) -> ResultTable:
    """The cells that searches in the first panel's space end with."""
    of_space = panels[0].space
    searches: dict[str, RowSearch] = {}
    for panel in panels:
        if panel.space == of_space:
            for name, search in panel.searches.items():
                several = searches.get(name, search) != search
                searches[f"{name}, {panel.title.lower()}" if several else name] = search
    own = [record for record in records if record.identity["space"] == of_space]
    return learnt_cells(item.id, "Cells found", searches, own, cells)


def _lettered(position: int, panel: Panel) -> str:
    return f"({ascii_lowercase[position]}) {panel.title}"


def _slices(
    panels: Sequence[Panel], tables: Sequence[Benchmark], found: Sequence[Found]
) -> list[str]:
    """What is looked up, how much of it is held, and whether that is what was searched on."""
    said = []
    for i, (panel, table, held) in enumerate(zip(panels, tables, found, strict=True)):
        at = panel.quantity.at(table)
        if at is None or not held.values:
            continue
        values = np.concatenate([v.ravel() for v in held.values.values()])
        known = int((~np.isnan(values)).sum())
        part = "" if known == len(values) else f"; {known} of {len(values)} values are held"
        others = ", ".join(sorted(held.datasets - {at.dataset}))
        apart = f", of cells that were searched on {others}" if others else ""
        said.append(f"{_lettered(i, panel)}: looked up in {table.name}, `{at}`{apart}{part}.")
    return said


def _left_out(panels: Sequence[Panel], found: Sequence[Found]) -> list[str]:
    """Why panels, or curves of them, are not drawn; one note a reason."""
    missing: dict[str, list[str]] = {}
    for letter, panel, held in zip(ascii_lowercase, panels, found, strict=False):
        for reason in dict.fromkeys(held.reasons.values()):
            names = [name for name, told in held.reasons.items() if told == reason]
            curves = "" if len(names) == len(panel.searches) else f" {', '.join(names)}"
            missing.setdefault(reason, []).append(f"({letter}){curves}")
    return [
        f"Not shown: {'; '.join(places)}: {reason.rstrip('.')}."
        for reason, places in missing.items()
    ]


def _stand_ins(panels: Sequence[Panel]) -> list[StandIn]:
    searches = [search for panel in panels for search in panel.searches.values()]
    return list(dict.fromkeys(s for s in searches if isinstance(s, StandIn)))


def _card(
    benchmark: Benchmark,
    panels: Sequence[Panel],
    tables: Sequence[Benchmark],
    records: Sequence[Record],
) -> MetricCard:
    seeds = sorted({record.identity["seed"] for record in records if record.status == DONE})
    return card_of(
        benchmark,
        datasets=benchmark.datasets if benchmark.roles else (),
        roles=("truth",),
        seeds=f"of a search: {', '.join(map(str, seeds))}" if seeds else "none",
        selection="none: the cell of the architecture parameters after every epoch",
        recipe=_recipes(panels, tables, records),
        n="searches, each with a seed of its own; the figure's CSV has the number at every point",
    )


def _recipes(
    panels: Sequence[Panel], tables: Sequence[Benchmark], records: Sequence[Record]
) -> str:
    own = _stand_ins(panels)
    suites = [suites_in_words(own, records)] if own else []
    for panel, table in zip(panels, tables, strict=True):
        searched = {k: s for k, s in panel.searches.items() if isinstance(s, Searched)}
        if searched:
            suites.append(recipes_in_words(searched, table))
    return ", ".join(dict.fromkeys(suites))
