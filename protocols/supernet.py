"""Supernet search: weights shared by all architectures are trained, then one is selected.

One loop for all methods (`protocols.search.loop`), under one recipe. What the selected cell is
worth is looked up afterwards, on every data set, and so is the cell that every epoch would give.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray

from harness.arch import SearchSpace
from harness.benchmark import Seed, sealed_truth
from harness.engine import Outcome, Protocol, Run
from harness.errors import InvalidSpec, unknown
from harness.registry import get
from harness.seeds import derive
from harness.spaces import space
from protocols.images import NAMES, missing, open_for
from protocols.images.image_set import ImageSet
from protocols.images.on_device import DeviceImages
from protocols.kept import Kept, code_of
from protocols.looked_up import no_look_up, slices_of, values_of, worth
from protocols.nets.mix import Supernet, learned
from protocols.nets.supernets import has_supernet, supernet
from protocols.options import configured
from protocols.search.batches import Batches
from protocols.search.diagnostics import DIAGNOSTICS
from protocols.search.engine_options import EngineOptions
from protocols.search.halves import SPLITS, Halves, halves
from protocols.search.history import Epoch
from protocols.search.loop import Search
from protocols.search.method import Method
from protocols.search.recipe import Recipe
from protocols.search.selector import Selector
from protocols.trained_networks import TRAINED
from protocols.training import memory_errors, one_thread, own_chance


@dataclass(frozen=True)
class Setting:
    """The setting of a run; every other key is an option of the method.

    dataset, images, space, truth_seed, search_seed, n_made, device: as in the protocol `untrained`.
    image_options: of the images' data set, such as {n_train = 8000} of cluttered-digits. split:
    which images weights learn from and which may be looked at besides, one of
    `protocols.search.halves.SPLITS`.
    network: settings of the supernet, by default those that the benchmark trained. recipe: fields
    of `Recipe`. selector: a name or a file; selection: its options. diagnostics: such as
    {eigenvalue = "valid"}, see `protocols.search.diagnostics`, after every epoch. engine:
    fields of `EngineOptions`. stop: the epoch after which is selected, 0 for the recipe's last;
    schedules are the whole recipe's all the same.
    """

    dataset: str
    images: str | None = None
    image_options: Mapping[str, Any] = field(default_factory=dict)
    split: str = "benchmark"
    space: str | None = None
    network: Mapping[str, Any] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)
    selector: str = "argmax"
    selection: Mapping[str, Any] = field(default_factory=dict)
    diagnostics: Mapping[str, str] = field(default_factory=dict)
    engine: Mapping[str, Any] = field(default_factory=dict)
    stop: int = 0
    truth_seed: Seed | None = None
    search_seed: Seed | None = None
    n_made: int = 4096
    device: str = "cpu"
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, setting: Mapping[str, Any]) -> Setting:
        """The setting of a spec.

        Raises: InvalidSpec without a data set or for values that make no sense; UnknownName.
        """
        if not isinstance(setting.get("dataset"), str):
            raise InvalidSpec("supernet needs the setting dataset.", 'Set dataset = "cifar10".')
        own = {key: value for key, value in setting.items() if key in KNOWN}
        found = cls(**own, options={k: v for k, v in setting.items() if k not in KNOWN})
        for name in ("image_options", "network", "recipe", "selection", "diagnostics", "engine"):
            if not isinstance(getattr(found, name), Mapping):
                raise InvalidSpec(f"{name} is a table, not {getattr(found, name)!r}.")
        for name, half in found.diagnostics.items():
            if name not in DIAGNOSTICS:
                raise unknown("diagnostic", name, DIAGNOSTICS)
            if half not in ("train", "valid"):
                raise InvalidSpec(f"{name} is measured on train or valid, not {half!r}.")
        EngineOptions.read(found.engine, found.device)
        recipe = Recipe.read(found.recipe)
        if not 0 <= found.stop <= recipe.epochs:
            raise InvalidSpec(f"stop is an epoch of {recipe.epochs}, not {found.stop}.")
        if found.image_name not in NAMES:
            raise unknown("image data set", found.image_name, NAMES)
        if found.split not in SPLITS:
            raise unknown("split", found.split, SPLITS)
        return found

    @property
    def image_name(self) -> str:
        return self.dataset if self.images is None else self.images

    @property
    def engine_options(self) -> EngineOptions:
        return EngineOptions.read(self.engine, self.device)


KNOWN = frozenset(option.name for option in fields(Setting)) - {"options"}


@final
class SupernetSearch(Protocol):
    """Trains one supernet by a method and selects one architecture of it.

    setting: see `Setting`. Result: arch, final_index, final_truth, values, slices and images as the
    protocol `untrained` has them; track (epoch, arch and values for what the parameters give after
    every epoch, from before the first); curves (the same epochs: losses and accuracies by phase,
    counts so far, diagnostics, seconds); counts (with the selection); recipe and method_options,
    whole; device (the GPU's name, or "cpu"); search_seconds (selection_seconds of them to select);
    peak_memory_mb; and the selector's notes. Arrays: the strengths of each learned group,
    (n_epochs + 1, n_rows, n_options), where something learns, and the selector's.
    """

    version = 1
    takes_method = True
    headline = "final_truth"

    def accepts(self, method: object) -> bool:
        return isinstance(method, Method)

    def uses(self, method: object, setting: Mapping[str, Any]) -> Sequence[tuple[str, str]]:
        if not isinstance(method, Method):
            return ()
        asked = Setting.read(setting)
        parts = (_method(method, asked), _selector(asked))
        return [("selector", asked.selector), *(used for part in parts for used in part.uses)]

    def skip(self, run: Run) -> str | None:
        """A reason where the method, the selector, the images or the truth do not fit."""
        setting = Setting.read(run.setting)
        if not self.accepts(run.method):
            return f"{type(run.method).__name__} trains no supernet."
        of_space = _space(run, setting)
        if not has_supernet(of_space.name):
            return f"There is no supernet of {of_space.name}."
        seeds = setting.truth_seed, setting.search_seed
        if reason := no_look_up(run.benchmark, setting.dataset, *seeds):
            return reason
        method, selector = _method(run.method, setting), _selector(setting)
        if torch.device(setting.device).type == "cuda" and not torch.cuda.is_available():
            return f"There is no device {setting.device} here."
        return (
            method.skip(of_space)
            or setting.engine_options.skip(method)
            or selector.skip(method, of_space)
            or missing(setting.image_name)
        )

    def run(self, run: Run) -> Outcome:
        setting = Setting.read(run.setting)
        method, selector = _method(run.method, setting), _selector(setting)
        images = open_for(
            setting.dataset,
            setting.images,
            seed=run.seed,
            n_made=setting.n_made,
            options=setting.image_options,
        )
        found = halves(images, setting.split)
        name = type(method).__name__
        chance = int(derive(run.seed, "torch").integers(2**63))
        with (
            sealed_truth(f"the method {name} is running"),
            own_chance(chance, setting.device),
            one_thread(),
            setting.engine_options.running(setting.device),
            memory_errors("Use a smaller batch_size of the recipe or fewer channels."),
        ):
            _forget_peak(setting.device)
            search = _trained(run, setting, method, images, found)
            started = time.perf_counter()
            selected = selector.select(search, derive(run.seed, "selection"))
            selection_seconds = time.perf_counter() - started
        bench, of_space = run.benchmark, search.space
        slices = slices_of(bench, setting.truth_seed, setting.search_seed)
        result = {
            **selected.notes,
            "recipe": asdict(search.recipe),
            "method_options": asdict(method) if is_dataclass(method) else {},
            "device": _device_name(search),
            "peak_memory_mb": _peak_memory_mb(search),
            "arch": of_space.format(selected.arch),
            **worth(bench, selected.arch, setting.dataset, slices),
            "track": [
                {
                    "epoch": epoch.epoch,
                    "arch": of_space.format(epoch.arch),
                    "values": values_of(bench, epoch.arch, slices),
                }
                for epoch in search.epochs
                if epoch.arch is not None
            ],
            "curves": [_told(epoch) for epoch in search.epochs],
            "counts": asdict(search.counts),
            "search_seconds": sum(epoch.seconds for epoch in search.epochs) + selection_seconds,
            "selection_seconds": selection_seconds,
            "images": {
                "name": setting.image_name,
                "from": found.origin,
                "sha256": {split: held.sha256 for split, held in images.splits.items()},
            },
        }
        learnt = _strengths(search) if method.learns_arch else {}
        return Outcome(result=result, arrays={**learnt, **selected.arrays})


def _space(run: Run, setting: Setting) -> SearchSpace:
    return space(setting.space) if setting.space else run.benchmark.space


def _method(method: Method, setting: Setting) -> Method:
    """With the options that the setting has. Raises: UnknownName, InvalidSpec."""
    return configured(method, setting.options, others=KNOWN)


def _selector(setting: Setting) -> Selector:
    """With the options that the setting has. Raises: UnknownName, InvalidSpec."""
    offered: Selector = get("selector", setting.selector).offer
    return configured(offered, setting.selection)


def _trained(run: Run, setting: Setting, method: Method, images: ImageSet, found: Halves) -> Search:
    """The search after its last epoch; as much of it as is kept is not trained again."""
    recipe = Recipe.read(setting.recipe)
    batches = Batches(DeviceImages(images, setting.device), found, recipe.batch_size, run.seed)
    about = batches.images.about
    network = {
        "n_in": about.shape[0],
        **TRAINED.get(setting.dataset, {}),
        **method.network,
        **setting.network,
    }
    of_space = _space(run, setting)

    def new_net(**changes: Any) -> Supernet:
        net = supernet(of_space.name, n_classes=about.n_classes, **{**network, **changes})
        return net.to(batches.images.device)

    search = Search(
        of_space,
        new_net,
        method,
        recipe,
        batches,
        seed=run.seed,
        diagnostics=setting.diagnostics,
        engine=setting.engine_options,
    )
    chosen = setting.engine_options.chosen
    identity = {
        "space": of_space.name,
        "network": network,
        "method": [type(method).__name__, asdict(method) if is_dataclass(method) else {}],
        "versions": [SupernetSearch.version, method.version],
        "code": code_of(method, method.uses),
        "recipe": asdict(recipe),
        "diagnostics": dict(setting.diagnostics),
        "images": {split: held.sha256 for split, held in images.splits.items()},
        "halves": found.origin,
        "seed": run.seed,
        "device": batches.images.device.type,
        "torch": torch.__version__,
        **({"engine": chosen} if chosen else {}),
    }
    n_epochs = setting.stop or recipe.epochs
    kept = Kept(identity)
    before = kept.read()
    if before is not None and len(before["epochs"]) - 1 > n_epochs:
        kept = Kept({**identity, "stop": n_epochs})  # What went on for longer stays.
        before = kept.read()
    if before is not None:
        search.load(before)
    search.run(n_epochs, lambda: kept.write(search.state()))
    return search


def _device_name(search: Search) -> str:
    is_cuda = search.device.type == "cuda"
    return torch.cuda.get_device_name(search.device) if is_cuda else search.device.type


def _forget_peak(device: str) -> None:
    """What earlier runs of this process took of a GPU; a process forgets no peak of its own."""
    if torch.device(device).type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def _peak_memory_mb(search: Search) -> float:
    """Of the device in this run, or of this process since it began."""
    if search.device.type == "cuda":
        return torch.cuda.max_memory_allocated(search.device) / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def _told(epoch: Epoch) -> dict[str, Any]:
    """What a record says of an epoch beside its cell."""
    return {
        "epoch": epoch.epoch,
        "losses": dict(epoch.losses),
        "accuracies": dict(epoch.accuracies),
        "counts": dict(epoch.counts),
        "measured": dict(epoch.measured),
        "seconds": epoch.seconds,
    }


def _strengths(search: Search) -> dict[str, NDArray[np.float32]]:
    """Per learned group, (n_epochs + 1, n_rows, n_options), as exact as the parameters are."""
    return {
        f"strengths_{group.name}": np.stack(
            [epoch.strengths[i] for epoch in search.epochs], dtype=np.float32
        )
        for i, group in enumerate(learned(search.space))
    }


PROTOCOL = SupernetSearch()
