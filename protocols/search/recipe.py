"""What all methods of a comparison share: schedules, optimisers, batches."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from harness.errors import InvalidSpec, unknown

BATCH, RUNNING, RECALIBRATED = "batch", "running", "recalibrated"
NORMS = (BATCH, RUNNING, RECALIBRATED)


@dataclass(frozen=True)
class Recipe:
    """The defaults are DARTS' own (quark0/darts, cnn/train_search.py).

    lr: of the weights, by a cosine from epoch to epoch down to lr_min. clip: largest norm of the
    weights' gradient, 0 for none. warmup_epochs: the first epochs, in which only weights learn.
    arch_first: whether a step of the architecture parameters comes before that of the weights, as
    in DARTS; NATS-Bench's script has it after. norm: what batch norms use when a supernet is
    measured: the batch's own statistics, those that training kept, or those of some training
    batches under the mix that is measured.
    """

    epochs: int = 50
    batch_size: int = 64
    lr: float = 0.025
    lr_min: float = 0.001
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 3e-4
    clip: float = 5.0
    arch_lr: float = 3e-4
    arch_beta1: float = 0.5
    arch_beta2: float = 0.999
    arch_weight_decay: float = 1e-3
    arch_first: bool = True
    warmup_epochs: int = 0
    norm: str = BATCH

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Recipe:
        """A recipe from some of its fields.

        Raises: UnknownName for another field; InvalidSpec for a value of another type or one that
            makes no sense.
        """
        defaults = {option.name: option.default for option in fields(cls)}
        for name, value in values.items():
            if name not in defaults:
                raise unknown("field of a recipe", name, defaults)
            kinds = (int, float) if type(defaults[name]) is float else (type(defaults[name]),)
            if type(value) not in kinds:
                raise InvalidSpec(f"{name} of a recipe is like {defaults[name]!r}, not {value!r}.")
        found = cls(**values)
        if min(found.epochs, found.batch_size) < 1:
            raise InvalidSpec("A recipe needs at least one epoch and one image a batch.")
        if found.norm not in NORMS:
            raise unknown("norm", found.norm, NORMS)
        return found

    def lr_at(self, epoch: int, n_epochs: int | None = None) -> float:
        """Of the weights, in an epoch counted from 0, of n_epochs or of all."""
        part = min(epoch / (n_epochs or self.epochs), 1.0)
        cosine = (1 + math.cos(math.pi * part)) / 2
        return self.lr_min + (self.lr - self.lr_min) * cosine
