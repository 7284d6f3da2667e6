"""NAS-Bench-1Shot1's three search spaces, whose cells are looked up in NAS-Bench-101.

Source: Zela, Siems and Hutter, "NAS-Bench-1Shot1", ICLR 2020. Every block has an operation and a
fixed number of parents among the earlier nodes; node 0 is the cell's input.
"""

from __future__ import annotations

import re
from functools import cached_property
from itertools import combinations
from math import comb
from typing import final

import numpy as np
from numpy.typing import NDArray

from harness.arch import Arch, Choice, Codes, ListedSpace
from harness.errors import InvalidArch
from harness.spaces.nb101 import CellSpace

NB101 = CellSpace()
OPS = ("maxpool3x3", "conv3x3-bn-relu", "conv1x1-bn-relu")  # In the order of the supernet's code.
OUTPUT = "output"
NODE = re.compile(r"([\w-]+)<(\d(?:,\d)*)")


@final
class OneShotSpace(ListedSpace):
    """Cells of 4 or 5 choice blocks with 9 edges in all.

    n_parents: how many parents each block has, and last the output. Groups: `op`, a row a block,
    and for every node that has a choice of parents a group `parents_NODE` with its own `take`.
    The order is that of the codes, in which parents count up as combinations do.
    """

    def __init__(self, number: int, n_parents: tuple[int, ...]) -> None:
        self.name = f"oneshot1-{number}"
        self.n_parents = n_parents
        self.n_blocks = len(n_parents) - 1
        parents = tuple(
            Choice(f"parents_{name}", (tuple(map(str, range(n_earlier))),), take=take)
            for name, n_earlier, take in self._nodes
            if take < n_earlier
        )
        self.groups = (Choice("op", (OPS,) * self.n_blocks), *parents)

    @property
    def _nodes(self) -> list[tuple[str, int, int]]:
        """(name, number of earlier nodes, number of parents) of every block and of the output."""
        names = [*map(str, range(1, self.n_blocks + 1)), OUTPUT]
        return [
            (name, node, take)
            for node, (name, take) in enumerate(zip(names, self.n_parents, strict=True), start=1)
        ]

    @cached_property
    def codes(self) -> Codes:
        """(size, n_positions): the operations vary slowest, the output's parents fastest."""
        codes = np.zeros((1, 0), dtype=np.uint8)
        for n_options, take in self.rows:
            chosen = np.array(list(combinations(range(n_options), take)), dtype=np.uint8)
            before = np.repeat(codes, len(chosen), axis=0)
            codes = np.concatenate([before, np.tile(chosen, (len(codes), 1))], axis=1)
        return codes

    def index(self, arch: Arch) -> int:
        index, start = 0, 0
        for n_options, take in self.rows:
            chosen = arch.code[start : start + take]
            index = index * comb(n_options, take) + _combination_rank(chosen, n_options)
            start += take
        return index

    def parents(self, codes: Codes) -> NDArray[np.bool_]:
        """(n, n_blocks + 1, n_blocks + 1): whether a block or the output has a node as parent.

        codes: (n, n_positions). Row i is block i + 1, the last is the output; column 0 is the
        cell's input.
        """
        n_nodes = self.n_blocks + 1
        found = np.zeros((len(codes), n_nodes, n_nodes), dtype=np.bool_)
        position = self.n_blocks
        for row, (_, n_earlier, take) in enumerate(self._nodes):
            if take == n_earlier:
                found[:, row, :n_earlier] = True
                continue
            for column in range(position, position + take):
                found[np.arange(len(codes)), row, codes[:, column]] = True
            position += take
        return found

    def parse(self, text: str) -> Arch:
        """Reads `OP<PARENTS|...|output<PARENTS`, a block after the other."""
        parts = [NODE.fullmatch(part) for part in text.strip().split("|")]
        wanted = [str(i) for i in range(1, self.n_blocks + 1)]
        if len(parts) != len(self._nodes) or None in parts:
            raise self._unreadable(text)
        named = [(part[1], tuple(map(int, part[2].split(",")))) for part in parts if part]
        code = []
        for (op, _), block in zip(named, wanted, strict=False):
            if op not in OPS:
                raise InvalidArch(
                    f"{self.name} has no operation {op!r} for block {block}.",
                    f"It has {', '.join(OPS)}.",
                )
            code.append(OPS.index(op))
        for (op, parents), (name, n_earlier, take) in zip(named, self._nodes, strict=True):
            is_choice = list(parents) == sorted(set(parents)) and len(parents) == take
            if (name == OUTPUT) != (op == OUTPUT) or not is_choice or parents[-1] >= n_earlier:
                raise self._unreadable(text)
            if take < n_earlier:
                code.extend(parents)
        return self.arch(code)

    def _unreadable(self, text: str) -> InvalidArch:
        example = self.format(Arch(self.name, tuple(self.codes[0].tolist())))
        return InvalidArch(f"{text!r} is not a cell of {self.name}.", f"Write it like {example}.")

    def format(self, arch: Arch) -> str:
        (parents,) = self.parents(np.array([arch.code], dtype=np.uint8))
        ops = [OPS[i] for i in arch.code[: self.n_blocks]]
        listed = [",".join(map(str, np.flatnonzero(row))) for row in parents]
        return "|".join(f"{op}<{held}" for op, held in zip([*ops, OUTPUT], listed, strict=True))

    def nb101_codes(self, codes: Codes) -> Codes:
        """(n, 26): the NAS-Bench-101 encodings of these cells.

        Blocks are vertices 1, 2, ...; where there are only 4, vertex 5 is unconnected.
        """
        parents = self.parents(codes)
        vertices = [*range(self.n_blocks + 1), 6]
        matrix = np.zeros((len(codes), 7, 7), dtype=np.uint8)
        for row, target in enumerate(vertices[1:]):
            matrix[:, vertices[:-1], target] = parents[:, row]
        upper = np.triu_indices(7, k=1)
        ops = np.zeros((len(codes), 5), dtype=np.uint8)
        ours_to_theirs = np.array([NB101.groups[1].options[0].index(op) for op in OPS])
        ops[:, : self.n_blocks] = ours_to_theirs[codes[:, : self.n_blocks]]
        return np.concatenate([matrix[:, upper[0], upper[1]], ops], axis=1)

    def nb101(self, arch: Arch) -> Arch:
        """The cell as NAS-Bench-101 encodes it."""
        (code,) = self.nb101_codes(np.array([arch.code], dtype=np.uint8))
        return NB101.arch(code.tolist())

    def key(self, arch: Arch) -> str:
        """The module hash of its NAS-Bench-101 cell."""
        return NB101.module_hash(self.nb101(arch))

    def canonical(self, arch: Arch) -> Arch:
        representative = self.representatives[self.index(arch)]
        return Arch(self.name, tuple(self.codes[representative].tolist()))

    @cached_property
    def representatives(self) -> NDArray[np.int32]:
        """(size,): for every index the lowest index that is the same NAS-Bench-101 cell."""
        cells = NB101.canonical_codes(self.nb101_codes(self.codes))
        _, first, inverse = np.unique(NB101.numbers(cells), return_index=True, return_inverse=True)
        return first[inverse].astype(np.int32)

    def used_blocks(self, codes: Codes) -> NDArray[np.bool_]:
        """(n, n_blocks): whether a block is a parent of any later block or of the output."""
        return np.logical_or.reduce(self.parents(codes)[:, :, 1:], axis=1)

    def connected_blocks(self, codes: Codes) -> NDArray[np.bool_]:
        """(n, n_blocks): whether a block lies on a path from the cell's input to its output."""
        parents = self.parents(codes)
        fed = np.zeros((len(codes), self.n_blocks + 1), dtype=np.bool_)
        fed[:, 0] = True
        for row in range(self.n_blocks):
            fed[:, row + 1] = (parents[:, row] & fed).any(axis=1)
        used: NDArray[np.bool_] = np.array(parents[:, -1, :])
        for row in range(self.n_blocks - 1, -1, -1):
            used |= parents[:, row] & used[:, row + 1, np.newaxis]
        return (fed & used)[:, 1:]

    @cached_property
    def patterns(self) -> Codes:
        """(n_patterns, n_positions): one code for every choice of parents, first op everywhere."""
        return self.codes[: self.size // len(OPS) ** self.n_blocks]

    def counts(self) -> dict[str, int]:
        """How many cells there are, by what is counted as one.

        `encodings`: all. `used`: an operation counts only for blocks that are anybody's parent.
        `connected`: only for blocks between input and output. `whole`: encodings without a loose
        end. `graphs`: connected blocks with their edges and operations. `cells`: distinct
        NAS-Bench-101 cells.
        """
        n_ops = len(OPS)
        used = self.used_blocks(self.patterns).sum(axis=1)
        connected = self.connected_blocks(self.patterns).sum(axis=1)
        return {
            "encodings": self.size,
            "used": int((n_ops**used).sum()),
            "connected": int((n_ops**connected).sum()),
            "whole": int((used == self.n_blocks).sum()) * n_ops**self.n_blocks,
            "graphs": self._n_graphs(),
            "cells": len(np.unique(self.representatives)),
        }

    def _n_graphs(self) -> int:
        """Distinct pruned graphs, each times the operations of the blocks that it keeps."""
        connected = self.connected_blocks(self.patterns)
        n = len(connected)
        kept = np.concatenate([np.ones((n, 1), np.bool_), connected], axis=1)
        is_node = np.concatenate([connected, np.ones((n, 1), np.bool_)], axis=1)
        edges = self.parents(self.patterns) & kept[:, np.newaxis, :] & is_node[:, :, np.newaxis]
        flat = np.concatenate([edges.reshape(n, -1), connected], axis=1)
        _, first = np.unique(flat, axis=0, return_index=True)
        return int((len(OPS) ** connected[first].sum(axis=1)).sum())


def _combination_rank(chosen: tuple[int, ...], n_options: int) -> int:
    """Place of an ascending choice among all of its length, in lexicographic order."""
    rank, low = 0, 0
    for position, value in enumerate(chosen):
        for skipped in range(low, value):
            rank += comb(n_options - skipped - 1, len(chosen) - position - 1)
        low = value + 1
    return rank


SPACES = (
    OneShotSpace(1, (1, 2, 2, 2, 2)),
    OneShotSpace(2, (1, 1, 2, 2, 3)),
    OneShotSpace(3, (1, 1, 1, 2, 2, 2)),
)
