"""CIFAR-10: 60,000 colour images of 32 x 32 pixels in ten classes."""

from __future__ import annotations

from pathlib import Path

from protocols.images import _cifar
from protocols.images.image_set import Augmentation, Description, ImageSet, Normalisation, Reader

FOLDER, ARCHIVE = "cifar-10-batches-py", "cifar-10-python.tar.gz"
BATCHES = {
    "train": tuple(f"data_batch_{i}" for i in range(1, 6)),
    "test": ("test_batch",),
}
NB201 = Normalisation(
    (125.3, 123.0, 113.9),
    (63.0, 62.1, 66.7),
    "NAS-Bench-201: AutoDL-Projects, get_dataset_with_transform.py",
)
DARTS = Normalisation.of_unit_range(
    (0.49139968, 0.48215827, 0.44653124),
    (0.24703233, 0.24348505, 0.26158768),
    "DARTS official code, cnn/utils.py",
)
ABOUT = Description(
    name="cifar10",
    n_classes=10,
    shape=(3, 32, 32),
    n_images={"train": 50_000, "test": 10_000},
    normalisation=NB201,
    augmentation=Augmentation(padding=4, flip=True),  # The same file, and DARTS' cnn/utils.py.
    licence="none stated; the authors ask to cite their report",
    citation="Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009",
    download="the python version of CIFAR-10 from Alex Krizhevsky's page (University of Toronto),"
    f" {ARCHIVE}, 163 MB",
    # The archive's: the CIFAR page. The batches': torchvision, datasets/cifar.py.
    md5s={
        ARCHIVE: "c58f30108f718f92721af3b95e74349a",
        "data_batch_1": "c99cafc152244af753f735de768cd75f",
        "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "data_batch_4": "634d18415352ddfa80567beed471001a",
        "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
        "test_batch": "40351d587109b95175f43aff81a1287e",
    },
)


def read(path: Path) -> ImageSet:
    """Both splits from the folder or the archive.

    Raises: BadFile if a batch is missing, damaged or of another shape.
    """
    return _cifar.read(path, ABOUT, BATCHES, "labels")


IMAGES = Reader(ABOUT, read, markers=(FOLDER, ARCHIVE))
