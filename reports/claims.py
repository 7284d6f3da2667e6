"""What the papers claim of their searches, as effects with intervals, on mini201."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.benchmark import Benchmark
from harness.record import Record, RunSpec
from harness.stats import hedges_g, mean_interval, welch_interval
from reports import nb201
from reports.card import card_of
from reports.figures import Effects, Plot, effects
from reports.items import TABLE, Artefact, Item
from reports.nb201 import MINI
from reports.row_search import specs_of
from reports.spent import spent_table
from reports.supernet_rows import COMMON, Searched
from reports.tables import Cell, Column, ResultTable, Row
from reports.verdict import Measured

SKIP = "skip_connect"
SUPPORTED, CONTRADICTED, UNDECIDED = "supported", "contradicted", "undecided"
COLUMNS = (
    Column("", "effect"),
    Column("95 % interval", "from"),
    Column("95 % interval", "to"),
    Column("", "Hedges' g"),
    Column("", "n", 0),
    Column("", "n of the other", 0),
)
RULES = (
    "An effect is the mean of the first searches minus that of the others, in the unit of the"
    " quantity; its interval is Welch's, or Student's of the differences where both select from the"
    " same trained supernets, seed by seed, or of the values where these are held against a"
    f' constant. "{SUPPORTED}": the interval lies above 0; "{CONTRADICTED}": below; "{UNDECIDED}":'
    " it holds 0.",
    "No interval is corrected for there being several of them.",
    "The truth is one training of every cell, two of which differ by several points (see the sheet"
    " of mini201): that chance is in the deviations over seeds, where seeds choose other cells.",
    "Searches spend the same image-passes, on small images and few of them: what is claimed of"
    " CIFAR-10 may be true there and undecided here.",
)


def _truth(record: Record) -> float:
    """Test accuracy of the chosen cell."""
    value = record.result["final_truth"]
    return float("nan") if value is None else float(value)


def _skips(record: Record) -> float:
    """How many of the chosen cell's edges are skip connections."""
    return float(record.result["arch"].count(SKIP))


def _late_change(record: Record) -> float:
    """Test accuracy of the last epoch's cell minus that of the cell half-way."""
    (dataset,) = record.result["slices"]
    track = record.result["track"]
    half, last = (track[at]["values"][dataset]["truth"] for at in (len(track) // 2, -1))
    return float("nan") if half is None or last is None else float(last - half)


@dataclass(frozen=True)
class Quantity:
    """What is compared of every search."""

    name: str
    unit: str
    of: Callable[[Record], float]


ACCURACY = Quantity("Test accuracy of the chosen cell (points)", "%", _truth)
SKIPS = Quantity("Skip connections of the chosen cell", "", _skips)
LATE_CHANGE = Quantity("Change of test accuracy over the second half (points)", "%", _late_change)


@dataclass(frozen=True)
class Claim:
    """That the quantity of some searches is larger than that of others, or than a constant.

    paper: whose claim it is. paired: whether both select from the same supernets, seed by seed.
    """

    text: str
    paper: str
    quantity: Quantity
    label: str
    other: str | float
    paired: bool = False


EXPECTED_SKIPS = 6 / 5  # Of six edges with five operations each, drawn uniformly.
CLAIMS = (
    Claim("DARTS keeps more skips than chance", "DARTS-PT", SKIPS, "darts", EXPECTED_SKIPS),
    Claim("DARTS+PT over DARTS", "DARTS-PT", ACCURACY, "darts-pt", "darts"),
    Claim("DARTS+PT (fixed alpha) over DARTS", "DARTS-PT", ACCURACY, "fixed_alpha-pt", "darts"),
    Claim("SoTL-DARTS over DARTS", "SoTL thesis", ACCURACY, "sotl", "darts"),
    Claim("SoTL-DARTS stays, DARTS falls", "SoTL thesis", LATE_CHANGE, "sotl", "darts"),
    Claim("BaLeNAS over DARTS, first order", "BaLeNAS", ACCURACY, "balenas", "darts"),
    Claim(
        "BaLeNAS over DARTS, second order",
        "BaLeNAS",
        ACCURACY,
        "balenas, second order",
        "darts, second order",
    ),
    Claim("BaLeNAS-TF over argmax", "BaLeNAS", ACCURACY, "balenas-tf", "balenas", paired=True),
    Claim(
        "BaLeNAS-TF over argmax, second order",
        "BaLeNAS",
        ACCURACY,
        "balenas-tf, second order",
        "balenas, second order",
        paired=True,
    ),
)


@dataclass(frozen=True)
class Effect:
    """A claim measured. g: None where it is not of two independent samples."""

    claim: Claim
    difference: float
    low: float
    high: float
    n: int
    n_other: int | None
    g: float | None

    @property
    def verdict(self) -> str:
        if self.low > 0:
            return SUPPORTED
        return CONTRADICTED if self.high < 0 else UNDECIDED


def claims_item(name: str, title: str) -> Item:
    """Every claim of `CLAIMS` on the searches of common/mini201."""
    return Item(
        name,
        title,
        TABLE,
        "supernet searches on mini201",
        space=nb201.SPACE,
        problem=lambda bench: None if bench.name == MINI else f"it is about {MINI}",
        requests=_requests,
        measure=_measure,
        benchmark=MINI,
        tells_skips=True,
    )


def _searches() -> dict[str, Searched]:
    labels = [label for c in CLAIMS for label in (c.label, c.other) if isinstance(label, str)]
    return {label: Searched(label, COMMON) for label in dict.fromkeys(labels)}


def _requests(benchmark: Benchmark) -> list[RunSpec]:
    return specs_of(_searches().values(), benchmark)


def _measure(item: Item, benchmark: Benchmark | None, records: Sequence[Record]) -> Artefact:
    assert benchmark is not None
    searches = _searches()
    done = {label: search.done(records) for label, search in searches.items()}
    found: dict[Claim, Effect | str] = {}
    for claim in CLAIMS:
        labels = [label for label in (claim.label, claim.other) if isinstance(label, str)]
        lacking = next((label for label in labels if len(done[label]) < 2), None)
        found[claim] = (
            effect_of(claim, done)
            if lacking is None
            else searches[lacking].problem(records) or f"fewer than two runs of {lacking}"
        )
    measured = [effect for effect in found.values() if isinstance(effect, Effect)]
    spent = spent_table(item.id, searches, records)
    table = ResultTable(
        item.id, item.title, COLUMNS, tuple(map(_row, found, found.values())), row_header="Claim"
    )
    return Artefact(
        tables=(table,) if spent is None else (table, spent),
        card=card_of(
            benchmark,
            datasets=benchmark.datasets,
            roles=("truth",),
            seeds="0 and on, of searches; the table's seed 0 for the truth",
            selection="by the searches",
            recipe=COMMON,
            n="searches, each with a seed of its own",
        ),
        plots=(_plot(measured),) if measured else (),
        footnotes=(*(_in_words(effect) for effect in measured), *RULES),
    )


def effect_of(claim: Claim, done: dict[str, list[Record]]) -> Effect:
    """A claim measured on the finished runs of each label; those without a truth are left out."""
    own = _values(claim.quantity, done[claim.label])
    if isinstance(claim.other, str):
        others = _values(claim.quantity, done[claim.other])
        if claim.paired:
            both = sorted(own.keys() & others.keys())
            pairs = np.array([own[seed] - others[seed] for seed in both])
            return _of_one(claim, pairs, 0.0, len(pairs))
        return _of_two(claim, np.array([*own.values()]), np.array([*others.values()]))
    return _of_one(claim, np.array([*own.values()]), claim.other, None)


def _values(quantity: Quantity, records: Sequence[Record]) -> dict[int, float]:
    """By seed, where there is one."""
    found = {record.identity["seed"]: quantity.of(record) for record in records}
    return {seed: value for seed, value in found.items() if not np.isnan(value)}


def _of_one(
    claim: Claim, values: NDArray[np.float64], constant: float, n_other: int | None
) -> Effect:
    low, high = mean_interval(values - constant)
    return Effect(claim, float(values.mean()) - constant, low, high, len(values), n_other, None)


def _of_two(claim: Claim, own: NDArray[np.float64], others: NDArray[np.float64]) -> Effect:
    sides = [(float(v.mean()), float(v.std(ddof=1)), len(v)) for v in (own, others)]
    low, high = welch_interval(*sides[0], *sides[1])
    difference = sides[0][0] - sides[1][0]
    return Effect(claim, difference, low, high, len(own), len(others), hedges_g(own, others))


def _row(claim: Claim, effect: Effect | str) -> Row:
    if isinstance(effect, str):
        return Row(f"{claim.paper}: {claim.text}", (Cell(reason=effect),) * len(COLUMNS))
    unit = claim.quantity.unit
    numbers = (effect.difference, effect.low, effect.high)
    cells = [Cell(Measured(number, None, effect.n, unit)) for number in numbers]
    counted = (effect.g, effect.n, effect.n_other)
    cells += [Cell() if held is None else Cell(Measured(float(held))) for held in counted]
    return Row(f"{claim.paper}: {claim.text}: {effect.verdict}", tuple(cells))


def _in_words(effect: Effect) -> str:
    claim = effect.claim
    against = (
        claim.other if isinstance(claim.other, str) else f"{claim.other:g}, which chance gives"
    )
    how = ", seed by seed" if claim.paired else ""
    return (
        f"{claim.text}: {claim.quantity.name.lower()}, `{claim.label}` against {against}{how}:"
        f" {effect.verdict}."
    )


def _plot(measured: Sequence[Effect]) -> Plot:
    panels = []
    for quantity in dict.fromkeys(effect.claim.quantity for effect in measured):
        own = [effect for effect in measured if effect.claim.quantity == quantity]
        panels.append(
            Effects(
                quantity.name,
                tuple(effect.claim.text for effect in own),
                np.array([effect.difference for effect in own]),
                np.array([effect.low for effect in own]),
                np.array([effect.high for effect in own]),
            )
        )
    return effects(
        panels,
        caption="Effects behind the papers' claims on mini201, with 95 % intervals; right of 0 is"
        " what the papers say.",
    )
