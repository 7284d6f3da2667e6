"""docs/: generated sections are as generated, commands run."""

import os
import re
import subprocess
import sys
from pathlib import Path

from reports import mini201_sheet, searches_sheet
from reports.reproduce import reproduce

DOCS = Path(__file__).parents[1] / "docs"
SHEET = (DOCS / "mini201.md").read_text(encoding="utf-8")
SEARCHES = (DOCS / "searches.md").read_text(encoding="utf-8")


def check_parts(parts):
    for name, part in parts.items():
        found = re.search(rf"<!-- {name}: begin -->\n(.*)\n<!-- {name}: end -->", SEARCHES, re.S)
        assert found[1] == part, name


def test_the_sheets_numbers_are_as_generated(nb201_dump):
    check_parts(searches_sheet.at_mid_scale())
    section = re.search(r"<!-- sheet: begin -->\n(.*)\n<!-- sheet: end -->", SHEET, re.S)

    assert section[1] == mini201_sheet.sheet()


def test_the_data_sheets_commands_run(home, tmp_path):
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    commands = [
        line.removeprefix("$ ")
        for block in re.findall(r"```console\n(.*?)```", SHEET, re.S)
        for line in block.splitlines()
        if line.startswith("$ ")
    ]

    assert len(commands) == 3
    for command in commands:
        subprocess.run(
            command, shell=True, cwd=tmp_path, env={**os.environ, "PATH": path}, check=True
        )


def test_the_settings_that_the_sheet_tells_are_those_of_the_build():
    from protocols.mini201 import CHANNELS, LONG, N_CELLS, SHORT, TASK

    told = (
        f"{TASK.size} x {TASK.size} pixels",
        f"enlarged 1 to {TASK.largest_scale} times",
        f"tangent of {TASK.largest_turn}",
        f"standard deviation of {TASK.noise} of 255",
        f"C = {CHANNELS} channels and N = {N_CELLS} cell",
        f"batches of {LONG.batch_size}",
        f"learning rate {LONG.lr}",
        f"{LONG.epochs} epochs, which is the truth, and {SHORT.epochs} epochs",
    )

    assert [text for text in told if text not in " ".join(SHEET.split())] == []
    assert TASK.n_patches == 0


def test_the_searches_numbers_are_those_of_the_records_that_ship(home):
    check_parts(searches_sheet.on_mini201())
    assert not any((home / "runs").rglob("*.json"))


def test_what_is_told_of_other_spaces_is_in_the_items_that_it_names(home, tmp_path):
    section = re.search(r"## In spaces without a table\n(.*?)\n## ", SEARCHES, re.S)[1]
    items = re.findall(r"reproduce (\S+) --quick", section)
    told = re.findall(r"-?\d+\.\d+ ± \d+\.\d+", section.replace("\n", " "))

    reproduce(items, out=tmp_path, quick=True)

    shown = "".join((tmp_path / f"{item.replace(':', '_')}.md").read_text() for item in items)
    assert len(items) == 8
    assert len(told) == 13
    assert [number for number in told if number.replace("-", "−") not in shown] == []
