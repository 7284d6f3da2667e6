"""Image data as arrays: one file a data set, all opened by `open_images`.

Raw files are looked for in the folder `images` of NAS_HARNESS_DATA, or in a folder that is given:
below it in a folder of the data set's name, in one of the name that its archive unpacks to, or
in itself. What each data set needs there:

    cifar10         cifar-10-batches-py/ or cifar-10-python.tar.gz
    cifar100        cifar-100-python/ or cifar-100-python.tar.gz
    ImageNet16-120  train_data_batch_1 to train_data_batch_10 and val_data
    svhn            train_32x32.mat and test_32x32.mat
    mnist           the four idx files, with .gz or without
    fashion-mnist   the same four names; keep the two apart in folders of their own
    imagenet        train/CLASS/*.JPEG and val/CLASS/*.JPEG
    cluttered-digits, gaussian: nothing, they are made

Importing this package imports neither torch nor a data set's module.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from harness.errors import BadFile, InvalidSpec, unknown
from protocols.images.image_set import Description, ImageSet, Reader
from protocols.images.raw_files import find

NOISE = "gaussian"
NO_OPTIONS: Mapping[str, Any] = {}
NAMES = (
    "cifar10",
    "cifar100",
    "ImageNet16-120",
    "svhn",
    "mnist",
    "fashion-mnist",
    "imagenet",
    "cluttered-digits",
    NOISE,
)


def open_images(name: str, *, root: Path | None = None, **options: Any) -> ImageSet:
    """Reads, checks and hashes a whole data set.

    Args:
        name: one of NAMES.
        root: where its files lie; None for NAS_HARNESS_DATA/images.
        options: those of the data set's `read`: `side` and others of imagenet, `seed` and others
            of gaussian, `n_train` and `task` of cluttered-digits.

    Raises: UnknownName; BadFile if files are missing or damaged; InvalidSpec for options that the
        data set does not have; MissingPackage.
    """
    reader = _reader(name)
    found = [find(reader, root)] if reader.markers else []
    if root is not None and not reader.markers:
        raise InvalidSpec(f"{name} is made, not read from {root}.", "Leave the folder out.")
    try:
        inspect.signature(reader.read).bind(*found, **options)
    except TypeError as error:
        taken = list(inspect.signature(reader.read).parameters)[len(found) :]
        raise InvalidSpec(
            f"{name} cannot be opened with {options}: {error}.",
            f"Its options: {', '.join(taken) or 'none'}.",
        ) from error
    return reader.read(*found, **options)


def open_for(
    dataset: str,
    name: str | None = None,
    *,
    seed: int,
    n_made: int,
    options: Mapping[str, Any] = NO_OPTIONS,
) -> ImageSet:
    """The images that networks of a data set look at.

    Args:
        dataset: whose classes and image shape the networks have.
        name: a data set to take them from; None for the data set's own. Noise ("gaussian") takes
            its shape.
        seed: of noise.
        n_made: how many images of noise.
        options: of the data set that is opened.

    Raises: as `open_images`.
    """
    if name != NOISE:
        return open_images(name or dataset, **options)
    like = describe(dataset) if dataset in NAMES else describe(NOISE)
    made = {
        "seed": seed,
        "n_images": n_made,
        "shape": like.shape,
        "n_classes": like.n_classes,
    }
    return open_images(NOISE, **{**made, **options})


def describe(name: str) -> Description:
    """What is known of a data set before its files are read.

    Raises: UnknownName.
    """
    return _reader(name).about


def missing(name: str, root: Path | None = None) -> str | None:
    """Why a data set cannot be opened here, with what to download; None if its files are there.

    Raises: UnknownName.
    """
    reader = _reader(name)
    try:
        if reader.markers:
            find(reader, root)
    except BadFile as error:
        return str(error)
    return None


def _reader(name: str) -> Reader:
    if name not in NAMES:
        raise unknown("image data set", name, NAMES)
    module = import_module(f"protocols.images.{name.lower().replace('-', '_')}")
    reader: Reader = module.IMAGES
    return reader
