"""The operations that networks and supernets of all spaces are made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# nasbench, lib/config.py: batch_norm_momentum and batch_norm_epsilon. TensorFlow's momentum is the
# share of the old average that is kept, torch's that of the new batch.
NASBENCH_NORM_MOMENTUM = 1 - 0.997
NASBENCH_NORM_EPS = 1e-5


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
class ConvBNReLU(nn.Module):
    """Convolution without bias, batch norm, ReLU: (n, n_in, h, w) -> (n, n_out, h, w).

    momentum, eps: of the batch norm, in torch's meaning; the defaults are NAS-Bench-101's.
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        kernel: int,
        *,
        affine: bool = True,
        track_running_stats: bool = True,
        momentum: float = NASBENCH_NORM_MOMENTUM,
        eps: float = NASBENCH_NORM_EPS,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(n_in, n_out, kernel, padding=kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(
            n_out,
            eps=eps,
            momentum=momentum,
            affine=affine,
            track_running_stats=track_running_stats,
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self.conv(x)))


def _separable(
    n_in: int, n_out: int, kernel: int, stride: int, dilation: int, norm: Mapping[str, bool]
) -> list[nn.Module]:
    """ReLU, a convolution of each channel by itself, a 1x1 convolution, batch norm."""
    padding = dilation * (kernel // 2)
    return [
        nn.ReLU(),
        nn.Conv2d(n_in, n_in, kernel, stride, padding, dilation, groups=n_in, bias=False),
        nn.Conv2d(n_in, n_out, 1, bias=False),
        nn.BatchNorm2d(n_out, **norm),
    ]


@final
class SepConv(nn.Module):
    """Two depthwise-separable convolutions, the stride in the first.

    (n, n_in, h, w) -> (n, n_out, h / stride, w / stride). Source: quark0/darts, cnn/operations.py.
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
        norm = {"affine": affine, "track_running_stats": track_running_stats}
        self.layers = nn.Sequential(
            *_separable(n_in, n_in, kernel, stride, 1, norm),
            *_separable(n_in, n_out, kernel, 1, 1, norm),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x)
        return out


@final
class DilConv(nn.Module):
    """One depthwise-separable convolution whose kernel is spread by `dilation`.

    (n, n_in, h, w) -> (n, n_out, h / stride, w / stride). Source: quark0/darts, cnn/operations.py.
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        kernel: int,
        stride: int = 1,
        *,
        dilation: int = 2,
        affine: bool = True,
        track_running_stats: bool = True,
    ) -> None:
        super().__init__()
        norm = {"affine": affine, "track_running_stats": track_running_stats}
        self.layers = nn.Sequential(*_separable(n_in, n_out, kernel, stride, dilation, norm))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x)
        return out


@final
class FactorizedReduce(nn.Module):
    """ReLU, two strided 1x1 convolutions one pixel apart, joined, batch norm.

    (n, n_in, h, w) -> (n, n_out, h / 2, w / 2) for even h and w. An odd n_out gives the second
    convolution one channel more. Source: quark0/darts, cnn/operations.py.
    """

    def __init__(
        self, n_in: int, n_out: int, *, affine: bool = True, track_running_stats: bool = True
    ) -> None:
        super().__init__()
        half = n_out // 2
        self.even = nn.Conv2d(n_in, half, 1, stride=2, bias=False)
        self.odd = nn.Conv2d(n_in, n_out - half, 1, stride=2, bias=False)
        self.norm = nn.BatchNorm2d(n_out, affine=affine, track_running_stats=track_running_stats)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(x)
        joined = torch.cat([self.even(x), self.odd(x[..., 1:, 1:])], dim=1)
        out: Tensor = self.norm(joined)
        return out


@final
class Zero(nn.Module):
    """The op `none`: zeros of the input's shape, or of every stride-th row and column of it."""

    def __init__(self, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        return x.new_zeros(()).expand_as(x[..., :: self.stride, :: self.stride])


@final
class Noise(nn.Module):
    """The op `noise` of S4: N(0, 1) of the strided input's shape, whatever the input is.

    It is drawn anew in every pass, in evaluation too, from torch's global generator.
    """

    def __init__(self, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        # Drawn in one order, however the input lies in memory.
        part = x[..., :: self.stride, :: self.stride]
        return torch.randn_like(part, memory_format=torch.contiguous_format)


@final
class DropPath(nn.Module):
    """While training, zeroes whole images at random and scales up the rest: the mean is kept.

    probability: that an image, (channels, h, w) of a batch, is dropped; at least 0, below 1. It
    may be set between batches. Source: quark0/darts, cnn/utils.py.
    """

    def __init__(self, probability: float = 0.0) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.probability == 0:
            return x
        keep = 1 - self.probability
        mask = x.new_empty(len(x), 1, 1, 1).bernoulli_(keep)
        return x / keep * mask


def nb201_op(
    name: str,
    channels: int,
    *,
    n_in: int | None = None,
    affine: bool = True,
    track_running_stats: bool = True,
) -> nn.Module:
    """An operation of NAS-Bench-201; it keeps the shape (n, channels, h, w).

    n_in: channels of the input where they differ, as in NATS-Bench's size space. A skip then is a
    1x1 convolution with batch norm.
    Raises: KeyError for a name that is no operation, or none that changes the number of channels.
    """
    norm = {"affine": affine, "track_running_stats": track_running_stats}
    n_in = channels if n_in is None else n_in

    def conv(kernel: int) -> nn.Module:
        return ReLUConvBN(n_in, channels, kernel, **norm)

    def widened_skip() -> nn.Module:
        layer = nn.Conv2d(n_in, channels, 1, bias=False)
        return nn.Sequential(layer, nn.BatchNorm2d(channels, **norm))

    convs: dict[str, Callable[[], nn.Module]] = {
        "nor_conv_1x1": lambda: conv(1),
        "nor_conv_3x3": lambda: conv(3),
    }
    if n_in != channels:
        return (convs | {"skip_connect": widened_skip})[name]()
    make: dict[str, Callable[[], nn.Module]] = convs | {
        "none": Zero,
        "skip_connect": nn.Identity,
        "avg_pool_3x3": lambda: nn.AvgPool2d(3, 1, 1, count_include_pad=False),
    }
    return make[name]()


def darts_op(
    name: str,
    channels: int,
    stride: int,
    *,
    affine: bool = True,
    track_running_stats: bool = True,
    pool_norm: bool = False,
) -> nn.Module:
    """An operation of the DARTS family: (n, channels, h, w) -> (n, channels, h / stride, ...).

    stride: 1 or 2. pool_norm: whether a batch norm without scale and shift follows pooling;
    supernets have it, stand-alone networks have not.
    Raises: KeyError for a name that is no operation.
    """
    norm = {"affine": affine, "track_running_stats": track_running_stats}

    def pool(layer: nn.Module) -> nn.Module:
        if not pool_norm:
            return layer
        after = nn.BatchNorm2d(channels, affine=False, track_running_stats=track_running_stats)
        return nn.Sequential(layer, after)

    def skip() -> nn.Module:
        return nn.Identity() if stride == 1 else FactorizedReduce(channels, channels, **norm)

    make: dict[str, Callable[[], nn.Module]] = {
        "none": lambda: Zero(stride),
        "noise": lambda: Noise(stride),
        "max_pool_3x3": lambda: pool(nn.MaxPool2d(3, stride, 1)),
        "avg_pool_3x3": lambda: pool(nn.AvgPool2d(3, stride, 1, count_include_pad=False)),
        "skip_connect": skip,
        "sep_conv_3x3": lambda: SepConv(channels, channels, 3, stride, **norm),
        "sep_conv_5x5": lambda: SepConv(channels, channels, 5, stride, **norm),
        "dil_conv_3x3": lambda: DilConv(channels, channels, 3, stride, **norm),
        "dil_conv_5x5": lambda: DilConv(channels, channels, 5, stride, **norm),
    }
    return make[name]()


def nb101_op(
    name: str,
    channels: int,
    *,
    affine: bool = True,
    track_running_stats: bool = True,
    momentum: float = NASBENCH_NORM_MOMENTUM,
    eps: float = NASBENCH_NORM_EPS,
) -> nn.Module:
    """An operation of NAS-Bench-101 and NAS-Bench-1Shot1; it keeps the shape (n, channels, h, w).

    Raises: KeyError for a name that is no operation.
    """

    def conv(kernel: int) -> nn.Module:
        return ConvBNReLU(
            channels,
            channels,
            kernel,
            affine=affine,
            track_running_stats=track_running_stats,
            momentum=momentum,
            eps=eps,
        )

    make: dict[str, Callable[[], nn.Module]] = {
        "maxpool3x3": lambda: nn.MaxPool2d(3, 1, 1),
        "conv1x1-bn-relu": lambda: conv(1),
        "conv3x3-bn-relu": lambda: conv(3),
    }
    return make[name]()
