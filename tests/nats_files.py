"""Generated files in NATS-Bench's format, for tests that need many and no real data.

Values follow closed forms: see `accuracy` and `loss`.
"""

import bz2
import pickle
from collections import OrderedDict

import numpy as np

from harness import space

TEXTS = [space("nb201").format(arch) for arch in space("nb201")]
SCHEDULES = {"12": 12, "200": 200}
SEEDS = {"12": (111, 777), "200": (777, 888)}
EVALUATED = {
    "cifar10-valid": ("x-valid", "ori-test"),
    "cifar10": ("ori-test",),
    "cifar100": ("x-valid", "x-test", "ori-test"),
}


def accuracy(index, seed, epoch):
    """Percent, rising with the index and the epoch (from 0)."""
    return 10 + 80 * index / 15_625 + epoch / 20 + seed / 1e6


def loss(index, seed, epoch):
    """Nats, falling with the index and the epoch (from 0)."""
    return 3 - 2 * index / 15_625 - epoch / 400 + seed / 1e6


def run(index, key, seed, epochs):
    names = EVALUATED[key]
    every = range(epochs)
    return {
        "name": key,
        "net_state_dict": None,
        "train_acc1es": {e: accuracy(index, seed, e) for e in every},
        "train_acc5es": None,
        "train_losses": {e: loss(index, seed, e) for e in every},
        "train_times": OrderedDict((e, 10.0) for e in every),
        "arch_config": {"channel": 16, "num_cells": 5, "arch_str": TEXTS[index], "class_num": 10},
        "params": np.float64(0.1),
        "flop": 15.0,
        "seed": f"{seed:04d}",
        "epochs": epochs,
        "latency": [np.float64(0.01)],
        "eval_names": list(names),
        "eval_acc1es": {f"{n}@{e}": accuracy(index, seed, e) for n in names for e in every},
        "eval_losses": {f"{n}@{e}": loss(index, seed, e) for n in names for e in every},
        "eval_times": {f"{n}@{e}": 2.0 for n in names for e in every},
    }


def states(index, keys=("cifar10-valid", "cifar10"), schedules=("12",)):
    """The content of one architecture's file."""
    return {
        hp: {
            "arch_index": index,
            "arch_str": TEXTS[index],
            "clear_net_done": True,
            "dataset_seed": {key: list(SEEDS[hp]) for key in keys},
            "all_results": {
                (key, seed): run(index, key, seed, SCHEDULES[hp])
                for key in keys
                for seed in SEEDS[hp]
            },
        }
        for hp in schedules
    }


def write_folder(folder, indices, **options):
    """A NATS-tss -simple folder with these architectures."""
    folder.mkdir(parents=True, exist_ok=True)
    meta = {
        "meta_archs": TEXTS,
        "total_archs": len(TEXTS),
        "arch2infos": None,
        "evaluated_indexes": set(),
    }
    (folder / "meta.pickle.pbz2").write_bytes(bz2.compress(pickle.dumps(meta), 1))
    for index in indices:
        content = bz2.compress(pickle.dumps(states(index, **options)), 1)
        (folder / f"{index:06d}.pickle.pbz2").write_bytes(content)
    return folder
