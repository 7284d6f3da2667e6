"""Images of noise: every value from N(0, 1), every label uniform, for scoring without data.

They are what zero-cost proxies take that ask how a network answers to any input. The digest of a
set (`ImageSplit.sha256`) belongs into the record of a run: numpy promises the same numbers for
the same seed within a version only.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from harness.errors import InvalidSpec
from harness.seeds import derive
from protocols.images.image_set import Description, ImageSet, ImageSplit, Normalisation, Reader

ABOUT = Description(
    name="gaussian",
    n_classes=10,
    shape=(3, 32, 32),
    normalisation=Normalisation(
        (0.0,) * 3, (1.0,) * 3, "by construction: the values are float32 already"
    ),
    licence="none needed: made from a seed",
    citation="none",
    download="nothing",
)


def read(
    *,
    seed: int,
    shape: tuple[int, int, int] = ABOUT.shape,
    n_classes: int = ABOUT.n_classes,
    n_images: int = 256,
) -> ImageSet:
    """One split, "train", of n_images float32 images (channels, height, width).

    Raises: InvalidSpec for sizes below one or a negative seed.
    """
    if min(*shape, n_classes, n_images) < 1:
        raise InvalidSpec(
            f"There are no {n_images} images of shape {shape} in {n_classes} classes.",
            "Give sizes of one or more.",
        )
    images = derive(seed, "gaussian", "images").standard_normal((n_images, *shape), np.float32)
    labels = derive(seed, "gaussian", "labels").integers(n_classes, size=n_images)
    untouched = replace(ABOUT.normalisation, mean=(0.0,) * shape[0], std=(1.0,) * shape[0])
    about = replace(ABOUT, n_classes=n_classes, shape=shape, normalisation=untouched)
    return ImageSet(about, {"train": ImageSplit(images, labels)})


IMAGES = Reader(ABOUT, read)
