"""Every supernet method on every space with every selector, on nets of 1 to 3 cells.

    make conformance        or        python tests/conformance.py [--jobs N] [--shard I/N]

What is done is kept below NAS_HARNESS_HOME, so that it can be stopped and taken up again. Once all
of it is there, docs/conformance.md is written.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

from harness import no_table, registry
from harness.engine import run_all
from harness.record import DONE, FAILED, SKIPPED, Record, RunSpec
from harness.spaces import space, spaces
from protocols.nets.supernets import has_supernet

sys.path.insert(0, str(Path(__file__).parent / "protocols"))
from supernets_for_tests import METHODS, SMALL_OPTIONS, SMALL_SELECTIONS, TINY  # noqa: E402

SHEET = Path(__file__).parents[1] / "docs" / "conformance.md"
SETTING = {
    "dataset": "cifar10",
    "images": "gaussian",
    "n_made": 32,
    "recipe": {"epochs": 1, "batch_size": 8},
}


def specs() -> list[RunSpec]:
    """The whole product."""
    networks = {name.partition("-")[0]: settings for name, settings in TINY.items()}
    return [
        RunSpec(
            "supernet",
            no_table.name_of(space_name),
            0,
            method,
            {
                **SETTING,
                **SMALL_OPTIONS.get(method, {}),
                "network": networks[space_name.partition("-")[0]],
                "selector": selector,
                "selection": SMALL_SELECTIONS[selector],
            },
        )
        for space_name in spaces()
        if has_supernet(space_name)
        for method in METHODS
        for selector in registry.names("selector")
    ]


def check(record: Record) -> None:
    """Raises: AssertionError if a run neither selected a cell of its space nor says why."""
    assert record.status != FAILED, f"{record.identity}: {record.reason}"
    if record.status == SKIPPED:
        assert record.reason
        return
    of_space = space(record.identity["space"])
    arch = of_space.parse(record.result["arch"])
    assert of_space.arch(arch.code) == arch


def sheet(records: Sequence[Record]) -> str:
    """A row a method, a column a space: how many selectors gave a cell, of how many."""
    commits = dict.fromkeys((record.environment["commit"] or "")[:12] for record in records)
    names = list(dict.fromkeys(record.identity["space"] for record in records))
    methods = list(dict.fromkeys(record.identity["method"] for record in records))
    done = Counter((r.identity["method"], r.identity["space"]) for r in records if r.status == DONE)
    n_selectors = len(records) // (len(names) * len(methods))
    reasons = Counter(record.reason for record in records if record.status == SKIPPED)
    lines = [
        "# Conformance",
        "",
        f"Every supernet method on every space with each of the {n_selectors} selectors, written by"
        f" `make conformance` on {datetime.now(timezone.utc):%Y-%m-%d} at commit"
        f" {' and '.join(commits)}. {sum(done.values())} of {len(records)} runs gave"
        " a valid cell, the others say why there is none; a number is how many selectors gave one.",
        "",
        "| method | " + " | ".join(names) + " |",
        "|---" * (len(names) + 1) + "|",
        *(
            f"| {method} | " + " | ".join(str(done[method, name]) for name in names) + " |"
            for method in methods
        ),
        "",
        "| reason | runs |",
        "|---|---|",
        *(f"| {reason} | {n} |" for reason, n in sorted(reasons.items())),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Runs a shard; with the whole, writes the sheet."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--shard", default="1/1", help="such as 1/4")
    options = parser.parse_args()
    part, n_parts = map(int, options.shard.split("/"))
    records = run_all(specs()[part - 1 :: n_parts], jobs=options.jobs)
    for record in records:
        check(record)
    if n_parts == 1:
        SHEET.write_text(sheet(records), encoding="utf-8")


if __name__ == "__main__":
    main()
