"""The NB201 network: parameters and multiply-adds by torch's own count, cells by hand."""

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from harness.arch import Arch
from harness.spaces.nb201 import TASKS, ImageTask, TopologySpace, network_cost
from protocols.nets.nb201 import Cell, Network, live_edges

SPACE = TopologySpace()
NONE, SKIP, CONV1, CONV3, POOL = range(5)


def n_convs(codes):
    return np.stack([(codes == CONV1).sum(axis=1), (codes == CONV3).sum(axis=1)], axis=1)


def one_cell_per_count():
    """Codes of 28 cells, one for every pair of numbers of 1x1 and 3x3 convolutions."""
    _, first = np.unique(n_convs(SPACE.codes), axis=0, return_index=True)
    return SPACE.codes[first]


def n_params(net):
    return sum(p.numel() for p in net.parameters())


def n_macs(net, n_in, side):
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        device = next(net.parameters()).device
        net.eval()(torch.zeros(1, n_in, side, side, device=device))
    return counter.get_total_flops() / 2


@pytest.mark.parametrize("dataset", TASKS)
def test_the_benchmarks_network_has_the_closed_forms_cost(dataset):
    task, codes = TASKS[dataset], one_cell_per_count()
    params = SPACE.closed_form("params", dataset, codes)
    flops = SPACE.closed_form("flops", dataset, codes)

    assert len(codes) == 28
    for code, expected, macs in zip(codes.tolist(), params, flops, strict=True):
        net = Network(Arch("nb201", tuple(code)), n_classes=task.n_classes)
        assert n_params(net) == round(expected * 1e6)
        if (
            dataset == "ImageNet16-120" or code == codes[0].tolist()
        ):  # 32 x 32 takes 4 times as long.
            # NATS adds the classifier's bias.
            assert n_macs(net, 3, task.image_size) + task.n_classes == round(macs * 1e6)


def test_a_cell_has_the_parameters_of_its_convolutions_wherever_they_are():
    """With the test above: the closed form holds for all 15,625 cells."""
    drawn = np.random.default_rng(0).choice(SPACE.size, 500, replace=False)
    for code in SPACE.codes[drawn].tolist():
        expected = code.count(CONV1) * (16 * 16 + 32) + code.count(CONV3) * (9 * 16 * 16 + 32)
        assert n_params(Cell(tuple(code), 16)) == expected


@pytest.mark.slow
def test_all_cells_have_the_closed_forms_parameters():
    expected = SPACE.closed_form("params", "cifar10", SPACE.codes)
    for code, params in zip(SPACE.codes.tolist(), expected, strict=True):
        with torch.device("meta"):
            net = Network(Arch("nb201", tuple(code)), n_classes=10)
        assert n_params(net) == round(params * 1e6)


def test_the_closed_form_holds_at_another_width_depth_and_input():
    task = ImageTask(7, 12, 1)
    for code in one_cell_per_count()[::5]:
        net = Network(Arch("nb201", tuple(code)), n_classes=7, channels=6, n_cells=2, n_in=1)
        costs = [
            network_cost(cost, code[np.newaxis], task, channels=(6, 12, 24), n_cells=2)[0]
            for cost in ("params", "flops")
        ]
        assert n_params(net) == round(costs[0] * 1e6)
        assert n_macs(net, 1, 12) + 7 == round(costs[1] * 1e6)


def images(channels=4):
    return torch.randn(3, channels, 8, 8, generator=torch.Generator().manual_seed(0))


def test_skips_add_up_once_for_every_path():
    x = images()

    assert torch.equal(Cell((SKIP,) * 6, 4)(x), 4 * x)  # 0-3, 0-1-3, 0-2-3 and 0-1-2-3.


def test_a_cell_without_a_path_gives_zeros_and_its_network_still_learns():
    x = images()
    cut = (SKIP, SKIP, SKIP, NONE, NONE, NONE)

    for only_live in (False, True):
        assert torch.equal(Cell(cut, 4, only_live=only_live)(x), torch.zeros_like(x))
    net = Network(Arch("nb201", cut), n_classes=10, channels=4, n_cells=1, only_live=True)
    net(torch.randn(2, 3, 8, 8)).sum().backward()
    assert net.classifier.bias.grad is not None


def test_average_pooling_does_not_count_the_border():
    ones = torch.ones(1, 4, 8, 8)
    only_pool = (NONE, NONE, NONE, POOL, NONE, NONE)

    assert torch.allclose(Cell(only_pool, 4)(ones), ones)


def test_a_convolution_is_relu_convolution_norm():
    torch.manual_seed(0)
    cell = Cell((NONE, NONE, NONE, CONV3, NONE, NONE), 4).eval()
    x, weight = images(), cell.ops[3].conv.weight

    expected = torch.conv2d(x.clamp(min=0), weight, padding=1) / (1 + 1e-5) ** 0.5

    assert torch.allclose(cell(x), expected, atol=1e-6)


def test_live_edges_by_hand():
    #        1<-0  2<-0  2<-1  3<-0  3<-1  3<-2
    assert live_edges((CONV3, CONV3, CONV3, CONV3, CONV3, CONV3)) == [0, 1, 2, 3, 4, 5]
    assert live_edges((NONE, CONV3, CONV3, NONE, CONV3, CONV3)) == [1, 5]
    assert live_edges((CONV3, CONV3, CONV3, SKIP, CONV3, NONE)) == [0, 3, 4]
    assert live_edges((CONV3, CONV3, CONV3, NONE, NONE, NONE)) == []


def test_leaving_out_dead_edges_changes_no_output():
    rng = np.random.default_rng(1)
    x = torch.randn(2, 3, 16, 16)
    for code in SPACE.codes[rng.choice(SPACE.size, 40, replace=False)].tolist():
        nets = []
        for only_live in (False, True):
            torch.manual_seed(3)
            nets.append(
                Network(Arch("nb201", tuple(code)), n_classes=5, channels=4, only_live=only_live)
            )
        whole, live = (net.eval()(x) for net in nets)
        assert torch.allclose(whole, live, atol=1e-5)
