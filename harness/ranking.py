"""How well a score ranks architectures: one call for a whole space or a draw of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness import stats
from harness.arch import Arch
from harness.benchmark import Benchmark, Seed, Slice, Table
from harness.errors import InvalidSpec
from harness.scores import Score, parse_score
from harness.seeds import derive
from harness.surrogate import Surrogate


@dataclass(frozen=True, slots=True)
class Ranking:
    """Agreement of a score with the truth.

    n: architectures with both. top10: mean truth of the ten best by score. interval: 95 %
    percentile bootstrap of Spearman for a sample, None for a whole space.
    """

    spearman: float
    kendall: float
    top10: float
    n: int
    interval: tuple[float, float] | None


def rank(
    benchmark: Benchmark,
    score: str | Score,
    truth: Slice,
    *,
    seed: Seed | None = None,
    unique: bool = False,
    sample: int | None = None,
    draw_seed: int | None = None,
    jobs: int = 1,
) -> Ranking:
    """Ranks a benchmark's architectures by a score and compares with the truth.

    seed: for score and truth alike; must be named where single seeds are held.
    unique: keep only the lowest-index member of each functional class, with its own values.
    sample: draw so many without replacement, with the generator of draw_seed; a surrogate needs
    one, and they are sampled from its space. jobs: processes, for scores that are computed.
    Raises: UnknownScore, UnknownSlice, UnknownSeed, InvalidSpec.
    """
    if isinstance(score, str):
        score = parse_score(score)
    to_draw = sample
    if isinstance(benchmark, Surrogate):
        benchmark, to_draw = _sampled(benchmark, sample, draw_seed), None
    truths = benchmark.column(truth, seed=seed)
    rows = unique_rows(benchmark) if unique else np.arange(len(benchmark))
    if to_draw is not None:
        rows = draw(rows, to_draw, draw_seed)
    scores = score.of_rows(benchmark, truth.dataset, seed, rows, jobs)
    return agreement(scores, truths[rows], is_sample=sample is not None)


def agreement(
    scores: NDArray[np.floating], truths: NDArray[np.floating], *, is_sample: bool
) -> Ranking:
    """How well scores, (n,), rank what has these true values, (n,); NaN where one is not known."""
    interval = stats.bootstrap_interval(scores, truths) if is_sample else None
    return Ranking(
        spearman=stats.spearman(scores, truths),
        kendall=stats.kendall(scores, truths),
        top10=stats.top_mean(scores, truths, 10),
        n=int(stats.complete(scores, truths).sum()),
        interval=interval,
    )


def unique_rows(benchmark: Benchmark) -> NDArray[np.intp]:
    """Rows of the lowest-index member of each functional class that the benchmark holds."""
    first: dict[Arch, int] = {}
    for row, arch in enumerate(benchmark.archs):
        first.setdefault(benchmark.space.canonical(arch), row)
    return np.array(list(first.values()), dtype=np.intp)


def draw(rows: NDArray[np.intp], n: int, draw_seed: int | None) -> NDArray[np.intp]:
    """Draws n of the rows without replacement, ascending; the same for the same draw_seed.

    Raises: InvalidSpec without a draw_seed or with more than there are.
    """
    rng = _generator(draw_seed)
    if not 2 <= n <= len(rows):
        raise InvalidSpec(f"Cannot draw {n} of {len(rows)} architectures.")
    return np.sort(rng.choice(rows, n, replace=False))


def _sampled(surrogate: Surrogate, n: int | None, draw_seed: int | None) -> Table:
    """N architectures of the surrogate's space, which may hold one twice."""
    if n is None or n < 2:
        raise InvalidSpec(
            f"{surrogate.name} predicts any arch of {surrogate.space.name} and lists none.",
            "Name how many to sample: --sample 1000 --draw-seed 0.",
        )
    return surrogate.drawn(n, _generator(draw_seed))


def _generator(draw_seed: int | None) -> np.random.Generator:
    if draw_seed is None:
        raise InvalidSpec("A sample needs a seed of its own.", "Name one: --draw-seed 0.")
    return derive(draw_seed, "draw of architectures")
