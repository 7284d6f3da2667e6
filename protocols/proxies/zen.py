"""Zen: how much a small change of a random image moves the last feature map.

log of the mean over images of |f(x) - f(x + 0.01 e)|_1, plus the sum over batch norms of
log sqrt(mean variance of their input), by which it undoes their scaling; more is better. x and e
are standard normal of the batch's shape, weights are standard normal, biases 0, batch norms' scales
1: neither the batch's images nor the network's weights have a part. f ends before global pooling.

Source: Lin et al., ICCV 2021, algorithm 1 (code: idstcv/ZenNAS,
ZeroShotProxy/compute_zen_score.py). Of the paper is the variance of the batch itself; the code has
a running average that starts at 1. Of the code is the absolute sum; the paper has the Euclidean
norm. Ours: one draw of weights and images (the code: the mean of 32), and only batch norms that lie
between images and features count, so that what leads nowhere changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, final

import torch
import torch.nn.functional as F
from torch import Tensor

from protocols.probe import fast_layout, nodes_between
from protocols.proxies import NoScore, Proxy

if TYPE_CHECKING:
    from protocols.probe import Probe

CHANGE = 1e-2  # compute_zen_score.py: mixup_gamma


@final
class Zen(Proxy):
    """log |f(x) - f(x + 0.01 e)| + sum of log standard deviations."""

    version = 1

    def score(self, probe: Probe) -> float:
        draw = probe.generator("zen")
        device, dtype = probe.batch.images.device, probe.batch.images.dtype

        def normal(like: Tensor) -> Tensor:
            return torch.randn(like.shape, generator=draw, dtype=dtype).to(device)

        weights = {
            name: fast_layout(normal(p))
            if name in probe.weights
            else torch.full_like(p, float(name.endswith("weight"))).detach()
            for name, p in probe.net.named_parameters()
        }
        images = fast_layout(normal(probe.batch.images)).requires_grad_()
        first, second = _Features(), _Features()
        probe.run(images, weights, first.table())
        with torch.no_grad():
            changed = images + CHANGE * fast_layout(normal(images))
            probe.run(changed, weights, second.table())
        moved = first.last.detach() - second.last
        distance = moved.abs().sum(dtype=torch.float64) / len(images)
        if distance == 0:
            raise NoScore("the features do not depend on the images")
        live = nodes_between(images, first.last)
        scales = (variance.mean().sqrt().log() for node, variance in first.norms if node in live)
        return float(distance.log() + sum(scales))


class _Features:
    """Watches a pass for what goes into batch norms and into global pooling."""

    def __init__(self) -> None:
        self.pooled: list[Tensor] = []
        self.norms: list[tuple[Any, Tensor]] = []

    @property
    def last(self) -> Tensor:
        """What the last global pooling was given."""
        if not self.pooled:
            raise NoScore("the network has no global pooling, before which features would be read")
        return self.pooled[-1]

    def table(self) -> dict[Callable[..., Any], Callable[..., Any]]:
        return {
            F.batch_norm: self._norm,
            torch.mean: self._pool(torch.mean),
            Tensor.mean: self._pool(Tensor.mean),
            F.adaptive_avg_pool2d: self._pool(F.adaptive_avg_pool2d),
            F.avg_pool2d: self._pool(F.avg_pool2d),
        }

    def _norm(
        self,
        x: Tensor,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Tensor:
        """Momentum 1 leaves the batch's own variance in the running one."""
        mean, variance = (x.new_zeros(x.shape[1]) for _ in range(2))
        y = F.batch_norm(x, mean, variance, weight, bias, True, 1.0, eps)
        self.norms.append((y.grad_fn, variance))
        return y

    def _pool(self, function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def pool(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
            y = function(x, *args, **kwargs)
            if x.dim() == 4 and y.shape[:2] == x.shape[:2] and y.numel() == x.shape[:2].numel():
                self.pooled.append(x)
            return y

        return pool


PROXY = Zen()
