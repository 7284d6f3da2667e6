"""Training-free searches: saliencies by finite differences and by hand, pruning by known scores."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from synthetic_tables import (
    DATASET,
    ROLES,
    SEARCH,
    TRUTH,
    UNEVEN,
    ListedSpace,
    accuracy_of,
    make_table,
)
from torch import Tensor, nn

from harness import engine, registry
from harness.arch import Arch, Choice, SearchSpace
from harness.benchmark import Benchmark
from harness.builder import Provenance, StoreBuilder
from harness.engine import Run
from harness.errors import HarnessError, InvalidArch, InvalidSpec, UnknownName
from harness.record import DONE, FAILED, SKIPPED, RunSpec
from harness.seeds import derive
from harness.spaces import space
from protocols.images import open_images
from protocols.images.on_device import DeviceImages
from protocols.left import Left, Place
from protocols.methods import zerocost_nas
from protocols.methods.freedarts import RULES, FreeDarts, Scorer
from protocols.methods.te_nas import TeNas, dense_ranks, initialise, pruning_order
from protocols.methods.zerocost_nas import ZeroCostNas
from protocols.methods.zerocost_pt import ZeroCostPT, propose
from protocols.nets.mix import Fixed, Mix, MixedOp, Supernet, learned, path_of, raw_mix
from protocols.nets.nb201 import Network
from protocols.nets.supernets import supernet
from protocols.saliency import (
    as_strengths,
    by_group,
    draw_rows,
    grasp,
    hessian_times,
    magnitude,
    product,
    stepped_grasp,
    stepped_product_grasp,
)
from protocols.untrained import (
    PROTOCOL,
    Found,
    Setting,
    UntrainedSearch,
    Workbench,
    configured,
    validation,
)

EVERY_SPACE = ("nb201", "darts-s1", "darts-no-none", "oneshot1-1")
TINY = {"channels": 4, "n_cells": 1}
TINY_DARTS = {"channels": 4, "n_cells": 3}
KINDS = [(variant, saliency) for variant, held in RULES.items() for saliency in held]
SETTING = {"dataset": DATASET, "images": "gaussian", "truth_seed": "mean", "search_seed": "mean"}
NB201 = space("nb201")


def tiny_settings(name: str) -> dict[str, int]:
    return TINY if name == "nb201" else TINY_DARTS


def workbench(name: str, seed: int = 0, *, side: int = 8, n_images: int = 64) -> Workbench:
    images = open_images(
        "gaussian", seed=seed, shape=(3, side, side), n_classes=5, n_images=n_images
    )
    return Workbench(
        space(name),
        DeviceImages(images, "cpu"),
        "train",
        np.arange(n_images),
        seed=seed,
        network=tiny_settings(name),
    )


def tiny_loss(name: str, seed: int = 0) -> tuple[Any, list[Tensor]]:
    """The cross-entropy of a small supernet in double precision, and random parameters."""
    torch.manual_seed(seed)
    net = supernet(name, n_classes=5, **tiny_settings(name)).double()
    images = torch.randn(4, 3, 8, 8, dtype=torch.float64)
    labels = torch.tensor([0, 1, 2, 4])
    rows = draw_rows(net.space, 1.0, derive(seed, "test"), device="cpu", dtype=torch.float64)

    def loss(rows) -> Tensor:
        return F.cross_entropy(net(images, raw_mix(by_group(net.space, rows))), labels)

    return loss, rows


# Saliencies


@pytest.mark.parametrize("name", ["nb201", "darts-s1", "oneshot1-3"])
def test_snip_is_the_slope_times_the_parameter(name):
    loss, rows = tiny_loss(name)
    found = magnitude(loss, rows)
    rng = np.random.default_rng(0)

    for i in rng.choice(len(rows), 4, replace=False):
        for option in range(len(rows[i])):
            ends = []
            for step in (1e-6, -1e-6):
                moved = [row.detach().clone() for row in rows]
                moved[i][option] += step
                ends.append(loss(moved).item())
            expected = abs((ends[0] - ends[1]) / 2e-6 * rows[i][option].item())
            assert found[i][option].item() == pytest.approx(expected, rel=1e-3, abs=1e-7)


def test_grasp_is_minus_the_hessian_times_the_gradient_times_the_parameters():
    loss, rows = tiny_loss("nb201")

    def of_vector(vector: Tensor) -> Tensor:
        return loss(vector.split(5))

    vector = torch.cat([row.detach() for row in rows])
    hessian = torch.autograd.functional.hessian(of_vector, vector)
    slope = torch.autograd.functional.jacobian(of_vector, vector)
    expected = -(hessian @ slope) * vector

    assert torch.allclose(expected, torch.cat(grasp(loss, rows)), rtol=1e-6, atol=1e-12)
    assert expected.abs().max() > 1e-3


def quadratic(rows) -> Tensor:
    """1/2 x' Q x with Q = [[2, 1, 0], [1, 3, 1], [0, 1, 4]] over both rows together."""
    q = torch.tensor([[2.0, 1, 0], [1, 3, 1], [0, 1, 4]], dtype=torch.float64)
    x = torch.cat(list(rows))
    return 0.5 * x @ q @ x


def doubles(*rows: list[float]) -> list[Tensor]:
    return [torch.tensor(row, dtype=torch.float64, requires_grad=True) for row in rows]


def test_saliencies_of_a_quadratic_by_hand():
    rows = doubles([1, -1], [2])
    # Q x = (1, 0, 7) and Q Q x = (2, 8, 28).
    expected = {
        product: [1, 0, 14],
        magnitude: [1, 0, 14],
        grasp: [-2, 8, -56],
    }

    for saliency, values in expected.items():
        assert values == pytest.approx(torch.cat(saliency(quadratic, rows)).tolist())
    vector = doubles([1, 0], [0])
    assert torch.cat(hessian_times(quadratic, rows, vector)).tolist() == [2, 1, 0]


def cubic(rows) -> Tensor:
    """sum x^3 / 6: the gradient is x^2 / 2, the Hessian diag(x)."""
    return sum(row.pow(3).sum() for row in rows) / 6


def test_the_released_grasps_take_the_second_pass_after_a_step_of_adam():
    # Adam's first step is lr against the sign of the gradient and of the decay, here both positive.
    rows, lr = doubles([1, 2], [3]), 0.125
    values = np.array([1, 2, 3])
    moved = values - lr

    stepped = torch.cat(stepped_grasp(cubic, rows, lr=lr))
    other = torch.cat(stepped_product_grasp(cubic, rows, lr=lr))

    assert stepped.tolist() == pytest.approx(values * moved * (values**2 / 2), rel=1e-5)
    # d(x^2 / 2 * x)/dx = 3/2 x^2
    assert other.tolist() == pytest.approx(values * 1.5 * moved**2, rel=1e-5)
    assert [row.grad for row in rows] == [None, None]


def test_a_loss_without_parameters_has_no_saliency():
    rows = doubles([1, 2])

    assert grasp(lambda _: torch.tensor(3.0), rows)[0].tolist() == [0, 0]
    assert magnitude(lambda _: torch.tensor(3.0), rows)[0].tolist() == [0, 0]


CHAIN = ListedSpace(Choice("op", (("a", "b", "c"), ("a", "b"))))


class Chain(Supernet):
    """Two mixed layers of 1x1 convolutions of one channel, then the sum over pixels."""

    def __init__(self, first: tuple[float, ...], second: tuple[float, ...]) -> None:
        super().__init__()
        self.space = CHAIN
        self.layers = nn.ModuleList(MixedOp(map(_scaling, row)) for row in (first, second))

    def forward(self, images: Tensor, mix: Mix) -> Tensor:
        x = images
        for layer, terms in zip(self.layers, mix.terms(self.space.groups[0]), strict=True):
            x = layer(x, terms)
        return x.sum(dim=(2, 3))


def _scaling(weight: float) -> nn.Module:
    conv = nn.Conv2d(1, 1, 1, bias=False)
    nn.init.constant_(conv.weight, weight)
    return conv


class OneNet(Workbench):
    """A workbench that always gives the same network."""

    def __init__(self, net: Supernet) -> None:
        images = open_images("gaussian", seed=0, shape=(1, 2, 2), n_classes=2, n_images=4)
        super().__init__(
            net.space, DeviceImages(images, "cpu"), "train", np.arange(4), seed=0, network={}
        )
        self.net = net

    def supernet(self, **changes: Any) -> Supernet:
        return self.net


@pytest.mark.parametrize("variant", ["released", "released-darts"])
def test_synflow_of_a_linear_chain_by_hand(variant):
    """Eq. 11: R = 4 (sum_o a_1o |w_1o|) (sum_o a_2o |w_2o|), for 4 pixels of 1."""
    scorer = Scorer(
        OneNet(Chain((2.0, -1.0, 0.5), (-3.0, 1.0))),
        RULES[variant]["synflow"],
        FreeDarts(scale=1.0),
        derive(0, "method"),
    )
    drawn = draw_rows(CHAIN, 1.0, derive(0, "method"), device="cpu", dtype=torch.float64)
    first, second = (row.detach().numpy() for row in drawn)
    if variant == "released":
        first, second = abs(first), abs(second)
    of_first, of_second = first @ (2, 1, 0.5), second @ (3, 1)
    expected = [
        abs(4 * of_second * first * (2, 1, 0.5)),
        abs(4 * of_first * second * (3, 1)),
    ]

    (found,) = scorer.strengths()

    assert (drawn[0] < 0).any() or (drawn[1] < 0).any()
    assert found[0].tolist() == pytest.approx(expected[0])
    assert found[1, :2].tolist() == pytest.approx(expected[1])
    assert math.isnan(found[1, 2])


def test_the_papers_synflow_goes_through_the_softmax():
    scorer = Scorer(
        OneNet(Chain((2.0, -1.0, 0.5), (-3.0, 1.0))),
        RULES["paper"]["synflow"],
        FreeDarts(scale=1.0),
        derive(0, "method"),
    )
    first, second = (
        row.detach().numpy()
        for row in draw_rows(CHAIN, 1.0, derive(0, "method"), device="cpu", dtype=torch.float64)
    )
    share = np.exp(first) / np.exp(first).sum()
    other = np.exp(second) / np.exp(second).sum()
    gains = np.array([2, 1, 0.5])
    # dR/da_o = 4 R_2 s_o (w_o - sum_k s_k w_k), by the derivative of the softmax
    expected = 4 * (other @ (3, 1)) * share * (gains - share @ gains) * first

    assert expected == pytest.approx(scorer.strengths()[0][0])


def test_the_weights_are_made_positive_and_the_running_variances_stay():
    bench = workbench("nb201")
    scorer = Scorer(bench, RULES["released"]["synflow"], FreeDarts(), derive(0, "method"))
    net = scorer._net

    assert all((entry >= 0).all() for entry in net.state_dict().values())
    assert next(net.parameters()).dtype == torch.float64
    assert net.training


# FreeDARTS


def found_by(method: UntrainedSearch, name: str, seed: int = 0) -> Found:
    return method.search(workbench(name, seed), derive(seed, "method"))


@pytest.mark.parametrize("name", EVERY_SPACE)
@pytest.mark.parametrize(("variant", "saliency"), KINDS)
def test_freedarts_runs_on_every_space(name, variant, saliency):
    found = found_by(FreeDarts(saliency=saliency, variant=variant, batch_size=8), name)

    of_space = space(name)
    assert found.arch == of_space.arch(found.arch.code)
    strengths = [found.arrays[f"saliency_{group.name}"] for group in learned(of_space)]
    for group, block in zip(learned(of_space), strengths, strict=True):
        lengths = [int(np.isfinite(row).sum()) for row in block]
        assert lengths == [len(options) for options in group.options]
    assert found.arch == of_space.discretise(strengths)


@pytest.mark.parametrize("name", ["nb201", "darts", "darts-s3"])
@pytest.mark.parametrize("saliency", ["snip", "synflow"])
def test_none_scores_exactly_zero_with_raw_parameters_and_not_with_softmax(name, saliency):
    zero = {"released": True, "released-darts": True, "released-softmax": False, "paper": False}
    for variant, is_zero in zero.items():
        found = found_by(FreeDarts(saliency=saliency, variant=variant, batch_size=8), name)
        for group in learned(space(name)):
            scores = found.arrays[f"saliency_{group.name}"]
            for row, options in zip(scores, group.options, strict=True):
                assert (row[options.index("none")] == 0) == is_zero
                assert (row[: len(options)] != 0).any()


def test_variants_differ_and_a_scale_changes_the_parameters_by_itself():
    found = {
        variant: found_by(FreeDarts(saliency="snip", variant=variant, scale=1.0), "nb201").arrays
        for variant in RULES
    }
    small = found_by(FreeDarts(saliency="snip", scale=0.5), "nb201").arrays

    released = found["released"]["saliency_op"]
    assert not np.allclose(released, found["paper"]["saliency_op"])
    assert not np.allclose(released, found["released-darts"]["saliency_op"])
    assert not np.allclose(released, found["released-softmax"]["saliency_op"])
    # SNIP is the same formula in the paper and in the code, but for the softmax.
    assert np.array_equal(found["paper"]["saliency_op"], found["released-softmax"]["saliency_op"])
    assert np.allclose(found["released"]["alpha_op"], 2 * small["alpha_op"])


def test_parameters_are_positive_in_the_released_synflow_alone():
    for variant, held in RULES.items():
        for saliency in held:
            alphas = found_by(
                FreeDarts(saliency=saliency, variant=variant, batch_size=8), "nb201"
            ).arrays["alpha_op"]
            is_positive = saliency == "synflow" and variant in ("released", "released-softmax")
            assert (alphas >= 0).all() == is_positive


def test_single_precision_finds_the_same_snip_as_double():
    """The saliency of a row of the NB201 supernet, computed here again in double precision."""
    bench, method = workbench("nb201"), FreeDarts(saliency="snip", scale=1.0, batch_size=8)
    found = method.search(bench, derive(0, "method")).arrays
    again = workbench("nb201")
    net, batch = again.supernet().double(), again.batch(8)
    rows = draw_rows(NB201, 1.0, derive(0, "method"), device="cpu", dtype=torch.float64)

    def loss(rows) -> Tensor:
        logits = net(batch.images.double(), raw_mix(by_group(NB201, rows)))
        return F.cross_entropy(logits, batch.labels)

    (expected,) = as_strengths(NB201, magnitude(loss, rows))

    assert np.allclose(expected, found["saliency_op"], rtol=1e-3, atol=1e-6)


def test_a_scale_that_overflows_is_an_error_and_no_cell():
    with pytest.raises(InvalidArch, match="NaN strength"):
        found_by(FreeDarts(scale=1e300), "nb201")


def test_unknown_variants_and_saliencies_are_named():
    with pytest.raises(UnknownName, match="variant of FreeDARTS"):
        found_by(FreeDarts(variant="relesed"), "nb201")
    with pytest.raises(UnknownName, match="saliency"):
        found_by(FreeDarts(saliency="synflo"), "nb201")


@pytest.mark.parametrize(
    ("name", "rescored"),
    [
        ("nb201", True),
        ("nb201", False),
        ("darts-s1", True),
        ("darts-no-none", False),
        ("oneshot1-1", True),
        ("oneshot1-1", False),
    ],
)
def test_one_by_one_goes_from_the_largest_parameters_to_the_last_cell(name, rescored):
    of_space = space(name)
    method = FreeDarts(saliency="snip", batch_size=8, one_by_one=True, rescored=rescored)
    groups = learned(of_space)
    n_removals = sum(len(row) - group.take for group in groups for row in group.options)

    found = found_by(method, name)

    alphas = [found.arrays[f"alpha_{group.name}"] for group in groups]
    assert len(found.track) == n_removals + 1
    assert found.track[0] == of_space.discretise([np.nan_to_num(a, nan=-9e9) for a in alphas])
    if not rescored and name != "darts-no-none" and name != "darts-s1":
        # What is left is the largest saliency of every row. (On DARTS the inputs of the tracked
        # cell are chosen by parameters, those of the found one by saliencies.)
        assert found.track[-1] == found.arch


def test_one_by_one_removes_the_least_saliency_first():
    found = found_by(FreeDarts(one_by_one=True, rescored=False), "nb201")
    saliency, alphas = found.arrays["saliency_op"], found.arrays["alpha_op"]
    expected = []
    left = np.ones((6, 5), dtype=bool)
    expected.append(np.where(left, alphas, -1).argmax(axis=1))
    for place in np.argsort(saliency.ravel(), kind="stable"):
        edge, option = divmod(int(place), 5)
        if left[edge].sum() > 1:
            left[edge, option] = False
            expected.append(np.where(left, alphas, -1).argmax(axis=1))

    assert [tuple(map(int, code)) for code in expected] == [arch.code for arch in found.track]


def test_what_no_cell_can_have_is_removed_before_the_track():
    found = found_by(FreeDarts(one_by_one=True, rescored=False, batch_size=8), "darts")

    assert len(found.track) == 28 * 6 + 1  # of 7 options beside none, 1 is left


# Zero-Cost-PT and TE-NAS by scores that are known


def worth(of_space: SearchSpace, seed: int = 0) -> dict[tuple[str, int, int], float]:
    """A different power of two for every option of every row."""
    names = [
        (group.name, row, option)
        for group in of_space.groups
        for row, options in enumerate(group.options)
        for option in range(len(options))
    ]
    order = np.random.default_rng(seed).permutation(len(names))
    return {name: 1.0 + int(place) for name, place in zip(names, order, strict=True)}


def paid(net: nn.Module, values: dict[tuple[str, int, int], float]) -> float:
    """The sum over what is on the network's path."""
    assert isinstance(net, Fixed)
    path = net.mix.path
    assert path is not None
    return sum(
        values[name, row, option]
        for name, rows in path.items()
        for row, options in enumerate(rows)
        for option in options
    )


def dearest(of_space: SearchSpace, values: dict[tuple[str, int, int], float]) -> Arch:
    """The most valuable options of every row, `none` of DARTS left out."""
    without = {"none"} if of_space.name.startswith("darts") else set()
    blocks = []
    for group in of_space.groups:
        block = np.full((len(group.options), max(map(len, group.options))), -np.inf)
        for row, options in enumerate(group.options):
            for option, op in enumerate(options):
                if op not in without:
                    block[row, option] = values[group.name, row, option]
        blocks.append(block)
    return of_space.discretise(blocks)


@pytest.mark.parametrize("name", [*EVERY_SPACE, "darts", "oneshot1-3"])
def test_zerocost_pt_keeps_what_is_worth_most(name):
    of_space = space(name)
    values = worth(of_space)
    calls = []

    def score(net: nn.Module, batch: Any) -> float:
        calls.append(len(batch))
        return paid(net, values)

    method = ZeroCostPT(batch_size=8, n_candidates=2, n_validations=3)
    found = method.search_by(score, workbench(name), derive(0, "method"))

    without = 1 if name == "darts" else 0
    n_each = sum(
        len(row) - (without if group.name.startswith("op") else 0)
        for group in of_space.groups
        for row in group.options
    )
    assert found.arch == dearest(of_space, values)
    # Both candidates are the same cell, so there is nothing to validate.
    assert calls == [8] * (2 * n_each)
    assert found.arrays["validations"].shape == (1, 0)


def test_zerocost_pt_takes_the_candidate_whose_network_scores_best():
    bench = workbench("nb201")
    rng = np.random.default_rng(3)
    draws: dict[int, float] = {}

    def score(net: nn.Module, batch: Any) -> float:
        taken = net.mix.path["op"]
        if all(len(row) == 1 for row in taken):  # A validation: as many 3x3 convolutions.
            draws[len(draws)] = float(sum(row == (3,) for row in taken))
            return draws[len(draws) - 1]
        return float(rng.random())

    method = ZeroCostPT(batch_size=4, n_candidates=6, n_validations=2)
    found = method.search_by(score, bench, derive(0, "method"))

    validated = found.arrays["validated"]
    n_conv3 = (validated == 3).sum(axis=1)
    assert len(validated) > 1
    assert found.arch.code == tuple(validated[n_conv3.argmax()])
    assert found.arrays["validations"].tolist() == [[float(n)] * 2 for n in n_conv3]
    assert len(draws) == 2 * len(validated)


def test_a_proposal_decides_every_row_once_operations_first():
    bench = workbench("oneshot1-1")
    orders = set()

    for seed in range(8):
        proposal = propose(
            bench.supernet(), lambda *_: 0.0, lambda: bench.batch(2), derive(seed, "method")
        )
        # Four rows of operations, then those of parents of blocks 3 and 4 and of the output.
        assert sorted(proposal.order[:4].tolist()) == [0, 1, 2, 3]
        assert sorted(proposal.order[4:].tolist()) == [4, 5, 6]
        assert np.isfinite(proposal.scores).sum(axis=1).tolist()[:4] == [3, 3, 3, 3]
        orders.add(tuple(proposal.order))

    assert len(orders) > 4


def test_zerocost_pt_keeps_an_option_without_a_score_last():
    bench = workbench("nb201")

    def score(net: nn.Module, batch: Any) -> float:
        return math.nan if len(net.mix.path["op"][0]) < 5 and 0 not in net.mix.path["op"][0] else 1

    proposal = propose(bench.supernet(), score, lambda: bench.batch(2), derive(0, "method"))

    assert proposal.arch.code[0] == 1  # Option 0 has no score; the first of the others is kept.


def test_zerocost_pt_weights_are_not_renormalised():
    bench = workbench("nb201")
    seen = []

    def score(net: nn.Module, batch: Any) -> float:
        seen.append(([row.tolist() for row in net.mix.weights["op"]], net.mix.path["op"]))
        return 0.0

    propose(bench.supernet(), score, lambda: bench.batch(2), derive(0, "method"))

    assert len(seen) == 30
    first_weights, first_path = seen[0]
    assert np.allclose(first_weights, 0.2)
    assert sorted(map(len, first_path)) == [4, 5, 5, 5, 5, 5]
    last_weights, last_path = seen[-1]
    assert sorted(map(len, last_path)) == [1, 1, 1, 1, 1, 4]
    assert sorted(row[0] for row in last_weights) == pytest.approx([0.2, 1, 1, 1, 1, 1])


@pytest.mark.parametrize(
    ("name", "per_row"),
    [
        ("nb201", 1),
        ("nb201", 3),
        ("darts-s1", 1),
        ("darts-no-none", 3),
        ("darts", 7),
        ("oneshot1-1", 1),
        ("oneshot1-3", 2),
    ],
)
def test_te_nas_keeps_what_is_worth_most(name, per_row):
    """Both scores agree: what lowers the first least is also what lowers the second most."""
    of_space = space(name)
    values = worth(of_space)
    top = max(values.values())
    costs = {key: top - value for key, value in values.items()}
    method = TeNas(batch_size=4, n_points=4, repeats=1, per_row=per_row, digits=9)

    found = method.search_by(
        lambda net, _: -paid(net, costs) - 1,
        lambda net, _: paid(net, values) + 1,
        workbench(name),
        derive(0, "method"),
    )

    without_none = {key: -1.0 if is_none(of_space, key) else value for key, value in values.items()}
    assert found.arch == dearest(of_space, without_none)


def is_none(of_space: SearchSpace, key: tuple[str, int, int]) -> bool:
    groups = {group.name: group for group in of_space.groups}
    return groups[key[0]].options[key[1]][key[2]] == "none"


def test_te_nas_rounds_by_hand():
    """NB201 without none: 4 options a row, so 24, 18 and 12 removals in three rounds."""
    method = TeNas(batch_size=4, n_points=4, repeats=2)
    sides = set()

    def regions(net: nn.Module, batch: Any) -> float:
        sides.add(tuple(batch.images.shape))
        return 1.0

    found = method.search_by(
        lambda net, _: -1.0, regions, workbench("nb201", side=16), derive(0, "method")
    )

    rounds = found.arrays["changes"][:, 0]
    assert [int((rounds == n).sum()) for n in range(3)] == [24, 18, 12]
    assert found.arrays["changes"].shape == (54, 6)
    # All removals tie, so the first option of every row goes each time and pooling stays.
    assert found.arch.code == (4,) * 6
    assert sides == {(4, 1, 8, 8)}


def test_te_nas_orders_by_the_sum_of_both_ranks():
    changes = np.array(
        [
            [0.10, 0.30],  # ranks 2 + 2
            [0.50, 0.40],  # ranks 0 + 3
            [0.10, 0.20],  # ranks 2 + 1, after the one that lowers the condition number more
            [0.20, 0.30],  # ranks 1 + 2
            [-0.10, 0.0],  # ranks 3 + 0
        ]
    )

    assert pruning_order(changes).tolist() == [1, 3, 2, 4, 0]
    assert dense_ranks(np.array([3.0, 1.0, 3.0, math.nan, 2.0])).tolist() == [2, 0, 2, 3, 1]


@pytest.mark.parametrize(("fan", "n"), [("fan_in", 9 * 64), ("fan_out", 9 * 32)])
def test_initial_weights_have_he_variance(fan, n):
    net = nn.Sequential(nn.Conv2d(64, 32, 3), nn.Linear(8, 8))

    initialise(net, fan, derive(0, "test"))

    # 18,432 draws: the standard error of the standard deviation is 0.5 %.
    assert net[0].weight.std().item() == pytest.approx(math.sqrt(2 / n), rel=0.03)
    assert net[0].bias.abs().max() == 0


def test_what_is_left_of_uneven_rows():
    left = Left(UNEVEN.groups, {"b"})
    inputs = Place(1, 0)

    assert left.options(Place(0, 0)) == [0, 2]
    assert left.undecided() == [Place(0, 0), inputs, Place(1, 1)]
    left.remove(Place(0, 0), 2)
    left.keep(inputs, [3, 1])
    left.keep(Place(1, 1), [0, 2])
    assert left.undecided() == []
    assert left.path() == {"op": [(0,), (0,), (0,)], "inputs": [(1, 3), (0, 2)]}
    assert left.path((inputs, 3))["inputs"] == [(1,), (0, 2)]
    arch = left.arch(UNEVEN)
    assert arch.code == (0, 0, 0, 1, 3, 0, 2)
    assert path_of(UNEVEN, arch) == left.path()


HAS_PROXIES = {"synflow", "ntk_cond", "linear_regions"} <= set(registry.names("proxy"))
NEEDS_PROXIES = pytest.mark.skipif(not HAS_PROXIES, reason="the proxies are not there")


@NEEDS_PROXIES
@pytest.mark.slow
@pytest.mark.parametrize("name", ["nb201", "oneshot1-1"])
def test_the_searches_run_by_real_proxies(name):
    methods = (
        ZeroCostPT(batch_size=4, n_candidates=2, n_validations=1),
        TeNas(batch_size=3, n_points=4, repeats=1, per_row=3),
    )
    for method in methods:
        found = found_by(method, name)
        assert found.arch == space(name).arch(found.arch.code)


# The workbench and the protocol


def test_a_workbench_repeats_by_its_seed_and_leaves_torchs_generator_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)

    torch.manual_seed(5)
    one, again, other = (workbench("nb201", seed) for seed in (1, 1, 2))
    nets = [bench.supernet() for bench in (one, again, other, one)]
    weights = [next(net.parameters()) for net in nets]
    batches = [bench.batch(4) for bench in (one, again, one)]

    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert not torch.equal(weights[0], weights[3])
    assert torch.equal(batches[0].images, batches[1].images)
    assert not torch.equal(batches[0].images, batches[2].images)
    assert torch.equal(expected, torch.rand(3))
    assert one.supernet(channels=2).norm.num_features == 8
    with pytest.raises(InvalidSpec, match="batch of 65 of 64"):
        one.batch(65)


def test_validation_images_are_those_that_nothing_is_trained_on():
    digits = validation(open_images("cluttered-digits"))
    noise = validation(open_images("gaussian", seed=0, n_images=7))

    assert (digits[0], len(digits[1]), digits[2]) == ("valid", 1000, "own split")
    assert (noise[0], noise[1].tolist(), noise[2]) == ("train", list(range(7)), "all")


def table(**options: Any) -> Benchmark:
    return make_table(accuracy_of(NB201.codes), epochs=(12,), **options)


def run_on(bench: Benchmark, method: UntrainedSearch, seed: int = 0, **setting: Any) -> Any:
    settings = {**SETTING, "n_made": 64, "network": TINY, **setting}
    return PROTOCOL.run(Run(bench, seed, settings, method))


def test_the_protocol_looks_up_what_was_chosen():
    bench = table()

    outcome = run_on(bench, FreeDarts(), one_by_one=True)

    result = outcome.result
    arch = NB201.parse(result["arch"])
    assert result["final_index"] == NB201.index(arch)
    expected = float(accuracy_of(np.array([arch.code]))[0])
    # The table's truth is its search value and 5.
    assert result["values"] == {DATASET: {"search": expected, "truth": expected + 5}}
    assert result["final_truth"] == expected + 5
    assert result["slices"] == {DATASET: {"search": str(SEARCH), "truth": str(TRUTH)}}
    assert result["search_seconds"] > 0
    assert result["images"]["name"] == "gaussian"
    assert len(result["track"]) == 25
    for step in result["track"]:
        code = np.array([NB201.parse(step["arch"]).code])
        assert step["values"][DATASET]["truth"] == float(accuracy_of(code)[0]) + 5
    assert set(outcome.arrays) == {"saliency_op", "alpha_op"}
    assert arch == NB201.discretise([outcome.arrays["saliency_op"]])


def test_noise_has_the_data_sets_shape():
    class Looking(UntrainedSearch):
        version = 1

        def search(self, bench: Workbench, rng: np.random.Generator) -> Found:
            shapes.append((bench.image_shape, tuple(bench.batch(2).images.shape)))
            return Found(NB201.sample(rng), notes={"seen": 1})

    shapes: list[Any] = []
    digits = replace_roles(table(), "cluttered-digits")

    outcome = run_on(digits, Looking(), dataset="cluttered-digits")
    run_on(digits, Looking(), dataset="cluttered-digits", images="cluttered-digits")
    run_on(table(), Looking())

    assert outcome.result["seen"] == 1
    assert shapes == [
        ((1, 16, 16), (2, 1, 16, 16)),
        ((1, 16, 16), (2, 1, 16, 16)),
        ((3, 32, 32), (2, 3, 32, 32)),
    ]


def replace_roles(bench: Benchmark, dataset: str) -> Benchmark:
    bench.roles = {dataset: ROLES[DATASET]}
    return bench


def test_a_seed_gives_the_same_cell_in_another_process():
    script = (
        "import torch\n"
        "from harness.engine import Run\n"
        "from protocols.methods.freedarts import FreeDarts\n"
        "from test_untrained_methods import run_on, table\n"
        "torch.manual_seed(99)\n"
        "for saliency in ('snip', 'grasp', 'synflow'):\n"
        "    print(run_on(table(), FreeDarts(saliency=saliency), 3).result['arch'])\n"
    )
    expected = [
        run_on(table(), FreeDarts(saliency=saliency), 3).result["arch"]
        for saliency in ("snip", "grasp", "synflow")
    ]

    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=_env()
    )

    assert expected == done.stdout.split()


def _env() -> dict[str, str]:
    import os
    from pathlib import Path

    here = Path(__file__).parent
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(here.parents[1]), str(here)])}


def test_seeds_give_different_cells():
    cells = {run_on(table(), FreeDarts(), seed).result["arch"] for seed in range(4)}

    assert len(cells) > 1


def test_noise_in_s4_is_drawn_from_the_runs_seed():
    s4 = space("darts-s4")

    class OfS4(UntrainedSearch):
        version = 1

        def search(self, bench: Workbench, rng: np.random.Generator) -> Found:
            values.append(torch.rand(2).tolist())
            return Found(NB201.sample(rng))

    values: list[list[float]] = []
    for seed in (0, 0, 1):
        run_on(table(), OfS4(), seed)

    assert values[0] == values[1] != values[2]
    assert s4.groups[0].options[0][0] == "noise"


def test_a_setting_names_options_of_the_method():
    setting = Setting.read({**SETTING, "scale": 1e-5, "channels": 8})

    assert setting.options == {"scale": 1e-5}
    assert setting.network_settings == {"channels": 8}
    assert configured(FreeDarts(), setting.options) == FreeDarts(scale=1e-5)
    assert configured(FreeDarts(), {"scale": 1}) == FreeDarts(scale=1)
    with pytest.raises(UnknownName, match="Did you mean scale"):
        configured(FreeDarts(), {"scal": 1.0})
    with pytest.raises(InvalidSpec, match="batch_size of FreeDarts is 64 by default"):
        configured(FreeDarts(), {"batch_size": "64"})
    with pytest.raises(InvalidSpec, match="needs the setting dataset"):
        Setting.read({})
    with pytest.raises(UnknownName, match="image data set"):
        Setting.read({"dataset": "cifar11"})
    with pytest.raises(UnknownName, match="space"):
        Setting.read({**SETTING, "space": "nb202"})


def skipped(bench: Benchmark, method: object = None, **setting: Any) -> str | None:
    settings = {**SETTING, **setting}
    return PROTOCOL.skip(Run(bench, 0, settings, method or FreeDarts()))


def test_what_cannot_be_run_has_a_reason(tmp_path, monkeypatch):
    monkeypatch.setenv("NAS_HARNESS_DATA", str(tmp_path))
    bench = table()

    assert skipped(bench) is None
    assert "not a training-free search" in str(skipped(bench, registry.get("method", "rea").offer))
    assert "no supernet of nb101" in str(skipped(bench, space="nb101"))
    assert "declares no roles for 'svhn'" in str(skipped(bench, dataset="svhn"))
    assert "cifar-10" in str(skipped(bench, images="cifar10"))
    assert "seed" in str(skipped(bench, truth_seed=3))


def test_a_cell_that_the_table_does_not_hold_has_no_value():
    bench = table()
    found = Found(Arch("nb201", (9,) * 6))

    class Beyond(UntrainedSearch):
        version = 1

        def search(self, bench: Workbench, rng: np.random.Generator) -> Found:
            return replace(found, arch=Arch("nb201", (1,) * 6))

    bench._row_of_code.pop(bytes((1,) * 6))

    result = run_on(bench, Beyond()).result

    assert (result["final_index"], result["final_truth"]) == (None, None)


STORED = "untrained-test"


@pytest.fixture(scope="module")
def stored_home(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NAS_HARNESS_HOME", str(home))
        made = table()
        builder = StoreBuilder(STORED, NB201, made.codes, made.indices.tolist())
        for at, holding in made.holdings.items():
            builder.add(holding, np.array(made._arrays[at]))
        builder.commit(ROLES, Provenance("test", 1, (), "none", "none"))
        yield home


def execute(method: str, **setting: Any) -> Any:
    settings = {**SETTING, "n_made": 64, "network": TINY, **setting}
    return engine.execute(RunSpec("untrained", STORED, 0, method, settings))


def test_the_engine_records_a_search(stored_home):
    record = execute("freedarts", saliency="snip")

    assert (record.status, record.reason) == (DONE, "")
    assert record.result["final_truth"] is not None
    assert execute("freedarts", images="svhn").status == SKIPPED
    with pytest.raises(UnknownName, match="no_such_option"):
        execute("freedarts", no_such_option=1)


def test_a_search_that_reads_the_truth_fails(stored_home, tmp_path):
    file = tmp_path / "peeking_untrained.py"
    file.write_text(
        "from harness import Slice, load\n"
        "from protocols.untrained import Found, UntrainedSearch\n"
        "class Peeking(UntrainedSearch):\n"
        "    version = 1\n"
        "    def search(self, bench, rng):\n"
        f"        load({STORED!r}).column(Slice.parse({str(TRUTH)!r}), seed='mean')\n"
        "        return Found(bench.space.sample(rng))\n"
        "METHOD = Peeking()\n"
    )

    record = execute(str(file))

    assert record.status == FAILED
    assert f"{TRUTH} is sealed: the method Peeking is running" in record.reason


@pytest.mark.parametrize("name", ["nb201", "darts-s1", "oneshot1-3"])
def test_zero_cost_selection_keeps_the_best_of_random_architectures(name):
    found = ZeroCostNas("l2_norm", n_samples=5, batch_size=4).search(
        workbench(name), derive(0, "method")
    )

    expected = [space(name).sample(rng) for rng in [after_the_proxy(0)] for _ in range(5)]
    assert [arch.code for arch in expected] == [tuple(c) for c in found.arrays["archs"].tolist()]
    assert found.arch == expected[int(found.arrays["scores"].argmax())]
    assert len(set(found.arrays["scores"].tolist())) > 1


def after_the_proxy(seed: int) -> np.random.Generator:
    """The method's generator once the proxy has its seed."""
    rng = derive(seed, "method")
    rng.integers(2**31)
    return rng


def test_zero_cost_selection_scores_the_stand_alone_networks(monkeypatch):
    seen = []

    def score(net, batch):
        seen.append(net)
        return float(len(seen) % 3)

    monkeypatch.setattr(zerocost_nas, "network_score", lambda proxy, rng: score)

    found = ZeroCostNas(n_samples=7, batch_size=4).search(workbench("nb201"), derive(0, "method"))

    assert [1.0, 2.0, 0.0, 1.0, 2.0, 0.0, 1.0] == found.arrays["scores"].tolist()
    assert tuple(found.arrays["archs"][1].tolist()) == found.arch.code  # The first of the best.
    assert all(isinstance(net, Network) for net in seen)
    assert len({net.classifier.weight.sum().item() for net in seen}) == 7


def test_zero_cost_selection_without_any_score_says_so(monkeypatch):
    monkeypatch.setattr(zerocost_nas, "network_score", lambda proxy, rng: lambda *_: math.nan)

    with pytest.raises(HarnessError, match="synflow is NaN for each of 3"):
        ZeroCostNas(n_samples=3, batch_size=4).search(workbench("nb201"), derive(0, "method"))


def test_the_shipped_searches_are_training_free_methods():
    names = ("freedarts", "zerocost_nas", "zerocost_pt", "te_nas")

    for name in names:
        plugin = registry.get("method", name)
        assert PROTOCOL.accepts(plugin.offer)
        assert plugin.version == 1
    assert not PROTOCOL.accepts(registry.get("method", "rea").offer)


def test_a_method_without_options_refuses_them():
    class Plain(UntrainedSearch):
        version = 1

        def search(self, bench: Workbench, rng: np.random.Generator) -> Found:
            raise HarnessError("not called")

    assert isinstance(configured(Plain(), {}), Plain)
    with pytest.raises(InvalidSpec, match="no options"):
        configured(Plain(), {"scale": 1.0})
