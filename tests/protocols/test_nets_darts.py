"""The DARTS networks: published sizes, the space's closed form, cells written out by hand."""

import numpy as np
import pytest
import torch
from test_nets import n_macs, n_params
from torch import nn

from harness import space
from harness.arch import Arch
from harness.errors import InvalidArch, InvalidSpec, UnknownName
from harness.spaces.darts import NODES, Genotype
from protocols.nets.darts import IMAGENET, NB301, Cell, Network
from protocols.nets.ops import DropPath, FactorizedReduce

NAMES = ["darts", "darts-no-none", "darts-s1", "darts-s2", "darts-s3", "darts-s4"]
DARTS = space("darts")
DARTS_V2 = DARTS.parse(
    "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0),"
    " ('sep_conv_3x3', 1), ('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0),"
    " ('dil_conv_3x3', 2)], normal_concat=[2, 3, 4, 5], reduce=[('max_pool_3x3', 0),"
    " ('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 1), ('max_pool_3x3', 0),"
    " ('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)],"
    " reduce_concat=[2, 3, 4, 5])"
)
PDARTS = DARTS.parse(
    "Genotype(normal=[('skip_connect', 0), ('dil_conv_3x3', 1), ('skip_connect', 0),"
    " ('sep_conv_3x3', 1), ('sep_conv_3x3', 1), ('sep_conv_3x3', 3), ('sep_conv_3x3', 0),"
    " ('dil_conv_5x5', 4)], normal_concat=range(2, 6), reduce=[('avg_pool_3x3', 0),"
    " ('sep_conv_5x5', 1), ('sep_conv_3x3', 0), ('dil_conv_5x5', 2), ('max_pool_3x3', 0),"
    " ('dil_conv_3x3', 1), ('dil_conv_3x3', 1), ('dil_conv_5x5', 3)],"
    " reduce_concat=range(2, 6))"
)
SOURCES = (0, 1, 0, 2, 1, 3, 2, 4)


def sampled(name, n, seed):
    rng = np.random.default_rng(seed)
    return [space(name).sample(rng) for _ in range(n)]


def of_one_op(op):
    """Both cells of one operation."""
    pairs = [(op, source) for source in SOURCES]
    return DARTS.of_genotype(Genotype(pairs, NODES, pairs, NODES))


def built(arch, n_classes=10, **settings):
    with torch.device("meta"):
        return Network(arch, n_classes=n_classes, **settings)


def images(n=2, channels=3, side=8):
    return torch.randn(n, channels, side, side, generator=torch.Generator().manual_seed(0))


# Sizes


def test_published_sizes_on_cifar10():
    """DARTS_V2: train.py of quark0/darts; PDARTS: issue 7 of chenxin061/pdarts. See the space."""
    assert n_params(built(DARTS_V2)) == 3_349_342
    assert n_params(built(PDARTS)) == 3_433_798
    assert n_params(built(PDARTS, auxiliary=True)) == 3_910_224


@pytest.mark.parametrize(("arch", "millions"), [(DARTS_V2, 4.7), (PDARTS, 4.9)])
def test_published_sizes_on_imagenet(arch, millions):
    """Liu et al., ICLR 2019, table 3; Chen et al., ICCV 2019 (P-DARTS), table 3."""
    assert round(n_params(built(arch, n_classes=1000, **IMAGENET)) / 1e6, 1) == millions


SETTINGS = [
    {"channels": 36, "n_cells": 20},
    NB301,
    {"channels": 4, "n_cells": 1, "n_classes": 3},
    {"channels": 5, "n_cells": 5, "n_classes": 100},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda s: "-".join(map(str, s.values())))
@pytest.mark.parametrize("name", NAMES)
def test_the_network_costs_what_the_closed_form_says(name, settings):
    archs = sampled(name, 1 if settings["n_cells"] == 20 else 3, seed=3)
    codes = np.array([arch.code for arch in archs], dtype=np.uint8)

    def closed_form(cost, **more):
        return np.rint(space(name).network_cost(cost, codes, **settings, **more) * 1e6).tolist()

    nets = [built(arch, **settings) for arch in archs]
    with_head = [built(arch, auxiliary=True, **settings) for arch in archs]

    assert closed_form("params") == [n_params(net) for net in nets]
    assert closed_form("params", auxiliary=True) == [n_params(net) for net in with_head]
    n_classes = settings.get("n_classes", 10)  # The closed form counts the classifier's bias.
    assert closed_form("flops") == [n_macs(net, 3, 32) + n_classes for net in with_head]


def test_costs_of_an_imagenet_network_by_hand():
    """Three cells of pooling, with 4, 8 and 16 channels a node; images of side 64.

    The stem's sides are 32, 16 and 8; its outputs of sides 16 and 8 are the first cell's inputs.
    """
    net = built(
        of_one_op("max_pool_3x3"), channels=4, n_cells=3, auxiliary=True, skeleton="imagenet"
    )
    stem = [9 * 3 * 2, 9 * 2 * 4, 9 * 4 * 4]
    inputs = [2 * 4 * 4, (4 + 16) * 8, (16 + 32) * 16]
    classifier = 64 * 10
    norms = 2 * (2 + 4 + 4 + 2 * (4 + 8 + 16))
    head = 64 * 128 + 2 * 128 + 4 * 128 * 768 + 768 * 10 + 10  # No second batch norm.
    macs = stem[0] * 32**2 + stem[1] * 16**2 + (stem[2] + inputs[0] + inputs[1]) * 8**2
    macs += inputs[2] * 4**2 + classifier

    assert sum(stem) + sum(inputs) + norms + classifier + 10 + head == n_params(net)
    assert macs == n_macs(net, 3, 64)


# Cells


def cell(op, *, halves=False, after_halving=False, probability=0.0, width=4):
    torch.manual_seed(0)
    pairs = [(op, source) for source in SOURCES]
    drop_path = DropPath(probability)
    return Cell(pairs, 6, 5, width, drop_path, halves=halves, after_halving=after_halving)


def test_a_cell_of_skips_adds_its_inputs_up():
    skips = cell("skip_connect").eval()
    before, last = images(channels=6), images(channels=5)
    zero, one = skips.before(before), skips.last(last)

    # Node 2 is 0 + 1, node 3 is 0 + 2, node 4 is 1 + 3, node 5 is 2 + 4.
    two = zero + one
    three = zero + two
    four = one + three
    expected = torch.cat([two, three, four, two + four], dim=1)

    assert torch.equal(expected, skips(before, last))


def test_only_operations_on_a_reduction_cells_inputs_halve_the_side():
    strided = [getattr(op, "stride", 1) == 2 for op in cell("max_pool_3x3", halves=True).ops]
    skips = [type(op) for op in cell("skip_connect", halves=True).ops]

    assert [source < 2 for source in SOURCES] == strided
    assert [nn.Identity if s >= 2 else FactorizedReduce for s in SOURCES] == skips


def test_the_older_input_of_a_cell_after_a_reduction_is_halved():
    after = cell("skip_connect", after_halving=True)

    assert after(images(channels=6, side=16), images(channels=5)).shape == (2, 16, 8, 8)


def test_what_a_cell_drops_is_made_up_for_in_the_mean():
    """Average pooling is linear, so the mean of the nodes is what they are without dropping."""
    torch.manual_seed(0)
    n = 6_000
    before, last = images(1, 6, 4).expand(n, -1, -1, -1), images(1, 5, 4).expand(n, -1, -1, -1)
    dropping, whole = (cell("avg_pool_3x3", probability=p, width=2).train() for p in (0.25, 0.0))
    with torch.no_grad():
        out, expected = dropping(before, last), whole(before, last)[0]

    errors = out.std(dim=0) / n**0.5
    assert ((out.mean(dim=0) - expected).abs() <= 6 * errors).all()
    assert (errors > 0).any()


def test_identities_are_never_dropped():
    """At this probability most of 64 paths would be."""
    dropping, whole = (cell("skip_connect", probability=p).train() for p in (0.9, 0.0))
    inputs = images(8, 6), images(8, 5)

    assert torch.equal(whole(*inputs), dropping(*inputs))


# Networks


@pytest.mark.parametrize("skeleton", ["cifar", "imagenet"])
@pytest.mark.parametrize("name", NAMES)
def test_logits(name, skeleton):
    side = {"cifar": 8, "imagenet": 64}[skeleton]
    for arch in sampled(name, 2, seed=1):
        torch.manual_seed(0)
        net = Network(arch, n_classes=7, channels=4, n_cells=3, n_in=1, skeleton=skeleton)
        net.drop_path.probability = 0.3
        x = images(channels=1, side=side)

        assert net(x).shape == (2, 7)
        net.eval()
        if "noise" not in space(name).format(arch):
            assert torch.equal(net(x), net(x))


def test_noise_is_drawn_in_evaluation_too():
    pairs = [("noise", source) for source in SOURCES]
    arch = space("darts-s4").of_genotype(Genotype(pairs, NODES, pairs, NODES))
    net = Network(arch, n_classes=7, channels=4, n_cells=3)

    assert not torch.equal(net.eval()(images()), net(images()))


def test_the_drop_path_probability_reaches_every_cell():
    net = built(DARTS_V2)
    net.drop_path.probability = 0.2

    assert [0.2] * 20 == [cell.drop_path.probability for cell in net.cells]
    assert sum(isinstance(module, DropPath) for module in net.modules()) == 1


def test_the_head_reads_the_cell_at_two_thirds_and_leaves_the_logits_alone():
    torch.manual_seed(0)
    net = Network(DARTS_V2, n_classes=7, channels=4, n_cells=5, auxiliary=True).eval()
    x = images(side=32)
    outputs = []
    net.cells[3].register_forward_hook(lambda module, inputs, output: outputs.append(output))

    logits, auxiliary = net.with_auxiliary(x)

    assert [tuple(found.shape) for found in (logits, auxiliary)] == [(2, 7)] * 2
    assert torch.equal(net.head(outputs[0]), auxiliary)
    assert torch.equal(net(x), logits)


def test_the_heads_of_both_skeletons_fit_their_own_images():
    for settings, side in (({"channels": 36}, 32), (IMAGENET, 224)):
        net = built(DARTS_V2, auxiliary=True, **settings).eval()
        shapes = []
        net.head.layers.register_forward_hook(lambda m, x, out, into=shapes: into.append(out.shape))
        net.with_auxiliary(torch.zeros(1, 3, side, side, device="meta"))
        assert shapes == [(1, 768, 1, 1)]


def test_what_cannot_be_built_is_refused():
    with pytest.raises(InvalidArch, match="no pair of DARTS cells"):
        built(Arch("nb201", (0,) * 6))
    with pytest.raises(UnknownName, match="Did you mean cifar"):
        built(DARTS_V2, skeleton="cifar10")
    with pytest.raises(InvalidSpec, match="0 cells"):
        built(DARTS_V2, n_cells=0)
    with pytest.raises(InvalidSpec, match="no auxiliary head"):
        built(DARTS_V2).with_auxiliary(images())


def test_every_parameter_of_a_network_with_head_gets_a_gradient():
    torch.manual_seed(0)
    net = Network(of_one_op("sep_conv_3x3"), n_classes=3, channels=2, n_cells=3, auxiliary=True)
    logits, auxiliary = net.with_auxiliary(images(side=32))
    (logits.sum() + 0.4 * auxiliary.sum()).backward()

    assert [name for name, p in net.named_parameters() if p.grad is None] == []
