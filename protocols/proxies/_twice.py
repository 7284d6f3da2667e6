"""Convolution and batch norm whose second derivatives are as fast as their first.

Torch's own second derivative of a convolution is a convolution with an image-sized kernel, and
that of batch norm a chain of some twenty operations on whole activations. Here both are made of
the kernels of the first derivative, by the formulas below.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function

_conv_backward = torch.ops.aten.convolution_backward
_norm_backward = torch.ops.aten.native_batch_norm_backward


class _Conv(Function):
    """y = x * w."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, *geometry: Any) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.geometry = geometry
        return F.conv2d(x, weight, None, *geometry)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        needs = ctx.needs_input_grad[:2]
        grads = _ConvGradient.apply(grad, *ctx.saved_tensors, needs, *ctx.geometry)  # type: ignore[no-untyped-call]
        return *grads, *[None] * len(ctx.geometry)


class _ConvGradient(Function):
    """(g, x, w) -> the gradients of <g, x * w> in x and in w.

    The convolution is bilinear. For cotangents u of the first and v of the second, the gradient in
    g is u * w + x * v; those in x and w are the gradients of <g, u * v> in u and in v.
    """

    @staticmethod
    def forward(
        ctx: Any, grad: Tensor, x: Tensor, weight: Tensor, needs: tuple[bool, ...], *geometry: Any
    ) -> tuple[Tensor | None, Tensor | None]:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(grad, x, weight)
        ctx.geometry = geometry
        return _conv_gradients(grad, x, weight, needs, geometry)

    @staticmethod
    def backward(ctx: Any, u: Tensor | None, v: Tensor | None) -> Any:
        grad, x, weight = ctx.saved_tensors
        terms = []
        if u is not None:
            terms.append(F.conv2d(u, weight, None, *ctx.geometry))
        if v is not None:
            terms.append(F.conv2d(x, v, None, *ctx.geometry))
        in_grad = None if not terms else terms[0] if len(terms) == 1 else terms[0].add_(terms[1])
        in_x, in_weight = _conv_gradients(
            grad,
            x if u is None else u,
            weight if v is None else v,
            (v is not None, u is not None),
            ctx.geometry,
        )
        return in_grad, in_x, in_weight, None, *[None] * len(ctx.geometry)


def _conv_gradients(
    grad: Tensor, x: Tensor, weight: Tensor, needs: tuple[bool, ...], geometry: tuple[Any, ...]
) -> tuple[Tensor | None, Tensor | None]:
    stride, padding, dilation, groups = geometry
    of_x, of_weight, _ = _conv_backward(
        grad, x, weight, None, stride, padding, dilation, False, [0, 0], groups, [*needs, False]
    )
    return of_x, of_weight


def conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """`torch.nn.functional.conv2d`, to be differentiated twice."""
    if x.dim() != 4 or isinstance(padding, str):
        return F.conv2d(x, weight, bias, stride, padding, dilation, groups)
    pairs = [
        [size] * 2 if isinstance(size, int) else [*size] for size in (stride, padding, dilation)
    ]
    y: Tensor = _Conv.apply(x, weight, *pairs, groups)  # type: ignore[no-untyped-call]
    return y if bias is None else y + bias.view(-1, 1, 1)


class _Norm(Function):
    """y = scale (x - mean(x)) / sqrt(var(x) + eps) + shift, by channel."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, scale: Tensor | None, shift: Tensor | None, eps: float
    ) -> Tensor:
        y, mean, inverse = torch.native_batch_norm(x, scale, shift, None, None, True, 0.0, eps)
        ctx.save_for_backward(x, scale, mean, inverse)
        ctx.eps = eps
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        return _NormGradient.apply(grad, *ctx.saved_tensors, ctx.eps), None, None, None  # type: ignore[no-untyped-call]


class _NormGradient(Function):
    """(g, x) -> the gradient of <g, norm(x)> in x; scale and shift are constants.

    With z the normalised x, r = 1 / sqrt(var + eps) and m the mean over a channel, it is
    P(g) = scale r (g - m(g) - z m(g z)). P is symmetric, so for a cotangent v the gradient of
    <v, P(g)> in g is P(v). With a = m(g z), b = m(v z), c = m(g), d = m(v), that in x is
    -scale r^2 [z (m(v g) - c d - 3 a b) + b (g - c) + a (v - d)].
    """

    @staticmethod
    def forward(
        ctx: Any,
        grad: Tensor,
        x: Tensor,
        scale: Tensor | None,
        mean: Tensor,
        inverse: Tensor,
        eps: float,
    ) -> Tensor:
        of_x, grad_z, grad_sum = _norm_gradients(grad, x, scale, mean, inverse, eps)
        ctx.save_for_backward(grad, x, scale, mean, inverse, grad_z, grad_sum)
        ctx.eps = eps
        return of_x

    @staticmethod
    def backward(ctx: Any, v: Tensor) -> Any:
        grad, x, scale, mean, inverse, grad_z, grad_sum = ctx.saved_tensors
        n = x.numel() // x.shape[1]
        in_grad, v_z, v_sum = _norm_gradients(v, x, scale, mean, inverse, ctx.eps)
        a, b, c, d = grad_z / n, v_z / n, grad_sum / n, v_sum / n
        together = (v * grad).sum(_all_but_channels(x)) / n
        factor = -inverse.square() if scale is None else -scale * inverse.square()
        of_z = factor * (together - c * d - 3 * a * b)
        constant = -of_z * inverse * mean - factor * (b * c + a * d)
        in_x = torch.addcmul(_by_channel(constant, x), x, _by_channel(of_z * inverse, x))
        in_x.addcmul_(grad, _by_channel(factor * b, x)).addcmul_(v, _by_channel(factor * a, x))
        return in_grad, in_x, None, None, None, None


def _norm_gradients(
    grad: Tensor, x: Tensor, scale: Tensor | None, mean: Tensor, inverse: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """P(grad), and per channel the sums of grad z and of grad."""
    found: tuple[Tensor, Tensor, Tensor] = _norm_backward(
        grad, x, scale, None, None, mean, inverse, True, eps, [True, True, True]
    )
    return found


def _all_but_channels(x: Tensor) -> list[int]:
    return [dim for dim in range(x.dim()) if dim != 1]


def _by_channel(values: Tensor, x: Tensor) -> Tensor:
    return values.view(-1, *[1] * (x.dim() - 2))


def batch_norm(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """`torch.nn.functional.batch_norm`, to be differentiated twice in x.

    While training it leaves the running statistics as they are, and scale and shift get no
    gradient.
    """
    if not training:
        return F.batch_norm(x, running_mean, running_var, weight, bias, False, momentum, eps)
    y: Tensor = _Norm.apply(x, weight, bias, eps)  # type: ignore[no-untyped-call]
    return y


TWICE: dict[Callable[..., Any], Callable[..., Any]] = {
    F.conv2d: conv2d,
    F.batch_norm: batch_norm,
}
