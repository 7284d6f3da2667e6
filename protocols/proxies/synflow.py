"""SynFlow: the flow through the network's weights, without data.

The sum over weights of |w dR/dw|, R the sum of the logits of one image of ones, where all
parameters are replaced by their absolute values and batch norm is left out; more is better. Source:
Tanaka et al., NeurIPS 2020; without batch norm, and summed over the network, as by Abdelfattah et
al., ICLR 2021 (code: SamsungLabs/zero-cost-nas, foresight/pruners/measures/synflow.py).

In such a network nothing is negative, so the score is sum(w dR/dw), the derivative of R when all
these weights grow together. It is carried along with the values, as a second image: where the
first passes a layer W as W x, the second, x', becomes W x' + W x. One forward pass of two images
is all, where every operation is known to be linear; else the derivatives are taken backwards, in
double precision. Forwards it is single precision with an exponent beside every tensor, which no
depth overflows; sums of what is not negative lose no digits, so six of them are right.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast, final

import torch
import torch.nn.functional as F
from torch import Tensor

from protocols.probe import RELUS, derivatives, fast_layout
from protocols.proxies import Proxy

if TYPE_CHECKING:
    from protocols.probe import Probe

Function = Callable[..., Any]


@final
class Synflow(Proxy):
    """Sum of |w dR/dw|."""

    version = 2

    def score(self, probe: Probe) -> float:
        images = probe.batch.images
        _ = probe.weights  # Without any there is no score.
        ones = torch.ones(1, *images.shape[1:], device=images.device)
        with suppress(_Unknown):
            return forwards(probe, ones)
        return backwards(probe, ones.double())


def forwards(probe: Probe, image: Tensor) -> float:
    """The score in one forward pass, by `Flow`.

    Raises: _Unknown if the network has an operation that `Flow` has no rule for.
    """
    pair = fast_layout(torch.cat([image, torch.zeros_like(image)]))
    exponent = torch.zeros((), dtype=torch.int32, device=pair.device)
    with torch.no_grad():
        logits = cast(Flow, probe.run(Flow.of(pair, exponent), training=False))
        return float(_times(_plain(logits)[1].sum().double(), logits.exponent))


def backwards(probe: Probe, image: Tensor) -> float:
    """The score as it is defined."""
    tensors = dict([*probe.net.named_parameters(), *probe.net.named_buffers()])
    positive = {name: x.detach().abs() for name, x in tensors.items()}
    positive = {
        name: x.double() if x.is_floating_point() else x.clone() for name, x in positive.items()
    }
    weights = [positive[name].requires_grad_() for name in probe.weights]
    table: dict[Function, Function] = {F.batch_norm: _unchanged}
    total = probe.run(image, positive, table, training=False).sum()
    pairs = zip(weights, derivatives(total, weights), strict=True)
    return float(sum((w.detach() * g).abs().sum() for w, g in pairs))


class _Unknown(Exception):
    """An operation that `Flow` has no rule for."""


class Flow(Tensor):
    """(2, ...): a value that is nowhere negative, and its derivative when all weights grow.

    Both are to be taken times 2 ** exponent. An operation without a rule raises, so that no wrong
    derivative can come out.
    """

    exponent: Tensor

    @classmethod
    def of(cls, pair: Tensor, exponent: Tensor) -> Flow:
        made = pair.as_subclass(cls)
        made.exponent = exponent
        return made

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        rule = RULES.get(func)
        if rule is None:
            raise _Unknown(func)
        with torch._C.DisableTorchFunctionSubclass():
            return rule(func, *args, **(kwargs or {}))


def _plain(x: Any) -> Any:
    return x.as_subclass(Tensor) if isinstance(x, Flow) else x


def _times(x: Tensor, exponent: Tensor) -> Tensor:
    """Of x, 2 ** exponent times as much."""
    return x * torch.exp2(exponent.to(x.dtype))


def _aligned(flows: Sequence[Flow]) -> tuple[list[Tensor], Tensor]:
    """The flows by the largest of their exponents, and that; of the others, digits may vanish."""
    exponent = torch.stack([flow.exponent for flow in flows]).amax()
    return [_times(_plain(flow), flow.exponent - exponent) for flow in flows], exponent


def _unchanged(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    return x


def _layer(function: Function, x: Any, weight: Any, bias: Any = None, *args: Any, **kw: Any) -> Any:
    if not isinstance(x, Flow) or isinstance(weight, Flow):
        raise _Unknown(function)
    y = function(_plain(x), weight.abs().to(x.dtype), None, *args, **kw)
    y[1] += y[0]
    if bias is not None:
        scaled = _times(bias.abs().to(y.dtype), -x.exponent)
        y[0] += scaled.view(-1, *[1] * (y.dim() - 2))
    _, growth = torch.frexp(y.amax())
    return Flow.of(_times(y, -growth), x.exponent + growth)


def _each_image(function: Function, x: Any, *args: Any, **kwargs: Any) -> Any:
    """Linear, and done to every image alike."""
    return Flow.of(function(_plain(x), *args, **kwargs), x.exponent)


def _same(function: Function, x: Any, *args: Any, **kwargs: Any) -> Any:
    """ReLU, which leaves what is not negative; batch norm, which is left out."""
    return x


def _add(function: Function, x: Any, y: Any) -> Any:
    if isinstance(y, int) and y == 0:  # Where Python's `sum` starts.
        return x
    if not (isinstance(x, Flow) and isinstance(y, Flow)):
        raise _Unknown(function)  # A constant has no derivative, but a sum would give it one.
    parts, exponent = _aligned([x, y])
    return Flow.of(function(*parts), exponent)


def _mean(function: Function, x: Any, dim: Any = None, **kwargs: Any) -> Any:
    if dim is None or 0 in (dim if isinstance(dim, (tuple, list)) else (dim,)):
        raise _Unknown(function)
    return Flow.of(function(_plain(x), dim, **kwargs), x.exponent)


def _cat(function: Function, tensors: Any, dim: int = 0) -> Any:
    if dim == 0 or not all(isinstance(tensor, Flow) for tensor in tensors):
        raise _Unknown(function)
    parts, exponent = _aligned(tensors)
    return Flow.of(function(parts, dim), exponent)


def _zeros(function: Function, x: Any, *args: Any, **kwargs: Any) -> Any:
    return Flow.of(function(_plain(x), *args, **kwargs), x.exponent)


def _expand_as(function: Function, x: Any, y: Any) -> Any:
    return Flow.of(function(_plain(x), _plain(y)), x.exponent)


def _pixels(function: Function, x: Any, key: Any) -> Any:
    """Rows and columns of every image: x[..., a:b:c, d:e:f]."""
    if x.dim() != 4 or not isinstance(key, tuple) or len(key) != 3 or key[0] is not Ellipsis:
        raise _Unknown(function)
    return Flow.of(function(_plain(x), key), x.exponent)


def _ask(function: Function, x: Any, *args: Any) -> Any:
    return function(_plain(x), *args)


RULES: dict[Function, Function] = {
    F.conv2d: _layer,
    F.linear: _layer,
    F.batch_norm: _same,
    **dict.fromkeys(RELUS, _same),
    **dict.fromkeys((F.avg_pool2d, F.adaptive_avg_pool2d), _each_image),
    **dict.fromkeys((torch.add, Tensor.add, Tensor.__add__, Tensor.__radd__), _add),
    **dict.fromkeys((torch.mean, Tensor.mean), _mean),
    **dict.fromkeys((torch.cat, torch.concat), _cat),
    **dict.fromkeys((torch.zeros_like, Tensor.new_zeros), _zeros),
    Tensor.expand_as: _expand_as,
    Tensor.__getitem__: _pixels,
    **dict.fromkeys((Tensor.dim, Tensor.size, Tensor.shape.__get__), _ask),  # type: ignore[attr-defined]
}

PROXY = Synflow()
