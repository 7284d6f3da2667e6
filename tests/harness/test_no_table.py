"""Benchmarks that hold nothing: opened by name, listed nowhere, every query an ordinary error."""

import hashlib

import pytest

from harness import Slice, load, space, store
from harness.engine import identity_of
from harness.errors import (
    InvalidSpec,
    UnknownArch,
    UnknownBenchmark,
    UnknownCost,
    UnknownName,
    UnknownSlice,
)
from harness.listing import LISTINGS
from harness.ranking import rank
from harness.record import RunSpec
from harness.spaces import spaces

AT = Slice("cifar10", "train", "valid", "accuracy", 200)


@pytest.mark.parametrize("name", spaces())
def test_there_is_one_of_every_space_and_it_holds_nothing(home, name):
    found = load(f"no-table:{name}")

    assert (found.name, found.space) == (f"no-table:{name}", space(name))
    assert (len(found), found.archs, found.datasets, found.costs()) == (0, [], [], [])
    assert found.sha256 == hashlib.sha256(b"").hexdigest()
    assert len(found.to_frame()) == 0
    assert not home.exists()


def test_every_query_is_an_ordinary_error(home):
    found = load("no-table:nb201")
    cell = space("nb201").format(space("nb201").arch([1] * 6))

    for ask in (
        lambda: found.query(cell, AT, seed="mean"),
        lambda: found.column(AT, seed="mean"),
        lambda: found.curve(cell, AT, seed=0),
        lambda: rank(found, "params", AT, seed="mean"),
    ):
        with pytest.raises(UnknownSlice, match="no-table:nb201 does not hold"):
            ask()
    with pytest.raises(UnknownArch, match="holds 0 of 15625 archs"):
        found.row(cell)
    with pytest.raises(UnknownArch):
        found.row(0)
    with pytest.raises(UnknownCost):
        found.cost_column("train_seconds", "cifar10")


def test_it_is_listed_nowhere_and_no_store_can_be_called_so(home):
    load("no-table:darts")

    assert not [name for name in store.names() if ":" in name]
    assert not [name for name, _ in LISTINGS["benchmarks"]() if ":" in name]
    with pytest.raises(InvalidSpec):
        store.check_name("no-table:darts")


def test_only_spaces_have_one(home):
    with pytest.raises(UnknownName, match="Did you mean darts"):
        load("no-table:dart")
    with pytest.raises(UnknownBenchmark):
        load("no-tables:darts")


def test_runs_on_it_have_an_identity_of_their_own(home):
    setting = {"dataset": "cifar10", "score": "sotl:cifar10/train/200"}
    one, other = (
        identity_of(RunSpec("sotl", f"no-table:{name}", 0, setting=setting))
        for name in ("nb201", "darts")
    )

    assert (one["benchmark"], one["space"]) == ("no-table:nb201", "nb201")
    assert one["table_sha256"] == other["table_sha256"]
    assert one != other
