"""Fashion-MNIST: 70,000 grey images of 28 x 28 pixels, articles of clothing."""

from __future__ import annotations

from pathlib import Path

from protocols.images import _idx
from protocols.images.image_set import Description, ImageSet, Normalisation, Reader

ABOUT = Description(
    name="fashion-mnist",
    n_classes=10,
    shape=(1, 28, 28),
    n_images={"train": 60_000, "test": 10_000},
    normalisation=Normalisation.of_unit_range(
        (0.2860,), (0.3530,), "mean and deviation of the training images, as commonly printed"
    ),
    licence="MIT",
    citation="Xiao, Rasul and Vollgraf, Fashion-MNIST, 2017",
    download="the four idx files of Fashion-MNIST (30 MB) that Zalando Research's repository"
    " links to",
    # Packed: torchvision, datasets/mnist.py. Unpacked: one public script that rebuilds the arrays.
    md5s={
        "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
        "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
        "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
        "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
        "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
        "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
    },
)


def read(path: Path) -> ImageSet:
    """Both splits from the folder that holds `path`, one of the four files.

    Raises: BadFile if one is missing, cut or of another form.
    """
    return _idx.read(path, ABOUT)


IMAGES = Reader(ABOUT, read, markers=_idx.MARKERS, folders=("FashionMNIST/raw",))
