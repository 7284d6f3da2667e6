import numpy as np
import pytest
from printed_values import printed
from scipy.stats import t, ttest_ind_from_stats

from reports.verdict import AGREES, DIFFERS, EXACT, NO_TEST, OTHER_BENCHMARK, Measured, verdict


@pytest.mark.parametrize(
    ("mean", "text", "expected"),
    [
        (94.3733, "94.37", EXACT),
        (94.3751, "94.37", NO_TEST),
        (94.3733, "94.4", EXACT),
        (46.7333, "46.77", NO_TEST),
        (15625.0, "15625", EXACT),
        (1.08e18, "1e18", EXACT),
        (1.6e18, "1e18", NO_TEST),
    ],
)
def test_exact_means_equal_at_the_printed_digits(mean, text, expected):
    assert verdict(Measured(mean, None, 15_625, "%"), printed(text)) == expected


def test_agrees_with_welchs_t_test():
    rng = np.random.default_rng(0)
    expected, found = [], []
    for _ in range(200):
        mean1, mean2 = rng.normal(90, 1, 2)
        std1, std2 = rng.uniform(0.05, 2, 2)
        n1, n2 = rng.integers(2, 12, 2)
        texts = f"{mean2:.2f}", f"{std2:.2f}"
        test = ttest_ind_from_stats(
            mean1, std1, n1, float(texts[0]), float(texts[1]), n2, equal_var=False
        )
        if round(mean1, 2) != float(texts[0]):
            expected.append(AGREES if test.pvalue >= 0.05 else DIFFERS)
            found.append(verdict(Measured(mean1, std1, int(n1), "%"), printed(*texts, int(n2))))

    assert found == expected
    assert {AGREES, DIFFERS} == set(found)


def test_by_hand():
    # Both variances of the mean are 1 / 4, so the error is sqrt(0.5) and the freedom is 6; the
    # interval reaches 2.447 * 0.7071 = 1.730 to both sides.
    one = Measured(90.0, 1.0, 4, "%")

    assert verdict(one, printed("91.72", "1.00", 4)) == AGREES
    assert verdict(one, printed("91.74", "1.00", 4)) == DIFFERS


def test_a_whole_population_has_no_error_of_its_own():
    half = float(t.ppf(0.975, 3)) * 0.4 / 2
    population = Measured(90.0, 12.94, 15_625, "%", whole_population=True)

    assert verdict(population, printed(f"{90 + half - 0.01:.2f}", "0.40", 4)) == AGREES
    assert verdict(population, printed(f"{90 + half + 0.01:.2f}", "0.40", 4)) == DIFFERS


@pytest.mark.parametrize(
    ("measured", "published"),
    [
        (Measured(90.0, 1.0, 4, "%"), printed("93.00", "1.00", None)),
        (Measured(90.0, 1.0, 4, "%"), printed("93.00", "", 4)),
        (Measured(90.0, 1.0, 4, "%"), printed("93.00", "1.00", 1)),
        (Measured(90.0, None, 4, "%"), printed("93.00", "1.00", 4)),
        (Measured(90.0, 1.0, None, "%"), printed("93.00", "1.00", 4)),
        (Measured(90.0, 1.0, 1, "%"), printed("93.00", "1.00", 4)),
        (Measured(90.0, 1.0, 4, "%"), printed("", "", 4)),
    ],
)
def test_no_test_without_deviation_and_n_on_both_sides(measured, published):
    assert verdict(measured, published) == NO_TEST


def test_no_test_where_the_deviations_are_of_different_things():
    measured, published = Measured(0.75, 0.03, 1000), printed("0.79", "0.00", 3, unit="")

    assert verdict(measured, published, same_spread=False) == NO_TEST
    assert verdict(measured, published) == DIFFERS


def test_another_benchmark_is_never_judged():
    measured, published = Measured(94.37, 0.1, 4, "%"), printed("94.37", "0.10", 4)

    assert verdict(measured, published, same_benchmark=False) == OTHER_BENCHMARK


def test_units_must_be_the_same():
    with pytest.raises(ValueError, match="measured in ''"):
        verdict(Measured(0.94), printed("94.37"))
