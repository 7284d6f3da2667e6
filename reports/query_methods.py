"""Thesis table 4.6: query-based search by look-up, beside searches of supernets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from harness.benchmark import Benchmark
from harness.errors import UnknownCost
from harness.record import Record, RunSpec
from reports import nb201
from reports.card import MetricCard, card_of
from reports.figures import Curve, CurvePanel, Plot, anytime
from reports.items import TABLE, Artefact, Item
from reports.published import PublishedValue
from reports.row_search import RowSearch, specs_of
from reports.spent import spent_table
from reports.supernet_rows import recipes_in_words
from reports.tables import Cell, Column, Row, compared, from_published
from reports.verdict import Measured

SUITE = "published/thesis_table4_6"
METHODS = {"REA": "rea", "Random Search": "random_search"}  # row of the table -> method
N_SEEDS = 500  # NATS-Bench scripts, the default number of repetitions
# ours: at the seconds that NATS-Bench records for three of its cells (indices 0, 11 and 284), the
# papers' simulated seconds buy 224, 130 and 328 queries on CIFAR-10, and alike elsewhere.
QUERIES = 200
GRID_POINTS = 200
SECONDS, QUERY_COUNT = "Simulated search time (s)", "Queries"
REPRINT_NOTE = (
    "The thesis reprints all rows but its own, which are DrNAS and those with SoTL or SoVL, from"
    " Dong et al. (2021), where n is not given for the row; NATS-Bench's scripts repeat a search by"
    " queries 500 times. Theirs are searches of 200 epochs, the thesis's of 50 (DrNAS 100)."
)


def query_methods_item(
    name: str,
    title: str,
    searches: Mapping[str, RowSearch],
    variants: Mapping[str, RowSearch],
    *,
    n_seeds: int = N_SEEDS,
    unproven: str = "",
) -> Item:
    """Thesis table 4.6.

    searches: row label -> the row's runs, for all rows but those of `METHODS`. variants: rows that
    the paper does not have, likewise. unproven: of the searches; see `Item`.
    """
    rows = {**searches, **variants}

    def problem(benchmark: Benchmark) -> str | None:
        if len(benchmark) < benchmark.space.size:
            held = f"{len(benchmark):,} of {benchmark.space.size:,} archs"
            return f"{benchmark.name} holds {held}; a search may ask for any of them"
        if not _datasets(benchmark):
            return f"{benchmark.name} declares no short schedule to search on"
        return None

    def requests(benchmark: Benchmark) -> list[RunSpec]:
        return suite_specs(benchmark, n_seeds) + specs_of(rows.values(), benchmark)

    def measure(item: Item, benchmark: Benchmark | None, records: Sequence[Record]) -> Artefact:
        assert benchmark is not None
        return _artefact(item, benchmark, records, searches, variants)

    return Item(
        name,
        title,
        TABLE,
        "validation accuracy of a short schedule to search on, and final test accuracy",
        space=nb201.SPACE,
        problem=problem,
        requests=requests,
        measure=measure,
        unproven=(
            "run with 200 queries on a table of means; the paper's budget in simulated seconds"
            f" needs the whole NATS-Bench file and ran on generated tables only; {unproven}"
        ),
        tells_skips=True,
    )


def suite_specs(benchmark: Benchmark, n_seeds: int) -> list[RunSpec]:
    """The suite's runs for this table, on its data sets, with budgets that it can charge."""
    from harness.config import read_suite

    here = {nb201.DATASETS[title]: dataset for title, dataset in _datasets(benchmark).items()}
    specs = [
        spec
        for spec in read_suite(SUITE, benchmark=benchmark.name)
        if spec.method in METHODS.values()
        and spec.setting["dataset"] in here
        and spec.seed < n_seeds
    ]
    return [_adapted(spec, benchmark, here[spec.setting["dataset"]]) for spec in specs]


def _datasets(benchmark: Benchmark) -> dict[str, str]:
    """As `nb201.datasets`, of those with a short schedule."""
    held = nb201.datasets(benchmark)
    return {title: name for title, name in held.items() if benchmark.roles[name].short is not None}


def _adapted(spec: RunSpec, benchmark: Benchmark, dataset: str) -> RunSpec:
    setting = {**spec.setting, "dataset": dataset}
    short = benchmark.roles[dataset].named("short")
    if (label := benchmark.holding(short).label) is not None:
        setting["oracle_seed"] = label
    setting["truth_seed"] = nb201.seed_of(benchmark, benchmark.roles[dataset].truth)
    if not has_the_papers_seconds(benchmark, dataset):
        setting.pop("budget_seconds", None)
        setting["budget_queries"] = QUERIES
    return replace(spec, setting=setting)


def has_the_papers_seconds(benchmark: Benchmark, dataset: str) -> bool:
    """Whether a query of the short schedule is charged in the seconds of the papers' budgets."""
    if dataset not in nb201.PAPER_SLICES:
        return False
    short = benchmark.roles[dataset].named("short")
    try:
        for cost in ("train_seconds", "valid_seconds"):
            benchmark.cost_column(
                cost, short.dataset, trained_on=short.trained_on, epochs=short.epochs
            )
    except UnknownCost:
        return False
    return True


@dataclass(frozen=True)
class Runs:
    """All seeds of one method on one data set.

    final: (n_seeds,) test accuracy of the cell that looked best. spent, incumbent: per seed
    (n_queries,) what was spent after each query and the test accuracy of the best cell so far.
    """

    final: NDArray[np.float64]
    spent: tuple[NDArray[np.float64], ...]
    incumbent: tuple[NDArray[np.float64], ...]

    def measured(self) -> Measured:
        """Mean and deviation over the seeds."""
        held = self.final[~np.isnan(self.final)]
        std = float(held.std(ddof=1)) if len(held) > 1 else None
        return Measured(float(held.mean()), std, len(held), "%")

    def curve(self, name: str, grid: NDArray[np.float64]) -> Curve:
        """The incumbent's mean and deviation over the seeds, where all have one."""
        values = np.array(
            [
                _steps(spent, held, grid)
                for spent, held in zip(self.spent, self.incumbent, strict=True)
            ]
        )
        started = ~np.isnan(values).any(axis=0)
        values, grid = values[:, started], grid[started]
        std = values.std(axis=0, ddof=1) if len(values) > 1 else None
        return Curve(name, grid, values.mean(axis=0), std)


def _steps(
    spent: NDArray[np.float64], values: NDArray[np.float64], grid: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The last value reached at each point of the grid; NaN before the first."""
    position = np.searchsorted(spent, grid, side="right") - 1
    return np.where(position >= 0, values[np.maximum(position, 0)], np.nan)


def _runs(records: Sequence[Record], method: str, dataset: str, in_seconds: bool) -> Runs:
    own = [
        record.result
        for record in records
        if record.identity["method"] == method and record.identity["setting"]["dataset"] == dataset
    ]
    incumbents = tuple(np.array(r["incumbent_truth"], dtype=np.float64) for r in own)
    spent = tuple(
        np.array(r["seconds"], dtype=np.float64) if in_seconds else np.arange(1.0, len(values) + 1)
        for r, values in zip(own, incumbents, strict=True)
    )
    return Runs(np.array([r["final_truth"] for r in own], dtype=np.float64), spent, incumbents)


def _artefact(
    item: Item,
    benchmark: Benchmark,
    records: Sequence[Record],
    searches: Mapping[str, RowSearch],
    variants: Mapping[str, RowSearch],
) -> Artefact:
    datasets = list(_datasets(benchmark).values())
    in_seconds = all(has_the_papers_seconds(benchmark, dataset) for dataset in datasets)
    found = {
        (method, dataset): _runs(records, method, dataset, in_seconds)
        for method in METHODS.values()
        for dataset in datasets
    }

    def fill(value: PublishedValue) -> Cell:
        if value.method in searches:
            return _searched(value.dataset, value, searches[value.method], benchmark, records)
        return _cell(value, benchmark, found)

    table = from_published(
        item.id,
        item.title,
        item.published(),
        row_of=lambda value: value.method,
        column_of=lambda value: Column("", nb201.shown(benchmark, value.dataset)),
        fill=fill,
    )
    titles = dict.fromkeys(value.dataset for value in item.published())
    own = [
        Row(label, tuple(_searched(t, None, search, benchmark, records) for t in titles))
        for label, search in variants.items()
    ]
    table = table.and_rows(own)
    spent = spent_table(item.id, {**searches, **variants}, records)
    n_seeds = len(next(iter(found.values())).final)
    return Artefact(
        tables=(table,) if spent is None else (table, spent),
        card=_card(benchmark, datasets, records, n_seeds, {**searches, **variants}),
        plots=(_trajectories(benchmark, found, in_seconds, n_seeds),),
        footnotes=(
            *([] if in_seconds else [_budget_note(benchmark)]),
            REPRINT_NOTE,
            *nb201.not_the_papers(benchmark),
        ),
    )


def _cell(
    value: PublishedValue,
    benchmark: Benchmark,
    found: Mapping[tuple[str, str], Runs],
) -> Cell:
    dataset = _datasets(benchmark).get(value.dataset)
    if dataset is None:
        missing = f"short schedule of {value.dataset}"
        return Cell(None, value, reason=f"{benchmark.name} has no {missing}")
    runs = found[METHODS[value.method], dataset]
    same = nb201.is_the_papers(benchmark, dataset)
    return compared(runs.measured(), value, same_benchmark=same)


def _searched(
    title: str,
    value: PublishedValue | None,
    search: RowSearch,
    benchmark: Benchmark,
    records: Sequence[Record],
) -> Cell:
    """What the searches of a row reach on one data set; value: what the paper prints, if so."""
    dataset = nb201.datasets(benchmark).get(title)
    problem = search.problem(records, dataset)
    if dataset is None or problem is not None:
        missing = f"{benchmark.name} has no test accuracy of {title}"
        return Cell(None, value, reason=problem or missing)
    measured = search.measured(records, dataset, "truth")
    return compared(measured, value, same_benchmark=nb201.is_the_papers(benchmark, dataset))


def _budget_note(benchmark: Benchmark) -> str:
    return (
        f"{benchmark.name} does not record the seconds that the paper's budget is counted in, so"
        f" each search here gets {QUERIES} queries."
        " That budget is ours; the paper's is 20,000, 40,000 and 120,000 simulated seconds, which"
        " buy 130 to 340 queries on each data set at the seconds that NATS-Bench records for its"
        " cells 0, 11 and 284. The figure shows what other budgets give."
    )


def _card(
    benchmark: Benchmark,
    datasets: Sequence[str],
    records: Sequence[Record],
    n_seeds: int,
    searches: Mapping[str, RowSearch],
) -> MetricCard:
    queried = [r.identity for r in records if r.identity["method"] in METHODS.values()]
    settings = {identity["setting"]["dataset"]: identity["setting"] for identity in queried}
    budgets: dict[str, list[str]] = {}
    for dataset in datasets:
        budgets.setdefault(_budget(settings[dataset]), []).append(dataset)
    oracle_seed = settings[datasets[0]].get("oracle_seed")
    return card_of(
        benchmark,
        datasets=datasets,
        roles=("short", "truth"),
        seeds=f"0 to {n_seeds - 1} of searches by queries; a query reads the seed"
        f" {str(oracle_seed)!r}; truth: {nb201.seeds_in_words(benchmark, datasets[0])}",
        selection="test accuracy of the cell with the best short validation accuracy seen; of the"
        " cell that a supernet's search chose",
        recipe=f"{SUITE}, {recipes_in_words(searches, benchmark)}",
        n=f"{n_seeds} searches by queries a method and data set; of a supernet's search, its seeds",
        budget="; ".join(f"{', '.join(own)}: {text}" for text, own in budgets.items()),
    )


def _budget(setting: Mapping[str, object]) -> str:
    seconds, queries = setting.get("budget_seconds"), setting.get("budget_queries")
    if seconds is not None:
        return f"{seconds:,} simulated seconds"
    return f"{queries} queries (ours; the table does not record the paper's seconds)"


def _trajectories(
    benchmark: Benchmark,
    found: Mapping[tuple[str, str], Runs],
    in_seconds: bool,
    n_runs: int,
) -> Plot:
    panels = []
    for title, dataset in _datasets(benchmark).items():
        own = {row: found[method, dataset] for row, method in METHODS.items()}
        grid = _grid([spent for runs in own.values() for spent in runs.spent], in_seconds)
        curves = tuple(runs.curve(row, grid) for row, runs in own.items())
        panels.append(CurvePanel(nb201.shown(benchmark, title), curves))
    unit = "simulated seconds" if in_seconds else "queries"
    return anytime(
        panels,
        x_label=SECONDS if in_seconds else QUERY_COUNT,
        n_runs=n_runs,
        caption=f"Test accuracy of the cell with the best short validation accuracy so far, against"
        f" {unit}: mean and one standard deviation over {n_runs} searches. The start may lie"
        " outside the axes.",
    )


def _grid(spent: Sequence[NDArray[np.float64]], in_seconds: bool) -> NDArray[np.float64]:
    last = max(float(one[-1]) for one in spent)
    if in_seconds:
        return np.linspace(0.0, last, GRID_POINTS)
    return np.arange(1.0, last + 1)
