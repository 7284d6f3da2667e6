"""NAS-Bench-301's graph isomorphism network in numpy.

A pair of cells is one graph of 14 nodes and 29 edges. Per cell: two inputs, four intermediate
nodes, one output; 8 edges with an operation and 4 of identity from the intermediate nodes to the
output. Five more edges of identity join the cells: from the normal cell's output to itself and to
the inputs of the reduction cell, and from the reduction cell's output back to the normal cell's
inputs. Sources: Xu et al., ICLR 2019 (GIN); Siems et al. 2020 and Zela et al., ICLR 2022; code
automl/nasbench301 (`gnn_utils.py`, `models/conv.py`, `models/gincnn.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from adapters._nb301_features import OPS, Cells, cells
from harness.arch import Codes
from harness.errors import BadFile
from harness.spaces.darts import NODES

REMEDY = "Take the file from the published archive."
Floats = NDArray[np.float32]
State = Mapping[str, NDArray[Any]]

N_NODES = 7  # Of one cell: the inputs 0 and 1, the intermediate nodes 2 to 5, the output 6.
OUTPUT = 6
IDENTITY, N_EDGE_TYPES = 0, len(OPS) + 1  # An edge's type: identity, then the operations.
# Types of a cell's nodes: first input, second input, intermediate, output.
NODE_TYPES = (0, 1, 2, 2, 2, 2, 3)
N_NODE_TYPES, N_DEGREES = 4, 8
NODE_TABLE = "gnn_node.node_encoder.type_encoder.weight"
EPSILON = 1e-5  # torch.nn.BatchNorm1d's default, which the code leaves as it is.
ARCHS_AT_ONCE = 128  # Ours: what is computed at once stays below some MB.
# What the published models were trained with; another value is another network.
SETTINGS: Mapping[str, object] = {
    "graph_pooling": "mean",
    "virtual_node": True,
    "graph_preprocessing:undirected_graph": False,
    "graph_preprocessing:self_loops": False,
    "graph_preprocessing:add_node_degree_one_hot": True,
}


@final
@dataclass(frozen=True)
class _Affine:
    """x -> x @ weight + bias."""

    weight: Floats
    bias: Floats

    def __call__(self, x: Floats) -> Floats:
        return x @ self.weight + self.bias


@final
@dataclass(frozen=True)
class _Layer:
    """One layer: messages over the edges, then two affine maps with batch norms folded in.

    edges: (8, width), what each type of edge adds to what it carries. own: 1 + epsilon, the
    weight of a node's own state. virtual: the maps of the virtual node; the last layer has none.
    """

    edges: Floats
    own: np.float32
    inner: _Affine
    outer: _Affine
    virtual: tuple[_Affine, _Affine] | None


@final
@dataclass(frozen=True)
class Gin:
    """The network. nodes: (4, width) and degrees: (8, width) embed a node; virtual: (width,)."""

    nodes: Floats
    degrees: Floats
    virtual: Floats
    layers: tuple[_Layer, ...]
    head: _Affine

    def predict(self, codes: Codes, space: str = "darts") -> NDArray[np.float32]:
        """Validation accuracy in percent.

        codes: (n, 40), of `darts` or `darts-no-none`. Returns: (n,).
        Raises: InvalidArch if the codes are not such a space's.
        """
        found = cells(codes, space)
        out = np.empty(len(found.ops), dtype=np.float32)
        for start in range(0, len(out), ARCHS_AT_ONCE):
            part = slice(start, start + ARCHS_AT_ONCE)
            out[part] = self._percent(Cells(found.ops[part], found.sources[part]))
        return out

    def _percent(self, part: Cells) -> Floats:
        types = _edge_types(part)
        cell = np.arange(2)[:, np.newaxis] * N_NODES
        carried_from = (part.sources + cell).reshape(len(types), -1)
        state = self.nodes[np.array(2 * NODE_TYPES)] + self.degrees[_degrees(part)]
        virtual: Floats = np.broadcast_to(self.virtual, (len(types), 1, self.virtual.shape[-1]))
        for layer in self.layers:
            state = state + virtual
            before = state
            state = layer.outer(_relu(layer.inner(_gathered(layer, state, carried_from, types))))
            if layer.virtual is not None:
                state = _relu(state)
                first, second = layer.virtual
                summed = before.sum(axis=1, keepdims=True) + virtual
                virtual = _relu(second(_relu(first(summed))))
        logits = self.head(state.mean(axis=1))[:, 0].astype(np.float64)
        return (100 / (1 + np.exp(-logits))).astype(np.float32)


def _edge_types(part: Cells) -> NDArray[np.intp]:
    """(n, 2, 8) -> (n, 16): the type of every edge that enters an intermediate node.

    Upstream lists the edges by source, then target, but their operations by target, then source,
    and joins the lists. So an edge has the operation of another; the published weights were
    trained so.
    """
    targets = np.repeat(NODES, 2)
    by_source = np.argsort(part.sources * N_NODES + targets, axis=2)
    place = np.argsort(by_source, axis=2)
    return (np.take_along_axis(part.ops, place, axis=2) + 1).reshape(len(part.ops), -1)


def _degrees(part: Cells) -> NDArray[np.intp]:
    """(n, 14): edges at every node in either direction; one to itself counts once."""
    leaving = (part.sources[..., np.newaxis] == np.arange(N_NODES)).sum(axis=2)
    # Beside them: two inputs and the output of an intermediate node, what the output is joined
    # from, and the edges between the cells.
    others = np.array([[1, 1, 3, 3, 3, 3, 4 + 1 + 2], [1, 1, 3, 3, 3, 3, 4 + 2]])
    return (leaving + others).reshape(len(part.ops), -1)


def _gathered(
    layer: _Layer, state: Floats, carried_from: NDArray[np.intp], types: NDArray[np.intp]
) -> Floats:
    """A node's own state, weighted, plus what its incoming edges carry. state: (n, 14, width)."""
    n, _, width = state.shape
    out = layer.own * state
    # Two edges enter every intermediate node, so that sums over pairs stand for a scatter.
    carried = _relu(state[np.arange(n)[:, np.newaxis], carried_from] + layer.edges[types])
    out.reshape(n, 2, N_NODES, width)[:, :, 2:OUTPUT] += carried.reshape(n, 2, 4, 2, width).sum(3)
    same = _relu(state + layer.edges[IDENTITY])
    per_cell = same.reshape(n, 2, N_NODES, width)
    normal, reduce = OUTPUT, N_NODES + OUTPUT
    out[:, [normal, reduce]] += per_cell[:, :, 2:OUTPUT].sum(axis=2)
    out[:, [normal, N_NODES, N_NODES + 1]] += same[:, normal : normal + 1]
    out[:, [0, 1]] += same[:, reduce : reduce + 1]
    return out


def _relu(x: Floats) -> Floats:
    return np.maximum(x, np.float32(0))


# --- From the state dict ------------------------------------------------------------------------


def gin(state: State, config: Mapping[str, object], where: str) -> Gin:
    """The network with these weights.

    state: arrays by the names of upstream's modules. config: the model's settings, of which those
    in `SETTINGS` must be the published ones where they are given.
    Raises: BadFile naming `where` if a weight is missing or of a wrong shape, or if the settings
        are another network's.
    """
    for name, value in SETTINGS.items():
        if config.get(name, value) != value:
            raise BadFile(
                f"{where}: a GIN with {name}={config[name]!r} is not read here.",
                f"The published models have {value!r}.",
            )
    weights = _Weights(state, where)
    width = weights.width
    n_layers = 0
    while f"gnn_node.convs.{n_layers}.eps" in state:
        n_layers += 1
    if n_layers < 2 or n_layers != config.get("num_gnn_layers", n_layers):
        raise BadFile(f"{where} has {n_layers} layers, not those its settings tell.", REMEDY)
    return Gin(
        nodes=weights.array(NODE_TABLE, N_NODE_TYPES, width),
        degrees=weights.array("gnn_node.node_encoder.attribute_encoder.weight", N_DEGREES, width),
        virtual=weights.array("gnn_node.virtualnode_embedding.weight", 1, width),
        layers=tuple(_layer(weights, i, is_last=i == n_layers - 1) for i in range(n_layers)),
        head=weights.affine("graph_pred_linear", 1, width),
    )


@final
class _Weights:
    """Arrays of a state dict, checked. width: numbers that describe a node."""

    def __init__(self, state: State, where: str) -> None:
        self._state, self._where = state, where
        table = state.get(NODE_TABLE)
        self.width = table.shape[1] if table is not None and table.ndim == 2 else 1

    def array(self, name: str, *shape: int) -> Floats:
        """The array of this name and shape."""
        found = self._state.get(name)
        if found is None:
            raise BadFile(f"{self._where} has no {name}.", REMEDY)
        if found.shape != shape or found.dtype.kind != "f" or not np.isfinite(found).all():
            raise BadFile(
                f"{self._where}: {name} holds {found.dtype} of shape {found.shape}, not finite"
                f" floating-point numbers of shape {shape}.",
                REMEDY,
            )
        return found.astype(np.float32)

    def affine(self, name: str, n_out: int, n_in: int, norm: str | None = None) -> _Affine:
        """A linear map, followed by a batch norm by its running statistics if one is named."""
        weight = self.array(f"{name}.weight", n_out, n_in).astype(np.float64).T
        bias = self.array(f"{name}.bias", n_out).astype(np.float64)
        if norm is not None:
            scale, shift, mean, variance = (
                self.array(f"{norm}.{part}", n_out).astype(np.float64)
                for part in ("weight", "bias", "running_mean", "running_var")
            )
            if (variance < 0).any():
                raise BadFile(f"{self._where}: {norm} has a negative variance.", REMEDY)
            scale = scale / np.sqrt(variance + EPSILON)
            weight, bias = weight * scale, (bias - mean) * scale + shift
        return _Affine(np.ascontiguousarray(weight, dtype=np.float32), bias.astype(np.float32))


def _layer(weights: _Weights, index: int, *, is_last: bool) -> _Layer:
    width = weights.width
    conv, virtual = f"gnn_node.convs.{index}", f"gnn_node.mlp_virtualnode_list.{index}"
    own = weights.array(f"{conv}.eps", 1)[0] + np.float32(1)
    norm = f"gnn_node.batch_norms.{index}"
    return _Layer(
        edges=weights.array(f"{conv}.edge_encoder.weight", N_EDGE_TYPES, width),
        own=own,
        inner=weights.affine(f"{conv}.mlp.0", 2 * width, width, f"{conv}.mlp.1"),
        outer=weights.affine(f"{conv}.mlp.3", width, 2 * width, norm),
        virtual=None
        if is_last
        else (
            weights.affine(f"{virtual}.0", 2 * width, width, f"{virtual}.1"),
            weights.affine(f"{virtual}.3", width, 2 * width, f"{virtual}.4"),
        ),
    )
