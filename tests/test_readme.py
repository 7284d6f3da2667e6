"""The README's commands, run in order in an empty home, with the output that it shows."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from nb301_files import unpacked_archive, zipped_as_published

from harness import registry
from harness.config import suites
from reports.items import papers
from reports.never_run import never_run

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
ANY_LINES = "…"


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.S)


def sessions():
    """(command, expected output) of every console block, in order."""
    found = []
    for block in blocks("console"):
        for part in re.split(r"^\$ ", block, flags=re.M)[1:]:
            command, _, output = part.partition("\n")
            found.append((command, output.rstrip("\n")))
    return found


def matches(expected, actual):
    """Line by line; a line `…` stands for any lines."""
    pattern = re.escape(expected).replace(re.escape(ANY_LINES + "\n"), "(.*\n)*")
    pattern = re.sub(re.escape(re.escape(ANY_LINES)) + "$", r"(?s:.*)", pattern)
    return re.fullmatch(pattern, actual.rstrip("\n")) is not None


@pytest.fixture(scope="module")
def place(data, tmp_path_factory):
    """A folder with the README's own files, and the environment to run its commands in."""
    folder = tmp_path_factory.mktemp("readme")
    for block in blocks("python") + blocks("toml"):
        if named := re.match(r"# (\w+\.(?:py|toml))\n", block):
            (folder / named[1]).write_text(block)
    downloads = folder / "downloads"
    downloads.mkdir()
    zipped_as_published(unpacked_archive(data, downloads))
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "NAS_HARNESS_HOME": str(folder / "home"), "PATH": path}
    return folder, {**environment, "NAS_HARNESS_DATA": str(data), "COLUMNS": "80"}


def test_every_command_gives_the_output_shown(place):
    folder, environment = place
    for command, expected in sessions():
        ended = subprocess.run(
            command,
            shell=True,
            cwd=folder,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

        assert matches(expected, ended.stdout), f"{command}\n{ended.stdout}"
        assert ended.returncode == (2 if expected.startswith("Error: ") else 0), command

    (example,) = (block for block in blocks("python") if not block.startswith("# "))
    ended = subprocess.run(
        [sys.executable, "-c", example],
        cwd=folder,
        env=environment,
        text=True,
        capture_output=True,
        check=True,
    )
    value, best, spearman = ended.stdout.splitlines()
    assert value == re.search(r"# (82\.\d+)", example)[1]
    assert best.startswith("|skip_connect~0|")
    assert float(spearman) == pytest.approx(0.872, abs=5e-4)


def test_what_was_never_run_is_as_generated():
    section = re.search(r"<!-- never-run: begin -->\n(.*)\n<!-- never-run: end -->", README, re.S)

    assert section[1] == never_run()


def test_everything_that_can_be_named_is_in_the_readme():
    from harness.cli import app

    sources = [
        raw.name
        for name in registry.names("adapter")
        for raw in registry.get("adapter", name).offer.sources
    ]
    named = [
        *app.commands,
        *registry.names("method"),
        *registry.names("protocol"),
        *suites(),
        *sources,
        *(paper.name for paper in papers()),
    ]

    assert [name for name in named if name not in README] == []


def test_the_readme_names_files_that_exist():
    named = re.findall(r"`((?:adapters|protocols|reports|harness|benchmarks)/[\w/.]+)`", README)
    missing = [path for path in named if "NAME" not in path and not (ROOT / path).exists()]

    assert missing == []
