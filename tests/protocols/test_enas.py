"""ENAS' controller: what its steps count and what they are made of."""

import pytest
from supernets_for_tests import linear_search

from harness.errors import InvalidSpec
from protocols.methods.enas import OPTIMISER, Enas


def searched(**options):
    search = linear_search(Enas(n_steps=3, n_samples=2, **options), batch_size=8, epochs=2)
    search.run()
    return search


def test_every_step_of_the_controller_is_one_of_the_architecture():
    assert searched().counts.arch_steps == 2 * 3


@pytest.mark.parametrize(("reward_batch", "n_images"), [(0, 8), (5, 5), (1000, 32)])
def test_a_reward_is_of_as_many_images_as_asked(reward_batch, n_images):
    """Two epochs of 3 steps with 2 cells each; the validation half has 32 images."""
    assert searched(reward_batch=reward_batch).counts.evaluated == 2 * 3 * 2 * n_images


@pytest.mark.parametrize(("options", "betas"), [({}, (0.5, 0.999)), ({"beta1": 0.0}, (0.0, 0.999))])
def test_the_controller_learns_by_adam_with_these_betas(options, betas):
    (group,) = searched(**options).memory[OPTIMISER]["param_groups"]

    assert tuple(group["betas"]) == betas


def test_a_reward_has_no_negative_number_of_images():
    with pytest.raises(InvalidSpec, match="-1 images"):
        Enas(reward_batch=-1)
