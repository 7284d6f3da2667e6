"""NAS-Bench-201's topology space and NATS-Bench's size space.

Sources: Dong and Yang, ICLR 2020 (NAS-Bench-201); Dong et al., TPAMI 2021 (NATS-Bench).
"""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from harness.arch import Arch, Choice, Codes, ListedSpace, SearchSpace
from harness.errors import InvalidArch

OPS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
# (target node, source node) of every edge, in the order of the code and of the alpha matrix.
EDGES = ((1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2))
N_NODES = 4
OUTPUT = N_NODES - 1
SHUFFLE_SEED = 88  # The official index is the lexicographic list shuffled by random.Random(88).


class ImageTask(NamedTuple):
    """What a closed-form cost needs to know of a data set."""

    n_classes: int
    image_size: int
    n_channels: int = 3


TASKS = {
    "cifar10": ImageTask(10, 32),
    "cifar100": ImageTask(100, 32),
    "ImageNet16-120": ImageTask(120, 16),
}

# An expression is the sorted tuple of the terms summed at a node. A term is ("input",) or
# (op, expression of its input, weight id); ops without weights have id -1.
Expression = tuple[tuple[object, ...], ...]


LayerCount = Callable[[int, int, int, int], int]


def _is_weighted(op: str) -> bool:
    return op.startswith("nor_conv")


@final
class TopologySpace(ListedSpace):
    """Cells of 4 nodes and 6 edges, one of 5 operations per edge: 15,625 encodings."""

    name = "nb201"
    groups = (Choice("op", (OPS,) * len(EDGES)),)

    @cached_property
    def codes(self) -> Codes:
        ordered = list(itertools.product(range(len(OPS)), repeat=len(EDGES)))
        random.Random(SHUFFLE_SEED).shuffle(ordered)
        return np.array(ordered, dtype=np.uint8)

    @cached_property
    def _index_of(self) -> dict[tuple[int, ...], int]:
        return {tuple(code): index for index, code in enumerate(self.codes.tolist())}

    def index(self, arch: Arch) -> int:
        return self._index_of[arch.code]

    def target(self, group: str, row: int) -> int | None:
        return EDGES[row][0]

    def parse(self, text: str) -> Arch:
        """Reads `|op~0|+|op~0|op~1|+|op~0|op~1|op~2|`."""
        edges = re.findall(r"([^|+~]+)~(\d+)", text)
        ops = [op for op, _ in edges]
        skeleton = "+".join(
            "|" + "".join(f"{{}}~{source}|" for source in range(node)) for node in range(1, N_NODES)
        )
        if len(ops) != len(EDGES) or skeleton.format(*ops) != text.strip():
            example = skeleton.format(*["skip_connect"] * len(EDGES))
            raise InvalidArch(f"{text!r} is not a cell of nb201.", f"Write it like {example}.")
        foreign = [op for op in ops if op not in OPS]
        if foreign:
            raise InvalidArch(
                f"nb201 has no operation {foreign[0]!r}.", f"It has {', '.join(OPS)}."
            )
        return Arch(self.name, tuple(OPS.index(op) for op in ops))

    def format(self, arch: Arch) -> str:
        ops = [OPS[i] for i in arch.code]
        return f"|{ops[0]}~0|+|{ops[1]}~0|{ops[2]}~1|+|{ops[3]}~0|{ops[4]}~1|{ops[5]}~2|"

    def canonical(self, arch: Arch) -> Arch:
        representative = self.representatives[self.index(arch)]
        return Arch(self.name, tuple(self.codes[representative].tolist()))

    @cached_property
    def representatives(self) -> NDArray[np.int32]:
        """(15625,): for every index the lowest index that computes the same function."""
        first_of: dict[object, int] = {}
        return np.array(
            [first_of.setdefault(function_of(a), i) for i, a in enumerate(self)], dtype=np.int32
        )

    def reaches_output(self, arch: Arch) -> bool:
        """Whether any path leads from the cell's input to its output (341 cells have none)."""
        return bool(function_of(arch))

    def closed_form(self, cost: str, dataset: str, codes: Codes) -> NDArray[np.float64] | None:
        """Parameters in millions, multiply-adds in millions as NATS counts them."""
        if cost not in ("params", "flops") or dataset not in TASKS:
            return None
        return network_cost(cost, codes, TASKS[dataset])


def network_cost(
    cost: str,
    codes: Codes,
    task: ImageTask,
    *,
    channels: Sequence[int] = (16, 32, 64),
    n_cells: int = 5,
) -> NDArray[np.float64]:
    """(n_arch,) millions of parameters ("params") or of multiply-adds ("flops") of topology cells.

    The network: stem, a stage of n_cells cells at each width, a residual block between stages,
    classifier. NATS adds the number of classes to the multiply-adds.
    """
    count = _weights if cost == "params" else _macs
    n_conv3 = (codes == OPS.index("nor_conv_3x3")).sum(axis=1).astype(np.float64)
    n_conv1 = (codes == OPS.index("nor_conv_1x1")).sum(axis=1).astype(np.float64)
    total = np.full(len(codes), _fixed_cost(count, channels, task), dtype=np.float64)
    for stage, width in enumerate(channels):
        side = task.image_size >> stage
        total += n_cells * n_conv3 * count(3, width, width, side)
        total += n_cells * n_conv1 * count(1, width, width, side)
    return total / 1e6


def _weights(kernel: int, n_in: int, n_out: int, side: int) -> int:
    """Weights of a convolution without bias, with its batch norm's scale and shift."""
    return kernel * kernel * n_in * n_out + 2 * n_out


def _macs(kernel: int, n_in: int, n_out: int, side: int) -> int:
    """Multiply-adds of a convolution with `side` x `side` outputs; batch norm is not counted."""
    return kernel * kernel * n_in * n_out * side * side


def _residual_block(count: LayerCount, n_in: int, n_out: int, side: int) -> int:
    """Two 3x3 convolutions and a 1x1 shortcut that has no batch norm."""
    shortcut = count(1, n_in, n_out, side) - (2 * n_out if count is _weights else 0)
    return count(3, n_in, n_out, side) + count(3, n_out, n_out, side) + shortcut


def _head(count: LayerCount, width: int, task: ImageTask) -> int:
    """Last batch norm and classifier; NATS' multiply-adds count the classifier's bias too."""
    linear = width * task.n_classes + task.n_classes
    return linear + (2 * width if count is _weights else 0)


def _fixed_cost(count: LayerCount, channels: Sequence[int], task: ImageTask) -> int:
    """What every network of the topology space has: stem, two residual blocks, head."""
    total = count(3, task.n_channels, channels[0], task.image_size)
    for stage in range(1, len(channels)):
        side = task.image_size >> stage
        total += _residual_block(count, channels[stage - 1], channels[stage], side)
    return total + _head(count, channels[-1], task)


def function_of(arch: Arch) -> Expression:
    """What a topology cell computes, in a form that is equal for functionally equal cells.

    Zeros are removed, skips flattened, sums unordered. Convolutions keep their weights' identity:
    conv(x) + conv'(x) differs from conv(x) + conv(x). Average pooling has no weights, so two
    poolings of one input are one function. Weight ids are renumbered so that no naming is left:
    among all numberings of alike convolutions the smallest expression is taken.

    Returns: the empty tuple if nothing reaches the output.
    """
    nodes: list[Expression] = [(("input",),)]
    for node in range(1, N_NODES):
        terms: list[tuple[object, ...]] = []
        for edge, (target, source) in enumerate(EDGES):
            op = OPS[arch.code[edge]]
            if target != node or op == "none" or not nodes[source]:
                continue
            if op == "skip_connect":
                terms.extend(nodes[source])
            else:
                terms.append((op, nodes[source], edge if _is_weighted(op) else -1))
        nodes.append(tuple(sorted(terms, key=repr)))
    return _smallest_numbering(nodes[OUTPUT])


def _smallest_numbering(expression: Expression) -> Expression:
    alike: dict[str, list[int]] = {}
    for weight_id, shape in _weights_in(expression).items():
        alike.setdefault(shape, []).append(weight_id)
    groups = [ids for _, ids in sorted(alike.items())]
    firsts = list(itertools.accumulate((len(ids) for ids in groups), initial=0))
    numberings = itertools.product(*(itertools.permutations(range(len(g))) for g in groups))
    renamed = (
        _rename(
            expression,
            {
                old: first + order[position]
                for ids, first, order in zip(groups, firsts, orders, strict=False)
                for position, old in enumerate(ids)
            },
        )
        for orders in numberings
    )
    return min(renamed, key=repr)


def _weights_in(expression: Expression) -> dict[int, str]:
    """Weight id -> text of what the weight is applied to, without ids."""
    found: dict[int, str] = {}
    for term in expression:
        if len(term) == 3:
            inner: Expression = term[1]  # type: ignore[assignment]
            found.update(_weights_in(inner))
            if _is_weighted(str(term[0])):
                found[int(term[2])] = repr((term[0], _rename(inner, {})))  # type: ignore[call-overload]
    return found


def _rename(expression: Expression, names: dict[int, int]) -> Expression:
    """The expression with weight ids replaced; ids without a new name become -1."""
    terms: list[tuple[object, ...]] = []
    for term in expression:
        if len(term) == 3:
            inner: Expression = term[1]  # type: ignore[assignment]
            new_id = names.get(term[2], -1)  # type: ignore[call-overload]
            terms.append((term[0], _rename(inner, names), new_id))
        else:
            terms.append(term)
    return tuple(sorted(terms, key=repr))


def nats_unique_text(arch: Arch) -> str:
    """NATS-Bench's own unique string (6,466 classes), for comparison with `canonical`.

    Each node is the sorted sum of its inputs; a zero is written `#`, a skip is its source, any
    other operation is `(source)@op`. Zeros stay in the sums, so some equal cells differ here.
    """
    texts = ["0"]
    for node in range(1, N_NODES):
        terms = []
        for edge, (target, source) in enumerate(EDGES):
            if target != node:
                continue
            op = OPS[arch.code[edge]]
            if op == "none" or texts[source] == "#":
                terms.append("#")
            elif op == "skip_connect":
                terms.append(texts[source])
            else:
                terms.append(f"({texts[source]})@{op}")
        texts.append("+".join(sorted(terms)))
    return texts[OUTPUT]


@final
class SizeSpace(ListedSpace):
    """Channel counts of the 5 layers of a fixed cell network: 8^5 = 32,768 encodings.

    The cell is `|conv3~0|+|conv3~0|conv3~1|+|skip~0|conv3~1|conv3~2|`, the best of the topology
    space on CIFAR-100; layers 2 and 4 are residual blocks of stride 2.
    """

    WIDTHS = tuple(range(8, 65, 8))
    N_LAYERS = 5

    name = "nb201-size"
    groups = (Choice("channels", (tuple(str(width) for width in WIDTHS),) * N_LAYERS),)

    @cached_property
    def codes(self) -> Codes:
        grid = np.indices((len(self.WIDTHS),) * self.N_LAYERS, dtype=np.uint8)
        return np.ascontiguousarray(grid.reshape(self.N_LAYERS, -1).T)

    def index(self, arch: Arch) -> int:
        index = 0
        for value in arch.code:
            index = index * len(self.WIDTHS) + value
        return index

    def parse(self, text: str) -> Arch:
        """Reads `8:16:24:32:64`."""
        parts = text.strip().split(":")
        names = self.groups[0].options[0]
        if len(parts) != self.N_LAYERS or any(part not in names for part in parts):
            raise InvalidArch(
                f"{text!r} is not a network of nb201-size.",
                f"Write 5 of {', '.join(names)} joined by ':', like 8:16:24:32:64.",
            )
        return Arch(self.name, tuple(names.index(part) for part in parts))

    def format(self, arch: Arch) -> str:
        return ":".join(str(self.WIDTHS[i]) for i in arch.code)

    def canonical(self, arch: Arch) -> Arch:
        """The architecture itself: networks of different widths are different functions."""
        return arch

    def closed_form(self, cost: str, dataset: str, codes: Codes) -> NDArray[np.float64] | None:
        """Parameters in millions, multiply-adds in millions as NATS counts them."""
        if cost not in ("params", "flops") or dataset not in TASKS:
            return None
        counts = [
            _size_network_cost(cost, [self.WIDTHS[i] for i in code], TASKS[dataset])
            for code in codes.tolist()
        ]
        return np.array(counts, dtype=np.float64) / 1e6


def _size_network_cost(cost: str, widths: Sequence[int], task: ImageTask) -> int:
    count = _weights if cost == "params" else _macs
    total = count(3, task.n_channels, widths[0], task.image_size)
    n_in, side = widths[0], task.image_size
    for layer, n_out in enumerate(widths):
        if layer % 2:
            side //= 2
            total += _residual_block(count, n_in, n_out, side)
        else:
            # Node 0 feeds two 3x3 convolutions and a skip, which is a 1x1 convolution with
            # batch norm where the width changes; the other three convolutions keep the width.
            total += 2 * count(3, n_in, n_out, side) + 3 * count(3, n_out, n_out, side)
            if n_in != n_out:
                total += count(1, n_in, n_out, side)
        n_in = n_out
    return total + _head(count, n_in, task)


SPACES: tuple[SearchSpace, ...] = (TopologySpace(), SizeSpace())
