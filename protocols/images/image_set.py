"""What every image data set is: arrays of two or three splits, and where they are from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from harness.errors import BadFile

TRAIN, TEST = "train", "test"

Pixels = NDArray[np.uint8] | NDArray[np.float32]
Labels = NDArray[np.int64]
Checksum = Literal["matches", "differs", "none"]


@dataclass(frozen=True)
class Normalisation:
    """(pixel - mean) / std in every channel, in units of the stored pixels (bytes: 0 to 255)."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    source: str

    @classmethod
    def of_unit_range(
        cls, mean: tuple[float, ...], std: tuple[float, ...], source: str
    ) -> Normalisation:
        """From constants that were published for pixels between 0 and 1."""
        return cls(tuple(255 * m for m in mean), tuple(255 * s for s in std), source)


@dataclass(frozen=True)
class Augmentation:
    """What is done at random to a training image, in this order.

    padding: pixels of black put around the image, from which a window of its size is cut.
    flip: mirrored left to right in half of the cases. cutout: side in pixels of a square that is
    set to the mean colour; its centre is uniform over the image, so that it may stick out.
    """

    padding: int = 0
    flip: bool = False
    cutout: int = 0


@dataclass(frozen=True)
class Description:
    """A data set and its origin, known before a file is read.

    shape: (channels, height, width) of an image. n_images: published number a split, empty where
    it is not fixed. normalisation, augmentation: what the benchmarks trained with; augmentation
    leaves cutout out. download: what to get and from where. md5s: published, by file name.
    """

    name: str
    n_classes: int
    shape: tuple[int, int, int]
    normalisation: Normalisation
    licence: str
    citation: str
    download: str
    n_images: Mapping[str, int] = field(default_factory=dict)
    augmentation: Augmentation = Augmentation()
    md5s: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class RawFile:
    """A file that was read. checksum: its md5 beside the published one ("none": none known)."""

    name: str
    sha256: str
    checksum: Checksum = "none"


@dataclass(frozen=True)
class ImageSplit:
    """images: (n, channels, height, width) bytes, or float32 where `Description` says so.

    labels: (n,) from 0 to n_classes - 1.
    """

    images: Pixels
    labels: Labels

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def sha256(self) -> str:
        """Hex digest of the pixels and labels, the same whatever files they were read from."""
        digest = hashlib.sha256(np.ascontiguousarray(self.images).data)
        digest.update(np.ascontiguousarray(self.labels).data)
        return digest.hexdigest()


@dataclass(frozen=True)
class ImageSet:
    """A data set in memory. splits: under their official names, "train" first.

    Raises: BadFile if the arrays are not what `about` says.
    """

    about: Description
    splits: Mapping[str, ImageSplit]
    files: tuple[RawFile, ...] = ()

    def __post_init__(self) -> None:
        for name, split in self.splits.items():
            wanted = (len(split.labels), *self.about.shape)
            if split.images.shape != wanted or not len(split.labels):
                raise BadFile(
                    f"{self.about.name}'s {name} images have the shape {split.images.shape}"
                    f" instead of {wanted}.",
                    "An image set has a label an image, and at least one image a split.",
                )
            where = f"{self.about.name}'s {name} split"
            labels_of(split.labels, len(split), range(self.about.n_classes), where)

    @property
    def n_classes(self) -> int:
        return self.about.n_classes

    @property
    def warnings(self) -> tuple[str, ...]:
        """What differs from the published data set, one sentence each; empty if nothing does."""
        changed = [
            f"{file.name} is not the published file (its md5 differs)."
            for file in self.files
            if file.checksum == "differs"
        ]
        counted = [
            f"{name} holds {len(self.splits[name]):,} images; {n:,} were published."
            for name, n in self.about.n_images.items()
            if name in self.splits and len(self.splits[name]) != n
        ]
        return (*changed, *counted)


@dataclass(frozen=True)
class Reader:
    """How a data set is opened; what a module of this package offers as IMAGES.

    markers: names of files or folders, any of which shows that the data set lies there; empty for
    images that are made. folders: where it may lie beside the folder of its own name. read: takes
    the marker's path, or nothing where there are no markers, and the options that it names.
    """

    about: Description
    read: Callable[..., ImageSet]
    markers: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()


def labels_of(values: Any, n: int, allowed: range, where: str) -> Labels:
    """(n,) labels as int64.

    Raises: BadFile if there are not n of them, or one is no whole number of the allowed range.
    """
    try:
        labels = np.asarray(values)
    except (ValueError, OverflowError):
        labels = np.empty(0)
    if labels.shape != (n,) or labels.dtype.kind not in "iu":
        raise BadFile(f"{where} has no list of {n} whole numbers as labels.", "Download it again.")
    if n and (labels.min() < allowed[0] or labels.max() > allowed[-1]):
        raise BadFile(
            f"{where} has labels from {labels.min()} to {labels.max()}; the data set's are"
            f" {allowed[0]} to {allowed[-1]}.",
            "Download it again, or name the data set that it is.",
        )
    return labels.astype(np.int64)
