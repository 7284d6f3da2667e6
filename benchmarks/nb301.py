"""Speed of NAS-Bench-301's surrogates in numpy, as a ratio to xgboost's own on the same trees.

    python benchmarks/nb301.py [--archs N]

Needs NAS_HARNESS_DATA with nb301/xgb_* (three models of 200 trees on random data) and nb301/gin.
The ratio needs xgboost up to 3.0 (xgboost-cpu==3.0.5), which reads such pickles; without it only
our own times are printed. Everything runs in one thread.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import resource
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Before numpy, whose BLAS reads it when it is loaded.
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np

from adapters import nb301
from adapters._nb301_features import features
from harness import space
from harness.arch import Codes

XGB = ("xgb_1.0.2", "xgb_1.1.1", "xgb_1.2.1")
RATIO_TARGET = 4


def median_seconds(call: Callable[[], object], repeats: int = 7) -> float:
    """Median over repeats of the time of one call, after one warm-up."""
    call()
    return statistics.median(timed(call) for _ in range(repeats))


def timed(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def paired(one: Callable[[], object], other: Callable[[], object], n: int = 7) -> tuple[float, ...]:
    """Medians of two calls made in turn, and the median of their ratios."""
    one(), other()
    pairs = [(timed(one), timed(other)) for _ in range(n)]
    ratio = statistics.median(a / b for a, b in pairs)
    return *(statistics.median(side) for side in zip(*pairs, strict=True)), ratio


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def lay_out(source: Path, top: Path) -> None:
    """The three files as members, as in a published archive."""
    for number, version in enumerate(XGB):
        folder = top / "xgb_v0.9" / str(number)
        folder.mkdir(parents=True)
        model = (source / version / nb301.MODEL).read_bytes()
        (folder / nb301.MODEL).write_bytes(model)
        (folder / nb301.DATA_CONFIG).write_text(json.dumps({"seed": number}))
        (folder / nb301.MODEL_CONFIG).write_text(json.dumps({"model": "xgb"}))


def drawn(n: int) -> Codes:
    rng = np.random.default_rng(0)
    darts = space("darts")
    return np.array([darts.sample(rng).code for _ in range(n)], dtype=np.uint8)


def their_boosters(source: Path) -> list[Any] | None:
    try:
        import xgboost  # noqa: F401
    except ImportError:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # That the models are of an older version.
        models = [pickle.loads((source / v / nb301.MODEL).read_bytes()) for v in XGB]
    for model in models:
        model.set_param({"nthread": 1})
    return models


def compare(ours: Callable[[], Any], inputs: np.ndarray, models: list[Any]) -> None:
    import xgboost

    def theirs() -> Any:
        held = xgboost.DMatrix(inputs, nthread=1)
        return np.array([model.predict(held) for model in models])

    one, other, ratio = paired(ours, theirs)
    mark = "ok" if ratio <= RATIO_TARGET else "MISSED"
    print(f"xgboost {xgboost.__version__}, encoding not included: {other * 1e3:.1f} ms")
    print(f"ours / xgboost's: {one * 1e3:.1f} ms, {ratio:.2f} (target <= {RATIO_TARGET}) {mark}")
    print(f"largest difference: {np.abs(ours() - theirs()).max():.1e}")


def main() -> None:
    """Prints the times, the ratio and the peak memory."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--archs", type=int, default=10_000)
    n = parser.parse_args().archs
    source = Path(os.environ["NAS_HARNESS_DATA"]) / "nb301"
    codes = drawn(n)
    with tempfile.TemporaryDirectory() as place:
        top = Path(place) / "nb_models_0.9"
        lay_out(source, top)
        before = peak_mb()
        opened = time.perf_counter()
        surrogate = nb301.open_ensemble(top, "xgb")
        opened = time.perf_counter() - opened
    seconds = median_seconds(lambda: surrogate.predict(codes))
    encoding = median_seconds(lambda: features(codes))
    print(f"3 members of 200 trees opened in {opened * 1e3:.1f} ms")
    print(
        f"{n} archs by 3 members: {seconds * 1e3:.1f} ms, of which {encoding * 1e3:.1f} encoding;"
        f" {n / seconds:.0f} archs a second"
    )
    print(f"one arch: {median_seconds(lambda: surrogate.predict(codes[:1]), 50) * 1e3:.3f} ms")
    print(f"peak memory: {peak_mb():.0f} MB, {peak_mb() - before:.0f} MB of it since opening")
    models = their_boosters(source)
    if models is None:
        print("no ratio: xgboost is not installed (pip install xgboost-cpu==3.0.5)")
    else:
        compare(lambda: surrogate.predict(codes), features(codes), models)
    config = json.loads((source / "gin" / nb301.MODEL_CONFIG).read_text())
    network = nb301._gin((source / "gin" / nb301.MODEL).read_bytes(), config, "gin")
    seconds = median_seconds(lambda: network(codes), 3)
    print(f"{n} archs by one GIN: {seconds * 1e3:.1f} ms; peak memory {peak_mb():.0f} MB")


if __name__ == "__main__":
    main()
