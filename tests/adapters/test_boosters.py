"""Pickled boosters: predictions of the library that made them, and hostile or damaged files."""

import pickle
import struct

import numpy as np
import pytest

from adapters._boosters import booster_state, xgboost_trees
from harness.errors import BadFile

VERSIONS = ["xgb_1.0.2", "xgb_1.1.1", "xgb_1.2.1"]
LIGHTGBM = ["lgb_2.3.1", "lgb_3.0.0"]


def content(data, version):
    return (data / "nb301" / version / "surrogate_model.model").read_bytes()


@pytest.mark.parametrize("version", VERSIONS)
def test_predictions_are_those_of_the_version_that_made_the_model(data, version):
    with np.load(data / "nb301" / version / "xy.npz") as held:
        inputs, outputs = held["X"], held["p"]

    found = xgboost_trees(content(data, version), version).predict(inputs)

    assert found.dtype == np.float32
    assert np.array_equal(found, outputs.astype(np.float32))


def node(parent, left, right, feature, value):
    return struct.pack("<iiiIf", parent, left, right, feature, value)


def model(*trees, base_score=0.5, n_features=2, objective=b"reg:squarederror"):
    """A model in XGBoost's legacy binary format; a tree is a list of nodes."""
    head = struct.pack("<fI", base_score, n_features).ljust(136, b"\0")
    names = b"".join(struct.pack("<Q", len(n)) + n for n in (objective, b"gbtree"))
    body = struct.pack("<i", len(trees)).ljust(160, b"\0")
    for nodes in trees:
        body += struct.pack("<ii", 1, len(nodes)).ljust(148, b"\0")
        body += b"".join(nodes) + bytes(16 * len(nodes))
    return head + names + body


class Booster:
    """Pickled under the name of XGBoost's class."""

    def __init__(self, handle):
        self.handle = handle


def pickled(handle, module="xgboost.core"):
    Booster.__module__, Booster.__qualname__ = "tests_booster", "Booster"
    import sys
    import types

    sys.modules["tests_booster"] = types.SimpleNamespace(Booster=Booster)
    raw = pickle.dumps(Booster(bytearray(handle)), protocol=3)
    return raw.replace(b"ctests_booster\nBooster\n", f"c{module}\nBooster\n".encode())


NAN_LEFT = 1 << 31
# x0 < 3 ? (x1 < 1 ? 10 : 20) : 30, with NaN in x0 going right and in x1 going left.
TREE = [
    node(-1, 1, 2, 0, 3.0),
    node(0, 3, 4, 1 | NAN_LEFT, 1.0),
    node(0, -1, -1, 0, 30.0),
    node(1, -1, -1, 0, 10.0),
    node(1, -1, -1, 0, 20.0),
]
STUMP = [node(-1, -1, -1, 0, 100.0)]


def test_a_tree_by_hand():
    trees = xgboost_trees(pickled(model(TREE, STUMP)), "hand")
    nan = float("nan")
    rows = [[2, 0], [2, 1], [3, 0], [nan, 0], [2, nan]]

    found = trees.predict(np.array(rows, dtype=np.float32))

    assert found.tolist() == [110.5, 120.5, 130.5, 130.5, 110.5]
    assert (trees.depth, trees.n_features, len(trees.roots)) == (2, 2, 2)


@pytest.mark.parametrize("before", [b"", b"binf"])
def test_what_stands_before_a_model_is_skipped(before):
    raw = before + model(STUMP)
    with_config = b"CONFIG-offset:" + struct.pack("<q", len(raw)) + raw + b'{"version": [1, 0]}'

    for handle in (raw, with_config):
        assert xgboost_trees(pickled(handle), "hand").predict(np.zeros((1, 2))) == [100.5]


def test_many_rows_are_predicted_as_one_by_one():
    trees = xgboost_trees(pickled(model(TREE, STUMP, TREE)), "hand")
    rows = np.random.default_rng(0).integers(0, 5, (1000, 2)).astype(np.float32)

    together = trees.predict(rows)

    assert together.tolist() == [float(trees.predict(row[np.newaxis])[0]) for row in rows]


def test_a_wrong_number_of_features_is_refused():
    with pytest.raises(ValueError, match="takes"):
        xgboost_trees(pickled(model(TREE)), "hand").predict(np.zeros((1, 3)))


@pytest.mark.parametrize(
    ("handle", "problem"),
    [
        (model(TREE)[:-40], "cut short|buffer"),
        (model(TREE)[:100], "whole"),
        (model([node(-1, 1, 7, 0, 3.0), *TREE[1:]]), "children"),
        (model([node(-1, 0, 2, 0, 3.0), *TREE[1:]]), "children"),
        (model([node(-1, 1, 2, 5, 3.0), *TREE[1:]]), "feature"),
        (model(TREE, objective=b"binary:logistic"), "expected"),
        (b'{"learner": {}}', "binary format"),
        (b"\x7b\x4c\x00\x00", "binary format"),
    ],
)
def test_a_damaged_or_newer_model_is_refused(handle, problem):
    with pytest.raises(BadFile, match=f"(?s)somewhere.*({problem})"):
        xgboost_trees(pickled(handle), "somewhere")


class Hostile:
    def __reduce__(self):
        return (print, ("executed",))


@pytest.mark.parametrize(
    "raw",
    [
        pickle.dumps(Hostile()),
        b"cos\nsystem\n(S'true'\ntR.",
        pickle.dumps({"handle": b""}),
        pickle.dumps([1, 2]),
        b"no pickle",
        b"",
    ],
)
def test_nothing_else_is_read_or_executed(raw, capsys):
    with pytest.raises(BadFile, match="somewhere"):
        booster_state(raw, "somewhere")

    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("version", LIGHTGBM)
def test_the_runtime_models_text_is_found(data, version):
    handle = booster_state(content(data, version), version)["handle"]

    assert handle.startswith("tree\nversion=v3")


@pytest.mark.parametrize("cut", [10, 1000, 100_000])
def test_a_cut_file_is_refused(data, cut):
    with pytest.raises(BadFile, match="cut-file"):
        xgboost_trees(content(data, VERSIONS[0])[:cut], "cut-file")
