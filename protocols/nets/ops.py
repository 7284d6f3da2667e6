"""The operations that networks and supernets of all spaces are made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import torch.nn.functional as F
from torch import Tensor, nn


@final
class ReLUConvBN(nn.Module):
    """ReLU, convolution without bias, batch norm.

    (n, n_in, h, w) -> (n, n_out, h / stride, w / stride). affine, track_running_stats: of the
    batch norm; stand-alone networks have both.
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        kernel: int,
        stride: int = 1,
        *,
        affine: bool = True,
        track_running_stats: bool = True,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(n_in, n_out, kernel, stride, kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(n_out, affine=affine, track_running_stats=track_running_stats)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.norm(self.conv(F.relu(x)))
        return out


@final
class Zero(nn.Module):
    """The op `none`: zeros of the input's shape."""

    def forward(self, x: Tensor) -> Tensor:
        return x.new_zeros(()).expand_as(x)


def nb201_op(
    name: str, channels: int, *, affine: bool = True, track_running_stats: bool = True
) -> nn.Module:
    """An operation of NAS-Bench-201; it keeps the shape (n, channels, h, w).

    Raises: KeyError for a name that is no operation.
    """

    def conv(kernel: int) -> nn.Module:
        return ReLUConvBN(
            channels, channels, kernel, affine=affine, track_running_stats=track_running_stats
        )

    make: dict[str, Callable[[], nn.Module]] = {
        "none": Zero,
        "skip_connect": nn.Identity,
        "nor_conv_1x1": lambda: conv(1),
        "nor_conv_3x3": lambda: conv(3),
        "avg_pool_3x3": lambda: nn.AvgPool2d(3, 1, 1, count_include_pad=False),
    }
    return make[name]()
