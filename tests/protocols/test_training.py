"""The trainer against the formulas of its optimiser, its schedule and its measurements."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from protocols.training import Labelled, Schedule, evaluate, seed_weights, train


def linear_task(n=12):
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(n, 1, 2, 2, generator=generator)
    return Labelled(images, torch.randint(0, 3, (n,), generator=generator))


def linear_net(seed=0):
    seed_weights(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 3, bias=False))


def test_one_full_batch_is_one_nesterov_step_at_the_full_rate():
    task = linear_task()
    net = linear_net()
    weight = net[1].weight.detach().clone().requires_grad_()
    loss = F.cross_entropy(task.images.flatten(1) @ weight.T, task.labels)
    (gradient,) = torch.autograd.grad(loss, weight)

    found = train(net, {"train": task}, Schedule(1, 12, lr=0.3, momentum=0.9, weight_decay=0.1), 0)

    decayed = gradient + 0.1 * weight
    assert torch.allclose(net[1].weight, weight - 0.3 * (1 + 0.9) * decayed, atol=1e-6)
    assert found.loss["train"][0] == pytest.approx(loss.item(), abs=1e-6)


def test_the_rate_follows_a_cosine_from_step_to_step():
    rates = []

    class Recorder(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = linear_net()

        def forward(self, x):
            return self.inner(x)

    original = torch.optim.SGD.step

    def step(self, *args, **kwargs):
        rates.append(self.param_groups[0]["lr"])
        return original(self, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.SGD, "step", step)
        train(Recorder(), {"train": linear_task()}, Schedule(2, 4, lr=0.2), 0)

    assert rates == pytest.approx([0.1 * (1 + math.cos(math.pi * k / 6)) for k in range(6)])


def test_measurements_are_counts_and_means_over_images():
    task, held_out = linear_task(12), linear_task(7)
    net = linear_net()

    found = train(net, {"train": task, "valid": held_out}, Schedule(3, 5, lr=0.1), 0)

    logits = net(held_out.images)
    assert found.correct["valid"][-1] == (logits.argmax(1) == held_out.labels).sum()
    assert found.loss["valid"][-1] == pytest.approx(
        F.cross_entropy(logits, held_out.labels).item(), abs=1e-6
    )
    assert [len(found.loss["train"]), len(found.seconds["valid"])] == [3, 3]


def test_evaluation_in_batches_is_evaluation_of_the_whole():
    images = torch.randn(601, 1, 2, 2)
    data = Labelled(images, torch.randint(0, 3, (601,)))
    net = linear_net()

    correct, loss = evaluate(net, data).tolist()

    assert correct == (net(images).argmax(1) == data.labels).sum()
    assert loss / 601 == pytest.approx(F.cross_entropy(net(images), data.labels).item(), abs=1e-5)


def test_the_seed_decides_weights_and_order():
    def curve(weights, batches):
        splits = {"train": linear_task()}
        return train(linear_net(weights), splits, Schedule(2, 4, lr=0.1), batches).loss["train"]

    assert curve(0, 0).tolist() == curve(0, 0).tolist()
    assert curve(0, 0).tolist() != curve(1, 0).tolist()
    assert curve(0, 0).tolist() != curve(0, 1).tolist()
