"""ImageNet, or any other images in folders: train/CLASS/*.JPEG and val/CLASS/*.JPEG.

The images are held as bytes of one size: the shorter side scaled to `resize` pixels and the middle
cut out, as networks are evaluated on ImageNet. A search on a part of the classes or images fits
into memory so; the whole of ImageNet at 224 pixels has 193 GB and does not. The test split is
the official validation set: papers report it, and the labels of the official test set are secret.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import BadFile, InvalidSpec, MissingPackage
from protocols.images.image_set import (
    Description,
    ImageSet,
    ImageSplit,
    Normalisation,
    RawFile,
    Reader,
)
from protocols.images.raw_files import DOWNLOAD

FOLDERS = {"train": "train", "test": "val"}
SUFFIXES = frozenset({".jpeg", ".jpg", ".png"})
MAX_BYTES = 1 << 35  # Ours: 32 GiB of pixels in memory.
N_IMAGES = {"train": 1_281_167, "test": 50_000}
N_CLASSES = 1000
ABOUT = Description(
    name="imagenet",
    n_classes=N_CLASSES,
    shape=(3, 224, 224),
    n_images=N_IMAGES,
    normalisation=Normalisation.of_unit_range(
        (0.485, 0.456, 0.406),
        (0.229, 0.224, 0.225),
        "AutoDL-Projects, get_dataset_with_transform.py, as in PyTorch's examples",
    ),
    licence="ImageNet's terms: non-commercial research and education",
    citation="Russakovsky et al., ImageNet Large Scale Visual Recognition Challenge, 2015",
    download="the training and validation images of ILSVRC 2012 from the ImageNet project (an"
    " account is needed), sort both into a folder a class",
)


@dataclass(frozen=True)
class _Size:
    """side: of the stored images in pixels; resize: of the shorter side before the cut."""

    side: int
    resize: int


def read(
    path: Path, *, side: int = 224, resize: int | None = None, n_per_class: int | None = None
) -> ImageSet:
    """Both splits from the folder that holds `path`, which is the folder train.

    Args:
        path: the folder of the training classes; val lies beside it.
        side: of the stored images, in pixels.
        resize: the shorter side before the middle is cut out; by default 8/7 of side (256 for 224).
        n_per_class: how many files of a class to take, first by name; None for all.

    Raises: BadFile if classes are missing or a file is no image; InvalidSpec if it would not fit
        into memory; MissingPackage without Pillow.
    """
    size = _Size(side, resize if resize is not None else round(side * 8 / 7))
    if not 0 < size.side <= size.resize or (n_per_class is not None and n_per_class < 1):
        raise InvalidSpec(
            f"Images of {side} pixels cannot be cut from {size.resize}, {n_per_class} a class.",
            "Give a side of one or more, and resize at least as large.",
        )
    classes = _classes(path)
    folders = {split: path.parent / name for split, name in FOLDERS.items()}
    found = {split: _files(folder, classes, n_per_class) for split, folder in folders.items()}
    _check_memory(sum(map(len, found.values())), side)
    splits, files = {}, []
    for split, folder in folders.items():
        splits[split], file = _decoded_split(folder, found[split], size)
        files.append(file)
    is_whole = len(classes) == N_CLASSES and n_per_class is None
    about = replace(
        ABOUT,
        n_classes=len(classes),
        shape=(3, side, side),
        n_images=N_IMAGES if is_whole else {},
    )
    return ImageSet(about, splits, tuple(files))


def _classes(folder: Path) -> list[str]:
    """Names of the classes in the order of their labels, which is that of the alphabet."""
    classes = sorted(entry.name for entry in folder.iterdir() if entry.is_dir())
    if not classes:
        raise BadFile(f"{folder} holds no folders of classes.", "Sort the images into them.")
    return classes


def _files(folder: Path, classes: Sequence[str], n_per_class: int | None) -> list[tuple[Path, int]]:
    """The images of a split and their labels, class by class."""
    held = {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()
    if held and not held.intersection(classes):
        raise BadFile(
            f"{folder} is not sorted into the classes of the training images.",
            "Move every image into the folder of its class.",
        )
    found = []
    for label, name in enumerate(classes):
        inside = (folder / name).iterdir() if name in held else ()
        images = sorted(file for file in inside if file.suffix.lower() in SUFFIXES)
        if not images:
            raise BadFile(f"{folder / name} holds no images.", DOWNLOAD)
        found += [(file, label) for file in images[:n_per_class]]
    return found


def _check_memory(n_images: int, side: int) -> None:
    n_bytes = n_images * 3 * side**2
    if n_bytes > MAX_BYTES:
        raise InvalidSpec(
            f"{n_images:,} images of {side} pixels are {n_bytes >> 30} GiB in memory.",
            "Take fewer with n_per_class, or a smaller side.",
        )


def _decoded_split(
    folder: Path, files: Sequence[tuple[Path, int]], size: _Size
) -> tuple[ImageSplit, RawFile]:
    images = np.empty((len(files), 3, size.side, size.side), np.uint8)
    digest = hashlib.sha256()
    for row, (file, _) in enumerate(files):
        content = _bytes(file)
        digest.update(file.relative_to(folder).as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(content).digest())
        images[row] = _decoded(content, file, size)
    labels = np.array([label for _, label in files], dtype=np.int64)
    told = f"{folder.name}: {len(files):,} files"
    return ImageSplit(images, labels), RawFile(told, digest.hexdigest())


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise BadFile(f"{file} cannot be read: {error}.", DOWNLOAD) from error


def _decoded(content: bytes, file: Path, size: _Size) -> NDArray[np.uint8]:
    """(3, side, side): scaled and cut as torchvision's Resize and CenterCrop do."""
    image = _pillow()
    try:
        with image.open(io.BytesIO(content)) as opened:
            colours = opened.convert("RGB")
    except Exception as error:  # A damaged image raises what its decoder does.
        raise BadFile(f"{file} is no readable image ({error}).", DOWNLOAD) from error
    width, height = colours.size
    shorter = min(width, height)
    scaled = colours.resize(
        (size.resize * width // shorter, size.resize * height // shorter),
        image.Resampling.BILINEAR,
    )
    left, top = (round((length - size.side) / 2) for length in scaled.size)
    middle = scaled.crop((left, top, left + size.side, top + size.side))
    return np.asarray(middle, dtype=np.uint8).transpose(2, 0, 1)


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingPackage(
            "Images in folders are decoded by Pillow.", "Install it: pip install pillow"
        ) from error
    return Image


IMAGES = Reader(ABOUT, read, markers=("train",))
