"""What the papers print: every number of their tables, with its printed digits."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from harness.errors import unknown
from reports import numerals

FOLDER = Path(__file__).parent / "published"
# The files were made before the plug-ins had names: name in the file -> name of the paper here.
PAPERS = {
    "balenas": "balenas",
    "dartspt": "darts_pt",
    "thesis": "sotl_thesis",
    "freedarts": "freedarts",
}


@dataclass(frozen=True, slots=True)
class PublishedValue:
    """One cell of a published table.

    mean, std: None where the paper prints a dash or a word. n: None where the paper does not say.
    text, std_text: mean and std as they are printed. split: what the paper calls it.
    """

    paper: str
    table: str
    method: str
    space: str
    dataset: str
    split: str
    metric: str
    mean: float | None
    std: float | None
    n: int | None
    unit: str
    note: str
    text: str
    std_text: str

    @property
    def digits(self) -> int:
        """Printed decimals of the mean."""
        return numerals.decimals(self.text)

    @property
    def printed(self) -> str:
        """Mean and deviation as the paper prints them; empty where it prints a dash."""
        return numerals.with_std(self.text, self.std_text)


def published(paper: str, table: str) -> tuple[PublishedValue, ...]:
    """All values of one table in the paper's order; table is such as "1", "B.1" or "text".

    Raises: UnknownName if no such table is on file.
    """
    tables = _tables()
    if (paper, table) not in tables:
        known = [f"{paper_}:{table_}" for paper_, table_ in tables]
        raise unknown("published table", f"{paper}:{table}", known)
    return tables[paper, table]


def published_tables() -> list[tuple[str, str]]:
    """(paper, table) of every table on file."""
    return sorted(_tables())


@cache
def _tables() -> dict[tuple[str, str], tuple[PublishedValue, ...]]:
    found: dict[tuple[str, str], list[PublishedValue]] = {}
    for file in sorted(FOLDER.glob("*.csv")):
        with file.open(newline="", encoding="utf-8") as lines:
            for row in csv.DictReader(lines):
                value = _parse(row)
                found.setdefault((value.paper, value.table), []).append(value)
    return {key: tuple(values) for key, values in found.items()}


def _parse(row: dict[str, str]) -> PublishedValue:
    text, std_text, n = row.pop("mean"), row.pop("std"), row.pop("n")
    return PublishedValue(
        paper=PAPERS[row.pop("paper")],
        mean=_number(text),
        std=_number(std_text),
        n=int(n) if n else None,
        text=text,
        std_text=std_text,
        **row,
    )


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
