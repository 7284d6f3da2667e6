"""Search without training: a method scores what an untrained supernet mixes, and picks a cell.

Sources: Zhang et al., FreeDARTS; Xiang et al., Zero-Cost-PT, AAAI 2023; Chen et al., TE-NAS, ICLR
2021. None of them sees the benchmark: what the chosen cell is worth is looked up afterwards.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from harness.arch import Arch, SearchSpace
from harness.benchmark import Seed, sealed_truth
from harness.engine import Outcome, Protocol, Run
from harness.errors import InvalidSpec, unknown
from harness.seeds import derive
from harness.spaces import space
from protocols.images import NAMES, NOISE, missing, open_for
from protocols.images.image_set import TRAIN, ImageSet
from protocols.images.on_device import DeviceImages
from protocols.looked_up import no_look_up, slices_of, values_of, worth
from protocols.nets.mix import Supernet
from protocols.nets.networks import network
from protocols.nets.supernets import has_supernet, supernet
from protocols.options import configured
from protocols.search.halves import halves
from protocols.trained_networks import FASTER, TRAINED
from protocols.training import Labelled, one_thread, own_chance

VALID = "valid"
Indices = NDArray[np.int64]
# Of a network, on a batch; higher is better.
NetworkScore = Callable[[nn.Module, Labelled], float]


@final
class Workbench:
    """What a search may use: new networks and validation images of one data set; no table.

    space: its `groups` and `discretise`. image_shape: (channels, height, width). Everything is
    on `device`. The networks' weights and the batches depend on the seed and the order of calls.
    """

    def __init__(
        self,
        of_space: SearchSpace,
        images: DeviceImages,
        split: str,
        indices: Indices,
        *,
        seed: int,
        network: Mapping[str, Any],
    ) -> None:
        """split, indices: where the validation images are. network: settings of the supernet."""
        self.space = of_space
        self.device = images.device
        self.image_shape = images.about.shape
        self._images, self._split, self._indices = images, split, indices
        self._settings = {"n_in": self.image_shape[0], **network}
        self._weights, self._batches = derive(seed, "weights"), derive(seed, "batches")

    def supernet(self, **changes: Any) -> Supernet:
        """A new network with weights of its own, ready to train. changes: of the run's settings.

        Raises: UnknownName for a setting that the space's supernet lacks.
        """
        with self._own_weights():
            settings = {**self._settings, **changes}
            net = supernet(self.space.name, n_classes=self._images.about.n_classes, **settings)
        return net.to(self.device)

    def network(self, arch: Arch) -> nn.Module:
        """A new stand-alone network of the run's settings, with weights of its own.

        Raises: UnknownName for a setting that the space's network lacks.
        """
        settings = {**FASTER.get(type(self.space), {}), **self._settings}
        with self._own_weights():
            net = network(arch, n_classes=self._images.about.n_classes, **settings)
        return net.to(self.device)

    @contextmanager
    def _own_weights(self) -> Iterator[None]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(self._weights.integers(2**63)))
            yield

    def batch(self, n_images: int) -> Labelled:
        """Different validation images, normalised and not augmented, drawn anew in every call.

        Raises: InvalidSpec if there are fewer.
        """
        if not 1 <= n_images <= len(self._indices):
            raise InvalidSpec(
                f"A batch of {n_images} of {len(self._indices)} validation images cannot be drawn."
            )
        drawn = self._batches.choice(self._indices, size=n_images, replace=False)
        return self._images.labelled(self._split, drawn)


@dataclass(frozen=True)
class Found:
    """What a search chose and how.

    track: cells on the way, in order, where the method has any. arrays: raw scores by name. notes:
    JSON values that belong into the record.
    """

    arch: Arch
    track: Sequence[Arch] = ()
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)


class UntrainedSearch(ABC):
    """A search that trains nothing. A file protocols/methods/NAME.py offers one as METHOD.

    A concrete one is a frozen dataclass whose fields are the method's options, with defaults: a
    run's setting may name any of them. `version` is raised whenever the choice of a seed changes.
    """

    version: ClassVar[int]

    @property
    def uses(self) -> Sequence[tuple[str, str]]:
        """(kind, name) of the plug-ins whose versions the result depends on besides its own."""
        return ()

    @abstractmethod
    def search(self, bench: Workbench, rng: np.random.Generator) -> Found:
        """Chooses an architecture of `bench.space`.

        rng: the source of randomness beside the workbench's weights and batches.
        """


def _torch_seed(seed: int) -> int:
    return int(derive(seed, "torch").integers(2**63))


def network_score(proxy: str, rng: np.random.Generator) -> NetworkScore:
    """The score of a network by a proxy's name; NaN where there is none.

    rng: gives the proxy the seed of whatever it draws, the same in every call.
    Raises: UnknownName when it is first called, if there is no such proxy.
    """
    from protocols.probe import score_all  # Only searches by a proxy need it.

    seed = int(rng.integers(2**31))

    def score(net: nn.Module, batch: Labelled) -> float:
        (found,) = score_all(net, batch, [proxy], seed=seed).values()
        return found.value

    return score


@dataclass(frozen=True)
class Setting:
    """The setting of a run; every other key is an option of the method.

    dataset: whose classes and image shape the networks have, and whose truth is the headline.
    images: a name of protocols.images; the data set's own if None; "gaussian" takes its shape.
    space: another space that the benchmark answers for; its own if None. channels, n_cells: of
    the supernet, the published ones if None; network: its other settings. truth_seed, search_seed:
    "mean", a seed, or None where a slice has one label. n_made: how many images of noise are made.
    device: torch's name.
    """

    dataset: str
    images: str | None = None
    space: str | None = None
    channels: int | None = None
    n_cells: int | None = None
    network: Mapping[str, Any] = field(default_factory=dict)
    truth_seed: Seed | None = None
    search_seed: Seed | None = None
    n_made: int = 1024
    device: str = "cpu"
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, setting: Mapping[str, Any]) -> Setting:
        """The setting of a spec.

        Raises: InvalidSpec without a data set or for values that make no sense; UnknownName for
            the images or the space.
        """
        if not isinstance(setting.get("dataset"), str):
            raise InvalidSpec("untrained needs the setting dataset.", 'Set dataset = "cifar10".')
        own = {key: value for key, value in setting.items() if key in KNOWN}
        found = cls(**own, options={k: v for k, v in setting.items() if k not in KNOWN})
        if not isinstance(found.network, Mapping):
            raise InvalidSpec(f"network is a table of settings, not {found.network!r}.")
        if found.image_name not in NAMES:
            raise unknown("image data set", found.image_name, NAMES)
        if found.space is not None:
            space(found.space)
        return found

    @property
    def image_name(self) -> str:
        return self.dataset if self.images is None else self.images

    @property
    def network_settings(self) -> dict[str, Any]:
        """Those of the supernet: what the benchmark trained, and what is set."""
        sizes = {"channels": self.channels, "n_cells": self.n_cells}
        changed = {name: value for name, value in sizes.items() if value is not None}
        return {**TRAINED.get(self.dataset, {}), **changed, **self.network}


KNOWN = frozenset(option.name for option in fields(Setting)) - {"options"}


@final
class Untrained(Protocol):
    """Runs one training-free search and looks up what it chose on every data set.

    A benchmark without roles has nothing to look up: values is then empty and the rest null.
    setting: see `Setting`. Result: arch (text), final_index (the benchmark's own, null where it
    lists none or does not hold the cell), final_truth (of the setting's data set), values (per
    data set, `search` and `truth` in their slices' units, null where not held), slices, track (the
    same for every cell on the way: arch, values), search_seconds (wall clock of the search alone,
    without reading images), images (their name, where they are from and sha256), and the method's
    notes. Arrays: the method's raw scores.
    """

    version = 1
    takes_method = True
    headline = "final_truth"

    def accepts(self, method: object) -> bool:
        return isinstance(method, UntrainedSearch)

    def uses(self, method: object, setting: Mapping[str, Any]) -> Sequence[tuple[str, str]]:
        if not isinstance(method, UntrainedSearch):
            return ()
        return configured(method, Setting.read(setting).options, others=KNOWN).uses

    def skip(self, run: Run) -> str | None:
        """A reason where there is no supernet, no images, or no truth where other data have one."""
        setting = Setting.read(run.setting)
        if not self.accepts(run.method):
            return f"{type(run.method).__name__} is not a training-free search."
        configured(run.method, setting.options, others=KNOWN)
        bench = run.benchmark
        name = setting.space or bench.space.name
        if not has_supernet(name):
            return f"There is no supernet of {name}."
        seeds = setting.truth_seed, setting.search_seed
        return no_look_up(bench, setting.dataset, *seeds) or missing(setting.image_name)

    def run(self, run: Run) -> Outcome:
        setting = Setting.read(run.setting)
        method = configured(run.method, setting.options, others=KNOWN)
        images = open_for(setting.dataset, setting.images, seed=run.seed, n_made=setting.n_made)
        of_space = space(setting.space) if setting.space else run.benchmark.space
        split, indices, origin = validation(images)
        bench = Workbench(
            of_space,
            DeviceImages(images, setting.device),
            split,
            indices,
            seed=run.seed,
            network=setting.network_settings,
        )
        started = time.perf_counter()
        name = type(method).__name__
        with (
            sealed_truth(f"the method {name} is running"),
            own_chance(_torch_seed(run.seed), setting.device),
            one_thread(),
        ):
            found = method.search(bench, derive(run.seed, "method"))
        seconds = time.perf_counter() - started
        slices = slices_of(run.benchmark, setting.truth_seed, setting.search_seed)
        result = {
            **found.notes,
            "arch": of_space.format(found.arch),
            **worth(run.benchmark, found.arch, setting.dataset, slices),
            "track": [
                {"arch": of_space.format(arch), "values": values_of(run.benchmark, arch, slices)}
                for arch in found.track
            ],
            "search_seconds": seconds,
            "images": {
                "name": setting.image_name,
                "from": origin,
                "sha256": images.splits[split].sha256,
            },
        }
        return Outcome(result=result, arrays=dict(found.arrays))


def validation(images: ImageSet) -> tuple[str, Indices, str]:
    """The images that a search looks at: their split, indices in it, and a name for the choice.

    The validation half of `halves`; of images that are made, all.
    """
    if images.about.name == NOISE:
        return TRAIN, np.arange(len(images.splits[TRAIN])), "all"
    found = halves(images)
    return (*found.valid, found.origin)


PROTOCOL = Untrained()
