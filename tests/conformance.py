"""Every supernet method on every space with every selector, on nets of 1 to 3 cells.

    make conformance        or        python tests/conformance.py [--jobs N] [--shard I/N]

What is done is kept below NAS_HARNESS_HOME, so that it can be stopped and taken up again. Once all
of it is there, docs/conformance.md is written.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

from harness import no_table, registry
from harness.engine import environment, run_all
from harness.record import DONE, FAILED, SKIPPED, Record, RunSpec
from harness.spaces import space, spaces
from protocols.nets.supernets import has_supernet
from protocols.search.method import Method

SHEET = Path(__file__).parents[1] / "docs" / "conformance.md"
NETWORKS = {
    "nb201": {"channels": 4, "n_cells": 1},
    "oneshot1": {"channels": 8, "n_cells": 3},
    "darts": {"channels": 4, "n_cells": 3},
}
SELECTIONS = {
    "argmax": {},
    "best_of_n": {"n": 3, "n_batches": 1},
    "best_of_proxy": {"n": 2, "batch_size": 4},
    "evolution": {"population": 4, "n_generations": 2, "n_best": 2, "n_batches": 1},
    "perturbation": {"tune_epochs": 0},
}
OPTIONS = {
    "enas": {"n_steps": 1, "n_samples": 2},
    "sgas": {"first": 0, "every": 1},
    "pdarts": {"first_cells": 0, "second_cells": 0, "third_cells": 0},
}
SETTING = {
    "dataset": "cifar10",
    "images": "gaussian",
    "n_made": 32,
    "recipe": {"epochs": 1, "batch_size": 8},
}


def specs() -> list[RunSpec]:
    """The whole product."""
    methods = [
        name
        for name in registry.names("method")
        if isinstance(registry.get("method", name).offer, Method)
    ]
    return [
        RunSpec(
            "supernet",
            no_table.name_of(space_name),
            0,
            method,
            {
                **SETTING,
                **OPTIONS.get(method, {}),
                "network": NETWORKS[space_name.partition("-")[0]],
                "selector": selector,
                "selection": SELECTIONS[selector],
            },
        )
        for space_name in spaces()
        if has_supernet(space_name)
        for method in methods
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
        f" {(environment()['commit'] or '')[:12]}. {sum(done.values())} of {len(records)} runs gave"
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
