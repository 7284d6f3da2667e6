"""The idx files of MNIST and of the data sets made in its likeness, packed by gzip or not."""

from __future__ import annotations

import math
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.errors import BadFile
from protocols.images.image_set import Description, ImageSet, ImageSplit, RawFile, labels_of
from protocols.images.raw_files import DOWNLOAD, read_file, unzipped

FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
MARKERS = (FILES["train"][0], f"{FILES['train'][0]}.gz")
BYTES = 8  # The type code of unsigned bytes; a file begins with 0, 0, the type, the dimensions.
MAX_BYTES = 1 << 30  # Ours: twenty times the largest file.


def read(path: Path, about: Description) -> ImageSet:
    """The four files from the folder that holds `path`, one of them.

    Raises: BadFile if one is missing, cut or of another form.
    """
    splits, files = {}, []
    for split, (image_name, label_name) in FILES.items():
        images, image_file = _array(path.parent, image_name, about, n_dimensions=3)
        labels, label_file = _array(path.parent, label_name, about, n_dimensions=1)
        n = len(images)
        splits[split] = ImageSplit(
            images.reshape(n, 1, *images.shape[1:]),
            labels_of(labels, n, range(about.n_classes), label_file.name),
        )
        files += [image_file, label_file]
    return ImageSet(about, splits, tuple(files))


def _array(
    folder: Path, name: str, about: Description, n_dimensions: int
) -> tuple[NDArray[np.uint8], RawFile]:
    packed = folder / f"{name}.gz"
    is_packed = packed.exists()
    content, file = read_file(packed if is_packed else folder / name, about.md5s)
    raw = unzipped(content, MAX_BYTES, file.name) if is_packed else content
    return idx_array(raw, file.name, n_dimensions), file


def idx_array(raw: bytes, where: str, n_dimensions: int) -> NDArray[np.uint8]:
    """The array of bytes that an idx file holds.

    Raises: BadFile if it has another type or number of dimensions, or is cut.
    """
    magic = bytes((0, 0, BYTES, n_dimensions))
    if raw[:4] != magic:
        raise BadFile(
            f"{where} begins with {raw[:4].hex(' ') or 'nothing'} instead of {magic.hex(' ')}.",
            DOWNLOAD,
        )
    start = 4 + 4 * n_dimensions
    shape = struct.unpack_from(f">{n_dimensions}I", raw.ljust(start, b"\0"), 4)
    if len(raw) != start + math.prod(shape):
        raise BadFile(
            f"{where} has {len(raw):,} bytes instead of {start + math.prod(shape):,}.", DOWNLOAD
        )
    # A copy, so that the pixels can be written to and the file's bytes are let go.
    return np.frombuffer(raw, np.uint8, offset=start).reshape(shape).copy()
