"""The loop of supernet search: what every method relies on."""

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from supernets_for_tests import METHODS, SMALL_OPTIONS, batches, linear_search, tiny_search

from harness import registry
from harness.errors import HarnessError, InvalidSpec, UnknownName
from harness.spaces import space
from protocols.methods.darts import Darts
from protocols.methods.random_nas import RandomNas
from protocols.nets.mix import path_mix
from protocols.search.recipe import Recipe
from protocols.selectors.perturbation import Perturbation


def method(name):
    """With fewer steps where the defaults are for long epochs."""
    return replace(registry.get("method", name).offer, **SMALL_OPTIONS.get(name, {}))


def rows_of(search):
    return torch.cat([row.detach() for row in search.rows])


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("space_name", ["nb201", "oneshot1-3"])
def test_every_method_trains_and_only_learners_move_their_parameters(name, space_name):
    if reason := method(name).skip(space(space_name)):
        assert space_name in reason
        return
    search = tiny_search(space_name, method(name), epochs=1)
    before, weight = rows_of(search), search.net.classifier.weight.detach().clone()

    search.run()

    assert method(name).learns_arch != torch.equal(before, rows_of(search))
    assert not torch.equal(weight, search.net.classifier.weight)
    assert len(search.epochs) == 2


@pytest.mark.parametrize("name", METHODS)
def test_image_passes_are_those_that_were_made(name):
    search = linear_search(method(name), epochs=1)
    search.net.n_images = 0

    search.run()

    assert search.counts.image_passes + search.counts.evaluated == search.net.n_images


def assert_resumes(new_search, n_epochs=1):
    """A search that is taken up after some epochs ends as one that was not interrupted."""
    whole, first, second = new_search(), new_search(), new_search()
    whole.run()
    first.run(n_epochs)
    kept = io.BytesIO()
    torch.save(first.state(), kept)
    kept.seek(0)

    second.load(torch.load(kept, weights_only=True))
    second.run()

    assert torch.equal(rows_of(whole), rows_of(second))
    for name_, weight in whole.weights.items():
        assert torch.equal(weight, second.weights[name_])
    assert whole.counts == second.counts
    assert [epoch.losses for epoch in whole.epochs] == [epoch.losses for epoch in second.epochs]
    assert [epoch.arch for epoch in whole.epochs] == [epoch.arch for epoch in second.epochs]


@pytest.mark.parametrize("name", METHODS)
def test_a_resumed_search_is_the_uninterrupted_one(name):
    assert_resumes(lambda: linear_search(method(name), epochs=3))


@pytest.mark.parametrize("n_epochs", [1, 2, 3])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("drnas", {"progressive": True}),
        ("pdarts", {"first_dropout": 0.1, "second_dropout": 0.4, "third_dropout": 0.7}),
        ("sgas", {"batch_growth": 8}),
    ],
)
def test_what_stages_and_decisions_change_is_there_after_a_stop(name, options, n_epochs):
    varied = replace(method(name), **options)
    assert_resumes(lambda: tiny_search("nb201", varied, epochs=4, batch_size=8), n_epochs)


@pytest.mark.parametrize("every", [1, 2])
def test_batches_grow_with_every_decision_and_count_as_they_are(every):
    varied = replace(method("sgas"), every=every, batch_growth=4)
    search = linear_search(varied, epochs=8)
    search.net.n_images, sizes = 0, {}
    step_weights = search.step_weights
    search.step_weights = lambda batch, mixes: (
        sizes.setdefault(search.epoch, []).append(len(batch)),
        step_weights(batch, mixes),
    )

    search.run()

    # Of 32 images as many whole batches as there are. Six edges are decided one after the other.
    n_decided = [min((epoch + every - 1) // every, 6) for epoch in range(8)]
    expected = [8 + 4 * n for n in n_decided]
    assert list(sizes.values()) == [[size] * (32 // size) for size in expected]
    assert search.counts.image_passes == sum(2 * size * (32 // size) for size in expected)
    assert search.counts.image_passes == search.net.n_images
    assert search.counts.arch_steps == sum(32 // size for size in expected)


def test_seeds_differ_and_repeat():
    found = []
    for seed in (0, 0, 1):
        search = linear_search(Darts(), seed=seed, epochs=1)
        search.run()
        found.append(rows_of(search))

    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_a_warm_up_trains_weights_alone():
    search = linear_search(Darts(), epochs=3, warmup_epochs=2)
    start = rows_of(search)

    search.run_epoch()
    search.run_epoch()

    assert torch.equal(start, rows_of(search))
    assert search.counts.arch_steps == 0
    search.run_epoch()
    assert not torch.equal(start, rows_of(search))


def test_the_rate_falls_by_a_cosine():
    recipe = Recipe(epochs=10, lr=0.5, lr_min=0.1)

    assert recipe.lr_at(0) == 0.5
    assert recipe.lr_at(5) == pytest.approx(0.3)
    search = linear_search(Darts(), epochs=2, lr=0.5, lr_min=0.1)
    search.run()
    assert search.weight_optimiser.param_groups[0]["lr"] == pytest.approx(0.3)


@pytest.mark.parametrize("arch_first", [True, False])
def test_the_order_of_the_two_steps(arch_first):
    search = linear_search(Darts(), arch_first=arch_first)
    (pair,) = [next(search.batches.pairs(0))]
    order = []
    search.step_arch = lambda gradients: order.append("arch")
    search.step_weights = lambda batch, mixes: order.append("weights")

    search.method.round(search, [pair])

    assert order == (["arch", "weights"] if arch_first else ["weights", "arch"])


def test_the_same_mixer_gives_the_same_mix_and_another_one_another():
    search = linear_search(method("snas"))
    first, second = search.mixer("arch"), search.mixer("arch")

    (one, again, other) = (
        torch.cat(list(make().weights["op"])).detach() for make in (first, first, second)
    )

    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_a_loss_that_is_no_number_ends_the_search_with_the_epoch():
    search = linear_search(Darts(), lr=1e30, lr_min=1e30, clip=0.0)

    with pytest.raises(HarnessError, match="became (nan|inf) in epoch"):
        search.run()


def test_accuracy_leaves_the_network_as_it_was():
    search = tiny_search("nb201", RandomNas(), epochs=1)
    search.run()
    before = {name: held.clone() for name, held in search.net.state_dict().items()}
    arch = search.space.sample(np.random.default_rng(0))

    for norm in ("batch", "running", "recalibrated"):
        search.recipe = Recipe(epochs=1, batch_size=16, norm=norm)
        assert 0 <= search.accuracy(path_mix(search.space, arch)) <= 100

    after = search.net.state_dict()
    assert all(torch.equal(held, after[name]) for name, held in before.items())
    assert search.counts.image_passes == 32


def test_accuracy_is_the_share_of_right_answers():
    search = linear_search(RandomNas())
    arch = search.space.sample(np.random.default_rng(0))
    data = batches()
    part = data.halves.valid
    held = data.images.labelled(part.split, part.indices)
    with torch.no_grad():
        logits = search.net(held.images, path_mix(search.space, arch))
    expected = 100 * (logits.argmax(dim=1) == held.labels).double().mean().item()

    assert search.accuracy(path_mix(search.space, arch)) == pytest.approx(expected)
    assert search.counts.evaluated == 32


def test_the_halves_do_not_meet_and_orders_change_with_the_epoch():
    data = batches(batch_size=10)
    train, valid = (set(part.indices.tolist()) for part in data.halves[:2])

    assert not train & valid
    assert data.n_steps == 3  # Of 32 images, 2 are dropped.
    first, again, other = (
        torch.cat([pair.train.images for pair in data.pairs(epoch)]) for epoch in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_recipe_says_what_is_wrong_with_it():
    with pytest.raises(UnknownName, match="learning_rate"):
        Recipe.read({"learning_rate": 0.1})
    with pytest.raises(InvalidSpec, match="epochs"):
        Recipe.read({"epochs": 1.5})
    with pytest.raises(UnknownName, match="frozen"):
        Recipe.read({"norm": "frozen"})
    with pytest.raises(InvalidSpec, match="no batch of 64"):
        batches(batch_size=64)


@pytest.mark.parametrize("name", ["drnas", "snas", "darts"])
def test_a_selection_after_a_stop_is_the_uninterrupted_one(name):
    rule = Perturbation(tune_epochs=1)
    whole = tiny_search("nb201", method(name), epochs=1)
    whole.run()
    kept = io.BytesIO()
    torch.save(whole.state(), kept)
    kept.seek(0)
    expected = rule.select(whole, np.random.default_rng(0))

    again = tiny_search("nb201", method(name), epochs=1)
    again.load(torch.load(kept, weights_only=True))
    again.run()
    found = rule.select(again, np.random.default_rng(0))

    assert found.arch == expected.arch
    assert np.array_equal(found.arrays["without_option"], expected.arrays["without_option"])
