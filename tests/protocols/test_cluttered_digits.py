"""The images of mini201: equal bytes everywhere, and every step by an independent way."""

import hashlib

import numpy as np
import pytest
from scipy import ndimage
from sklearn.datasets import load_digits

from protocols.images import cluttered_digits
from protocols.images.cluttered_digits import SPLITS, Task, make

PLAIN = Task(
    size=8, n_images=(897, 450, 450), largest_scale=1.0, largest_turn=0.0, noise=0, n_patches=0
)


def test_the_bytes_of_the_default_task_are_what_they_were():
    digests = {split: made.sha256 for split, made in make(Task()).items()}

    assert digests == {
        "train": "b0107e853e34343ac021f3c70f6fad7fc8dc9d4d8c5b6d803a909ac66394c7d4",
        "valid": "43bd50db42e539e0e93691fc7d1b4ca2fa027860dceff438323abc0788a9c527",
        "test": "3087d2bdbfc08920a8e8dab5dbbb804a680246d97d61483c5c5675a3073d9658",
    }


def test_without_any_change_the_images_are_the_handwritten_digits_or_their_negatives():
    digits = load_digits()
    originals = {
        (image.astype(np.int64) * 255 // 16).astype(np.uint8).tobytes(): label
        for image, label in zip(digits.images, digits.target, strict=True)
    }

    for made in make(PLAIN).values():
        for image, label in zip(made.images, made.labels, strict=True):
            found = [o for o in (image, 255 - image) if o.tobytes() in originals]
            assert originals[found[0].tobytes()] == label


def test_the_splits_use_every_handwritten_digit_once_and_share_none():
    darker = {
        split: [min(image.tobytes(), (255 - image).tobytes()) for image in made.images]
        for split, made in make(PLAIN).items()
    }
    used = [hashlib.sha256(d).hexdigest() for split in SPLITS for d in darker[split]]
    digits = (load_digits().images.astype(np.int64) * 255 // 16).astype(np.uint8)
    n_different = len({digit.tobytes() for digit in digits})

    assert len(used) == 1797 == len(digits)
    assert len(set(used)) == n_different


def test_about_half_of_the_images_are_inverted():
    made = make(Task())["train"]

    share = (made.images[:, 0, 0] > 128).mean()

    assert share == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(len(made.images)))


def test_bilinear_sampling_agrees_with_scipy():
    rng = np.random.default_rng(0)
    digits = rng.integers(0, 256, (3, 8, 8))
    y, x = rng.integers(-3 * 256, 11 * 256, (2, 3, 16, 16))

    ours = cluttered_digits._bilinear(digits, y, x)

    for one, rows, columns, result in zip(digits, y, x, ours, strict=True):
        padded = np.pad(one, 1).astype(float)
        at = np.stack([rows, columns]) / 256 + 1
        theirs = ndimage.map_coordinates(padded, at, order=1, mode="constant")
        assert np.abs(theirs - result).max() <= 1


def test_scale_and_turn_stay_within_their_limits():
    """Seen through the sampling grid: a step of one output pixel moves (a, b) source pixels."""
    steps = []

    def record(digits, y, x):
        steps.append(((y[:, 1, 0] - y[:, 0, 0]) / 256, (x[:, 1, 0] - x[:, 0, 0]) / 256))
        return np.zeros_like(y)

    chance = cluttered_digits._Chance(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cluttered_digits, "_bilinear", record)
        cluttered_digits._place(np.zeros((5000, 8, 8), dtype=np.int64), Task(), chance)
    along, across = steps[0]

    assert along.min() == pytest.approx(1 / 1.6, abs=0.01)
    assert along.max() == pytest.approx(1, abs=0.01)
    assert np.abs(across / along).max() == pytest.approx(0.36, abs=0.02)


def test_a_patch_is_a_4_by_4_piece_of_the_digit():
    digits = np.arange(1, 65).reshape(1, 8, 8)

    frame = cluttered_digits._patch(digits, 16, cluttered_digits._Chance(3))[0]

    rows, columns = np.nonzero(frame)
    piece = frame[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    top, left = divmod(int(piece[0, 0]) - 1, 8)
    assert np.array_equal(piece, digits[0, top : top + 4, left : left + 4])


def test_noise_has_the_stated_deviation_and_no_bias():
    grey = np.full((200, 16, 16), 128)

    noisy = cluttered_digits._add_noise(grey, 13, cluttered_digits._Chance(5)).astype(float)

    assert noisy.std() == pytest.approx(13, rel=0.02)
    assert noisy.mean() == pytest.approx(127.5, abs=0.2)  # Integer division rounds down.
