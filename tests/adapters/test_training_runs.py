"""The step from unpickled states to values, on closed forms and on states that are damaged."""

import bz2
import copy
import pickle
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nats_files import TEXTS, accuracy, loss, states

from adapters import nats
from adapters._packing import in_memory, make_chunk
from adapters._training_runs import measured, roles
from harness import Slice, space
from harness.errors import BadFile

JUNK = st.one_of(
    st.none(),
    st.integers(-5, 10**30),
    st.floats(),
    st.text(max_size=5),
    st.lists(st.integers(0, 3), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)


def test_values_land_where_their_closed_form_says():
    archs = {i: measured(states(i, keys=("cifar10-valid", "cifar100")), "x") for i in (3, 9)}
    table = in_memory("made", space("nb201"), archs, roles(200, 12))

    for index in (3, 9):
        for seed in (111, 777):
            for epoch in (1, 7, 12):
                at = Slice("cifar10", "train", "valid", "accuracy", 12)
                read = table.query(index, at, seed=seed, epoch=epoch).value
                assert read == np.float32(accuracy(index, seed, epoch - 1))
                at = Slice("cifar100", "train", "train", "loss", 12)
                read = table.query(index, at, seed=seed, epoch=epoch).value
                assert read == np.float32(loss(index, seed, epoch - 1))
    assert table.cost(3, "train_seconds", "cifar10", epochs=12).value == 120
    assert table.cost(3, "valid_seconds", "cifar100", epochs=12).value == 2


def test_architectures_that_lack_a_run_are_nan_there_and_nowhere_else():
    full, lacking = states(0), states(1)
    del lacking["12"]["all_results"]["cifar10-valid", 111]
    table = in_memory(
        "made", space("nb201"), {0: measured(full, ""), 1: measured(lacking, "")}, roles(200, 12)
    )
    at = Slice("cifar10", "train", "valid", "accuracy", 12)

    assert np.isnan(table.column(at, seed=111)).tolist() == [False, True]
    assert np.isnan(table.column(at, seed=777)).tolist() == [False, False]
    assert table.query(1, at, seed="mean").n == 1


def test_runs_stored_in_another_order_or_with_fewer_epochs_land_in_the_same_place():
    first, other = states(0), states(1)
    runs = other["12"]["all_results"]
    other["12"]["all_results"] = dict(reversed(runs.items()))
    evaluated = runs["cifar10-valid", 777]["eval_acc1es"]
    for epoch in range(11):
        del evaluated[f"ori-test@{epoch}"]
    table = in_memory(
        "made", space("nb201"), {0: measured(first, ""), 1: measured(other, "")}, roles(200, 12)
    )

    for at in (
        Slice("cifar10", "train", "valid", "accuracy", 12),
        Slice("cifar10", "train", "test", "accuracy", 12),
        Slice("cifar10", "train+valid", "test", "loss", 12),
    ):
        for index, seed in ((0, 111), (0, 777), (1, 111), (1, 777)):
            value = accuracy if at.metric == "accuracy" else loss
            expected = [np.float32(value(index, seed, epoch)) for epoch in range(12)]
            if at.split == "test" and at.trained_on == "train" and (index, seed) == (1, 777):
                expected[:11] = [np.nan] * 11
            found = table.curve(index, at, seed=seed).values

            np.testing.assert_array_equal(found, np.array(expected, dtype=np.float32))


def damage(state, junk, rng):
    """Replaces, renames or removes something at a random depth."""
    place = state
    while True:
        key = rng.choice(list(place))
        inner = place[key]
        if isinstance(inner, dict) and inner and rng.random() < 0.75:
            place = inner
            continue
        if rng.random() < 0.3:
            del place[key]
        elif rng.random() < 0.3:
            try:
                place[junk] = place.pop(key)
            except TypeError:
                place[key] = junk
        else:
            place[key] = junk
        return


@pytest.mark.parametrize(
    "content",
    [
        {"200": 5},
        {"12": {"arch_index": 5, "arch_str": TEXTS[5]}},
        {"12": {"arch_index": [[[]]] * 3, "arch_str": 7}},
        {"-5": states(5)["12"]},
        {str(10**12): states(5)["12"]},
        {},
    ],
)
def test_files_that_hold_something_else_are_refused(content):
    compressed = bz2.compress(pickle.dumps(content))
    with pytest.raises(BadFile, match="the file"):
        nats.read_arch(compressed, 5, TEXTS[5], "the file")


@pytest.mark.parametrize("value", ["1.5", None, [1.0]])
def test_what_is_no_number_is_refused(value):
    state = states(5)
    state["12"]["all_results"]["cifar10", 111]["train_losses"][3] = value
    with pytest.raises(BadFile, match="not the results"):
        measured(state, "x")


@given(junk=JUNK, seed=st.integers(0, 2**32))
@settings(max_examples=300, deadline=None)
def test_damaged_states_are_read_or_refused(junk, seed):
    state = copy.deepcopy(states(5, keys=("cifar10",)))
    damage(state, junk, random.Random(seed))
    try:
        in_memory("made", space("nb201"), {5: measured(state, "x")}, roles(200, 12))
        make_chunk({5: measured(state, "x")}, "x")
    except BadFile as error:
        assert "x" in str(error) or "made" in str(error)
