"""Mixed operations on edges that leave one node, computed together.

They share their input, so its ReLU and its pooling are made once, and convolutions of one kernel
size are one wider convolution with one wider batch norm, whose scale holds the options' weights.
The result is that of the edges one by one, up to the order of sums.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from protocols.nets.mix import MixedOp, Terms, plus
from protocols.nets.ops import ReLUConvBN, Zero

Weight = Tensor | None


def mixed_edges(x: Tensor, edges: Sequence[MixedOp], terms: Sequence[Terms]) -> list[Tensor | None]:
    """What each edge gives for its terms; None where there is nothing to compute.

    All edges have the same operations in the same order, which keep the shape of x.
    """
    sums: list[Tensor | None] = [None] * len(edges)
    relu: Tensor | None = None
    for option, users in _by_option(terms).items():
        ops = [edges[edge].ops[option] for edge, _ in users]
        weights = [weight for _, weight in users]
        if isinstance(ops[0], Zero):
            continue
        if isinstance(ops[0], ReLUConvBN):
            relu = F.relu(x) if relu is None else relu
            parts = _convolved(relu, ops, weights)
        else:  # Without parameters, so that any edge's will do.
            shared = ops[0](x)
            parts = [shared if weight is None else weight * shared for weight in weights]
        for (edge, _), part in zip(users, parts, strict=True):
            sums[edge] = plus(sums[edge], part)
    return sums


def _by_option(terms: Sequence[Terms]) -> dict[int, list[tuple[int, Weight]]]:
    """Option -> the edges that have it, with its weights there."""
    users: dict[int, list[tuple[int, Weight]]] = {}
    for edge, of_edge in enumerate(terms):
        for option, weight in of_edge:
            users.setdefault(option, []).append((edge, weight))
    return users


def _convolved(
    relu: Tensor, ops: Sequence[nn.Module], weights: Sequence[Weight]
) -> Sequence[Tensor]:
    """Convolution and batch norm of every edge, times its weight."""
    convs: list[nn.Conv2d] = [op.conv for op in ops]  # type: ignore[misc]
    norms: list[nn.BatchNorm2d] = [op.norm for op in ops]  # type: ignore[misc]
    kernels = torch.cat([conv.weight for conv in convs])
    out = F.conv2d(relu, kernels, padding=convs[0].padding)
    return torch.split(_normed(out, norms, weights), convs[0].out_channels, dim=1)


def _normed(x: Tensor, norms: Sequence[nn.BatchNorm2d], weights: Sequence[Weight]) -> Tensor:
    """The batch norms side by side; they keep their statistics as each would by itself."""
    first = norms[0]
    scale = torch.cat(
        [_scale(norm, weight, x) for norm, weight in zip(norms, weights, strict=True)]
    )
    shift = None
    if first.affine:
        pairs = zip(norms, weights, strict=True)
        shift = torch.cat([norm.bias if w is None else w * norm.bias for norm, w in pairs])
    means = _side_by_side([norm.running_mean for norm in norms])
    variances = _side_by_side([norm.running_var for norm in norms])
    by_batch = first.training or means is None
    # Without a momentum, every norm weighs the batch's own statistics by itself.
    momentum = 1.0 if first.momentum is None else first.momentum
    out = F.batch_norm(x, means, variances, scale, shift, by_batch, momentum, first.eps)
    if first.training and means is not None and variances is not None:
        width = first.num_features
        parts = zip(torch.split(means, width), torch.split(variances, width), strict=True)
        for norm, (mean, variance) in zip(norms, parts, strict=True):
            _keep(norm, mean, variance)
    return out


def _scale(norm: nn.BatchNorm2d, weight: Weight, like: Tensor) -> Tensor:
    if norm.affine:
        return norm.weight if weight is None else weight * norm.weight
    if weight is None:
        # Under autocast the values are bfloat16, while norms keep their statistics in float32.
        dtype = torch.promote_types(like.dtype, torch.float32)
        return like.new_ones(norm.num_features, dtype=dtype)
    return weight.expand(norm.num_features)


def _side_by_side(statistics: Sequence[Tensor | None]) -> Tensor | None:
    held = [values for values in statistics if values is not None]
    return torch.cat(held) if held else None


def _keep(norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor) -> None:
    assert norm.running_mean is not None and norm.running_var is not None
    assert norm.num_batches_tracked is not None
    norm.num_batches_tracked.add_(1)
    if norm.momentum is not None:
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        return
    # The mean over all batches, as `torch.nn.BatchNorm2d` has it.
    share = norm.num_batches_tracked.to(mean.dtype).reciprocal()
    norm.running_mean.lerp_(mean, share)
    norm.running_var.lerp_(variance, share)
