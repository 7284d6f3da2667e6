"""Speed of supernet search on NAS-Bench-201's supernet, as ratios to plain code.

    python benchmarks/supernet.py [--channels N] [--cells N] [--batch N] [--threads N] [--rounds N]

The plain supernet below has one module an operation and sums every edge in Python; it shares the
operations, the skeleton and the weights' sizes with ours. Both sides take their steps in turn; a
ratio is the median over rounds of ours to the other.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.spaces import space
from harness.spaces.nb201 import EDGES, N_NODES, OPS, OUTPUT
from protocols.images import open_images
from protocols.images.on_device import DeviceImages
from protocols.methods.darts import Darts
from protocols.nets.mix import path_mix, softmax_mix
from protocols.nets.nb201 import Network
from protocols.nets.nb201_supernet import NB201Supernet
from protocols.nets.ops import nb201_op
from protocols.search.batches import Batches
from protocols.search.halves import halves
from protocols.search.loop import Search
from protocols.search.recipe import Recipe

SPACE = space("nb201")
N_CLASSES = 10
TARGETS = {
    "mixed step": 0.75,
    "single-path step": 1.1,
    "second-order round": 2.7,
    "loop around a step": 1.03,
}


class PlainCell(nn.Module):
    """Every operation of every edge, one after the other."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.edges = nn.ModuleList(
            nn.ModuleList(nb201_op(op, channels, affine=False) for op in OPS) for _ in EDGES
        )

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        nodes: list[Tensor | int] = [x, *[0] * (N_NODES - 1)]
        for edge, (target, source) in enumerate(EDGES):
            terms = (
                w * op(nodes[source]) for w, op in zip(weights[edge], self.edges[edge], strict=True)
            )
            nodes[target] = nodes[target] + sum(terms)
        return nodes[OUTPUT]


class Plain(nn.Module):
    """Our supernet's skeleton around plain cells."""

    def __init__(self, ours: NB201Supernet) -> None:
        super().__init__()
        self.stem, self.reductions = ours.stem, ours.reductions
        self.norm, self.classifier, self.n_cells = ours.norm, ours.classifier, ours.n_cells
        width = ours.stem[0].out_channels
        self.cells = nn.ModuleList(
            PlainCell(width << stage) for stage in range(3) for _ in range(ours.n_cells)
        )

    def forward(self, images: Tensor, weights: Tensor) -> Tensor:
        x = self.stem(images)
        for position, cell in enumerate(self.cells):
            if position % self.n_cells == 0:
                x = self.reductions[position // self.n_cells](x)
            x = cell(x, weights)
        return self.classifier(F.relu(self.norm(x)).mean(dim=(2, 3)))


def timed(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def compare(label: str, ours: Callable[[], object], other: Callable[[], object], n: int) -> None:
    ours(), other()  # Warm-up.
    pairs = [(timed(ours), timed(other)) for _ in range(n)]
    ratio = statistics.median(one / two for one, two in pairs)
    seconds = [statistics.median(side) for side in zip(*pairs, strict=True)]
    mark = "ok" if ratio <= TARGETS[label] else "MISSED"
    print(
        f"{label}: {seconds[0]:.3f} s, other {seconds[1]:.3f} s; ratio {ratio:.2f}"
        f" (target <= {TARGETS[label]}) {mark}",
        flush=True,
    )


def stepper(net: nn.Module, *inputs: object, labels: Tensor) -> Callable[[], None]:
    """A forward and a backward pass of the training loss."""

    def step() -> None:
        net.zero_grad(set_to_none=True)
        F.cross_entropy(net(*inputs), labels).backward()

    return step


def main() -> None:
    """Prints seconds, ratios and the peak of memory."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--channels", type=int, default=16)
    parser.add_argument("--cells", type=int, default=5, help="a stage")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5, help="of every comparison")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    sizes = {"channels": options.channels, "n_cells": options.cells}

    def new_net(**changes: object) -> NB201Supernet:
        return NB201Supernet(SPACE, n_classes=N_CLASSES, **{**sizes, **changes})

    images = open_images(
        "gaussian", seed=0, shape=(3, 32, 32), n_classes=N_CLASSES, n_images=4 * options.batch
    )
    data = Batches(DeviceImages(images, "cpu"), halves(images), options.batch, 0)
    pair = next(data.pairs(0))
    labels, alphas = pair.train.labels, [torch.zeros(5, requires_grad=True) for _ in EDGES]

    ours = new_net()
    plain = Plain(ours)
    weights = torch.stack([row.detach().softmax(0) for row in alphas])

    def fresh_mix() -> None:
        ours.zero_grad(set_to_none=True)
        mix = replace(softmax_mix({"op": alphas}), wide=True)
        F.cross_entropy(ours(pair.train.images, mix), labels).backward()

    compare(
        "mixed step",
        fresh_mix,
        stepper(plain, pair.train.images, weights.requires_grad_(), labels=labels),
        options.rounds,
    )
    arch = SPACE.sample(np.random.default_rng(0))
    compare(
        "single-path step",
        stepper(ours, pair.train.images, path_mix(SPACE, arch), labels=labels),
        stepper(Network(arch, n_classes=N_CLASSES, **sizes), pair.train.images, labels=labels),
        options.rounds,
    )
    first, second = (
        Search(SPACE, new_net, Darts(order), Recipe(batch_size=options.batch), data, seed=0)
        for order in (1, 2)
    )
    compare(
        "second-order round",
        lambda: second.method.round(second, [pair]),
        lambda: first.method.round(first, [pair]),
        options.rounds,
    )

    def bare() -> None:
        """The passes and steps of a first-order round, and nothing else."""
        for images_, labels_, needs in (
            (pair.valid.images, pair.valid.labels, first.rows),
            (pair.train.images, labels, list(first.net.parameters())),
        ):
            with torch.set_grad_enabled(True):
                mix = replace(softmax_mix(first.alphas), wide=True)
                loss = F.cross_entropy(first.net(images_, mix), labels_)
                slopes = torch.autograd.grad(loss, needs, allow_unused=True)
            for held, slope in zip(needs, slopes, strict=True):
                held.grad = slope
        nn.utils.clip_grad_norm_(first.net.parameters(), first.recipe.clip)
        first.arch_optimiser.step()
        first.weight_optimiser.step()

    compare(
        "loop around a step",
        lambda: first.method.round(first, [pair]),
        bare,
        options.rounds,
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(f"peak memory {peak:.0f} MB")


if __name__ == "__main__":
    main()
