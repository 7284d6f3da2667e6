"""The stand-alone network of an architecture, whatever its space."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from torch import nn

from harness.arch import Arch, SearchSpace
from harness.errors import InvalidSpec, unknown
from harness.spaces import space
from harness.spaces.darts import DartsSpace
from harness.spaces.nb101 import CellSpace
from harness.spaces.nb201 import SizeSpace, TopologySpace
from harness.spaces.oneshot1 import NB101, OneShotSpace
from protocols.nets import darts, nb101, nb201

# Every entry takes an architecture, n_classes and settings whose defaults are what the space's
# benchmark trained; DARTS' are those of its own evaluation.
NETWORKS: dict[type[SearchSpace], Callable[..., nn.Module]] = {
    TopologySpace: nb201.Network,
    SizeSpace: nb201.SizeNetwork,
    CellSpace: nb101.Network,
    DartsSpace: darts.Network,
}


def network(arch: Arch, *, n_classes: int, **settings: Any) -> nn.Module:
    """A new network, (n, 3, side, side) images to (n, n_classes) logits.

    Its weights are drawn from torch's global generator. settings: of the space's network, such as
    `channels`; see its class in `NETWORKS`.
    Raises: UnknownName for the space or a setting; InvalidArch if the code is none of the space,
        or the benchmark has no such cell; InvalidSpec if there is no network with these settings.
    """
    of_space = space(arch.space)
    arch = of_space.arch(arch.code)
    if isinstance(of_space, OneShotSpace):
        arch, of_space = of_space.nb101(arch), NB101
    if type(of_space) not in NETWORKS:
        raise InvalidSpec(f"There are no networks of {of_space.name}.")
    make = NETWORKS[type(of_space)]
    known = set(inspect.signature(make).parameters) - {"arch", "n_classes"}
    for name in settings:
        if name not in known:
            raise unknown(f"setting of {of_space.name}'s network", name, known)
    return make(arch, n_classes=n_classes, **settings)
