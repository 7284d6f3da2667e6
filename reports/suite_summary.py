"""The table that ends `nas-harness run`: every protocol's headline number by method and setting."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from harness import registry
from harness.record import DONE, Record
from harness.stats import kendall, spearman, spearman_curve, top_mean


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
        if record.status != DONE or (found := _headline(record)) is None:
            continue
        identity = record.identity
        name, value = found
        key = (identity["method"] or "", identity["benchmark"], _told(identity["setting"]), name)
        values.setdefault(key, []).append(value)
    return [
        Group(*key, statistics.fmean(held), _std(held), len(held)) for key, held in values.items()
    ]


def _headline(record: Record) -> tuple[str, float] | None:
    """Name and value of the one number that a summary shows of a run."""
    if has_curve(record):
        epochs = record.result["epochs"]
        rho = spearman(record.array("scores")[-1], record.array("truth"))
        return (f"Spearman after epoch {epochs[-1]}", rho)
    name = registry.get("protocol", record.identity["protocol"]).offer.headline
    value = record.result.get(name)
    return None if value is None else (name, value)


def has_curve(record: Record) -> bool:
    """Whether a run recorded a score after every epoch, and the truth."""
    return {"scores", "truth"} <= set(record.arrays)


def rank_curves(records: Sequence[Record]) -> list[dict[str, object]]:
    """Spearman, Kendall and top-10 of every recorded score after every epoch, one row each."""
    rows: list[dict[str, object]] = []
    for record in records:
        if record.status != DONE or not has_curve(record):
            continue
        scores, truth = record.array("scores"), record.array("truth")
        named = {"score": record.result["score"], "draw": record.identity["seed"]}
        for epoch, row, rho in zip(
            record.result["epochs"], scores, spearman_curve(scores, truth), strict=True
        ):
            found = {"spearman": rho, "kendall": kendall(row, truth), "top10": top_mean(row, truth)}
            rows.append({**named, "epoch": epoch, "n_archs": len(truth), **found})
    return rows


def _told(setting: dict[str, object]) -> str:
    return ", ".join(
        f"{key}={value if isinstance(value, str) else json.dumps(value)}"
        for key, value in setting.items()
    )


def _std(values: Sequence[float]) -> float | None:
    return statistics.stdev(values) if len(values) > 1 else None


def as_lines(groups: Sequence[Group]) -> list[str]:
    """The groups for a terminal, in columns; settings that all of them share are left out."""
    if not groups:
        return []
    shared = set.intersection(*(set(group.setting.split(", ")) for group in groups))
    rows = []
    for group in groups:
        own = ", ".join(part for part in group.setting.split(", ") if part not in shared)
        digits = 3 if abs(group.mean) <= 1 else 2
        spread = f" ± {group.std:.{digits}f}" if group.std is not None else ""
        value = f"{group.headline} {group.mean:.{digits}f}{spread} (n={group.n})"
        rows.append((group.method, own, value))
    columns = [column for column in zip(*rows, strict=True) if any(column)]
    widths = [max(map(len, column)) for column in columns]
    return [
        "  ".join(map(str.ljust, parts, widths)).rstrip() for parts in zip(*columns, strict=True)
    ]
