"""Pickled batches of images: what CIFAR and the downsampled ImageNet are published as."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.errors import BadFile
from harness.unpickle import named_arrays
from protocols.images.image_set import Labels, labels_of

DOWNLOAD = "Download it again."
N_CHANNELS = 3


def batch(
    content: bytes, where: str, *, side: int, label_key: str, labels: range
) -> tuple[NDArray[np.uint8], Labels]:
    """(n, 3, side, side) bytes and their (n,) labels as they stand in the file.

    An image is a row: all red values, then all green, then all blue, each row by row.
    Raises: BadFile naming `where` if it is not such a batch.
    """
    entries = named_arrays(content, where)
    for key in ("data", label_key):
        if key not in entries:
            held = ", ".join(sorted(entries)) or "nothing"
            raise BadFile(f"{where} has no entry {key}; it holds {held}.", DOWNLOAD)
    rows = entries["data"]
    n_values = N_CHANNELS * side * side
    if not isinstance(rows, np.ndarray) or rows.dtype != np.uint8 or rows.shape[1:] != (n_values,):
        raise BadFile(f"{where}'s data are not rows of {n_values} bytes.", DOWNLOAD)
    images = rows.reshape(-1, N_CHANNELS, side, side)
    return images, labels_of(entries[label_key], len(images), labels, where)
