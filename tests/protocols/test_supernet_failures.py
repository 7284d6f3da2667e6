"""Supernet runs that go wrong: the reason is told, whole epochs are kept, other runs go on."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from harness import record, store
from harness.config import read_suite
from harness.engine import INTERRUPTED, execute, run_all
from harness.record import DONE, FAILED, RunSpec
from protocols.search.loop import Search

BIN = Path(sys.executable).parent / "nas-harness"
SETTING = {
    "dataset": "cifar10",
    "images": "gaussian",
    "n_made": 64,
    "network": {"channels": 4, "n_cells": 1},
    "recipe": {"epochs": 3, "batch_size": 16},
}
N_STEPS = 2  # An epoch: half of 64 images in batches of 16.
SUITE = """
[[run]]
protocol = "supernet"
method = "darts"
benchmark = "no-table:nb201"
seeds = 1
[run.setting]
dataset = "cifar10"
images = "gaussian"
n_made = 64
network = { channels = 4, n_cells = 1 }
recipe = { epochs = 3, batch_size = 16 }
"""
FAILING = '''
"""DARTS that fails after a step of the weights, both of which the environment names."""

import os
import resource
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from protocols.nets.mix import softmax_mix
from protocols.search.method import WEIGHTS, Method


def diverge(search):
    search.net.classifier.weight.data.fill_(float("nan"))


def fill_disk(search):
    # The kernel refuses to let any file grow past the limit, as it refuses when a disk is full.
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))


def spend_host(search):
    raise MemoryError


def spend_device(search):
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def ask_too_much(search):
    torch.empty(10**15)


def wait(search):
    Path(os.environ["NAS_HARNESS_HOME"], "waiting").touch()
    time.sleep(100)


def break_down(search):
    raise RuntimeError("something else")


@dataclass(frozen=True)
class Failing(Method):
    version = 1

    def mix(self, search, alphas, at, rng):
        return softmax_mix(alphas)

    def weight_step(self, search, batch):
        search.step_weights(batch, [search.mix(WEIGHTS)])
        if search.counts.weight_steps == int(os.environ.get("FAIL_AFTER", "0")):
            globals()[os.environ["FAIL_BY"]](search)


METHOD = Failing()
'''


@pytest.fixture
def failing(tmp_path):
    file = tmp_path / "failing.py"
    file.write_text(FAILING)
    return file


@pytest.fixture
def suite(tmp_path):
    file = tmp_path / "suite.toml"
    file.write_text(SUITE)
    return file


def spec(method, seed=0):
    return RunSpec("supernet", "no-table:nb201", seed, str(method), SETTING)


def fail(monkeypatch, way, after):
    monkeypatch.setenv("FAIL_BY", way)
    monkeypatch.setenv("FAIL_AFTER", str(after))


def kept_epochs():
    """How many epochs every kept search has finished; no part of a file is beside them."""
    files = list((store.home() / "supernets").iterdir())
    states = [torch.load(file, weights_only=True) for file in files]
    return [len(state["epochs"]) - 1 for state in states], states


def assert_goes_on(runs, home, monkeypatch):
    """The runs train what is missing only, and give what runs without a failure give."""
    monkeypatch.delenv("FAIL_AFTER", raising=False)
    epochs = []
    run_epoch = Search.run_epoch
    with monkeypatch.context() as patch:
        patch.setattr(
            Search, "run_epoch", lambda self: epochs.append(self.epoch) or run_epoch(self)
        )
        (found,) = run_all(runs)
    strengths = found.array("strengths_op").copy()
    monkeypatch.setenv("NAS_HARNESS_HOME", str(home / "other"))
    (whole,) = run_all(runs)

    assert epochs == [1, 2]
    assert found.status == whole.status == DONE
    assert np.array_equal(strengths, whole.array("strengths_op"))
    assert found.result["arch"] == whole.result["arch"]
    assert found.result["counts"] == whole.result["counts"]


@pytest.mark.parametrize("after", [N_STEPS + 1, 2 * N_STEPS])
def test_numbers_that_diverge_fail_their_run_alone(home, failing, monkeypatch, after):
    """In the middle of the second epoch; or in its last step, which no loss has seen."""
    fail(monkeypatch, "diverge", after)

    failed, done = run_all([spec(failing), spec("darts")])

    assert (failed.status, done.status) == (FAILED, DONE)
    assert "nan" in failed.reason
    assert "in epoch 2" in failed.reason
    assert "A smaller lr" in failed.reason
    epochs, states = kept_epochs()
    assert sorted(epochs) == [1, 3]
    weights = [weight for state in states for weight in state["net"].values()]
    assert all(weight.isfinite().all() for weight in weights)
    assert_goes_on([spec(failing)], home, monkeypatch)


@pytest.mark.parametrize(
    ("way", "says"),
    [
        ("spend_host", "of the host"),
        ("spend_device", "CUDA out of memory"),
        ("ask_too_much", "can't allocate memory"),
    ],
)
def test_memory_that_runs_out_fails_its_run_alone(home, failing, monkeypatch, way, says):
    fail(monkeypatch, way, N_STEPS + 1)

    failed, done = run_all([spec(failing), spec("darts")])

    assert (failed.status, done.status) == (FAILED, DONE)
    assert failed.reason.startswith("There was not enough memory")
    assert says in failed.reason
    assert "Use a smaller batch_size of the recipe or fewer channels" in failed.reason
    assert sorted(kept_epochs()[0]) == [1, 3]


def test_other_errors_keep_their_name(home, failing, monkeypatch):
    fail(monkeypatch, "break_down", 1)

    assert execute(spec(failing)).reason.startswith("RuntimeError: something else (failing.py")


def test_a_disk_that_fills_up_fails_the_run_with_the_last_epoch_kept(
    home, failing, suite, monkeypatch
):
    """The record is smaller than what did not fit."""
    fail(monkeypatch, "fill_disk", N_STEPS + 1)
    ended = subprocess.run(
        [str(BIN), "run", str(suite), "--method", str(failing)], capture_output=True, text=True
    )

    (found,) = map(record.read, record.keys())
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert found.status == FAILED
    assert "could not be written" in found.reason
    assert "Free space" in found.reason
    assert kept_epochs()[0] == [1]
    assert_goes_on(read_suite(str(suite), method=str(failing)), home, monkeypatch)


def test_a_suite_that_is_interrupted_goes_on_after_its_last_epoch(
    home, failing, suite, monkeypatch
):
    fail(monkeypatch, "wait", N_STEPS + 1)
    process = subprocess.Popen(
        [str(BIN), "run", str(suite), "--method", str(failing)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # Where tests run in a shell's background, Ctrl-C is ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 120
    while not (home / "waiting").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, told = process.communicate(timeout=60)

    assert process.returncode == 130
    assert "Run the same command again" in told
    assert "Traceback" not in told
    (found,) = map(record.read, record.keys())
    assert (found.status, found.reason) == (FAILED, INTERRUPTED)
    assert kept_epochs()[0] == [1]
    assert_goes_on(read_suite(str(suite), method=str(failing)), home, monkeypatch)
