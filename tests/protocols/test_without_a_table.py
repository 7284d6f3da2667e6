"""What every protocol does on a benchmark that holds nothing."""

import pytest
from synthetic_tables import ROLES, make_table, n_conv3

from harness import engine, load, registry, space
from harness.engine import Run, run_all
from harness.record import DONE, SKIPPED, RunSpec
from protocols import zerocost
from protocols.methods.freedarts import METHOD
from protocols.untrained import PROTOCOL

NB201 = space("nb201")
CELL = NB201.format(NB201.arch([3] * 6))
NOISE = {"dataset": "cifar10", "images": "gaussian", "network": {"channels": 4, "n_cells": 1}}
SEARCH = {**NOISE, "saliency": "synflow", "n_made": 4}
BLACK_BOX = {"dataset": "cifar10", "budget_queries": 3, "oracle_seed": "mean"}
TRAINED = {**NOISE, "n_made": 16, "recipe": {"epochs": 1, "batch_size": 8}}
CURVES = {"dataset": "cifar10", "score": "sotl:cifar10/train/200", "table_seed": "mean"}


def specs_of(protocol, benchmark="no-table:nb201"):
    (scored,) = zerocost.specs(
        benchmark, [CELL], ["l2_norm"], seed=0, batch_size=4, **{**NOISE, "network": {}}
    )
    return {
        "blackbox": RunSpec("blackbox", benchmark, 0, "random_search", BLACK_BOX),
        "sotl": RunSpec("sotl", benchmark, 0, setting=CURVES),
        "untrained": RunSpec("untrained", benchmark, 0, "freedarts", SEARCH),
        "supernet": RunSpec("supernet", benchmark, 0, "darts", TRAINED),
        "zerocost": scored,
    }[protocol]


@pytest.mark.parametrize("protocol", registry.names("protocol"))
def test_a_run_is_done_or_says_plainly_what_is_missing(home, protocol):
    reasons = {
        "blackbox": "no-table:nb201 holds 0 of 15,625 archs; black-box methods may propose any.",
        "sotl": "no-table:nb201 declares no truth for cifar10.",
    }

    (record,) = run_all([specs_of(protocol)])

    assert record.status == (SKIPPED if protocol in reasons else DONE)
    assert record.reason == reasons.get(protocol, "")


def test_a_search_is_recorded_with_nothing_looked_up_and_not_run_twice(home, monkeypatch):
    (record,) = run_all([specs_of("untrained")])
    result = record.result

    assert (result["values"], result["slices"]) == ({}, {})
    assert (result["final_truth"], result["final_index"]) == (None, None)
    assert result["search_seconds"] > 0
    strengths = record.array("saliency_op")
    assert NB201.parse(result["arch"]) == NB201.discretise([strengths])

    monkeypatch.setattr(engine, "execute", lambda spec: pytest.fail("it was run again"))
    assert run_all([specs_of("untrained")])[0].result["arch"] == result["arch"]


def test_the_cells_on_the_way_are_recorded_too(home):
    spec = RunSpec("untrained", "no-table:nb201", 0, "freedarts", {**SEARCH, "one_by_one": True})
    (record,) = run_all([spec])

    assert len(record.result["track"]) == 25
    assert all(step["values"] == {} for step in record.result["track"])


def test_a_table_changes_nothing_of_a_search():
    table = make_table(n_conv3(NB201.codes))
    seeds = {"truth_seed": "mean", "search_seed": "mean"}

    without = PROTOCOL.run(Run(load("no-table:nb201"), 3, SEARCH, METHOD))
    with_one = PROTOCOL.run(Run(table, 3, {**SEARCH, **seeds}, METHOD))

    assert without.result["arch"] == with_one.result["arch"]
    assert with_one.result["values"]


def test_roles_for_other_data_alone_are_still_a_reason():
    table = make_table(n_conv3(NB201.codes))
    table.roles = {"cifar100": ROLES["cifar10"]}

    reason = PROTOCOL.skip(Run(table, 0, SEARCH, METHOD))

    assert reason == "synthetic declares no roles for 'cifar10'."
