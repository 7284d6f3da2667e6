"""What may be said of a measured number beside a published one, and never more than that."""

from __future__ import annotations

from dataclasses import dataclass

from reports import numerals
from reports.published import PublishedValue

EXACT = "exact"
AGREES = "agrees"
DIFFERS = "differs"
NO_TEST = "no test"
OTHER_BENCHMARK = "other benchmark"
VERDICTS = {
    EXACT: "equal when rounded to the printed digits",
    AGREES: "Welch's 95 % interval of the difference holds 0",
    DIFFERS: "Welch's 95 % interval of the difference does not hold 0",
    NO_TEST: "not equal, and nothing to test with: a deviation or number of runs is unknown, or the"
    " two deviations are of different things",
    OTHER_BENCHMARK: "measured on a benchmark that the paper did not use",
}


@dataclass(frozen=True, slots=True)
class Measured:
    """A number of ours.

    std: over runs or draws (ddof=1), or over all members of a population; None where there is
    none. whole_population: mean and std are of everything there is, so they have no sampling
    error.
    """

    mean: float
    std: float | None = None
    n: int | None = None
    unit: str = ""
    whole_population: bool = False


def verdict(
    measured: Measured,
    published: PublishedValue,
    *,
    same_benchmark: bool = True,
    same_spread: bool = True,
) -> str:
    """One of `VERDICTS`.

    same_benchmark: the paper measured on this benchmark too. same_spread: the two deviations are
    of the same thing; without that there is nothing to test with.
    Raises: ValueError if the two are in different units.
    """
    if measured.unit != published.unit:
        raise ValueError(f"measured in {measured.unit!r}, published in {published.unit!r}")
    if not same_benchmark:
        return OTHER_BENCHMARK
    if published.mean is None:
        return NO_TEST
    texts = [numerals.shown(value, published.digits) for value in (measured.mean, published.mean)]
    if texts[0] == texts[1]:
        return EXACT
    interval = _difference_interval(measured, published) if same_spread else None
    if interval is None:
        return NO_TEST
    return AGREES if interval[0] <= 0 <= interval[1] else DIFFERS


def _difference_interval(
    measured: Measured, published: PublishedValue
) -> tuple[float, float] | None:
    """Welch's 95 % interval of measured - published; None where it cannot be formed."""
    from harness.stats import welch_interval

    sides = (measured.std, measured.n, published.mean, published.std, published.n)
    std1, n1, mean2, std2, n2 = sides
    if std1 is None or n1 is None or mean2 is None or std2 is None or n2 is None:
        return None
    if n2 < 2 or (n1 < 2 and not measured.whole_population):
        return None
    if measured.whole_population:
        std1, n1 = 0.0, 2  # A population's mean has no error; any n says so.
    return welch_interval(measured.mean, std1, n1, mean2, std2, n2)
