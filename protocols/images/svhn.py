"""SVHN, cropped digits: 32 x 32 colour images centred on a digit of a house number.

The extra training images are not read: no paper here trains on them.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import BadFile
from protocols.images.image_set import (
    Augmentation,
    Description,
    ImageSet,
    ImageSplit,
    Normalisation,
    Reader,
    labels_of,
)
from protocols.images.raw_files import DOWNLOAD, read_file

FILES = {"train": "train_32x32.mat", "test": "test_32x32.mat"}
SIDE = 32
ZERO = 10  # The label of the digit 0, as the data set's page says.
ABOUT = Description(
    name="svhn",
    n_classes=10,
    shape=(3, SIDE, SIDE),
    n_images={"train": 73_257, "test": 26_032},
    normalisation=Normalisation.of_unit_range(
        (0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970), "RobustDARTS, src/utils.py"
    ),
    augmentation=Augmentation(padding=4, flip=True),  # The same file; it flips digits, too.
    licence="non-commercial use only",
    citation="Netzer et al., Reading Digits in Natural Images with Unsupervised Feature Learning,"
    " 2011",
    download="train_32x32.mat (182 MB) and test_32x32.mat (64 MB), format 2, from the Street View"
    " House Numbers page at Stanford",
    # torchvision, datasets/svhn.py.
    md5s={
        "train_32x32.mat": "e26dedcc434d2e4c54c9b2d4a06d8373",
        "test_32x32.mat": "eb5a983be6a315427106f1b164d9cef3",
    },
)


def read(path: Path) -> ImageSet:
    """Both splits from the folder that holds `path`, one of the two files.

    Raises: BadFile if a file is missing, damaged or of another shape.
    """
    splits, files = {}, []
    for split, name in FILES.items():
        content, file = read_file(path.parent / name, ABOUT.md5s)
        splits[split] = _split(content, name)
        files.append(file)
    return ImageSet(ABOUT, splits, tuple(files))


def _split(content: bytes, where: str) -> ImageSplit:
    matrices = _matrices(content, where)
    nothing = np.empty(0)
    pixels, numbers = matrices.get("X", nothing), matrices.get("y", nothing)
    is_image = pixels.dtype == np.uint8 and pixels.ndim == 4
    if not is_image or pixels.shape[:3] != (SIDE, SIDE, 3):
        raise BadFile(
            f"{where} holds no bytes X of the shape (32, 32, 3, n), but {pixels.shape}.", DOWNLOAD
        )
    labels = labels_of(numbers.ravel(), pixels.shape[3], range(1, ZERO + 1), where)
    images = np.ascontiguousarray(pixels.transpose(3, 2, 0, 1))
    return ImageSplit(images, labels % ZERO)


def _matrices(content: bytes, where: str) -> dict[str, NDArray[Any]]:
    from scipy.io import loadmat  # Only this data set needs it.

    try:
        # An open file is allowed, though scipy's stubs do not say so.
        found = loadmat(io.BytesIO(content), variable_names=["X", "y"])  # type: ignore[arg-type]
    except Exception as error:  # Whatever a damaged file leads to; scipy documents no type.
        raise BadFile(
            f"{where} is not a readable MATLAB 5 file ({type(error).__name__}: {error}).", DOWNLOAD
        ) from error
    return {name: value for name, value in found.items() if isinstance(value, np.ndarray)}


IMAGES = Reader(ABOUT, read, markers=(FILES["train"],))
