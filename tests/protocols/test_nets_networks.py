"""One entry point for the networks of all spaces."""

import numpy as np
import pytest
import torch
from test_nets import n_params

from harness.arch import Arch
from harness.errors import InvalidArch, UnknownName
from harness.spaces import space, spaces
from protocols.nets.networks import network

SMALL = {
    "nb201": {"channels": 4, "n_cells": 1},
    "nb101": {"channels": 8, "n_cells": 3},
    "oneshot1": {"channels": 8, "n_cells": 3},
    "darts": {"channels": 4, "n_cells": 3},
    "nb201-size": {},
}


def settings_of(name):
    return SMALL[name] if name in SMALL else SMALL[name.partition("-")[0]]


@pytest.mark.parametrize("name", sorted(spaces()))
def test_every_space_has_networks(name):
    arch = space(name).sample(np.random.default_rng(0))
    torch.manual_seed(0)
    net = network(arch, n_classes=7, n_in=1, **settings_of(name))

    assert net(torch.randn(2, 1, 16, 16)).shape == (2, 7)


@pytest.mark.parametrize("name", ["nb201", "nb201-size", "nb101"])
def test_without_settings_it_is_the_benchmarks_network(name):
    rng = np.random.default_rng(1)
    for arch in [space(name).sample(rng) for _ in range(3)]:
        code = np.array([arch.code], dtype=np.uint8)
        with torch.device("meta"):
            net = network(arch, n_classes=10)

        assert n_params(net) == round(space(name).closed_form("params", "cifar10", code)[0] * 1e6)


@pytest.mark.parametrize("name", [name for name in sorted(spaces()) if name.startswith("darts")])
def test_without_settings_a_darts_network_is_that_of_its_evaluation(name):
    arch = space(name).sample(np.random.default_rng(1))
    code = np.array([arch.code], dtype=np.uint8)
    with torch.device("meta"):
        net = network(arch, n_classes=10)

    millions = space(name).network_cost("params", code, channels=36, n_cells=20)
    assert n_params(net) == round(millions[0] * 1e6)


def test_a_one_shot_cell_is_built_as_its_nb101_cell():
    of_space = space("oneshot1-2")
    arch = of_space.sample(np.random.default_rng(2))
    nets = []
    for same in (arch, of_space.nb101(arch)):
        torch.manual_seed(0)
        nets.append(network(same, n_classes=7, channels=8, n_cells=3).eval())
    x = torch.randn(2, 3, 8, 8)

    assert torch.equal(nets[0](x), nets[1](x))


def test_what_cannot_be_built_is_refused():
    with pytest.raises(UnknownName, match="Did you mean channels"):
        network(Arch("nb201", (0,) * 6), n_classes=10, channel=4)
    with pytest.raises(UnknownName, match="Did you mean nb201"):
        network(Arch("nb202", (0,) * 6), n_classes=10)
    with pytest.raises(InvalidArch, match="6 numbers"):
        network(Arch("nb201", (0,) * 7), n_classes=10)
