"""Imports and suites that are killed without warning at random moments."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from nats_files import write_folder
from tables import make_store

from harness import load, record, store

# A kind; in the slow tests the two kinds make 50.
KILLS = pytest.mark.parametrize("n_kills", [6, pytest.param(25, marks=pytest.mark.slow)])
BIN = Path(sys.executable).parent / "nas-harness"


def start(arguments, home):
    return subprocess.Popen(
        [str(BIN), *arguments],
        env={**os.environ, "NAS_HARNESS_HOME": str(home)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def kill_at_random(arguments, home, longest, rng):
    """Kills the whole process group at a random moment; returns whether it was still running."""
    process = start(arguments, home)
    time.sleep(rng.uniform(0.05, longest))
    running = process.poll() is None
    if running:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return running


def seconds_of(arguments, home):
    started = time.perf_counter()
    assert start(arguments, home).wait() == 0
    return time.perf_counter() - started


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "NATS-tss-generated-simple", range(0, 15_600, 40))


@KILLS
def test_a_killed_import_leaves_what_was_there_and_goes_on(folder, home, tmp_path, n_kills):
    make_store("kept")
    kept = load("kept").sha256
    arguments = ["import", "nats-tss", str(folder)]
    whole = seconds_of(arguments, tmp_path / "other")
    rng = random.Random(0)
    n_killed = 0
    for _ in range(n_kills):
        n_killed += kill_at_random(arguments, home, whole, rng)

        assert load("kept").sha256 == kept
        assert store.verify("kept") == []
        if "nats-tss" in store.imported():
            assert store.verify("nats-tss") == []
            assert len(load("nats-tss")) == 390
    seconds_of(arguments, home)
    expected = (tmp_path / "other" / "stores" / "nats-tss.json").read_text()

    assert n_killed >= n_kills // 2
    assert f'"sha256": "{load("nats-tss").sha256}"' in expected
    assert store.verify("nats-tss") == []


SUITE = """
[[run]]
protocol = "sotl"
benchmark = "small"
seeds = 1500
[run.setting]
dataset = "cifar10"
score = "sotl:cifar10/train/4"
n_archs = 8
table_seed = 777
"""


@KILLS
def test_a_killed_suite_loses_at_most_the_run_in_hand(home, tmp_path, n_kills):
    make_store(n_archs=12)
    suite = tmp_path / "suite.toml"
    suite.write_text(SUITE)
    rng = random.Random(1)
    n_done, n_killed = 0, 0
    for attempt in range(n_kills):
        kill = kill_at_random(["run", str(suite)], home, 0.9, rng)
        records = list(record.read_all())
        n_killed += kill

        assert all(found.status == "done" for found in records)
        assert all(found.array("scores").shape == (4, 8) for found in records)
        assert len(records) >= n_done, f"attempt {attempt} lost finished runs"
        n_done = len(records)
    seconds_of(["run", str(suite)], home)

    assert n_killed >= n_kills // 2
    assert len(list(record.read_all())) == 1500


@pytest.mark.slow  # Half a minute of real trainings.
def test_a_killed_build_keeps_every_finished_training(home):
    process = start(["build", "mini201", "--fresh", "--limit", "50"], home)
    deadline = time.monotonic() + 120
    while not (kept := list(home.glob("builds/*/*/*.npy"))) and time.monotonic() < deadline:
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    resumed = subprocess.run(
        [str(BIN), "build", "mini201", "--fresh", "--limit", "1", "--json"],
        env={**os.environ, "NAS_HARNESS_HOME": str(home)},
        capture_output=True,
        check=True,
        text=True,
    )

    assert kept
    assert json.loads(resumed.stdout)["trained"] == 1
    assert json.loads(resumed.stdout)["held"]["10 epochs, seed 0"] > len(kept)
