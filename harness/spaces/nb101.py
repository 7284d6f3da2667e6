"""NAS-Bench-101's cell space: graphs of at most 7 vertices and 9 edges, operations on vertices.

Source: Ying et al., ICML 2019 (NAS-Bench-101) and its code, google-research/nasbench.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache, cached_property, lru_cache
from itertools import permutations, product
from typing import NamedTuple, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.arch import Arch, Choice, Codes, SearchSpace
from harness.errors import InvalidArch, InvalidSpec
from harness.paths import between

OPS = ("conv3x3-bn-relu", "conv1x1-bn-relu", "maxpool3x3")
INPUT = "input"
OUTPUT = "output"
N_VERTICES = 7
MAX_EDGES = 9
N_CELLS = 423_624  # Distinct valid cells, as nasbench's README counts; see `cells`.

N_INNER = N_VERTICES - 2
LAST = N_VERTICES - 1
# (source, target) of every possible edge, in the order of the code.
EDGES = tuple((i, j) for i in range(N_VERTICES) for j in range(i + 1, N_VERTICES))
N_EDGES = len(EDGES)
EDGE_NAMES = tuple(f"{source}>{target}" for source, target in EDGES)
POSITION = {edge: position for position, edge in enumerate(EDGES)}

STEM_CHANNELS = 128
STACKS = 3
MODULES_PER_STACK = 3
N_CLASSES = 10
EXAMPLE = "0>1,1>6|" + ",".join(OPS[:1] * N_INNER)

Edges = Sequence[tuple[int, int]]


class Pruned(NamedTuple):
    """A cell without the vertices that are on no path from input to output.

    vertices: what is left, ascending; edges: (source, target) as places in `vertices`.
    """

    vertices: tuple[int, ...]
    edges: tuple[tuple[int, int], ...]


@final
class CellSpace(SearchSpace):
    """Cells as 26 numbers: 21 edge bits, then the operations of vertices 1 to 5.

    The bits are the strict upper triangle of the 7 x 7 adjacency matrix in row-major order; vertex
    0 is the input, vertex 6 the output. Many codes are one cell, and some are none: `is_valid`.
    """

    name = "nb101"
    groups = (Choice("edge", (("0", "1"),) * N_EDGES), Choice("op", (OPS,) * N_INNER))

    @cached_property
    def size(self) -> int:
        """Number of distinct valid cells; an encoding may be none of them, or one of many."""
        return N_CELLS

    def of_spec(self, matrix: ArrayLike, ops: Sequence[str]) -> Arch:
        """The code of an official spec.

        matrix: (v, v) of 0 and 1, strictly upper triangular, v from 2 to 7; ops: v names, "input"
        first and "output" last. A smaller cell gets unconnected vertices before the output, with
        operation 0. As in the official code the limit of 9 edges is that of the pruned cell, so
        it is `is_valid` that checks it, and more edges are no error here.
        Raises: InvalidArch with what is wrong.
        """
        edges, n_vertices = _edges_of(matrix)
        inner = _op_indices(ops, n_vertices)
        code = _edge_bits(edges, n_vertices) + inner
        return Arch(self.name, code + (0,) * (N_INNER - len(inner)))

    def spec(self, arch: Arch) -> tuple[NDArray[np.int8], tuple[str, ...]]:
        """The (7, 7) matrix of 0 and 1 and the 7 operation names, nothing pruned."""
        matrix = np.zeros((N_VERTICES, N_VERTICES), dtype=np.int8)
        for edge, bit in zip(EDGES, arch.code, strict=False):
            matrix[edge] = bit
        return matrix, (INPUT, *(OPS[i] for i in arch.code[N_EDGES:]), OUTPUT)

    def pruned(self, arch: Arch) -> tuple[NDArray[np.int8], tuple[str, ...]] | None:
        """The (v, v) matrix and v names of what is on a path from the input to the output.

        Returns: None if no path reaches the output.
        """
        kept = _prune(arch.code[:N_EDGES])
        if kept is None:
            return None
        matrix, ops = self.spec(arch)
        return matrix[np.ix_(kept.vertices, kept.vertices)], tuple(ops[v] for v in kept.vertices)

    def is_valid(self, arch: Arch) -> bool:
        """Whether the pruned cell reaches its output and has at most 9 edges."""
        return _is_valid(arch.code[:N_EDGES])

    def module_hash(self, arch: Arch) -> str:
        """NAS-Bench-101's official md5 of the pruned cell, in hex.

        Raises: InvalidArch if the benchmark has no such cell.
        """
        kept = _prune(arch.code[:N_EDGES])
        if kept is None or len(kept.edges) > MAX_EDGES:
            fault = "has no path to the output" if kept is None else f"has {len(kept.edges)} edges"
            raise InvalidArch(
                f"{self.format(arch)} {fault}: NAS-Bench-101 has no such cell.",
                f"A cell has a path from 0 to {LAST} and, once pruned, at most {MAX_EDGES} edges.",
            )
        inner = [int(arch.code[N_EDGES - 1 + vertex]) for vertex in kept.vertices[1:-1]]
        return module_hash(kept.edges, (-1, *inner, -2))

    def key(self, arch: Arch) -> str:
        return self.module_hash(arch)

    def sample(self, rng: np.random.Generator) -> Arch:
        """One code, uniform over the valid codes: codes are drawn until one is valid.

        So does nasbench's example of random search. It is not uniform over distinct cells.
        """
        while True:
            edges = tuple(rng.integers(2, size=N_EDGES).tolist())
            ops = tuple(rng.integers(len(OPS), size=N_INNER).tolist())
            if _is_valid(edges):
                return Arch(self.name, edges + ops)

    def neighbours(self, arch: Arch) -> list[Arch]:
        """All valid codes that differ in exactly one edge or one operation.

        Some are the same cell as `arch`: an operation of a pruned vertex has no effect.
        """
        return [neighbour for neighbour in super().neighbours(arch) if self.is_valid(neighbour)]

    def parse(self, text: str) -> Arch:
        """Reads `0>1,1>6|conv3x3-bn-relu,...`: the edges, then the operations of vertices 1 to 5.

        Raises: InvalidArch with what is wrong and an example.
        """
        graph, bar, inner = text.strip().partition("|")
        names = [name for name in graph.split(",") if graph]
        ops = inner.split(",")
        edges_fit = len(set(names)) == len(names) and set(names) <= set(EDGE_NAMES)
        if not bar or not edges_fit or len(ops) != N_INNER or not set(ops) <= set(OPS):
            raise InvalidArch(
                f"{text!r} is not a cell of nb101.",
                f"Name each edge once, from a vertex to a higher one of 0 to {LAST}, then"
                f" {N_INNER} of {', '.join(OPS)}: {EXAMPLE}.",
            )
        edges = tuple(int(name in names) for name in EDGE_NAMES)
        return Arch(self.name, edges + tuple(OPS.index(op) for op in ops))

    def format(self, arch: Arch) -> str:
        names = [name for name, bit in zip(EDGE_NAMES, arch.code, strict=False) if bit]
        return ",".join(names) + "|" + ",".join(OPS[i] for i in arch.code[N_EDGES:])

    def canonical(self, arch: Arch) -> Arch:
        """The smallest code of all pruned cells that are `arch` with its inner vertices renumbered.

        Codes are compared number by number, smaller cells are placed as `of_spec` does. Valid
        cells have one canonical code exactly if they have one official hash. A cell with too many
        edges has one too; all cells that do not reach the output share the code of zeros.
        """
        smallest = _smallest_edges(arch.code[:N_EDGES])
        if smallest is None:
            return Arch(self.name, (0,) * len(arch.code))
        edges, sources = smallest
        inner = min(tuple([arch.code[source] for source in order]) for order in sources)
        return Arch(self.name, edges + inner + (0,) * (N_INNER - len(inner)))

    def canonical_codes(self, codes: Codes) -> Codes:
        """(n, 26) -> (n, 26): `canonical` of many cells; graphs that come again cost nothing."""
        found = np.zeros_like(codes)
        _, first, graph = np.unique(
            codes[:, :N_EDGES] @ (2 ** np.arange(N_EDGES)), return_index=True, return_inverse=True
        )
        rows_of = np.split(np.argsort(graph, kind="stable"), np.cumsum(np.bincount(graph))[:-1])
        for row, rows in zip(first, rows_of, strict=True):
            smallest = _smallest_edges(tuple(codes[row, :N_EDGES].tolist()))
            if smallest is not None:
                edges, sources = smallest
                found[rows, :N_EDGES] = edges
                found[rows, N_EDGES : N_EDGES + len(sources[0])] = _smallest_ops(
                    codes[rows], sources
                )
        return found

    def numbers(self, codes: Codes) -> NDArray[np.int64]:
        """(n, 26) -> (n,): one number a code, in the order of the codes; fast to sort."""
        radices = [len(row) for group in self.groups for row in group.options]
        return np.asarray(codes @ np.cumprod([1, *radices[:0:-1]])[::-1], dtype=np.int64)

    def cells(self) -> Codes:
        """(423624, 26): the canonical code of every distinct valid cell, fewest vertices first."""
        return np.concatenate([cells_of_size(v) for v in range(2, N_VERTICES + 1)])

    def closed_form(self, cost: str, dataset: str, codes: Codes) -> NDArray[np.float64] | None:
        """Trainable parameters in millions of the network that the benchmark trained.

        Channels that do not divide evenly go to the first vertices, so the count belongs to the
        numbering of the code: `canonical` may differ by a percent or so. Codes that are no cell
        are NaN.
        """
        if cost != "params" or dataset != "cifar10":
            return None
        return _params(np.asarray(codes, dtype=np.int64)) / 1e6


def _edges_of(matrix: ArrayLike) -> tuple[Edges, int]:
    """The (source, target) pairs of an official matrix and its size; InvalidArch if it is none."""
    remedy = (
        f"A spec is a square matrix of 0 and 1 over 2 to {N_VERTICES} vertices, input first and"
        " output last, with every edge above the diagonal."
    )
    try:
        values = np.asarray(matrix)
    except ValueError:
        raise InvalidArch("The rows of the matrix differ in length.", remedy) from None
    if values.ndim != 2 or values.shape[0] != values.shape[1]:
        raise InvalidArch(f"A matrix of shape {values.shape} is not square.", remedy)
    if not 2 <= len(values) <= N_VERTICES:
        raise InvalidArch(f"nb101 has no cell of {len(values)} vertices.", remedy)
    if not ((values == 0) | (values == 1)).all():
        raise InvalidArch("The matrix has entries other than 0 and 1.", remedy)
    edges = [(int(i), int(j)) for i, j in np.argwhere(values == 1)]
    below = [f"{i}>{j}" for i, j in edges if i >= j]
    if below:
        raise InvalidArch(f"The matrix is not upper triangular: it has {below[0]}.", remedy)
    return edges, len(values)


def _op_indices(ops: Sequence[str], n_vertices: int) -> tuple[int, ...]:
    """Indices of the inner vertices' operations; InvalidArch where the names are wrong."""
    if len(ops) != n_vertices or ops[0] != INPUT or ops[-1] != OUTPUT:
        raise InvalidArch(
            f"A spec of {n_vertices} vertices cannot have the operations {list(ops)}.",
            f"Name {n_vertices}, the first {INPUT!r} and the last {OUTPUT!r}.",
        )
    foreign = [op for op in ops[1:-1] if op not in OPS]
    if foreign:
        raise InvalidArch(f"nb101 has no operation {foreign[0]!r}.", f"It has {', '.join(OPS)}.")
    return tuple(OPS.index(op) for op in ops[1:-1])


def _edge_bits(edges: Edges, n_vertices: int) -> tuple[int, ...]:
    """(21,) bits of a cell of `n_vertices`, whose last vertex becomes the code's output."""
    bits = [0] * N_EDGES
    for source, target in edges:
        bits[POSITION[source, LAST if target == n_vertices - 1 else target]] = 1
    return tuple(bits)


def _prune(bits: Sequence[int]) -> Pruned | None:
    """What is on a path from input to output, or None."""
    present = [edge for edge, bit in zip(EDGES, bits, strict=True) if bit]
    vertices = sorted(between(present, LAST))
    if not vertices:
        return None
    place = {vertex: i for i, vertex in enumerate(vertices)}
    edges = [(place[i], place[j]) for i, j in present if i in place and j in place]
    return Pruned(tuple(vertices), tuple(edges))


def _is_valid(bits: Sequence[int]) -> bool:
    kept = _prune(bits)
    return kept is not None and len(kept.edges) <= MAX_EDGES


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def module_hash(edges: Edges, labels: Sequence[int]) -> str:
    """NAS-Bench-101's official md5 of a pruned cell, in hex.

    edges: (source, target) pairs; labels: -1 for the input, indices in `OPS`, -2 for the output,
    and all of them Python's own integers, because numpy's have another text and so another hash.
    Algorithm: `hash_module` in nasbench's lib/graph_util.py.
    """
    n_vertices = len(labels)
    sources: list[list[int]] = [[] for _ in range(n_vertices)]
    targets: list[list[int]] = [[] for _ in range(n_vertices)]
    for source, target in edges:
        sources[target].append(source)
        targets[source].append(target)
    hashes = [
        _md5(str((len(after), len(before), label)))
        for after, before, label in zip(targets, sources, labels, strict=True)
    ]
    for _ in range(n_vertices):
        inputs = ["".join(sorted([hashes[v] for v in before])) for before in sources]
        outputs = ["".join(sorted([hashes[v] for v in after])) for after in targets]
        triples = zip(inputs, outputs, hashes, strict=True)
        hashes = [_md5(f"{before}|{after}|{own}") for before, after, own in triples]
    return _md5(str(sorted(hashes)))


@cache
def _renumberings(n_inner: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """All orders of the inner vertices, and what each makes of every edge.

    Returns: (n!, n_inner) the old vertex at each new place; (21, n!) weights, so that
    bits @ weights are the new matrices read as binary numbers. An edge that would lead backwards
    gets the position before the first and so weighs more than all others together. Floats, which
    are exact here, because only they have a fast product.
    """
    orders = list(permutations(range(1, n_inner + 1)))
    weights = np.zeros((N_EDGES, len(orders)))
    for column, order in enumerate(orders):
        new = {0: 0, LAST: LAST} | {old: place for place, old in enumerate(order, start=1)}
        for row, (source, target) in enumerate(EDGES):
            if source in new and target in new:
                position = POSITION.get((new[source], new[target]), -1)
                weights[row, column] = 2.0 ** (N_EDGES - 1 - position)
    return np.array(orders, dtype=np.int64).reshape(len(orders), n_inner), weights


@lru_cache(maxsize=2**16)
def _smallest_edges(
    bits: tuple[int, ...],
) -> tuple[tuple[int, ...], tuple[tuple[int, ...], ...]] | None:
    """The edge bits of the canonical code, and all ways to fill in its operations.

    Returns: the bits; for every renumbering that yields them, the positions in the old code of the
    new code's operations. None if the output is not reached.
    """
    kept = _prune(bits)
    if kept is None:
        return None
    orders, weights = _renumberings(len(kept.vertices) - 2)
    placed = np.array(_edge_bits(kept.edges, len(kept.vertices)), dtype=np.float64)
    numbers = placed @ weights
    smallest = int(numbers.min())  # The old order leads no edge backwards, so this one does not.
    old_positions = np.array(kept.vertices) + N_EDGES - 1
    sources = old_positions[orders[numbers == smallest]].tolist()
    digits = tuple(int(bit) for bit in f"{smallest:0{N_EDGES}b}")
    return digits, tuple(tuple(source) for source in sources)


def _smallest_ops(codes: Codes, sources: Sequence[Sequence[int]]) -> Codes:
    """(n, 26) codes of one graph -> (n, n_inner): the smallest way to fill in the operations."""
    ways = np.stack([codes[:, source] for source in sources])
    powers = len(OPS) ** np.arange(ways.shape[2])[::-1]
    best = (ways @ powers).argmin(axis=0)
    return np.asarray(ways[best, np.arange(len(codes))], dtype=np.uint8)


def _connected_graphs(n_vertices: int) -> NDArray[np.uint8]:
    """(n, 21): the edges of all graphs of so many vertices that lose nothing when pruned.

    Those are the ones in which every vertex but the input has a source and every vertex but the
    output a target. At most 9 edges, ascending.
    """
    used = [*range(n_vertices - 1), LAST]
    possible = [edge for edge in EDGES if edge[0] in used and edge[1] in used]
    numbers = np.arange(2 ** len(possible), dtype=">u4")
    digits = np.unpackbits(numbers.view(np.uint8).reshape(-1, 4), axis=1)[:, -len(possible) :]
    digits = digits[digits.sum(axis=1) <= MAX_EDGES]
    ends = [[row for row, edge in enumerate(possible) if edge[0] == v] for v in used[:-1]]
    ends += [[row for row, edge in enumerate(possible) if edge[1] == v] for v in used[1:]]
    for rows in ends:
        digits = digits[digits[:, rows].any(axis=1)]
    graphs = np.zeros((len(digits), N_EDGES), dtype=np.uint8)
    graphs[:, [POSITION[edge] for edge in possible]] = digits
    return graphs


def cells_of_size(n_vertices: int) -> Codes:
    """(n, 26): canonical codes, ascending, of all valid cells that prune to 2 to 7 vertices."""
    n_inner = n_vertices - 2
    orders, weights = _renumberings(n_inner)
    powers = len(OPS) ** np.arange(n_inner)[::-1]
    labelings = np.array(list(product(range(len(OPS)), repeat=n_inner)), dtype=np.int64)
    graphs = _connected_graphs(n_vertices)
    renumbered = graphs @ weights
    is_smallest = renumbered.min(axis=1) == renumbered[:, 0]  # The first order is the old one.
    found = []
    for bits, numbers in zip(graphs[is_smallest], renumbered[is_smallest], strict=True):
        same = orders[numbers == numbers[0]] - 1
        ranks = labelings[:, same] @ powers
        smallest = labelings[ranks.min(axis=1) == ranks[:, 0]]
        block = np.zeros((len(smallest), N_EDGES + N_INNER), dtype=np.uint8)
        block[:, :N_EDGES] = bits
        block[:, N_EDGES : N_EDGES + n_inner] = smallest
        found.append(block)
    return np.concatenate(found)


def _params(codes: NDArray[np.int64]) -> NDArray[np.float64]:
    """(n,) trainable parameters; every graph is worked out once, its operations then look up."""
    numbers = codes[:, :N_EDGES] @ (2 ** np.arange(N_EDGES))
    _, first, graph = np.unique(numbers, return_index=True, return_inverse=True)
    tables = np.array([_graph_params(tuple(bits)) for bits in codes[first, :N_EDGES].tolist()])
    tables = tables.reshape(-1, 1 + N_INNER, len(OPS))  # Also where there are no codes.
    total = tables[:, 0, 0][graph]
    for vertex in range(1, N_INNER + 1):
        total += tables[graph, vertex, codes[:, N_EDGES - 1 + vertex]]
    return total


@lru_cache(maxsize=2**14)  # A few thousand graphs are of all cells.
def _graph_params(bits: tuple[int, ...]) -> NDArray[np.float64]:
    """(6, 3): row 0 is what every operation shares, row v what each operation of vertex v adds."""
    table = np.zeros((1 + N_INNER, len(OPS)))
    kept = _prune(bits)
    if kept is None or len(kept.edges) > MAX_EDGES:
        return table + np.nan
    table[0] = _conv(3, 3, STEM_CHANNELS)
    n_in = STEM_CHANNELS
    for stack in range(STACKS):
        n_out = STEM_CHANNELS << stack
        for _ in range(MODULES_PER_STACK):
            channels = vertex_channels(len(kept.vertices), kept.edges, n_in, n_out)
            # Every edge from the input is a 1x1 convolution to the width at its other end.
            table[0] += sum(_conv(1, n_in, channels[j]) for i, j in kept.edges if i == 0)
            for vertex, width in zip(kept.vertices[1:-1], channels[1:-1], strict=True):
                table[vertex] += (_conv(3, width, width), _conv(1, width, width), 0)
            n_in = n_out
    table[0] += n_in * N_CLASSES + N_CLASSES
    return table


def _conv(kernel: int, n_in: int, n_out: int) -> int:
    """Weights of a convolution without bias, with its batch norm's scale and shift."""
    return kernel * kernel * n_in * n_out + 2 * n_out


def vertex_channels(
    n_vertices: int, edges: Sequence[tuple[int, int]], n_in: int, n_out: int
) -> list[int]:
    """Channels of every vertex: `compute_vertex_channels` in nasbench's lib/model_builder.py.

    The output's channels are shared out among the inner vertices that feed it, the remainder one
    each to the first; any other vertex is as wide as the widest that it feeds.

    edges: (source, target), ascending, of a pruned cell.
    Raises: InvalidSpec if there are fewer channels than vertices that share them.
    """
    output = n_vertices - 1
    feeding = [i for i, j in edges if j == output and i > 0]
    if len(feeding) > n_out:
        raise InvalidSpec(
            f"{n_out} channels cannot be shared out among the {len(feeding)} vertices that feed"
            " the output.",
            f"Give at least {len(feeding)} channels.",
        )
    channels = [0] * output + [n_out]
    channels[0] = n_in
    for place, vertex in enumerate(feeding):
        channels[vertex] = n_out // len(feeding) + (place < n_out % len(feeding))
    for vertex in reversed(range(1, output)):
        if vertex not in feeding:
            channels[vertex] = max(channels[j] for i, j in edges if i == vertex)
    return channels


SPACES: tuple[SearchSpace, ...] = (CellSpace(),)
