"""Facts about the DARTS spaces: published genotypes, hand-made examples, counts, brute force."""

import itertools
import re
from collections import Counter

import numpy as np
import pytest
from scipy.stats import chi2

from harness import space
from harness.arch import Arch
from harness.errors import InvalidArch, InvalidSpec, UnknownName
from harness.spaces.darts import CELL_TYPES, EDGES, PRIMITIVES, SPACES, DartsSpace, Genotype
from harness.testing import check_space

NAMES = ["darts", "darts-no-none", "darts-s1", "darts-s2", "darts-s3", "darts-s4"]
DARTS = space("darts")
S1 = space("darts-s1")
S2 = space("darts-s2")

# quark0/darts, cnn/genotypes.py; the pairs of a node are in order of strength, not of source.
DARTS_V2 = (
    "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0),"
    " ('sep_conv_3x3', 1), ('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0),"
    " ('dil_conv_3x3', 2)], normal_concat=[2, 3, 4, 5], reduce=[('max_pool_3x3', 0),"
    " ('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 1), ('max_pool_3x3', 0),"
    " ('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)],"
    " reduce_concat=[2, 3, 4, 5])"
)
DARTS_V2_SORTED = (
    "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0),"
    " ('sep_conv_3x3', 1), ('skip_connect', 0), ('sep_conv_3x3', 1), ('skip_connect', 0),"
    " ('dil_conv_3x3', 2)], normal_concat=range(2, 6), reduce=[('max_pool_3x3', 0),"
    " ('max_pool_3x3', 1), ('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 0),"
    " ('skip_connect', 2), ('max_pool_3x3', 1), ('skip_connect', 2)],"
    " reduce_concat=range(2, 6))"
)
SKIPS = [("skip_connect", source) for source in (0, 1)] * 4
LONG_NAMES = {
    "max": "max_pool_3x3",
    "avg": "avg_pool_3x3",
    "skip": "skip_connect",
    "sep3": "sep_conv_3x3",
    "sep5": "sep_conv_5x5",
    "dil3": "dil_conv_3x3",
    "dil5": "dil_conv_5x5",
}


def _genotype(normal, reduce=SKIPS):
    return Genotype(normal, range(2, 6), reduce, range(2, 6))


def _cells(normal, reduce):
    """The genotype of two cells that are written like "skip 0 sep3 1 ...": short names, sources."""
    cells = [
        [(LONG_NAMES[op], int(source)) for op, source in zip(words[::2], words[1::2], strict=True)]
        for words in (normal.split(), reduce.split())
    ]
    return _genotype(*cells)


# chenxin061/pdarts, genotypes.py.
PDARTS = _cells(
    "skip 0 dil3 1 skip 0 sep3 1 sep3 1 sep3 3 sep3 0 dil5 4",
    "avg 0 sep5 1 sep3 0 dil5 2 max 0 dil3 1 dil3 1 dil5 3",
)
# yuhuixu1993/PC-DARTS, genotypes.py.
PC_DARTS = _cells(
    "sep3 1 skip 0 sep3 0 dil3 1 sep5 0 sep3 1 avg 0 dil3 1",
    "sep5 1 max 0 sep5 1 sep5 2 sep3 0 sep3 3 sep3 1 sep3 2",
)
# xiaomi-automl/FairDARTS, fairdarts/genotypes.py.
FAIRDARTS_D = _cells(
    "sep3 0 sep5 1 dil3 1 max 0 dil3 0 dil3 1 sep3 0 dil5 1",
    "max 0 sep5 1 avg 0 dil5 2 dil3 3 avg 0 avg 0 skip 3",
)
# Found by three other papers; sbl1996/hanser, hanser/models/nas/genotypes.py.
GDAS = _cells(
    "skip 0 skip 1 skip 0 sep5 2 sep3 3 skip 0 sep5 4 sep3 3",
    "sep5 0 sep3 1 sep5 2 sep5 1 dil5 2 sep3 1 sep5 0 sep5 2",
)
MDENAS = _cells(
    "sep5 1 sep3 0 skip 0 sep5 1 sep5 3 sep3 1 dil5 3 max 4",
    "max 0 sep5 1 skip 0 skip 1 sep3 3 skip 2 dil3 3 sep5 0",
)
SNAS = _cells(
    "sep3 0 sep3 1 skip 0 dil3 1 skip 1 skip 0 skip 0 sep3 1",
    "max 0 max 1 max 1 skip 2 skip 2 max 1 max 0 dil5 2",
)


def _with(pairs, **changes):
    """pairs with some replaced: _with(SKIPS, p3=("none", 1)) replaces the one at place 3."""
    changed = list(pairs)
    for place, pair in changes.items():
        changed[int(place[1:])] = pair
    return changed


def _one_op(name, **extra):
    """A space of one operation per edge in both cells; extra: e5="b" adds b to edge 5, normal."""
    normal = [("a",)] * 14
    for edge, ops in extra.items():
        normal[int(edge[1:])] = ("a", *ops)
    return DartsSpace(name, tuple(normal), (("a",),) * 14)


@pytest.mark.parametrize("name", NAMES)
def test_space_conforms(name):
    check_space(space(name))


def test_every_instance_is_registered():
    assert [of_space.name for of_space in SPACES] == NAMES
    assert all(space(of_space.name) is of_space for of_space in SPACES)


def test_edges_are_in_the_order_of_darts():
    assert EDGES == (
        *((2, 0), (2, 1)),
        *((3, 0), (3, 1), (3, 2)),
        *((4, 0), (4, 1), (4, 2), (4, 3)),
        *((5, 0), (5, 1), (5, 2), (5, 3), (5, 4)),
    )


def test_groups_are_learned_operations_then_unlearned_inputs():
    expected = [("op_normal", 14, 1, True), ("op_reduce", 14, 1, True)] + [
        (f"inputs_{cell}_{node}", 1, 2, False) for cell in CELL_TYPES for node in (3, 4, 5)
    ]
    for name in NAMES:
        groups = space(name).groups

        assert [(g.name, len(g.options), g.take, g.learned) for g in groups] == expected
        assert [g.options[0] for g in groups[2:5]] == [
            ("0", "1", "2"),
            ("0", "1", "2", "3"),
            ("0", "1", "2", "3", "4"),
        ]


def test_candidates_of_the_spaces():
    """As sota/cnn/spaces.py of darts-pt lists them; S1 by spot checks and by count."""
    expected = {
        "darts": PRIMITIVES,
        "darts-no-none": PRIMITIVES[1:],
        "darts-s2": ("skip_connect", "sep_conv_3x3"),
        "darts-s3": ("none", "skip_connect", "sep_conv_3x3"),
        "darts-s4": ("noise", "sep_conv_3x3"),
    }
    normal, reduce = (dict(zip(EDGES, group.options, strict=True)) for group in S1.groups[:2])

    for name, ops in expected.items():
        assert {row for group in space(name).groups[:2] for row in group.options} == {ops}
    assert len(PRIMITIVES) == 8
    assert normal[2, 0] == ("skip_connect", "dil_conv_3x3")
    assert normal[3, 1] == ("skip_connect", "sep_conv_3x3")
    assert normal[4, 0] == ("max_pool_3x3", "skip_connect")
    assert normal[5, 4] == ("dil_conv_3x3", "dil_conv_5x5")
    assert reduce[2, 1] == ("max_pool_3x3", "dil_conv_3x3")
    assert reduce[4, 1] == ("max_pool_3x3", "sep_conv_3x3")
    assert reduce[4, 2] == ("skip_connect", "dil_conv_3x3")
    assert reduce[5, 4] == ("skip_connect", "dil_conv_5x5")
    assert Counter(op for row in normal.values() for op in row) == {
        "skip_connect": 12,
        "dil_conv_3x3": 6,
        "sep_conv_3x3": 4,
        "dil_conv_5x5": 4,
        "max_pool_3x3": 2,
    }
    assert Counter(op for row in reduce.values() for op in row) == {
        "max_pool_3x3": 8,
        "avg_pool_3x3": 6,
        "skip_connect": 6,
        "dil_conv_5x5": 5,
        "dil_conv_3x3": 2,
        "sep_conv_3x3": 1,
    }


def test_sizes():
    """DARTS has about 10^18 cell pairs: (1 * 3 * 6 * 10 * 7^8)^2, section 3.1 of its paper."""
    assert DARTS.size == space("darts-no-none").size == (180 * 7**8) ** 2
    assert 1e18 < DARTS.size < 1.1e18
    for name in ("darts-s1", "darts-s2", "darts-s3", "darts-s4"):
        assert space(name).size == (180 * 2**8) ** 2


def test_size_is_the_number_of_distinct_archs_by_brute_force():
    """Uneven candidates: every code of the normal cell, `none` and all; 180 reduction cells."""
    small = _one_op("small", e1=("b",), e4=("b", "c"), e8=("none",), e12=("b",))
    rows = [range(len(row)) for row in small.groups[0].options]
    inputs = [itertools.combinations(range(node), 2) for node in (3, 4, 5)]
    rest = (0, 1) * 3
    found, refused = set(), 0
    for *ops, three, four, five in itertools.product(*rows, *inputs):
        try:
            found.add(small.arch((*ops, *[0] * 14, *three, *four, *five, *rest)))
        except InvalidArch:
            refused += 1

    assert len(found) * 180 == small.size
    # 12 of the 24 rows of operations have none on 3 -> 4, which 3 of node 4's 6 pairs use.
    assert refused == 12 * 3 * 3 * 10


def test_published_genotype_round_trips():
    arch = DARTS.parse(DARTS_V2)

    assert DARTS.format(arch) == DARTS_V2_SORTED
    assert DARTS.parse(DARTS_V2_SORTED) == arch
    assert DARTS.of_genotype(DARTS.genotype(arch)) == arch
    assert DARTS.genotype(arch).normal[4:6] == (("skip_connect", 0), ("sep_conv_3x3", 1))


def test_code_of_the_published_genotype_by_hand():
    """Operations are numbered as in PRIMITIVES; 1 stands on edges that are no input."""
    normal = (4, 4, 4, 4, 1, 3, 4, 1, 1, 3, 1, 6, 1, 1)
    reduce = (1, 1, 1, 1, 3, 1, 1, 3, 1, 1, 1, 3, 1, 1)
    inputs = (0, 1, 0, 1, 0, 2, 1, 2, 0, 2, 1, 2)

    assert DARTS.parse(DARTS_V2).code == normal + reduce + inputs


def test_one_genotype_is_one_arch_in_each_space():
    genotype = _genotype(SKIPS)
    texts = {s.format(s.of_genotype(genotype)) for s in (DARTS, space("darts-no-none"), S2)}

    assert len(texts) == 1


@pytest.mark.parametrize("name", NAMES)
def test_text_and_genotype_round_trip(name):
    of_space = space(name)
    rng = np.random.default_rng(2)
    for arch in (of_space.sample(rng) for _ in range(30)):
        genotype = of_space.genotype(arch)
        swapped = [genotype.normal[i ^ 1] for i in range(8)]

        assert of_space.of_genotype(genotype) == arch
        assert of_space.of_genotype(genotype._replace(normal=swapped)) == arch
        assert eval(of_space.format(arch), {"Genotype": Genotype, "range": range}) == Genotype(
            list(genotype.normal), range(2, 6), list(genotype.reduce), range(2, 6)
        )
        assert "none" not in of_space.format(arch)


def test_fields_may_be_in_any_order_and_on_many_lines():
    text = DARTS_V2.replace("Genotype(", "Genotype(\n").replace("),", "),\n    ")
    concat = "normal_concat=[2, 3, 4, 5], "
    moved = text.replace(concat, "").replace("Genotype(", f"Genotype({concat}")

    assert moved != text
    assert DARTS.parse(f"  {moved}\n") == DARTS.parse(DARTS_V2)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Genotype",
        "Genotype()",
        "|skip_connect~0|",
        "\0",
        "(" * 500,
        "-" * 100_000 + "1",
        DARTS_V2[:-1],
        DARTS_V2 + ")",
        DARTS_V2.replace("Genotype", "Cell"),
        DARTS_V2.replace("normal=", ""),
        DARTS_V2.replace("normal_concat=[2, 3, 4, 5], ", ""),
        DARTS_V2.replace("normal_concat", "concat"),
        DARTS_V2.replace("normal_concat=[2, 3, 4, 5]", "normal_concat=5"),
        DARTS_V2.replace("reduce_concat", "normal_concat"),
        DARTS_V2.replace("reduce=", "normal="),
        DARTS_V2.replace("('skip_connect', 0)", "'skip_connect'"),
        DARTS_V2.replace("('skip_connect', 0)", "('skip_connect', 0, 1)"),
        DARTS_V2.replace("('skip_connect', 0)", "(print('x'), 0)"),
        re.sub(r"normal=\[.*?\]", "normal=3", DARTS_V2, count=1),
        re.sub(r"normal=\[.*?\]", f"normal=range({10**30})", DARTS_V2, count=1),
        "__import__('os').getcwd()",
    ],
)
def test_text_of_another_form_is_refused_with_an_example(text):
    with pytest.raises(InvalidArch, match="is not a genotype of darts") as caught:
        DARTS.parse(text)

    example = caught.value.remedy.removeprefix("Write it like ").removesuffix(".")
    assert isinstance(DARTS.parse(example), Arch)


def test_text_is_never_run(tmp_path):
    target = tmp_path / "made"
    with pytest.raises(InvalidArch):
        DARTS.parse(DARTS_V2.replace("'dil_conv_3x3'", f"open({str(target)!r}, 'w')"))

    assert not target.exists()


@pytest.mark.parametrize(
    ("genotype", "message"),
    [
        (_genotype(SKIPS[:6]), "normal cell: 6 pairs"),
        (_genotype(SKIPS, SKIPS + SKIPS[:2]), "reduce cell: 10 pairs"),
        (_genotype(_with(SKIPS, p3=("sep_conv_3x3", 0))), "node 3 takes input 0 twice"),
        (_genotype(_with(SKIPS, p1=("skip_connect", 2))), "node 2 takes input 2.*two of 0 to 1"),
        (_genotype(_with(SKIPS, p7=("skip_connect", 5))), "node 5 takes input 5.*two of 0 to 4"),
        (_genotype(_with(SKIPS, p7=("skip_connect", -1))), "node 5 takes input -1"),
        (_genotype(_with(SKIPS, p7=("skip_connect", "1"))), "node 5 takes input '1'"),
        (_genotype(SKIPS, _with(SKIPS, p2=("conv_7x7", 0))), "'conv_7x7' from 0 to 3.*dil_conv_5"),
        (_genotype(_with(SKIPS, p2=("none", 0))), "'none' from 0 to 3.*has max_pool_3x3,"),
        (_genotype(SKIPS)._replace(normal_concat=[3, 4, 5]), "normal_concat is"),
        (_genotype(SKIPS)._replace(reduce_concat=range(2, 10**12)), "reduce_concat is"),
        (_genotype(SKIPS)._replace(reduce_concat=(5, 4, 3, 2)), "reduce_concat is"),
    ],
)
def test_wrong_genotypes_are_refused(genotype, message):
    with pytest.raises(InvalidArch, match=f"darts.*{message}"):
        DARTS.of_genotype(genotype)
    with pytest.raises(InvalidArch, match=f"darts.*{message}"):
        DARTS.parse(repr(genotype))


def test_operation_of_another_edge_is_refused_with_the_edges_candidates():
    with pytest.raises(InvalidArch, match=r"from 0 to 2\. There it has skip_connect, dil_conv_3x3"):
        S1.of_genotype(_genotype(_with(SKIPS, p0=("sep_conv_3x3", 0))))


def test_an_arch_of_another_space_is_refused():
    arch = S2.sample(np.random.default_rng(0))
    for read in (DARTS.genotype, DARTS.format, DARTS.canonical, DARTS.neighbours, DARTS.one_hot):
        with pytest.raises(InvalidArch, match="of darts-s2 cannot be read in darts"):
            read(arch)


def test_codes_with_none_on_an_input_are_refused_and_elsewhere_ignored():
    arch = DARTS.parse(DARTS_V2)
    used, unused = list(arch.code), list(arch.code)
    used[0] = 0
    unused[4] = 0  # 2 -> 3
    other = [*arch.code]
    other[4] = 7

    with pytest.raises(InvalidArch, match="'none' from 0 to 2"):
        DARTS.arch(used)
    assert DARTS.arch(unused) == DARTS.arch(other) == arch


@pytest.mark.parametrize("code", [(), (1,) * 40, (8,) + (1,) * 27 + (0, 1) * 6, (1,) * 28])
def test_wrong_codes_are_refused(code):
    with pytest.raises(InvalidArch):
        DARTS.arch(code)


@pytest.mark.parametrize("rows", [[("a",)] * 13, [("a",)] * 13 + [("none",)], [("a", "a")] * 14])
def test_wrong_candidates_are_refused(rows):
    with pytest.raises(InvalidSpec, match="14 rows"):
        DartsSpace("wrong", tuple(rows), (("a",),) * 14)


def test_genotype_rule_by_hand():
    """S3, columns none, skip, sep3. Where `none` is the strongest it changes nothing."""
    normal = np.array(
        [
            *([9, 1, 0], [0, 0, 0]),  # node 2: skip on 0; a tie on 1: skip
            *([9, 1, 2], [0, 3, 1], [0, 2, 1]),  # node 3: 1 (3) and, of a tie at 2, 0 before 2
            *([9, -3, -4], [0, -2, -5], [0, -9, -1], [0, -9, -9]),  # node 4: 2 (-1), 1 (-2)
            *([0, 1, 1], [0, 1, 1], [0, 1, 1], [0, 1, 1], [0, 1, 1.5]),  # node 5: 4, then 0
        ]
    )
    expected = [
        *(("skip_connect", 0), ("skip_connect", 1)),
        *(("sep_conv_3x3", 0), ("skip_connect", 1)),
        *(("skip_connect", 1), ("sep_conv_3x3", 2)),
        *(("skip_connect", 0), ("sep_conv_3x3", 4)),
    ]
    s3 = space("darts-s3")
    inputs = [np.zeros((1, node)) for node in (3, 4, 5)] * 2

    assert s3.discretise([normal, np.zeros((14, 3))]) == s3.of_genotype(_genotype(expected))
    assert s3.discretise([normal, np.zeros((14, 3)), *inputs]) == s3.of_genotype(
        _genotype(expected)
    )


def test_strengths_of_inputs_come_before_those_of_operations():
    """Node 3 is given 0 and 2; of node 4 only 3 is preferred, so the operations choose 1."""
    normal = np.zeros((14, 2))
    normal[3] = 9  # 1 -> 3
    normal[6] = (0, 9)  # 1 -> 4
    inputs = [np.array([[1, 0, 1]]), np.array([[0, 0, 0, 1]]), np.zeros((1, 5))]
    blank = [np.zeros((1, node)) for node in (3, 4, 5)]
    expected = _with(SKIPS, p3=("skip_connect", 2), p4=("sep_conv_3x3", 1), p5=("skip_connect", 3))

    assert S2.discretise([normal, np.zeros((14, 2)), *inputs, *blank]) == S2.of_genotype(
        _genotype(expected)
    )


@pytest.mark.parametrize("name", ["darts", "darts-s1", "darts-s3"])
def test_genotype_rule_by_sorting_columns(name):
    """Integers, so that there are many ties; NaN past a short row and equal inputs say nothing."""
    of_space = space(name)
    rng = np.random.default_rng(4)
    for _ in range(50):
        blocks = [rng.integers(4, size=(14, 9)).astype(float) for _ in range(2)]
        cells = []
        for block, group in zip(blocks, of_space.groups, strict=False):
            skipped = int(group.options[0][0] == "none")
            width = len(group.options[0])
            block[:, width:] = np.nan
            chosen = block[:, skipped:width].argmax(axis=1) + skipped
            best = block[:, skipped:width].max(axis=1)
            pairs = []
            for first, node in ((0, 2), (2, 3), (5, 4), (9, 5)):
                for source in np.argsort(-best[first : first + node], kind="stable")[:2].tolist():
                    edge = first + source
                    pairs.append((group.options[edge][chosen[edge]], source))
            cells.append(pairs)

        assert of_space.discretise(blocks) == of_space.of_genotype(_genotype(*cells))


@pytest.mark.parametrize("place", [0, 1, 4])
def test_nan_strengths_are_refused(place):
    strengths = [np.zeros((len(g.options), len(g.options[0]))) for g in DARTS.groups]
    strengths[place][0, 0] = np.nan

    with pytest.raises(InvalidArch, match=f"NaN strength in {DARTS.groups[place].name} row 0"):
        DARTS.discretise(strengths)


def test_a_wrong_number_of_blocks_is_refused():
    with pytest.raises(InvalidArch, match="3 blocks"):
        DARTS.discretise([np.zeros((14, 8))] * 3)


def test_one_hot_has_ones_on_inputs_alone():
    blocks = DARTS.one_hot(DARTS.parse(DARTS_V2))

    assert [block.sum() for block in blocks] == [8, 8] + [2] * 6
    assert np.flatnonzero(blocks[0].any(axis=1)).tolist() == [0, 1, 2, 3, 5, 6, 9, 11]
    assert not blocks[0][:, 0].any()


def _chi_squared(counts, n_categories):
    expected = sum(counts.values()) / n_categories
    missing = n_categories - len(counts)
    return sum((n - expected) ** 2 / expected for n in counts.values()) + missing * expected


@pytest.mark.parametrize("name", ["darts-s1", "darts-s3"])
def test_sampling_is_uniform(name):
    """Pairs of node 5 with operations, reduction cell; inputs of nodes 3 and 4, normal cell."""
    of_space = space(name)
    rng = np.random.default_rng(0)
    archs = [of_space.sample(rng) for _ in range(6000)]
    last = Counter(of_space.genotype(arch).reduce[6:] for arch in archs)
    inputs = Counter(arch.code[28:32] for arch in archs)

    assert _chi_squared(last, 10 * 4) < chi2.ppf(0.999, 39)
    assert _chi_squared(inputs, 3 * 6) < chi2.ppf(0.999, 17)


def test_sampling_is_uniform_over_whole_cells():
    small = _one_op("small")
    rng = np.random.default_rng(0)
    counts = Counter(small.genotype(small.sample(rng)).normal for _ in range(9000))

    assert _chi_squared(counts, 180) < chi2.ppf(0.999, 179)


def _difference(one, other):
    """Per node that differs: (pairs only in one, pairs only in other)."""
    changed = []
    for left, right in zip(one, other, strict=True):
        for node in range(4):
            mine, theirs = ({*pairs[2 * node : 2 * node + 2]} for pairs in (left, right))
            changed += [(mine - theirs, theirs - mine)] if mine != theirs else []
    return changed


def test_neighbours_of_darts_are_counted_by_hand():
    """16 inputs with 6 other operations each; moves: 2 inputs * (0 + 1 + 2 + 3) sources * 2."""
    arch = DARTS.parse(DARTS_V2)
    genotype = DARTS.genotype(arch)
    neighbours = DARTS.neighbours(arch)
    moved = 0
    for neighbour in neighbours:
        theirs = DARTS.genotype(neighbour)
        ((lost, new),) = _difference((genotype[0], genotype[2]), (theirs[0], theirs[2]))
        ((own_op, own_source),), ((op, source),) = lost, new
        moved += source != own_source
        assert (op == own_op) == (source != own_source)

    assert len(set(neighbours)) == 16 * 6 + 24
    assert moved == 24


def test_an_input_of_s1_that_moves_gets_what_only_the_new_edge_has():
    """0 -> 3 offers skip, dil5 and 2 -> 3 skip, dil3: skip moves as skip, dil5 as dil3."""
    for op, there in (("skip_connect", "skip_connect"), ("dil_conv_5x5", "dil_conv_3x3")):
        reduce = [("max_pool_3x3", s) for s in (0, 1)] * 4
        arch = S1.of_genotype(_genotype(_with(SKIPS, p2=(op, 0)), reduce))
        found = {S1.genotype(n).normal[2:4] for n in S1.neighbours(arch)}

        assert {pairs for pairs in found if pairs[0][1] == 1} == {(("skip_connect", 1), (there, 2))}


@pytest.mark.parametrize("name", NAMES)
def test_neighbours_are_valid_distinct_and_symmetric(name):
    of_space = space(name)
    arch = of_space.sample(np.random.default_rng(5))
    for neighbour in of_space.neighbours(arch):
        assert of_space.arch(neighbour.code) == neighbour
        assert arch in of_space.neighbours(neighbour)


def test_neighbours_connect_all_normal_cells():
    """Uneven candidates on some edges; the reduction cell, of which there are 180, stays."""
    small = _one_op("small", e2=("b",), e6=("c",))
    still = (0, 1) * 3
    border = {small.arch((0,) * 28 + still + still)}
    seen = set(border)
    while border:
        border = {n for arch in border for n in small.neighbours(arch) if n.code[34:] == still}
        border -= seen
        seen |= border

    assert len(seen) * 180 == small.size


def _matrix(pairs):
    """(6, 6) of names: row = node, column = source."""
    matrix = np.full((6, 6), "", dtype="U16")
    for place, (op, source) in enumerate(pairs):
        matrix[2 + place // 2, source] = op
    return matrix


def _smallest_matrix(pairs):
    """The same for two cells iff renaming nodes 2 to 5 makes one the other."""
    matrix = _matrix(pairs)
    orders = ([0, 1, *order] for order in itertools.permutations(range(2, 6)))
    return min(tuple(matrix[np.ix_(order, order)].ravel().tolist()) for order in orders)


def test_canonical_joins_exactly_the_cells_that_are_isomorphic():
    """All 180 cells of one operation, and 300 random ones of S2, against renamed matrices."""
    plain, rng = _one_op("plain"), np.random.default_rng(0)
    inputs = [itertools.combinations(range(node), 2) for node in (3, 4, 5)]
    cells = [
        plain.arch((*[0] * 28, *three, *four, *five, *(0, 1) * 3))
        for three, four, five in itertools.product(*inputs)
    ]
    for of_space, archs in ((plain, cells), (S2, [S2.sample(rng) for _ in range(300)])):
        joined = set()
        for arch in archs:
            genotype = of_space.genotype(arch)
            canonical = of_space.canonical(arch)
            joined.add((canonical, tuple(map(_smallest_matrix, genotype[::2]))))
        by_code = {canonical for canonical, _ in joined}
        by_matrix = {matrices for _, matrices in joined}

        assert len(by_code) == len(by_matrix) == len(joined)


def test_canonical_by_hand():
    """Nodes 2 and 3 change places, and with them the sources of nodes 4 and 5."""
    one = [
        *(("sep_conv_3x3", 0), ("skip_connect", 1)),
        *(("max_pool_3x3", 0), ("avg_pool_3x3", 1)),
        *(("dil_conv_3x3", 2), ("skip_connect", 3)),
        *(("dil_conv_5x5", 2), ("skip_connect", 4)),
    ]
    other = [
        *(("max_pool_3x3", 0), ("avg_pool_3x3", 1)),
        *(("sep_conv_3x3", 0), ("skip_connect", 1)),
        *(("dil_conv_3x3", 3), ("skip_connect", 2)),
        *(("dil_conv_5x5", 3), ("skip_connect", 4)),
    ]
    third = _with(other, p6=("dil_conv_5x5", 2))
    a, b, c = (DARTS.of_genotype(_genotype(cell)) for cell in (one, other, third))

    assert a != b
    assert DARTS.canonical(a) == DARTS.canonical(b) != DARTS.canonical(c)


def _output(pairs, inputs, weights):
    """The four nodes' values; weights: per (node, op, source) a matrix."""
    nodes = list(inputs)
    for place in range(0, 8, 2):
        node = 2 + place // 2
        nodes.append(
            sum(np.tanh(nodes[s] @ weights[node, op, s]) for op, s in pairs[place : place + 2])
        )
    return nodes[2:]


def test_equal_canonical_forms_compute_equal_outputs_in_another_order():
    """Some assignment of one cell's weights to the other's edges gives the same node values."""
    rng = np.random.default_rng(1)
    n_moved = 0
    for _ in range(20):
        arch = S2.sample(rng)
        one = S2.genotype(arch).normal
        two = S2.genotype(S2.canonical(arch)).normal
        inputs = rng.normal(size=(2, 3, 5))
        weights = {(2 + p // 2, *pair): rng.normal(size=(5, 5)) for p, pair in enumerate(one)}
        expected = sorted(value.sum() for value in _output(one, inputs, weights))
        n_moved += one != two
        agree = []
        for order in itertools.permutations(range(2, 6)):
            new = {0: 0, 1: 1} | dict(zip(range(2, 6), order, strict=True))
            moved = {(new[n], op, new[s]): w for (n, op, s), w in weights.items()}
            if all((2 + p // 2, *pair) in moved for p, pair in enumerate(two)):
                found = sorted(value.sum() for value in _output(two, inputs, moved))
                agree.append(np.allclose(expected, found))

        assert any(agree)
    assert n_moved > 5


def test_canonical_stays_in_the_space_and_keeps_what_it_should():
    rng = np.random.default_rng(3)
    for arch in (S1.sample(rng) for _ in range(100)):
        canonical = S1.canonical(arch)

        assert S1.arch(canonical.code) == canonical
        for cell in CELL_TYPES:
            assert S1.depth(arch, cell) == S1.depth(canonical, cell)
            assert S1.skip_ratio(arch, cell) == S1.skip_ratio(canonical, cell)


def test_depth_and_skip_ratio_by_hand():
    chain = [("skip_connect", 0), ("skip_connect", 1)] + [
        pair for node in (3, 4, 5) for pair in (("sep_conv_3x3", 0), ("skip_connect", node - 1))
    ]
    arch = DARTS.of_genotype(_genotype(SKIPS, chain))
    published = DARTS.parse(DARTS_V2)

    assert (DARTS.depth(arch, "normal"), DARTS.depth(arch, "reduce")) == (2, 5)
    assert (DARTS.skip_ratio(arch, "normal"), DARTS.skip_ratio(arch, "reduce")) == (1, 5 / 8)
    assert (DARTS.depth(published, "normal"), DARTS.depth(published, "reduce")) == (3, 3)
    assert DARTS.skip_ratio(published, "normal") == 2 / 8
    assert DARTS.skip_ratio(published, "reduce") == 3 / 8


# Costs of networks; tests/harness/test_darts_params.py compares them with networks of torch


def _codes(*archs):
    """(n, 40); a genotype is taken as one of darts."""
    found = [DARTS.of_genotype(a) if isinstance(a, Genotype) else a for a in archs]
    return np.array([arch.code for arch in found], dtype=np.uint8)


def _counts(codes, cost="params", of_space=DARTS, **network):
    """(n,) whole numbers of parameters or multiply-adds."""
    return np.rint(of_space.network_cost(cost, codes, **network) * 1e6).astype(int).tolist()


def _sampled(of_space, n):
    rng = np.random.default_rng(6)
    return [of_space.sample(rng) for _ in range(n)]


def test_params_are_those_that_upstreams_networks_were_counted_to_have():
    """20 cells, 36 channels and 10 classes.

    DARTS_V2: train.py of quark0/darts prints "param size = 3.349342MB", its README 3.349. PDARTS:
    issue 7 of chenxin061/pdarts has both, by numel() of the parameters of upstream's network.
    """
    codes = _codes(DARTS.parse(DARTS_V2), PDARTS)

    assert _counts(codes) == [3_349_342, 3_433_798]
    assert _counts(codes[1:], auxiliary=True) == [3_910_224]


@pytest.mark.parametrize(
    ("genotype", "auxiliary", "printed"),
    [
        # README of xiaomi-automl/FairDARTS; its own networks are counted with auxiliary head.
        (PC_DARTS, False, 3.63),
        (PDARTS, False, 3.43),
        (FAIRDARTS_D, True, 3.84),
        # sbl1996/hanser, beside the genotypes.
        (GDAS, False, 3.36),
        (MDENAS, False, 3.78),
        (SNAS, False, 2.66),
    ],
)
def test_params_agree_with_printed_millions(genotype, auxiliary, printed):
    """Some are rounded and some are cut, so one unit of the last digit is allowed."""
    millions = DARTS.network_cost("params", _codes(genotype), auxiliary=auxiliary)

    assert millions[0] == pytest.approx(printed, abs=0.01)


@pytest.mark.parametrize(
    ("genotype", "printed"),
    [
        # README of xiaomi-automl/FairDARTS: thop without batch norm. It counts average pooling
        # too, hence without PC-DARTS, which has that in its normal cell (printed 558, here 556.7).
        (PDARTS, 532),
        (FAIRDARTS_D, 532),
        # sbl1996/hanser, beside the genotypes.
        (GDAS, 519),
        (MDENAS, 599),
        (SNAS, 422),
    ],
)
def test_flops_agree_with_printed_millions(genotype, printed):
    assert DARTS.network_cost("flops", _codes(genotype))[0] == pytest.approx(printed, abs=1)


def test_costs_of_the_all_skip_network_by_hand():
    """Three cells, the last two are reductions: 2, 4 and 8 channels a node; sides 32, 16 and 8."""
    stem = 27 * 6
    inputs = [(6 + 6) * 2, (6 + 8) * 4, (8 + 16) * 8]
    skips = [8 * 4 * 4, 8 * 8 * 8]  # All eight have stride 2.
    norms = 2 * (6 + 2 * (2 + 4 + 8) + 8 * 4 + 8 * 8)
    classifier = 32 * 10 + 10
    params = stem + sum(inputs) + sum(skips) + norms + classifier
    head = 32 * 128 + 2 * 128 + 4 * 128 * 768 + 2 * 768 + 768 * 10 + 10
    # The last cell's inputs have side 16: the one that had 32 is halved.
    macs = (stem + inputs[0] + inputs[1]) * 32**2 + (skips[0] + inputs[2]) * 16**2
    macs += skips[1] * 8**2 + classifier
    codes, network = _codes(_genotype(SKIPS)), {"channels": 2, "n_cells": 3}

    assert params == 1664
    assert _counts(codes, **network) == [params]
    assert _counts(codes, auxiliary=True, **network) == [params + head]
    assert _counts(codes, n_classes=100, **network) == [params + 90 * 33]
    assert _counts(codes, "flops", **network) == [macs]
    assert _counts(codes, "flops", auxiliary=True, **network) == [macs]


@pytest.mark.parametrize(
    ("op", "weights", "n_normed"),
    [
        ("sep_conv_3x3", 2 * (9 * 5 + 25), 2 * 5),
        ("sep_conv_5x5", 2 * (25 * 5 + 25), 2 * 5),
        ("dil_conv_3x3", 9 * 5 + 25, 5),
        ("dil_conv_5x5", 25 * 5 + 25, 5),
        ("max_pool_3x3", 0, 0),
        ("avg_pool_3x3", 0, 0),
    ],
)
def test_cost_of_an_operation_in_a_normal_cell_by_hand(op, weights, n_normed):
    """The first of three cells is the only normal one: 5 channels, side 12."""
    codes = _codes(_genotype(SKIPS), _genotype(_with(SKIPS, p7=(op, 3))))
    network = {"channels": 5, "n_cells": 3, "image_size": 12}
    params, flops = (np.diff(_counts(codes, cost, **network)) for cost in ("params", "flops"))

    assert [weights + 2 * n_normed] == params
    assert [weights * 12**2] == flops


@pytest.mark.parametrize(
    ("pair", "weights", "n_normed"),
    [
        (("skip_connect", 1), 10**2 + 20**2, 10 + 20),
        (("skip_connect", 2), 0, 0),
        (("dil_conv_3x3", 1), 9 * 10 + 10**2 + 9 * 20 + 20**2, 10 + 20),
        (("dil_conv_3x3", 2), 9 * 10 + 10**2 + 9 * 20 + 20**2, 10 + 20),
    ],
)
def test_params_of_an_operation_in_reduction_cells_by_hand(pair, weights, n_normed):
    """Two of three cells, 10 and 20 channels: skips of the cell's own inputs are no identities."""
    pooled = _with(SKIPS, p7=("max_pool_3x3", 1))
    codes = _codes(_genotype(SKIPS, pooled), _genotype(SKIPS, _with(SKIPS, p7=pair)))

    assert [weights + 2 * n_normed] == np.diff(_counts(codes, channels=5, n_cells=3))


@pytest.mark.parametrize("cost", ["params", "flops"])
@pytest.mark.parametrize("name", NAMES)
def test_costs_of_many_are_those_of_each(name, cost):
    codes = _codes(*_sampled(space(name), 40))
    together = _counts(codes, cost, space(name))

    assert together == [_counts(code[np.newaxis], cost, space(name))[0] for code in codes]
    assert len(set(together)) > 10


@pytest.mark.parametrize("cost", ["params", "flops"])
@pytest.mark.parametrize("name", NAMES[1:])
def test_a_genotype_costs_the_same_in_every_space(name, cost):
    """Noise, which S4 alone has, costs nothing, as pooling does."""
    archs = _sampled(space(name), 40)
    texts = [space(name).format(arch).replace("noise", "max_pool_3x3") for arch in archs]
    moved = [DARTS.parse(text) for text in texts]

    assert _counts(_codes(*moved), cost) == _counts(_codes(*archs), cost, space(name))


@pytest.mark.parametrize("cost", ["params", "flops"])
def test_the_order_of_the_nodes_changes_no_cost(cost):
    archs = _sampled(DARTS, 300)
    moved = [DARTS.canonical(arch) for arch in archs]

    assert sum(a != b for a, b in zip(archs, moved, strict=True)) > 50
    assert _counts(_codes(*moved), cost) == _counts(_codes(*archs), cost)


def test_only_inputs_cost_and_none_costs_nothing():
    """Raw codes: a convolution where there is no input; `none`, which no architecture has."""
    codes = np.repeat(_codes(DARTS.parse(DARTS_V2)), 4, axis=0)
    codes[1, 4] = PRIMITIVES.index("sep_conv_5x5")  # 2 -> 3
    codes[2, 0] = PRIMITIVES.index("none")  # 0 -> 2
    codes[3, 0] = PRIMITIVES.index("max_pool_3x3")
    published, elsewhere, none, pooled = _counts(codes)

    assert elsewhere == published
    assert none == pooled < published


def test_no_codes_have_no_costs():
    assert DARTS.network_cost("params", np.zeros((0, 40), dtype=np.uint8)).shape == (0,)


@pytest.mark.parametrize(
    "network", [{"n_cells": 0}, {"channels": 0}, {"n_classes": 0}, {"image_size": 30}]
)
def test_networks_that_cannot_be_have_no_cost(network):
    with pytest.raises(InvalidSpec, match="No network of darts has"):
        DARTS.network_cost("params", _codes(DARTS.parse(DARTS_V2)), **network)


def test_unknown_costs_and_operations_are_refused():
    small = _one_op("small")

    with pytest.raises(UnknownName, match="Did you mean params"):
        DARTS.network_cost("param", _codes(DARTS.parse(DARTS_V2)))
    with pytest.raises(InvalidSpec, match="operation 'a'"):
        small.network_cost("params", _codes(*_sampled(small, 1)))
