"""The edges of DARTS' cells: what they are called, and a cell that has all of them."""

from __future__ import annotations

from collections.abc import Sequence

from harness.spaces.darts import EDGES, NODES
from reports.cell_graphs import CellGraph, Edge, Node

INPUTS, OUTPUT = ("c_{k-2}", "c_{k-1}"), "c_{k}"
# Papers number the intermediate nodes from 0; the code counts the two inputs too.
NAMES = (*INPUTS, *(str(i) for i in range(len(NODES))))
CONVOLUTION = "_conv_"  # In the names of operations that are one.
KINDS = {"op_normal": "normal cell", "op_reduce": "reduction cell"}


def in_words(group: str, row: int) -> str:
    """The edge of a row of a learned group, such as "normal cell, c_{k-2} → 0"."""
    target, source = EDGES[row]
    return f"{KINDS[group]}, {NAMES[source]} → {NAMES[target]}"


def drawn(text: str) -> str:
    """The same for a figure: with indices as such."""
    for name in INPUTS:
        text = text.replace(name, f"${name}$")
    return text


def whole_cell(title: str, operations: Sequence[str]) -> CellGraph:
    """A cell before inputs are chosen. operations: of the 14 edges, in their order."""
    nodes = [
        *(Node(name, name, "input") for name in INPUTS),
        *(Node(name, name, "inner") for name in NAMES[len(INPUTS) :]),
        Node(OUTPUT, OUTPUT, "output"),
    ]
    edges = [
        Edge(NAMES[source], NAMES[target], operation)
        for (target, source), operation in zip(EDGES, operations, strict=True)
    ]
    joins = [Edge(name, OUTPUT) for name in NAMES[len(INPUTS) :]]
    return CellGraph(title, tuple(nodes), (*edges, *joins))
