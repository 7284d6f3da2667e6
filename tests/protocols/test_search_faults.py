"""Faults of searches that were found, and what is true instead."""

import copy
import io
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import scipy.stats
import torch
import torch.nn.functional as F
from supernets_for_tests import linear_search, tiny_search
from torch.distributions import Dirichlet, kl_divergence

from harness.engine import identity_of, run_all
from harness.errors import InvalidSpec, UnknownName
from harness.record import DONE, SKIPPED, RunSpec
from harness.spaces import space
from protocols.left import Left, Place
from protocols.methods.darts import Darts
from protocols.methods.gdas import Gdas
from protocols.methods.pdarts import PDarts
from protocols.methods.sgas import Sgas
from protocols.nets.mix import learned
from protocols.search import hypergradients
from protocols.search.batches import Pair
from protocols.search.diagnostics import DIAGNOSTICS
from protocols.search.loop import RECALIBRATION_BATCHES
from protocols.search.method import ARCH, EVALUATION, WEIGHTS, Moment
from protocols.search.unrolled import Unrolled
from protocols.training import Labelled

SEARCH = {
    "dataset": "cifar10",
    "images": "gaussian",
    "network": {"channels": 4, "n_cells": 1},
    "n_made": 16,
    "recipe": {"epochs": 1, "batch_size": 8},
}


def set_rows(search, values):
    with torch.no_grad():
        for row, held in zip(search.rows, values, strict=True):
            row.copy_(torch.as_tensor(held, dtype=torch.float32))


def decided(search):
    """Per group, the rows that are decided."""
    undecided = set(search.left.undecided())
    return {
        group.name: [
            row for row in range(len(group.options)) if Place(position, row) not in undecided
        ]
        for position, group in enumerate(search.space.groups)
        if group.learned
    }


# SGAS' importance.


@pytest.mark.parametrize("name", ["darts-s1", "darts-s2", "darts-s4", "oneshot1-3"])
def test_sgas_goes_by_certainty_alone_where_no_option_is_none(name):
    search = linear_search(Sgas(first=0, every=1), name=name)
    rng = np.random.default_rng(0)
    set_rows(search, [rng.normal(size=len(row)) for row in search.rows])
    rows = iter(search.rows)
    sure = {
        group.name: np.argmin(
            [
                scipy.stats.entropy(torch.softmax(next(rows).detach().double(), 0).numpy())
                / np.log(len(options))
                for options in group.options
            ]
        )
        for group in learned(search.space)
    }

    search.method.end_epoch(search)

    found = decided(search)
    of_ops = [group for group in sure if group.startswith("op")]
    assert {group: found[group] for group in of_ops} == {group: [sure[group]] for group in of_ops}


def test_sgas_goes_by_certainty_alone_where_none_weighs_the_same_everywhere():
    search = linear_search(Sgas(first=0, every=1))
    # Of none 0.2 each; only the third row prefers one of the others.
    even, sure = [0.2] * 5, [0.2, 0.5, 0.1, 0.1, 0.1]
    shifts = np.linspace(-3, 3, 6)  # They change rounding alone.
    shares = [even, even, sure, even, even, even]
    set_rows(search, [np.log(row) + by for row, by in zip(shares, shifts, strict=True)])

    search.method.end_epoch(search)

    assert decided(search) == {"op": [2]}


# P-DARTS' strengths.


def test_pdarts_compares_edges_by_what_is_left_of_them():
    search = linear_search(PDarts(first_cells=0), name="darts")
    groups = search.space.groups
    search.left = Left(groups)
    for position, group in enumerate(groups):
        if group.learned:
            for row in range(len(group.options)):
                search.left.keep(Place(position, row), [4, 5, 6])
    values = [np.zeros(8) for _ in search.rows]
    for row in (2, 3, 4):  # The three edges of a cell's second node.
        values[row][4] = 0.5
    values[2][4] = np.log(4)
    values[2][1] = 9.0  # Of what is gone.
    set_rows(search, values)

    strengths = search.strengths()[0]
    genotype = search.space.genotype(search.arch())

    # 4 of 4 + 1 + 1, and e^0.5 of e^0.5 + 1 + 1.
    assert strengths[2] == pytest.approx([0, 0, 0, 0, 2 / 3, 1 / 6, 1 / 6, 0])
    assert strengths[3][4] == pytest.approx(np.exp(0.5) / (np.exp(0.5) + 2))
    assert genotype.normal[2] == (groups[0].options[2][4], 0)


# Recalibrated statistics.


def recalibrated(wide):
    """A search's network after recalibration, and its percent under the same mix."""
    search = tiny_search("nb201", Darts(), epochs=1, batch_size=4, norm="recalibrated")
    search.run()
    mix = replace(search.mix(EVALUATION), wide=wide)
    accuracy = search.accuracy(mix)
    with torch.no_grad():
        search._recalibrate(mix)
        search.net.eval()
        batch = next(search.batches.whole(search.batches.halves.valid))
        logits = search.net(batch.images, mix)
    return search, accuracy, logits


def test_recalibrated_statistics_do_not_depend_on_what_is_computed_together():
    (plain, expected, logits), (wide, accuracy, found) = recalibrated(False), recalibrated(True)
    buffers = dict(wide.net.named_buffers())

    assert accuracy == expected
    for name, held in plain.net.named_buffers():
        assert torch.allclose(held.float(), buffers[name].float(), rtol=1e-4, atol=1e-6), name
    assert torch.allclose(logits, found, rtol=1e-4, atol=1e-5)


def test_recalibrated_statistics_of_an_edge_are_the_mean_over_the_batches():
    search = tiny_search("nb201", Darts(), epochs=1, batch_size=4, norm="recalibrated")
    mix = search.mix(EVALUATION)
    assert mix.wide
    op = search.net.cells[0].edges[0].ops[2]
    means, variances = [], []
    with torch.no_grad():
        parts = search.batches.whole(search.batches.halves.train)
        for batch in islice(parts, RECALIBRATION_BATCHES):
            # The batch norm of the stem uses the batch's statistics, which it is given alone.
            stem = copy.deepcopy(search.net.stem).train()
            values = op.conv(torch.relu(stem(batch.images)))
            means.append(values.mean(dim=(0, 2, 3)))
            variances.append(values.var(dim=(0, 2, 3), unbiased=True))

        search._recalibrate(mix)

    n_batches = len(means)
    assert n_batches > 1
    assert op.norm.num_batches_tracked == n_batches
    assert torch.allclose(torch.stack(means).mean(dim=0), op.norm.running_mean, atol=1e-6)
    assert torch.allclose(torch.stack(variances).mean(dim=0), op.norm.running_var, rtol=1e-4)


# S4's noise.


SEARCHES_OF_NOISE = [
    (Sgas(first=0, every=1, criterion="accuracy", n_batches=1), None),
    (Darts(), {"loss": "valid"}),
]


@pytest.fixture
def loss_as_diagnostic(monkeypatch):
    """A cheap one: a pass through the network, so that S4 draws noise."""

    def loss(search, batch):
        with torch.no_grad():
            logits = search.net(batch.images, search.mix(EVALUATION))
        return float(F.cross_entropy(logits, batch.labels))

    monkeypatch.setitem(DIAGNOSTICS, "loss", loss)


def told(search):
    left = None if search.left is None else search.left.state()
    epochs = [(epoch.losses, epoch.arch, epoch.measured) for epoch in search.epochs]
    return epochs, left, [row.tolist() for row in search.rows]


@pytest.mark.usefixtures("loss_as_diagnostic")
@pytest.mark.parametrize(("method", "diagnostics"), SEARCHES_OF_NOISE, ids=["decides", "measured"])
def test_a_search_of_s4_depends_on_its_seed_and_epoch_alone(method, diagnostics):
    found = []
    for elsewhere in (0, 1):
        torch.manual_seed(elsewhere)
        search = tiny_search("darts-s4", method, epochs=2, diagnostics=diagnostics)
        search.run()
        found.append(told(search))

    assert found[0] == found[1]


@pytest.mark.usefixtures("loss_as_diagnostic")
@pytest.mark.parametrize(("method", "diagnostics"), SEARCHES_OF_NOISE, ids=["decides", "measured"])
def test_a_resumed_search_of_s4_is_the_uninterrupted_one(method, diagnostics):
    def new_search():
        torch.manual_seed(0)
        return tiny_search("darts-s4", method, epochs=3, diagnostics=diagnostics)

    whole = new_search()
    whole.run()
    drawn = torch.rand(3)
    first = new_search()
    first.run(1)
    kept = io.BytesIO()
    torch.save(first.state(), kept)
    kept.seek(0)
    second = new_search()
    second.load(torch.load(kept, weights_only=True))
    second.run()

    assert told(whole) == told(second)
    assert torch.equal(drawn, torch.rand(3))  # Nor does what a selector would draw.


@pytest.mark.parametrize("noise", ["same", "fresh"])
def test_the_second_pass_of_sotl_on_s4_sees_the_same_noise(noise):
    search = tiny_search("darts-s4", Unrolled(steps=2, noise=noise), arch_lr=0.0)
    pairs = list(islice(search.batches.pairs(0), 2))
    loss, losses = search.loss, []

    def seen(*args, **kwargs):
        found = loss(*args, **kwargs)
        losses.append(found.item())
        return found

    search.loss = seen
    search.method.round(search, pairs)

    assert len(losses) == 4
    assert (losses[:2] == losses[2:]) == (noise == "same")


def test_the_difference_of_two_gradients_on_s4_sees_the_same_noise(monkeypatch):
    """Against the derivative that it approximates, by steps too small to cross a ReLU's kink."""
    monkeypatch.setattr(hypergradients, "MOVE", 1e-5)
    search = in_double("darts-s4", Darts(order=2))
    pair = Pair(*(Labelled(b.images.double(), b.labels) for b in next(search.batches.pairs(0))))
    torch.manual_seed(0)
    mixer, drawn = search.mixer(ARCH), search.noise_state
    along = {name: torch.randn_like(weight) for name, weight in search.weights.items()}
    terms = []
    for term in (hypergradients._difference, hypergradients._mixed_derivative):
        search.noise_state = drawn
        terms.append(torch.cat(term(search, pair, mixer, search.rows, along)))

    assert terms[0].numpy() == pytest.approx(terms[1].numpy(), abs=1e-6)


def in_double(name, method):
    search = tiny_search(name, method)
    search.net.double()
    for row in search.rows:
        row.data = row.data.double()
    return search


# Options of an inner method.


def steps_of(method):
    """The gradients by which the parameters take their first step."""
    search = linear_search(method, arch_lr=0.0)
    set_rows(search, np.linspace(-1, 1, 30).reshape(6, 5))
    taken = []
    search.step_arch = taken.extend
    search.method.round(search, list(islice(search.batches.pairs(0), 3)))
    return search, torch.stack(taken)


@pytest.mark.parametrize("summed", ["train", "valid"])
def test_what_drnas_adds_to_a_loss_is_added_to_every_loss_that_is_summed(summed):
    around = Unrolled(inner="drnas", steps=3, summed=summed)
    search, plain = steps_of(around)
    penalised, found = steps_of(replace(around, inner_options={"kl": 0.1}))

    beta = torch.linspace(-1, 1, 30).reshape(6, 5).requires_grad_()
    held = torch.where(beta > 0, beta, torch.expm1(beta)) + 1
    total = kl_divergence(Dirichlet(held), Dirichlet(torch.ones(6, 5))).sum()
    (slope,) = torch.autograd.grad(total, beta)
    decays = [s.arch_optimiser.param_groups[0]["weight_decay"] for s in (search, penalised)]
    assert torch.allclose(plain + 3 * 0.1 * slope, found, atol=1e-6)
    assert decays == [1e-3, 0.0]


def test_temperatures_and_dropout_of_an_inner_method_can_be_set():
    search = linear_search(Darts())
    tau = {"tau_first": 0.5, "tau_last": 0.5}
    at = Moment(WEIGHTS, 0, 2)
    mixes = [
        method.mix(search, search.alphas, at, np.random.default_rng(0)).weights["op"]
        for method in (Gdas(**tau), Unrolled(inner="gdas", inner_options=tau))
    ]
    slopes = [torch.autograd.grad(rows[0][1], search.rows[0])[0] for rows in mixes]
    inner = Unrolled(inner="pdarts", inner_options={"first_dropout": 0.3})
    dropped = inner.mix(search, search.alphas, Moment(ARCH, 0, 2), np.random.default_rng(0))

    assert torch.equal(*slopes)
    assert dropped.skip_dropout.rate == pytest.approx(0.3)


def test_options_that_the_inner_method_has_not_are_errors():
    with pytest.raises(UnknownName, match="tau_first"):
        Unrolled(inner="drnas", inner_options={"tau_first": 1.0}).skip(space("nb201"))
    with pytest.raises(InvalidSpec, match="kl of DrNas"):
        identity_of(searched("sotl", inner="drnas", inner_options={"kl": "much"}))


def searched(method, **options):
    return RunSpec("supernet", "no-table:nb201", 0, method, {**SEARCH, **options})


def test_inner_options_are_of_the_run_only_where_they_are_set(home):
    plain = searched("sotl", inner="drnas", steps=2)
    varied = searched("sotl", inner="drnas", steps=2, inner_options={"kl": 0.5})
    (record,) = run_all([varied])

    assert identity_of(plain)["setting"] == {**SEARCH, "inner": "drnas", "steps": 2}
    assert record.status == DONE
    assert record.identity["setting"]["inner_options"] == {"kl": 0.5}
    assert record.result["method_options"]["inner_options"] == {"kl": 0.5}


@pytest.mark.parametrize(
    ("inner", "options"),
    [
        ("sgas", {}),
        ("enas", {}),
        ("balenas", {}),
        ("random_nas", {}),
        ("rea", {}),
        ("sovl", {}),
        ("darts", {"order": 2}),
    ],
)
def test_what_cannot_be_unrolled_is_skipped_with_that_reason(home, inner, options):
    (record,) = run_all([searched("sotl", inner=inner, inner_options=options)])

    assert record.status == SKIPPED
    assert record.reason.startswith(f"{inner} cannot be unrolled.")
