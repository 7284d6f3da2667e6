"""The closed-form costs of DARTS networks are those of networks made of torch's own layers."""

import numpy as np
import pytest

from harness import space

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

DARTS = space("darts")
OTHERS = ["darts-no-none", "darts-s1", "darts-s2", "darts-s3", "darts-s4"]


def one_by_one(n_in, n_out):
    return nn.Sequential(nn.ReLU(), nn.Conv2d(n_in, n_out, 1, bias=False), nn.BatchNorm2d(n_out))


class FactorizedReduce(nn.Module):
    """Half the channels from the image, half from the image that is moved by one pixel."""

    def __init__(self, n_in, n_out):
        super().__init__()
        self.even = nn.Conv2d(n_in, n_out // 2, 1, stride=2, bias=False)
        self.odd = nn.Conv2d(n_in, n_out - n_out // 2, 1, stride=2, bias=False)
        self.norm = nn.BatchNorm2d(n_out)

    def forward(self, x):
        x = x.relu()
        return self.norm(torch.cat([self.even(x), self.odd(x[:, :, 1:, 1:])], 1))


class Noise(nn.Module):
    def __init__(self, stride):
        super().__init__()
        self.stride = stride

    def forward(self, x):
        return torch.randn_like(x[:, :, :: self.stride, :: self.stride])


def separable(width, kernel, stride, dilation):
    """Depthwise, then pointwise; the padding keeps the side up to the stride."""
    padding = dilation * (kernel - 1) // 2
    depthwise = nn.Conv2d(width, width, kernel, stride, padding, dilation, groups=width, bias=False)
    pointwise = nn.Conv2d(width, width, 1, bias=False)
    return nn.Sequential(nn.ReLU(), depthwise, pointwise, nn.BatchNorm2d(width))


def operation(name, width, stride):
    match name.split("_"):
        case ["noise"]:
            return Noise(stride)
        case ["skip", _]:
            return nn.Identity() if stride == 1 else FactorizedReduce(width, width)
        case ["max", *_]:
            return nn.MaxPool2d(3, stride, 1)
        case ["avg", *_]:
            return nn.AvgPool2d(3, stride, 1, count_include_pad=False)
        case ["dil", _, size]:
            return separable(width, int(size[0]), stride, 2)
        case ["sep", _, size]:
            return nn.Sequential(*(separable(width, int(size[0]), s, 1) for s in (stride, 1)))
    raise ValueError(name)


class Cell(nn.Module):
    def __init__(self, pairs, n_before, n_last, width, *, halves, after_halving):
        super().__init__()
        self.before = (FactorizedReduce if after_halving else one_by_one)(n_before, width)
        self.last = one_by_one(n_last, width)
        self.sources = [source for _, source in pairs]
        self.ops = nn.ModuleList(
            operation(name, width, 2 if halves and source in (0, 1) else 1)
            for name, source in pairs
        )

    def forward(self, before, last):
        nodes = [self.before(before), self.last(last)]
        for first in (0, 2, 4, 6):
            one, two = (self.ops[i](nodes[self.sources[i]]) for i in (first, first + 1))
            nodes.append(one + two)
        return torch.cat(nodes[2:], 1)


class Network(nn.Module):
    """The stand-alone network of Liu et al., ICLR 2019, for CIFAR-10; the head is never called."""

    def __init__(self, genotype, channels, n_cells, n_classes=10):
        super().__init__()
        before = last = 3 * channels
        self.stem = nn.Sequential(
            nn.Conv2d(3, last, 3, padding=1, bias=False), nn.BatchNorm2d(last)
        )
        self.cells = nn.ModuleList()
        width, after_halving = channels, False
        for position in range(n_cells):
            halves = position == n_cells // 3 or position == 2 * n_cells // 3
            width = 2 * width if halves else width
            pairs = genotype.reduce if halves else genotype.normal
            self.cells.append(
                Cell(pairs, before, last, width, halves=halves, after_halving=after_halving)
            )
            before, last, after_halving = last, 4 * width, halves
            if position == 2 * n_cells // 3:
                self.head = auxiliary_head(last, n_classes)
        self.classifier = nn.Linear(last, n_classes)

    def forward(self, images):
        before = last = self.stem(images)
        for cell in self.cells:
            before, last = last, cell(before, last)
        return self.classifier(last.mean((2, 3)))


def auxiliary_head(n_in, n_classes):
    return nn.Sequential(
        *(nn.ReLU(), nn.AvgPool2d(5, 3, count_include_pad=False)),
        *(nn.Conv2d(n_in, 128, 1, bias=False), nn.BatchNorm2d(128), nn.ReLU()),
        *(nn.Conv2d(128, 768, 2, bias=False), nn.BatchNorm2d(768), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(768, n_classes)),
    )


def built(arch, of_space=DARTS, **network):
    """Without memory for its parameters."""
    with torch.device("meta"):
        return Network(of_space.genotype(arch), **network)


def n_params(module):
    return sum(parameter.numel() for parameter in module.parameters())


def n_macs(net, side):
    """torch's own counter leaves out the classifier's bias."""
    images = torch.zeros(1, 3, side, side, device="meta")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net.eval()(images)
    return counter.get_total_flops() // 2 + net.classifier.out_features


def sampled(of_space, n, seed):
    rng = np.random.default_rng(seed)
    return [of_space.sample(rng) for _ in range(n)]


def counts(cost, archs, of_space=DARTS, **network):
    codes = np.array([arch.code for arch in archs], dtype=np.uint8)
    return np.rint(of_space.network_cost(cost, codes, **network) * 1e6).astype(int).tolist()


def test_the_published_network_has_the_published_size():
    """As quark0/darts prints it for DARTS_V2: whether the network above is the right one."""
    genotype = (
        "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0),"
        " ('sep_conv_3x3', 1), ('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0),"
        " ('dil_conv_3x3', 2)], normal_concat=[2, 3, 4, 5], reduce=[('max_pool_3x3', 0),"
        " ('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 1), ('max_pool_3x3', 0),"
        " ('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)],"
        " reduce_concat=[2, 3, 4, 5])"
    )
    net = built(DARTS.parse(genotype), channels=36, n_cells=20)

    assert n_params(net) - n_params(net.head) == 3_349_342


@pytest.mark.parametrize(
    ("n_cells", "n_archs"), [(1, 5), (2, 5), (3, 5), (4, 5), (5, 20), (6, 20), (7, 20), (8, 20)]
)
def test_params(n_cells, n_archs):
    """With one or two cells the first is a reduction; with one it is both reductions in one."""
    archs = sampled(DARTS, n_archs, seed=n_cells)
    network = {"channels": 4, "n_cells": n_cells}
    nets = [built(arch, **network) for arch in archs]
    with_head = [n_params(net) for net in nets]
    without = [n_params(net) - n_params(net.head) for net in nets]

    assert with_head == counts("params", archs, auxiliary=True, **network)
    assert without == counts("params", archs, **network)


@pytest.mark.parametrize(("n_cells", "side"), [(1, 8), (2, 8), (3, 8), (5, 16), (8, 32)])
def test_multiply_adds(n_cells, side):
    archs = sampled(DARTS, 5, seed=n_cells)
    network = {"channels": 4, "n_cells": n_cells, "n_classes": 7}
    expected = [n_macs(built(arch, **network), side) for arch in archs]

    assert expected == counts("flops", archs, image_size=side, **network)


@pytest.mark.parametrize("name", OTHERS)
def test_both_in_the_other_spaces(name):
    archs = sampled(space(name), 3, seed=0)
    network = {"channels": 3, "n_cells": 5}  # An odd width doubles before it is halved.
    nets = [built(arch, space(name), **network) for arch in archs]
    params = [n_params(net) - n_params(net.head) for net in nets]

    assert params == counts("params", archs, space(name), **network)
    assert [n_macs(net, 32) for net in nets] == counts("flops", archs, space(name), **network)
