"""Curvature and discretisation of a supernet, by other means."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from supernets_for_tests import linear_search, tiny_search
from torch.func import hessian

from protocols.left import Left, Place
from protocols.methods.darts import Darts
from protocols.methods.fixed_alpha import FixedAlpha
from protocols.nets.mix import softmax_mix
from protocols.search.diagnostics import (
    DIAGNOSTICS,
    ArchHessian,
    discretised_accuracies,
    shuffled_edges,
)
from protocols.search.method import EVALUATION


@pytest.fixture
def search():
    return linear_search(Darts(), epochs=1)


def explicit(search, batch):
    """All second derivatives, (30, 30)."""

    def loss(alphas):
        rows = {"op": list(alphas.split(5))}
        return F.cross_entropy(search.net(batch.images, softmax_mix(rows)), batch.labels)

    found = hessian(loss)(torch.cat([row.detach() for row in search.rows]))
    return found.detach().double().numpy()


def test_eigenvalue_and_trace_are_those_of_the_explicit_hessian(search):
    batch = next(search.batches.pairs(0)).valid
    expected = explicit(search, batch)
    values = np.linalg.eigvalsh((expected + expected.T) / 2)

    found = ArchHessian(search, batch)

    assert found.n == 30
    assert found.dominant_eigenvalue() == pytest.approx(values[np.abs(values).argmax()], rel=1e-3)
    assert found.trace() == pytest.approx(np.trace(expected), rel=1e-3, abs=1e-6)
    vector = np.random.default_rng(0).standard_normal(30)
    assert np.allclose(expected @ vector, found.times(vector), rtol=1e-3, atol=1e-6)


def test_the_estimate_of_a_trace_is_as_far_off_as_it_may_be(search):
    batch = next(search.batches.pairs(0)).valid
    expected = explicit(search, batch)
    off_diagonal = np.linalg.norm(expected - np.diag(np.diag(expected)))
    n_probes = 200

    found = ArchHessian(search, batch).trace_estimate(np.random.default_rng(0), n_probes)

    deviation = (2 / n_probes) ** 0.5 * off_diagonal
    assert abs(found - np.trace(expected)) < 4 * deviation
    assert deviation < 0.2 * np.abs(np.linalg.eigvalsh(expected)).sum()


def test_the_estimate_of_a_trace_is_exact_for_a_diagonal(search, monkeypatch):
    found = ArchHessian(search, next(search.batches.pairs(0)).valid)
    diagonal = np.arange(30.0) - 7
    monkeypatch.setattr(ArchHessian, "times", lambda self, vector: diagonal * vector)

    assert found.trace_estimate(np.random.default_rng(0), 1) == pytest.approx(diagonal.sum())


def test_a_dominant_eigenvalue_takes_few_products(search):
    found = ArchHessian(search, next(search.batches.pairs(0)).valid)
    found.dominant_eigenvalue()

    n_images = len(next(search.batches.pairs(0)).valid)
    assert search.counts.diagnostic_passes <= 20 * n_images


def test_a_diagnosis_changes_nothing_of_the_search():
    plain = tiny_search("nb201", Darts(), epochs=1)
    plain.run()
    search = tiny_search("nb201", Darts(), epochs=1, diagnostics={"eigenvalue": "valid"})
    search.run()

    assert all(torch.equal(a, b) for a, b in zip(plain.rows, search.rows, strict=True))
    state = search.net.state_dict()
    assert all(torch.equal(held, state[name]) for name, held in plain.net.state_dict().items())
    assert [set(epoch.measured) for epoch in search.epochs] == [{"eigenvalue"}] * 2
    assert search.counts.image_passes == plain.counts.image_passes
    assert search.counts.diagnostic_passes > 0


def test_parameters_that_nothing_depends_on_have_no_curvature():
    search = linear_search(FixedAlpha())

    assert ArchHessian(search, next(search.batches.pairs(0)).valid).trace() == 0


def test_edges_change_places_inside_and_come_back():
    search = tiny_search("nb201", Darts())
    batch = next(search.batches.pairs(0)).valid
    search.net.eval()
    mix = search.mix(EVALUATION)
    with torch.no_grad():
        before = search.net(batch.images, mix)
        with shuffled_edges(search.net, np.random.default_rng(0)):
            inside = search.net(batch.images, mix)
        after = search.net(batch.images, mix)

    assert torch.equal(before, after)
    assert not torch.allclose(before, inside)


def test_accuracy_after_edges_change_places_is_the_same_only_if_all_are_alike():
    search = tiny_search("nb201", Darts())
    batch = next(search.batches.pairs(0)).valid
    plain, shuffled = (DIAGNOSTICS[f"{name}_accuracy"] for name in ("supernet", "shuffled"))
    with torch.no_grad():
        for row in search.rows:
            row.copy_(2 * torch.randn(len(row)))

    def shuffles():
        accuracies = []
        for seed in range(10):
            search.seed = seed
            accuracies.append(shuffled(search, batch))
        return accuracies

    before, apart = plain(search, batch), shuffles()
    for module in search.net.modules():
        for edge in getattr(module, "edges", ()):
            edge.load_state_dict(module.edges[0].state_dict())
    alike = plain(search, batch)

    assert set(shuffles()) == {alike}
    assert set(apart) != {before}


def test_discretised_accuracies_measure_every_option_and_restore():
    search = tiny_search("nb201", Darts(), epochs=1)
    search.run()
    state = {name: held.clone() for name, held in search.net.state_dict().items()}
    rows = [row.detach().clone() for row in search.rows]

    found = discretised_accuracies(search, Place(0, 2), n_epochs=1, lr=0.01)

    assert found.shape == (5,)
    assert ((found >= 0) & (found <= 100)).all()
    assert search.left is None
    assert all(torch.equal(held, search.net.state_dict()[name]) for name, held in state.items())
    assert all(torch.equal(a, b) for a, b in zip(rows, search.rows, strict=True))


def test_only_what_is_left_of_a_row_is_discretised():
    search = linear_search(Darts())
    search.left = Left(search.space.groups)
    search.left.keep(Place(0, 2), [1, 3])
    search.left.keep(Place(0, 4), [2])
    taken = []
    search.accuracy = lambda mix: taken.append(mix.taken(search.space.groups[0])) or 50.0

    found = discretised_accuracies(search, Place(0, 2), n_epochs=0, lr=0.01)

    assert np.isnan(found).tolist() == [True, False, True, False, True]
    assert [rows[2] for rows in taken] == [(1,), (3,)]
    assert [rows[4] for rows in taken] == [(2,), (2,)]
    assert search.left.options(Place(0, 2)) == [1, 3]
