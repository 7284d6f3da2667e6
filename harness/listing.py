"""What `nas-harness list` shows, and the table of runs that `nas-harness run --out` writes."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from harness import registry, store
from harness.config import suites
from harness.files import write_atomically
from harness.record import Record
from harness.spaces import spaces

Rows = list[tuple[str, str]]


def _benchmarks() -> Rows:
    rows = []
    for name, target in store.names().items():
        if target is not None:
            relation = "looked up in" if store.is_view(name) else "->"
            rows.append((name, f"{relation} {target}"))
            continue
        found = store.manifest(name)
        held = "predicts any arch" if store.is_surrogate(found) else f"{found['n_archs']} archs"
        rows.append((name, f"{held} of {found['space']}"))
    return rows


def _spaces() -> Rows:
    return [(name, f"{space.size:,} archs") for name, space in spaces().items()]


def _plugins(kind: str) -> Rows:
    return [(name, registry.summary(kind, name)) for name in registry.names(kind)]


def _suites() -> Rows:
    return [(name, "") for name in suites()]


def _items() -> Rows:
    papers = [registry.get("paper", name).offer for name in registry.names("paper")]
    return [(item.id, item.title) for paper in papers for item in paper.items]


LISTINGS: dict[str, Callable[[], Rows]] = {
    "benchmarks": _benchmarks,
    "spaces": _spaces,
    "methods": partial(_plugins, "method"),
    "selectors": partial(_plugins, "selector"),
    "proxies": partial(_plugins, "proxy"),
    "protocols": partial(_plugins, "protocol"),
    "suites": _suites,
    "items": _items,
}


def write_runs(records: Sequence[Record], path: Path) -> None:
    """Writes one CSV row a run: identity, setting, status and every single value it recorded."""
    write_rows([_row(record) for record in records], path)


def write_rows(rows: Sequence[Mapping[str, object]], path: Path) -> None:
    """Writes rows as CSV; a row may lack columns that others have."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(path, text.getvalue().encode())


def _row(record: Record) -> dict[str, object]:
    identity = {k: v for k, v in record.identity.items() if k not in ("setting", "versions")}
    setting = dict(record.identity["setting"])
    values = {k: v for k, v in record.result.items() if isinstance(v, (int, float, str))}
    outcome = {"key": record.key, "status": record.status, "reason": record.reason}
    return {**identity, **setting, **outcome, "seconds": record.seconds, **values}
