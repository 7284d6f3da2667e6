"""Facts about NAS-Bench-101's space: the benchmark's own file, hand examples and brute force."""

import csv
import gzip
import itertools
from collections import Counter

import numpy as np
import pytest
from scipy.stats import chisquare

from harness import space
from harness.errors import InvalidArch
from harness.spaces.nb101 import EDGES, INPUT, N_CELLS, OPS, OUTPUT, cells_of_size
from harness.testing import check_space

SPACE = space("nb101")
CONV3, CONV1, POOL = OPS
REST = ",".join([CONV3] * 5)


def _cell(edges, ops=REST):
    return SPACE.parse(f"{edges}|{ops}")


def _complete(n_vertices):
    """Every possible edge: 10 edges of 5 vertices, 21 of 7."""
    matrix = np.triu(np.ones((n_vertices, n_vertices), dtype=int), 1)
    return SPACE.of_spec(matrix, [INPUT, *[CONV3] * (n_vertices - 2), OUTPUT])


def _all_specs(n_vertices):
    """Every strictly upper triangular matrix with every choice of operations."""
    upper = np.triu_indices(n_vertices, 1)
    for bits in itertools.product((0, 1), repeat=len(upper[0])):
        matrix = np.zeros((n_vertices, n_vertices), dtype=int)
        matrix[upper] = bits
        for inner in itertools.product(OPS, repeat=n_vertices - 2):
            yield matrix, (INPUT, *inner, OUTPUT)


def _isomorphic(one, other):
    """Whether some renumbering of the inner vertices turns one (matrix, ops) into the other."""
    (matrix, ops), (target, target_ops) = one, other
    if len(ops) != len(target_ops):
        return False
    orders = itertools.permutations(range(1, len(ops) - 1))
    return any(
        [ops[v] for v in (0, *order, len(ops) - 1)] == list(target_ops)
        and (matrix[np.ix_((0, *order, -1), (0, *order, -1))] == target).all()
        for order in orders
    )


@pytest.fixture(scope="module")
def rows(data):
    with gzip.open(data / "nb101" / "nb101_30k.csv.gz", "rt") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def recorded(rows):
    """The architectures of the benchmark's file, row by row."""
    archs = []
    for row in rows:
        n_vertices = int(row["vertices"])
        matrix = np.array(list(row["adjacency"]), dtype=np.int8).reshape(n_vertices, n_vertices)
        ops = [INPUT, *(OPS[int(op)] for op in row["ops"]), OUTPUT]
        archs.append(SPACE.of_spec(matrix, ops))
    return archs


@pytest.fixture(scope="module")
def edge_bits():
    """(2^21, 21): the edges of every code."""
    numbers = np.arange(2**21)
    return np.stack([numbers >> (20 - position) & 1 for position in range(21)], axis=1).astype(bool)


@pytest.fixture(scope="module")
def valid(edge_bits):
    """(2^21,): whether the pruned graph has an input-output path and at most 9 edges."""
    from_input = np.zeros((len(edge_bits), 7), dtype=bool)
    to_output = np.zeros((len(edge_bits), 7), dtype=bool)
    from_input[:, 0] = to_output[:, 6] = True
    for _ in range(6):  # The longest path has 6 edges.
        for position, (i, j) in enumerate(EDGES):
            from_input[:, j] |= edge_bits[:, position] & from_input[:, i]
            to_output[:, i] |= edge_bits[:, position] & to_output[:, j]
    on_path = from_input & to_output
    n_edges = sum(
        (edge_bits[:, position] & on_path[:, i] & on_path[:, j]).astype(int)
        for position, (i, j) in enumerate(EDGES)
    )
    return on_path[:, 6] & (n_edges <= 9)


def test_space_conforms():
    check_space(SPACE)


def test_size_is_the_number_of_distinct_cells():
    assert SPACE.size == N_CELLS == len(SPACE.cells())


# Hashes and parameters


def test_hash_is_the_benchmarks_key(rows, recorded):
    expected = [row["key"] for row in rows]

    assert len(expected) == 30_001
    assert expected == [SPACE.module_hash(arch) for arch in recorded]


def test_hash_does_not_depend_on_numpy_integers():
    arch = _cell("0>1,1>6")
    code = np.array(arch.code, dtype=np.int64)

    assert SPACE.module_hash(arch) == SPACE.module_hash(type(arch)("nb101", tuple(code)))


def test_params_are_the_benchmarks(rows, recorded):
    expected = [int(row["trainable_parameters"]) for row in rows]
    codes = np.array([arch.code for arch in recorded], dtype=np.uint8)

    millions = SPACE.closed_form("params", "cifar10", codes)

    assert millions.shape == (30_001,)
    assert expected == np.rint(millions * 1e6).astype(int).tolist()
    np.testing.assert_allclose(millions * 1e6, expected, rtol=1e-12)


def test_params_by_hand():
    # Stem 3x3, nine 1x1 projections with two numbers of batch norm a channel, classifier.
    stem = 9 * 3 * 128 + 2 * 128
    projections = 3 * 128**2 + 128 * 256 + 2 * 256**2 + 256 * 512 + 2 * 512**2
    norms = 3 * 2 * (128 + 256 + 512)
    direct = stem + projections + norms + 512 * 10 + 10
    conv3 = sum(3 * (9 * c * c + 2 * c) for c in (128, 256, 512))
    codes = np.array([_cell(e).code for e in ("0>6", "0>1,1>6", "0>1,2>6")], dtype=np.uint8)

    millions = SPACE.closed_form("params", "cifar10", codes)

    assert [direct, direct + conv3] == np.rint(millions[:2] * 1e6).tolist()
    assert np.isnan(millions[2])


def test_params_of_codes_that_are_no_cell_or_of_none():
    invalid = np.array([_complete(7).code, SPACE.arch((0,) * 26).code])

    assert np.isnan(SPACE.closed_form("params", "cifar10", invalid)).all()
    assert SPACE.closed_form("params", "cifar10", np.zeros((0, 26), dtype=np.uint8)).shape == (0,)


def test_no_formula_for_other_costs_or_data_sets():
    codes = np.zeros((1, 26), dtype=np.uint8)

    assert SPACE.closed_form("flops", "cifar10", codes) is None
    assert SPACE.closed_form("params", "cifar100", codes) is None


# Specs, texts, validity


def test_recorded_cells_are_valid_and_survive_spec_and_text(recorded):
    for arch in recorded[::10]:
        assert SPACE.is_valid(arch)
        assert SPACE.of_spec(*SPACE.spec(arch)) == arch
        assert SPACE.parse(SPACE.format(arch)) == arch


def test_every_code_survives_spec_and_text():
    rng = np.random.default_rng(0)
    for _ in range(500):
        arch = SPACE.arch([*rng.integers(2, size=21), *rng.integers(3, size=5)])

        assert SPACE.of_spec(*SPACE.spec(arch)) == arch
        assert SPACE.parse(SPACE.format(arch)) == arch


def test_code_is_the_upper_triangle_row_by_row():
    arch = SPACE.arch((1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1) + (0,) * 10 + (2, 1, 0, 0, 0))
    matrix, ops = SPACE.spec(arch)

    assert np.argwhere(matrix).tolist() == [[0, 1], [1, 6]]
    assert ops == (INPUT, POOL, CONV1, CONV3, CONV3, CONV3, OUTPUT)
    assert SPACE.format(arch) == f"0>1,1>6|{POOL},{CONV1},{CONV3},{CONV3},{CONV3}"


def test_small_cells_are_padded_before_the_output():
    matrix = [[0, 1, 1], [0, 0, 1], [0, 0, 0]]

    arch = SPACE.of_spec(matrix, [INPUT, CONV1, OUTPUT])

    assert SPACE.format(arch) == f"0>1,0>6,1>6|{CONV1},{CONV3},{CONV3},{CONV3},{CONV3}"


def test_pruning_by_hand():
    # 2 is a dead end, 3 has no source, 4 and 5 are the path.
    inner = ",".join([POOL, POOL, POOL, CONV1, CONV3])
    matrix, ops = SPACE.pruned(_cell("0>2,0>4,3>5,4>5,5>6", inner))
    expected = [[0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0]]

    assert expected == matrix.tolist()
    assert ops == (INPUT, CONV1, CONV3, OUTPUT)


def test_pruning_leaves_a_direct_edge_alone():
    matrix, ops = SPACE.pruned(_cell("0>1,0>6,2>6"))

    assert matrix.tolist() == [[0, 1], [0, 0]]
    assert ops == (INPUT, OUTPUT)


@pytest.mark.parametrize("edges", ["", "0>1", "1>6", "0>1,2>6"])
def test_output_not_reached(edges):
    arch = _cell(edges)

    assert SPACE.pruned(arch) is None
    assert not SPACE.is_valid(arch)
    assert SPACE.canonical(arch).code == (0,) * 26
    with pytest.raises(InvalidArch, match="no path"):
        SPACE.module_hash(arch)


def test_nine_edges_are_the_limit_of_the_pruned_cell():
    ten = _complete(5)
    nine_and_dead_ends = _cell("0>1,0>2,0>3,0>4,0>6,1>2,1>6,2>3,2>6,3>6")  # 0>4 is pruned.

    assert not SPACE.is_valid(ten)
    with pytest.raises(InvalidArch, match="10 edges"):
        SPACE.module_hash(ten)
    assert SPACE.is_valid(nine_and_dead_ends)
    assert SPACE.canonical(ten) == ten


def test_is_valid_for_random_codes(valid):
    rng = np.random.default_rng(0)
    for number in rng.integers(2**21, size=3000).tolist():
        bits = [int(bit) for bit in f"{number:021b}"]

        assert SPACE.is_valid(SPACE.arch([*bits, 0, 0, 0, 0, 0])) == valid[number]


CHAIN = [[0, 1, 0], [0, 0, 1], [0, 0, 0]]


@pytest.mark.parametrize(
    ("matrix", "ops", "fault"),
    [
        ([[0, 1, 0], [0, 0, 1]], [INPUT, CONV1, OUTPUT], "not square"),
        ([0, 1], [INPUT, OUTPUT], "not square"),
        ([[0, 1], [0]], [INPUT, OUTPUT], "differ in length"),
        ([[0, 2], [0, 0]], [INPUT, OUTPUT], "other than 0 and 1"),
        ([[0, np.nan], [0, 0]], [INPUT, OUTPUT], "other than 0 and 1"),
        ([["0", "1"], ["0", "0"]], [INPUT, OUTPUT], "other than 0 and 1"),
        ([[0, 1], [1, 0]], [INPUT, OUTPUT], "not upper triangular: it has 1>0"),
        ([[0, 1], [0, 1]], [INPUT, OUTPUT], "not upper triangular: it has 1>1"),
        (np.zeros((8, 8)), [INPUT, *[CONV1] * 6, OUTPUT], "no cell of 8 vertices"),
        (np.zeros((1, 1)), [INPUT], "no cell of 1 vertices"),
        (CHAIN, [INPUT, OUTPUT], "A spec of 3 vertices cannot have"),
        (
            CHAIN,
            [INPUT, "conv5x5", OUTPUT],
            "'conv5x5'. It has conv3x3-bn-relu, conv1x1-bn-relu, maxpool3x3.",
        ),
        (CHAIN, [INPUT, INPUT, OUTPUT], "no operation 'input'"),
        (CHAIN, [CONV1, CONV1, OUTPUT], "the first 'input'"),
        (CHAIN, [INPUT, CONV1, CONV1], "the last 'output'"),
    ],
)
def test_bad_specs(matrix, ops, fault):
    with pytest.raises(InvalidArch) as caught:
        SPACE.of_spec(matrix, ops)

    assert fault in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0>1,1>6",
        f"1>0|{REST}",
        f"0>7|{REST}",
        f"0>1,|{REST}",
        f"0>1,0>1|{REST}",
        f"0>1|{CONV1}",
        f"0>1|{REST},{CONV1}",
        "0>1|a,b,c,d,e",
        f"0>1|{REST}|",
    ],
)
def test_bad_texts(text):
    with pytest.raises(InvalidArch):
        SPACE.parse(text)


def test_bad_text_comes_with_an_example():
    with pytest.raises(InvalidArch, match=r"0>1,1>6\|conv3x3-bn-relu,conv3x3-bn-relu") as caught:
        SPACE.parse("resnet")

    example = caught.value.remedy.rsplit(": ", 1)[1].rstrip(".")
    assert SPACE.is_valid(SPACE.parse(example))


# Sampling and neighbours


def test_samples_are_uniform_over_valid_codes(edge_bits, valid):
    n_edges_of = Counter(edge_bits[valid].sum(axis=1).tolist())
    rng = np.random.default_rng(0)
    codes = np.array([SPACE.sample(rng).code for _ in range(6000)])
    counts = [n for n in sorted(n_edges_of) if n_edges_of[n] * 6000 >= 10 * valid.sum()]
    inside = codes[:, :21].sum(axis=1)
    drawn = [int((inside == n).sum()) for n in counts]
    share = np.array([n_edges_of[n] for n in counts], dtype=float)
    each_edge = edge_bits[valid].mean(axis=0)

    assert chisquare(drawn, share / share.sum() * sum(drawn)).pvalue > 0.001
    assert (np.abs(codes[:, :21].mean(axis=0) - each_edge) < 4 * 0.5 / np.sqrt(6000)).all()
    for vertex in range(5):
        assert chisquare(np.bincount(codes[:, 21 + vertex], minlength=3)).pvalue > 0.001


def test_neighbours_are_the_valid_codes_one_change_away(valid):
    rng = np.random.default_rng(0)
    for _ in range(30):
        arch = SPACE.sample(rng)
        number = int("".join(map(str, arch.code[:21])), 2)
        n_valid_flips = sum(bool(valid[number ^ 1 << position]) for position in range(21))

        neighbours = SPACE.neighbours(arch)

        assert len(set(neighbours)) == len(neighbours) == n_valid_flips + 5 * 2
        for neighbour in neighbours:
            assert SPACE.is_valid(neighbour)
            assert sum(a != b for a, b in zip(arch.code, neighbour.code, strict=True)) == 1
            assert arch in SPACE.neighbours(neighbour)


# Which codes are one cell


@pytest.mark.parametrize("n_vertices", [2, 3, 4])
def test_canonical_is_isomorphism_for_all_small_cells(n_vertices):
    archs = [SPACE.of_spec(*spec) for spec in _all_specs(n_vertices)]
    classes = {SPACE.canonical(arch): SPACE.pruned(SPACE.canonical(arch)) for arch in archs}

    for arch in archs:
        pruned, own = SPACE.pruned(arch), classes[SPACE.canonical(arch)]
        if pruned is None:
            assert own is None
        else:
            same = [c for c, p in classes.items() if p is not None and _isomorphic(pruned, p)]
            assert [SPACE.canonical(arch)] == same


def test_canonical_is_the_smallest_code_of_all_renumberings():
    rng = np.random.default_rng(0)
    checked = 0
    while checked < 40:
        arch = SPACE.arch([*(rng.random(21) < 0.3).astype(int), *rng.integers(3, size=5)])
        if SPACE.pruned(arch) is None:
            continue
        matrix, ops = SPACE.pruned(arch)
        codes = []
        for order in itertools.permutations(range(1, len(ops) - 1)):
            order = (0, *order, len(ops) - 1)
            renumbered = matrix[np.ix_(order, order)]
            if not np.tril(renumbered).any():
                codes.append(SPACE.of_spec(renumbered, [ops[v] for v in order]).code)

        assert min(codes) == SPACE.canonical(arch).code
        assert all(SPACE.canonical(SPACE.arch(code)).code == min(codes) for code in codes)
        checked += 1


def test_canonical_groups_cells_as_the_official_hash_does():
    rng = np.random.default_rng(0)
    archs = [SPACE.sample(rng) for _ in range(300)]
    archs += [neighbour for arch in archs for neighbour in SPACE.neighbours(arch)]
    pairs = {(SPACE.module_hash(arch), SPACE.canonical(arch)) for arch in set(archs)}

    assert len(set(archs)) > len(pairs) > 1000
    assert len({key for key, _ in pairs}) == len(pairs)
    assert len({canonical for _, canonical in pairs}) == len(pairs)


def test_canonical_cells_have_the_hash_of_their_cell(rows, recorded):
    canonical = [SPACE.canonical(arch) for arch in recorded[::10]]

    assert [row["key"] for row in rows[::10]] == [SPACE.module_hash(arch) for arch in canonical]


def test_cells_up_to_5_vertices_are_those_of_brute_force():
    hashes = set()
    for n_vertices in (2, 3, 4, 5):
        for spec in _all_specs(n_vertices):
            arch = SPACE.of_spec(*spec)
            if SPACE.is_valid(arch):
                hashes.add(SPACE.module_hash(arch))
    cells = [SPACE.arch(code) for v in (2, 3, 4, 5) for code in cells_of_size(v).tolist()]

    assert len(cells) == len(hashes)
    assert hashes == {SPACE.module_hash(cell) for cell in cells}


def test_there_are_as_many_cells_as_the_benchmark_has(recorded):
    cells = SPACE.cells()
    listed = {code.tobytes() for code in cells}

    assert N_CELLS == 423_624
    assert cells.shape == (N_CELLS, 26)
    assert len(listed) == N_CELLS
    assert all(bytes(SPACE.canonical(arch).code) in listed for arch in recorded)


@pytest.mark.slow
def test_all_cells_have_different_hashes_and_are_canonical():
    hashes = set()
    for code in SPACE.cells().tolist():
        arch = SPACE.arch(code)
        hashes.add(SPACE.module_hash(arch))

        assert SPACE.canonical(arch) == arch

    assert len(hashes) == N_CELLS


def test_many_canonical_codes_are_those_of_single_cells():
    of_space = space("nb101")
    rng = np.random.default_rng(5)
    codes = np.array([of_space.sample(rng).code for _ in range(300)], dtype=np.uint8)
    cut = np.array([[0] * 21 + [1, 2, 0, 1, 2]], dtype=np.uint8)
    codes = np.concatenate([codes, cut, codes[::-1]])

    found = of_space.canonical_codes(codes)

    assert found.tolist() == [
        list(of_space.canonical(of_space.arch(code)).code) for code in codes.tolist()
    ]
