"""Batches of two halves of a data set, one for weights and one for architecture parameters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from harness.errors import InvalidSpec
from harness.seeds import derive
from protocols.images.on_device import DeviceImages, Indices, epoch_order
from protocols.search.halves import Halves, Part
from protocols.training import Labelled


class Pair(NamedTuple):
    """The batches of one step: for the weights, and for the architecture parameters."""

    train: Labelled
    valid: Labelled


@dataclass(frozen=True)
class Batches:
    """Batches of both halves, which depend on the seed and the epoch alone."""

    images: DeviceImages
    halves: Halves
    batch_size: int
    seed: int

    def __post_init__(self) -> None:
        for part in self.halves[:2]:
            if len(part.indices) < self.batch_size:
                raise InvalidSpec(
                    f"{len(part.indices)} images of {part.split} make no batch of"
                    f" {self.batch_size}.",
                    "Use smaller batches.",
                )

    @property
    def n_steps(self) -> int:
        """Batches an epoch; what is left of the training images is dropped."""
        return len(self.halves.train.indices) // self.batch_size

    def pairs(self, epoch: int) -> Iterator[Pair]:
        """An epoch, counted from 0; both parts are augmented as the benchmark's training is."""
        train, valid = (
            self._batches(part, epoch, stream)
            for part, stream in ((self.halves.train, "weights"), (self.halves.valid, "arch"))
        )
        return (Pair(*both) for both in zip(train, valid, strict=True))

    def drawn(self, n_images: int, rng: np.random.Generator) -> Labelled:
        """Different validation images, without augmentation."""
        split, indices = self.halves.valid
        n_images = min(n_images, len(indices))
        return self.images.labelled(split, rng.choice(indices, n_images, replace=False))

    def whole(self, part: Part) -> Iterator[Labelled]:
        """All images of a part in their order, without augmentation."""
        return self.images.batches(part.split, part.indices, self.batch_size)

    def _batches(self, part: Part, epoch: int, stream: str) -> Iterator[Labelled]:
        chance = derive(self.seed, stream, f"augmentation {epoch}").integers(2**63)
        return self.images.batches(
            part.split,
            self._order(part.indices, epoch, stream),
            self.batch_size,
            torch.Generator().manual_seed(int(chance)),
            augmentation=self.images.about.augmentation,
        )

    def _order(self, indices: Indices, epoch: int, stream: str) -> Indices:
        """As many as the steps take; a part that is too small comes in several orders."""
        wanted = self.n_steps * self.batch_size
        turns = range(-(-wanted // len(indices)))
        orders = [epoch_order(indices, self.seed, epoch, f"{stream} {turn}") for turn in turns]
        return np.concatenate(orders)[:wanted]
