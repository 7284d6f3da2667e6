"""One untrained network and one batch: the passes that proxies share, and scoring by them.

A proxy reads what it needs from a `Probe`, which makes every pass once, whatever proxies ask. The
passes see a network's operations (`F.relu`, `F.conv2d`, ...) where torch dispatches them, so they
work for every network whose modules call them, as modules or as functions, and the network itself
is never touched: weights and running statistics are replaced by copies for the time of a pass.

The passes are in training mode (batch norm by the batch's statistics), as in the public code of the
proxies. They keep the graph of the forward pass until the probe is let go.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, NamedTuple, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.overrides import TorchFunctionMode

from harness import registry
from harness.errors import InvalidSpec, unknown
from harness.seeds import derive
from protocols.proxies import NoScore, Proxy
from protocols.proxies._twice import TWICE
from protocols.training import Labelled

Loss = Callable[[Tensor, Tensor], Tensor]
Function = Callable[..., Any]
Node = Any  # A node of torch's graph of derivatives.

RELUS: tuple[Function, ...] = (
    F.relu,
    torch.relu,
    Tensor.relu,
    F.relu_,
    torch.relu_,
    Tensor.relu_,
)

# Pass -> the passes that it starts from; in the order in which they are made.
PASSES: dict[str, tuple[str, ...]] = {
    "forward": (),
    "codes": ("forward",),
    "gradients": ("forward",),
    "saliencies": ("gradients",),
    "curvature": ("gradients",),
    "jacobian": ("forward",),
}


@dataclass(frozen=True)
class Scored:
    """What a proxy says of a network.

    value: higher is better; NaN where there is none, never infinite. reason: why it is NaN, else
    empty. seconds: wall-clock time of what the score needed. A pass that several proxies share is
    charged to each of them in full, so it is about what the proxy costs alone, and the seconds of
    several proxies add up to more than they took together.
    """

    value: float
    reason: str
    seconds: float


class Codes(NamedTuple):
    """Which ReLU units are positive for which images, as far as it is the same for two images.

    agreements: (n, n) float64, the number of units that images i and j have both on or both off.
    n_units: how many units an image has.
    """

    agreements: Tensor
    n_units: int


class Saliency(NamedTuple):
    """One call of a convolution or linear layer: activation times gradient.

    of_channels: (n, channels), summed over pixels. n_weights: weights of one output channel.
    """

    of_channels: Tensor
    n_weights: int


class Replaced(TorchFunctionMode):
    """While it is open, torch's functions are called as the table says; others as they are."""

    def __init__(self, table: Mapping[Function, Function]) -> None:
        super().__init__()
        self.table = table

    def __torch_function__(
        self, func: Function, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        return self.table.get(func, func)(*args, **(kwargs or {}))


@dataclass
class _Seen:
    """What a forward pass leaves for the passes after it."""

    relus: list[tuple[Node, Codes]] = field(default_factory=list)
    layers: list[tuple[Tensor, int]] = field(default_factory=list)
    codes_of: dict[tuple[int, int], tuple[Tensor, Codes]] = field(default_factory=dict)

    def relu(self, function: Function, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        codes = self._codes(x)
        y: Tensor = function(x, *args, **kwargs)
        self.relus.append((y.grad_fn, codes))
        return y

    def layer(self, function: Function, x: Tensor, weight: Tensor, *args: Any, **kw: Any) -> Tensor:
        y: Tensor = function(x, weight, *args, **kw)
        self.layers.append((y, weight[0].numel()))
        return y

    def _codes(self, x: Tensor) -> Codes:
        """Several ReLUs often see the same tensor; it is kept, so that its id stays its own."""
        key = (id(x), x._version)
        if key not in self.codes_of:
            self.codes_of[key] = (x, _codes(x.detach()))
        return self.codes_of[key][1]


class Forward(NamedTuple):
    """The shared forward pass, with its graph.

    logits: (n, n_classes). images: the leaf it started from. weights: likewise.
    """

    logits: Tensor
    images: Tensor
    weights: list[Tensor]
    seen: _Seen


@final
class Probe:
    """A network, a batch and a loss; its cached properties are the passes over them.

    wanted: the passes that will be read, so that one run can serve several; reading another one is
    an error. seed: of whatever a proxy or the network (dropout, the op `noise`) draws.
    """

    def __init__(
        self,
        net: nn.Module,
        batch: Labelled,
        loss: Loss = F.cross_entropy,
        *,
        seed: int,
        wanted: Collection[str] = tuple(PASSES),
    ) -> None:
        self.net = net
        self.batch = batch
        self.loss = loss
        self.seed = seed
        self.wanted = _with_all_before(wanted)
        self.seconds: dict[str, float] = {}
        self._checked: dict[str, bool] = {}

    @cached_property
    def weights(self) -> dict[str, Tensor]:
        """Weights of the convolutions and linear layers by parameter name, as in the network.

        Biases and batch norm have no part in the scores (Abdelfattah et al., ICLR 2021, code).
        Raises: NoScore if there is no such layer.
        """
        layers = [m.weight for m in self.net.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
        ids = {id(weight) for weight in layers}
        if not ids:
            raise NoScore("the network has no convolution and no linear layer")
        return {name: p.detach() for name, p in self.net.named_parameters() if id(p) in ids}

    @cached_property
    def forward(self) -> Forward:
        """The logits of the batch, from which all derivatives start."""
        self._check("forward")
        differentiable = "gradients" in self.wanted
        weights = {
            name: fast_layout(weight).detach().requires_grad_(differentiable)
            for name, weight in self.weights.items()
        }
        images = fast_layout(self.batch.images).detach().requires_grad_()
        seen = _Seen()
        logits = self.run(images, weights, self._watched(seen))
        seen.codes_of.clear()
        return Forward(logits, images, list(weights.values()), seen)

    def _watched(self, seen: _Seen) -> dict[Function, Function]:
        table: dict[Function, Function] = {}
        if "curvature" in self.wanted:
            table |= TWICE
        if "codes" in self.wanted:
            table |= {relu: partial(seen.relu, relu) for relu in RELUS}
        if "saliencies" in self.wanted:
            table |= {f: partial(seen.layer, table.get(f, f)) for f in (F.conv2d, F.linear)}
        return table

    @cached_property
    def codes(self) -> Codes:
        """Codes of all ReLUs that lie between images and logits.

        Others, such as those of a cell's edges that lead nowhere, say nothing about the network's
        function; with them, the same function would have several scores.
        Raises: NoScore if there is no such ReLU.
        """
        self._check("codes")
        forward = self.forward
        live = nodes_between(forward.images, forward.logits)
        found = [codes for node, codes in forward.seen.relus if node in live]
        if not found:
            raise NoScore("no ReLU lies between images and logits")
        agreements = torch.stack([codes.agreements for codes in found]).sum(dim=0)
        return Codes(agreements, sum(codes.n_units for codes in found))

    @cached_property
    def gradients(self) -> list[Tensor]:
        """Gradients of the loss in `weights`; zeros where it does not depend on one."""
        self._check("gradients")
        return [gradient.detach() for gradient in self._backward[0]]

    @cached_property
    def saliencies(self) -> list[Saliency]:
        """Of all calls of convolutions and linear layers that the loss depends on."""
        self._check("saliencies")
        return self._backward[1]

    @cached_property
    def _backward(self) -> tuple[list[Tensor], list[Saliency]]:
        forward = self.forward
        found: list[Saliency] = []
        hooks = [
            y.register_hook(partial(_note, found, y.detach(), n_weights))  # type: ignore[no-untyped-call]
            for y, n_weights in forward.seen.layers
            if y.requires_grad
        ]
        try:
            value = self.loss(forward.logits, self.batch.labels)
            graph = "curvature" in self.wanted
            return derivatives(value, forward.weights, create_graph=graph), found
        finally:
            for hook in hooks:
                hook.remove()

    @cached_property
    def curvature(self) -> list[Tensor]:
        """H g: the Hessian of the loss in `weights`, times its gradient."""
        self._check("curvature")
        gradients = [gradient for gradient in self._backward[0] if gradient.requires_grad]
        along = [gradient.detach() for gradient in gradients]
        return derivatives(gradients, self.forward.weights, along)

    @cached_property
    def jacobian(self) -> Tensor:
        """(n, pixels): gradient of the sum of all logits in every image."""
        self._check("jacobian")
        forward = self.forward
        return derivatives(forward.logits.sum(), [forward.images])[0].flatten(1)

    def run(
        self,
        images: Tensor,
        weights: Mapping[str, Tensor] | None = None,
        table: Mapping[Function, Function] | None = None,
        *,
        training: bool = True,
    ) -> Tensor:
        """Logits with these weights in place of the network's own.

        weights: by the name of a parameter or buffer; the others are the network's, as constants.
        table: what to call in place of torch's functions. training: whether the modules are. The
        network stays as it is, and the same seed draws the same numbers in every run.
        """
        tensors = dict(weights or {})
        if training:  # Batch norm then changes its buffers.
            tensors |= {name: buffer.clone() for name, buffer in self.net.named_buffers()}
        if torch.is_grad_enabled():
            own = {name: parameter.detach() for name, parameter in self.net.named_parameters()}
            tensors = own | tensors
        with ExitStack() as stack:
            stack.enter_context(_mode(self.net, training))
            stack.enter_context(_drawing(self.seed, self.batch.images.device))
            if table:
                stack.enter_context(Replaced(table))
            logits: Tensor = (
                functional_call(self.net, tensors, (images,)) if tensors else self.net(images)
            )
        return logits

    def generator(self, name: str) -> torch.Generator:
        """Random numbers for one named purpose, on the CPU so that devices agree."""
        return torch.Generator().manual_seed(_torch_seed(self.seed, name))

    def charge(self, passes: Iterable[str]) -> float:
        """Seconds of these passes and of all before them; makes those that were not made yet."""
        named = _with_all_before(passes)
        for name in PASSES:
            if name in named and name not in self.seconds:
                started = time.perf_counter()
                getattr(self, name)
                self.settle()
                self.seconds[name] = time.perf_counter() - started
        return sum(self.seconds[name] for name in named)

    def settle(self) -> None:
        """Waits until the device has done what it was asked, for a clock that is read next."""
        if self.batch.images.device.type == "cuda":
            torch.cuda.synchronize(self.batch.images.device)

    def overflow(self, passes: Iterable[str]) -> str | None:
        """What of these passes is not finite first; None if all is. They must have been made."""
        named = _with_all_before(passes)
        if not named:
            return None
        for name, given in (("images", self.batch.images), ("weights", [*self.weights.values()])):
            if not self._is_finite(name, given):
                return f"the {name} are not finite"
        for name in PASSES:
            if name in named and not self._is_finite(name, getattr(self, name)):
                return f"overflow in the pass {name}"
        return None

    def _is_finite(self, name: str, value: Any) -> bool:
        if name not in self._checked:
            self._checked[name] = _finite(value)
        return self._checked[name]

    def _check(self, name: str) -> None:
        if name not in self.wanted:
            raise InvalidSpec(
                f"The pass {name} was not announced; wanted are {sorted(self.wanted)}.",
                "Name it in the proxy's `passes`.",
            )


def score_all(
    net: nn.Module,
    batch: Labelled,
    proxies: Iterable[str],
    *,
    seed: int,
    loss: Loss = F.cross_entropy,
) -> dict[str, Scored]:
    """Scores of one network by several proxies, which share their passes.

    proxies: names, or files that end in .py. A score that does not exist, or is not finite, is NaN
    with a reason. The network is left as it is, also if an error ends the scoring.
    Raises: UnknownName for a name that is no proxy.
    """
    plugins = [registry.get("proxy", name) for name in proxies]
    offers: dict[str, Proxy] = {plugin.name: plugin.offer for plugin in plugins}
    wanted = {name for proxy in offers.values() for name in proxy.passes}
    probe = Probe(net, batch, loss, seed=seed, wanted=wanted)
    with torch.enable_grad():
        return {name: _scored(name, proxy, probe) for name, proxy in offers.items()}


def _scored(name: str, proxy: Proxy, probe: Probe) -> Scored:
    charged = 0.0
    started = time.perf_counter()
    try:
        charged = probe.charge(proxy.passes)
        started = time.perf_counter()
        value, reason = _value(name, proxy, probe)
    except NoScore as error:
        value, reason = math.nan, error.message
    return Scored(value, reason, charged + time.perf_counter() - started)


def _value(name: str, proxy: Proxy, probe: Probe) -> tuple[float, str]:
    if reason := probe.overflow(proxy.passes):
        return math.nan, reason
    value = float(proxy.score(probe))
    if math.isfinite(value):
        return value, ""
    # A proxy that reads no pass may read the weights themselves.
    healthy = all(map(_finite, probe.net.parameters()))
    return math.nan, f"overflow in {name}" if healthy else "the weights are not finite"


def nodes_between(source: Tensor, output: Tensor) -> set[Node]:
    """Nodes of the graph of derivatives on a path from a leaf to a tensor computed from it."""
    on_path: dict[Node, bool] = {}
    stack = [output.grad_fn] if output.grad_fn is not None else []
    while stack:
        node = stack[-1]
        below = [next_node for next_node, _ in node.next_functions if next_node is not None]
        if missing := [next_node for next_node in below if next_node not in on_path]:
            stack += missing
            continue
        stack.pop()
        leads_there = getattr(node, "variable", None) is source
        on_path[node] = leads_there or any(on_path[next_node] for next_node in below)
    return {node for node, leads_there in on_path.items() if leads_there}


def derivatives(
    outputs: Tensor | Sequence[Tensor],
    inputs: Sequence[Tensor],
    along: Sequence[Tensor] | None = None,
    *,
    create_graph: bool = False,
) -> list[Tensor]:
    """Gradients of the outputs (their products with `along`) in the inputs; the graph is kept.

    Zeros for an input that they do not depend on.
    """
    outputs = [outputs] if isinstance(outputs, Tensor) else outputs
    found: Sequence[Tensor | None] = [None] * len(inputs)
    if any(output.requires_grad for output in outputs):
        found = torch.autograd.grad(
            outputs, inputs, along, retain_graph=True, create_graph=create_graph, allow_unused=True
        )
    return [
        torch.zeros_like(x) if gradient is None else gradient
        for x, gradient in zip(inputs, found, strict=True)
    ]


def fast_layout(x: Tensor) -> Tensor:
    """The tensor with channels innermost where convolutions are faster so: float32 on a CPU."""
    # Ours: for NB201 cells a forward and backward pass took 0.6 to 0.8 of the time.
    if x.dim() == 4 and x.dtype == torch.float32 and x.device.type == "cpu":
        return x.contiguous(memory_format=torch.channels_last)
    return x


def _note(found: list[Saliency], y: Tensor, n_weights: int, gradient: Tensor) -> None:
    product = y * gradient.detach()
    found.append(Saliency(product.flatten(2).sum(2) if y.dim() > 2 else product, n_weights))


def _codes(x: Tensor) -> Codes:
    """Agreements of one ReLU's input; exact, as no layer has 2^24 units an image."""
    innermost = x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last)
    rows = (x.permute(0, 2, 3, 1) if innermost else x).flatten(1)
    positive = (rows > 0).to(torch.float32)
    both = (positive @ positive.T).double()
    on = both.diagonal()
    n_units = rows.shape[1]
    return Codes(n_units - on[:, None] - on + 2 * both, n_units)


def _with_all_before(passes: Iterable[str]) -> set[str]:
    """The passes and those that they start from.

    Raises: UnknownName for one that does not exist.
    """
    found: set[str] = set()
    for name in passes:
        if name not in PASSES:
            raise unknown("pass", name, PASSES)
        found |= {name} | _with_all_before(PASSES[name])
    return found


@contextmanager
def _mode(net: nn.Module, training: bool) -> Iterator[None]:
    switched = [module for module in net.modules() if module.training != training]
    try:
        for module in switched:
            module.training = training
        yield
    finally:
        for module in switched:
            module.training = not training


@contextmanager
def _drawing(seed: int, device: torch.device) -> Iterator[None]:
    """Inside, torch's global generators draw the seed's numbers; then they are as before."""
    generators = [torch.default_generator]
    if device.type == "cuda":
        generators.append(torch.cuda.default_generators[device.index or 0])
    states = [generator.get_state() for generator in generators]
    try:
        for generator in generators:
            generator.manual_seed(_torch_seed(seed, "network"))
        yield
    finally:
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)


def _torch_seed(seed: int, name: str) -> int:
    return int(derive(seed, "proxy", name).integers(2**63))


def _finite(value: Any) -> bool:
    """Whether all tensors in it are."""
    if isinstance(value, Tensor):
        return bool(torch.isfinite(value).all())
    if isinstance(value, (list, tuple)):
        return all(map(_finite, value))
    return True
