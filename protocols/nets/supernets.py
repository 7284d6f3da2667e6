"""The supernet of a space by the space's name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from harness.arch import SearchSpace
from harness.errors import InvalidSpec, unknown
from harness.spaces import space
from harness.spaces.darts import DartsSpace
from harness.spaces.nb201 import TopologySpace
from harness.spaces.oneshot1 import OneShotSpace
from protocols.nets.darts_supernet import DartsSupernet
from protocols.nets.mix import Supernet
from protocols.nets.nb201_supernet import NB201Supernet
from protocols.nets.oneshot1_supernet import OneShotSupernet

# Every entry takes a space, n_classes and settings, whose defaults are the published search's.
SUPERNETS: dict[type[SearchSpace], Callable[..., Supernet]] = {
    TopologySpace: NB201Supernet,
    DartsSpace: DartsSupernet,
    OneShotSpace: OneShotSupernet,
}


def has_supernet(space_name: str) -> bool:
    """Whether there is a supernet of the space.

    Raises: UnknownName for the space.
    """
    return type(space(space_name)) in SUPERNETS


def supernet(space_name: str, *, n_classes: int, **settings: Any) -> Supernet:
    """A new supernet, (n, n_in, side, side) images and a mix to (n, n_classes) logits.

    Its weights are drawn from torch's global generator, on torch's default device. settings: of
    the space's supernet, such as `channels`; see its class in `SUPERNETS`.
    Raises: UnknownName for the space or a setting; InvalidSpec if the space has no supernet.
    """
    of_space = space(space_name)
    if not has_supernet(space_name):
        raise InvalidSpec(f"There is no supernet of {space_name}.")
    make = SUPERNETS[type(of_space)]
    known = set(inspect.signature(make).parameters) - {"space", "n_classes"}
    for name in settings:
        if name not in known:
            raise unknown(f"setting of {space_name}'s supernet", name, known)
    return make(of_space, n_classes=n_classes, **settings)
