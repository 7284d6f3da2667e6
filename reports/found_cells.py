"""The cells that training-free searches found: what they are and what they cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, cast

import numpy as np

from harness.arch import Arch
from harness.record import DONE, Record
from harness.spaces import space
from harness.spaces.darts import SKIP, DartsSpace
from harness.spaces.oneshot1 import OneShotSpace
from reports.row_search import over_runs
from reports.tables import Cell, Column, ResultTable, Row
from reports.untrained_rows import Search

WEIGHT_FREE = frozenset({SKIP, "max_pool_3x3", "avg_pool_3x3"})
SECONDS = Column("", "search (s)", 1)


class Quantity(NamedTuple):
    """A number that every cell of a space has."""

    column: Column
    unit: str
    of: Callable[[Arch], float]


class Group(NamedTuple):
    """Searches that a row of the table is over; problem: why there is nothing to show of them."""

    label: str
    records: Sequence[Record]
    problem: str = ""


def each_search(searches: Mapping[str, Search], records: Sequence[Record]) -> list[Group]:
    """A group for every single run of the searches, by their labels and seeds."""
    return [
        Group(f"{label}, seed {record.identity['seed']}", [record], record.reason)
        for label, search in searches.items()
        for record in search.records(records)
    ]


def arch_of(record: Record) -> Arch:
    """What a finished search chose."""
    return space(record.identity["space"]).parse(record.result["arch"])


def found_cells(
    item: str, title: str, groups: Sequence[Group], quantities: Sequence[Quantity]
) -> ResultTable:
    """A row a group: means over its cells, and the seconds of a search where it was run."""
    return ResultTable(
        item,
        title,
        (*(quantity.column for quantity in quantities), SECONDS),
        tuple(Row(group.label, _cells(group, quantities)) for group in groups),
        row_header="Search",
    )


def _cells(group: Group, quantities: Sequence[Quantity]) -> tuple[Cell, ...]:
    if group.problem:
        return (Cell(reason=group.problem),) * (len(quantities) + 1)
    archs = [arch_of(record) for record in group.records]
    cells = [
        Cell(over_runs(np.array([quantity.of(arch) for arch in archs]), quantity.unit))
        for quantity in quantities
    ]
    seconds = np.array([record.result["search_seconds"] for record in group.records])
    return (*cells, Cell(over_runs(seconds, "s")))


def in_words(groups: Sequence[Group]) -> list[str]:
    """Every cell that was found as the text of its space, one note each."""
    return [
        f"{group.label}: `{record.result['arch']}`."
        for group in groups
        for record in group.records
        if record.status == DONE
    ]


def n_weight_free(arch: Arch) -> int:
    """How many of the 8 operations of a normal cell are skips or poolings."""
    of_space = cast(DartsSpace, space(arch.space))
    return sum(op in WEIGHT_FREE for op, _ in of_space.genotype(arch).normal)


def _darts_params(arch: Arch) -> float:
    of_space = cast(DartsSpace, space(arch.space))
    (found,) = of_space.network_cost("params", np.array([arch.code], dtype=np.uint8))
    return float(found)


def _nb101_params(arch: Arch) -> float:
    nb101 = space("nb101")
    cell = cast(OneShotSpace, space(arch.space)).nb101(arch)
    found = nb101.closed_form("params", "cifar10", np.array([cell.code], dtype=np.uint8))
    assert found is not None
    return float(found[0])


def of_darts(digits: int) -> tuple[Quantity, ...]:
    """Weight-free operations, with so many digits, and the size of DARTS' network on CIFAR-10."""
    return (
        Quantity(Column("", "weight-free (normal cell)", digits), "", n_weight_free),
        Quantity(Column("", "parameters (M)"), "M", _darts_params),
    )


# Of the network that NAS-Bench-101 trains.
OF_ONESHOT1 = (Quantity(Column("", "parameters (M)"), "M", _nb101_params),)
