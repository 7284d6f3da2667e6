import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from harness import stats

VALUES = st.integers(-5, 5).map(float) | st.just(math.nan)
PAIRS = st.integers(2, 30).flatmap(
    lambda n: st.tuples(
        hnp.arrays(float, n, elements=VALUES), hnp.arrays(float, n, elements=VALUES)
    )
)


def test_rank_correlations_by_hand():
    """Ranks 1 2 3 4 against 2 1 4 3: sum of squared differences 4; 4 of 6 pairs agree."""
    scores, truth = np.array([1.0, 2, 3, 4]), np.array([20.0, 10, 40, 30])

    assert stats.spearman(scores, truth) == pytest.approx(1 - 6 * 4 / (4 * 15))
    assert stats.kendall(scores, truth) == pytest.approx((4 - 2) / 6)


@given(PAIRS)
@settings(max_examples=200, deadline=None)
def test_correlations_equal_scipy_on_the_complete_pairs(pair):
    scores, truth = pair
    held = stats.complete(scores, truth)
    with np.errstate(all="ignore"):
        if held.sum() < 2 or np.ptp(scores[held]) == 0 or np.ptp(truth[held]) == 0:
            expected = [math.nan, math.nan]
        else:
            expected = [
                scipy.stats.spearmanr(scores[held], truth[held]).statistic,
                scipy.stats.kendalltau(scores[held], truth[held]).statistic,
            ]

        np.testing.assert_allclose(
            [stats.spearman(scores, truth), stats.kendall(scores, truth)], expected, atol=1e-12
        )


@given(PAIRS)
@settings(max_examples=100, deadline=None)
def test_every_row_of_a_curve_is_a_spearman_of_its_own(pair):
    scores, truth = pair
    rows = np.stack([scores, np.nan_to_num(scores), -scores])
    expected = [stats.spearman(row, truth) for row in rows]

    np.testing.assert_allclose(stats.spearman_curve(rows, truth), expected, atol=1e-12)


def test_top_breaks_ties_by_index_and_never_takes_nan():
    scores = np.array([1.0, 3, math.nan, 3, 2])

    assert stats.top(scores, 3).tolist() == [1, 3, 4]
    assert stats.top(scores, 9).tolist() == [1, 3, 4, 0]


def test_top_mean_and_regret_by_hand():
    scores = np.array([5.0, 4, 3, 2])
    truth = np.array([math.nan, 70, 90, 80])

    assert stats.top_mean(scores, truth, 2) == 80
    assert stats.top_mean(scores, truth, 10) == 80
    assert stats.regret(truth, 70.0) == 20


def test_bootstrap_interval_equals_one_resample_at_a_time():
    rng = np.random.default_rng(1)
    scores, truth = rng.normal(size=30), rng.normal(size=30)
    draws = np.random.default_rng(0)
    resampled = []
    for _ in range(20):
        for drawn in draws.integers(30, size=(50, 30)):
            resampled.append(scipy.stats.spearmanr(scores[drawn], truth[drawn]).statistic)

    assert len(resampled) == 1000
    np.testing.assert_allclose(
        stats.bootstrap_interval(scores, truth), np.percentile(resampled, [2.5, 97.5])
    )


def test_welch_interval_equals_scipy():
    one, two = np.array([1.0, 2, 4, 7]), np.array([2.0, 2, 3, 9, 11])
    expected = scipy.stats.ttest_ind(one, two, equal_var=False).confidence_interval(0.95)
    found = stats.welch_interval(one.mean(), one.std(ddof=1), 4, two.mean(), two.std(ddof=1), 5)

    np.testing.assert_allclose(found, (expected.low, expected.high))


@pytest.mark.parametrize("sides", [(1, 0.1, 1, 2, 0.1, 5), (1, math.nan, 3, 2, 0.1, 5)])
def test_welch_interval_is_unknown_without_spread_or_n(sides):
    assert all(math.isnan(end) for end in stats.welch_interval(*sides))


def test_draws_are_without_replacement_and_skip_what_is_missing():
    scores = np.array([1.0, 2, 3, math.nan, 5])
    found = stats.over_draws(
        lambda s, t: float(np.sort(s).sum()),
        scores,
        np.ones(5),
        n_cells=4,
        n_draws=3,
        rng=np.random.default_rng(0),
    )

    assert found.tolist() == [11, 11, 11]


def test_the_interval_of_a_mean_is_students():
    values = np.array([3.0, 5.0, 10.0, 2.0])
    expected = scipy.stats.ttest_1samp(values, 0.0).confidence_interval(0.95)

    assert stats.mean_interval(values) == pytest.approx((expected.low, expected.high))
    assert np.isnan(stats.mean_interval(values[:1])).all()


def test_hedges_g_by_hand():
    # Means 4 and 1, both variances 4: d = 1.5 at 4 degrees of freedom, times 1 - 3/15.
    assert stats.hedges_g(np.array([2.0, 4.0, 6.0]), np.array([-1.0, 1.0, 3.0])) == pytest.approx(
        1.2
    )
    assert np.isnan(stats.hedges_g(np.array([1.0, 1.0]), np.array([2.0, 2.0])))
    assert np.isnan(stats.hedges_g(np.array([1.0]), np.array([2.0, 3.0])))
