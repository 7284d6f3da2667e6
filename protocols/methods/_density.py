"""Kernel densities over categorical rows, as BOHB needs them.

Source: Aitchison and Aitken, Biometrika 1976 (the kernel); HpBandSter, the reference code of
Falkner et al., ICML 2018 (how its bandwidth is chosen).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MIN_BANDWIDTH = 0.3  # NATS-Bench, bohb.py: --min_bandwidth


def bandwidths(points: NDArray[np.int64], sizes: NDArray[np.int64]) -> NDArray[np.float64]:
    """(n_rows,): 1.06 std n^(-1 / (4 + n_rows)) of the option numbers, as HpBandSter has it.

    At least MIN_BANDWIDTH; at most (c - 1) / c, where the kernel of c values is uniform (ours:
    HpBandSter has no upper limit, and beyond this one a kernel shuns its own centre).
    """
    n_points, n_rows = points.shape
    rule_of_thumb = 1.06 * points.std(axis=0) * n_points ** (-1 / (4 + n_rows))
    return np.minimum(np.maximum(rule_of_thumb, MIN_BANDWIDTH), (sizes - 1) / sizes)


def density(
    at: NDArray[np.int64],
    points: NDArray[np.int64],
    widths: NDArray[np.float64],
    sizes: NDArray[np.int64],
) -> NDArray[np.float64]:
    """(n_at,): mean over points of the product over rows of Aitchison-Aitken kernels.

    The kernel of a row with c values is 1 - width at its centre and width / (c - 1) elsewhere.
    """
    equal = at[:, None, :] == points[None, :, :]
    kernels = np.where(equal, 1 - widths, widths / np.maximum(sizes - 1, 1))
    return kernels.prod(axis=2).mean(axis=1)
