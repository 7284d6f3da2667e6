"""The cell space of DARTS and the reduced spaces S1 to S4 of RobustDARTS.

Sources: Liu et al., ICLR 2019 (DARTS) and its code, quark0/darts; Zela et al., ICLR 2020
(RobustDARTS). The candidates of S1 are listed in ruocwang/darts-pt, sota/cnn/spaces.py.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import combinations, permutations
from math import prod
from operator import itemgetter
from typing import Any, Literal, NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from harness.arch import Arch, Choice, Codes, SearchSpace
from harness.errors import InvalidArch, InvalidSpec, unknown

NONE, SKIP, NOISE = "none", "skip_connect", "noise"
PRIMITIVES = (
    NONE,
    "max_pool_3x3",
    "avg_pool_3x3",
    SKIP,
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
)
CellType = Literal["normal", "reduce"]
CELL_TYPES: tuple[CellType, ...] = ("normal", "reduce")
# Nodes 0 and 1 are the outputs of the two preceding cells; the cell's output joins these four.
NODES = (2, 3, 4, 5)
# (target node, source node) of every edge, in the order of the code and of the alpha matrix.
EDGES = tuple((node, source) for node in NODES for source in range(node))
EDGE_INDEX = {edge: index for index, edge in enumerate(EDGES)}
N_PAIRS = 2 * len(NODES)
# For every pair of a cell, the edge from source 0 to its node.
FIRST_EDGES = np.array([EDGE_INDEX[node, 0] for node in NODES for _ in range(2)], dtype=np.int64)

# Operations by the kernels of their depthwise convolutions; after each come a 1x1 convolution and
# batch norm: quark0/darts, cnn/operations.py. Without any an operation has no weights, but for a
# skip that halves the side.
DEPTHWISE_KERNELS: dict[str, tuple[int, ...]] = {
    NONE: (),
    NOISE: (),
    SKIP: (),
    "max_pool_3x3": (),
    "avg_pool_3x3": (),
    "sep_conv_3x3": (3, 3),
    "sep_conv_5x5": (5, 5),
    "dil_conv_3x3": (3,),
    "dil_conv_5x5": (5,),
}
STEM_MULTIPLIER = 3  # Channels of the stem per channel of the first cell: cnn/model.py there.
AUXILIARY_WIDTHS = (128, 768)  # Channels after the head's 1x1 and 2x2 convolution: likewise.

Pair = tuple[str, int]  # (operation, source node)
Pairs = tuple[Pair, ...]  # One cell: the two pairs of node 2, then those of nodes 3, 4 and 5.
Rows = tuple[tuple[str, ...], ...]  # Names of operations, one row per edge.


class Genotype(NamedTuple):
    """The two cells as the DARTS family prints them.

    normal, reduce: 8 (operation, source node) pairs, two per intermediate node;
    normal_concat, reduce_concat: the nodes that the cell's output joins, here always 2 to 5.
    """

    normal: Sequence[Pair]
    normal_concat: Sequence[int]
    reduce: Sequence[Pair]
    reduce_concat: Sequence[int]


class PlacedCell(NamedTuple):
    """A cell where it stands in a network, as far as its cost depends on that.

    n_in: channels of its two inputs together; width: channels of each of its nodes; side: of the
    images in the output of the cell before.
    """

    cell: CellType
    n_in: int
    width: int
    side: int


# (weights of convolutions, channels of batch norms, side of the output) -> parameters or
# multiply-adds.
LayerCount = Callable[[int, int, int], int]


@final
class DartsSpace(SearchSpace):
    """A normal and a reduction cell; each of 4 nodes sums two operations on two earlier nodes.

    Groups: the learned `op_normal` and `op_reduce`, 14 rows in the order of `EDGES`; then the
    unlearned `inputs_normal_3`, `_4`, `_5` and `inputs_reduce_3`, `_4`, `_5`, which take 2 of the
    earlier nodes. Node 2 has no group: it always takes 0 and 1. A code is 28 operations, then 12
    sources.

    `none` is an operation of the supernet alone, no architecture has it. The operation of an edge
    that is no input has no effect: in every `Arch` it is the edge's first candidate beside
    `none`, so that equal cells are equal values.
    """

    def __init__(self, name: str, normal: Rows, reduce: Rows) -> None:
        """normal, reduce: the candidate operations of each of the 14 edges.

        Raises: InvalidSpec if there are not 14 rows, or one is empty beside `none` or repeats.
        """
        self.name = name
        self._usable = tuple(_usable(name, rows) for rows in (normal, reduce))
        self.groups = (
            Choice("op_normal", normal),
            Choice("op_reduce", reduce),
            *(
                Choice(f"inputs_{cell}_{node}", (tuple("01234"[:node]),), take=2, learned=False)
                for cell in CELL_TYPES
                for node in NODES[1:]
            ),
        )

    @cached_property
    def size(self) -> int:
        """Number of distinct architectures: `none` and edges that are no input do not count."""
        return prod(
            sum(
                len(usable[EDGE_INDEX[node, i]]) * len(usable[EDGE_INDEX[node, j]])
                for i, j in combinations(range(node), 2)
            )
            for usable in self._usable
            for node in NODES
        )

    def arch(self, code: Sequence[int]) -> Arch:
        """The architecture with this code; operations of edges that are no input are ignored.

        Raises: InvalidArch if the code is malformed or an input's operation is `none`.
        """
        return self.of_genotype(self.genotype(super().arch(code)))

    def genotype(self, arch: Arch) -> Genotype:
        """The cells as (operation, source) pairs, each node's two in ascending order of source.

        Raises: InvalidArch if the architecture is of another space.
        """
        normal, reduce = self._cells(arch)
        return Genotype(normal, NODES, reduce, NODES)

    def of_genotype(self, genotype: Genotype) -> Arch:
        """The architecture with these cells; the two pairs of a node may be in either order.

        Raises: InvalidArch if a cell has not 8 pairs, a node takes one input twice, a source is
            no earlier node, an operation is not offered on its edge, or the output does not join
            nodes 2 to 5.
        """
        concats = (genotype.normal_concat, genotype.reduce_concat)
        for cell, concat in zip(CELL_TYPES, concats, strict=True):
            # A range is not written out, since one that is read from text can be of any length.
            joined = concat if isinstance(concat, range) else tuple(concat)
            if joined not in (range(2, 6), NODES):
                raise InvalidArch(
                    f"{self.name}: {cell}_concat is {concat}.", "It can only be range(2, 6)."
                )
        cells = zip(CELL_TYPES, self._usable, (genotype.normal, genotype.reduce), strict=True)
        return self._build([self._checked(cell, usable, pairs) for cell, usable, pairs in cells])

    def parse(self, text: str) -> Arch:
        """Reads `Genotype(normal=[('skip_connect', 0), ...], normal_concat=range(2, 6), ...)`.

        The four fields are named, in any order, and hold lists, tuples or `range(2, 6)`.
        Raises: InvalidArch with what is wrong and, if the form is wrong, an example.
        """
        try:
            return self.of_genotype(_genotype_of_text(text.strip()))
        except (SyntaxError, ValueError, TypeError, MemoryError, OverflowError, RecursionError):
            example = self.format(self.sample(np.random.default_rng(0)))
            raise InvalidArch(
                f"{text!r} is not a genotype of {self.name}.", f"Write it like {example}."
            ) from None

    def format(self, arch: Arch) -> str:
        """The genotype as the DARTS code prints it."""
        normal, reduce = self._cells(arch)
        return (
            f"Genotype(normal={list(normal)}, normal_concat=range(2, 6),"
            f" reduce={list(reduce)}, reduce_concat=range(2, 6))"
        )

    def sample(self, rng: np.random.Generator) -> Arch:
        """One architecture: two inputs per node, uniform over pairs, then an operation for each.

        Uniform over all architectures where every edge offers equally many operations beside
        `none`, as in all spaces of this module.
        """
        cells: list[Pairs] = []
        for usable in self._usable:
            pairs: list[Pair] = []
            for node in NODES:
                for source in rng.choice(node, size=2, replace=False, shuffle=False).tolist():
                    ops = usable[EDGE_INDEX[node, source]]
                    pairs.append((ops[rng.integers(len(ops))], source))
            cells.append(tuple(pairs))
        return self._build(cells)

    def one_hot(self, arch: Arch) -> list[NDArray[np.float32]]:
        """Per group, 1 where chosen; rows of edges that are no input are all 0."""
        encoded = super().one_hot(arch)
        for block, pairs in zip(encoded, self._cells(arch), strict=False):
            block[sorted(set(range(len(EDGES))) - set(_edges_of(pairs)))] = 0.0
        return encoded

    def discretise(self, strengths: Sequence[NDArray[np.floating]]) -> Arch:
        """The rule of DARTS: each node keeps the two edges with the strongest operations.

        Per edge the strongest operation beside `none` counts. Strengths of inputs, where given,
        come first and the operations break their ties: equal ones leave the choice to the
        operations, ones name the inputs (DARTS-PT selects them so). Last ties go to the lowest
        index. DARTS compares edges by softmax weights, `none` included; raw logits are another
        rule, since their offset differs between edges.

        strengths: (14, n_options) for `op_normal` and `op_reduce`, entries past a short row are
            ignored; then for every group of inputs (1, node), or nothing for any of them.
        Raises: InvalidArch if a strength is NaN or the number of blocks is neither 2 nor 8;
            ValueError if a block has too few rows or entries.
        """
        if len(strengths) not in (len(CELL_TYPES), len(self.groups)):
            raise InvalidArch(
                f"{self.name}: {len(strengths)} blocks of strengths.",
                f"Give {len(CELL_TYPES)}, or {len(self.groups)} with those of the inputs.",
            )
        values = {
            group.name: self._values(group, block)
            for group, block in zip(self.groups, strengths, strict=False)
        }
        cells = zip(CELL_TYPES, self.groups, strict=False)
        return self._build([_strongest(cell, group.options, values) for cell, group in cells])

    def used_rows(self, arch: Arch, group: str) -> list[int]:
        cell = next(c for c in CELL_TYPES if group == f"op_{c}")
        return _edges_of(self._cells(arch)[CELL_TYPES.index(cell)])

    def target(self, group: str, row: int) -> int | None:
        return EDGES[row][0]

    def fed_by(self, group: str, row: int) -> tuple[str, int] | None:
        node, source = EDGES[row]
        inputs = f"inputs_{group.removeprefix('op_')}_{node}"
        return (inputs, source) if inputs in {held.name for held in self.groups} else None

    def neighbours(self, arch: Arch) -> list[Arch]:
        """All architectures that differ in one input's operation or in one input's source.

        An input that moves to another source keeps its operation, as in the local search of White
        et al., UAI 2021. Where the new edge does not offer it (in S1), the input may get any
        operation that its old edge does not offer; so the relation is symmetric in every space.
        """
        cells = self._cells(arch)
        return [
            self._build([*cells[:c], changed, *cells[c + 1 :]])
            for c, (usable, pairs) in enumerate(zip(self._usable, cells, strict=True))
            for changed in _changed(usable, pairs)
        ]

    def canonical(self, arch: Arch) -> Arch:
        """The one that stands for all that differ in the order of their nodes alone.

        Nodes 2 to 5 may change places as long as every source comes before its node. That
        permutes the channels of the cell's output, and what reads them are 1x1 convolutions and
        linear layers whose weights can be permuted alike. Other equalities, such as two equal
        sums of skips in a normal cell, are not looked for: those stay distinct.
        """
        cells = zip(self._usable, self._cells(arch), strict=True)
        return self._build(
            [min(c for c in _relabelled(pairs) if _offers(usable, c)) for usable, pairs in cells]
        )

    def depth(self, arch: Arch, cell: CellType) -> int:
        """Edges on the longest path from an input of the cell to its output: 2 to 5.

        The step from a node to the output is one of them; all operations count alike.
        """
        longest = [0] * (NODES[-1] + 1)
        for edge in _edges_of(self._cells(arch)[CELL_TYPES.index(cell)]):
            node, source = EDGES[edge]
            longest[node] = max(longest[node], longest[source] + 1)
        return max(longest) + 1

    def skip_ratio(self, arch: Arch, cell: CellType) -> float:
        """Share of the cell's 8 inputs whose operation is skip_connect."""
        pairs = self._cells(arch)[CELL_TYPES.index(cell)]
        return sum(op == SKIP for op, _ in pairs) / N_PAIRS

    def network_cost(
        self,
        cost: Literal["params", "flops"],
        codes: Codes,
        *,
        channels: int = 36,
        n_cells: int = 20,
        n_classes: int = 10,
        image_size: int = 32,
        auxiliary: bool = False,
    ) -> NDArray[np.float64]:
        """Millions of parameters ("params") or multiply-adds ("flops") of stand-alone networks.

        The defaults are the network that DARTS trains from scratch on CIFAR-10. Papers take other
        widths and depths too, so the space has no `closed_form`. Multiply-adds are counted as for
        nb201: those of convolutions, and of the classifier with its bias. The auxiliary head is
        used in training alone, so it has parameters and no multiply-adds; the sizes that papers
        print are mostly without it.

        codes: (n, 40) of this space; channels: of each node of the first cell; image_size: side
        of the images, of 3 channels.
        Returns: (n,).
        Raises: UnknownName for another cost; InvalidSpec if there is no such network, or the cost
            of an operation is not known.
        """
        if cost not in LAYER_COUNTS:
            raise unknown("cost", cost, LAYER_COUNTS)
        if min(channels, n_cells, n_classes, image_size) < 1 or image_size % 4:
            raise InvalidSpec(
                f"No network of {self.name} has {n_cells} cells, {channels} channels, {n_classes}"
                f" classes and images of side {image_size}.",
                "Give at least 1 of each, and a side that can be halved twice.",
            )
        count = LAYER_COUNTS[cost]
        placed = _placed_cells(channels, n_cells, image_size)
        fixed = _fixed_cost(count, placed, channels, n_classes)
        if auxiliary and cost == "params":
            fixed += _auxiliary_weights(placed[2 * n_cells // 3], n_classes)
        total = np.full(len(codes), fixed, dtype=np.int64)
        for c, group in enumerate(self.groups[: len(CELL_TYPES)]):
            own = [place for place in placed if place.cell == CELL_TYPES[c]]
            edges, options = _taken(codes, c)
            total += _op_costs(count, group.options, own)[edges, options].sum(axis=1)
        return total / 1e6

    def _cells(self, arch: Arch) -> list[Pairs]:
        """The pairs of the normal cell and those of the reduction cell."""
        if arch.space != self.name:
            raise InvalidArch(
                f"An architecture of {arch.space} cannot be read in {self.name}.",
                "Codes differ between spaces: take it over as a genotype.",
            )
        n_inputs = N_PAIRS - 2
        cells = []
        for c, group in enumerate(self.groups[: len(CELL_TYPES)]):
            ops = arch.code[c * len(EDGES) :]
            inputs = arch.code[len(CELL_TYPES) * len(EDGES) + c * n_inputs :][:n_inputs]
            edges = [EDGE_INDEX[_node(p), source] for p, source in enumerate((0, 1, *inputs))]
            cells.append(tuple((group.options[edge][ops[edge]], EDGES[edge][1]) for edge in edges))
        return cells

    def _build(self, cells: Iterable[Pairs]) -> Arch:
        """The architecture of two valid cells, each node's pairs in either order."""
        ops: list[int] = []
        inputs: list[int] = []
        for group, usable, pairs in zip(self.groups, self._usable, cells, strict=False):
            names = [offered[0] for offered in usable]
            for edge, (op, _) in zip(_edges_of(pairs), pairs, strict=True):
                names[edge] = op
            ops += [row.index(op) for row, op in zip(group.options, names, strict=True)]
            sources = [source for _, source in pairs]
            for first in range(2, N_PAIRS, 2):
                inputs += sorted(sources[first : first + 2])
        return Arch(self.name, (*ops, *inputs))

    def _checked(self, cell: CellType, usable: Rows, pairs: Sequence[Pair]) -> Pairs:
        """The pairs of one cell, if they are one."""
        where = f"{self.name}, {cell} cell"
        if len(pairs) != N_PAIRS:
            raise InvalidArch(f"{where}: {len(pairs)} pairs.", "It has two for each of 4 nodes.")
        for position, (op, source) in enumerate(pairs):
            node = _node(position)
            if source not in range(node):
                raise InvalidArch(
                    f"{where}: node {node} takes input {source!r}.",
                    f"It can take two of 0 to {node - 1}.",
                )
            if source == pairs[position ^ 1][1]:
                raise InvalidArch(
                    f"{where}: node {node} takes input {source} twice.", "Inputs are distinct."
                )
            offered = usable[EDGE_INDEX[node, source]]
            if op not in offered:
                raise InvalidArch(
                    f"{where}: no operation {op!r} from {source} to {node}.",
                    f"There it has {', '.join(offered)}.",
                )
        return tuple((op, int(source)) for op, source in pairs)

    def _values(self, group: Choice, block: NDArray[np.floating]) -> list[list[float]]:
        rows = [
            np.asarray(row[: len(options)], dtype=np.float64)
            for row, options in zip(block, group.options, strict=True)
        ]
        for row, values in enumerate(rows):
            if np.isnan(values).any():
                raise InvalidArch(f"{self.name}: NaN strength in {group.name} row {row}.")
        return [values.tolist() for values in rows]


def _usable(name: str, rows: Rows) -> Rows:
    """Per edge the operations that a cell can have there."""
    usable = tuple(tuple(op for op in row if op != NONE) for row in rows)
    if len(rows) != len(EDGES) or not all(usable) or any(len({*r}) < len(r) for r in rows):
        raise InvalidSpec(
            f"{name}: {rows} are not candidates of a DARTS cell.",
            f"Give {len(EDGES)} rows of distinct operations, each with one beside {NONE!r}.",
        )
    return usable


def _node(position: int) -> int:
    """The node that the pair at this position of a cell belongs to."""
    return NODES[position // 2]


def _edges_of(pairs: Pairs) -> list[int]:
    return [EDGE_INDEX[_node(position), source] for position, (_, source) in enumerate(pairs)]


def _offers(usable: Rows, pairs: Pairs) -> bool:
    edges = _edges_of(pairs)
    return all(op in usable[edge] for edge, (op, _) in zip(edges, pairs, strict=True))


def _strongest(cell: CellType, rows: Rows, values: Mapping[str, list[list[float]]]) -> Pairs:
    """One cell by the rule of DARTS. values: per group and row, the options' strengths."""
    best = []
    for strengths, row in zip(values[f"op_{cell}"], rows, strict=True):
        rated = [pair for pair in zip(strengths, row, strict=True) if pair[1] != NONE]
        best.append(max(rated, key=itemgetter(0)))  # The first of equal ones.
    pairs: list[Pair] = []
    for node in NODES:
        of_input = values.get(f"inputs_{cell}_{node}", [[0.0] * node])[0]
        into = [best[EDGE_INDEX[node, source]] for source in range(node)]
        ranks = [(of_input[source], into[source][0]) for source in range(node)]
        # A reversed sort keeps the order of equal ones, so the lowest source wins.
        kept = sorted(range(node), key=ranks.__getitem__, reverse=True)[:2]
        pairs += [(into[source][1], source) for source in kept]
    return tuple(pairs)


def _changed(usable: Rows, pairs: Pairs) -> Iterator[Pairs]:
    """The cells in which one input has another operation or another source."""
    for position, edge in enumerate(_edges_of(pairs)):
        (op, own_source), (_, other_source) = pairs[position], pairs[position ^ 1]
        node, offered = _node(position), usable[edge]
        replacements = [(name, own_source) for name in offered if name != op]
        for source in range(node):
            if source in (own_source, other_source):
                continue
            there = usable[EDGE_INDEX[node, source]]
            ops = [op] if op in there else [name for name in there if name not in offered]
            replacements += [(name, source) for name in ops]
        for pair in replacements:
            yield (*pairs[:position], pair, *pairs[position + 1 :])


def _relabelled(pairs: Pairs) -> Iterator[Pairs]:
    """The cell under every order of its nodes in which sources come before their nodes."""
    own = {node: pairs[2 * i : 2 * i + 2] for i, node in enumerate(NODES)}
    for order in permutations(NODES):
        new = {0: 0, 1: 1} | dict(zip(order, NODES, strict=True))
        if all(new[source] < new[node] for node in NODES for _, source in own[node]):
            moved = (sorted((op, new[s]) for op, s in own[node]) for node in order)
            yield tuple(pair for two in moved for pair in two)


def _placed_cells(channels: int, n_cells: int, image_size: int) -> list[PlacedCell]:
    """The cells in their order; those at one and two thirds halve the side and double the width."""
    before = last = STEM_MULTIPLIER * channels
    width, side = channels, image_size
    placed = []
    for position in range(n_cells):
        halves = position in (n_cells // 3, 2 * n_cells // 3)
        width *= 2 if halves else 1
        placed.append(PlacedCell(CELL_TYPES[halves], before + last, width, side))
        side //= 2 if halves else 1
        before, last = last, len(NODES) * width
    return placed


def _weights(n_weights: int, n_normed: int, side: int) -> int:
    """Weights without bias, and a batch norm's scale and shift."""
    return n_weights + 2 * n_normed


def _macs(n_weights: int, n_normed: int, side: int) -> int:
    """Multiply-adds of convolutions with `side` x `side` outputs; batch norm is not counted."""
    return n_weights * side * side


LAYER_COUNTS: dict[str, LayerCount] = {"params": _weights, "flops": _macs}


def _fixed_cost(
    count: LayerCount, placed: Sequence[PlacedCell], channels: int, n_classes: int
) -> int:
    """What every network has: stem, the convolutions that give cell inputs their width, classifier.

    After a reduction cell one input is brought to half its side by two convolutions to half the
    width each; they cost as much as the one convolution that it goes through elsewhere.
    """
    n_stem = STEM_MULTIPLIER * channels
    total = count(3 * 3 * 3 * n_stem, n_stem, placed[0].side)
    for _, n_in, width, side in placed:
        total += count(n_in * width, 2 * width, side)
    return total + len(NODES) * placed[-1].width * n_classes + n_classes


def _auxiliary_weights(place: PlacedCell, n_classes: int) -> int:
    """Parameters of the auxiliary head, which stands on the output of this cell."""
    n_in, (n_mid, n_out) = len(NODES) * place.width, AUXILIARY_WIDTHS
    convs = _weights(n_in * n_mid, n_mid, 1) + _weights(2 * 2 * n_mid * n_out, n_out, 1)
    return convs + n_out * n_classes + n_classes


def _op_costs(count: LayerCount, rows: Rows, placed: Sequence[PlacedCell]) -> NDArray[np.int64]:
    """(14, options of the edge that has most): each one's cost in all of these cells together."""
    table = np.zeros((len(rows), max(len(row) for row in rows)), dtype=np.int64)
    for edge, row in enumerate(rows):
        is_first = EDGES[edge][1] not in NODES
        for option, op in enumerate(row):
            table[edge, option] = sum(_op_cost(count, op, place, is_first) for place in placed)
    return table


def _op_cost(count: LayerCount, op: str, place: PlacedCell, is_first: bool) -> int:
    """One operation; is_first: on an input of the cell, where a reduction cell halves the side."""
    _, _, width, side = place
    if op not in DEPTHWISE_KERNELS:
        raise InvalidSpec(
            f"What the operation {op!r} costs is not known.",
            f"That of {', '.join(DEPTHWISE_KERNELS)} is.",
        )
    halves = place.cell == "reduce"
    side //= 2 if halves else 1
    if op == SKIP and halves and is_first:
        return count(width * width, width, side)
    return sum(
        count(kernel * kernel * width + width * width, width, side)
        for kernel in DEPTHWISE_KERNELS[op]
    )


def _taken(codes: Codes, c: int) -> tuple[NDArray[np.int64], Codes]:
    """(n, 40) -> in the cell of type c the 8 edges that are inputs, and their options: (n, 8)."""
    n_edges, n_free = len(EDGES), N_PAIRS - 2
    ops = codes[:, c * n_edges :][:, :n_edges]
    free = codes[:, len(CELL_TYPES) * n_edges + c * n_free :][:, :n_free]
    edges = np.tile(FIRST_EDGES, (len(codes), 1))
    edges[:, 1] += 1  # Node 2 always takes 0 and 1.
    edges[:, 2:] += free
    return edges, np.take_along_axis(ops, edges, axis=1)


def _genotype_of_text(text: str) -> Genotype:
    """The printed genotype. Raises: some error of Python's own if the text is none."""
    call = ast.parse(text, mode="eval").body
    if not isinstance(call, ast.Call) or _called(call) != "Genotype" or call.args:
        raise ValueError("not a Genotype with named fields")
    fields = {str(keyword.arg): _literal(keyword.value) for keyword in call.keywords}
    if len(call.keywords) != len(Genotype._fields):
        raise ValueError("not four fields")
    return Genotype(**fields)


def _literal(node: ast.expr) -> Any:
    if isinstance(node, ast.Call) and _called(node) == "range":
        return range(*(ast.literal_eval(argument) for argument in node.args))
    return ast.literal_eval(node)


def _called(call: ast.Call) -> str | None:
    return call.func.id if isinstance(call.func, ast.Name) else None


def _uniform(name: str, *ops: str) -> DartsSpace:
    return DartsSpace(name, (ops,) * len(EDGES), (ops,) * len(EDGES))


# Candidates of S1 per edge, in the order of EDGES: normal cell, reduction cell.
_S1 = """
    skip_connect dil_conv_3x3 | max_pool_3x3 avg_pool_3x3
    skip_connect dil_conv_5x5 | max_pool_3x3 dil_conv_3x3
    skip_connect dil_conv_5x5 | max_pool_3x3 avg_pool_3x3
    skip_connect sep_conv_3x3 | max_pool_3x3 avg_pool_3x3
    skip_connect dil_conv_3x3 | skip_connect dil_conv_5x5
    max_pool_3x3 skip_connect | max_pool_3x3 avg_pool_3x3
    skip_connect sep_conv_3x3 | max_pool_3x3 sep_conv_3x3
    skip_connect sep_conv_3x3 | skip_connect dil_conv_3x3
    skip_connect dil_conv_3x3 | skip_connect dil_conv_5x5
    skip_connect sep_conv_3x3 | max_pool_3x3 avg_pool_3x3
    max_pool_3x3 skip_connect | max_pool_3x3 avg_pool_3x3
    skip_connect dil_conv_3x3 | skip_connect dil_conv_5x5
    dil_conv_3x3 dil_conv_5x5 | skip_connect dil_conv_5x5
    dil_conv_3x3 dil_conv_5x5 | skip_connect dil_conv_5x5
"""
_S1_EDGES = [line.split("|") for line in _S1.strip().splitlines()]

SPACES: tuple[SearchSpace, ...] = (
    _uniform("darts", *PRIMITIVES),
    _uniform("darts-no-none", *PRIMITIVES[1:]),
    DartsSpace("darts-s1", *(tuple(tuple(e[c].split()) for e in _S1_EDGES) for c in (0, 1))),
    _uniform("darts-s2", SKIP, "sep_conv_3x3"),
    _uniform("darts-s3", NONE, SKIP, "sep_conv_3x3"),
    # Noise is a candidate of S4 only: N(0, 1) of the input's shape, whatever the input is.
    _uniform("darts-s4", NOISE, "sep_conv_3x3"),
)
