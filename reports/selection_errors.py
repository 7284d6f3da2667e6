"""DARTS-PT table 4: test error by selection rule, with and without learning alpha."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.benchmark import Benchmark
from harness.record import Record, RunSpec
from reports import nb201
from reports.card import card_of
from reports.items import TABLE, Artefact, Item
from reports.published import PublishedValue
from reports.row_search import RowSearch, over_runs, specs_of
from reports.spent import spent_table
from reports.supernet_rows import recipes_in_words
from reports.tables import Cell, Column, Row, compared, from_published

TITLE = "CIFAR-10"  # What the paper's column is of.
PUBLISHED_SPACE = "NB201"
ALL_SKIP = (
    "The paper's 45.7 of DARTS is the cell of skip connections alone, whose mean test accuracy in"
    " the table of NAS-Bench-201 is 54.30."
)
NORMS = (
    "Batch norms use the batch's own statistics wherever a supernet is measured, as in the paper's"
    ' code; "running norms": those that training kept. The largest alpha is found without'
    " measuring, so that DARTS' row is the same under both."
)


def selection_errors_item(
    name: str,
    title: str,
    searches: Mapping[str, RowSearch],
    variants: Mapping[str, RowSearch],
    other_space: str,
    *,
    unproven: str,
) -> Item:
    """Test errors of NAS-Bench-201's cells.

    searches: row label -> the row's runs; variants: likewise, of rows that the paper does not have.
    other_space: why the paper's other column waits.
    """
    rows = {**searches, **variants}

    def requests(benchmark: Benchmark) -> list[RunSpec]:
        return specs_of(rows.values(), benchmark)

    def measure(item: Item, benchmark: Benchmark | None, records: Sequence[Record]) -> Artefact:
        assert benchmark is not None
        return _artefact(item, benchmark, rows, list(variants), other_space, records)

    return Item(
        name,
        title,
        TABLE,
        "supernet searches on NAS-Bench-201 and its test accuracy; training for the DARTS space",
        space=nb201.SPACE,
        problem=nb201.no_datasets,
        requests=requests,
        measure=measure,
        unproven=unproven,
        tells_skips=True,
    )


def _artefact(
    item: Item,
    benchmark: Benchmark,
    searches: Mapping[str, RowSearch],
    variants: Sequence[str],
    other_space: str,
    records: Sequence[Record],
) -> Artefact:
    dataset = nb201.datasets(benchmark).get(TITLE)

    def measured(label: str, value: PublishedValue | None) -> Cell:
        problem = searches[label].problem(records, dataset)
        if dataset is None or problem is not None:
            return Cell(None, value, reason=problem or f"{benchmark.name} has no {TITLE}")
        errors = 100 - searches[label].values(records, dataset, "truth")
        same = nb201.is_the_papers(benchmark, dataset)
        return compared(over_runs(errors, "%"), value, same_benchmark=same)

    def fill(value: PublishedValue) -> Cell:
        if value.space != PUBLISHED_SPACE:
            return Cell(None, value, reason=other_space)
        return measured(value.method, value)

    table = from_published(
        item.id,
        item.title,
        item.published(),
        row_of=lambda value: value.method,
        column_of=lambda value: Column(value.space, "test error"),
        fill=fill,
    )
    own = [
        Row(
            label,
            tuple(
                measured(label, None) if column.group == PUBLISHED_SPACE else Cell()
                for column in table.columns
            ),
        )
        for label in variants
    ]
    table = table.and_rows(own)
    spent = spent_table(item.id, searches, records)
    datasets = [] if dataset is None else [dataset]
    return Artefact(
        tables=(table,) if spent is None else (table, spent),
        card=card_of(
            benchmark,
            datasets=datasets,
            roles=("truth",),
            seeds=nb201.seeds_in_words(benchmark, datasets[0]) if datasets else "none",
            selection="by row: the largest alpha, or perturbation (PT) on the validation half",
            recipe=recipes_in_words(searches, benchmark),
            n="the seeds of a search",
        ),
        footnotes=(ALL_SKIP, NORMS, *nb201.not_the_papers(benchmark)),
    )
