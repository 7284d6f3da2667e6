"""What a benchmark holds and how it is asked: slices, readings, curves, columns and costs."""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np
from numpy.typing import NDArray

from harness.arch import Arch, Codes, SearchSpace
from harness.errors import (
    BrokenStore,
    InvalidSpec,
    TestSliceSealed,
    UnknownArch,
    UnknownCost,
    UnknownEpoch,
    UnknownSeed,
    UnknownSlice,
)

if TYPE_CHECKING:
    import pandas as pd

TRAINED_ON = ("train", "train+valid")
SPLITS = ("train", "valid", "test", "valid+test")
UNITS = {"accuracy": "%", "loss": "nats"}
COST_UNITS = {
    "params": "M",
    "flops": "M",  # Multiply-adds, as NATS-Bench counts them.
    "params-recorded": "M",
    "flops-recorded": "M",
    "latency": "s",
    "train_seconds": "s",
    "valid_seconds": "s",
    "test_seconds": "s",
}
# Labels that stand in a holding's seeds where the single seeds are not known.
MEAN, UNSTATED = "mean", "unstated"
LABELS = (MEAN, UNSTATED)
MEDIAN = "median"
AVERAGES = (MEAN, MEDIAN)  # Over single seeds; asked for by name.
KEY = re.compile("[0-9a-f]{32}")  # An md5 sum, as NAS-Bench-101 names its cells.

Seed = int | str


@dataclass(frozen=True, slots=True)
class Slice:
    """Which measurement: the data set, what was trained on, what was evaluated, metric, schedule.

    trained_on: "train" or "train+valid"; None only where a benchmark holds exactly one.
    split: what the metric was evaluated on. epochs: length of the training schedule.
    """

    dataset: str
    trained_on: str | None
    split: str
    metric: str
    epochs: int

    def __post_init__(self) -> None:
        if self.trained_on is not None and self.trained_on not in TRAINED_ON:
            raise InvalidSpec(f"trained_on is one of {TRAINED_ON}, not {self.trained_on!r}.")
        if self.split not in SPLITS:
            raise InvalidSpec(f"split is one of {SPLITS}, not {self.split!r}.")
        if not self.dataset or not self.metric or self.epochs < 1:
            raise InvalidSpec(f"{self} needs a data set, a metric and at least one epoch.")

    @property
    def contains_test(self) -> bool:
        return "test" in self.split

    @classmethod
    def parse(cls, text: str) -> Slice:
        """Reads `dataset/trained_on/split/metric/epochs`; trained_on may be left out.

        Raises: InvalidSpec with an example.
        """
        parts = text.split("/")
        if len(parts) == 4:
            parts.insert(1, "")
        if len(parts) != 5 or not re.fullmatch(r"[1-9][0-9]{0,5}", parts[4]):
            raise InvalidSpec(
                f"{text!r} is not a slice.", "Write it like cifar10/train+valid/test/accuracy/200."
            )
        return cls(parts[0], parts[1] or None, parts[2], parts[3], int(parts[4]))

    def __str__(self) -> str:
        trained_on = f"{self.trained_on}/" if self.trained_on else ""
        return f"{self.dataset}/{trained_on}{self.split}/{self.metric}/{self.epochs}"


@dataclass(frozen=True)
class Holding:
    """What a benchmark holds of one slice.

    seeds: seed numbers, or one label: ("mean",) or ("unstated",).
    epochs: the epochs at which it was measured, counted from 1 (completed epochs), ascending.
    """

    slice: Slice
    unit: str
    seeds: tuple[Seed, ...]
    epochs: tuple[int, ...]

    @property
    def label(self) -> str | None:
        """The label that stands for the seeds, or None where single seeds are held."""
        first = self.seeds[0]
        return first if isinstance(first, str) else None

    @cached_property
    def _epoch_positions(self) -> dict[int, int]:
        return {epoch: position for position, epoch in enumerate(self.epochs)}

    def epoch_position(self, epoch: int | None) -> int:
        """Position of an epoch on the epoch axis; None means the last.

        Raises: UnknownEpoch with the epochs that are held.
        """
        if epoch is None:
            return len(self.epochs) - 1
        position = self._epoch_positions.get(epoch)
        if position is None:
            raise UnknownEpoch(
                f"{self.slice} holds epochs {_span(self.epochs)}, not {epoch}.",
                "Nothing is substituted; for some data sets valid and test were only measured"
                " after the last epoch.",
            )
        return position

    def check_seed(self, seed: Seed | None) -> Seed:
        """The seed that is meant; None is allowed only where the slice has a label.

        Raises: UnknownSeed with the seeds that are held.
        """
        if self.label is not None:
            if seed in (None, self.label):
                return self.label
            raise UnknownSeed(
                f"{self.slice} holds only the {self.label!r} value of its seeds, not {seed}.",
                f"Ask for --seed {self.label}.",
            )
        if seed in AVERAGES or seed in self.seeds:
            assert seed is not None
            return seed
        named = "No seed was named" if seed is None else f"There is no seed {seed}"
        raise UnknownSeed(
            f"{named}; {self.slice} holds seeds {', '.join(map(str, self.seeds))}.",
            f"Name one (--seed {self.seeds[0]}), or an average (--seed mean or --seed median).",
        )


@dataclass(frozen=True, slots=True)
class Cost:
    """Which cost: its name and what it was recorded for (None: the same for all)."""

    name: str
    dataset: str
    trained_on: str | None = None
    epochs: int | None = None

    def __str__(self) -> str:
        parts = (self.name, self.dataset, self.trained_on, self.epochs)
        return "/".join(str(part) for part in parts if part is not None)


@dataclass(frozen=True, slots=True)
class Reading:
    """One answer. std is over seeds (ddof=1), NaN where unknown; n counts the seeds really
    present and is None where the source does not tell. A value never measured is NaN.
    is_surrogate: a model's prediction; std and n are then over the models of an ensemble.
    """

    value: float
    std: float
    n: int | None
    unit: str
    slice: Slice | None = None
    is_surrogate: bool = False


@dataclass(frozen=True, slots=True)
class Curve:
    """One value an epoch: values[i] after epochs[i] completed epochs; NaN = never measured."""

    values: NDArray[np.float32]
    epochs: tuple[int, ...]
    unit: str
    slice: Slice

    @property
    def first_epoch(self) -> int:
        return self.epochs[0]


@dataclass(frozen=True, slots=True)
class Roles:
    """What the slices of one data set are for.

    search: what a method may see; truth: what tables report; short: a low fidelity.
    """

    search: Slice | None
    truth: Slice
    short: Slice | None = None

    def named(self, role: str) -> Slice:
        """The slice of a role.

        Raises: InvalidSpec if the data set has no slice for it.
        """
        at: Slice | None = getattr(self, role)
        if at is None:
            raise InvalidSpec(f"{self.truth.dataset} has no slice for the role {role!r}.")
        return at


SEALED_REMEDY = "A method sees test data by no public call; the protocol reads it afterwards."
_seals: list[str] = []


@contextmanager
def sealed_truth(reason: str) -> Iterator[None]:
    """While this is open, every public call that touches test data raises TestSliceSealed.

    The seal holds for the whole process. Going round it on purpose (private attributes, opening
    the files) is out of its scope.
    """
    _seals.append(reason)
    try:
        yield
    finally:
        _seals.pop()


def check_unsealed(what: str) -> None:
    """Raises: TestSliceSealed while a method runs."""
    if _seals:
        raise TestSliceSealed(f"{what} cannot be opened: {_seals[-1]}.", SEALED_REMEDY)


class Benchmark(ABC):
    """Architectures of one space with measured slices and costs.

    archs are addressed by Arch, by the space's text, by the benchmark's own index (int) or, where
    it has keys, by key. keys: (n_arch,) the space's `key` of every arch, md5 sums, ascending.
    """

    name: str
    space: SearchSpace
    holdings: Mapping[Slice, Holding]
    roles: Mapping[str, Roles]
    sha256: str
    # The benchmark's own index of every row, ascending; (n_arch,).
    indices: NDArray[np.int32]
    codes: Codes
    keys: NDArray[np.bytes_] | None = None
    citation: str = ""
    is_surrogate: bool = False

    @abstractmethod
    def _at(self, holding: Holding, row: int, position: int) -> list[float]:
        """One value a seed, at one epoch position."""

    @abstractmethod
    def _array(self, holding: Holding) -> NDArray[np.float32]:
        """(n_seed, n_epoch, n_arch)."""

    @abstractmethod
    def _recorded_costs(self) -> Mapping[Cost, NDArray[np.float64]]:
        """Recorded costs, (n_arch,) each: the mean over the recorded seeds."""

    def __len__(self) -> int:
        return len(self.indices)

    @final
    def __repr__(self) -> str:
        return f"<benchmark {self.name}: {len(self)} archs of {self.space.name}>"

    @property
    def archs(self) -> Sequence[Arch]:
        """All architectures, row by row in the benchmark's own index order."""
        return [Arch(self.space.name, tuple(code)) for code in self.codes.tolist()]

    @property
    def datasets(self) -> list[str]:
        """Data sets with declared roles, in the benchmark's order."""
        return list(self.roles)

    @cached_property
    def _row_of_code(self) -> dict[bytes, int]:
        width = self.codes.shape[1]
        flat = np.ascontiguousarray(self.codes).tobytes()
        return {flat[row * width : (row + 1) * width]: row for row in range(len(self))}

    @cached_property
    def _row_of_index(self) -> dict[int, int]:
        return {index: row for row, index in enumerate(self.indices.tolist())}

    def row(self, arch: Arch | str | int) -> int:
        """Row of an architecture in every array.

        Raises: InvalidArch if it is not of this space, UnknownArch if it is not held.
        """
        if isinstance(arch, (int, np.integer)):
            row = self._row_of_index.get(int(arch))
        elif isinstance(arch, str) and self.keys is not None and KEY.fullmatch(arch):
            row = self._row_of_key(self.keys, arch)
        else:
            if isinstance(arch, str):
                arch = self.space.parse(arch)
            if arch.space != self.space.name:
                raise UnknownArch(
                    f"{self.name} holds archs of {self.space.name}, not of {arch.space}."
                )
            row = self._row_of_code.get(bytes(arch.code))
            # Of the encodings of one function, such a benchmark holds a single one.
            if row is None and self.keys is not None and (key := self.space.key(arch)):
                row = self._row_of_key(self.keys, key)
        if row is None:
            shown = self.space.format(arch) if isinstance(arch, Arch) else arch
            raise UnknownArch(
                f"{self.name} holds {len(self)} of {self.space.size} archs; {shown} is not among"
                " them."
            )
        return row

    def _row_of_key(self, keys: NDArray[np.bytes_], key: str) -> int:
        row = int(np.searchsorted(keys, key.encode()))
        if row == len(keys) or keys[row].decode() != key:
            raise UnknownArch(
                f"{self.name} holds no arch with the hash {key}.",
                "A hash is that of the pruned cell; one cell has one, however it is written.",
            )
        return row

    def holding(self, at: Slice) -> Holding:
        """What is held of a slice; an omitted trained_on is filled in if exactly one fits.

        Raises: UnknownSlice with the nearest slices, TestSliceSealed while a method runs.
        """
        found = self.holdings.get(at)
        if found is None:
            found = self._only_fit(at)
        if _seals and self._is_sealed(found.slice):
            raise TestSliceSealed(f"{found.slice} is sealed: {_seals[-1]}.", SEALED_REMEDY)
        return found

    def _is_sealed(self, at: Slice) -> bool:
        """Test data and truths are; a truth that is also what methods search on cannot be."""
        roles = self.roles.values()
        is_truth = any(at == held.truth for held in roles)
        is_searched = any(at in (held.search, held.short) for held in roles)
        return at.contains_test or (is_truth and not is_searched)

    def _only_fit(self, at: Slice) -> Holding:
        from difflib import get_close_matches  # Only an error pays for it.

        fits = [h for h in self.holdings if replace(h, trained_on=None) == at]
        if at.trained_on is None and len(fits) == 1:
            return self.holdings[fits[0]]
        if len(fits) > 1:
            options = " or ".join(str(h.trained_on) for h in fits)
            raise UnknownSlice(
                f"{self.name} holds {at} for more than one training set.",
                f"Say which: --trained-on {options}.",
            )
        near = [
            held
            for held in self.holdings
            if (held.dataset, held.split, held.metric) == (at.dataset, at.split, at.metric)
        ]
        names = [str(h) for h in near]
        names += get_close_matches(str(at), [str(h) for h in self.holdings], n=4, cutoff=0.4)
        listed = ", ".join(dict.fromkeys(names)) or "; ".join(map(str, self.holdings)) or "none"
        raise UnknownSlice(f"{self.name} does not hold {at}.", f"Near ones: {listed}.")

    def query(
        self,
        arch: Arch | str | int,
        at: Slice,
        *,
        seed: Seed | None = None,
        epoch: int | None = None,
    ) -> Reading:
        """One value of one architecture.

        seed: a seed number, "mean" or "median"; there is no default where single seeds are held.
        The std is that over the seeds for either average. epoch: completed epochs, from 1; None
        is the last.
        Raises: UnknownArch, UnknownSlice, UnknownSeed, UnknownEpoch, TestSliceSealed.
        """
        holding = self.holding(at)
        seed = holding.check_seed(seed)
        values = self._at(holding, self.row(arch), holding.epoch_position(epoch))
        if holding.label is not None:
            return self._reading(holding, values[0], math.nan, None)
        if seed in AVERAGES:
            present = [value for value in values if value == value]
            mean, std = _mean_and_std(present)
            average = _median(present) if seed == MEDIAN else mean
            return self._reading(holding, average, std, len(present))
        value = values[holding.seeds.index(seed)]
        return self._reading(holding, value, math.nan, 1 if value == value else 0)

    def _reading(self, holding: Holding, value: float, std: float, n: int | None) -> Reading:
        return Reading(value, std, n, holding.unit, holding.slice, self.is_surrogate)

    def curve(self, arch: Arch | str | int, at: Slice, *, seed: Seed | None = None) -> Curve:
        """All epochs of one architecture; the mean is over the seeds present at each epoch.

        Raises: UnknownArch, UnknownSlice, UnknownSeed, TestSliceSealed.
        """
        holding = self.holding(at)
        seed = holding.check_seed(seed)
        series = self._series(holding, self.row(arch))
        values = series[0] if holding.label else _reduce_seeds(series, holding, seed)
        return Curve(values, holding.epochs, holding.unit, holding.slice)

    def _series(self, holding: Holding, row: int) -> NDArray[np.float32]:
        """(n_seed, n_epoch) of one architecture."""
        return self._array(holding)[:, :, row]

    def column(
        self, at: Slice, *, seed: Seed | None = None, epoch: int | None = None
    ) -> NDArray[np.float32]:
        """Values of one slice for all architectures.

        Returns: (n_arch,) float32 in the slice's unit, row i belongs to `self.archs[i]`;
        NaN = never measured. Averages are over the seeds present.
        Raises: UnknownSlice, UnknownSeed, UnknownEpoch, TestSliceSealed.
        """
        holding = self.holding(at)
        seed = holding.check_seed(seed)
        values = self._array(holding)[:, holding.epoch_position(epoch), :]
        return _reduce_seeds(values, holding, seed)

    def curves(self, at: Slice, *, seed: Seed | None = None) -> NDArray[np.float32]:
        """Curves of all architectures: (n_epoch, n_arch) float32, NaN = never measured.

        Raises: UnknownSlice, UnknownSeed, TestSliceSealed.
        """
        holding = self.holding(at)
        return _reduce_seeds(self._array(holding), holding, holding.check_seed(seed))

    def values(self, at: Slice) -> NDArray[np.float32]:
        """Everything held of a slice: (n_seed, n_epoch, n_arch) float32, NaN = never measured.

        Raises: UnknownSlice, TestSliceSealed.
        """
        return self._array(self.holding(at))

    def costs(self) -> list[Cost]:
        """All costs that can be asked for: recorded ones and those known in closed form."""
        return [*self._recorded_costs(), *self._closed_form_costs()]

    def _closed_form_costs(self) -> list[Cost]:
        none = self.codes[:0]
        return [
            Cost(name, dataset)
            for name in ("params", "flops")
            for dataset in self.roles
            if self.space.closed_form(name, dataset, none) is not None
        ]

    def cost_column(
        self, name: str, dataset: str, *, trained_on: str | None = None, epochs: int | None = None
    ) -> NDArray[np.float64]:
        """A cost of all architectures, (n_arch,), in `COST_UNITS[name]`.

        `params` and `flops` are computed in closed form where the space has a formula;
        `params-recorded` and `flops-recorded` are what the source file says. Recorded costs are
        the mean over the recorded seeds.
        Raises: UnknownCost with what can be asked for.
        """
        if (computed := self.space.closed_form(name, dataset, self.codes)) is not None:
            return computed
        recorded = self._recorded_costs()
        matches = [
            cost
            for cost in recorded
            if cost.name == name
            and cost.dataset == dataset
            and trained_on in (None, cost.trained_on)
            and epochs in (None, cost.epochs)
        ]
        if len(matches) == 1:
            return recorded[matches[0]]
        known = ", ".join(map(str, matches or self.costs())) or "none"
        problem = "has several of" if matches else "does not hold the cost"
        raise UnknownCost(
            f"{self.name} {problem} {Cost(name, dataset, trained_on, epochs)}.", f"It has {known}."
        )

    def cost(
        self,
        arch: Arch | str | int,
        name: str,
        dataset: str,
        *,
        trained_on: str | None = None,
        epochs: int | None = None,
    ) -> Reading:
        """A cost of one architecture; see `cost_column`."""
        row = self.row(arch)
        code = self.codes[row : row + 1]
        computed = self.space.closed_form(name, dataset, code)
        if computed is not None:
            value = float(computed[0])
        else:
            column = self.cost_column(name, dataset, trained_on=trained_on, epochs=epochs)
            value = float(column[row])
        return Reading(value, math.nan, None, COST_UNITS[name])

    def to_frame(self, *, seed: Seed | None = None) -> pd.DataFrame:
        """A table with one row an architecture and the last epoch of every slice and every cost.

        seed=None gives one column a slice and seed; "mean" and "median" the averages, with the
        number of seeds present beside each. Index: the benchmark's own index.
        Raises: UnknownSeed if a slice does not hold the seed; TestSliceSealed.
        """
        import pandas as pd

        columns: dict[str, Any] = {"arch": [self.space.format(arch) for arch in self.archs]}
        if self.keys is not None:
            columns["hash"] = [key.decode() for key in self.keys.tolist()]
        for at in self.holdings:
            holding = self.holding(at)
            if seed is not None and not (seed in AVERAGES and holding.label):
                holding.check_seed(seed)
            values = self._array(holding)[:, -1, :]
            if holding.label is None and seed is not None and seed in AVERAGES:
                columns[f"{at} {seed}"] = _reduce_seeds(values, holding, seed)
                columns[f"{at} n"] = (~np.isnan(values)).sum(axis=0)
            else:
                for position, held in enumerate(holding.seeds):
                    if seed in (None, *AVERAGES, held):
                        columns[f"{at} {held}"] = values[position]
        for cost in self.costs():
            columns[str(cost)] = self.cost_column(
                cost.name, cost.dataset, trained_on=cost.trained_on, epochs=cost.epochs
            )
        return pd.DataFrame(columns, index=pd.Index(self.indices, name="index"))


@final
class Table(Benchmark):
    """A benchmark whose arrays lie in memory or, memory-mapped, on disk.

    arrays: per slice a (n_seed, n_epoch, n_arch) float32 array, the .npy file that holds it, or
    what makes it when it is first asked for. costs: per cost a (n_arch,) float64 array or its file.
    """

    def __init__(
        self,
        *,
        name: str,
        space: SearchSpace,
        codes: Codes,
        indices: NDArray[np.int32],
        holdings: Sequence[Holding],
        arrays: Mapping[Slice, NDArray[np.float32] | Path | Callable[[], NDArray[np.float32]]],
        costs: Mapping[Cost, NDArray[np.float64] | Path],
        roles: Mapping[str, Roles],
        sha256: str = "",
        citation: str = "",
        is_surrogate: bool = False,
        keys: NDArray[np.bytes_] | None = None,
    ) -> None:
        self.name, self.space, self.sha256, self.citation = name, space, sha256, citation
        self.codes, self.indices, self.keys = codes, indices, keys
        self.holdings = {holding.slice: holding for holding in holdings}
        self.roles = dict(roles)
        self.is_surrogate = is_surrogate
        self._arrays = dict(arrays)
        self._costs = dict(costs)

    def _array(self, holding: Holding) -> NDArray[np.float32]:
        array = self._arrays[holding.slice]
        if isinstance(array, Path):
            shape = (len(holding.seeds), len(holding.epochs), len(self))
            array = self._arrays[holding.slice] = map_array(array, shape)
        elif callable(array):
            array = self._arrays[holding.slice] = array()
        return array

    def _at(self, holding: Holding, row: int, position: int) -> list[float]:
        values: list[float] = self._array(holding)[:, position, row].tolist()
        return values

    def _recorded_costs(self) -> Mapping[Cost, NDArray[np.float64]]:
        for cost, array in self._costs.items():
            if isinstance(array, Path):
                self._costs[cost] = map_array(array, (len(self),))
        return self._costs  # type: ignore[return-value]


def map_array(path: Path, shape: tuple[int, ...]) -> NDArray[Any]:
    """A read-only memory map of an .npy file.

    Raises: BrokenStore if the file is missing, cut short or of another shape.
    """
    try:
        array = np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except (OSError, ValueError, EOFError) as error:
        raise BrokenStore(
            f"{path} cannot be opened: {error}.", "Import the benchmark again."
        ) from error
    if array.shape != shape:
        raise BrokenStore(
            f"{path} has shape {array.shape}, the manifest says {shape}.",
            "Import the benchmark again.",
        )
    return array


def _mean_and_std(values: Sequence[float]) -> tuple[float, float]:
    if not values:
        return math.nan, math.nan
    mean = math.fsum(values) / len(values)
    if len(values) == 1:
        return mean, math.nan
    squares = math.fsum((value - mean) ** 2 for value in values)
    return mean, math.sqrt(squares / (len(values) - 1))


def _median(values: Sequence[float]) -> float:
    if not values:
        return math.nan
    ranked = sorted(values)
    return (ranked[(len(ranked) - 1) // 2] + ranked[len(ranked) // 2]) / 2


def _reduce_seeds(values: NDArray[np.float32], holding: Holding, seed: Seed) -> NDArray[np.float32]:
    """Takes one seed, or an average over the seeds present, from the first axis."""
    if seed not in AVERAGES or holding.label is not None:
        return values[holding.seeds.index(seed)]
    if seed == MEDIAN:
        return _median_of_seeds(values)
    mean = values.mean(axis=0, dtype=np.float64)
    if not np.isnan(mean).any():  # Every seed is there, which is the usual case and the fast one.
        return mean.astype(np.float32)
    total = np.zeros(values.shape[1:], dtype=np.float64)
    present = np.zeros(values.shape[1:], dtype=np.int32)
    for one in values:
        held = ~np.isnan(one)
        total += np.where(held, one, np.float32(0))
        present += held
    with np.errstate(invalid="ignore"):
        return (total / present).astype(np.float32)


def _median_of_seeds(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """The median over the seeds present, on the first axis; NaN where there is none."""
    ranked = np.sort(values, axis=0)  # NaN comes last.
    n_present = (~np.isnan(values)).sum(axis=0, keepdims=True)
    low, high = np.maximum(n_present - 1, 0) // 2, n_present // 2
    middle = [
        np.take_along_axis(ranked, np.minimum(at, len(values) - 1), axis=0)[0].astype(np.float64)
        for at in (low, high)
    ]
    return ((middle[0] + middle[1]) / 2).astype(np.float32)


def _span(epochs: tuple[int, ...]) -> str:
    if len(epochs) > 2 and epochs == tuple(range(epochs[0], epochs[-1] + 1)):
        return f"{epochs[0]}..{epochs[-1]}"
    return ", ".join(map(str, epochs))
