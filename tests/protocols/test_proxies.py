"""Every proxy against its formula by other means, and all of them through the same promises."""

from __future__ import annotations

import gc
import json
import math
import subprocess
import sys
import weakref
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, hessian, jacrev
from torch.overrides import _get_current_function_mode_stack

from harness import registry
from harness.arch import Arch
from harness.errors import InvalidSpec, UnknownName
from harness.spaces.nb201 import TopologySpace
from protocols.nets.nb201 import Network
from protocols.probe import PASSES, Probe, Scored, nodes_between, score_all
from protocols.proxies import _twice, synflow
from protocols.proxies.ntk_cond import tangent_kernel
from protocols.training import Labelled, seed_weights

NAMES = (
    *("fisher", "grad_norm", "grasp", "jacob_cov", "l2_norm", "linear_regions"),
    *("ntk_cond", "nwot", "plain", "snip", "synflow", "zen"),
)
DATA_FREE = ("l2_norm", "synflow")
SPACE = TopologySpace()
NONE, SKIP, CONV1, CONV3, POOL = range(5)
MIXED = (CONV3, CONV1, POOL, SKIP, CONV3, CONV1)
ALL_SKIP = (SKIP,) * 6
NO_PATH = (SKIP, SKIP, SKIP, NONE, NONE, NONE)


def some_batch(n=6, side=8, dtype=torch.float32):
    draw = torch.Generator().manual_seed(0)
    images = torch.randn(n, 3, side, side, generator=draw, dtype=torch.float64).to(dtype)
    return Labelled(images, torch.randint(0, 4, (n,), generator=draw))


def cell(code=MIXED, *, only_live=False, seed=0):
    seed_weights(seed)
    arch = Arch("nb201", tuple(code))
    return Network(arch, n_classes=4, channels=4, n_cells=1, only_live=only_live)


def small_net(seed=0):
    """Convolution, batch norm, ReLU, mean, linear; in double precision."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 2, 3, padding=1, stride=2),
        nn.BatchNorm2d(2),
        nn.ReLU(),
        nn.Conv2d(2, 3, 1, bias=False),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(3, 4),
    ).double()


def affine(*widths, bias=False, relu=True):
    """Linear layers with ReLUs between, on flattened images of few pixels."""
    layers: list[nn.Module] = [nn.Flatten()]
    for n_in, n_out in zip(widths[:-1], widths[1:], strict=True):
        layers += [nn.Linear(n_in, n_out, bias=bias), *[nn.ReLU()] * relu]
    return nn.Sequential(*layers[: len(layers) - relu])


def score(name, net, batch, seed=0):
    scored = score_all(net, batch, [name], seed=seed)[name]
    assert not scored.reason, scored.reason
    return scored.value


def layer_weights(net):
    return {
        f"{name}.weight": module.weight.detach()
        for name, module in net.named_modules()
        if isinstance(module, (nn.Conv2d, nn.Linear))
    }


def loss_of(net, batch):
    """The loss as a function of the weights of convolutions and linear layers."""

    def loss(weights):
        buffers = {name: buffer.clone() for name, buffer in net.named_buffers()}
        return F.cross_entropy(
            functional_call(net, weights | buffers, (batch.images,)), batch.labels
        )

    return loss


def gradients(net, batch):
    weights = {name: w.clone().requires_grad_() for name, w in layer_weights(net).items()}
    found = torch.autograd.grad(loss_of(net, batch)(weights), list(weights.values()))
    return list(zip(weights.values(), found, strict=True))


# Formulas, by other means.


def test_synflow_of_a_linear_network_is_the_product_of_absolute_matrices():
    torch.manual_seed(0)
    net = affine(12, 5, 7, 4, relu=False)
    first, second, third = (module.weight.detach().double().abs() for module in net[1:])
    expected = 3 * (third @ second @ first).sum().item()  # Every layer carries the whole flow.

    batch = Labelled(torch.randn(2, 3, 2, 2), torch.zeros(2, dtype=torch.int64))

    assert expected == pytest.approx(score("synflow", net, batch), rel=1e-12)


def synflow_by_hand(net, image):
    """The definition, on a copy without batch norm."""
    seeded = {
        name: p.detach().double().abs().requires_grad_() for name, p in net.named_parameters()
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nn.BatchNorm2d, "forward", lambda self, x: x)
        functional_call(net, seeded, (image,)).sum().backward()
    found = [seeded[name] for name in layer_weights(net)]
    return sum((w * w.grad).abs().sum().item() for w in found if w.grad is not None)


@pytest.mark.parametrize("index", [0, 77, 1462, 5292, 8839, 11381, 15624])
def test_synflow_in_one_forward_pass_is_synflow_backwards(index):
    net = cell(SPACE.codes[index].tolist())
    ones = torch.ones(1, 3, 8, 8, dtype=torch.float64)
    probe = Probe(net, some_batch(), seed=0)
    expected = synflow_by_hand(net, ones)

    assert expected == pytest.approx(synflow.forwards(probe, ones), rel=1e-12)
    assert expected == pytest.approx(synflow.backwards(probe, ones), rel=1e-12)
    assert expected == pytest.approx(score("synflow", net, some_batch()), rel=1e-6)


class Deep(nn.Module):
    """Convolutions in a row, each with a bias, then the mean over the pixels."""

    def __init__(self, n_layers):
        super().__init__()
        sizes = [3, *[6] * n_layers]
        self.layers = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(sizes))

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x.mean((2, 3))


def test_synflow_forwards_goes_beyond_single_precision():
    torch.manual_seed(0)
    net = Deep(80)
    ones = torch.ones(1, 3, 8, 8)

    found = synflow.forwards(Probe(net, some_batch(), seed=0), ones)

    assert found > 1e40
    assert found == pytest.approx(synflow_by_hand(net, ones.double()), rel=1e-5)


@pytest.mark.parametrize("odd", [nn.MaxPool2d(2), nn.Sigmoid(), nn.LayerNorm(8), nn.Softplus()])
def test_synflow_with_an_operation_that_has_no_rule_goes_backwards(odd):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 2, 3, padding=1), odd, nn.Flatten(), nn.LazyLinear(4))
    net(torch.ones(1, 3, 8, 8))
    ones = torch.ones(1, 3, 8, 8, dtype=torch.float64)

    with pytest.raises(synflow._Unknown):
        synflow.forwards(Probe(net, some_batch(), seed=0), ones)
    assert synflow_by_hand(net, ones) == pytest.approx(
        score("synflow", net, some_batch()), rel=1e-12
    )


def test_a_constant_that_is_added_does_not_grow_with_the_weights():
    class Shifted(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = affine(12, 3, 4, bias=True)

        def forward(self, x):
            return self.inner(x) + 1

    torch.manual_seed(0)
    net = Shifted()
    batch = Labelled(torch.randn(2, 3, 2, 2), torch.zeros(2, dtype=torch.int64))

    assert synflow_by_hand(net, torch.ones(1, 3, 2, 2, dtype=torch.float64)) == pytest.approx(
        score("synflow", net, batch), rel=1e-12
    )


def test_snip_is_what_masks_of_single_weights_change():
    net, batch = small_net(), some_batch(dtype=torch.float64)
    loss, weights, step = loss_of(net, batch), layer_weights(net), 1e-6
    expected = 0.0
    for name, weight in weights.items():
        for place in np.ndindex(*weight.shape):
            ends = []
            for offset in (step, -step):
                mask = torch.ones_like(weight)
                mask[place] += offset
                ends.append(loss(weights | {name: weight * mask}).item())
            expected += abs(ends[0] - ends[1]) / (2 * step)

    assert expected == pytest.approx(score("snip", net, batch), rel=1e-6)


def test_plain_grad_norm_and_l2_norm_by_their_formulas():
    net, batch = small_net(), some_batch(dtype=torch.float64)
    pairs = gradients(net, batch)
    expected = {
        "plain": sum((w * g).sum().item() for w, g in pairs),
        "grad_norm": sum(g.square().sum().sqrt().item() for _, g in pairs),
        "l2_norm": sum(w.square().sum().sqrt().item() for w, _ in pairs),
        "snip": sum((w * g).abs().sum().item() for w, g in pairs),
    }

    found = {name: score(name, net, batch) for name in expected}

    assert expected == pytest.approx(found, rel=1e-9)


def test_fisher_by_the_activations_and_their_gradients():
    net, batch = small_net(), some_batch(dtype=torch.float64)
    conv, norm, relu, conv1, relu1, pool, flat, linear = net
    first = conv(batch.images)
    second = conv1(relu(norm(first)))
    logits = linear(flat(pool(relu1(second))))
    acts = [first, second, logits]
    grads = torch.autograd.grad(F.cross_entropy(logits, batch.labels), acts)
    expected = 0.0
    for layer, act, grad in zip((conv, conv1, linear), acts, grads, strict=True):
        of_channels = (act * grad).flatten(2).sum(2) if act.dim() == 4 else act * grad
        per_channel = 0.5 * of_channels.square().mean(dim=0)
        expected += (per_channel * layer.weight[0].numel()).sum().item()
    net = small_net()

    assert expected == pytest.approx(score("fisher", net, batch), rel=1e-9)


def test_grasp_by_the_whole_hessian():
    net, batch = small_net(), some_batch(dtype=torch.float64)
    weights = layer_weights(net)
    sizes = [w.numel() for w in weights.values()]

    def loss_of_vector(vector):
        parts = zip(weights.items(), vector.split(sizes), strict=True)
        shaped = {name: part.view_as(weight) for (name, weight), part in parts}
        logits = functional_call(stateless, shaped, (batch.images,))
        return F.cross_entropy(logits, batch.labels)

    # The same function, as batch norm that keeps no statistics.
    stateless = small_net()
    stateless[1] = nn.BatchNorm2d(2, track_running_stats=False).double()
    vector = torch.cat([w.flatten() for w in weights.values()])
    h = hessian(loss_of_vector)(vector)
    g = jacrev(loss_of_vector)(vector)

    assert -(vector @ h @ g).item() == pytest.approx(score("grasp", net, batch), rel=1e-8)


@pytest.mark.parametrize("code", [MIXED, (CONV3,) * 6, ALL_SKIP])
def test_grasp_of_a_cell_by_torchs_own_second_derivative(code):
    net, batch = cell(code).double(), some_batch(dtype=torch.float64)
    weights = {name: w.clone().requires_grad_() for name, w in layer_weights(net).items()}
    settings = {"allow_unused": True, "materialize_grads": True}
    loss = loss_of(net, batch)(weights)
    g = torch.autograd.grad(loss, list(weights.values()), create_graph=True, **settings)
    along = sum((gradient.detach() * gradient).sum() for gradient in g)
    hg = torch.autograd.grad(along, list(weights.values()), **settings)
    expected = -sum((w * x).sum().item() for w, x in zip(weights.values(), hg, strict=True))

    assert expected == pytest.approx(score("grasp", net, batch), rel=1e-8)


@pytest.mark.parametrize("groups, stride", [(1, 1), (2, 2)])
def test_the_convolution_for_second_derivatives_is_torchs(groups, stride):
    draw = torch.Generator().manual_seed(0)
    x, w, b = (
        torch.randn(shape, generator=draw, dtype=torch.float64, requires_grad=True)
        for shape in ((2, 4, 5, 5), (2, 4 // groups, 3, 3), (2,))
    )
    settings = {"stride": stride, "padding": 1, "groups": groups}

    assert torch.allclose(F.conv2d(x, w, b, **settings), _twice.conv2d(x, w, b, **settings))
    assert torch.autograd.gradcheck(lambda *a: _twice.conv2d(*a, **settings), (x, w, b))
    assert torch.autograd.gradgradcheck(lambda *a: _twice.conv2d(*a, **settings), (x, w))


@pytest.mark.parametrize("affine", [True, False])
def test_the_batch_norm_for_second_derivatives_is_torchs(affine):
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(3, 2, 2, 2, generator=draw, dtype=torch.float64, requires_grad=True)
    scale, shift = (torch.randn(2, generator=draw, dtype=torch.float64) for _ in range(2))
    affine_of = (scale, shift) if affine else (None, None)

    def norm(x):
        return _twice.batch_norm(x, None, None, *affine_of, training=True)

    expected = F.batch_norm(x, None, None, *affine_of, training=True)

    assert torch.allclose(expected, norm(x), atol=1e-12)
    assert torch.autograd.gradcheck(norm, (x,))
    assert torch.autograd.gradgradcheck(norm, (x,))


def explicit_codes(net, images):
    codes = []
    x = images
    for layer in net:
        x = layer(x)
        if isinstance(layer, nn.ReLU):
            codes.append((x > 0).flatten(1).numpy().astype(int))
    return np.concatenate(codes, axis=1)


def test_nwot_by_counting_units_that_agree():
    torch.manual_seed(3)
    net, batch = affine(12, 9, 8, 4), Labelled(torch.randn(5, 3, 2, 2), torch.arange(5) % 4)
    codes = explicit_codes(net, batch.images)
    counts = np.array([[(a == b).sum() for b in codes] for a in codes])

    probe = Probe(net, batch, seed=0)

    assert counts.tolist() == probe.codes.agreements.tolist()
    assert probe.codes.n_units == 17
    assert np.linalg.slogdet(counts)[1] == pytest.approx(score("nwot", net, batch))


@pytest.mark.parametrize("relu", [nn.ReLU(), nn.ReLU(inplace=True), torch.relu, Tensor.relu])
def test_a_relu_counts_however_it_is_called(relu):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Linear(12, 5), nn.Linear(5, 4)

        def forward(self, x):
            return self.last(relu(self.first(x.flatten(1))))

    torch.manual_seed(0)

    assert Probe(Net(), some_batch(side=2), seed=0).codes.n_units == 5


def test_relus_that_lead_nowhere_or_see_no_image_do_not_count():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Linear(12, 5), nn.Linear(5, 4)

        def forward(self, x):
            x = self.first(x.flatten(1))
            F.relu(x)
            unseen = F.relu(self.first(torch.zeros(1, 12)))
            return self.last(F.relu(x) + unseen)

    assert Probe(Net(), some_batch(side=2), seed=0).codes.n_units == 5


def test_linear_regions_are_different_codes():
    net = affine(3, 2, 4)
    net[1].weight.data = torch.tensor([[1.0, 0, 0], [0, 1, 0]])
    points = [[1, 1, 0], [2, 3, 5], [-1, 1, 0], [-1, 2, 2], [1, -1, 0], [3, 1, 0]]
    batch = Labelled(torch.tensor(points).float().view(6, 3, 1, 1), torch.zeros(6).long())

    assert score("linear_regions", net, batch) == 3  # ++, -+ and +-


def test_jacob_cov_by_all_partial_derivatives():
    net, batch = small_net(), some_batch(dtype=torch.float64)
    stateless = small_net()
    stateless[1] = nn.BatchNorm2d(2, track_running_stats=False).double()
    # (images, classes, images, pixels): batch norm ties an image's logits to the other images.
    partials = jacrev(stateless)(batch.images).detach().flatten(3)
    rows = partials.sum(dim=(0, 1)).numpy()
    values = np.linalg.eigvals(np.corrcoef(rows)).real + 1e-5
    expected = -np.sum(np.log(values) + 1 / values)

    assert expected == pytest.approx(score("jacob_cov", net, batch), rel=1e-6)


def test_jacob_cov_is_largest_for_gradients_without_correlation():
    best = -2 * (math.log1p(1e-5) + 1 / (1 + 1e-5))
    same, apart = affine(4, 4), affine(4, 8, 1)
    # Of two images each lights the half of the units that sees other pixels.
    plus = torch.tensor([[1.0, -1, 0, 0], [0, 0, 1, -1]])
    apart[1].weight.data = torch.cat([plus, torch.zeros(6, 4)])
    apart[3].weight.data = torch.ones(1, 8)
    images = torch.tensor([[1.0, 0, 0, 1], [0, 1, 1, 0]]).view(2, 1, 2, 2)
    batch = Labelled(images, torch.zeros(2).long())

    assert best == pytest.approx(score("jacob_cov", apart, batch), abs=1e-6)
    assert score("jacob_cov", same, batch) < -9e4  # Equal gradients: an eigenvalue is 0.


def test_the_tangent_kernel_by_the_explicit_jacobian():
    net, batch = small_net(), some_batch(dtype=torch.float64)
    stateless = small_net()
    stateless[1] = nn.BatchNorm2d(2, track_running_stats=False).double()
    weights = {n: p.detach() for n, p in stateless.named_parameters() if n.endswith("weight")}

    def logits(weights):
        return functional_call(stateless, weights, (batch.images,)).sum(dim=1)

    rows = torch.cat([part.flatten(1) for part in jacrev(logits)(weights).values()], dim=1)
    expected = rows @ rows.T
    spectrum = np.linalg.eigvalsh(expected.detach().numpy())

    assert torch.allclose(expected, tangent_kernel(Probe(net, batch, seed=0)))
    assert -spectrum[-1] / spectrum[0] == pytest.approx(score("ntk_cond", net, batch), rel=1e-6)


def test_zen_by_its_formula():
    net, batch = small_net(), some_batch(dtype=torch.float64)
    draw = Probe(net, batch, seed=5).generator("zen")

    def normal(*shape):
        return torch.randn(shape, generator=draw, dtype=torch.float64)

    conv, conv1, _, x = normal(2, 3, 3, 3), normal(3, 2, 1, 1), normal(4, 3), normal(6, 3, 8, 8)
    changed = x + 0.01 * normal(6, 3, 8, 8)

    def features(x):
        x = F.conv2d(x, conv, stride=2, padding=1)
        variance = x.transpose(0, 1).flatten(1).var(dim=1)
        x = (x - x.mean(dim=(0, 2, 3), keepdim=True)) / (
            x.var(dim=(0, 2, 3), unbiased=False, keepdim=True) + 1e-5
        ).sqrt()
        return F.conv2d(x.clamp(min=0), conv1).clamp(min=0), variance

    (one, variance), (other, _) = features(x), features(changed)
    distance = (one - other).abs().flatten(1).sum(dim=1).mean()
    expected = distance.log() + variance.mean().sqrt().log()

    assert expected.item() == pytest.approx(score("zen", net, batch, seed=5), rel=1e-9)


# What every proxy promises.


def test_the_proxies_are_the_twelve():
    assert sorted(NAMES) == registry.names("proxy")


@pytest.mark.parametrize("name", NAMES)
def test_a_proxy_file_states_version_source_and_direction(name):
    plugin = registry.get("proxy", name)
    text = " ".join((plugin.module.__doc__ or "").split())

    assert plugin.version >= 1
    assert registry.summary("proxy", name) == (plugin.module.__doc__ or "").splitlines()[0]
    assert registry.summary("proxy", name).endswith(".")
    assert "Source: " in text
    assert "more is better" in text or "negated" in text
    assert set(plugin.offer.passes) <= set(PASSES)


def whole_scores(seed=3):
    scored = score_all(cell(), some_batch(), NAMES, seed=seed)
    return {name: one.value for name, one in scored.items()}


def test_same_seed_same_scores_in_another_process():
    script = (
        "import json, sys; sys.path.insert(0, sys.argv[1]); import test_proxies as t;"
        "print(json.dumps(t.whole_scores()))"
    )
    expected = whole_scores()

    other = subprocess.run(
        [sys.executable, "-c", script, str(Path(__file__).parent)],
        capture_output=True,
        text=True,
        check=True,
    )

    assert expected == whole_scores()
    assert expected == json.loads(other.stdout)
    assert expected["zen"] != whole_scores(seed=4)["zen"]


def test_a_proxy_alone_gives_what_it_gives_among_others():
    expected = whole_scores()

    alone = {name: score(name, cell(), some_batch(), seed=3) for name in NAMES}

    assert expected == pytest.approx(alone, rel=2e-4)  # Sums are in another order with grasp.


@pytest.mark.parametrize("index", [11, 4000, 9000, 12345])
def test_what_leads_nowhere_changes_no_score(index):
    code = SPACE.codes[index].tolist()
    whole = score_all(cell(code), some_batch(), NAMES, seed=0)
    live = score_all(cell(code, only_live=True), some_batch(), NAMES, seed=0)

    for name in NAMES:
        assert whole[name].reason == live[name].reason
        assert whole[name].value == pytest.approx(live[name].value, rel=2e-3, nan_ok=True)


def state_of(net):
    tensors = [*net.named_parameters(), *net.named_buffers()]
    return (
        {name: (id(x), x.clone(), x.requires_grad, x.grad) for name, x in tensors},
        {name: module.training for name, module in net.named_modules()},
        [len(module._forward_hooks) + len(module._backward_hooks) for module in net.modules()],
        torch.get_rng_state(),
    )


def assert_same_state(expected, found):
    for name, (address, values, learns, grad) in expected[0].items():
        assert (address, learns, grad) == (found[0][name][0], *found[0][name][2:]), name
        assert torch.equal(values, found[0][name][1]), name
    assert expected[1:3] == found[1:3]
    assert torch.equal(expected[3], found[3])
    assert not _get_current_function_mode_stack()


@pytest.mark.parametrize("name", NAMES)
def test_a_network_is_left_as_it_was(name):
    net = cell()
    net.blocks.eval()
    net.stem[0].weight.requires_grad_(False)
    before = state_of(net)

    score(name, net, some_batch())

    assert_same_state(before, state_of(net))


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"l2_norm"}))
def test_a_network_is_left_as_it_was_after_an_error(name):
    class Breaks(nn.Module):
        def forward(self, x):
            raise ArithmeticError("on purpose")

    net = cell()
    net.classifier = nn.Sequential(net.classifier, Breaks())
    before = state_of(net)

    with pytest.raises(ArithmeticError):
        score_all(net, some_batch(), [name], seed=0)

    assert_same_state(before, state_of(net))


def test_the_mode_of_a_network_does_not_matter():
    resting = cell().eval()

    assert whole_scores() == {
        name: one.value for name, one in score_all(resting, some_batch(), NAMES, seed=3).items()
    }


def assert_no_score(scored, reason):
    assert math.isnan(scored.value)
    assert reason in scored.reason
    assert scored.seconds > 0


@pytest.mark.parametrize("name", NAMES)
def test_weights_that_are_not_finite_have_no_score_and_a_reason(name):
    net = cell()
    net.blocks[0].ops[0].conv.weight.data[0, 0, 0, 0] = math.nan

    scored = score_all(net, some_batch(), [name], seed=0)[name]

    if name == "zen":  # It draws its own.
        assert math.isfinite(scored.value)
    else:
        assert_no_score(scored, "the weights are not finite")


@pytest.mark.parametrize("name", NAMES)
def test_an_overflow_has_no_score_and_a_reason(name):
    net = cell()
    for weight in layer_weights(net).values():
        weight.fill_(1e38)

    scored = score_all(net, some_batch(), [name], seed=0)[name]

    if name in ("zen", "l2_norm"):  # One draws its own, the other has room for them.
        assert math.isfinite(scored.value)
    else:
        assert_no_score(scored, "overflow in ")


def test_images_that_are_not_finite_have_no_score_and_a_reason():
    batch = some_batch()
    batch.images[0, 0, 0, 0] = math.inf

    scored = score_all(cell(), batch, ["nwot", "snip", "synflow"], seed=0)

    assert_no_score(scored["nwot"], "the images are not finite")
    assert_no_score(scored["snip"], "the images are not finite")
    assert math.isfinite(scored["synflow"].value)


def test_scores_do_not_depend_on_whether_the_caller_differentiates():
    expected = whole_scores()

    with torch.no_grad():
        assert expected == whole_scores()


def test_what_a_proxy_does_not_read_may_overflow():
    batch = Labelled(torch.full((2, 3, 2, 2), 1e20), torch.tensor([0, 1]))
    net = affine(12, 4, 4)
    for weight in layer_weights(net).values():
        weight.fill_(1e10)  # Logits of the images: 5e41, more than float32 holds.

    scored = score_all(net, batch, ["snip", "synflow"], seed=0)

    assert_no_score(scored["snip"], "overflow in the pass forward")
    assert scored["synflow"].value == pytest.approx(2 * 4 * 4 * 12 * 1e20)


def test_a_cell_without_a_path_has_scores_or_reasons():
    scored = score_all(cell(NO_PATH), some_batch(), NAMES, seed=0)
    finite = {name: one.value for name, one in scored.items() if not one.reason}

    assert set(finite) == {"fisher", "grad_norm", "grasp", "l2_norm", "plain", "snip", "synflow"}
    # The logits are the classifier's biases: only weights and the biases' own gradients are left.
    nothing = ("grad_norm", "grasp", "plain", "snip", "synflow")
    assert {name: 0.0 for name in nothing} == {name: finite[name] for name in nothing}
    assert_no_score(scored["nwot"], "no ReLU lies between images and logits")
    assert_no_score(scored["linear_regions"], "no ReLU lies between images and logits")
    assert_no_score(scored["jacob_cov"], "constant")
    assert_no_score(scored["ntk_cond"], "singular kernel")
    assert_no_score(scored["zen"], "features do not depend")


def test_the_cell_of_skips_has_every_score():
    scored = score_all(cell(ALL_SKIP), some_batch(), NAMES, seed=0)

    assert all(math.isfinite(one.value) and not one.reason for one in scored.values())


def test_images_that_are_equal_have_no_kernel_score():
    batch = some_batch()
    batch.images[1] = batch.images[0]

    scored = score_all(cell(), batch, ["nwot", "ntk_cond", "linear_regions"], seed=0)

    assert_no_score(scored["nwot"], "singular kernel")
    assert scored["linear_regions"].value == 5


def test_a_network_without_layers_or_relus_or_pooling_has_reasons():
    bare = score_all(nn.Flatten(), some_batch(), NAMES, seed=0)
    linear = score_all(affine(12, 4, relu=False), some_batch(side=2), ["nwot", "zen"], seed=0)

    assert all(math.isnan(one.value) for one in bare.values())
    assert_no_score(bare["snip"], "no convolution and no linear layer")
    assert_no_score(linear["nwot"], "no ReLU")
    assert_no_score(linear["zen"], "no global pooling")


@pytest.mark.parametrize("name", DATA_FREE)
def test_a_score_without_data_is_the_same_for_every_batch(name):
    codes = SPACE.codes[[0, 7, 1462, 3000, 5292, 8839, 11381, 15624]].tolist()
    nets = [cell(code) for code in codes]
    expected = [score(name, net, some_batch(6)) for net in nets]

    for n in (1, 2, 11):
        assert expected == [score(name, net, some_batch(n), seed=n) for net in nets]


def test_noise_in_a_network_is_the_seeds():
    torch.manual_seed(0)
    net = nn.Sequential(affine(12, 9), nn.Dropout(0.5), affine(9, 4))
    batch = some_batch(side=2)

    assert score("snip", net, batch, seed=1) == score("snip", net, batch, seed=1)
    assert score("snip", net, batch, seed=1) != score("snip", net, batch, seed=2)


# Sharing.


class Counted(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net, self.calls = net, 0

    def forward(self, x):
        self.calls += 1
        return self.net(x)


def test_one_forward_pass_serves_all_that_share_it():
    net = Counted(cell())
    shared = [name for name in NAMES if registry.get("proxy", name).offer.passes]

    scored = score_all(net, some_batch(), shared, seed=0)

    assert len(shared) == 8
    assert net.calls == 1
    assert all(one.seconds > 0 for one in scored.values())


def test_a_shared_pass_is_charged_to_each():
    probe = Probe(cell(), some_batch(), seed=0, wanted=("gradients",))

    alone = probe.charge(("gradients",))

    assert alone == probe.seconds["forward"] + probe.seconds["gradients"]
    assert alone == probe.charge(("gradients",))


def test_a_pass_that_was_not_announced_is_an_error():
    with pytest.raises(InvalidSpec, match="codes was not announced"):
        _ = Probe(cell(), some_batch(), seed=0, wanted=("gradients",)).codes
    with pytest.raises(UnknownName, match="forward"):
        Probe(cell(), some_batch(), seed=0, wanted=("forwards",))


def test_a_proxy_of_ones_own_file(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        '"""Mine: the number of ReLU units."""\n'
        "from protocols.proxies import Proxy\n"
        "class Mine(Proxy):\n"
        "    version = 1\n"
        '    passes = ("codes",)\n'
        "    def score(self, probe):\n"
        "        return probe.codes.n_units\n"
        "PROXY = Mine()\n"
    )

    scored = score_all(affine(12, 5, 4), some_batch(side=2), [str(file), "snip"], seed=0)

    assert list(scored) == ["mine", "snip"]
    assert isinstance(scored["mine"], Scored)
    assert scored["mine"].value == 5.0


def test_nothing_of_a_network_is_kept():
    gc.collect()
    gc.disable()
    try:
        net = cell()
        score_all(net, some_batch(), NAMES, seed=0)
        gone = weakref.ref(net)
        del net
        assert gone() is None
        logits = Probe(cell(), some_batch(), seed=0).forward.logits
        gone = weakref.ref(logits)
        del logits
        assert gone() is None
    finally:
        gc.enable()


def test_nodes_between_are_those_on_a_path():
    x, other = (torch.ones(2, requires_grad=True) for _ in range(2))
    on_path, aside, dead = 2 * x, 3 * other, x.exp()
    y = (on_path + aside).sum()

    found = nodes_between(x, y)

    assert on_path.grad_fn in found and y.grad_fn in found
    assert aside.grad_fn not in found and dead.grad_fn not in found
