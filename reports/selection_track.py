"""What a supernet is worth while it is discretised: DARTS-PT figure 6."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from harness.benchmark import Benchmark
from harness.record import Record
from harness.spaces import space
from reports.card import card_of
from reports.figures import Curve, CurvePanel, Plot, against
from reports.items import Artefact, Item
from reports.row_search import over_runs
from reports.stand_in import StandIn, notes, stand_in_item, suites_in_words
from reports.tables import Cell, Column, ResultTable, Row

RULES = (
    "After every decision, of one edge in either kind of cell, the supernet is tuned and its"
    " accuracy on the whole validation half measured, under what is left. At 0 nothing is decided."
    " The choice of inputs that follows is not shown.",
    "Both select from the same trained supernets, in the same random order of edges.",
)


def selection_track_item(
    name: str, title: str, of_space: str, searches: Mapping[str, StandIn]
) -> Item:
    """A curve a rule of selection. searches: its name -> what is run, with `watched`."""

    def measure(item: Item, benchmark: Benchmark, records: Sequence[Record]) -> Artefact:
        return _artefact(item, benchmark, searches, records)

    return stand_in_item(
        name,
        title,
        f"trained supernets of {of_space} while they are discretised",
        of_space,
        list(searches.values()),
        measure,
    )


def track_of(record: Record) -> NDArray[np.float64]:
    """(n_rounds + 1,) percent before the first decision of operations and after each."""
    groups = space(record.identity["space"]).groups
    decided = record.array("decided")
    learned = [i for i, group in enumerate(groups) if group.learned]
    n_rounds = max(int((decided[:, 0] == i).sum()) for i in learned)
    return record.array("accuracy_left")[: n_rounds + 1].astype(np.float64)


def _artefact(
    item: Item, benchmark: Benchmark, searches: Mapping[str, StandIn], records: Sequence[Record]
) -> Artefact:
    done = {label: search.done(records) for label, search in searches.items()}
    tracks = {
        label: np.array([track_of(record) for record in own]) for label, own in done.items() if own
    }
    own = list(searches.values())
    seeds = {record.identity["seed"] for found in done.values() for record in found}
    return Artefact(
        tables=(_table(item, searches, tracks, records),),
        card=card_of(
            benchmark,
            datasets=(),
            roles=(),
            seeds=", ".join(map(str, sorted(seeds))) or "none",
            selection="perturbation, and the largest parameter; edge after edge, tuned in between",
            recipe=suites_in_words(own, records),
            n="supernets, each with a seed of its own",
        ),
        plots=(_plot(tracks),) if tracks else (),
        footnotes=(*RULES, *notes(own, records)),
    )


def _table(
    item: Item,
    searches: Mapping[str, StandIn],
    tracks: Mapping[str, NDArray[np.float64]],
    records: Sequence[Record],
) -> ResultTable:
    columns = tuple(Column("accuracy of the supernet", label) for label in searches)
    n_rounds = max((track.shape[1] for track in tracks.values()), default=1)
    rows = [
        Row(
            f"{decided} edges decided",
            tuple(
                Cell(over_runs(tracks[label][:, decided], "%"))
                if label in tracks
                else Cell(reason=search.problem(records) or "")
                for label, search in searches.items()
            ),
        )
        for decided in range(n_rounds)
    ]
    return ResultTable(item.id, item.title, columns, tuple(rows), row_header="In either cell")


def _plot(tracks: Mapping[str, NDArray[np.float64]]) -> Plot:
    curves = [
        Curve(
            label,
            np.arange(track.shape[1], dtype=np.float64),
            track.mean(axis=0),
            track.std(axis=0, ddof=1) if len(track) > 1 else None,
            marked=True,
        )
        for label, track in tracks.items()
    ]
    counts = " and ".join(str(len(track)) for track in tracks.values())
    return against(
        [CurvePanel("", tuple(curves))],
        caption="Accuracy of the supernet on the validation half while its operations are decided:"
        f" mean over the supernets ({counts}) and one standard deviation.",
        x_label="Edges decided in either cell",
        y_label="Validation accuracy\nof the supernet (%)",
    )
