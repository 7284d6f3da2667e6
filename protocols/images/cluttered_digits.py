"""Cluttered digits: small grey images that are made, not downloaded, the same on every machine.

The 1,797 handwritten 8 x 8 digits of scikit-learn (UCI "Optical Recognition of Handwritten
Digits", Alpaydin and Kaynak 1998, CC BY 4.0) are scaled, rotated, moved, inverted, and covered
with pieces of other digits and with noise. All arithmetic is on integers and all chance is the
raw output of PCG64, so that the bytes do not depend on the machine or on library versions.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from harness.errors import InvalidSpec, MissingPackage
from protocols.images.image_set import Description, ImageSet, ImageSplit, Normalisation, Reader

N_CLASSES = 10
SOURCE_SIZE = 8
SOURCE_MAX = 16
ONE = 256  # A pixel of the source digit, in the fixed-point numbers of the rotation.
SPLITS = ("train", "valid", "test")

Images = NDArray[np.uint8]


@dataclass(frozen=True)
class Task:
    """What the images look like. Every random quantity is uniform.

    size: side of the image in pixels. n_images: per split, in the order of SPLITS.
    n_sources: how many different handwritten digits a split is made from.
    largest_scale: the digit is enlarged 1 to this many times. largest_turn: tangent of the
    rotation's limit. n_patches: 4 x 4 pieces of other digits of the split laid on top.
    noise: standard deviation of the added noise, of 255. seed: of all of these.
    """

    size: int = 16
    n_images: tuple[int, int, int] = (1000, 1000, 1000)
    n_sources: tuple[int, int, int] = (897, 450, 450)
    largest_scale: float = 1.6
    largest_turn: float = 0.36
    n_patches: int = 0
    noise: int = 13
    seed: int = 0


@dataclass(frozen=True)
class Split:
    """images: (n, size, size) bytes, 0 is black; labels: (n,) from 0 to 9."""

    images: Images
    labels: NDArray[np.int64]

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.images.tobytes() + self.labels.tobytes()).hexdigest()


class _Chance:
    """Uniform integers from PCG64's raw 64-bit output, which numpy promises not to change."""

    def __init__(self, seed: int) -> None:
        self._bits = np.random.PCG64(seed)

    def integers(self, low: int, high: int, shape: tuple[int, ...]) -> NDArray[np.int64]:
        """In [low, high); the modulo's bias is below 1e-15."""
        raw = self._bits.random_raw(int(np.prod(shape))).reshape(shape)
        return low + (raw % np.uint64(high - low)).astype(np.int64)

    def permutation(self, n: int) -> NDArray[np.int64]:
        return np.argsort(self._bits.random_raw(n), kind="stable")


@cache
def make(task: Task) -> dict[str, Split]:
    """The images of every split; the splits share no handwritten digit.

    Raises: MissingPackage without scikit-learn.
    """
    digits, classes = _handwritten()
    chance = _Chance(task.seed)
    order = chance.permutation(len(digits))
    ends = np.cumsum(task.n_sources)
    made = {}
    for split, n, sources in zip(SPLITS, task.n_images, np.split(order, ends)[:3], strict=True):
        chosen = sources[np.arange(n) % len(sources)]
        images = _place(digits[chosen], task, chance)
        for _ in range(task.n_patches):
            others = digits[sources[chance.integers(0, len(sources), (n,))]]
            images = np.maximum(images, _patch(others, task.size, chance))
        images = _invert_half(images, chance)
        made[split] = Split(_add_noise(images, task.noise, chance), classes[chosen])
    return made


def _handwritten() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(1797, 8, 8) digits from 0 to 255 and their (1797,) classes."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise MissingPackage(
            "The images are made from scikit-learn's digits.",
            "Install the extra: pip install '.[search]'",
        ) from error
    digits = load_digits()
    return digits.images.astype(np.int64) * 255 // SOURCE_MAX, digits.target.astype(np.int64)


def _place(digits: NDArray[np.int64], task: Task, chance: _Chance) -> NDArray[np.int64]:
    """Every digit scaled, turned and moved into a (size, size) frame, by bilinear sampling.

    (n, 8, 8) -> (n, size, size). Output pixel p shows the source at A (p - centre) + middle,
    with A = [[a, -b], [b, a]] / ONE, so that 1/scale = |(a, b)| and the turn's tangent is b / a.
    """
    n, size = len(digits), task.size
    a = chance.integers(round(ONE / task.largest_scale), ONE + 1, (n,))
    steps = round(ONE * task.largest_turn)
    b = a * chance.integers(-steps, steps + 1, (n,)) // ONE
    # Centres keep half of a scaled digit inside the frame; coordinates are in half pixels.
    margin = SOURCE_SIZE - 1
    rows, columns = (chance.integers(margin, 2 * size - 1 - margin, (n,)) for _ in range(2))
    grid = 2 * np.arange(size, dtype=np.int64)
    down = grid[np.newaxis, :, np.newaxis] - rows[:, np.newaxis, np.newaxis]
    right = grid[np.newaxis, np.newaxis, :] - columns[:, np.newaxis, np.newaxis]
    a, b = a[:, np.newaxis, np.newaxis], b[:, np.newaxis, np.newaxis]
    middle = (SOURCE_SIZE - 1) * ONE // 2
    return _bilinear(
        digits, (a * down - b * right) // 2 + middle, (b * down + a * right) // 2 + middle
    )


def _bilinear(
    digits: NDArray[np.int64], y: NDArray[np.int64], x: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Values of (n, 8, 8) digits at (n, size, size) points in 1/ONE pixels; 0 outside."""
    padded = np.pad(digits, ((0, 0), (1, 1), (1, 1)))
    limit = SOURCE_SIZE * ONE
    y, x = np.clip(y + ONE, 0, limit + ONE - 1), np.clip(x + ONE, 0, limit + ONE - 1)
    top, left = y // ONE, x // ONE
    below, beside = y % ONE, x % ONE
    image = np.arange(len(digits))[:, np.newaxis, np.newaxis]
    upper = padded[image, top, left] * (ONE - beside) + padded[image, top, left + 1] * beside
    lower = (
        padded[image, top + 1, left] * (ONE - beside) + padded[image, top + 1, left + 1] * beside
    )
    return np.asarray((upper * (ONE - below) + lower * below) // (ONE * ONE), dtype=np.int64)


def _patch(digits: NDArray[np.int64], size: int, chance: _Chance) -> NDArray[np.int64]:
    """A 4 x 4 piece of every digit somewhere in an otherwise empty frame."""
    n, side = len(digits), 4
    cut, put = (chance.integers(0, limit - side + 1, (2, n)) for limit in (SOURCE_SIZE, size))
    frames = np.zeros((n, size, size), dtype=np.int64)
    image, step = np.arange(n)[:, np.newaxis, np.newaxis], np.arange(side)
    rows, columns = step[:, np.newaxis], step[np.newaxis, :]
    at = [corner[:, np.newaxis, np.newaxis] for corner in (*cut, *put)]
    frames[image, at[2] + rows, at[3] + columns] = digits[image, at[0] + rows, at[1] + columns]
    return frames


def _invert_half(images: NDArray[np.int64], chance: _Chance) -> NDArray[np.int64]:
    inverted = chance.integers(0, 2, (len(images), 1, 1)) == 1
    return np.where(inverted, 255 - images, images)


def _add_noise(images: NDArray[np.int64], noise: int, chance: _Chance) -> Images:
    """Adds the sum of 4 uniform bytes, centred and scaled to the wanted deviation."""
    four_bytes = chance.integers(0, 256, (4, *images.shape)).sum(axis=0) - 510
    return np.clip(images + four_bytes * noise // 148, 0, 255).astype(np.uint8)


ABOUT = Description(
    name="cluttered-digits",
    n_classes=N_CLASSES,
    shape=(1, Task.size, Task.size),
    normalisation=Normalisation((128.0,), (64.0,), "ours: mini201's networks were trained so"),
    licence="MIT; the digits that they are made from, CC BY 4.0",
    citation="mini201, this project; digits: Alpaydin and Kaynak, UCI ML Repository, 1998",
    download="nothing",
)


def read(task: Task = Task(), *, n_train: int | None = None) -> ImageSet:
    """The images of a task as a data set; unlike others it has a split "valid" of its own.

    n_train: as many training images, in place of the task's, made from the same digits. All images
    then differ from those of another number.
    Raises: InvalidSpec if there would be none; MissingPackage without scikit-learn.
    """
    if n_train is not None:
        if type(n_train) is not int or n_train < 1:
            raise InvalidSpec(f"n_train is a number of images, not {n_train!r}.")
        task = replace(task, n_images=(n_train, *task.n_images[1:]))
    splits = {
        name: ImageSplit(split.images[:, np.newaxis], split.labels)
        for name, split in make(task).items()
    }
    return ImageSet(replace(ABOUT, shape=(1, task.size, task.size)), splits)


IMAGES = Reader(ABOUT, read)
