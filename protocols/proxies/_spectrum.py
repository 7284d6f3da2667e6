"""Eigenvalues of kernels between images."""

from __future__ import annotations

import torch
from torch import Tensor

from protocols.proxies import NoScore


def positive_spectrum(kernel: Tensor) -> Tensor:
    """(n,) eigenvalues of a finite symmetric (n, n) kernel, ascending and all positive.

    Raises: NoScore if the kernel is singular, or not positive, to the precision of its type.
    """
    values = torch.linalg.eigvalsh(kernel)
    least = len(values) * torch.finfo(values.dtype).eps * values[-1]
    if not values[0] > least:
        raise NoScore("singular kernel: images that the network does not tell apart")
    return values
