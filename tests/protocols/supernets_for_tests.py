"""Small searches for tests: tiny supernets, and one that is linear in its weights."""

import torch
from torch import nn

from harness import registry
from harness.spaces import space
from protocols.images import open_images
from protocols.images.on_device import DeviceImages
from protocols.nets.mix import Supernet, learned
from protocols.nets.supernets import supernet
from protocols.search.batches import Batches
from protocols.search.engine_options import PLAIN
from protocols.search.halves import halves
from protocols.search.loop import Search
from protocols.search.method import Method
from protocols.search.recipe import Recipe

N_CLASSES = 5
TINY = {
    "nb201": {"channels": 4, "n_cells": 1},
    "oneshot1-3": {"channels": 8, "n_cells": 3},
    "darts": {"channels": 4, "n_cells": 3},
}
SMALL_IMAGES = {"image_options": {"shape": [3, 8, 8]}}  # Of a run on noise.

SMALL_SELECTIONS = {
    "argmax": {},
    "best_of_n": {"n": 3, "n_batches": 1},
    "best_of_proxy": {"n": 2, "batch_size": 4},
    "discretisation": {"n_rows": 1, "tune_epochs": 0},
    "evolution": {"population": 4, "n_generations": 2, "n_best": 2, "n_batches": 1},
    "perturbation": {"tune_epochs": 0},
}
# Fewer steps where a method's defaults are for long epochs.
SMALL_OPTIONS = {
    "enas": {"n_steps": 1, "n_samples": 2},
    "sgas": {"first": 0, "every": 1},
    "pdarts": {"first_cells": 0, "second_cells": 0, "third_cells": 0},
}
METHODS = [
    name
    for name in registry.names("method")
    if isinstance(registry.get("method", name).offer, Method)
]


class Linear(Supernet):
    """The weighted sum over rows and options of a linear map of the mean pixel.

    Counts its calls: n_images that went through, and the paths that they took.
    """

    def __init__(self, name="nb201", n_in=3):
        super().__init__()
        self.space = space(name)
        self.maps = nn.ParameterDict(
            {
                f"{group.name} {row} {option}": nn.Parameter(0.5 * torch.randn(n_in, N_CLASSES))
                for group in learned(self.space)
                for row, options in enumerate(group.options)
                for option in range(len(options))
            }
        )
        self.n_images, self.taken = 0, []

    def forward(self, images, mix):
        self.n_images += len(images)
        features = images.mean(dim=(2, 3))
        logits = 0
        for group in learned(self.space):
            self.taken.append(mix.taken(group))
            for row, terms in enumerate(mix.terms(group)):
                for option, weight in terms:
                    term = features @ self.maps[f"{group.name} {row} {option}"]
                    logits = logits + (term if weight is None else weight * term)
        return logits


def batches(batch_size=8, seed=0, n_images=64):
    images = open_images(
        "gaussian", seed=seed, shape=(3, 8, 8), n_classes=N_CLASSES, n_images=n_images
    )
    return Batches(DeviceImages(images, "cpu"), halves(images), batch_size, seed)


def linear_search(method, *, seed=0, batch_size=8, name="nb201", engine=PLAIN, **recipe):
    values = {"epochs": 2, "batch_size": batch_size, **recipe}
    return Search(
        space(name),
        lambda: Linear(name),
        method,
        Recipe(**values),
        batches(batch_size),
        seed=seed,
        engine=engine,
    )


def tiny_search(name, method, *, seed=0, diagnostics=None, network=None, engine=PLAIN, **recipe):
    values = {"epochs": 2, "batch_size": 16, **recipe}

    def new_net(**changes):
        tiny = TINY.get(name, TINY["darts"])
        settings = {**tiny, **method.network, **(network or {}), **changes}
        return supernet(name, n_classes=N_CLASSES, n_in=3, **settings)

    return Search(
        space(name),
        new_net,
        method,
        Recipe(**values),
        batches(values["batch_size"]),
        seed=seed,
        diagnostics=diagnostics,
        engine=engine,
    )
