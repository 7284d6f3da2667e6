"""The protocol of supernet search, on the benchmark that ships."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conformance import specs
from supernets_for_tests import METHODS, SMALL_IMAGES

from harness import load, store
from harness.engine import execute, identity_of, run_all
from harness.errors import InvalidSpec, UnknownName
from harness.record import DONE, FAILED, SKIPPED, RunSpec
from protocols.search.loop import Search

DATASET = "cluttered-digits"
SMALL = {
    "dataset": DATASET,
    "truth_seed": "mean",
    "search_seed": "mean",
    "network": {"channels": 2, "n_cells": 1},
    "recipe": {"epochs": 2, "batch_size": 200},
}


def spec(method="darts", seed=0, **changed):
    return RunSpec("supernet", "mini201", seed, method, {**SMALL, **changed})


def test_a_run_holds_every_epoch_and_what_its_cell_is_worth(home):
    record = execute(spec())

    assert record.status == DONE, record.reason
    result, bench = record.result, load("mini201")
    assert [at["epoch"] for at in result["track"]] == [0, 1, 2]
    assert result["track"][-1]["arch"] == result["arch"]
    assert record.array("strengths_op").shape == (3, 6, 5)
    for at, strengths in zip(result["track"], record.array("strengths_op"), strict=True):
        arch = bench.space.discretise([strengths])
        assert at["arch"] == bench.space.format(arch)
        value = at["values"][DATASET]["truth"]
        if value is not None:
            truth = bench.query(arch, bench.roles[DATASET].truth, seed="mean").value
            assert value == pytest.approx(truth)
    # 1,000 training images in batches of 200, each beside one of the validation images.
    assert result["counts"] == {
        "image_passes": 4000,
        "weight_steps": 10,
        "arch_steps": 10,
        "scored": 0,
        "evaluated": 0,
        "diagnostic_passes": 0,
    }
    passes = [at["counts"].get("image_passes") for at in result["curves"]]
    assert passes == [None, 2000, 4000]
    assert set(result["curves"][1]["losses"]) == {"weights", "arch"}
    assert result["images"]["from"] == "own split"
    assert result["recipe"]["momentum"] == 0.9
    assert result["method_options"] == {"order": 1, "exact": False}
    assert result["peak_memory_mb"] > 1


def interrupted(monkeypatch, after):
    """Lets a search die after so many epochs."""
    run = Search.run

    def dying(search, n_epochs, after_epoch):
        def after_each():
            after_epoch()
            if search.epoch == after:
                raise RuntimeError("the machine went away")

        run(search, n_epochs, after_each)

    monkeypatch.setattr(Search, "run", dying)


def trained_epochs(monkeypatch):
    """The epochs that are trained from here on, counted from 0."""
    epochs = []
    run_epoch = Search.run_epoch
    monkeypatch.setattr(
        Search, "run_epoch", lambda self: epochs.append(self.epoch) or run_epoch(self)
    )
    return epochs


def untimed(result):
    """A result without what is another number in every run."""
    timed = ("search_seconds", "selection_seconds", "curves", "peak_memory_mb")
    return {name: value for name, value in result.items() if name not in timed}


def test_a_run_that_was_stopped_goes_on_where_it_was(home, monkeypatch):
    whole = execute(spec(seed=1))
    expected = dict(whole.result), whole.array("strengths_op")
    for folder in ("runs", "supernets"):
        shutil.rmtree(store.home() / folder)
    with monkeypatch.context() as patch:
        interrupted(patch, 1)
        failed = execute(spec(seed=1))
    assert failed.status == FAILED
    assert "the machine went away" in failed.reason
    epochs = trained_epochs(monkeypatch)

    found = execute(spec(seed=1))

    assert epochs == [1]
    assert found.status == DONE
    assert np.array_equal(expected[1], found.array("strengths_op"))
    assert untimed(expected[0]) == untimed(found.result)


def test_searches_that_differ_in_their_selection_are_trained_once(home, monkeypatch):
    selection = {"selector": "perturbation", "selection": {"tune_epochs": 1, "n_batches": 1}}
    alone = execute(spec(seed=1, **selection)).result
    shutil.rmtree(store.home() / "supernets")
    execute(spec(seed=1))
    epochs = trained_epochs(monkeypatch)

    shared = execute(spec(seed=1, **selection)).result

    assert epochs == []
    assert untimed(shared) == untimed(alone)


def test_a_search_that_is_stopped_early_is_the_first_part_of_the_whole_one(home, monkeypatch):
    whole = execute(spec(seed=1))
    epochs = trained_epochs(monkeypatch)

    early = execute(spec(seed=1, stop=1))

    assert epochs == [0]
    assert early.result["track"] == whole.result["track"][:2]
    assert early.result["arch"] == whole.result["track"][1]["arch"]
    assert np.array_equal(early.array("strengths_op"), whole.array("strengths_op")[:2])
    quick = {"selector": "perturbation", "selection": {"tune_epochs": 0, "n_batches": 1}}
    execute(spec(seed=1, **quick))
    execute(spec(seed=1, stop=1, **quick))
    assert epochs == [0]  # Both are kept.
    with pytest.raises(InvalidSpec, match="stop is an epoch of 2, not 3"):
        execute(spec(stop=3))


def test_a_kept_search_that_cannot_be_read_is_named(home):
    execute(spec(seed=1))
    (kept,) = (store.home() / "supernets").iterdir()
    kept.write_bytes(kept.read_bytes()[:100])

    failed = execute(spec(seed=1, selector="perturbation"))

    assert failed.status == FAILED
    assert kept.name in failed.reason
    assert "Remove it" in failed.reason


def test_a_record_holds_what_its_selector_measured(home):
    probed = execute(spec(selector="discretisation", selection={"n_rows": 2, "tune_epochs": 0}))
    selection = {"tune_epochs": 0, "n_batches": 1, "watched": True}
    watched = execute(spec(selector="perturbation", selection=selection))

    assert (probed.status, watched.status) == (DONE, DONE)
    code = load("mini201").space.parse(probed.result["arch"]).code
    accuracies = probed.array("discretised_accuracy")
    assert accuracies.shape == (2, 5)
    for (_, row), of_row, own in zip(
        probed.array("probed"), accuracies, probed.array("probed_strength"), strict=True
    ):
        assert code[row] == of_row.argmax()
        assert own.tolist() == probed.array("strengths_op")[-1, row].tolist()
    assert watched.array("accuracy_left").shape == (7,)
    # Five options of six rows on 200 images each, and seven times what is left on all 1,000.
    assert watched.result["counts"]["evaluated"] == 30 * 200 + 7 * 1000


def test_what_a_method_measures_to_decide_is_counted(home):
    record = execute(spec("sgas", first=0, every=1, criterion="accuracy", n_batches=1))

    assert record.status == DONE, record.reason
    # After each of two epochs, four operations beside none on one batch of 200.
    assert record.result["counts"]["evaluated"] == 2 * 4 * 200


def bits():
    """By method, a digest of what its run on a small net found."""
    records = [
        execute(replace(asked, setting={**asked.setting, **SMALL_IMAGES}))
        for asked in specs()
        if asked.benchmark == "no-table:nb201" and asked.setting["selector"] == "best_of_n"
    ]
    return {record.identity["method"]: digest(record) for record in records}


def digest(record):
    assert record.status == DONE, record.reason
    losses = [at["losses"] for at in record.result["curves"]]
    arrays = {name: record.array(name).tobytes().hex() for name in record.arrays}
    found = json.dumps([untimed(record.result), losses, arrays], sort_keys=True)
    return hashlib.sha256(found.encode()).hexdigest()


def test_the_same_seed_in_another_process_gives_the_same_bits_by_every_method(home, tmp_path):
    script = (
        "import json, sys; sys.path[:0] = sys.argv[1:]; import test_supernet as t;"
        "print(json.dumps(t.bits()))"
    )
    folder = Path(__file__).parent

    answer = subprocess.run(
        [sys.executable, "-c", script, str(folder), str(folder.parent)],
        capture_output=True,
        text=True,
        check=True,
        # Where this process keeps its supernets the other one would train none.
        env={**os.environ, "NAS_HARNESS_HOME": str(tmp_path / "other")},
    )

    here = bits()
    assert json.loads(answer.stdout) == here
    assert list(here) == METHODS
    assert here["spos"] == here["random_nas"]  # Only the selector sets them apart.
    assert len(set(here.values())) == len(METHODS) - 1


def test_a_run_without_a_table_searches_and_looks_nothing_up(home):
    setting = {
        **SMALL,
        "network": {"channels": 8, "n_cells": 3},
        "recipe": {"epochs": 1, "batch_size": 500},
    }
    record = execute(RunSpec("supernet", "no-table:oneshot1-3", 0, "gdas", setting))

    assert record.status == DONE, record.reason
    assert record.result["values"] == {}
    assert record.result["final_truth"] is None
    assert len(record.result["track"]) == 2


@pytest.mark.parametrize(
    ("method", "changed", "reason"),
    [
        ("random_nas", {}, "learns no"),
        ("random_nas", {"selector": "perturbation"}, "single paths"),
        ("sgas", {"selector": "perturbation"}, "decides rows itself"),
        ("darts", {"selector": "best_of_proxy"}, "learnt no distribution"),
        ("darts", {"device": "cuda"}, "no device cuda"),
        ("freedarts", {}, "trains no supernet"),
        ("darts", {"dataset": "cifar10"}, "declares no roles for 'cifar10'"),
        ("darts", {"truth_seed": 7}, "There is no seed 7"),
        ("darts", {"images": "svhn"}, "train_32x32.mat"),
    ],
)
def test_what_is_impossible_says_why(home, monkeypatch, method, changed, reason):
    monkeypatch.setenv("NAS_HARNESS_DATA", str(home))

    record = execute(spec(method, **changed))

    assert record.status == SKIPPED
    assert reason in record.reason


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"selector": "argmin"}, UnknownName),
        ({"ordr": 2}, UnknownName),
        ({"order": "2"}, InvalidSpec),
        ({"recipe": {"epochs": 0}}, InvalidSpec),
        ({"selection": {"n": 3}}, UnknownName),
        ({"network": 3}, InvalidSpec),
        ({"diagnostics": {"eigenvalues": "valid"}}, UnknownName),
        ({"diagnostics": {"eigenvalue": "test"}}, InvalidSpec),
    ],
)
def test_wrong_settings_are_errors_that_name_the_right_ones(home, changed, error):
    with pytest.raises(error):
        run_all([spec(**changed)])


def test_versions_of_selector_and_inner_method_are_part_of_the_identity(home):
    setting = {"selector": "best_of_proxy", "inner": "gdas"}
    versions = identity_of(spec("sotl", **setting))["versions"]

    assert versions["selector best_of_proxy"] == 1
    assert versions["method gdas"] == 1
    assert versions["proxy synflow"] >= 2


def test_a_loss_that_is_no_number_is_a_failed_record(home):
    recipe = {**SMALL["recipe"], "lr": 1e30, "lr_min": 1e30, "clip": 0.0}

    record = execute(spec(recipe=recipe))

    assert record.status == FAILED
    assert "in epoch" in record.reason


def test_a_method_may_not_look_at_the_truth(home, tmp_path):
    file = tmp_path / "peeking.py"
    file.write_text(
        "from dataclasses import dataclass\n"
        "from harness import load\n"
        "from protocols.nets.mix import softmax_mix\n"
        "from protocols.search.method import Method\n"
        "@dataclass(frozen=True)\n"
        "class Peeking(Method):\n"
        "    version = 1\n"
        "    def mix(self, search, alphas, at, rng):\n"
        f"        bench = load('mini201'); truth = bench.roles[{DATASET!r}].truth\n"
        "        bench.column(truth, seed='mean')\n"
        "        return softmax_mix(alphas)\n"
        "METHOD = Peeking()\n"
    )

    record = execute(replace(spec(), method=str(file)))

    assert record.status == FAILED
    assert "is sealed: the method Peeking is running" in record.reason
