"""The 1Shot1 spaces: published counts, NAS-Bench-101 cells by hand and by the official hash."""

import numpy as np
import pytest

from harness import space
from harness.errors import InvalidArch
from harness.spaces.oneshot1 import SPACES
from harness.testing import check_space

NAMES = [s.name for s in SPACES]
# Zela et al., table 1, and the rules by which its numbers come out.
COUNTS = {
    "oneshot1-1": {
        "encodings": 14_580,
        "used": 6_240,
        "connected": 5_508,
        "whole": 3_078,
        "graphs": 3_702,
        "cells": 2_685,
    },
    "oneshot1-2": {
        "encodings": 29_160,
        "used": 16_632,
        "connected": 16_038,
        "whole": 11_178,
        "graphs": 12_474,
        "cells": 7_773,
    },
}
CONV1, CONV3, POOL = "conv1x1-bn-relu", "conv3x3-bn-relu", "maxpool3x3"


@pytest.mark.parametrize("name", NAMES)
def test_conformance(name):
    check_space(space(name))


@pytest.mark.parametrize("name", COUNTS)
def test_counts_by_every_rule(name):
    assert space(name).counts() == COUNTS[name]


def test_counts_of_space_3():
    counts = space("oneshot1-3").counts()

    assert {
        rule: counts[rule] for rule in ("encodings", "used", "connected", "whole", "graphs")
    } == {
        "encodings": 1_312_200,
        "used": 363_648,
        "connected": 265_860,
        "whole": 108_135,
        "graphs": 135_900,
    }
    assert [len(s.patterns) for s in SPACES] == [180, 360, 5_400]


@pytest.mark.parametrize("name", NAMES)
def test_every_cell_has_nine_edges(name):
    of_space = space(name)
    sample = of_space.codes[:: max(1, len(of_space.codes) // 5_000)]

    assert (of_space.parents(sample).sum(axis=(1, 2)) == 9).all()


def test_a_cell_of_space_1_by_hand():
    of_space, cells = space("oneshot1-1"), space("nb101")
    arch = of_space.parse(f"{CONV3}<0|{CONV1}<0,1|{POOL}<0,2|{CONV3}<1,3|output<0,4")
    matrix, ops = cells.spec(of_space.nb101(arch))

    expected = np.zeros((7, 7), dtype=int)
    for source, target in ((0, 1), (0, 2), (1, 2), (0, 3), (2, 3), (1, 4), (3, 4), (0, 6), (4, 6)):
        expected[source, target] = 1
    assert np.array_equal(matrix, expected)
    assert ops[1:5] == (CONV3, CONV1, POOL, CONV3)


def test_a_loose_end_is_pruned_with_its_operation():
    of_space, cells = space("oneshot1-2"), space("nb101")
    one, other = (
        of_space.parse(f"{op}<0|{CONV1}<0|{CONV3}<0,2|{POOL}<2,3|output<0,3,4")
        for op in (CONV3, POOL)
    )

    assert cells.module_hash(of_space.nb101(one)) == cells.module_hash(of_space.nb101(other))
    assert of_space.canonical(one) == of_space.canonical(other)
    assert of_space.used_blocks(np.array([one.code], np.uint8)).tolist() == [
        [False, True, True, True]
    ]


@pytest.mark.parametrize("name", NAMES[:2])
def test_encodings_with_one_canonical_form_have_one_official_hash(name):
    of_space, cells = space(name), space("nb101")
    rng = np.random.default_rng(0)
    hash_of, encoding_of = {}, {}
    for index in rng.choice(of_space.size, 1_500, replace=False).tolist():
        arch = of_space.arch(of_space.codes[index].tolist())
        representative = int(of_space.representatives[index])
        found = cells.module_hash(of_space.nb101(arch))
        assert hash_of.setdefault(representative, found) == found
        assert encoding_of.setdefault(found, representative) == representative
        assert representative <= index


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (f"{CONV3}<0|{CONV3}<0,1|{CONV3}<0,1|{CONV3}<0,1", "is not a cell"),
        (f"conv7x7<0|{CONV3}<0,1|{CONV3}<0,1|{CONV3}<0,1|output<0,1", "no operation 'conv7x7'"),
        (f"{CONV3}<0|{CONV3}<0,1|{CONV3}<0,3|{CONV3}<0,1|output<0,1", "is not a cell"),
        (f"{CONV3}<0|{CONV3}<0,1|{CONV3}<1,0|{CONV3}<0,1|output<0,1", "is not a cell"),
        (f"{CONV3}<0|{CONV3}<0,1|{CONV3}<0|{CONV3}<0,1|output<0,1", "is not a cell"),
        (f"{CONV3}<1|{CONV3}<0,1|{CONV3}<0,1|{CONV3}<0,1|output<0,1", "is not a cell"),
        ("", "is not a cell"),
    ],
)
def test_wrong_texts_are_refused_with_an_example(text, problem):
    with pytest.raises(InvalidArch, match=problem):
        space("oneshot1-1").parse(text)
