"""The loop of every supernet search: its state, its steps, and what it counts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from copy import deepcopy
from dataclasses import asdict, replace
from itertools import islice
from typing import Any, final

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from harness.arch import Arch, SearchSpace
from harness.errors import HarnessError
from harness.seeds import derive
from protocols.left import Left, Place
from protocols.nets.mix import Mix, Supernet
from protocols.saliency import as_strengths, gradient
from protocols.search.batches import Batches, Pair
from protocols.search.diagnostics import DIAGNOSTICS
from protocols.search.engine_options import PLAIN, EngineOptions, compilable
from protocols.search.history import Counts, Epoch, Strengths
from protocols.search.method import ARCH, EVALUATION, WEIGHTS, Alphas, Method, Moment
from protocols.search.recipe import BATCH, RECALIBRATED, Recipe
from protocols.search.stages import hand_over
from protocols.training import Labelled, own_chance

N_SUMS = 3  # Images, right answers, summed loss.
RECALIBRATION_BATCHES = 10  # Ours.
SMALLER_STEPS = "A smaller lr or a clip of gradients may help."
METHOD = "method"  # The purpose of random numbers that are for no mix.


@final
class Search:
    """A supernet and its architecture parameters while a method trains them.

    space, net, recipe, method, batches: as given. left: the options that all mixes are held to,
    None for all; a selector sets it, or a method that decides on the way. alphas: the parameters,
    per learned group and row. memory: whatever else a method must remember, of tensors and plain
    values, which torch.load takes without trust. objects: what it can make again of that. counts,
    epochs: what was spent and found so far. Randomness depends on the seed and the epoch alone, so
    that a search can be taken up after any epoch.
    """

    def __init__(
        self,
        space: SearchSpace,
        new_net: Callable[..., Supernet],
        method: Method,
        recipe: Recipe,
        batches: Batches,
        *,
        seed: int,
        diagnostics: Mapping[str, str] | None = None,
        engine: EngineOptions = PLAIN,
    ) -> None:
        """new_net: makes a supernet on the batches' device, its weights from torch's generator.

        It takes settings of the supernet by name, on top of its own, if the method has stages.
        diagnostics: names in `DIAGNOSTICS` -> the half, "train" or "valid", on whose first images
        they are measured after every epoch. engine: how it is computed.
        """
        self._new_net, self.space = new_net, space
        self.engine = engine
        self.method, self.recipe, self.batches = method, recipe, batches
        self.device = batches.images.device
        self.memory: dict[str, Any] = {}
        self.objects: dict[str, Any] = {}
        self.counts = Counts()
        self.epochs: list[Epoch] = []
        self.seed = seed
        self._is_traced = False
        self._n_tuned = 0
        self.left: Left | None = None
        self._enter_stage(0)
        self._begin(0)
        self._diagnostics = diagnostics or {}
        self.epochs.append(Epoch(0, self.strengths(), self.arch(), measured=self._measured()))

    # What a method works with.

    @property
    def epoch(self) -> int:
        """The epoch that runs, counted from 0."""
        return len(self.epochs) - 1 if self.epochs else 0

    def stage_of(self, epoch: int) -> tuple[int, int]:
        """The stage of an epoch, and the epochs that it had before; the last may be longer."""
        n_stages = self.method.n_stages
        length = max(self.recipe.epochs // n_stages, 1)
        stage = min(max(epoch, 0) // length, n_stages - 1)
        return stage, epoch - stage * length

    @property
    def is_learning_arch(self) -> bool:
        """Whether the architecture parameters learn in this epoch."""
        _, since = self.stage_of(self.epoch)
        return self.method.learns_arch and since >= self.recipe.warmup_epochs

    @property
    def lr(self) -> float:
        """Of the weights, now."""
        lr: float = self.weight_optimiser.param_groups[0]["lr"]
        return lr

    def mixer(
        self, phase: str, alphas: Alphas | None = None, *, twice: bool = False
    ) -> Callable[[], Mix]:
        """The method's mix with new random numbers, the same in every call of what is returned.

        Every call builds the graph to the parameters anew. alphas: in place of the loop's own.
        twice: see `Moment`.
        """
        noise = int(self._noise[phase].integers(2**63))
        at = Moment(phase, self.epoch, self.recipe.epochs, twice)
        by = self.alphas if alphas is None else alphas

        def mix() -> Mix:
            made = self.method.mix(self, by, at, np.random.default_rng(noise))
            return self.constrained(replace(made, wide=not self.method.is_single_path))

        return mix

    def mix(self, phase: str) -> Mix:
        """A mix with new random numbers; for steps of the weights alone it carries no gradient."""
        with torch.set_grad_enabled(phase == ARCH or self._is_traced):
            return self.mixer(phase)()

    def method_rng(self) -> np.random.Generator:
        """New random numbers for what is no mix; a look-ahead repeats these too."""
        return np.random.default_rng(int(self._noise[METHOD].integers(2**63)))

    @contextmanager
    def traced(self) -> Iterator[None]:
        """Inside, steps of the weights add to the gradient of the architecture parameters."""
        self._is_traced = True
        try:
            yield
        finally:
            self._is_traced = False

    @property
    def noise_state(self) -> Any:
        """Where the epoch's random numbers are; set it to draw the same ones again.

        Torch's own generators are among them: S4's noise is drawn from these.
        """
        streams = {name: rng.bit_generator.state for name, rng in self._noise.items()}
        is_cuda = self.device.type == "cuda"
        on_device = torch.cuda.get_rng_state(self.device) if is_cuda else None
        return {"streams": streams, "torch": torch.get_rng_state(), "device": on_device}

    @noise_state.setter
    def noise_state(self, state: Any) -> None:
        for name, held in state["streams"].items():
            self._noise[name].bit_generator.state = held
        torch.set_rng_state(state["torch"])
        if state["device"] is not None:
            torch.cuda.set_rng_state(state["device"], self.device)

    def snapshot(self) -> dict[str, Any]:
        """Weights, buffers and momentum as they are now."""
        return {
            "net": {name: held.clone() for name, held in self.net.state_dict().items()},
            "momentum": deepcopy(self.weight_optimiser.state_dict()),
        }

    def restore(self, before: Mapping[str, Any], *, momentum: bool) -> None:
        """Weights and buffers as they were, and momentum too if that is wanted."""
        self.net.load_state_dict(before["net"])
        if momentum:
            self.weight_optimiser.load_state_dict(before["momentum"])

    def loss(
        self,
        batch: Labelled,
        mix: Mix,
        *,
        phase: str,
        weights: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """The mean cross-entropy of a batch, one image pass an image.

        weights: in place of the network's own; its batch norms then keep nothing of this pass.
        """
        self.net.train()
        if weights is None:
            logits = self._logits(batch, mix, learns=True)
        else:
            kept = {name: buffer.clone() for name, buffer in self.net.named_buffers()}
            images = self.engine.images(batch.images)
            logits = functional_call(self.net, {**kept, **weights}, (images, mix))
        loss = F.cross_entropy(logits, batch.labels)
        self.counts.image_passes += len(batch)
        self._note(phase, batch, logits, loss)
        return loss

    def arch_gradient(self, loss: Tensor) -> list[Tensor]:
        """With respect to every row of parameters; 0 where the loss does not depend on it."""
        return list(gradient(loss, self.rows))

    def step_arch(self, gradients: Sequence[Tensor]) -> None:
        """One step of the architecture parameters' optimiser."""
        for row, slope in zip(self.rows, gradients, strict=True):
            row.grad = slope
        self.arch_optimiser.step()
        self.counts.arch_steps += 1

    def step_weights(
        self,
        batch: Labelled,
        mixes: Sequence[Mix],
        penalty: Callable[[], Tensor] | None = None,
    ) -> None:
        """One step down the mean of the losses under these mixes, one graph at a time.

        Weights that no mix uses stay as they are: they have no decay and no momentum either.
        penalty: is added to the loss.
        """
        self.engine.check_passes(len(mixes))
        self.weight_optimiser.zero_grad(set_to_none=True)
        for mix in mixes:
            loss = self.loss(batch, mix, phase=WEIGHTS) / len(mixes)
            loss.backward()  # type: ignore[no-untyped-call]
        if penalty is not None:
            penalty().backward()  # type: ignore[no-untyped-call]
        if self.recipe.clip:
            torch.nn.utils.clip_grad_norm_(self.net.parameters(), self.recipe.clip)
        self.weight_optimiser.step()
        self.counts.weight_steps += 1

    # What a selector works with.

    def constrained(self, mix: Mix, removed: tuple[Place, int] | None = None) -> Mix:
        """A mix of what is left only, the other weights as they are; a decided row weighs 1.

        removed: one option that is left out too.
        """
        if self.left is None:
            return mix
        allowed = self.left.path(removed)
        path, weights = {}, {name: list(rows) for name, rows in mix.weights.items()}
        for position, group in enumerate(self.space.groups):
            path[group.name] = [
                tuple(option for option in taken if option in may) or may
                for taken, may in zip(mix.taken(group), allowed[group.name], strict=True)
            ]
            for row, held in enumerate(weights.get(group.name, [])):
                place = Place(position, row)
                if len(self.left.options(place)) == self.left.take(place):
                    weights[group.name][row] = torch.ones_like(held)
        return replace(mix, weights=weights, path=path)

    def tune(self, n_epochs: int, lr: float) -> None:
        """Trains on after the last epoch, at a constant rate; momentum starts anew the first time.

        Nothing is done at the end of an epoch.
        """
        if not self._n_tuned:
            self.weight_optimiser = self._new_weight_optimiser()
        for _ in range(n_epochs):
            self._train(self.recipe.epochs + self._n_tuned, lr)
            self._n_tuned += 1

    def fresh_net(self, seed: int) -> Supernet:
        """A new supernet with weights of its own."""
        changes = self.method.stage_network(self, self._stage)
        with own_chance(seed, self.device):
            return self.engine.placed(self._new_net(**changes))

    def strengths(self) -> Strengths:
        """Per learned group (n_rows, n_options): the method's, NaN past a short row."""
        return as_strengths(self.space, [row.detach() for row in self.method.strengths(self)])

    def arch(self) -> Arch | None:
        """What the space makes of the strengths of what is left; None where nothing learns."""
        return self.space.discretise(self.left_strengths()) if self.method.learns_arch else None

    def left_strengths(self) -> Strengths:
        """The strengths of every group, with 0 for what is gone and 1 for what is decided.

        Those of a group that is not learned are 1 for what is left. Without a constraint, they are
        those of the learned groups only.
        """
        strengths = self.strengths()
        if self.left is None:
            return strengths
        blocks, own = [], iter(strengths)
        for group, kept in zip(self.space.groups, self.left.kept(), strict=True):
            block = np.where(kept, next(own) if group.learned else 1.0, 0.0)
            decided = kept.sum(axis=1) == group.take
            blocks.append(np.where(decided[:, np.newaxis], kept, block))
        return blocks

    @torch.no_grad()
    def batch_accuracy(self, batch: Labelled, mix: Mix) -> float:
        """Percent of one batch under a mix, by the batch's own statistics."""
        kept = {name: buffer.clone() for name, buffer in self.net.named_buffers()}
        self.net.train()
        right = (self._logits(batch, mix).argmax(dim=1) == batch.labels).sum()
        for name, buffer in self.net.named_buffers():
            buffer.copy_(kept[name])
        self.counts.evaluated += len(batch)
        return 100 * float(right) / len(batch)

    @torch.no_grad()
    def accuracy(self, mix: Mix, n_batches: int | None = None) -> float:
        """Percent of the validation half, or of its first batches, under a mix.

        Batches are the recipe's, always the same ones.
        """
        kept = {name: buffer.clone() for name, buffer in self.net.named_buffers()}
        if self.recipe.norm == RECALIBRATED:
            self._recalibrate(mix)
        self.net.train(self.recipe.norm == BATCH)
        right = torch.zeros((), device=self.device)
        n_images = 0
        for batch in islice(self.batches.whole(self.batches.halves.valid), n_batches):
            right += (self._logits(batch, mix).argmax(dim=1) == batch.labels).sum()
            n_images += len(batch)
        for name, buffer in self.net.named_buffers():
            buffer.copy_(kept[name])
        self.counts.evaluated += n_images
        return 100 * float(right) / n_images

    def _logits(self, batch: Labelled, mix: Mix, *, learns: bool = False) -> Tensor:
        """The network's own pass as the options have it; learns: whether it is to learn from."""
        forward = self.net if self._compiled is None else self._compiled
        if not learns or not compilable(mix):
            forward = self.net
        with self.engine.precision(self.device):
            logits = forward(self.engine.images(batch.images), mix)
        return logits.float() if self.engine.autocast else logits

    def _recalibrate(self, mix: Mix) -> None:
        """Batch norms keep the mean statistics of some training batches under the mix."""
        norms = [m for m in self.net.modules() if isinstance(m, nn.BatchNorm2d)]
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # Torch then averages over all batches.
        self.net.train()
        for batch in islice(self.batches.whole(self.batches.halves.train), RECALIBRATION_BATCHES):
            self._logits(batch, mix)
            self.counts.evaluated += len(batch)
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum

    # The loop.

    def run(
        self, n_epochs: int | None = None, after_epoch: Callable[[], None] = lambda: None
    ) -> None:
        """Trains from where it is to an epoch, or the recipe's last; calls back after each.

        What a selector draws afterwards does not depend on whether the search was taken up again.
        Raises: HarnessError if a loss is no number any more.
        """
        while self.epoch < (self.recipe.epochs if n_epochs is None else n_epochs):
            self.run_epoch()
            after_epoch()
        self._draw_from("selection")

    def run_epoch(self) -> None:
        """One epoch, and its record."""
        started = time.perf_counter()
        stage, since = self.stage_of(self.epoch)
        if stage != self._stage:
            self.method.end_stage(self, self._stage)
            self._enter_stage(stage)
        n_epochs = self.recipe.epochs // self.method.n_stages
        if self.method.goes_on:
            since, n_epochs = self.epoch, self.recipe.epochs
        sums = self._train(self.epoch, self.recipe.lr_at(since, n_epochs))
        with self._torch_chance(str(self.epoch), "end"):
            self.method.end_epoch(self)
        strengths, arch = self.strengths(), self.arch()
        seconds = time.perf_counter() - started
        losses = {phase: held[2] / held[0] for phase, held in sums.items() if held[0]}
        self.epochs.append(
            Epoch(
                self.epoch + 1,
                strengths,
                arch,
                losses,
                {phase: 100 * held[1] / held[0] for phase, held in sums.items() if held[0]},
                asdict(self.counts),
                self._measured(),
                seconds,
            )
        )

    def _measured(self) -> dict[str, float]:
        """The diagnostics; noise that a network draws by itself is the same after every epoch."""
        halves = self.batches.halves._asdict()
        found = {}
        for name, half in self._diagnostics.items():
            with self._torch_chance("diagnostics", name):
                found[name] = DIAGNOSTICS[name](self, next(self.batches.whole(halves[half])))
        return found

    def state(self) -> dict[str, Any]:
        """All that `load` needs to go on after the last epoch; made of what torch.save keeps."""
        return {
            "net": self.net.state_dict(),
            "rows": [row.detach() for row in self.rows],
            "weight_optimiser": self.weight_optimiser.state_dict(),
            "arch_optimiser": self.arch_optimiser.state_dict(),
            "memory": self.memory,
            "left": None if self.left is None else self.left.state(),
            "counts": asdict(self.counts),
            "epochs": [epoch.state() for epoch in self.epochs],
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Takes up a search of the same setting and seed."""
        stage, _ = self.stage_of(len(state["epochs"]) - 2)
        if stage:
            self._enter_stage(stage)
        self.net.load_state_dict(state["net"])
        with torch.no_grad():
            for row, held in zip(self.rows, state["rows"], strict=True):
                row.copy_(held)
        self.weight_optimiser.load_state_dict(state["weight_optimiser"])
        self.arch_optimiser.load_state_dict(state["arch_optimiser"])
        self.memory = state["memory"]
        if state["left"] is not None:
            self.left = Left.of_state(self.space.groups, state["left"])
        self.counts = Counts(**state["counts"])
        self.objects, self._n_tuned = {}, 0
        self.epochs = [Epoch.of_state(self.space, held) for held in state["epochs"]]

    def _enter_stage(self, stage: int) -> None:
        """New weights and parameters, and optimisers that know nothing, unless it goes on."""
        before = (self.net, self.weight_optimiser) if stage and self.method.goes_on else None
        self._stage = stage
        names = [f"stage {stage}"] if stage else []
        chance = derive(self.seed, "weights", *names)
        self.net: Supernet = self.fresh_net(int(chance.integers(2**63)))
        self._compiled = self.engine.compiled(self.net)
        self.weights = dict(self.net.named_parameters())
        self.weight_optimiser = self._new_weight_optimiser()
        if before is not None:
            hand_over(*before, self.net, self.weight_optimiser)
            return
        first = self.method.init(self.space, derive(self.seed, "alphas", *names))
        self.alphas: Alphas = {
            name: [
                torch.tensor(row, dtype=torch.float32, device=self.device, requires_grad=True)
                for row in rows
            ]
            for name, rows in first.items()
        }
        self.rows = [row for rows in self.alphas.values() for row in rows]
        self.arch_optimiser = self.method.arch_optimiser(self.rows, self.recipe)

    def _begin(self, epoch: int) -> None:
        """The random numbers and sums of an epoch, counted from 0."""
        self._draw_from(str(epoch))
        self._sums = {phase: torch.zeros(N_SUMS, device=self.device) for phase in (WEIGHTS, ARCH)}

    def _draw_from(self, name: str) -> None:
        """New streams of random numbers, one for each purpose."""
        self._noise = {
            purpose: derive(self.seed, "noise", name, purpose)
            for purpose in (WEIGHTS, ARCH, EVALUATION, METHOD)
        }

    def _train(self, epoch: int, lr: float) -> dict[str, list[float]]:
        """One pass over the batches of an epoch; what it summed up, by phase.

        Raises: HarnessError if a loss is no number any more.
        """
        self._begin(epoch)
        for group in self.weight_optimiser.param_groups:
            group["lr"] = lr
        with self._torch_chance(str(epoch)):
            batches = replace(self.batches, batch_size=self.method.images_a_batch(self))
            for pairs in _blocks(batches.pairs(epoch), self.method.block):
                self.method.round(self, pairs)
        sums: dict[str, list[float]] = {name: held.tolist() for name, held in self._sums.items()}
        for phase, (_, _, loss) in sums.items():
            if not np.isfinite(loss):
                raise HarnessError(
                    f"The loss of {phase} became {loss} in epoch {epoch + 1}.",
                    SMALLER_STEPS,
                )
        held = [*self.weights.values(), *self.rows]
        if not torch.stack([values.isfinite().all() for values in held]).all():
            # The last step's, which no loss has seen.
            raise HarnessError(f"Weights became nan or inf in epoch {epoch + 1}.", SMALLER_STEPS)
        return sums

    def _torch_chance(self, *names: str) -> AbstractContextManager[None]:
        """Inside, torch's generators draw what the seed and these names say."""
        chance = derive(self.seed, "torch", *names)
        return own_chance(int(chance.integers(2**63)), self.device)

    def _new_weight_optimiser(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(
            self.net.parameters(),
            lr=self.recipe.lr,
            momentum=self.recipe.momentum,
            weight_decay=self.recipe.weight_decay,
            nesterov=self.recipe.nesterov,
        )

    @torch.no_grad()
    def _note(self, phase: str, batch: Labelled, logits: Tensor, loss: Tensor) -> None:
        n = len(batch)
        right = (logits.argmax(dim=1) == batch.labels).sum().to(loss.dtype)
        self._sums[phase] += torch.stack([loss.new_full((), n), right, n * loss.detach()])


def _blocks(pairs: Iterator[Pair], size: int) -> Iterator[list[Pair]]:
    while block := list(islice(pairs, size)):
        yield block
