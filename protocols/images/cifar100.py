"""CIFAR-100: 60,000 colour images of 32 x 32 pixels in a hundred (fine) classes."""

from __future__ import annotations

from pathlib import Path

from protocols.images import _cifar
from protocols.images.image_set import Augmentation, Description, ImageSet, Normalisation, Reader

FOLDER, ARCHIVE = "cifar-100-python", "cifar-100-python.tar.gz"
BATCHES = {"train": ("train",), "test": ("test",)}
NB201 = Normalisation(
    (129.3, 124.1, 112.4),
    (68.2, 65.4, 70.4),
    "NAS-Bench-201: AutoDL-Projects, get_dataset_with_transform.py",
)
DARTS = Normalisation.of_unit_range(
    (0.5071, 0.4865, 0.4409),
    (0.2673, 0.2564, 0.2762),
    "RobustDARTS, src/utils.py, and DrNAS, utils.py",
)
ABOUT = Description(
    name="cifar100",
    n_classes=100,
    shape=(3, 32, 32),
    n_images={"train": 50_000, "test": 10_000},
    normalisation=NB201,
    augmentation=Augmentation(padding=4, flip=True),  # The same file.
    licence="none stated; the authors ask to cite their report",
    citation="Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009",
    download="the python version of CIFAR-100 from Alex Krizhevsky's page (University of Toronto),"
    f" {ARCHIVE}, 161 MB",
    # From torchvision, datasets/cifar.py.
    md5s={
        ARCHIVE: "eb9058c3a382ffc7106e4002c42a8d85",
        "train": "16019d7e3df5f24257cddd939b257f8d",
        "test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
    },
)


def read(path: Path) -> ImageSet:
    """Both splits from the folder or the archive.

    Raises: BadFile if a batch is missing, damaged or of another shape.
    """
    return _cifar.read(path, ABOUT, BATCHES, "fine_labels")


IMAGES = Reader(ABOUT, read, markers=(FOLDER, ARCHIVE))
