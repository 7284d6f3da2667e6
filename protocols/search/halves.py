"""Which images weights learn from in a search, and which ones it may look at besides."""

from __future__ import annotations

from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from protocols.images.image_set import TRAIN, ImageSet
from protocols.images.index_splits import OFFICIAL, Indices, in_order, listed_split

VALID = "valid"


class Part(NamedTuple):
    """Images of a split, by their indices in it."""

    split: str
    indices: Indices


class Halves(NamedTuple):
    """The two parts and a name for the choice."""

    train: Part
    valid: Part
    origin: str


def halves(images: ImageSet, split: str = "benchmark") -> Halves:
    """The training images and those that a search may look at besides, by one of SPLITS.

    Images that come with a split "valid" of their own are not split otherwise.
    """
    if VALID in images.splits:
        return Halves(_whole(images, TRAIN), _whole(images, VALID), "own split")
    return SPLITS[split](images)


def _benchmark(images: ImageSet) -> Halves:
    """NAS-Bench-201's parts: halves of CIFAR-10; elsewhere all, and half of the test images.

    Of other data sets, or where not all images are here, as `_in_order`.
    """
    name = images.about.name
    if name not in OFFICIAL:
        return _in_order(images)
    listed = listed_split(name)
    if max(part.max() for part in listed.parts.values()) >= len(images.splits[listed.split]):
        return _in_order(images)
    train = (
        Part(listed.split, listed.parts[TRAIN]) if listed.split == TRAIN else _whole(images, TRAIN)
    )
    return Halves(train, Part(listed.split, listed.parts[VALID]), listed.name)


def _in_order(images: ImageSet) -> Halves:
    """The first and the second half of the training images, as the DARTS family has them."""
    n_images = len(images.splits[TRAIN])
    found = in_order(images.about.name, n_images, n_images // 2)
    train, valid = (Part(found.split, found.parts[part]) for part in (TRAIN, VALID))
    return Halves(train, valid, found.name)


def _all(images: ImageSet) -> Halves:
    """Weights learn from all training images; what is looked at besides is as by `_benchmark`.

    For methods that learn from training images alone: on CIFAR-10, weights know both parts.
    """
    besides = _benchmark(images)
    return Halves(_whole(images, TRAIN), besides.valid, f"all, {besides.origin}")


def _whole(images: ImageSet, split: str) -> Part:
    return Part(split, np.arange(len(images.splits[split])))


SPLITS = MappingProxyType({"benchmark": _benchmark, "in-order": _in_order, "all": _all})
