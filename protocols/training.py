"""Training a stand-alone network and measuring it after every epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from harness.errors import HarnessError
from harness.seeds import derive

TRAIN = "train"
# How torch's allocator of the host, cuBLAS and cuDNN say that they got none, in a RuntimeError.
NO_MEMORY = ("can't allocate memory", "STATUS_ALLOC_FAILED")
EVALUATION_BATCH = 250  # Ours: a batch that stays in a core's cache.


@dataclass(frozen=True)
class Schedule:
    """Stochastic gradient descent with Nesterov momentum, cosine from lr to 0 step by step."""

    epochs: int
    batch_size: int
    lr: float
    momentum: float = 0.9
    weight_decay: float = 5e-4


@dataclass(frozen=True)
class Labelled:
    """images: (n, channels, side, side) float32; labels: (n,) int64; on one device."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Measurements:
    """What a training gave, per split: (n_epoch,) each.

    correct: how many images were classified right. loss: mean cross-entropy in nats. The training
    split's are taken from the batches as they were learnt from, the others' after the epoch.
    seconds: processor time of the epoch's training ("train") or of one evaluation.
    """

    correct: Mapping[str, NDArray[np.int64]]
    loss: Mapping[str, NDArray[np.float64]]
    seconds: Mapping[str, NDArray[np.float64]]


@contextmanager
def one_thread() -> Iterator[None]:
    """Results inside do not depend on how many cores there are, and runs side by side do not get
    in each other's way.
    """
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)


@contextmanager
def memory_errors(remedy: str) -> Iterator[None]:
    """Turns a refusal of memory, the host's or the device's, into a HarnessError that says so."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        told = str(error).partition("\n")[0]
        named = isinstance(error, (MemoryError, torch.OutOfMemoryError))
        if not named and not any(words in told for words in NO_MEMORY):
            raise
        raise HarnessError(
            f"There was not enough memory: {told or 'of the host'}.", remedy
        ) from error


@contextmanager
def own_chance(seed: int, device: torch.device | str = "cpu") -> Iterator[None]:
    """Torch's global generators start from the seed inside, and outside nothing has happened.

    device: whose generator is meant besides the host's.
    """
    used = torch.device(device)
    with torch.random.fork_rng(devices=[used] if used.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def seed_weights(seed: int) -> None:
    """Makes the next network's initial weights those of this seed."""
    torch.manual_seed(int(derive(seed, "weights").integers(2**63)))


def train(
    net: nn.Module, splits: Mapping[str, Labelled], schedule: Schedule, seed: int
) -> Measurements:
    """Trains on the split "train", which comes first, and measures all splits after every epoch.

    The order of the images depends on the seed alone, so all networks see the same batches.
    """
    optimiser = torch.optim.SGD(
        net.parameters(),
        lr=schedule.lr,
        momentum=schedule.momentum,
        weight_decay=schedule.weight_decay,
        nesterov=True,
        fused=True,
    )
    order = derive(seed, "batches")
    totals: dict[str, list[Tensor]] = {split: [] for split in splits}
    seconds: dict[str, list[float]] = {split: [] for split in splits}
    for epoch in range(schedule.epochs):
        for split, data in splits.items():
            started = time.process_time()
            if split == TRAIN:
                shuffled = torch.from_numpy(order.permutation(len(data))).to(data.labels.device)
                total = _learn(net, optimiser, data, shuffled, schedule, epoch)
            else:
                total = evaluate(net, data)
            seconds[split].append(time.process_time() - started)
            totals[split].append(total)
    sums = {split: torch.stack(held).cpu().double().numpy() for split, held in totals.items()}
    return Measurements(
        correct={split: held[:, 0].astype(np.int64) for split, held in sums.items()},
        loss={split: held[:, 1] / len(splits[split]) for split, held in sums.items()},
        seconds={split: np.array(held) for split, held in seconds.items()},
    )


def _learn(
    net: nn.Module,
    optimiser: torch.optim.Optimizer,
    data: Labelled,
    order: Tensor,
    schedule: Schedule,
    epoch: int,
) -> Tensor:
    """One epoch in the given order of images; returns what `evaluate` does, of its batches."""
    net.train()
    batches = torch.split(order, schedule.batch_size)
    total = torch.zeros(2, device=data.images.device)
    for step, batch in enumerate(batches):
        progress = (epoch + step / len(batches)) / schedule.epochs
        for group in optimiser.param_groups:
            group["lr"] = schedule.lr * (1 + math.cos(math.pi * progress)) / 2
        labels = data.labels[batch]
        logits = net(data.images[batch])
        loss = F.cross_entropy(logits, labels)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        with torch.no_grad():
            total += _sums(logits, labels, loss)
    return total


@torch.no_grad()
def evaluate(net: nn.Module, data: Labelled) -> Tensor:
    """(2,) on the data's device: how many images are classified right, and the summed loss."""
    net.eval()
    total = torch.zeros(2, device=data.images.device)
    for images, labels in zip(
        torch.split(data.images, EVALUATION_BATCH),
        torch.split(data.labels, EVALUATION_BATCH),
        strict=True,
    ):
        logits = net(images)
        total += _sums(logits, labels, F.cross_entropy(logits, labels))
    return total


def _sums(logits: Tensor, labels: Tensor, loss: Tensor) -> Tensor:
    correct = (logits.argmax(dim=1) == labels).sum()
    return torch.stack([correct.to(loss.dtype), loss * len(labels)])
