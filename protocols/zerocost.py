"""Scores of untrained stand-alone networks: each architecture at initialisation, on one batch.

Source: Abdelfattah et al., "Zero-Cost Proxies for Lightweight NAS", ICLR 2021. A run scores some
architectures by some proxies and keeps the raw scores; correlations are the report's business. A
whole space is scored by many runs (`specs`), which can be stopped and taken up again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from harness import registry
from harness.arch import Arch
from harness.engine import Outcome, Protocol, Run
from harness.errors import HarnessError, InvalidSpec, unknown
from harness.record import DONE, Record, RunSpec
from harness.seeds import derive
from harness.spaces import space
from protocols.images import NAMES, missing, open_for
from protocols.images.image_set import Description
from protocols.images.on_device import DeviceImages
from protocols.nets.networks import network
from protocols.probe import score_all
from protocols.trained_networks import FASTER, TRAINED
from protocols.training import Labelled, one_thread
from protocols.untrained import validation

ARCHS_A_RUN = 32  # Ours: about a minute of work to lose.


@dataclass(frozen=True)
class Setting:
    """The setting of a run.

    dataset: whose classes and image shape the networks have. archs: texts of the space. proxies:
    name -> version. images: a name of protocols.images; the data set's own if None; "gaussian"
    takes its shape. batch_size: images of the one batch that all networks see. network: settings
    of the network; by default those that the benchmark trained. device: torch's name.
    """

    dataset: str
    archs: Sequence[str]
    proxies: Mapping[str, int]
    images: str | None = None
    batch_size: int = 64
    network: Mapping[str, Any] = field(default_factory=dict)
    device: str = "cpu"

    @classmethod
    def read(cls, setting: Mapping[str, Any]) -> Setting:
        """The setting of a spec.

        Raises: InvalidSpec for an unknown or missing key; UnknownName for proxies and images.
        """
        known = {option.name for option in fields(cls)}
        if foreign := sorted(set(setting) - known):
            raise unknown("setting of zerocost", foreign[0], known)
        try:
            found = cls(**setting)
        except TypeError as error:
            raise InvalidSpec(
                f"zerocost needs dataset, archs and proxies ({error}).",
                "protocols.zerocost.specs writes them.",
            ) from error
        for name, version in found.proxies.items():
            if registry.get("proxy", name).version != version:
                raise InvalidSpec(f"{name} has another version than {version} by now.")
        if found.image_name not in NAMES:
            raise unknown("image data set", found.image_name, NAMES)
        return found

    @property
    def image_name(self) -> str:
        return self.dataset if self.images is None else self.images


@final
class ZeroCost(Protocol):
    """Scores architectures by proxies; nothing of the benchmark but its space is read.

    setting: see `Setting`. Arrays, a row an architecture in the order of the setting: NAME, its
    scores, NaN where there is none; seconds_NAME, wall-clock seconds (a pass that proxies share is
    charged to each). Result: reasons (proxy -> text of the arch -> why there is no score), images
    (name, where they are from, sha256).
    """

    version = 1

    def skip(self, run: Run) -> str | None:
        return missing(Setting.read(run.setting).image_name)

    def run(self, run: Run) -> Outcome:
        setting = Setting.read(run.setting)
        parse = run.benchmark.space.parse
        images = open_for(setting.dataset, setting.images, seed=run.seed, n_made=setting.batch_size)
        split, indices, origin = validation(images)
        batch = _batch(DeviceImages(images, setting.device), split, indices, setting, run.seed)
        names = list(setting.proxies)
        scores, seconds = (np.full((len(setting.archs), len(names)), np.nan) for _ in range(2))
        reasons: dict[str, dict[str, str]] = {name: {} for name in names}
        for row, text in enumerate(setting.archs):
            net = _network(parse(text), images.about, setting, run.seed)
            with one_thread():
                found = score_all(net, batch, names, seed=run.seed)
            for column, name in enumerate(names):
                scored = found[name]
                scores[row, column], seconds[row, column] = scored.value, scored.seconds
                if scored.reason:
                    reasons[name][text] = scored.reason
        arrays = {name: scores[:, i] for i, name in enumerate(names)}
        arrays |= {f"seconds_{name}": seconds[:, i] for i, name in enumerate(names)}
        result = {
            "reasons": {name: held for name, held in reasons.items() if held},
            "images": {
                "name": setting.image_name,
                "from": origin,
                "sha256": images.splits[split].sha256,
            },
        }
        return Outcome(result=result, arrays=arrays)


def _batch(
    images: DeviceImages,
    split: str,
    indices: NDArray[np.int64],
    setting: Setting,
    seed: int,
) -> Labelled:
    """The images that all networks of a seed see."""
    if not 1 <= setting.batch_size <= len(indices):
        raise InvalidSpec(f"A batch of {setting.batch_size} of {len(indices)} images: impossible.")
    drawn = derive(seed, "batches").choice(indices, size=setting.batch_size, replace=False)
    return images.labelled(split, drawn)


def _network(arch: Arch, images: Description, setting: Setting, seed: int) -> nn.Module:
    """A new network; its weights depend on the seed and the architecture alone."""
    of_space = space(arch.space)
    settings = {
        "n_in": images.shape[0],
        **TRAINED.get(setting.dataset, {}),
        **FASTER.get(type(of_space), {}),
        **setting.network,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(derive(seed, "weights", of_space.format(arch)).integers(2**63)))
        net = network(arch, n_classes=images.n_classes, **settings)
    return net.to(setting.device)


def specs(
    benchmark: str,
    archs: Sequence[str],
    proxies: Sequence[str],
    *,
    seed: int,
    dataset: str,
    **options: Any,
) -> list[RunSpec]:
    """The runs that score these architectures, ARCHS_A_RUN each.

    archs: texts of the benchmark's space. options: other keys of `Setting`.
    Raises: UnknownName for a proxy.
    """
    versions = {name: registry.get("proxy", name).version for name in proxies}
    parts = [archs[i : i + ARCHS_A_RUN] for i in range(0, len(archs), ARCHS_A_RUN)]
    fixed = {"dataset": dataset, "proxies": versions, **options}
    return [
        RunSpec("zerocost", benchmark, seed, setting={**fixed, "archs": list(part)})
        for part in parts
    ]


class Scores(NamedTuple):
    """One proxy's scores and seconds, (n,), in the order of the architectures of the runs."""

    values: NDArray[np.float64]
    seconds: NDArray[np.float64]


def scores_of(records: Sequence[Record], proxy: str) -> Scores:
    """What the runs of `specs` found.

    Raises: HarnessError with the reason if a run was skipped or failed.
    """
    for found in records:
        if found.status != DONE:
            raise HarnessError(f"Scoring by {proxy} {found.status}: {found.reason}")
    return Scores(
        np.concatenate([found.array(proxy) for found in records]),
        np.concatenate([found.array(f"seconds_{proxy}") for found in records]),
    )


PROTOCOL = ZeroCost()
