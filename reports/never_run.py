"""What has never been run at paper scale, as Markdown: the section of that name in README.md.

python -m reports.never_run
"""

from __future__ import annotations

import click

from harness import registry
from reports import reasons
from reports.items import all_items

NOTHING_TO_RUN = (reasons.ILLUSTRATION,)


def never_run() -> str:
    """Raw files by what their readers have seen, then items by why they were never made whole."""
    lines = ["| raw file | what its reader has seen |", "|---|---|"]
    for name in registry.names("adapter"):
        for raw in registry.get("adapter", name).offer.sources:
            lines.append(f"| `{raw.name}` | {raw.tested_on} |")
    lines += ["", "| item | why |", "|---|---|"]
    by_reason: dict[str, list[str]] = {}
    for item in all_items().values():
        reason = item.waits_for or item.unproven
        if reason and reason not in NOTHING_TO_RUN:
            by_reason.setdefault(reason, []).append(item.id)
    lines += [f"| {', '.join(ids)} | {reason} |" for reason, ids in by_reason.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    click.echo(never_run())
