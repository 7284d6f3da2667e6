"""Facts about the NATS-Bench spaces, from counts, hand computation and brute force."""

import csv
import gzip
import itertools
from collections import Counter

import numpy as np
import pytest

from harness import space
from harness.errors import InvalidArch
from harness.spaces.nb201 import EDGES, OPS, function_of, nats_unique_text
from harness.testing import check_space

TOPOLOGY, SIZE = space("nb201"), space("nb201-size")
ALL_SKIP = (
    "|skip_connect~0|+|skip_connect~0|skip_connect~1|"
    "+|skip_connect~0|skip_connect~1|skip_connect~2|"
)


@pytest.mark.parametrize("name", ["nb201", "nb201-size"])
def test_space_conforms(name):
    check_space(space(name))


def test_counts_of_the_papers():
    unique = {nats_unique_text(arch) for arch in TOPOLOGY}
    functions = set(TOPOLOGY.representatives.tolist())
    unreachable = [arch for arch in TOPOLOGY if not TOPOLOGY.reaches_output(arch)]

    assert TOPOLOGY.size == 15_625
    assert SIZE.size == 32_768
    assert len(unique) == 6_466
    assert len(functions) == 5_260
    assert len(unreachable) == 341


def _output(arch, inputs, weights):
    """Runs a cell on vectors: conv = a random matrix per edge, pool = one fixed matrix."""
    nodes = [inputs]
    for node in (1, 2, 3):
        total = np.zeros_like(inputs)
        for edge, (target, source) in enumerate(EDGES):
            if target == node:
                op = OPS[arch.code[edge]]
                total = total + weights[op, edge](nodes[source])
        nodes.append(total)
    return nodes[3]


def _weights(rng, order):
    """Per (op, edge) a function; `order` says which of six random matrices an edge's conv has."""
    matrices = {op: rng.normal(size=(6, 7, 7)) for op in ("nor_conv_1x1", "nor_conv_3x3")}
    pool = rng.normal(size=(7, 7))
    found = {}
    for edge in range(6):
        found["none", edge] = lambda x: 0 * x
        found["skip_connect", edge] = lambda x: x
        found["avg_pool_3x3", edge] = lambda x: np.tanh(x @ pool)
        for op, held in matrices.items():
            matrix = held[order[edge]]
            # A zero input counts as zero, as the definition of the classes has it.
            found[op, edge] = lambda x, m=matrix: np.tanh(x @ m) * np.any(x)
    return found


def test_equal_classes_compute_equal_functions_and_unequal_ones_do_not():
    """Two cells are one function iff some assignment of weights to edges makes them agree."""
    rng = np.random.default_rng(3)
    inputs = rng.normal(size=(2, 7))
    orders = list(itertools.permutations(range(6)))
    by_order = [_weights(np.random.default_rng(5), order) for order in orders]
    pairs = [_close_pair(rng) for _ in range(60)]

    for one, other in pairs:
        target = _output(one, inputs, by_order[0])
        agree = any(np.allclose(target, _output(other, inputs, w)) for w in by_order)
        assert agree == (TOPOLOGY.canonical(one) == TOPOLOGY.canonical(other)), (one, other)


def _close_pair(rng):
    """A cell and another of its NATS class, or a neighbour: pairs that are often equal."""
    arch = TOPOLOGY.sample(rng)
    neighbours = TOPOLOGY.neighbours(arch)
    text = nats_unique_text(arch)
    alike = [n for n in neighbours if nats_unique_text(n) == text] or neighbours
    return arch, alike[rng.integers(len(alike))]


def test_two_convolutions_differ_from_one_taken_twice():
    twice = TOPOLOGY.parse(
        "|nor_conv_1x1~0|+|none~0|skip_connect~1|+|none~0|skip_connect~1|skip_connect~2|"
    )
    two = TOPOLOGY.parse("|none~0|+|skip_connect~0|none~1|+|nor_conv_1x1~0|none~1|nor_conv_1x1~2|")

    assert len(function_of(twice)) == len(function_of(two)) == 2
    assert TOPOLOGY.canonical(twice) != TOPOLOGY.canonical(two)


def test_zero_and_skip_are_flattened():
    skip = TOPOLOGY.parse("|none~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|")

    assert function_of(skip) == (("input",),)


def test_official_order_by_published_places():
    """Indices that the NAS-Bench-201 scripts assert after their shuffle."""
    expected = {
        0: "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|"
        "+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|",
        9: "|avg_pool_3x3~0|+|none~0|none~1|+|skip_connect~0|none~1|nor_conv_3x3~2|",
    }
    codes = TOPOLOGY.codes

    assert {i: TOPOLOGY.format(TOPOLOGY.arch(codes[i].tolist())) for i in expected} == expected
    assert TOPOLOGY.index(TOPOLOGY.parse(ALL_SKIP)) == 1835
    assert SIZE.format(SIZE.arch(SIZE.codes[11].tolist())) == "8:8:8:16:32"


def test_sampling_is_uniform():
    rng = np.random.default_rng(0)
    n = 20_000
    counts = Counter(TOPOLOGY.sample(rng).code[2] for _ in range(n))
    chi_squared = sum((counts[op] - n / 5) ** 2 / (n / 5) for op in range(5))

    assert chi_squared < 18.5  # 99.9 % quantile with 4 degrees of freedom


def test_neighbours_are_one_edge_away():
    arch = TOPOLOGY.parse(ALL_SKIP)
    neighbours = TOPOLOGY.neighbours(arch)

    assert len(neighbours) == 6 * 4
    assert all(sum(a != b for a, b in zip(arch.code, n.code, strict=True)) == 1 for n in neighbours)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "|skip_connect~0|",
        ALL_SKIP.replace("~2", "~1"),
        ALL_SKIP.replace("skip_connect~2", "conv_7x7~2"),
        ALL_SKIP + "|",
        "8:8:8:8:8",
    ],
)
def test_wrong_cells_are_refused(text):
    with pytest.raises(InvalidArch, match="nb201"):
        TOPOLOGY.parse(text)


@pytest.mark.parametrize("text", ["8:8:8:8", "8:8:8:8:7", "8:8:8:8:72", "", ALL_SKIP])
def test_wrong_sizes_are_refused(text):
    with pytest.raises(InvalidArch, match="8:16:24"):
        SIZE.parse(text)


@pytest.mark.parametrize("code", [(0,) * 5, (0,) * 7, (0, 0, 0, 0, 0, 5), (-1, 0, 0, 0, 0, 0)])
def test_wrong_codes_are_refused(code):
    with pytest.raises(InvalidArch):
        TOPOLOGY.arch(code)


def test_closed_form_of_the_all_skip_cell_by_hand():
    """Stem 3*16*9+32; blocks 16->32 and 32->64; batch norm 128; classifier 64*10+10."""
    blocks = (9 * 16 * 32 + 64 + 9 * 32 * 32 + 64 + 16 * 32) + (
        9 * 32 * 64 + 128 + 9 * 64 * 64 + 128 + 32 * 64
    )
    expected = (3 * 16 * 9 + 32 + blocks + 128 + 650) / 1e6
    code = np.array([TOPOLOGY.parse(ALL_SKIP).code], dtype=np.uint8)

    assert TOPOLOGY.closed_form("params", "cifar10", code)[0] == pytest.approx(expected, abs=1e-12)


def test_closed_form_equals_the_community_table(data):
    with gzip.open(data / "nb201" / "nb201.csv.gz", "rt") as file:
        rows = list(csv.DictReader(file))
    suffixes = {"cifar10": "c10", "cifar100": "c100", "ImageNet16-120": "in16"}

    assert [row["arch"] for row in rows] == [TOPOLOGY.format(arch) for arch in TOPOLOGY]
    for cost, (dataset, suffix) in itertools.product(("params", "flops"), suffixes.items()):
        expected = [float(row[f"{cost}_{suffix}_M"]) for row in rows]
        computed = TOPOLOGY.closed_form(cost, dataset, TOPOLOGY.codes)
        np.testing.assert_allclose(computed, expected, rtol=0, atol=1e-9)
