"""How far skips get ahead of convolutions while a supernet gets better: DARTS-PT figure 3."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.arch import Choice
from harness.benchmark import Benchmark
from harness.record import Record
from harness.spaces import space
from harness.spaces.darts import SKIP
from reports.card import card_of
from reports.darts_edges import CONVOLUTION
from reports.figures import Curve, CurvePanel, Plot, against
from reports.items import Artefact, Item
from reports.row_search import over_runs
from reports.stand_in import StandIn, notes, stand_in_item, suites_in_words
from reports.tables import Cell, Column, ResultTable, Row

COLUMNS = (Column("", "supernet accuracy"), Column("", "skip minus convolution", 4))
RULES = (
    "The gap is the softmax weight of skip_connect minus the mean of those of the convolutions, the"
    " mean over all edges of both kinds of cells, after every epoch.",
    "The supernet's accuracy is that on the validation batches of the epoch as the architecture"
    " parameters learnt from them, so on average half an epoch before the weights.",
)


class Path(NamedTuple):
    """Of one search, by epoch: (n_epochs,) percent, and (n_epochs,) gaps."""

    seed: int
    accuracies: NDArray[np.float64]
    gaps: NDArray[np.float64]


def skip_gap_item(name: str, title: str, of_space: str, searches: Sequence[StandIn]) -> Item:
    """A curve a supernet, from epoch to epoch."""

    def measure(item: Item, benchmark: Benchmark, records: Sequence[Record]) -> Artefact:
        return _artefact(item, benchmark, searches, records)

    return stand_in_item(
        name, title, f"supernets of {of_space} in training", of_space, searches, measure
    )


def path_of(record: Record) -> Path:
    """What a finished search went through; before the first epoch nothing was measured."""
    learned = [g for g in space(record.identity["space"]).groups if g.learned]
    strengths = [record.array(f"strengths_{group.name}")[1:] for group in learned]
    of_rows = [
        gap for group, held in zip(learned, strengths, strict=True) for gap in _gaps(group, held)
    ]
    accuracies = [at["accuracies"]["arch"] for at in record.result["curves"][1:]]
    return Path(record.identity["seed"], np.array(accuracies), np.mean(of_rows, axis=0))


def _gaps(group: Choice, strengths: NDArray[np.float32]) -> list[NDArray[np.float64]]:
    """Per row that offers both kinds of operations, (n_epochs,)."""
    found = []
    for row, names in enumerate(group.options):
        weights = strengths[:, row].astype(np.float64)
        convolutions = [i for i, name in enumerate(names) if CONVOLUTION in name]
        if convolutions and SKIP in names:
            found.append(weights[:, names.index(SKIP)] - weights[:, convolutions].mean(axis=1))
    return found


def _artefact(
    item: Item, benchmark: Benchmark, searches: Sequence[StandIn], records: Sequence[Record]
) -> Artefact:
    done = [record for search in searches for record in search.done(records)]
    paths = [path_of(record) for record in done]
    return Artefact(
        tables=(_table(item, paths, searches, records),),
        card=card_of(
            benchmark,
            datasets=(),
            roles=(),
            seeds=", ".join(str(path.seed) for path in paths) or "none",
            selection="none: what is learnt is looked at",
            recipe=suites_in_words(searches, records),
            n="supernets, each with a seed of its own",
        ),
        plots=(_plot(paths),) if paths else (),
        footnotes=(*RULES, *notes(searches, records)),
    )


def _table(
    item: Item, paths: Sequence[Path], searches: Sequence[StandIn], records: Sequence[Record]
) -> ResultTable:
    """Means over the supernets after the first epoch, half of them, and the last."""
    if not paths:
        problem = next(filter(None, (search.problem(records) for search in searches)), "")
        rows = [Row("no supernet", (Cell(reason=problem),) * len(COLUMNS))]
        return ResultTable(item.id, item.title, COLUMNS, tuple(rows), row_header="Epoch")
    n_epochs = min(len(path.gaps) for path in paths)
    rows = [
        Row(
            f"epoch {epoch}",
            (
                Cell(over_runs(np.array([path.accuracies[epoch - 1] for path in paths]), "%")),
                Cell(over_runs(np.array([path.gaps[epoch - 1] for path in paths]), "")),
            ),
        )
        for epoch in dict.fromkeys((1, (n_epochs + 1) // 2, n_epochs))
    ]
    return ResultTable(item.id, item.title, COLUMNS, tuple(rows), row_header="Epoch")


def _plot(paths: Sequence[Path]) -> Plot:
    curves = [Curve(f"Seed {path.seed}", path.accuracies, path.gaps, marked=True) for path in paths]
    return against(
        [CurvePanel("", tuple(curves))],
        caption="Mean softmax weight of skip_connect minus that of a convolution against the"
        " supernet's accuracy on the validation half, a dot an epoch in their order and a curve a"
        " supernet.",
        x_label="Validation accuracy of the supernet (%)",
        y_label="Softmax weight of a skip\nminus that of a convolution",
    )
