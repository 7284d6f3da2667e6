"""Supernet methods against their formulas by other means."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.special import digamma, gammaln
from supernets_for_tests import Linear, linear_search, tiny_search
from torch import nn
from torch.func import functional_call, grad, hessian

from harness import registry
from harness.errors import InvalidSpec
from harness.spaces import space
from protocols.left import Left, Place
from protocols.methods.balenas import BaLeNas
from protocols.methods.darts import Darts
from protocols.methods.drnas import DrNas, concentration, divergence
from protocols.methods.enas import Controller, Enas
from protocols.methods.fairnas import fair_paths
from protocols.methods.gdas import Gdas
from protocols.methods.pc_darts import PcDarts, nodes_of
from protocols.methods.pdarts import PDarts
from protocols.methods.random_nas import RandomNas
from protocols.methods.sdarts_rs import SdartsRs, normalised
from protocols.methods.sgas import Sgas, certainty, scaled
from protocols.nets.mix import Mix, MixedOp, learned, softmax_mix
from protocols.nets.ops import darts_op
from protocols.nets.supernets import supernet
from protocols.options import configured
from protocols.search.hypergradients import second_order
from protocols.search.inner_steps import InnerSteps
from protocols.search.learnt import draw_categorical, most_probable
from protocols.search.method import ARCH, EVALUATION, WEIGHTS, Moment
from protocols.search.mixing import dirichlet
from protocols.search.stages import hand_over
from protocols.search.unrolled import Unrolled
from protocols.selectors.argmax import Argmax


def first_pair(search):
    return next(search.batches.pairs(0))


def flat(tensors):
    return torch.cat([tensor.detach().reshape(-1) for tensor in tensors])


# Gradients.


def flat_loss(search):
    """Of one batch, as a function of all weights and all parameters in one vector each."""
    names, shapes = zip(*((n, w.shape) for n, w in search.weights.items()), strict=True)
    sizes = [shape.numel() for shape in shapes]

    net = Linear().double()

    def loss(weights, alphas, batch):
        named = {
            name: part.view(shape)
            for name, part, shape in zip(names, weights.split(sizes), shapes, strict=True)
        }
        rows = iter(alphas.split([len(row) for row in search.rows]))
        by = {g.name: [next(rows) for _ in g.options] for g in learned(search.space)}
        logits = functional_call(net, named, (batch.images.double(), softmax_mix(by)))
        return F.cross_entropy(logits, batch.labels)

    return loss


def momentum_of(search):
    states = search.weight_optimiser.state
    return flat(
        states.get(weight, {}).get("momentum_buffer", torch.zeros_like(weight))
        for weight in search.weights.values()
    ).double()


def by_hessian(search, pair, alphas):
    """The gradient of DARTS' second order in double precision, and its direct term alone."""
    weights, recipe, lr = flat(search.weights.values()).double(), search.recipe, search.lr
    loss = flat_loss(search)
    step = grad(loss)(weights, alphas, pair.train) + recipe.weight_decay * weights
    ahead = weights - lr * (step + recipe.momentum * momentum_of(search))
    along, direct = grad(loss, argnums=(0, 1))(ahead, alphas, pair.valid)
    mixed = hessian(loss, argnums=(0, 1))(weights, alphas, pair.train)[0][1]
    return direct - lr * along @ mixed, direct


def share_off(expected, found, without):
    """How far off it is, as a share of how far off it would be without the term in question."""
    return ((found.double() - expected).norm() / (without - expected).norm()).item()


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_second_order_is_the_explicit_hessian_product(momentum, exact):
    search = linear_search(Darts(), lr=3.0, lr_min=3.0, momentum=momentum, weight_decay=0.02)
    pair = first_pair(search)
    if momentum:
        search.step_weights(pair.train, [search.mix(WEIGHTS)])
    expected, direct = by_hessian(search, pair, flat(search.rows).double())

    found = flat(second_order(search, pair, search.mixer(ARCH), search.rows, exact=exact))

    assert share_off(expected, found, direct) < 1e-3


@pytest.mark.parametrize("exact", [True, False])
def test_second_order_of_a_quadratic_supernet_in_closed_form(exact):
    search = linear_search(Darts(), lr=0.3, lr_min=0.3, momentum=0.0, weight_decay=0.02)
    search.net.double()
    pair, rng = first_pair(search), torch.Generator().manual_seed(0)
    rows = [row.detach().double().requires_grad_() for row in search.rows]
    w, a = flat(search.weights.values()), flat(rows)
    (train, cross), (valid, valid_cross) = (
        (square + square.T, torch.randn(len(w), len(a), generator=rng, dtype=w.dtype))
        for square in torch.randn(2, len(w), len(w), generator=rng, dtype=w.dtype) / len(w)
    )

    def quadratic(batch, mix, *, phase, weights):
        """w'Hw / 2 + w'Ja, with matrices of their own for either batch."""
        held, of_mix = (torch.cat([v.reshape(-1) for v in vs]) for vs in (weights.values(), mix))
        curve, slope = (train, cross) if batch is pair.train else (valid, valid_cross)
        return held @ curve @ held / 2 + held @ slope @ of_mix

    search.loss = quadratic
    found = flat(second_order(search, pair, lambda: rows, rows, exact=exact))

    ahead = w - 0.3 * (train @ w + cross @ a + 0.02 * w)
    direct = valid_cross.T @ ahead
    expected = direct - 0.3 * cross.T @ (valid @ ahead + valid_cross @ a)
    # A difference of two gradients that are linear in w has no error but that of rounding.
    assert share_off(expected, found, direct) < 1e-9


def test_second_order_passes_count_and_leave_the_weights_alone():
    search = linear_search(Darts(order=2))
    pair, before = first_pair(search), flat(search.weights.values())

    search.method.arch_step(search, pair)

    assert torch.equal(before, flat(search.weights.values()))
    assert search.counts.image_passes == 4 * len(pair.train)  # Ahead, valid, and either side.


def test_sotl_of_one_step_is_first_order_on_the_training_batch():
    sotl, darts = linear_search(Unrolled(steps=1)), linear_search(Darts())
    pair = first_pair(sotl)

    sotl.method.round(sotl, [pair])
    darts.method.round(darts, [pair._replace(valid=pair.train)])

    assert torch.allclose(flat(darts.rows), flat(sotl.rows))
    for name, weight in darts.weights.items():
        assert torch.allclose(weight, sotl.weights[name], atol=1e-7)


def test_sovl_of_one_step_is_first_order():
    sovl, darts = linear_search(Unrolled(summed="valid", steps=1)), linear_search(Darts())
    pair = first_pair(sovl)

    sovl.method.round(sovl, [pair])
    darts.method.round(darts, [pair])

    assert torch.allclose(flat(darts.rows), flat(sovl.rows))
    for name, weight in darts.weights.items():
        assert torch.allclose(weight, sovl.weights[name], atol=1e-7)


@pytest.mark.parametrize("summed", ["train", "valid"])
def test_the_direct_gradients_are_summed_along_the_look_ahead(summed):
    search = linear_search(Unrolled(summed=summed, steps=3), lr=0.4, clip=0.0, weight_decay=0.02)
    pairs = [pair for pair, _ in zip(search.batches.pairs(0), range(3), strict=False)]
    weights, alphas = (flat(held).double() for held in (search.weights.values(), search.rows))
    loss, momentum, slopes = flat_loss(search), torch.zeros_like(weights), []
    for pair in pairs:
        slopes.append(grad(loss, argnums=1)(weights, alphas, getattr(pair, summed)))
        along = grad(loss)(weights, alphas, pair.train)
        momentum = 0.9 * momentum + along + 0.02 * weights
        weights = weights - 0.4 * momentum
    seen = []
    search.step_arch = seen.append

    search.method.round(search, pairs)

    expected = torch.stack(slopes).sum(dim=0)
    assert share_off(expected, flat(seen[0]), without=slopes[-1]) < 1e-5


@pytest.mark.parametrize("momentum", ["restore", "leak"])
def test_the_look_ahead_leaves_no_trace_but_leaked_momentum(momentum):
    search = linear_search(Unrolled(steps=2, momentum=momentum), lr=0.4, arch_lr=0.0)
    plain = linear_search(Darts(), lr=0.4, arch_lr=0.0)
    pairs = [pair for pair, _ in zip(search.batches.pairs(0), range(2), strict=False)]

    search.method.round(search, pairs)
    for pair in pairs:
        plain.method.weight_step(plain, pair.train)

    same = torch.allclose(flat(plain.weights.values()), flat(search.weights.values()), atol=1e-7)
    assert same == (momentum == "restore")


def test_the_second_pass_of_sotl_draws_the_same_noise():
    search = linear_search(Unrolled(inner="gdas", steps=2), arch_lr=0.0)
    pairs = [pair for pair, _ in zip(search.batches.pairs(0), range(2), strict=False)]

    search.method.round(search, pairs)
    taken = search.net.taken
    search.net.taken = []
    replace(search.method, noise="fresh").round(search, pairs)

    assert taken[:2] == taken[2:]
    assert search.net.taken[:2] != search.net.taken[2:]


@pytest.mark.parametrize("nesterov", [False, True])
def test_the_exact_gradient_of_sotl_is_that_of_trainings_side_by_side(nesterov):
    search = linear_search(
        Unrolled(exact=True), lr=0.3, lr_min=0.3, clip=0.0, weight_decay=0.02, nesterov=nesterov
    )
    pairs = [pair for pair, _ in zip(search.batches.pairs(0), range(3), strict=False)]
    start = {name: weight.detach().double() for name, weight in search.weights.items()}

    def summed(alphas):
        """Three steps of torch's own optimiser in double precision."""
        net = Linear().double()
        net.load_state_dict(start)
        optimiser = torch.optim.SGD(
            net.parameters(), lr=0.3, momentum=0.9, weight_decay=0.02, nesterov=nesterov
        )
        total = 0.0
        for pair in pairs:
            mix = softmax_mix({"op": list(alphas.split(5))})
            loss = F.cross_entropy(net(pair.train.images.double(), mix), pair.train.labels)
            total += loss.item()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        return total

    alphas = flat(search.rows).double()
    seen = []
    search.step_arch = seen.append
    search.method.round(search, pairs)
    found = flat(seen[0]).double()

    for i in (0, 7, 13, 29):
        step = 1e-5 * torch.eye(30, dtype=torch.float64)[i]
        expected = (summed(alphas + step) - summed(alphas - step)) / 2e-5
        assert found[i].item() == pytest.approx(expected, rel=5e-3, abs=1e-6)


# Mixtures.


@pytest.mark.parametrize("name", ["nb201", "oneshot1-3", "darts"])
def test_gdas_computes_its_single_path(name):
    search = tiny_search(name, Gdas())
    mix = search.mixer(ARCH)()
    batch = first_pair(search).train
    rows_of_one = [group.name for group in learned(search.space) if group.name.startswith("op")]
    search.net.eval()

    with torch.no_grad():
        weightless = {n: rows for n, rows in mix.weights.items() if n not in rows_of_one}
        soft = {n for n in mix.weights if n not in rows_of_one}
        assert {n for n in mix.path} == {n for n in mix.weights if n not in soft}
        expected = search.net(batch.images, Mix(weightless, mix.path))
        found = search.net(batch.images, mix)

    assert torch.allclose(expected, found, atol=1e-5)
    for name_ in rows_of_one:
        assert all(len(taken) == 1 for taken in mix.path[name_])


def test_every_option_of_gdas_gets_a_gradient_on_nasbench201():
    search = tiny_search("nb201", Gdas())
    mix = search.mixer(ARCH)()
    loss = search.loss(first_pair(search).valid, mix, phase=ARCH)

    for slope in search.arch_gradient(loss):
        assert (slope != 0).all()
    idle = torch.stack(list(mix.idle["op"])).detach()
    assert torch.equal(idle, torch.zeros(6))


def test_gdas_has_the_gradient_of_its_relaxation():
    search = linear_search(Gdas())
    at = Moment(ARCH, 0, 2)
    mix = search.method.mix(search, search.alphas, at, np.random.default_rng(3))
    (chosen,) = mix.path["op"][0]
    found = torch.autograd.grad(mix.weights["op"][0][chosen], search.alphas["op"][0])[0]

    row = search.alphas["op"][0].detach().double().requires_grad_()
    noise = torch.as_tensor(np.random.default_rng(3).gumbel(size=5))
    soft = ((row.log_softmax(0) + noise) / 10.0).softmax(0)
    expected = torch.autograd.grad(soft[chosen], row)[0]

    assert chosen == int(soft.argmax())
    assert torch.allclose(expected, found.double(), atol=1e-6)


def test_temperatures_lie_on_a_line():
    at = [Moment(WEIGHTS, epoch, 5).between(10.0, 0.1) for epoch in range(7)]

    assert at == pytest.approx([10.0, 7.525, 5.05, 2.575, 0.1, 0.1, 0.1])


def test_dirichlet_draws_have_the_mean_of_their_concentrations():
    row = torch.tensor([1.0, 2.0, 5.0])
    rng = np.random.default_rng(0)
    drawn = torch.stack([dirichlet({"op": [row]}, rng)["op"][0] for _ in range(4000)])

    assert torch.allclose(drawn.mean(0), row / 8, atol=0.01)
    assert torch.allclose(drawn.sum(1), torch.ones(4000), atol=1e-5)


def test_the_gradient_through_dirichlet_draws_is_that_of_their_mean():
    row = torch.tensor([1.0, 2.0, 5.0], requires_grad=True)
    rng = np.random.default_rng(0)
    drawn = torch.stack([dirichlet({"op": [row]}, rng)["op"][0] for _ in range(20000)])
    found = torch.autograd.grad(drawn.mean(0)[0], row)[0]

    # d (a_0 / sum a) / da, by hand.
    assert torch.allclose(torch.tensor([7 / 64, -1 / 64, -1 / 64]), found, atol=0.01)


def test_dirichlet_draws_of_some_options_are_those_of_a_row_without_the_others():
    row = torch.tensor([1.0, 4.0, 2.0, 5.0], requires_grad=True)
    short = torch.tensor([1.0, 2.0, 5.0], requires_grad=True)
    path = {"op": [(0, 2, 3)]}

    (found,) = dirichlet({"op": [row]}, np.random.default_rng(0), path)["op"]
    (expected,) = dirichlet({"op": [short]}, np.random.default_rng(0))["op"]

    slopes = (
        torch.autograd.grad(draw[0], held) for draw, held in ((found, row), (expected, short))
    )
    (whole,), (of_short,) = slopes
    for some, all_of_them in ((expected, found), (of_short, whole)):
        assert torch.equal(some, all_of_them[[0, 2, 3]])
        assert all_of_them[1] == 0
    assert (of_short != 0).all()


def test_drnas_concentrations_and_divergence_by_hand():
    rows = [torch.tensor([0.0, 0.5, -0.5]), torch.tensor([1.0, -2.0, 0.3, 0.0])]
    held = [np.array([1.0, 1.5, np.exp(-0.5)]), np.array([2.0, np.exp(-2.0), 1.3, 1.0])]
    # ln B(1, ..., 1) - ln B(c) + sum (c - 1) E[ln x], where ln B(1, ..., 1) = -ln Gamma(K).
    expected = sum(
        gammaln(c.sum())
        - gammaln(c).sum()
        - gammaln(len(c))
        + (c - 1) @ (digamma(c) - digamma(c.sum()))
        for c in held
    )

    for row, c in zip(rows, held, strict=True):
        assert concentration(row).tolist() == pytest.approx(c.tolist())
    assert divergence([torch.zeros(4)]).item() == pytest.approx(0.0, abs=1e-6)
    assert divergence(rows).item() == pytest.approx(expected, rel=1e-5)


def test_the_divergence_pulls_drnas_to_the_uniform_distribution():
    search = linear_search(DrNas(kl=1e3), arch_lr=0.1, arch_weight_decay=0.0, epochs=4)
    with torch.no_grad():
        for row in search.rows:
            row.copy_(torch.linspace(-1, 2, len(row)))
    before = divergence(search.rows).item()

    search.run()

    assert divergence(search.rows).item() < before / 10


def test_sdarts_rs_moves_no_weight_further_than_its_reach():
    search = linear_search(SdartsRs())
    plain = search.mix(ARCH).weights["op"]

    for epoch, reach in ((0, 0.03), (1, 0.165)):
        at = Moment(WEIGHTS, epoch, 2)
        mix = search.method.mix(search, search.alphas, at, np.random.default_rng(0))
        for row, still in zip(mix.weights["op"], plain, strict=True):
            assert row.sum().item() == pytest.approx(1.0, abs=1e-5)
            # Renormalising moves a weight once more, by at most as much in all.
            assert (row - still).abs().max().item() < 2.2 * reach
    assert any(
        not torch.allclose(row, still) for row, still in zip(mix.weights["op"], plain, strict=True)
    )


def test_a_row_that_is_disturbed_to_nothing_keeps_its_largest():
    assert normalised(torch.tensor([-0.2, -0.1, -0.3])).tolist() == [0.0, 1.0, 0.0]
    assert normalised(torch.tensor([0.5, -0.1, 1.5])).tolist() == pytest.approx([1 / 3, 0, 2 / 3])


@pytest.mark.parametrize("name", ["nb201", "darts"])
def test_fair_paths_use_every_option_of_every_row_once(name):
    of_space = space(name)
    paths = fair_paths(of_space, np.random.default_rng(0))

    for group in learned(of_space):
        for row, options in enumerate(group.options):
            used = sorted(path[group.name][row][0] for path in paths)
            assert used == list(range(len(options)))
    for group in of_space.groups:
        if not group.learned:
            assert all(path[group.name] == paths[0][group.name] for path in paths)


def test_a_fair_step_is_one_step_by_the_mean_of_the_losses():
    search = linear_search(registry.get("method", "fairnas").offer, clip=0.0, weight_decay=0.0)
    batch, before = first_pair(search).train, flat(search.weights.values())
    drawn = search.noise_state
    paths = fair_paths(search.space, search.method_rng())
    search.noise_state = drawn
    losses = [
        F.cross_entropy(search.net(batch.images, Mix(path=path)), batch.labels) for path in paths
    ]
    mean = torch.autograd.grad(
        torch.stack(losses).mean(), list(search.weights.values()), materialize_grads=True
    )

    search.method.weight_step(search, batch)

    assert len(paths) == 5
    assert search.counts.weight_steps == 1
    assert torch.allclose(before - search.lr * flat(mean), flat(search.weights.values()), atol=1e-6)


def test_multipath_averages_over_its_paths():
    search = linear_search(registry.get("method", "multipath").offer, clip=0.0, weight_decay=0.0)
    batch, before = first_pair(search).train, flat(search.weights.values())
    drawn = search.noise_state
    mixes = [search.mix(WEIGHTS) for _ in range(4)]
    search.noise_state = drawn
    losses = [F.cross_entropy(search.net(batch.images, mix), batch.labels) for mix in mixes]
    mean = torch.autograd.grad(
        torch.stack(losses).mean(), list(search.weights.values()), materialize_grads=True
    )

    search.method.weight_step(search, batch)

    assert torch.allclose(before - search.lr * flat(mean), flat(search.weights.values()), atol=1e-6)
    assert search.counts.image_passes == 4 * len(batch)


# Inner loops.


def test_reptile_of_one_inner_step_is_a_shorter_step():
    plain, reptile = (
        linear_search(method, lr=0.4, momentum=0.0)
        for method in (RandomNas(), InnerSteps(n_inner=1, outer=0.25))
    )
    batch, before = first_pair(plain).train, flat(plain.weights.values())

    for search in (plain, reptile):
        search.method.weight_step(search, batch)

    moved = flat(plain.weights.values()) - before
    assert moved.abs().max() > 0
    assert torch.allclose(before + 0.25 * moved, flat(reptile.weights.values()), atol=1e-7)


def test_metaprox_without_a_penalty_is_reptile_and_with_one_goes_less_far():
    way = []
    reptile, metaprox = (registry.get("method", n).offer for n in ("reptile", "metaprox"))
    for method in (reptile, replace(metaprox, proximal=0.0), replace(metaprox, proximal=5.0)):
        search = linear_search(method, lr=0.1, clip=0.0, momentum=0.0)
        before = flat(search.weights.values())
        search.method.weight_step(search, first_pair(search).train)
        way.append(flat(search.weights.values()) - before)

    one, free, held = way
    assert torch.equal(one, free)
    assert held.norm() < one.norm()


def test_the_penalty_of_metaprox_by_hand():
    search = linear_search(
        InnerSteps(n_inner=2, proximal=3.0), lr=0.1, clip=0.0, momentum=0.0, weight_decay=0.0
    )
    batch = first_pair(search).train
    start = {name: w.detach().clone() for name, w in search.weights.items()}
    noise = search.noise_state
    mix = search.mix(WEIGHTS)
    search.noise_state = noise
    expected = dict(start)
    for _ in range(2):
        leaves = {name: w.clone().requires_grad_() for name, w in expected.items()}
        logits = functional_call(search.net, leaves, (batch.images, mix))
        slopes = torch.autograd.grad(
            F.cross_entropy(logits, batch.labels), list(leaves.values()), materialize_grads=True
        )
        expected = {
            name: w - 0.1 * (g + 3.0 * (w - start[name]))
            for (name, w), g in zip(expected.items(), slopes, strict=True)
        }

    search.method.weight_step(search, batch)

    for name, weight in search.weights.items():
        assert torch.allclose(expected[name], weight, atol=1e-6)


# BaLeNAS.


def scripted(method, gradients):
    """A search whose draws have these gradients, one list of numbers a draw."""
    search = linear_search(method, arch_lr=0.1, arch_beta1=0.5, arch_beta2=0.9)
    left = iter(gradients)
    sizes = [len(row) for row in search.rows]
    object.__setattr__(
        method, "_slopes", lambda search, pair: list(torch.tensor(next(left)).split(sizes))
    )
    return search


def test_two_steps_of_vadam_by_hand():
    search = linear_search(BaLeNas())
    n = sum(len(row) for row in search.rows)
    rng = np.random.default_rng(0)
    draws = rng.normal(size=(4, n)).astype(np.float32)
    search = scripted(BaLeNas(samples=2, decay=0.01), draws.tolist())
    mean = flat(search.rows).double().numpy()

    for _ in range(2):
        search.method.arch_step(search, None)

    m = s = 0.0
    for step, pair in enumerate((draws[:2], draws[2:]), start=1):
        m = 0.5 * m + 0.5 * (pair.mean(0) + 0.01 * mean)
        s = 0.9 * s + 0.1 * (pair**2).mean(0)
        mean = mean - 0.1 * (m / (1 - 0.5**step)) / (np.sqrt(s / (1 - 0.9**step)) + 0.01)
    assert np.allclose(mean, flat(search.rows).numpy(), atol=1e-5)
    spread = flat(search.method.deviations(search)).numpy()
    assert np.allclose(1 / np.sqrt(32 * (s + 0.01)), spread, rtol=1e-5)


@pytest.mark.parametrize("order", [1, 2])
def test_the_gradients_of_balenas_are_those_at_its_draws(order):
    search = linear_search(
        BaLeNas(order=order, decay=0.02, n_data=20), lr=3.0, lr_min=3.0, momentum=0.0
    )
    pair = first_pair(search)
    search.memory["scale"] = [torch.linspace(0.0, 0.1, 5) for _ in search.rows]
    mean, scale = (flat(held).double() for held in (search.rows, search.memory["scale"]))
    before, rng = search.noise_state, search.method_rng()
    search.noise_state = before
    noise = torch.as_tensor(np.concatenate([rng.standard_normal(5) for _ in range(6)]))

    def slope(alphas):
        if order == 2:
            return by_hessian(search, pair, alphas)[0]
        weights = flat(search.weights.values()).double()
        return grad(flat_loss(search), argnums=1)(weights, alphas, pair.valid)

    found = flat(search.method._slopes(search, pair))

    expected = slope(mean + noise / (20 * (scale + 0.02)).sqrt())
    assert share_off(expected, found, without=slope(mean)) < 1e-4


def test_without_samples_the_gradient_of_balenas_is_that_at_its_mean():
    search = linear_search(BaLeNas(samples=0), lr=3.0, lr_min=3.0, momentum=0.0)
    pair, before = first_pair(search), search.counts.image_passes
    weights, mean = (flat(h).double() for h in (search.weights.values(), search.rows))
    expected = grad(flat_loss(search), argnums=1)(weights, mean, pair.valid)
    search.method.arch_step(search, pair)

    scale = flat(search.memory["scale"]).double()
    assert torch.allclose(scale, (1 - search.recipe.arch_beta2) * expected.square(), rtol=1e-4)
    assert search.counts.image_passes - before == len(pair.valid.labels)


def test_two_steps_of_the_printed_equations_by_hand():
    search = linear_search(BaLeNas())
    n = sum(len(row) for row in search.rows)
    draws = np.random.default_rng(0).normal(size=(2, n)).astype(np.float32)
    search = scripted(BaLeNas(decay=0.01, printed=True), draws.tolist())
    mean = before = flat(search.rows).double().numpy()

    for _ in range(2):
        search.method.arch_step(search, None)

    s = np.zeros(n)
    for g in draws:
        old, s = s + 0.01, 0.9 * s + 0.1 * g**2
        step = -0.1 * (g + 0.01 * mean) / (s + 0.01) + 0.5 * old / (s + 0.01) * (mean - before)
        mean, before = mean + step, mean
    assert np.allclose(mean, flat(search.rows).numpy(), rtol=1e-4, atol=1e-5)


def test_the_first_draws_of_balenas_have_the_spread_of_the_prior():
    search = linear_search(BaLeNas(decay=1e-3, n_data=25_000))

    assert flat(search.method.deviations(search)).tolist() == pytest.approx([0.2] * 30)
    archs = search.method.draw(search, np.random.default_rng(0), 200)
    assert len(set(archs)) > 150


def test_draws_follow_the_softmax_of_the_parameters():
    search = linear_search(Gdas())
    with torch.no_grad():
        search.rows[0].copy_(torch.tensor([0.0, 1.0, 2.0, -1.0, 0.5]))
    archs = draw_categorical(search, np.random.default_rng(0), 4000)
    counts = np.bincount([arch.code[0] for arch in archs], minlength=5) / 4000
    expected = search.rows[0].detach().softmax(0).numpy()

    assert np.allclose(expected, counts, atol=0.03)


# Decisions on the way, and controllers.


def test_edges_of_darts_cells_are_compared_by_their_softmax():
    search = tiny_search("darts", Darts())
    with torch.no_grad():
        for row in search.rows:
            row.zero_()
        # Of node 5's five inputs two have large parameters throughout, and no preference.
        for edge in (9, 10):
            search.alphas["op_normal"][edge].fill_(5.0)
        for edge, option in ((11, 4), (12, 5)):
            search.alphas["op_normal"][edge][option] = 1.0

    genotype = search.space.genotype(search.arch())

    assert sorted(source for _, source in genotype.normal[6:]) == [2, 3]


def test_sgas_decides_the_surest_of_the_important_edges():
    search = linear_search(Sgas(first=0, every=1), epochs=8)
    with torch.no_grad():
        for edge, row in enumerate(search.rows):
            row.copy_(torch.tensor([1.0 - edge, 0.0, 0.0, 0.0, 0.0]))
        search.rows[2][3] = 3.0  # Important and sure.
        search.rows[5][0] = 9.0  # Sure to be none, which is not important.

    search.method.end_epoch(search)

    (undecided,) = [{place.row for place in search.left.undecided()}]
    assert undecided == {0, 1, 3, 4, 5}
    assert search.left.options(Place(0, 2)) == [3]
    assert search.arch().code[2] == 3


def sgas_of_parameters(**options):
    """SGAS that has decided its first edge, by parameters that favour the first option."""
    search = linear_search(Sgas(first=0, every=1, **options), epochs=8)
    with torch.no_grad():
        for edge, row in enumerate(search.rows):
            row.copy_(torch.tensor([0.0, 2.0 + edge, 0.0, 0.0, 0.0]))
    asked = []

    def accuracy(mix, n_batches=None):
        taken = mix.taken(search.space.groups[0])
        asked.append((taken, n_batches))
        return 90.0 if all(3 in row for row in taken) else 80.0  # The supernet misses option 3.

    search.accuracy = accuracy
    search.method.end_epoch(search)
    (decided,) = {Place(0, row) for row in range(6)} - set(search.left.undecided())
    return search, decided, asked


def test_sgas_may_keep_what_the_supernet_misses_most_on_the_edge_that_it_takes_anyway():
    by_magnitude, first, _ = sgas_of_parameters()
    search, decided, asked = sgas_of_parameters(criterion="accuracy", n_batches=2)

    assert decided == first
    assert by_magnitude.left.options(first) == [1]
    assert search.left.options(first) == [3]
    # Each of the four operations besides none was left out once, alone.
    gone = [
        (row, set(range(5)) - set(taken[row]))
        for taken, _ in asked
        for row in range(6)
        if len(taken[row]) < 5
    ]
    assert gone == [(first.row, {option}) for option in (1, 2, 3, 4)]
    assert {n_batches for _, n_batches in asked} == {2}


def test_certainty_and_scaling_by_hand():
    assert certainty(np.array([1.0, 1.0])) == pytest.approx(0.0)
    assert certainty(np.array([3.0, 1.0])) == pytest.approx(
        1 + (0.75 * np.log(0.75) + 0.25 * np.log(0.25)) / np.log(2)
    )
    assert scaled([1.0, 3.0, 2.0]).tolist() == [0.0, 1.0, 0.5]
    assert scaled([2.0, 2.0]).tolist() == [1.0, 1.0]


def test_sgas_keeps_an_edge_that_it_decided_in_the_cell():
    search = tiny_search("darts", Sgas(first=0, every=1))
    with torch.no_grad():
        for row in search.rows:
            row.fill_(0.0)
            row[4] = 2.0
        # Node 5's first edge is decided, though others have larger weights.
    search.left = Left(search.space.groups)
    search.left.keep(Place(0, 9), [6])

    genotype = search.space.genotype(search.arch())

    names = search.space.groups[0].options[9]
    assert (names[6], 0) in genotype.normal[6:]


def test_sgas_ends_with_a_whole_cell_of_two_inputs_a_node():
    search = tiny_search("darts", Sgas(first=0, every=1))

    for _ in range(8):
        search.method.end_epoch(search)

    assert search.left.undecided() == []
    arch = search.arch()
    assert search.space.arch(arch.code) == arch
    loss = search.loss(first_pair(search).train, search.mix(ARCH), phase=ARCH)
    assert loss.isfinite()


@pytest.mark.parametrize("name", ["nb201", "oneshot1-3"])
def test_the_most_probable_cells_are_those_of_all(name):
    search = linear_search(registry.get("method", "setn").offer, name=name)
    rng = np.random.default_rng(0)
    with torch.no_grad():
        for row in search.rows:
            row.copy_(torch.as_tensor(rng.normal(size=len(row))))
    logs = [row.detach().double().log_softmax(0).numpy() for row in search.rows]
    of_space = space(name)
    codes = of_space.codes.astype(int)
    total, start = np.zeros(len(codes)), 0
    for values, (_, take) in zip(logs, of_space.rows, strict=True):
        total += values[codes[:, start : start + take]].sum(axis=1)
        start += take

    found = most_probable(search, 20)

    best = np.argsort(-total, kind="stable")[:20]
    assert [arch.code for arch in found] == [tuple(code) for code in codes[best].tolist()]


def test_the_controller_of_enas_learns_what_is_rewarded():
    method = Enas(n_steps=30, n_samples=5, lr=0.05, entropy=0.0, baseline=0.9)
    search = linear_search(method)
    search.batch_accuracy = lambda batch, mix: (
        100 * np.mean([row == (3,) for row in mix.taken(search.space.groups[0])])
    )
    before = method.draw(search, np.random.default_rng(0), 50)

    method.end_epoch(search)

    def share(archs):
        return np.mean([arch.code.count(3) / 6 for arch in archs])

    assert share(before) < 0.35
    assert share(method.draw(search, np.random.default_rng(0), 50)) > 0.6


def test_probabilities_of_the_controller_are_those_of_its_choices():
    search = linear_search(Enas())
    controller = Controller(search.space, np.random.default_rng(0))
    proposed = controller(np.random.default_rng(0))
    drawn = [controller(np.random.default_rng(seed)) for seed in range(2000)]

    assert proposed.log_probability.requires_grad
    assert all(held.log_probability < 0 < held.entropy for held in drawn[:20])
    # Unbiased: the mean of 1 / p over draws, cell by cell, is the number of cells.
    mean = np.mean([np.exp(-held.log_probability.item()) for held in drawn])
    assert mean == pytest.approx(search.space.size, rel=0.05)


# Partial channels and edges.


def test_a_partial_mixed_operation_lets_most_channels_pass():
    mixed = MixedOp([nn.Identity()], partial=4)
    x = torch.arange(8.0).reshape(1, 8, 1, 1)

    out = mixed(x, [(0, torch.tensor(10.0))]).flatten()

    # Two channels are multiplied by 10; a shuffle in 4 groups takes one of each group in turn.
    assert out.tolist() == [0.0, 2.0, 4.0, 6.0, 10.0, 3.0, 5.0, 7.0]
    halved = MixedOp([nn.MaxPool2d(2)], partial=4, stride=2)
    assert halved(torch.rand(1, 8, 4, 4), [(0, None)]).shape == (1, 8, 2, 2)


def test_edge_weights_of_pc_darts_share_a_softmax_a_node():
    search = linear_search(PcDarts())
    with torch.no_grad():
        for row in search.alphas["edges of op"]:
            row.copy_(torch.linspace(-1, 1, len(row)))

    scales = torch.stack(list(search.mixer(ARCH)().scales["op"])).detach()

    assert nodes_of(space("nb201")) == {"op": [[0], [1, 2], [3, 4, 5]]}
    two, three = torch.tensor([-1.0, 1.0]).softmax(0), torch.tensor([-1.0, 0.0, 1.0]).softmax(0)
    assert torch.allclose(torch.cat([torch.ones(1), two, three]), scales)
    ops = torch.stack([row.detach().softmax(0) for row in search.alphas["op"]])
    expected = (ops * scales[:, None]).double().numpy()
    assert np.allclose(expected, search.strengths()[0])


@pytest.mark.parametrize("name", ["nb201", "oneshot1-3", "darts"])
def test_pc_darts_learns_edges_where_rows_are_edges(name):
    search = tiny_search(name, PcDarts(), epochs=1)
    plain = tiny_search(name, Darts(), epochs=1)
    before = {key: flat(rows) for key, rows in search.alphas.items()}

    search.run()

    n_edges = {"nb201": [3], "oneshot1-3": [], "darts": [4, 4]}[name]
    own = [rows for key, rows in search.alphas.items() if key.startswith("edges of")]
    assert [len(rows) for rows in own] == n_edges
    for key, rows in search.alphas.items():
        if flat(rows).shape[0] > len(rows):
            assert not torch.equal(before[key], flat(rows))
    sizes = [sum(w.numel() for w in held.weights.values()) for held in (search, plain)]
    assert sizes[0] < sizes[1]


def test_channels_that_cannot_be_divided_are_an_error():
    with pytest.raises(InvalidSpec, match="6 channels cannot be divided by 4"):
        supernet("nb201", n_classes=5, channels=6, partial=4)


def test_sotl_around_pc_darts_is_pc_darts_in_all_but_the_round():
    outer = tiny_search("nb201", Unrolled(inner="pc_darts", steps=2), epochs=1)
    inner = tiny_search("nb201", PcDarts(), epochs=1)

    assert torch.equal(flat(inner.rows), flat(outer.rows))
    assert outer.net.cells[0].edges[0].partial == 4
    assert np.allclose(inner.strengths()[0], outer.strengths()[0])
    outer.run()


# Stages.


def test_pdarts_keeps_the_strongest_options_of_every_stage():
    search = linear_search(PDarts(), epochs=3)
    best = []
    end_stage = PDarts.end_stage

    def seen(self, search, stage):
        best.append([np.argsort(-row, kind="stable") for row in search.left_strengths()[0]])
        end_stage(self, search, stage)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PDarts, "end_stage", seen)
        search.run()

    # 3 of 5 options, then 2.
    assert len(best) == 2
    for row in range(6):
        kept = search.left.options(Place(0, row))
        assert len(kept) == 2
        assert kept == sorted(best[1][row][:2].tolist())
        assert set(kept) <= set(best[0][row][:3].tolist())
    weights = torch.stack(list(search.mixer(ARCH)().weights["op"]))
    assert torch.allclose(weights.sum(dim=1), torch.ones(6))
    assert (weights > 0).sum().item() == 12


def test_stages_start_anew_with_networks_of_their_own():
    method = PDarts(first_cells=3, second_cells=4, third_cells=6)
    search = tiny_search("darts", method, epochs=6, warmup_epochs=1, lr=0.4, lr_min=0.0)
    sizes, rates, learning = [], [], []
    train = search._train
    search._train = lambda epoch, lr: (
        sizes.append(len(search.net.cells)),
        rates.append(lr),
        learning.append(search.is_learning_arch),
        train(epoch, lr),
    )[-1]

    search.run()

    assert sizes == [3, 3, 4, 4, 6, 6]
    assert rates == pytest.approx([0.4, 0.2] * 3)
    assert learning == [False, True] * 3
    assert [len(search.left.options(Place(0, row))) for row in range(14)] == [3] * 14


def test_progressive_drnas_goes_on_with_what_is_left():
    method = DrNas(progressive=True)
    search = tiny_search(
        "nb201", method, epochs=5, warmup_epochs=1, lr=0.4, lr_min=0.0, arch_lr=0.1
    )
    before, after, partial, rates, learning = [], [], [], [], []
    train = search._train

    def held():
        kernel = search.net.stem[0].weight
        momentum = search.weight_optimiser.state[kernel].get("momentum_buffer", torch.zeros(0))
        return [values.detach().clone() for values in (*search.rows, kernel, momentum)]

    def seen(epoch, lr):
        before.append(held())
        partial.append(search.net.cells[0].edges[0].partial)
        rates.append(lr)
        learning.append(search.is_learning_arch)
        sums = train(epoch, lr)
        after.append(held())
        return sums

    search._train = seen

    search.run()

    assert partial == [4, 4, 2, 2, 2]
    assert rates == pytest.approx([0.2 * (1 + np.cos(np.pi * epoch / 5)) for epoch in range(5)])
    assert learning == [False, True, False, True, True]
    assert torch.equal(flat(after[1]), flat(before[2]))
    for row, beta in enumerate(after[1][:6]):
        assert search.left.options(Place(0, row)) == sorted(beta.topk(3).indices.tolist())
    kept = torch.as_tensor(search.left.kept()[0])
    weights = torch.stack(list(search.mix(WEIGHTS).weights["op"]))
    assert torch.equal(weights > 0, kept)
    assert torch.allclose(weights.sum(dim=1), torch.ones(6))
    strengths = torch.stack([row.detach() for row in search.rows]).exp() * kept
    expected = strengths / strengths.sum(dim=1, keepdim=True)
    assert np.allclose(expected.numpy(), search.strengths()[0])


def test_what_is_gone_learns_nothing_and_is_not_drawn():
    search = tiny_search("nb201", DrNas(progressive=True, kl=1.0))
    search.left = Left(search.space.groups)
    for row in range(6):
        search.left.keep(Place(0, row), [1, 3])
    before = [row.detach().clone() for row in search.rows]

    search.method.arch_step(search, first_pair(search))

    moved = torch.stack([old != new for old, new in zip(before, search.rows, strict=True)])
    assert torch.equal(moved, torch.tensor([False, True, False, True, False]).expand(6, 5))
    drawn = search.method.draw(search, np.random.default_rng(0), 50)
    assert {option for arch in drawn for option in arch.code} == {1, 3}


def test_a_progressive_search_keeps_four_of_seven_operations_of_darts_cells():
    # 1 of 6 channels in the first stage and 1 of 4 in the second, as in the published search.
    method = DrNas(progressive=True, partial=6, second_partial=4)
    search = tiny_search("darts-no-none", method, batch_size=32, network={"channels": 12})

    search.run()

    assert [len(search.left.options(place)) for place in search.left.places()][:28] == [4] * 28
    assert search.net.cells[0].edges[0].partial == 4
    assert torch.isfinite(flat(search.rows)).all()


def test_wider_weights_and_momentum_repeat_the_narrow_ones():
    narrow, wide = nn.Conv2d(2, 2, 1, bias=False), nn.Conv2d(3, 4, 1, bias=False)
    known, new = (torch.optim.SGD(conv.parameters(), 0.1, 0.9) for conv in (narrow, wide))
    narrow(torch.rand(1, 2, 1, 1)).sum().backward()
    known.step()

    hand_over(narrow, known, wide, new)

    for old, found in (
        (narrow.weight, wide.weight),
        (known.state[narrow.weight]["momentum_buffer"], new.state[wide.weight]["momentum_buffer"]),
    ):
        expected = [[old[i % 2, j % 2].item() for j in range(3)] for i in range(4)]
        assert found[..., 0, 0].tolist() == expected


@pytest.mark.parametrize("op", ["sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3", "avg_pool_3x3"])
@pytest.mark.parametrize("stride", [1, 2])
def test_a_wider_operation_gives_of_the_same_channels_twice_the_same_twice(op, stride):
    torch.manual_seed(0)
    narrow, wide = (
        darts_op(op, width, stride, affine=False, pool_norm=True).double() for width in (3, 6)
    )
    for norm in (*narrow.modules(), *wide.modules()):
        if isinstance(norm, nn.BatchNorm2d):
            norm.eps = 1e-12
    optimisers = [torch.optim.SGD([nn.Parameter(torch.zeros(1))], 0.1) for _ in range(2)]
    x = torch.randn(4, 3, 8, 8, dtype=torch.float64)

    hand_over(narrow, optimisers[0], wide, optimisers[1])

    # Sums over twice as many inputs are twice as large, which the batch norms take back.
    assert torch.allclose(narrow(x).repeat(1, 2, 1, 1), wide(x.repeat(1, 2, 1, 1)))


def test_the_dropout_of_pdarts_falls_twice_in_every_stage():
    method = PDarts(first_dropout=0.1, second_dropout=0.4, third_dropout=0.7)
    search = linear_search(method, epochs=75, warmup_epochs=10)

    def dropout(epoch, phase=WEIGHTS):
        at = Moment(phase, epoch, 75)
        return method.mix(search, search.alphas, at, np.random.default_rng(0)).skip_dropout

    # On a line over ten epochs of 25, then by exp(-0.2) an epoch.
    expected = {
        0: 0.1 * 24 / 25,
        9: 0.1 * 15 / 25,
        10: 0.1,
        24: 0.1 * np.exp(-2.8),
        25: 0.4 * 24 / 25,
        60: 0.7,
    }
    assert {epoch: dropout(epoch).rate for epoch in expected} == pytest.approx(expected)
    assert dropout(60, ARCH) == dropout(60)
    assert dropout(60, EVALUATION) is None
    drawn = {search.mix(WEIGHTS).skip_dropout.seed for _ in range(5)}
    assert len(drawn) == 5
    assert PDarts().mix(search, search.alphas, Moment(ARCH, 0, 75), None).skip_dropout is None


def test_at_most_so_many_skips_are_selected():
    search = tiny_search("darts", Darts())
    names = search.space.groups[0].options[0]
    skip, conv = names.index("skip_connect"), names.index("sep_conv_3x3")
    with torch.no_grad():
        for edge, row in enumerate(search.alphas["op_normal"]):
            row.zero_()
            row[skip], row[conv] = 3.0 + 0.01 * edge, 1.0

    def n_skips(arch):
        return 8 * search.space.skip_ratio(arch, "normal")

    free = Argmax().select(search, np.random.default_rng(0)).arch
    held = Argmax(max_skips=2).select(search, np.random.default_rng(0)).arch

    assert n_skips(free) == 8
    assert n_skips(held) == 2
    # The two strongest skips are those of the last edges.
    of_node_5 = [op for op, _ in search.space.genotype(held).normal[6:]]
    assert of_node_5 == ["skip_connect"] * 2


# Options.


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("darts", {"order": 3}),
        ("balenas", {"samples": -1}),
        ("sotl", {"momentum": "restored"}),
        ("sotl", {"noise": "other"}),
        ("sovl", {"steps": 0}),
        ("sovl", {"exact": True}),
        ("sgas", {"every": 0}),
        ("sgas", {"batch_growth": -1}),
        ("sgas", {"criterion": "synflow"}),
        ("sgas", {"n_batches": -1}),
        ("drnas", {"kept": 0.0}),
        ("pdarts", {"third_dropout": 1.0}),
        ("reptile", {"n_inner": 0}),
    ],
)
def test_values_that_make_no_sense_are_errors(method, options):
    with pytest.raises(InvalidSpec):
        configured(registry.get("method", method).offer, options)


def test_the_divergence_of_drnas_stands_in_place_of_the_decay():
    decays = [
        linear_search(method).arch_optimiser.param_groups[0]["weight_decay"]
        for method in (DrNas(), DrNas(kl=1e-3))
    ]

    assert decays == [1e-3, 0.0]


def test_the_penalty_of_metaprox_leaves_unused_weights_alone():
    search = linear_search(InnerSteps(proximal=5.0), lr=0.4)
    before = {name: weight.detach().clone() for name, weight in search.weights.items()}

    search.method.weight_step(search, first_pair(search).train)

    moved = [name for name, w in search.weights.items() if not torch.equal(before[name], w)]
    assert len(moved) == 6  # One option an edge.


def test_probable_cells_of_darts_have_the_inputs_of_their_strongest_edges():
    search = tiny_search("darts", registry.get("method", "setn").offer)
    rng = np.random.default_rng(0)
    with torch.no_grad():
        for row in search.rows:
            row.copy_(torch.as_tensor(rng.normal(size=len(row))))

    (best, *_) = most_probable(search, 5)

    assert best == search.arch()
