"""The papers' claims as effects, on records made by hand."""

import numpy as np
import pytest
from scipy.stats import ttest_1samp, ttest_ind

from harness import load
from harness.config import read_labelled
from harness.record import DONE, SKIPPED, Record
from reports.claims import (
    ACCURACY,
    CLAIMS,
    CONTRADICTED,
    LATE_CHANGE,
    SKIPS,
    SUPPORTED,
    UNDECIDED,
    Claim,
    claims_item,
    effect_of,
)
from reports.row_search import NO_TORCH
from reports.supernet_rows import COMMON

DATASET = "cluttered-digits"
SKIP_CELL = "|skip_connect~0|+|none~0|skip_connect~1|+|none~0|none~1|nor_conv_3x3~2|"


def made(seed, truth, *, track=(), arch=SKIP_CELL, spec=None, status=DONE):
    """A finished search; track: truth after every epoch."""
    identity = {"seed": seed}
    if spec is not None:
        identity |= {"method": spec.method, "setting": dict(spec.setting)}
    result = {
        "arch": arch,
        "final_truth": truth,
        "slices": {DATASET: {}},
        "track": [{"values": {DATASET: {"truth": value}}} for value in track],
        "counts": dict.fromkeys(
            ("image_passes", "weight_steps", "arch_steps", "evaluated", "scored"), 1
        ),
        "search_seconds": 1.0,
    }
    return Record(identity, status, "no images" if status == SKIPPED else "", result)


def claim(quantity=ACCURACY, other="b", *, paired=False):
    return Claim("a over b", "paper", quantity, "a", other, paired=paired)


def test_two_samples_have_welchs_interval():
    first, second = [70.0, 72.0, 75.0, 71.0], [60.0, 66.0, 71.0]
    runs = {
        "a": [made(i, v) for i, v in enumerate(first)],
        "b": [made(i, v) for i, v in enumerate(second)],
    }
    effect = effect_of(claim(), runs)
    expected = ttest_ind(first, second, equal_var=False).confidence_interval(0.95)

    assert effect.difference == pytest.approx(72.0 - 197 / 3)
    assert (effect.low, effect.high) == pytest.approx((expected.low, expected.high))
    assert (effect.n, effect.n_other) == (4, 3)
    assert effect.verdict == UNDECIDED
    # Pooled variance (3 * 14/3 + 2 * 30.333) / 5, deviation 3.8644; corrected by 1 - 3/19.
    assert effect.g == pytest.approx(6.3333 / 3.8644 * (1 - 3 / 19), rel=1e-4)


def test_pairs_are_formed_by_seed():
    runs = {
        "a": [made(0, 71.0), made(1, 62.5), made(2, 83.0), made(5, 99.0)],
        "b": [made(2, 80.0), made(1, 60.0), made(0, 70.0), made(7, 1.0)],
    }
    effect = effect_of(claim(paired=True), runs)
    expected = ttest_1samp([1.0, 2.5, 3.0], 0).confidence_interval(0.95)

    assert effect.difference == pytest.approx(6.5 / 3)
    assert (effect.low, effect.high) == pytest.approx((expected.low, expected.high))
    assert effect.n == effect.n_other == 3
    assert effect.g is None


def test_values_are_held_against_a_constant():
    runs = {"a": [made(i, 0.0) for i in range(3)]}  # Two skips each.
    effect = effect_of(claim(SKIPS, 1.2), runs)

    assert (effect.difference, effect.low, effect.high) == pytest.approx((0.8, 0.8, 0.8))
    assert effect.verdict == SUPPORTED
    assert effect_of(claim(SKIPS, 2.5), runs).verdict == CONTRADICTED


def test_the_late_change_is_from_half_way_to_the_end():
    tracks = [10.0, 99.0, 40.0, 0.0, 44.0], [10.0, 99.0, 40.0, 0.0, 46.0]
    runs = {"a": [made(i, 0.0, track=track) for i, track in enumerate(tracks)]}

    assert effect_of(claim(LATE_CHANGE, 0.0), runs).difference == pytest.approx(5.0)


def test_searches_without_a_truth_do_not_count():
    runs = {"a": [made(0, 5.0), made(1, None), made(2, 7.0)]}
    effect = effect_of(claim(other=0.0), runs)

    assert (effect.difference, effect.n) == (6.0, 2)


def test_the_item_has_a_row_a_claim(home, searches):
    """Ten searches each: all reach 60 and the seed, DARTS+PT 20 more."""
    bench, by_label = load("mini201"), read_labelled(COMMON)
    item = claims_item("study:claims", "claims")
    specs = item.specs(bench)
    better = by_label["darts-pt"]
    records = [
        made(
            spec.seed,
            60.0 + spec.seed + 20 * (spec in better),
            track=[50.0, 50.0 + spec.seed],
            spec=spec,
        )
        for spec in specs
    ]
    artefact = item.build(bench, records)
    table, spent = artefact.tables
    labels = {row.label for row in table.rows}

    assert len(table.rows) == len(CLAIMS)
    assert "DARTS-PT: DARTS+PT over DARTS: supported" in labels
    assert "BaLeNAS: BaLeNAS over DARTS, first order: undecided" in labels
    assert "DARTS-PT: DARTS keeps more skips than chance: supported" in labels
    effect = table.cell("DARTS-PT: DARTS+PT over DARTS: supported", "effect").measured
    assert effect.mean == pytest.approx(20.0)
    assert "balenas-tf" in {row.label for row in spent.rows}
    assert len(artefact.plots[0].data) == len(CLAIMS)
    assert len(artefact.plots[0].figure.axes) == 3
    assert np.isfinite([line["low"] for line in artefact.plots[0].data]).all()


def test_without_runs_every_claim_says_why(home):
    table = claims_item("study:claims", "claims").build(load("mini201"), []).tables[0]

    assert {cell.reason for row in table.rows for cell in row.cells} == {NO_TORCH}


def test_runs_that_were_skipped_say_why(home, searches):
    bench = load("mini201")
    item = claims_item("study:claims", "claims")
    records = [made(s.seed, None, spec=s, status=SKIPPED) for s in item.specs(bench)]
    (table,) = item.build(bench, records).tables

    assert {cell.reason for row in table.rows for cell in row.cells} == {"no images"}
