"""Curvature where nothing learns or where chance has no second derivative; edges that differ."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from supernets_for_tests import linear_search, tiny_search
from torch.func import hessian

from harness import registry
from harness.errors import InvalidSpec
from protocols.left import Left, Place
from protocols.methods.darts import Darts
from protocols.methods.drnas import DrNas
from protocols.methods.fixed_alpha import FixedAlpha
from protocols.nets.mix import Mix
from protocols.search import diagnostics, loop
from protocols.search.diagnostics import ArchHessian, shuffled_edges
from protocols.search.method import EVALUATION


def first_batch(search):
    return next(search.batches.pairs(0)).valid


# Draws without second derivatives.


def at_the_mean(search, batch, kept):
    """All second derivatives of the loss under (elu(beta) + 1) / its sum over what is kept."""

    def loss(betas):
        positive = (F.elu(betas) + 1).view(6, 5) * kept
        weights = positive / positive.sum(dim=1, keepdim=True)
        return F.cross_entropy(search.net(batch.images, Mix({"op": list(weights)})), batch.labels)

    found = hessian(loss)(torch.cat([row.detach() for row in search.rows]))
    return found.detach().double().numpy()


@pytest.mark.parametrize("progressive", [False, True])
def test_the_curvature_of_drnas_is_that_at_the_mean(progressive):
    search = linear_search(DrNas())
    kept = torch.ones(6, 5)
    if progressive:
        search.method = DrNas(progressive=True)
        search.left = Left(search.space.groups)
        search.left.keep(Place(0, 2), [1, 3])
        kept[2] = torch.tensor([0, 1, 0, 1, 0])
    with torch.no_grad():
        for row in search.rows:
            row.copy_(torch.randn(5))
    batch = first_batch(search)
    expected = at_the_mean(search, batch, kept)
    values = np.linalg.eigvalsh((expected + expected.T) / 2)

    found = ArchHessian(search, batch)

    assert found.trace() == pytest.approx(np.trace(expected), rel=1e-3, abs=1e-6)
    assert found.dominant_eigenvalue() == pytest.approx(values[np.abs(values).argmax()], rel=1e-3)


def test_drnas_is_measured_after_every_epoch_and_learns_as_without():
    plain = tiny_search("nb201", DrNas())
    plain.run()
    search = tiny_search("nb201", DrNas(), diagnostics={"eigenvalue": "valid"})
    search.run()

    found = [epoch.measured["eigenvalue"] for epoch in search.epochs]
    assert len(found) == 3
    assert np.isfinite(found).all() and np.all(found)
    assert all(torch.equal(a, b) for a, b in zip(plain.rows, search.rows, strict=True))


def test_what_is_unrolled_around_drnas_is_measured_at_its_mean_too():
    sotl = registry.get("method", "sotl").offer
    search, inner = linear_search(replace(sotl, inner="drnas")), linear_search(DrNas())

    expected = ArchHessian(inner, first_batch(inner)).trace()

    assert ArchHessian(search, first_batch(search)).trace() == pytest.approx(expected, rel=1e-6)


# Losses that do not depend on the parameters.


@pytest.mark.parametrize("method", ["fixed_alpha", "random_nas", "enas"])
def test_a_loss_without_parameters_has_no_curvature_and_costs_no_products(method):
    measured = dict.fromkeys(("eigenvalue", "trace", "trace_estimate"), "valid")

    search = tiny_search("nb201", registry.get("method", method).offer, diagnostics=measured)

    assert search.epochs[0].measured == dict.fromkeys(measured, 0.0)
    assert search.counts.diagnostic_passes == 0


# What a measurement costs.


def test_a_product_counts_every_image_once():
    search = linear_search(Darts(), batch_size=8)
    found = ArchHessian(search, first_batch(search))

    assert search.counts.diagnostic_passes == 0
    found.trace()
    assert search.counts.diagnostic_passes == 8 * 30
    found.trace_estimate(np.random.default_rng(0), 7)
    assert search.counts.diagnostic_passes == 8 * (30 + 7)
    assert search.counts.image_passes == 0


def test_the_time_of_an_epoch_is_without_its_diagnostics(monkeypatch):
    now = 0.0

    def pass_(seconds):
        nonlocal now
        now += seconds
        return 0.0

    monkeypatch.setattr(loop, "time", SimpleNamespace(perf_counter=lambda: now))
    monkeypatch.setitem(diagnostics.DIAGNOSTICS, "trace", lambda search, batch: pass_(100))
    monkeypatch.setattr(FixedAlpha, "end_epoch", lambda self, search: pass_(3) and None)
    search = tiny_search("nb201", FixedAlpha(), diagnostics={"trace": "valid"})
    search.run()

    assert [epoch.seconds for epoch in search.epochs] == [0, 3, 3]
    assert now == 3 * 100 + 2 * 3


# Edges that change places.


def places(search):
    """Per cell and edge, its stride and its operations."""
    return [
        [(edge.stride, [repr(op) for op in edge.ops]) for edge in module.edges]
        for module in search.net.modules()
        if hasattr(module, "edges")
    ]


@pytest.mark.parametrize("space_name", ["darts-s1", "darts-s4", "darts", "nb201"])
def test_only_edges_of_one_make_change_places(space_name):
    search = tiny_search(space_name, Darts())
    search.net.eval()
    batch, mix, before = first_batch(search), search.mix(EVALUATION), places(search)
    edges = [edge for module in search.net.modules() for edge in getattr(module, "edges", ())]

    for seed in range(8):
        with shuffled_edges(search.net, np.random.default_rng(seed)), torch.no_grad():
            inside = [edge for m in search.net.modules() for edge in getattr(m, "edges", ())]

            assert places(search) == before
            assert search.net(batch.images, mix).isfinite().all()
        moved = [i for i, pair in enumerate(zip(edges, inside, strict=True)) if pair[0] != pair[1]]
        assert len(moved) == 2 * len(before)


def test_choice_blocks_are_no_edges_that_change_places():
    net = tiny_search("oneshot1-3", Darts()).net

    with pytest.raises(InvalidSpec, match="choice blocks"):
        with shuffled_edges(net, np.random.default_rng(0)):
            pass
