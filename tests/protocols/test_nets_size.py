"""The networks of NATS-Bench's size space: its own records, the closed form, a cell by hand."""

import numpy as np
import pytest
import torch
from test_nets import n_macs, n_params

from harness import load
from harness.arch import Arch
from harness.registry import adapter_of
from harness.spaces.nb201 import TASKS, SizeSpace, TopologySpace
from protocols.nets.nb201 import SIZE_CELL, Cell, SizeNetwork

SPACE = SizeSpace()
EPOCHS = 90  # Of the training whose record is read.


def built(arch, n_classes):
    with torch.device("meta"):
        return SizeNetwork(arch, n_classes=n_classes)


def drawn(n, seed):
    rng = np.random.default_rng(seed)
    return [SPACE.sample(rng) for _ in range(n)]


def test_the_networks_have_the_recorded_costs(data, home):
    folder = data / "nats" / "NATS-sss-v1_0-50262-simple"
    path = adapter_of("nats-sss").pack(
        "nats-sss", folder, mapping=None, jobs=1, progress=lambda done, total: None
    )
    table = load(path)
    for index in (0, 11, 284):
        arch = Arch(SPACE.name, tuple(SPACE.codes[index].tolist()))
        for dataset, task in TASKS.items():
            net = built(arch, task.n_classes)
            asked = {"dataset": dataset, "trained_on": "train", "epochs": EPOCHS}
            params = table.cost(index, "params-recorded", **asked).value
            flops = table.cost(index, "flops-recorded", **asked).value

            assert n_params(net) == round(params * 1e6)
            # NATS adds the classifier's bias.
            assert n_macs(net, 3, task.image_size) + task.n_classes == round(flops * 1e6)


@pytest.mark.parametrize("dataset", TASKS)
def test_the_closed_form_is_the_networks_cost(dataset):
    task, archs = TASKS[dataset], drawn(12, seed=0)
    archs.append(Arch(SPACE.name, (3,) * 5))  # All of one width: every skip is an identity.
    codes = np.array([arch.code for arch in archs], dtype=np.uint8)
    params = SPACE.closed_form("params", dataset, codes)
    flops = SPACE.closed_form("flops", dataset, codes)

    for arch, millions, macs in zip(archs, params, flops, strict=True):
        net = built(arch, task.n_classes)
        assert n_params(net) == round(millions * 1e6)
        assert n_macs(net, 3, task.image_size) + task.n_classes == round(macs * 1e6)


def test_the_cell_is_the_one_that_the_space_names():
    text = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+"
    text += "|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|"

    assert TopologySpace().parse(text).code == SIZE_CELL


def test_a_cell_that_changes_the_width_by_hand():
    cell = Cell(SIZE_CELL, 6, n_in=4).eval()
    x = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))

    one = cell.ops[0](x)
    two = cell.ops[1](x) + cell.ops[2](one)
    three = cell.ops[3](x) + cell.ops[4](one) + cell.ops[5](two)

    assert torch.equal(three, cell(x))
    assert three.shape == (2, 6, 8, 8)


def test_logits_of_a_network_in_which_every_width_differs():
    arch = SPACE.parse("8:16:24:40:32")
    torch.manual_seed(0)
    net = SizeNetwork(arch, n_classes=7, n_in=1)
    x = torch.randn(3, 1, 12, 12)

    assert net(x).shape == (3, 7)
    net.eval()
    assert torch.equal(net(x), net(x))
