"""Cells as graphs to draw: named nodes, and edges that carry operations or none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from harness.arch import Arch
from harness.errors import InvalidArch, InvalidSpec
from harness.paths import between
from harness.spaces import darts, nb101, nb201, oneshot1, space

Role = Literal["input", "inner", "output", "pruned"]
Ends = tuple[int, int]


@dataclass(frozen=True)
class Node:
    """A vertex: its name, unique in the graph, what is printed in it, and how it is coloured."""

    key: str
    label: str
    role: Role


@dataclass(frozen=True)
class Edge:
    """An edge from one key to another with the name of its operation, if it has one."""

    source: str
    target: str
    label: str = ""


@dataclass(frozen=True)
class CellGraph:
    """A directed graph without cycles, sources before their targets.

    Raises: ValueError if an edge does not lead from a node to a later one, or a key comes twice.
    """

    title: str
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]

    def __post_init__(self) -> None:
        place = {node.key: i for i, node in enumerate(self.nodes)}
        late = len(self.nodes)
        if len(place) < late:
            raise ValueError(f"{self.title}: two nodes have one key")
        for edge in self.edges:
            if place.get(edge.source, late) >= place.get(edge.target, -1):
                raise ValueError(f"{self.title}: {edge} does not lead to a later node")


def graphs(arch: Arch, *, pruned: bool = False) -> tuple[CellGraph, ...]:
    """The cells of an architecture: of DARTS two, of other spaces one.

    pruned: whether vertices that are on no path from input to output are kept, with that role;
    they are left out otherwise. Only where operations are on vertices.
    Raises: InvalidSpec if the space has no cell to draw; InvalidArch if the code is not of the
    space or nothing is left of the cell.
    """
    found = space(arch.space)
    if type(found) not in GRAPHS:
        raise InvalidSpec(f"No drawing is known for cells of {found.name}.")
    return GRAPHS[type(found)](found, found.arch(arch.code), pruned)


def _darts(found: darts.DartsSpace, arch: Arch, pruned: bool) -> tuple[CellGraph, ...]:
    genotype = found.genotype(arch)
    return (
        _darts_cell("Normal cell", genotype.normal),
        _darts_cell("Reduction cell", genotype.reduce),
    )


def _darts_cell(title: str, pairs: Sequence[darts.Pair]) -> CellGraph:
    """Papers number the intermediate nodes from 0, genotypes count the two inputs too."""
    inner = [str(i) for i in range(len(darts.NODES))]
    names = ["c_{k-2}", "c_{k-1}", *inner, "c_{k}"]
    operations = [
        Edge(names[source], inner[position // 2], op) for position, (op, source) in enumerate(pairs)
    ]
    joins = [Edge(name, names[-1]) for name in inner]
    return CellGraph(title, _nodes(names, names, n_inputs=2), (*operations, *joins))


def _topology(found: nb201.TopologySpace, arch: Arch, pruned: bool) -> tuple[CellGraph, ...]:
    names = ["in", *(str(i) for i in range(1, nb201.OUTPUT)), "out"]
    edges = [
        Edge(names[source], names[target], nb201.OPS[op])
        for (target, source), op in zip(nb201.EDGES, arch.code, strict=True)
        if nb201.OPS[op] != "none"
    ]
    return (CellGraph("NAS-Bench-201 cell", _nodes(names, names), tuple(edges)),)


def _size(found: nb201.SizeSpace, arch: Arch, pruned: bool) -> tuple[CellGraph, ...]:
    raise InvalidSpec(
        f"{found.name} has no cell to draw: all its networks have one and the same.",
        f"Its architectures are widths, here {found.format(arch)}.",
    )


def _nb101(found: nb101.CellSpace, arch: Arch, pruned: bool) -> tuple[CellGraph, ...]:
    matrix, ops = found.spec(arch)
    edges = [(i, j) for i, j in nb101.EDGES if matrix[i, j]]
    return (_vertex_graph("NAS-Bench-101 cell", ops, edges, pruned),)


def _oneshot(found: oneshot1.OneShotSpace, arch: Arch, pruned: bool) -> tuple[CellGraph, ...]:
    (parents,) = found.parents(np.array([arch.code], dtype=np.uint8))
    ops = [oneshot1.OPS[i] for i in arch.code[: found.n_blocks]]
    edges = sorted((int(source), int(row) + 1) for row, source in np.argwhere(parents))
    title = f"NAS-Bench-1Shot1 cell, space {found.name.rpartition('-')[2]}"
    return (_vertex_graph(title, (nb101.INPUT, *ops, nb101.OUTPUT), edges, pruned),)


# One entry for every family of spaces. The functions get the space, the arch and `pruned`.
GRAPHS: dict[type, Callable[[Any, Arch, bool], tuple[CellGraph, ...]]] = {
    darts.DartsSpace: _darts,
    nb201.TopologySpace: _topology,
    nb201.SizeSpace: _size,
    nb101.CellSpace: _nb101,
    oneshot1.OneShotSpace: _oneshot,
}


def _nodes(keys: Sequence[str], labels: Sequence[str], n_inputs: int = 1) -> tuple[Node, ...]:
    """Nodes of which the first one or two are inputs and the last is the output."""
    ends: dict[int, Role] = {0: "input", n_inputs - 1: "input", len(keys) - 1: "output"}
    labelled = enumerate(zip(keys, labels, strict=True))
    return tuple(Node(key, label, ends.get(i, "inner")) for i, (key, label) in labelled)


def _vertex_graph(title: str, ops: Sequence[str], edges: Sequence[Ends], pruned: bool) -> CellGraph:
    """A graph with operations on its vertices. edges: ascending."""
    kept = between(edges, len(ops) - 1)
    if not kept and not pruned:
        raise InvalidArch(f"{title}: no path leads to the output.", "Draw it with pruned=True.")
    nodes = _nodes([str(i) for i in range(len(ops))], ops)
    greyed = (n if i in kept else replace(n, role="pruned") for i, n in enumerate(nodes))
    shown = [edge for edge in edges if pruned or kept.issuperset(edge)]
    return CellGraph(
        title,
        tuple(node for node in greyed if pruned or node.role != "pruned"),
        tuple(Edge(str(source), str(target)) for source, target in shown),
    )
