"""How a search is computed, which changes its speed and its rounding and no formula of it.

Passes under weights that stand in for the network's own (second order, unrolled steps) and
Hessians are always computed in float32 and never compiled: DARTS' difference of two gradients moves
most weights by less than bfloat16 tells apart, and torch differentiates no compiled pass twice. Nor
do GPUs round what they multiply to TF32, as torch lets convolutions do by default, unless that is
asked for: it keeps no more digits than float16.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, final

import torch
from torch import Tensor

from harness.errors import InvalidSpec, unknown
from protocols.nets.mix import Mix, Supernet

if TYPE_CHECKING:
    from protocols.search.method import Method

BFLOAT16 = "bfloat16"
CUDA = "cuda"
WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
WORKSPACES = (":4096:8", ":16:8")  # torch.use_deterministic_algorithms, documentation.

Forward = Callable[[Tensor, Mix], Tensor]


@final
@dataclass(frozen=True)
class EngineOptions:
    """What a run's setting `engine` may name; all of it is off by default.

    autocast: "bfloat16" for passes in mixed precision. Not float16: its gradients need a loss that
    is scaled up, and the scale would reach architecture parameters, clips and penalties.
    channels_last: weights and images lie in memory pixel by pixel. compile: passes that something
    learns from are one compiled program, where all options are mixed; passes under a path, such as
    a selector's, are not. It takes minutes, and g++ on a processor. cuda_graphs: these programs are
    replayed as CUDA graphs. deterministic: torch refuses algorithms whose results differ from call
    to call. tf32: GPUs may round to TF32 what they multiply, in all passes.
    """

    autocast: str = ""
    channels_last: bool = False
    compile: bool = False
    cuda_graphs: bool = False
    deterministic: bool = False
    tf32: bool = False

    @classmethod
    def read(cls, values: Mapping[str, Any], device: str) -> EngineOptions:
        """Options from some of their names.

        Raises: UnknownName for another name; InvalidSpec for a value that makes no sense, or that
            makes none on the device.
        """
        defaults = {option.name: option.default for option in fields(cls)}
        for name, value in values.items():
            if name not in defaults:
                raise unknown("option of the engine", name, defaults)
            if type(value) is not type(defaults[name]):
                raise InvalidSpec(f"{name} of engine is like {defaults[name]!r}, not {value!r}.")
        found = cls(**values)
        if found.autocast not in ("", BFLOAT16):
            raise InvalidSpec(
                f"Nothing is computed in {found.autocast!r} here.", f"autocast is {BFLOAT16!r}."
            )
        if found.cuda_graphs and not found.compile:
            raise InvalidSpec("cuda_graphs replays compiled passes.", "Set compile = true too.")
        if found.cuda_graphs and torch.device(device).type != CUDA:
            raise InvalidSpec(f"There are no CUDA graphs on {device}.", 'Set device = "cuda".')
        return found

    @property
    def chosen(self) -> dict[str, Any]:
        """Those that are not as by default."""
        return {
            option.name: getattr(self, option.name)
            for option in fields(self)
            if getattr(self, option.name) != option.default
        }

    def skip(self, method: Method) -> str | None:
        """Why a method cannot be computed so, or None."""
        changes = method.is_single_path or method.decides or method.n_stages > 1
        if self.compile and changes:
            return (
                f"{type(method).__name__} computes some of the options, and not always the same"
                " ones; each choice would be compiled anew. Leave compile out."
            )
        return None

    def placed(self, net: Supernet) -> Supernet:
        """The network with its weights as they are to lie in memory."""
        if self.channels_last:
            net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return net

    def images(self, images: Tensor) -> Tensor:
        """Likewise of a batch."""
        if not self.channels_last:
            return images
        return images.contiguous(memory_format=torch.channels_last)

    def precision(self, device: torch.device) -> AbstractContextManager[Any]:
        """Inside, passes have the precision that is asked for."""
        if not self.autocast:
            return nullcontext()
        return torch.autocast(device.type, torch.bfloat16)

    def compiled(self, net: Supernet) -> Forward | None:
        """The network's pass for mixes that are `compilable`; None where it is not compiled."""
        if not self.compile:
            return None
        # Torch keeps few programs of one function; those of earlier searches make room.
        torch.compiler.reset()
        # A whole graph of known sizes or an error: where torch gives up, it would say nothing else.
        run: Forward = torch.compile(
            net,
            fullgraph=True,
            dynamic=False,
            mode="reduce-overhead" if self.cuda_graphs else None,
        )
        if not self.cuda_graphs:
            return run
        # What a graph gives is overwritten when it is replayed.
        return lambda images, mix: run(images, mix).clone()

    def check_passes(self, n: int) -> None:
        """Raises: InvalidSpec if a step of the weights cannot add up gradients of n passes."""
        # A graph that is replayed overwrites the gradient that it gave before: pytorch#169545.
        if self.cuda_graphs and n > 1:
            raise InvalidSpec("CUDA graphs take one pass a step.", "Leave cuda_graphs out.")

    @contextmanager
    def running(self, device: str) -> Iterator[None]:
        """Inside, torch computes as precisely and deterministically as asked; then as before.

        Raises: InvalidSpec where CUDA's matrix products would not be deterministic.
        """
        with _float32(rounded=self.tf32), self._determined(device):
            yield

    @contextmanager
    def _determined(self, device: str) -> Iterator[None]:
        if not self.deterministic:
            yield
            return
        if torch.device(device).type == CUDA and os.environ.get(WORKSPACE) not in WORKSPACES:
            raise InvalidSpec(
                f"deterministic needs the environment variable {WORKSPACE} on {device}.",
                f"Set {WORKSPACE}={WORKSPACES[0]}.",
            )
        before = torch.are_deterministic_algorithms_enabled()
        warned = torch.is_deterministic_algorithms_warn_only_enabled()
        benchmarked = torch.backends.cudnn.benchmark
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = False
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(before, warn_only=warned)
            torch.backends.cudnn.benchmark = benchmarked


@contextmanager
def _float32(*, rounded: bool) -> Iterator[None]:
    """Inside, GPUs round what they multiply to TF32 or they do not."""
    settings = _float32_settings()
    before = [getattr(of, name) for of, name, _ in settings]
    for of, name, values in settings:
        setattr(of, name, values[rounded])
    try:
        yield
    finally:
        for (of, name, _), value in zip(settings, before, strict=True):
            setattr(of, name, value)


def _float32_settings() -> list[tuple[Any, str, tuple[object, object]]]:
    """Torch's settings of that, each with its values for no and yes; those before torch 2.9 too.

    Only one kind may be used: torch refuses to read the old ones where the new ones were set.
    """
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    if not hasattr(cudnn, "conv"):
        return [(of, "allow_tf32", (False, True)) for of in (cudnn, matmul)]
    return [(of, "fp32_precision", ("ieee", "tf32")) for of in (cudnn.conv, cudnn.rnn, matmul)]


def compilable(mix: Mix) -> bool:
    """Whether it holds tensors alone, so that all such mixes of a search are one program."""
    return mix.path is None and mix.skip_dropout is None


PLAIN = EngineOptions()
