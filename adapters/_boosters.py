"""Pickled gradient-boosting models, read and evaluated with numpy alone.

NAS-Bench-301's archives hold pickles of xgboost.Booster (0.9 to 3.0) and lightgbm.Booster. Only
their state is taken; nothing of the pickle is executed, and neither library is imported.
"""

from __future__ import annotations

import io
import pickle
import struct
from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from harness.errors import BadFile

REMEDY = "Take the file from the published archive."
NEWER = (
    "It was saved by xgboost 3.1 or later; save it with xgboost 3.0 or earlier, as the published"
    " archives are."
)
# What stands before a model that was pickled with its training configuration.
WITH_CONFIG = b"CONFIG-offset:"
BINARY_MARK = b"binf"
LEARNER_BYTES, TREES_BYTES, TREE_BYTES = 136, 160, 148
NODE = np.dtype(
    [("parent", "<i4"), ("left", "<i4"), ("right", "<i4"), ("feature", "<u4"), ("value", "<f4")]
)
STATISTICS_BYTES = 16  # A node: loss change, hessian sum, base weight, number of leaf children.
DEFAULT_LEFT = np.uint32(1 << 31)
ROWS_AT_ONCE = 64  # Ours: what is walked at once stays in a core's cache.


class _Holder:
    """Stands for a Booster: takes any state, has no behaviour."""

    def __new__(cls, *args: object) -> _Holder:
        return super().__new__(cls)

    def __setstate__(self, state: object) -> None:
        self.state = state


class _Empty(dict[Any, Any]):
    """Stands for the dicts of a state, whose content is not needed."""

    def __init__(self, *args: object) -> None:
        super().__init__()


class _StateReader(pickle.Unpickler):
    """Answers the names that Booster pickles ask for, and no other."""

    ALLOWED = {
        ("xgboost.core", "Booster"): _Holder,
        ("lightgbm.basic", "Booster"): _Holder,
        ("builtins", "bytearray"): bytearray,
        ("collections", "defaultdict"): _Empty,
        ("collections", "OrderedDict"): _Empty,
    }

    def __init__(self, content: bytes, where: str) -> None:
        super().__init__(io.BytesIO(content))
        self._where = where

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.ALLOWED:
            raise BadFile(
                f"{self._where} asks for {module}.{name}, which no model needs. Nothing was"
                " executed.",
                REMEDY,
            )
        return self.ALLOWED[module, name]

    def persistent_load(self, pid: object) -> Any:
        raise BadFile(f"{self._where} holds objects stored outside the pickle.", REMEDY)


def booster_state(content: bytes, where: str) -> dict[str, Any]:
    """The state of a pickled Booster; `handle` is the model itself.

    Raises: BadFile naming `where` if it is anything else.
    """
    try:
        found = _StateReader(content, where).load()
    except BadFile:
        raise
    except Exception as error:  # A damaged pickle raises whatever its broken instructions lead to.
        raise BadFile(
            f"{where} is not a pickled model ({type(error).__name__}: {error}).", REMEDY
        ) from error
    state = getattr(found, "state", None)
    if not isinstance(found, _Holder) or not isinstance(state, dict) or "handle" not in state:
        raise BadFile(f"{where} is not a pickled model.", REMEDY)
    return state


@final
@dataclass(frozen=True)
class XGBoostTrees:
    """An XGBoost regression ensemble.

    Nodes of all trees lie one after the other; a leaf points at itself. roots: (n_trees,) first
    node of every tree. feature, left, right: (n_nodes,). threshold: (n_nodes,) float32; a value
    below it goes left. nan_left: (n_nodes,) where NaN goes. value: (n_nodes,) float32, what a
    leaf adds. depth: steps from a root to the lowest leaf.
    """

    base_score: float
    n_features: int
    roots: NDArray[np.int32]
    feature: NDArray[np.int32]
    left: NDArray[np.int32]
    right: NDArray[np.int32]
    threshold: NDArray[np.float32]
    nan_left: NDArray[np.bool_]
    value: NDArray[np.float32]
    depth: int

    def predict(self, features: NDArray[np.floating]) -> NDArray[np.float32]:
        """(n, n_features) -> (n,): the base score plus every tree's leaf.

        Raises: ValueError for another number of features.
        """
        if features.ndim != 2 or features.shape[1] != self.n_features:
            raise ValueError(f"{features.shape} features, the model takes (n, {self.n_features})")
        features = np.ascontiguousarray(features, dtype=np.float32)
        out = np.empty(len(features), dtype=np.float32)
        for start in range(0, len(features), ROWS_AT_ONCE):
            rows = features[start : start + ROWS_AT_ONCE]
            # One after the other in single precision, as XGBoost adds: the same to the last bit.
            sums = np.cumsum(self._leaves(rows), axis=1, dtype=np.float32)[:, -1]
            out[start : start + len(rows)] = np.float32(self.base_score) + sums
        return out

    @cached_property
    def _steps(self) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
        """Children, features and thresholds of the nodes, each named by twice its number.

        To that name, going left adds the 1 that finds the left child.
        """
        children = 2 * np.stack([self.right, self.left], axis=1).ravel().astype(np.intp)
        return children, self.feature.astype(np.intp).repeat(2), self.threshold.repeat(2)

    def _leaves(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n, n_features) -> (n, n_trees) values of the leaves that the rows fall into."""
        flat = rows.ravel()
        offset = (np.arange(len(rows)) * rows.shape[1])[:, np.newaxis]
        children, feature, threshold = self._steps
        node = np.broadcast_to(2 * self.roots.astype(np.intp), (len(rows), len(self.roots)))
        has_nan = bool(np.isnan(rows).any())
        for _ in range(self.depth):
            # All indices are inside; "wrap" is the check that costs least.
            seen = flat.take(offset + feature.take(node, mode="wrap"), mode="wrap")
            goes_left = seen < threshold.take(node, mode="wrap")
            if has_nan:
                goes_left |= np.isnan(seen) & self.nan_left.take(node >> 1)
            node = children.take(node + goes_left, mode="wrap")
        return self.value.take(node >> 1)


def xgboost_trees(content: bytes, where: str) -> XGBoostTrees:
    """Reads a pickled xgboost.Booster with the legacy binary model of versions up to 3.0.

    Raises: BadFile naming `where`.
    """
    handle = booster_state(content, where)["handle"]
    if not isinstance(handle, (bytes, bytearray)):
        raise BadFile(f"{where} holds no XGBoost model.", REMEDY)
    model = bytes(handle)
    if model.startswith(WITH_CONFIG):
        start = len(WITH_CONFIG) + 8
        (length,) = struct.unpack_from("<q", model, len(WITH_CONFIG))
        model = model[start : start + length]
    if model[:1] == b"{":
        raise BadFile(f"{where} is not in XGBoost's binary format.", NEWER)
    try:
        return _binary_trees(model.removeprefix(BINARY_MARK))
    except (struct.error, ValueError, IndexError, OverflowError) as error:
        raise BadFile(f"{where} is not a whole XGBoost model ({error}).", REMEDY) from error


def _binary_trees(model: bytes) -> XGBoostTrees:
    base_score, n_features = struct.unpack_from("<fI", model)
    at = LEARNER_BYTES
    for wanted in (b"reg:", b"gbtree"):
        (length,) = struct.unpack_from("<Q", model, at)
        name = model[at + 8 : at + 8 + length]
        if not name.startswith(wanted):
            raise ValueError(f"{name[:40]!r} where {wanted!r} is expected")
        at += 8 + length
    (n_trees,) = struct.unpack_from("<i", model, at)
    at += TREES_BYTES
    if not 0 < n_trees <= len(model) // TREE_BYTES:
        raise ValueError(f"{n_trees} trees")
    trees = []
    for _ in range(n_trees):
        (n_nodes,) = struct.unpack_from("<i", model, at + 4)
        nodes = np.frombuffer(model, NODE, n_nodes, at + TREE_BYTES)
        at += TREE_BYTES + n_nodes * (NODE.itemsize + STATISTICS_BYTES)
        trees.append(nodes)
    if at > len(model):
        raise ValueError("cut short")
    return _joined(trees, base_score, n_features)


def _joined(trees: list[NDArray[np.void]], base_score: float, n_features: int) -> XGBoostTrees:
    roots = np.cumsum([0, *(len(tree) for tree in trees[:-1])]).astype(np.int32)
    nodes = np.concatenate(trees)
    own = np.arange(len(nodes), dtype=np.int32)
    root_of = np.repeat(roots, [len(tree) for tree in trees])
    size_of = np.repeat([len(tree) for tree in trees], [len(tree) for tree in trees])
    is_leaf = nodes["left"] == -1
    for side in ("left", "right"):
        inside = (nodes[side] > own - root_of) & (nodes[side] < size_of)
        if not (inside | is_leaf).all():
            raise ValueError("a node whose children are not in its tree")
    feature = (nodes["feature"] & ~DEFAULT_LEFT).astype(np.int32)
    if (feature[~is_leaf] >= n_features).any():
        raise ValueError("a node on a feature that the model does not have")
    left = np.where(is_leaf, own, nodes["left"] + root_of).astype(np.int32)
    right = np.where(is_leaf, own, nodes["right"] + root_of).astype(np.int32)
    return XGBoostTrees(
        base_score=base_score,
        n_features=n_features,
        roots=roots,
        feature=np.where(is_leaf, 0, feature).astype(np.int32),
        left=left,
        right=right,
        threshold=nodes["value"].copy(),
        nan_left=(nodes["feature"] & DEFAULT_LEFT) != 0,
        value=np.where(is_leaf, nodes["value"], 0).astype(np.float32),
        depth=_depth(left, right, roots),
    )


def _depth(left: NDArray[np.int32], right: NDArray[np.int32], roots: NDArray[np.int32]) -> int:
    """Steps from a root to the lowest leaf; children come after their parents, so it ends."""
    depth, level = 0, roots
    while True:
        inner = level[left[level] != level]
        if not len(inner):
            return depth
        depth, level = depth + 1, np.concatenate([left[inner], right[inner]])
