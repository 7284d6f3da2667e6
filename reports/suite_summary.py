"""The table that ends `nas-harness run`: every protocol's headline number by method and setting."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from harness import registry
from harness.record import DONE, Record


@dataclass(frozen=True)
class Group:
    """Runs that differ in nothing but their seed. std has ddof=1, None for fewer than two."""

    method: str
    benchmark: str
    setting: str
    headline: str
    mean: float
    std: float | None
    n: int


def summary(records: Sequence[Record]) -> list[Group]:
    """One group a method and setting, in the order of the records; only finished runs count."""
    values: dict[tuple[str, str, str, str], list[float]] = {}
    for record in records:
        identity = record.identity
        headline = registry.get("protocol", identity["protocol"]).offer.headline
        if record.status != DONE or headline is None or record.result[headline] is None:
            continue
        key = (
            identity["method"] or "",
            identity["benchmark"],
            _told(identity["setting"]),
            headline,
        )
        values.setdefault(key, []).append(record.result[headline])
    return [
        Group(*key, statistics.fmean(held), _std(held), len(held)) for key, held in values.items()
    ]


def _told(setting: dict[str, object]) -> str:
    return ", ".join(
        f"{key}={value if isinstance(value, str) else json.dumps(value)}"
        for key, value in setting.items()
    )


def _std(values: Sequence[float]) -> float | None:
    return statistics.stdev(values) if len(values) > 1 else None


def as_lines(groups: Sequence[Group]) -> list[str]:
    """The groups for a terminal, settings that all of them share left out."""
    shared = (
        set.intersection(*(set(group.setting.split(", ")) for group in groups)) if groups else ()
    )
    lines = []
    for group in groups:
        own = ", ".join(part for part in group.setting.split(", ") if part not in shared)
        spread = f" ± {group.std:.2f}" if group.std is not None else ""
        value = f"{group.headline} {group.mean:.2f}{spread} (n={group.n})"
        lines.append(f"{group.method:<16} {own:<28} {value}".rstrip())
    return lines
