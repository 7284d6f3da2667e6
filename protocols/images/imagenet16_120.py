"""ImageNet16-120: NAS-Bench-201's third data set, the first 120 classes of ImageNet16.

ImageNet16 is ImageNet scaled down to 16 x 16 pixels; NAS-Bench-201 keeps the images with labels 1
to 120. Its test split is ImageNet's validation set, of which the benchmark then takes halves as
its own validation and test sets.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from protocols.images._batches import batch
from protocols.images.image_set import (
    Augmentation,
    Description,
    ImageSet,
    ImageSplit,
    Labels,
    Normalisation,
    RawFile,
    Reader,
)
from protocols.images.raw_files import read_file

N_CLASSES, N_ALL_CLASSES, SIDE = 120, 1000, 16
BATCHES = {
    "train": tuple(f"train_data_batch_{i}" for i in range(1, 11)),
    "test": ("val_data",),
}
# Constants, md5s and numbers of images: AutoDL-Projects, lib/datasets/DownsampledImageNet.py and
# get_dataset_with_transform.py.
ABOUT = Description(
    name="ImageNet16-120",
    n_classes=N_CLASSES,
    shape=(3, SIDE, SIDE),
    n_images={"train": 151_700, "test": 6_000},
    normalisation=Normalisation(
        (122.68, 116.66, 104.01),
        (63.22, 61.26, 65.09),
        "NAS-Bench-201: AutoDL-Projects, get_dataset_with_transform.py",
    ),
    augmentation=Augmentation(padding=2, flip=True),
    licence="ImageNet's terms: non-commercial research and education",
    citation="Chrabaszcz, Loshchilov and Hutter, A Downsampled Variant of ImageNet, 2017;"
    " Dong and Yang, NAS-Bench-201, ICLR 2020",
    download="the folder ImageNet16 from the training data that NAS-Bench-201's authors link to"
    " (train_data_batch_1 to 10 and val_data, 1 GB)",
    md5s={
        "train_data_batch_1": "27846dcaa50de8e21a7d1a35f30f0e91",
        "train_data_batch_2": "c7254a054e0e795c69120a5727050e3f",
        "train_data_batch_3": "4333d3df2e5ffb114b05d2ffc19b1e87",
        "train_data_batch_4": "1620cdf193304f4a92677b695d70d10f",
        "train_data_batch_5": "348b3c2fdbb3940c4e9e834affd3b18d",
        "train_data_batch_6": "6e765307c242a1b3d7d5ef9139b48945",
        "train_data_batch_7": "564926d8cbf8fc4818ba23d2faac7564",
        "train_data_batch_8": "f4755871f718ccb653440b9dd0ebac66",
        "train_data_batch_9": "bb6dd660c38c58552125b1a92f86b5d4",
        "train_data_batch_10": "8f03f34ac4b42271a294f91bf480f29b",
        "val_data": "3410e3017fdaefba8d5073aaa65e4bd6",
    },
)


def read(path: Path) -> ImageSet:
    """The 120 classes from the folder that holds `path`, one of the batches.

    Raises: BadFile if a batch is missing, damaged or of another shape.
    """
    splits: dict[str, ImageSplit] = {}
    files: list[RawFile] = []
    for split, names in BATCHES.items():
        # One batch at a time: of ten, 12 % are kept.
        parts, read_files = zip(*(_selected(path.parent / name) for name in names), strict=True)
        images, labels = zip(*parts, strict=True)
        splits[split] = ImageSplit(np.concatenate(images), np.concatenate(labels))
        files.extend(read_files)
    return ImageSet(ABOUT, splits, tuple(files))


def _selected(path: Path) -> tuple[tuple[NDArray[np.uint8], Labels], RawFile]:
    content, file = read_file(path, ABOUT.md5s)
    images, labels = batch(
        content, path.name, side=SIDE, label_key="labels", labels=range(1, N_ALL_CLASSES + 1)
    )
    kept = labels <= N_CLASSES
    return (images[kept], labels[kept] - 1), file


IMAGES = Reader(ABOUT, read, markers=(BATCHES["train"][0],), folders=("ImageNet16",))
