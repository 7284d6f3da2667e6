"""From the stored training runs of one architecture to slices and costs.

NATS-Bench's files, NAS-Bench-201's .pth and the live objects of both packages hold the same
"ArchResults" states: all_results maps (data set key, seed) to one run.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.benchmark import Cost, Roles, Slice
from harness.errors import BadFile

# Data set key -> (data set, what was trained on). CIFAR-10 was trained twice: on half of the
# training set ("cifar10-valid") and on all of it ("cifar10").
TRAINED = {
    "cifar10-valid": ("cifar10", "train"),
    "cifar10": ("cifar10", "train+valid"),
    "cifar100": ("cifar100", "train"),
    "ImageNet16-120": ("ImageNet16-120", "train"),
}
# (data set, evaluated set) -> split. CIFAR-10's valid half comes from the training set, the
# official test set is test; elsewhere x-valid and x-test are halves of the official test set, so
# that "ori-test" mixes both and must never pass for either.
SPLITS = {
    ("cifar10", "x-valid"): "valid",
    ("cifar10", "ori-test"): "test",
    ("cifar100", "x-valid"): "valid",
    ("cifar100", "x-test"): "test",
    ("cifar100", "ori-test"): "valid+test",
    ("ImageNet16-120", "x-valid"): "valid",
    ("ImageNet16-120", "x-test"): "test",
    ("ImageNet16-120", "ori-test"): "valid+test",
}
LONGEST_SCHEDULE = 1000  # ours: the published schedules have 1 to 200 epochs.
# What states that are not results can raise on the way.
NOT_RESULTS = (
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    ArithmeticError,
    RecursionError,
    MemoryError,
    struct.error,
)
EVALUATED = {"accuracy": "eval_acc1es", "loss": "eval_losses"}
TRAINED_METRICS = {"accuracy": "train_acc1es", "loss": "train_losses"}


# Per stretch of values: its slice, its seed and the epochs (from 1) that it holds.
Layout = list[tuple[Slice, int, tuple[int, ...]]]


@dataclass(frozen=True)
class Measured:
    """Everything stored of one architecture.

    values: (width,) all series one after the other, as the layout says. costs: one value each, the
    mean over seeds.
    """

    layout: Layout
    values: NDArray[np.float32]
    costs: dict[Cost, float]


def measured(states: object, where: str) -> Measured:
    """Reads the states of one architecture, by schedule ("12", "200", "01", "90").

    Raises: BadFile naming `where` if they are not what these files hold.
    """
    layout: Layout = []
    series: list[Sequence[float]] = []
    costs: dict[Cost, float] = {}
    try:
        for schedule, state in states.items():  # type: ignore[attr-defined]
            _add_state(layout, series, costs, int(schedule), state)
        if not layout:
            raise ValueError("no run at all")
        # struct is several times faster here than numpy, and refuses what is no number.
        packed = struct.pack(f"{sum(map(len, series))}f", *chain.from_iterable(series))
    except NOT_RESULTS as error:
        told = f"{type(error).__name__}: {error}"[:200]
        raise BadFile(
            f"{where}: not the results of an architecture ({told}).", "Download the file again."
        ) from error
    return Measured(layout, np.frombuffer(packed, np.float32), costs)


def live_states(api: Any, index: int) -> dict[str, Any]:
    """The states of one architecture from a live nats_bench or nas_201_api object."""
    api.query_meta_info_by_index(index)  # Loads it from disk where the object reads lazily.
    return {hp: results.state_dict() for hp, results in api.arch2infos_dict[index].items()}


def _add_state(
    layout: Layout,
    series: list[Sequence[float]],
    costs: dict[Cost, float],
    epochs: int,
    state: Mapping[str, Any],
) -> None:
    if not 1 <= epochs <= LONGEST_SCHEDULE:
        raise ValueError(f"a schedule of {epochs} epochs")
    by_setting: dict[str, list[Mapping[str, Any]]] = {}
    for (key, seed), run in state["all_results"].items():
        if run["epochs"] != epochs:
            raise ValueError(f"a run of {run['epochs']} epochs among those of {epochs}")
        for at, held, values in _series_of(run, key, epochs):
            layout.append((at, int(seed), held))
            series.append(values)
        by_setting.setdefault(key, []).append(run)
    for key, runs in by_setting.items():
        dataset, trained_on = TRAINED[key]
        for name, value in _costs(dataset, runs).items():
            costs[Cost(name, dataset, trained_on, epochs)] = value


def _series_of(
    run: Mapping[str, Any], key: str, epochs: int
) -> Iterator[tuple[Slice, tuple[int, ...], Sequence[float]]]:
    """(slice, epochs from 1, values) of everything that one run measured."""
    every = _all_epochs(epochs)
    for metric, field_name in TRAINED_METRICS.items():
        values = run[field_name]
        if len(values) != epochs:
            raise ValueError(f"{field_name} of {key} holds {len(values)} of {epochs} epochs")
        yield _slice(key, None, metric, epochs), every, _trained(epochs)(values)
    for metric, field_name in EVALUATED.items():
        values = run[field_name]
        for evaluated in run["eval_names"]:
            at = _slice(key, evaluated, metric, epochs)
            if f"{evaluated}@0" in values:
                yield at, every, _evaluated(evaluated, epochs, epochs)(values)
            else:
                yield at, (epochs,), _evaluated(evaluated, 1, epochs)(values)


@cache
def _slice(key: str, evaluated: str | None, metric: str, epochs: int) -> Slice:
    dataset, trained_on = TRAINED[key]
    split = "train" if evaluated is None else SPLITS[dataset, evaluated]
    return Slice(dataset, trained_on, split, metric, epochs)


@cache
def _all_epochs(epochs: int) -> tuple[int, ...]:
    return tuple(range(1, epochs + 1))


@cache
def _trained(epochs: int) -> Callable[[Mapping[int, float]], Sequence[float]]:
    """Picks the values of all epochs, in order, out of a dict keyed by epoch from 0."""
    return _picker(list(range(epochs)))


@cache
def _evaluated(
    evaluated: str, n_last: int, epochs: int
) -> Callable[[Mapping[str, float]], Sequence[float]]:
    """Picks a set's values of the n_last epochs out of a dict keyed SET@EPOCH from 0."""
    return _picker([f"{evaluated}@{epoch}" for epoch in range(epochs - n_last, epochs)])


def _picker(keys: Sequence[Any]) -> Callable[[Mapping[Any, float]], Sequence[float]]:
    if len(keys) == 1:
        return lambda values: (values[keys[0]],)
    return itemgetter(*keys)


def _costs(dataset: str, runs: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Mean over the runs of one setting. train_seconds: the whole schedule; *_seconds: once."""
    return {
        "params-recorded": _mean([run["params"] for run in runs]),
        "flops-recorded": _mean([run["flop"] for run in runs]),
        "latency": _mean([_mean(run["latency"]) for run in runs]),
        "train_seconds": _mean([_sum(run["train_times"]) for run in runs]),
        "valid_seconds": _mean([_once(run, dataset, "valid") for run in runs]),
        "test_seconds": _mean([_once(run, dataset, "test") for run in runs]),
    }


def _mean(values: Sequence[float] | None) -> float:
    return float(sum(values) / len(values)) if values else math.nan


def _sum(times: Mapping[int, float] | None) -> float:
    return float(sum(times.values())) if times else math.nan


def _once(run: Mapping[str, Any], dataset: str, split: str) -> float:
    """Seconds of the last evaluation on a split; NaN where none was recorded."""
    times = run["eval_times"] or {}
    for evaluated in run["eval_names"]:
        if SPLITS[dataset, evaluated] == split:
            return float(times.get(f"{evaluated}@{run['epochs'] - 1}", math.nan))
    return math.nan


def roles(longest: int, short: int) -> dict[str, Roles]:
    """Roles on files with a long schedule and a low fidelity (epochs), by data set.

    CIFAR-10's truth is the test accuracy of the network trained on all of the training set.
    """
    trained = {"cifar10": "train+valid", "cifar100": "train", "ImageNet16-120": "train"}
    return {
        dataset: Roles(
            search=Slice(dataset, "train", "valid", "accuracy", longest),
            truth=Slice(dataset, on, "test", "accuracy", longest),
            short=Slice(dataset, "train", "valid", "accuracy", short),
        )
        for dataset, on in trained.items()
    }
