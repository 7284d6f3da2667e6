"""Supernets against stand-alone networks, published sizes, finite differences and by hand."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from harness.arch import Arch
from harness.errors import InvalidSpec, UnknownName
from harness.spaces import space
from harness.spaces.darts import EDGE_INDEX, EDGES, DartsSpace
from harness.spaces.nb201 import TASKS, network_cost
from protocols.nets import darts, nb101, nb201
from protocols.nets.darts_supernet import DartsSupernet
from protocols.nets.mix import (
    Dropout,
    Fixed,
    Mix,
    MixedOp,
    Supernet,
    learned,
    one_hot_mix,
    path_mix,
    path_of,
    raw_mix,
    softmax_mix,
    uniform,
)
from protocols.nets.nb201_supernet import MixedCell as NB201Cell
from protocols.nets.oneshot1_supernet import MixedCell as OneShotCell
from protocols.nets.ops import Zero, darts_op
from protocols.nets.supernets import has_supernet, supernet

SPACES = (
    "nb201",
    "darts",
    "darts-no-none",
    "darts-s1",
    "darts-s2",
    "darts-s3",
    "darts-s4",
    "oneshot1-1",
    "oneshot1-2",
    "oneshot1-3",
)
DETERMINISTIC = tuple(name for name in SPACES if name != "darts-s4")  # S4 draws noise.
TINY = {
    "nb201": {"channels": 4, "n_cells": 1},
    "darts": {"channels": 4, "n_cells": 3},
    "oneshot1": {"channels": 4, "n_cells": 3},
}
N_CLASSES = 5


def tiny(name: str, seed: int = 0, **settings) -> Supernet:
    torch.manual_seed(seed)
    settings = {**TINY[name.partition("-")[0]], **settings}
    return supernet(name, n_classes=N_CLASSES, **settings).double()


def images(n: int = 6, side: int = 8, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, 3, side, side, generator=generator, dtype=torch.float64)


def drawn(name: str, seed: int = 0) -> Arch:
    return space(name).sample(np.random.default_rng(seed))


def random_alphas(name: str, seed: int = 0) -> dict[str, list[Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    return {
        group.name: [
            torch.randn(len(row), generator=generator, dtype=torch.float64) for row in group.options
        ]
        for group in learned(space(name))
    }


def n_params(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def n_macs(net: nn.Module, x: Tensor) -> float:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(x)
    return counter.get_total_flops() / 2


# Sizes


@pytest.mark.parametrize(
    ("expected", "settings"),
    [
        # "param size" that FreeDARTS' notebooks print, in millions: their SynFlow search with 8
        # and with 20 cells, and the one on ImageNet. quark0/darts prints the first one too.
        (1.930618, {"n_classes": 10}),
        (4.548730, {"n_classes": 10, "n_cells": 20}),
        (25.512016, {"n_classes": 1000, "n_cells": 14, "channels": 48, "stem": "imagenet"}),
    ],
)
def test_the_darts_supernet_has_the_printed_number_of_parameters(expected, settings):
    with torch.device("meta"):
        net = supernet("darts", **settings)

    assert round(expected * 1e6) == n_params(net)


@pytest.mark.parametrize("dataset", TASKS)
def test_the_nb201_supernet_has_the_parameters_of_all_its_convolutions(dataset):
    """The closed form of a cell with conv3 on all edges, and of one with conv1, less what is twice.

    It counts a scale and a shift for every channel of a convolution, which searched cells lack.
    """
    task = TASKS[dataset]
    codes = np.array([[3] * 6, [2] * 6, [0] * 6], dtype=np.uint8)
    conv3, conv1, fixed = network_cost("params", codes, task) * 1e6
    norms = 6 * 2 * 2 * 5 * (16 + 32 + 64)  # edges, convolutions, scale and shift, cells, channels

    with torch.device("meta"):
        net = supernet("nb201", n_classes=task.n_classes)

    assert round(conv3 + conv1 - fixed) - norms == n_params(net)


def test_the_oneshot1_supernet_has_the_parameters_counted_by_hand():
    """Space 3 at C = 2: five blocks of conv3 and conv1, all with scale and shift."""

    def conv(kernel: int, n_in: int, n_out: int) -> int:
        return kernel**2 * n_in * n_out + 2 * n_out

    def cell(n_in: int, width: int) -> int:
        blocks = 5 * (conv(3, width, width) + conv(1, width, width))
        return blocks + 5 * conv(1, n_in, width) + conv(1, n_in, 5 * width)

    cells = cell(2, 2) + 2 * cell(10, 2) + cell(10, 4) + 2 * cell(20, 4) + cell(20, 8)
    cells += 2 * cell(40, 8)
    expected = conv(3, 3, 2) + cells + 40 * 8 + 8 * 7 + 7

    assert expected == n_params(supernet("oneshot1-3", n_classes=7, channels=2))


def test_oneshot1_sides_are_odd_with_the_repositorys_padding():
    sides: list[int] = []

    for padding in (1, 0):
        net = tiny("oneshot1-1", pool_padding=padding)
        for cell in net.cells:
            cell.register_forward_hook(lambda *call: sides.append(call[2].shape[-1]))
        net(images(2, side=32), uniform(net.space))

    assert sides == [32, 17, 9, 32, 16, 8]


# A supernet under one architecture is the stand-alone network of it


def without_affine(net: nn.Module) -> nn.Module:
    """The network with batch norms that neither scale nor shift, whose values were 1 and 0."""
    for norm in net.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.weight, norm.bias = None, None
            norm.affine = False
    return net


def copied(target: nn.Module, source: nn.Module) -> None:
    target.load_state_dict(source.state_dict())


def nb201_network(net: Supernet, arch: Arch) -> nn.Module:
    """The stand-alone network with the supernet's weights."""
    own = nb201.Network(arch, n_classes=N_CLASSES, channels=4, n_cells=2).double()
    own.blocks.apply(without_affine)
    copied(own.stem, net.stem)
    copied(own.norm, net.norm)
    copied(own.classifier, net.classifier)
    # A cell, a cell, a residual block and so on.
    for position, block in enumerate(own.blocks):
        stage, place = divmod(position + 1, 3)
        if place == 0:
            copied(block, without_affine(net.reductions[stage]))
            continue
        cell = net.cells[2 * stage + place - 1]
        for op, edge, option in zip(block.ops, cell.edges, arch.code, strict=True):
            copied(op, edge.ops[option])
    return own


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("training", [True, False])
def test_the_nb201_supernet_at_one_cell_is_the_network_of_that_cell(seed, training):
    arch, x = drawn("nb201", seed), images()
    net = tiny("nb201", n_cells=2)
    net(images(seed=1), uniform(net.space, dtype=torch.float64))  # Moves the running averages.
    own = nb201_network(net, arch).train(training)
    net.train(training)

    expected = own(x)

    assert torch.allclose(expected, net(x, one_hot_mix(net.space, arch)))
    assert torch.allclose(expected, net(x, path_mix(net.space, arch)))


def darts_network(net: Supernet, arch: Arch) -> nn.Module:
    own = darts.Network(arch, n_classes=N_CLASSES, channels=4, n_cells=3).double()
    own.cells.apply(without_affine)
    copied(own.stem, net.stem)
    copied(own.classifier, net.classifier)
    genotype = space(arch.space).genotype(arch)
    for place, (block, cell) in enumerate(zip(own.cells, net.cells, strict=True)):
        copied(block.before, cell.before)
        copied(block.last, cell.last)
        pairs = genotype.reduce if place in (1, 2) else genotype.normal
        options = net.space.groups[place in (1, 2)].options
        for position, (op, (name, source)) in enumerate(zip(block.ops, pairs, strict=True)):
            edge = EDGE_INDEX[position // 2 + 2, source]
            mixed = cell.edges[edge].ops[options[edge].index(name)]
            # Only the supernet has a batch norm after pooling; it is left out on both sides.
            if "pool" not in name:
                copied(op, mixed)
    return own


def drop_pool_norms(net: Supernet) -> None:
    for mixed in net.modules():
        if isinstance(mixed, MixedOp):
            for op in mixed.ops:
                if isinstance(op, nn.Sequential):
                    op[1] = nn.Identity()


@pytest.mark.parametrize("name", ["darts", "darts-no-none", "darts-s1", "darts-s3"])
@pytest.mark.parametrize("seed", range(3))
def test_the_darts_supernet_at_one_pair_of_cells_is_their_network(name, seed):
    arch, x = drawn(name, seed), images()
    net = tiny(name)
    drop_pool_norms(net)

    expected = darts_network(net, arch)(x)

    assert torch.allclose(expected, net(x, one_hot_mix(net.space, arch)))
    assert torch.allclose(expected, net(x, path_mix(net.space, arch)))


def test_a_oneshot1_cell_at_one_architecture_is_the_nb101_module():
    # Space 2, where the output takes 3: all four blocks cannot feed it, so three do and the fourth
    # is a parent. The cell's own output keeps the fourth's channels, at 0.
    of_space = space("oneshot1-2")
    arch = of_space.parse(
        "conv3x3-bn-relu<0|conv1x1-bn-relu<1|maxpool3x3<0,2|conv3x3-bn-relu<1,2|output<2,3,4"
    )
    torch.manual_seed(0)
    cell = OneShotCell(6, 4, 4, momentum=0.1, eps=1e-5).double()
    x = torch.randn(3, 6, 8, 8, dtype=torch.float64)
    matrix, ops = nb101._pruned(of_space.nb101(arch))
    own = nb101.Module(matrix, ops, 6, 12).double()
    for op, block, option in zip(own.ops, cell.blocks, arch.code, strict=False):
        copied(op, block.ops[option])
    for vertex in (1, 3):
        copied(own.projections[str(vertex)], cell.projections[vertex - 1])
    expected = own(x)
    mix = path_mix(of_space, arch)
    ops_terms = mix.terms(of_space.groups[0])
    parents = [[(0, None)], [(1, None)], *(mix.terms(group)[0] for group in of_space.groups[2:])]

    output = cell(x, ops_terms, parents)

    assert [group.name for group in of_space.groups] == [
        "op",
        "parents_2",
        "parents_3",
        "parents_4",
        "parents_output",
    ]
    assert torch.equal(output[:, :4], torch.zeros(3, 4, 8, 8))
    assert torch.allclose(expected, output[:, 4:])


# Mixes


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_a_single_path_equals_one_hot_weights(name):
    net, x = tiny(name), images()
    for seed in range(3):
        arch = drawn(name, seed)
        assert torch.allclose(
            net(x, one_hot_mix(net.space, arch)), net(x, path_mix(net.space, arch))
        )


@pytest.mark.parametrize("name", SPACES)
def test_a_single_path_computes_one_operation_a_row(name):
    net, arch = tiny(name), drawn(name)
    called: list[nn.Module] = []
    for mixed in net.modules():
        if isinstance(mixed, MixedOp):
            for op in mixed.ops:
                op.register_forward_hook(lambda module, *_: called.append(module))
    taken = [row for rows in path_of(net.space, arch).values() for row in rows]

    net(images(), path_mix(net.space, arch))

    assert all(len(row) == take for row, (_, take) in zip(taken, net.space.rows, strict=True))
    assert len(called) == len(set(called))
    n_mixed = sum(isinstance(module, MixedOp) for module in net.modules())
    # 8 of the 14 edges of a DARTS cell are inputs; nb201's zeros and unneeded blocks cost nothing.
    assert len(called) <= n_mixed
    if name.startswith("darts"):
        assert len(called) == 8 * len(net.cells)


def test_a_single_path_costs_what_the_network_costs():
    arch = space("nb201").parse(
        "|nor_conv_3x3~0|+|none~0|nor_conv_1x1~1|+|skip_connect~0|none~1|avg_pool_3x3~2|"
    )
    net = tiny("nb201").float()
    own = nb201.Network(arch, n_classes=N_CLASSES, channels=4, n_cells=1)
    x = images().float()

    assert n_macs(own, x) == n_macs(Fixed(net, path_mix(net.space, arch)), x)


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_gradients_of_the_weights_match_finite_differences(name):
    net, x = tiny(name), images(4)
    alphas = random_alphas(name)
    target = torch.arange(4) % N_CLASSES

    def loss(mix: Mix) -> Tensor:
        return F.cross_entropy(net(x, mix), target)

    flat = [row.requires_grad_() for rows in alphas.values() for row in rows]
    gradients = torch.autograd.grad(loss(raw_mix(alphas)), flat, materialize_grads=True)
    rng = np.random.default_rng(0)
    with torch.no_grad():
        for i in rng.choice(len(flat), 4, replace=False):
            for option in range(len(flat[i])):
                ends = []
                for step in (1e-6, -2e-6):
                    flat[i][option] += step
                    ends.append(loss(raw_mix(alphas)).item())
                flat[i][option] += 1e-6
                expected = (ends[0] - ends[1]) / 2e-6
                assert gradients[i][option].item() == pytest.approx(expected, rel=1e-3, abs=1e-7)


def test_a_path_passes_gradients_to_the_weights_of_what_it_computes():
    """As straight-through estimators need: with hard weights the path's gradient is the whole's."""
    net, x, arch = tiny("nb201"), images(), drawn("nb201", 3)
    path = path_of(net.space, arch)
    hard = one_hot_mix(net.space, arch, dtype=torch.float64).weights["op"]
    rows = [row.requires_grad_() for row in hard]

    whole, single = (
        torch.autograd.grad(net(x, mix).square().sum(), rows, materialize_grads=True)
        for mix in (Mix({"op": rows}), Mix({"op": rows}, path))
    )

    for of_whole, of_path, (option,) in zip(whole, single, path["op"], strict=True):
        expected = torch.zeros(5, dtype=torch.float64)
        expected[option] = of_whole[option]
        assert torch.allclose(expected, of_path)
    assert any((row != 0).any() for row in single)


def test_rows_of_s1_keep_their_own_operations():
    net = tiny("darts-s1")
    rows = {(EDGES[i]): names for i, names in enumerate(net.space.groups[0].options)}

    kinds = [[type(op).__name__ for op in edge.ops] for edge in net.cells[0].edges]

    assert rows[(2, 0)] == ("skip_connect", "dil_conv_3x3")
    assert kinds[0] == ["Identity", "DilConv"]
    assert kinds[EDGE_INDEX[4, 0]] == ["Sequential", "Identity"]  # max pooling with batch norm
    assert kinds[EDGE_INDEX[5, 4]] == ["DilConv", "DilConv"]


def test_rows_may_have_different_lengths():
    """A space whose first edge has three candidates and whose others have one."""
    uneven = DartsSpace(
        "darts-uneven",
        (("none", "skip_connect", "sep_conv_3x3"), *[("skip_connect",)] * 13),
        (("skip_connect", "max_pool_3x3"), *[("dil_conv_3x3",)] * 13),
    )
    torch.manual_seed(0)
    net = DartsSupernet(uneven, n_classes=3, channels=2, n_cells=3).double()
    arch = uneven.discretise([np.eye(14, 3), np.eye(14, 2)])

    shapes = [tuple(row.shape) for row in uniform(uneven).weights["op_normal"]]

    assert shapes == [(3,), *[(1,)] * 13]
    x = images()
    assert torch.allclose(net(x, one_hot_mix(uneven, arch)), net(x, path_mix(uneven, arch)))


def test_the_path_of_the_inputs_drops_edges():
    net, x = tiny("darts-no-none"), images()
    alphas = random_alphas("darts-no-none")
    kept = {"inputs_normal_3": [(0, 2)], "inputs_reduce_5": [(1, 4)]}
    dropped = {"op_normal": [(3, 1)], "op_reduce": [(5, 0), (5, 2), (5, 3)]}
    zeroed = {name: [row.clone() for row in rows] for name, rows in alphas.items()}
    for name, edges in dropped.items():
        for edge in edges:
            zeroed[name][EDGE_INDEX[edge]].zero_()
    expected = net(x, raw_mix(zeroed))

    assert torch.allclose(expected, net(x, raw_mix(alphas, kept)))


@pytest.mark.parametrize("name", SPACES)
def test_no_value_is_read_on_the_host(name):
    """On torch's meta device values do not exist, so whatever asked for one would fail."""
    with torch.device("meta"):
        net = supernet(name, n_classes=N_CLASSES, **TINY[name.partition("-")[0]])
        rows = {
            group.name: [torch.zeros(len(row), requires_grad=True) for row in group.options]
            for group in learned(net.space)
        }
        x = torch.zeros(2, 3, 16, 16)
        for mix in (softmax_mix(rows), raw_mix(rows, path_of(net.space, drawn(name)))):
            net(x, mix).sum().backward()

    assert all(row.grad is not None for held in rows.values() for row in held if len(row) > 1)


def test_an_option_off_the_path_counts_zero():
    net, x = tiny("nb201"), images()
    alphas = random_alphas("nb201")
    path = {"op": [(1, 2, 3), (0,), (), (0, 1, 2, 3, 4), (3,), (4, 2)]}
    zeroed = [
        torch.stack([value if i in taken else value * 0 for i, value in enumerate(row)])
        for row, taken in zip(alphas["op"], path["op"], strict=True)
    ]
    expected = net(x, raw_mix({"op": zeroed}))

    assert torch.allclose(expected, net(x, raw_mix(alphas, path)))


def test_a_block_that_nothing_takes_is_not_computed():
    of_space = space("oneshot1-1")
    arch = of_space.parse(
        "conv3x3-bn-relu<0|conv1x1-bn-relu<0,1|maxpool3x3<0,1|conv3x3-bn-relu<1,2|output<0,4"
    )
    net = tiny("oneshot1-1")
    called = []
    for cell in net.cells:
        cell.blocks[2].ops[0].register_forward_hook(lambda *call: called.append(call))

    net(images(), path_mix(of_space, arch))  # Block 3 feeds neither block 4 nor the output.
    assert not called
    net(images(), uniform(of_space))
    assert len(called) == len(net.cells)


def test_uniform_weights_add_up_to_one_over_what_is_left():
    path = {"op": [(1, 3), (0,), (2, 3, 4), (0, 1, 2, 3, 4), (), (4,)]}

    weights = uniform(space("nb201"), path).weights["op"]
    softmax = softmax_mix({"op": [torch.zeros(5)] * 6}).weights["op"]

    expected = [1 / 2, 1, 1 / 3, 1 / 5, 1, 1]
    assert expected == pytest.approx([row[0].item() for row in weights])
    assert torch.allclose(softmax[0], uniform(space("nb201")).weights["op"][0])


def test_dropout_is_of_identities_alone_and_keeps_their_mean():
    mixed = MixedOp([nn.Identity(), nn.Tanh()])
    x, half = torch.ones(100, 1, 10, 10), torch.tensor(0.5)
    drop = Dropout(0.25, seed=1).on(x.device)

    skip, tanh = mixed(x, [(0, None)], drop), mixed(x, [(1, half)], drop)

    assert skip.unique().tolist() == pytest.approx([0.0, 4 / 3])
    # Four deviations of a share of 10,000.
    assert (skip == 0).double().mean().item() == pytest.approx(0.25, abs=0.0174)
    assert torch.equal(tanh, 0.5 * x.tanh())
    assert not torch.equal(skip, mixed(x, [(0, None)], drop))  # Another edge.


def test_skips_that_halve_are_not_dropped():
    op = darts_op("skip_connect", 4, 2)
    mixed = MixedOp([op], stride=2)
    x = images(2)[:, :1].expand(-1, 4, -1, -1).float()
    drop = Dropout(0.9, seed=0).on(x.device)

    assert torch.equal(mixed(x, [(0, None)], drop), op(x))


@pytest.mark.parametrize("name", ["nb201", "darts"])
def test_passes_under_one_mix_drop_the_same(name):
    net, x = tiny(name, track_running_stats=False), images()
    mix = uniform(net.space, dtype=torch.float64)
    first, again, other = (
        net(x, replace(mix, skip_dropout=Dropout(0.5, seed), wide=wide))
        for seed, wide in ((0, False), (0, True), (1, False))
    )

    assert torch.equal(first, again)
    assert not torch.allclose(first, other)
    assert not torch.allclose(first, net(x, mix))
    assert torch.allclose(net(x, mix), net(x, replace(mix, skip_dropout=Dropout(0.0, 0))))


def test_none_is_zero_and_so_is_its_gradient():
    mixed = MixedOp([Zero(), nn.Identity()])
    weight = torch.tensor([2.0, 3.0], requires_grad=True)
    x = torch.full((1, 1, 2, 2), float("inf"))
    finite = torch.ones(1, 1, 2, 2)

    assert mixed(x, [(0, weight[0])]) is None
    out = mixed(finite, list(enumerate(weight.unbind())))
    assert torch.equal(out, 3 * finite)
    (gradient,) = torch.autograd.grad(out.sum(), weight)
    assert torch.equal(gradient, torch.tensor([0.0, 4.0]))


def test_a_cell_without_a_path_gives_zeros():
    cell = NB201Cell(4, affine=False, track_running_stats=True).double()
    x = images()[:, :1].expand(-1, 4, -1, -1)
    nothing = Mix(path={"op": [(0,)] * 6}).terms(space("nb201").groups[0])

    assert torch.equal(cell(x, nothing), torch.zeros_like(x))


def test_a_mix_that_does_not_fit_is_refused():
    net, x = tiny("nb201"), images()
    with pytest.raises(InvalidSpec, match="shapes"):
        net(x, Mix({"op": [torch.ones(4, dtype=torch.float64)] * 6}))
    with pytest.raises(InvalidSpec, match="path of op"):
        net(x, Mix(path={"op": [(5,)] * 6}))


def test_a_supernet_is_named_by_its_space():
    with pytest.raises(InvalidSpec, match="no supernet of nb201-size"):
        supernet("nb201-size", n_classes=2)
    with pytest.raises(UnknownName, match="setting of nb201's supernet"):
        supernet("nb201", n_classes=2, chanels=4)
    assert has_supernet("darts-s4")
    assert not has_supernet("nb101")


def test_without_running_statistics_evaluation_uses_the_batch():
    net, x = tiny("nb201", track_running_stats=False), images()
    mix = path_mix(net.space, drawn("nb201", 1))
    cell = net.cells[0]
    terms = mix.terms(net.space.groups[0])
    inside = torch.randn(3, 4, 8, 8, dtype=torch.float64)
    expected = cell.train()(inside, terms)

    assert torch.equal(expected, cell.eval()(inside, terms))
    assert net(x, mix).shape == (6, N_CLASSES)


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("tracked", [False, True])
@pytest.mark.parametrize("dropped", [None, (0, 3), (3, 1)])
def test_edges_computed_together_are_the_edges_one_by_one(affine, tracked, dropped):
    settings = {"channels": 4, "n_cells": 1, "affine": affine, "track_running_stats": tracked}
    torch.manual_seed(0)
    net = supernet("nb201", n_classes=5, **settings).double()
    images = torch.randn(6, 3, 8, 8, dtype=torch.float64)
    alphas = [torch.randn(5, dtype=torch.float64, requires_grad=True) for _ in range(6)]
    path = None
    if dropped is not None:
        edge, option = dropped
        options = [tuple(range(5))] * 6
        options[edge] = tuple(i for i in range(5) if i != option)
        path = {"op": options}

    found = {}
    for wide in (False, True):
        one = copy.deepcopy(net)
        for training in (True, False):
            one.train(training)
            mix = replace(softmax_mix({"op": alphas}, path), wide=wide)
            loss = one(images, mix).pow(2).sum()
            slopes = torch.autograd.grad(
                loss, [*alphas, *one.parameters()], create_graph=True, allow_unused=True
            )
            curve = torch.autograd.grad(
                sum(s.pow(2).sum() for s in slopes[:6]), alphas, allow_unused=True
            )
            found.setdefault(wide, []).extend([loss, *slopes, *curve, *one.buffers()])

    for expected, value in zip(found[False], found[True], strict=True):
        assert (expected is None) == (value is None)
        if expected is not None:
            assert torch.allclose(expected.double(), value.double(), rtol=1e-9, atol=1e-9)
