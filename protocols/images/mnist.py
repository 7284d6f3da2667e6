"""MNIST: 70,000 grey images of 28 x 28 pixels, handwritten digits."""

from __future__ import annotations

from pathlib import Path

from protocols.images import _idx
from protocols.images.image_set import Description, ImageSet, Normalisation, Reader

ABOUT = Description(
    name="mnist",
    n_classes=10,
    shape=(1, 28, 28),
    n_images={"train": 60_000, "test": 10_000},
    normalisation=Normalisation.of_unit_range(
        (0.1307,), (0.3081,), "PyTorch's examples, mnist/main.py"
    ),
    licence="CC BY-SA 3.0",
    citation="LeCun, Bottou, Bengio and Haffner, Gradient-Based Learning Applied to Document"
    " Recognition, 1998",
    download="the four idx files of MNIST (12 MB), from Yann LeCun's page or a mirror of it",
    # Packed: torchvision, datasets/mnist.py. Unpacked: several public download scripts agree.
    md5s={
        "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
        "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
        "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
        "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
        "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
        "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
        "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
    },
)


def read(path: Path) -> ImageSet:
    """Both splits from the folder that holds `path`, one of the four files.

    Raises: BadFile if one is missing, cut or of another form.
    """
    return _idx.read(path, ABOUT)


IMAGES = Reader(ABOUT, read, markers=_idx.MARKERS, folders=("MNIST/raw",))
