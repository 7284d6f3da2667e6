"""Settings that a paper lists beside those that our suites for it have: thesis table B.1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from harness.benchmark import Benchmark
from harness.config import read_labelled
from harness.record import Record
from reports.card import card_without_benchmark
from reports.items import TABLE, Artefact, Item
from reports.published import PublishedValue
from reports.tables import Cell, Column, compared, from_published
from reports.verdict import Measured

PREFIX = "hyperparameter: "  # Of the metric in the published file.
# The paper's name -> field of a suite's recipe.
FIELDS = {
    "Batch size": "batch_size",
    "LR max": "lr",
    "LR min": "lr_min",
    "Weight decay": "weight_decay",
    "Momentum": "momentum",
    "Epochs": "epochs",
    "Arch. LR": "arch_lr",
    "Arch. weight decay": "arch_weight_decay",
}
WORDS_NOTE = (
    "Schedulers and optimisers are no numbers. Every search here has a cosine from epoch to epoch"
    " and SGD for the weights, and those of these suites Adam for the architecture parameters."
)


class Settings(NamedTuple):
    """A suite, and which of its runs is looked at: all of one label have one recipe."""

    suite: str
    label: str


def settings_item(
    name: str, title: str, of_spaces: Mapping[str, Settings], footnotes: Sequence[str]
) -> Item:
    """A row a hyper-parameter. of_spaces: the paper's name of a space -> ours for it."""

    def measure(item: Item, benchmark: Benchmark | None, records: Sequence[Record]) -> Artefact:
        recipes = {title: _recipe(settings) for title, settings in of_spaces.items()}
        table = from_published(
            item.id,
            item.title,
            item.published(),
            row_of=lambda value: value.metric.removeprefix(PREFIX),
            column_of=lambda value: Column("", value.space, 4),
            fill=lambda value: _cell(value, recipes[value.space]),
            row_header="Hyper-parameter",
        )
        suites = ", ".join(f"{s.suite} ({title})" for title, s in of_spaces.items())
        return Artefact(
            (table,),
            card_without_benchmark("settings are read from suites", n="one setting a cell"),
            footnotes=(f"Ours are those of the suites {suites}.", WORDS_NOTE, *footnotes),
        )

    return Item(name, title, TABLE, "the suites with the paper's settings", measure=measure)


def _recipe(settings: Settings) -> Mapping[str, float]:
    """Raises: ValueError if the runs of the label do not share one."""
    recipes = [spec.setting["recipe"] for spec in read_labelled(settings.suite)[settings.label]]
    if any(recipe != recipes[0] for recipe in recipes):
        raise ValueError(f"{settings.label} of {settings.suite} has several recipes")
    found: Mapping[str, float] = recipes[0]
    return found


def _cell(value: PublishedValue, recipe: Mapping[str, float]) -> Cell:
    name = value.metric.removeprefix(PREFIX)
    if name not in FIELDS:
        return Cell(None, value)
    return compared(Measured(recipe[FIELDS[name]], whole_population=True), value)
