"""Image data sets: every format read back exactly, and every batch made on the device checked.

The files are written here byte by byte; augmentation is searched for by brute force.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import itertools
import json
import math
import os
import pickle
import struct
import subprocess
import sys
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from harness.errors import BadFile, InvalidSpec, MissingPackage, UnknownName
from protocols import mini201
from protocols.images import (
    NAMES,
    cifar10,
    cifar100,
    cluttered_digits,
    describe,
    imagenet,
    missing,
    open_images,
)
from protocols.images.image_set import (
    Augmentation,
    Description,
    ImageSet,
    ImageSplit,
    Normalisation,
)
from protocols.images.index_splits import OFFICIAL, default_split, in_order, read_split
from protocols.images.on_device import PLAIN, DeviceImages, epoch_order

RAW = tuple(name for name in NAMES if name not in ("cluttered-digits", "gaussian"))
LABELS = np.arange(60) % 10
CROP_AND_FLIP = Augmentation(padding=4, flip=True)


# --- Small files in the published formats ---------------------------------------------------------

Bytes = NDArray[np.uint8]


def noise(n: int, channels: int = 3, side: int = 32, seed: int = 0) -> Bytes:
    """(n, channels, side, side) bytes, of which no two places look alike."""
    shape = (n, channels, side, side)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def python2_batch(entries: Mapping[str, object]) -> bytes:
    """What cPickle of Python 2 makes of a dict at protocol 2: one type for text and bytes."""
    return b"\x80\x02}(" + b"".join(_text(k) + _value(v) for k, v in entries.items()) + b"u."


def _value(value: object) -> bytes:
    if isinstance(value, np.ndarray):
        return _array(value)
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, Sequence):
        return b"](" + b"".join(_value(item) for item in value) + b"e"
    assert isinstance(value, int)
    if value < 256:
        return b"K" + struct.pack("<B", value)
    return b"J" + struct.pack("<i", value)


def _text(text: str | bytes) -> bytes:
    raw = text if isinstance(text, bytes) else text.encode("latin1")
    if len(raw) < 256:
        return b"U" + struct.pack("<B", len(raw)) + raw
    return b"T" + struct.pack("<i", len(raw)) + raw


def _array(array: NDArray[np.generic]) -> bytes:
    shape = b"(" + b"".join(_value(int(n)) for n in array.shape) + b"t"
    made = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    code = array.dtype.str
    dtype = b"cnumpy\ndtype\n" + _text(code[1:]) + b"K\x00K\x01\x87R"
    minus_one = b"J\xff\xff\xff\xff"
    order = b"(K\x03" + _text(code[0]) + b"NNN" + 2 * minus_one + b"K\x00tb"
    return made + b"(K\x01" + shape + dtype + order + b"\x89" + _text(array.tobytes()) + b"tb"


def cifar_batch(images: Bytes, labels: Sequence[int], key: str = "labels") -> bytes:
    """A batch as CIFAR's are: names and a label of the batch beside the pixels."""
    return python2_batch(
        {
            "batch_label": "training batch 1 of 5",
            key: list(labels),
            "data": images.reshape(len(images), math.prod(images.shape[1:])),
            "filenames": [f"image_s_{i:06d}.png" for i in range(len(images))],
        }
    )


def write(folder: Path, files: Mapping[str, bytes]) -> Path:
    """The folder, with these files in it."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def tar_gz(path: Path, files: Mapping[str, bytes]) -> Path:
    """An archive of these files, which is not sorted."""
    with tarfile.open(path, "w:gz") as archive:
        for name, content in reversed(files.items()):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def cifar10_files(images: Bytes, labels: NDArray[np.int64], n_test: int) -> dict[str, bytes]:
    """Five batches of equal size and one of the last n_test images."""
    n_train = len(images) - n_test
    parts = np.split(np.arange(n_train), 5)
    files = {
        f"data_batch_{i}": cifar_batch(images[part], labels[part].tolist())
        for i, part in enumerate(parts, start=1)
    }
    files["test_batch"] = cifar_batch(images[n_train:], labels[n_train:].tolist())
    return files


def idx(array: Bytes) -> bytes:
    """An idx file of bytes."""
    return struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def mnist_files(
    images: Bytes, labels: NDArray[np.int64], n_test: int, packed: bool = False
) -> dict[str, bytes]:
    """The four files of (n, 28, 28) images."""
    numbers = labels.astype(np.uint8)
    files = {
        "train-images-idx3-ubyte": idx(images[:-n_test]),
        "train-labels-idx1-ubyte": idx(numbers[:-n_test]),
        "t10k-images-idx3-ubyte": idx(images[-n_test:]),
        "t10k-labels-idx1-ubyte": idx(numbers[-n_test:]),
    }
    if packed:
        return {f"{name}.gz": gzip.compress(content) for name, content in files.items()}
    return files


def mat(**matrices: NDArray[np.generic]) -> bytes:
    """A compressed MATLAB 5 file, as SVHN's are."""
    from scipy.io import savemat

    file = io.BytesIO()
    savemat(file, matrices, do_compression=True)
    return file.getvalue()


# --- CIFAR --------------------------------------------------------------------------------------


def test_the_written_batches_are_what_python_2_wrote() -> None:
    images = noise(300)
    labels = (np.arange(300) % 10).tolist()

    found = pickle.loads(cifar_batch(images, labels), encoding="bytes")

    assert np.array_equal(images.reshape(300, 3072), found[b"data"])
    assert labels == found[b"labels"]
    assert b"image_s_000299.png" == found[b"filenames"][-1]


@pytest.mark.parametrize("place", ["cifar-10-batches-py", "cifar10/cifar-10-batches-py"])
@pytest.mark.parametrize("give_folder_itself", [False, True])
def test_cifar10_is_read_back_exactly(tmp_path: Path, place: str, give_folder_itself: bool) -> None:
    images = noise(60)
    folder = write(tmp_path / place, cifar10_files(images, LABELS, n_test=10))

    found = open_images("cifar10", root=folder if give_folder_itself else tmp_path)

    assert ["train", "test"] == list(found.splits)
    for split, part in (("train", slice(0, 50)), ("test", slice(50, 60))):
        assert np.array_equal(images[part], found.splits[split].images)
        assert np.array_equal(LABELS[part], found.splits[split].labels)
        assert found.splits[split].labels.dtype == np.int64
    assert found.n_classes == 10


def test_the_archive_holds_the_same_as_the_folder(tmp_path: Path) -> None:
    files = cifar10_files(noise(60), LABELS, n_test=10)
    folder = write(tmp_path / "a/cifar-10-batches-py", files)
    (tmp_path / "b").mkdir()
    inside = {f"cifar-10-batches-py/{name}": content for name, content in files.items()}
    archive = tar_gz(tmp_path / "b/cifar-10-python.tar.gz", inside)

    unpacked = open_images("cifar10", root=folder)
    packed = open_images("cifar10", root=archive)

    assert {n: s.sha256 for n, s in unpacked.splits.items()} == {
        n: s.sha256 for n, s in packed.splits.items()
    }
    assert unpacked.files == packed.files[1:]
    assert hashlib.sha256(archive.read_bytes()).hexdigest() == packed.files[0].sha256
    assert [folder] == list((tmp_path / "a").iterdir())  # Nothing was unpacked.


def test_cifar100_takes_the_fine_labels(tmp_path: Path) -> None:
    images, fine = noise(40), list(range(60, 100))
    entries = {"fine_labels": fine, "coarse_labels": [3] * 40, "data": images.reshape(40, -1)}
    content = python2_batch(entries)
    write(tmp_path / "cifar-100-python", {"train": content, "test": content})

    found = open_images("cifar100", root=tmp_path)

    assert fine == found.splits["test"].labels.tolist()
    assert np.array_equal(images, found.splits["train"].images)


def test_real_images_have_the_published_mean_and_deviation(data: Path, tmp_path: Path) -> None:
    real = np.load(data / "cifar10/cifar10_first4000_train_lossless.npz")
    images = np.ascontiguousarray(real["x"].transpose(0, 3, 1, 2))
    files = cifar10_files(images, real["y"].astype(np.int64), n_test=0)
    files["test_batch"] = files["data_batch_1"]
    write(tmp_path / "cifar-10-batches-py", files)

    read = open_images("cifar10", root=tmp_path)
    pixels = read.splits["train"].images.astype(np.float64)

    assert np.array_equal(images, read.splits["train"].images)
    for constants in (cifar10.NB201, cifar10.DARTS):
        assert pixels.mean(axis=(0, 2, 3)) == pytest.approx(constants.mean, rel=0.01)
        assert pixels.std(axis=(0, 2, 3)) == pytest.approx(constants.std, rel=0.01)


def test_real_images_are_nearly_standard_after_normalising(data: Path) -> None:
    real = np.load(data / "cifar10/cifar10_first4000_train_lossless.npz")
    images = np.ascontiguousarray(real["x"].transpose(0, 3, 1, 2))
    held = ImageSet(describe("cifar10"), {"train": ImageSplit(images, real["y"].astype(np.int64))})

    made = DeviceImages(held, "cpu").labelled("train").images

    assert made.mean(dim=(0, 2, 3)).tolist() == pytest.approx([0, 0, 0], abs=0.02)
    assert made.std(dim=(0, 2, 3)).tolist() == pytest.approx([1, 1, 1], abs=0.02)


def test_the_two_conventions_for_cifar_differ_by_less_than_a_grey_level() -> None:
    for module in (cifar10, cifar100):
        assert np.allclose(module.NB201.mean, module.DARTS.mean, atol=0.2)
        assert np.allclose(module.NB201.std, module.DARTS.std, atol=0.2)


# --- The other formats --------------------------------------------------------------------------


def imagenet16_files(images: np.ndarray, labels: np.ndarray, protocol: int) -> dict[str, bytes]:
    """Ten training batches and the validation data, as Python 3 pickles."""
    names = [*(f"train_data_batch_{i}" for i in range(1, 11)), "val_data"]
    parts = np.split(np.arange(len(images)), 11)
    mean = images.reshape(len(images), -1).mean(axis=0)
    return {
        name: pickle.dumps(
            {
                "data": images[part].reshape(len(part), -1),
                "labels": labels[part].tolist(),
                "mean": mean,
            },
            protocol,
        )
        for name, part in zip(names, parts, strict=True)
    }


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_imagenet16_keeps_the_first_120_of_1000_classes(tmp_path: Path, protocol: int) -> None:
    images = noise(330, side=16)
    labels = np.random.default_rng(1).permutation(np.arange(330) % 240 + 1)
    labels[[0, 1, 300, 301]] = [120, 121, 1, 1000]
    write(tmp_path / "ImageNet16", imagenet16_files(images, labels, protocol))

    found = open_images("ImageNet16-120", root=tmp_path)

    for split, part in (("train", slice(0, 300)), ("test", slice(300, 330))):
        kept = [i for i in range(part.start, part.stop) if labels[i] <= 120]
        assert np.array_equal(images[kept], found.splits[split].images)
        assert [labels[i] - 1 for i in kept] == found.splits[split].labels.tolist()
    assert (119, 0) == (found.splits["train"].labels[0], found.splits["test"].labels[0])


def test_svhn_is_read_back_exactly_and_ten_means_zero(tmp_path: Path) -> None:
    images, numbers = noise(20), np.arange(20) % 10 + 1
    content = mat(
        X=np.ascontiguousarray(images.transpose(2, 3, 1, 0)),
        y=numbers[:, None].astype(np.uint8),
    )
    write(tmp_path / "svhn", {"train_32x32.mat": content, "test_32x32.mat": content})

    found = open_images("svhn", root=tmp_path)

    assert np.array_equal(images, found.splits["test"].images)
    assert [1, 2, 3, 4, 5, 6, 7, 8, 9, 0] == found.splits["train"].labels[:10].tolist()


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
@pytest.mark.parametrize("packed", [False, True])
def test_idx_files_are_read_back_exactly(tmp_path: Path, name: str, packed: bool) -> None:
    images = noise(60, channels=1, side=28)
    write(tmp_path / name, mnist_files(images[:, 0], LABELS, n_test=10, packed=packed))

    found = open_images(name, root=tmp_path)

    assert np.array_equal(images[:50], found.splits["train"].images)
    assert np.array_equal(images[50:], found.splits["test"].images)
    assert np.array_equal(LABELS[50:], found.splits["test"].labels)


def test_the_two_mnists_are_kept_apart_by_their_folders(tmp_path: Path) -> None:
    images = noise(60, channels=1, side=28)[:, 0]
    write(tmp_path / "MNIST/raw", mnist_files(images, LABELS, n_test=10))
    write(tmp_path / "FashionMNIST/raw", mnist_files(255 - images, LABELS, n_test=10))

    digits, clothes = (open_images(name, root=tmp_path) for name in ("mnist", "fashion-mnist"))

    assert np.array_equal(255 - digits.splits["train"].images, clothes.splits["train"].images)


def picture(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    image = pytest.importorskip("PIL.Image")
    file = io.BytesIO()
    image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def image_folders(root: Path, pixels: np.ndarray) -> Path:
    """Two classes with two images each in train and one in val."""
    names = [f"train/{c}/{i}.png" for c in ("n2", "n1") for i in "ba"] + [
        f"val/{c}/v.png" for c in ("n2", "n1")
    ]
    return write(root, {n: picture(p) for n, p in zip(names, pixels, strict=True)})


def test_image_folders_give_the_classes_and_files_in_the_order_of_their_names(
    tmp_path: Path,
) -> None:
    pixels = noise(6).transpose(0, 2, 3, 1)
    image_folders(tmp_path, pixels)

    found = open_images("imagenet", root=tmp_path, side=32, resize=32)

    assert np.array_equal(pixels[[3, 2, 1, 0]].transpose(0, 3, 1, 2), found.splits["train"].images)
    assert [0, 0, 1, 1] == found.splits["train"].labels.tolist()
    assert np.array_equal(pixels[[5, 4]].transpose(0, 3, 1, 2), found.splits["test"].images)
    assert ((3, 32, 32), 2, ()) == (found.about.shape, found.n_classes, found.warnings)


@pytest.mark.parametrize(("height", "width"), [(32, 40), (41, 32), (32, 32)])
def test_the_middle_of_a_picture_is_cut_out(tmp_path: Path, height: int, width: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, height, width, 3), dtype=np.uint8)
    image_folders(tmp_path, pixels)
    top, left = round((height - 24) / 2), round((width - 24) / 2)
    expected = pixels[3, top : top + 24, left : left + 24].transpose(2, 0, 1)

    found = open_images("imagenet", root=tmp_path, side=24, resize=32, n_per_class=1)

    assert np.array_equal(expected, found.splits["train"].images[0])
    assert len(found.splits["train"]) == 2


def test_pictures_are_scaled_by_the_shorter_side(tmp_path: Path) -> None:
    """A ramp from left to right stays a ramp, four times as steep when made four times smaller."""
    ramp = np.broadcast_to(np.arange(256, dtype=np.uint8)[None, :, None], (128, 256, 3))
    image_folders(tmp_path, np.stack([ramp] * 6))

    found = open_images("imagenet", root=tmp_path, side=32)  # resize is 37: 128 pixels to 37.
    row = found.splits["train"].images[0, 0, 5].astype(float)

    assert np.diff(row) == pytest.approx(128 / 37, abs=1)
    assert row.mean() == pytest.approx(127.5, abs=2)


def test_jpeg_grey_pictures_become_three_channels(tmp_path: Path) -> None:
    grey = np.full((32, 32), 100, dtype=np.uint8)
    write(tmp_path, {f"{s}/a/1.JPEG": picture(grey, "JPEG") for s in ("train", "val")})

    found = open_images("imagenet", root=tmp_path, side=32, resize=32)

    assert np.all(np.abs(found.splits["test"].images.astype(int) - 100) <= 1)


def test_without_pillow_folders_say_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, {f"{split}/a/1.JPEG": b"" for split in ("train", "val")})
    monkeypatch.setitem(sys.modules, "PIL", None)

    with pytest.raises(MissingPackage, match="pip install pillow"):
        open_images("imagenet", root=tmp_path)


def test_pictures_that_do_not_fit_into_memory_are_refused_before_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, {f"{split}/a/1.JPEG": b"no picture" for split in ("train", "val")})
    monkeypatch.setattr(imagenet, "MAX_BYTES", 3 * 224 * 224 - 1)

    with pytest.raises(InvalidSpec, match="n_per_class"):
        open_images("imagenet", root=tmp_path)


# --- Made images --------------------------------------------------------------------------------


def test_cluttered_digits_are_those_that_mini201_trains_on() -> None:
    held = open_images("cluttered-digits")
    on_device = DeviceImages(held, "cpu")

    for split, expected in mini201.images().items():
        made = on_device.labelled(split)
        assert torch.equal(expected.images, made.images)
        assert torch.equal(expected.labels, made.labels)
        assert cluttered_digits.make(mini201.TASK)[split].sha256 == held.splits[split].sha256


def test_other_tasks_of_cluttered_digits_are_opened_by_an_option() -> None:
    task = cluttered_digits.Task(size=12, n_images=(5, 4, 3), n_sources=(5, 4, 3))

    found = open_images("cluttered-digits", task=task)

    assert {"train": 5, "valid": 4, "test": 3} == {n: len(s) for n, s in found.splits.items()}
    assert (1, 12, 12) == found.about.shape


def test_cluttered_digits_can_be_more_than_those_of_mini201() -> None:
    found = open_images("cluttered-digits", n_train=1100)

    train = found.splits["train"].images
    assert {"train": 1100, "valid": 1000, "test": 1000} == {
        name: len(split) for name, split in found.splits.items()
    }
    assert len(np.unique(train.reshape(1100, -1), axis=0)) == 1100


@pytest.mark.parametrize("n_train", [0, -1, 2.5, "many"])
def test_a_number_of_images_that_is_none_is_refused(n_train: object) -> None:
    with pytest.raises(InvalidSpec, match="n_train is a number of images"):
        open_images("cluttered-digits", n_train=n_train)


def test_gaussian_images_are_standard_normal_and_stay_as_they_are_on_the_device() -> None:
    held = open_images("gaussian", seed=3, shape=(2, 16, 8), n_classes=7, n_images=700)
    split = held.splits["train"]
    images, counts = split.images, np.bincount(split.labels, minlength=7)
    n_values = images.size

    made = next(DeviceImages(held, "cpu").batches("train", np.arange(700), 700))

    assert images.dtype == np.float32
    assert images.mean() == pytest.approx(0, abs=4 / np.sqrt(n_values))
    assert images.var() == pytest.approx(1, abs=4 * np.sqrt(2 / n_values))
    assert np.abs(counts - 100).max() < 4 * np.sqrt(700 * 6 / 49)
    assert np.array_equal(images, made.images.numpy())


def test_gaussian_images_depend_on_the_seed_alone() -> None:
    digests = [
        open_images("gaussian", seed=seed, n_images=8).splits["train"].sha256 for seed in (0, 0, 1)
    ]

    assert digests[0] == digests[1] != digests[2]


def test_gaussian_images_need_a_seed() -> None:
    with pytest.raises(InvalidSpec, match="seed"):
        open_images("gaussian")


# --- What is known of the files -----------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_every_data_set_is_described(name: str) -> None:
    about = describe(name)
    constants = about.normalisation

    assert name == about.name
    assert about.shape[0] == len(constants.mean) == len(constants.std)
    assert min(constants.std) > 0
    assert all((constants.source, about.licence, about.citation, about.download))
    assert all(len(bytes.fromhex(md5)) == 16 for md5 in about.md5s.values())
    assert len(set(about.md5s.values())) == len(about.md5s)
    assert all(n > 0 for n in about.n_images.values())


def test_checksums_are_compared_and_never_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = cifar10_files(noise(60), LABELS, n_test=10)
    write(tmp_path / "cifar-10-batches-py", files)
    md5s = {
        "data_batch_1": hashlib.md5(files["data_batch_1"]).hexdigest(),
        "data_batch_2": "0" * 32,
    }
    monkeypatch.setattr(cifar10, "ABOUT", replace(cifar10.ABOUT, md5s=md5s))

    found = open_images("cifar10", root=tmp_path)

    assert ["matches", "differs", "none", "none", "none", "none"] == [
        file.checksum for file in found.files
    ]
    assert [hashlib.sha256(content).hexdigest() for content in files.values()] == [
        file.sha256 for file in found.files
    ]
    assert found.warnings == (
        "data_batch_2 is not the published file (its md5 differs).",
        "train holds 50 images; 50,000 were published.",
        "test holds 10 images; 10,000 were published.",
    )


def test_the_digest_tells_pixels_and_labels_apart() -> None:
    images, labels = noise(4), np.arange(4)
    other = images.copy()
    other[3, 2, 31, 31] ^= 1

    digests = {
        ImageSplit(images, labels).sha256,
        ImageSplit(other, labels).sha256,
        ImageSplit(images, labels[::-1].copy()).sha256,
    }

    assert len(digests) == 3
    assert ImageSplit(images.copy(), labels).sha256 in digests


def test_opening_images_imports_no_torch() -> None:
    code = (
        "from protocols.images import open_images, describe, NAMES\n"
        "[describe(name) for name in NAMES]; open_images('gaussian', seed=0, n_images=2)\n"
        "import sys; print({'torch', 'scipy', 'PIL', 'sklearn'} & set(sys.modules))"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "set()\n"


# --- Wrong files --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RAW)
def test_a_missing_data_set_says_what_to_download_and_where_to_put_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("NAS_HARNESS_DATA", str(tmp_path))
    words = describe(name).download

    with pytest.raises(BadFile) as error:
        open_images(name)

    assert words in error.value.remedy
    assert str(tmp_path / "images" / name) in error.value.remedy
    assert missing(name) == str(error.value)


def test_without_any_folder_the_variable_to_set_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NAS_HARNESS_DATA", raising=False)

    with pytest.raises(BadFile, match="NAS_HARNESS_DATA is not set.*University of Toronto"):
        open_images("cifar10")


def test_the_default_folder_is_images_below_the_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = cifar10_files(noise(60), LABELS, n_test=10)
    write(tmp_path / "images/cifar10/cifar-10-batches-py", files)
    monkeypatch.setenv("NAS_HARNESS_DATA", str(tmp_path))

    assert missing("cifar10") is None
    assert len(open_images("cifar10").splits["train"]) == 50


def test_unknown_names_and_options_say_what_exists(tmp_path: Path) -> None:
    write(tmp_path / "cifar-10-batches-py", cifar10_files(noise(60), LABELS, n_test=10))

    with pytest.raises(UnknownName, match="Did you mean cifar10"):
        open_images("cifar-10")
    with pytest.raises(InvalidSpec, match="Its options: none"):
        open_images("cifar10", root=tmp_path, side=16)
    with pytest.raises(InvalidSpec, match="seed, shape, n_classes, n_images"):
        open_images("gaussian", sead=1)
    with pytest.raises(InvalidSpec, match="is made"):
        open_images("gaussian", root=tmp_path, seed=1)


def svhn_files(images: np.ndarray, labels: np.ndarray) -> dict[str, bytes]:
    content = mat(X=np.ascontiguousarray(images.transpose(2, 3, 1, 0)), y=labels[:, None])
    return {"train_32x32.mat": content, "test_32x32.mat": content}


def whole_cifar10() -> dict[str, bytes]:
    return cifar10_files(noise(60), LABELS, n_test=10)


def whole_imagenet16() -> dict[str, bytes]:
    return imagenet16_files(noise(44, side=16), np.arange(44) + 1, protocol=3)


def whole_svhn() -> dict[str, bytes]:
    return svhn_files(noise(20), (np.arange(20) % 10 + 1).astype(np.uint8))


def whole_mnist() -> dict[str, bytes]:
    return mnist_files(noise(60, channels=1, side=28)[:, 0], LABELS, n_test=10)


def packed_mnist() -> dict[str, bytes]:
    return mnist_files(noise(60, channels=1, side=28)[:, 0], LABELS, n_test=10, packed=True)


WHOLE: dict[str, tuple[str, str, Callable[[], dict[str, bytes]]]] = {
    "cifar10": ("cifar10", "cifar-10-batches-py", whole_cifar10),
    "ImageNet16-120": ("ImageNet16-120", "ImageNet16", whole_imagenet16),
    "svhn": ("svhn", "svhn", whole_svhn),
    "mnist": ("mnist", "mnist", whole_mnist),
    "mnist.gz": ("mnist", "mnist", packed_mnist),
}


@pytest.mark.parametrize("case", WHOLE)
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.9999])
def test_a_cut_file_is_named(tmp_path: Path, case: str, share: float) -> None:
    name, place, make = WHOLE[case]
    files = make()
    cut = list(files)[1]
    files[cut] = files[cut][: int(share * len(files[cut]))]
    write(tmp_path / place, files)

    with pytest.raises(BadFile, match=cut):
        open_images(name, root=tmp_path)


@pytest.mark.parametrize("case", WHOLE)
def test_a_file_that_is_missing_beside_the_others_is_named(tmp_path: Path, case: str) -> None:
    name, place, make = WHOLE[case]
    files = make()
    gone = list(files)[-1]
    del files[gone]
    write(tmp_path / place, files)

    with pytest.raises(BadFile, match=gone.removesuffix(".gz")):
        open_images(name, root=tmp_path)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_a_cut_archive_is_named(tmp_path: Path, share: float) -> None:
    files = {f"cifar-10-batches-py/{n}": c for n, c in whole_cifar10().items()}
    archive = tar_gz(tmp_path / "cifar-10-python.tar.gz", files)
    content = archive.read_bytes()
    archive.write_bytes(content[: int(share * len(content))])

    with pytest.raises(BadFile, match="cifar-10-python.tar.gz"):
        open_images("cifar10", root=tmp_path)


def test_links_and_folders_of_an_archive_are_passed_over(tmp_path: Path) -> None:
    files = whole_cifar10()
    path = tmp_path / "cifar-10-python.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE):
            member = tarfile.TarInfo("cifar-10-batches-py/data_batch_1")
            member.type, member.linkname = kind, "/etc/hostname"
            archive.addfile(member)
        for name, content in files.items():
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))

    found = open_images("cifar10", root=tmp_path)

    assert np.array_equal(noise(60)[:50], found.splits["train"].images)


def test_an_archive_without_a_batch_says_which(tmp_path: Path) -> None:
    files = whole_cifar10()
    del files["data_batch_3"]
    tar_gz(tmp_path / "cifar-10-python.tar.gz", files)

    with pytest.raises(BadFile, match="holds no data_batch_3"):
        open_images("cifar10", root=tmp_path)


@pytest.mark.parametrize(
    ("case", "content", "told"),
    [
        ("cifar10", cifar_batch(noise(10), [0] * 9 + [10]), "labels from 0 to 10"),
        ("cifar10", cifar_batch(noise(10), [0] * 9), "no list of 10 whole numbers"),
        ("cifar10", cifar_batch(noise(10, side=16), [0] * 10), "rows of 3072 bytes"),
        ("cifar10", cifar_batch(noise(10), [0] * 10, "fine_labels"), "no entry labels"),
        ("cifar10", python2_batch({"data": "text", "labels": []}), "rows of 3072 bytes"),
        (
            "ImageNet16-120",
            pickle.dumps({"data": noise(2, side=16).reshape(2, -1), "labels": [0, 5]}, 3),
            "labels from 0 to 5",
        ),
        (
            "ImageNet16-120",
            pickle.dumps({"data": noise(2, side=16).reshape(2, -1), "labels": [5, 1001]}, 3),
            "labels from 5 to 1001",
        ),
        ("svhn", mat(X=np.zeros((32, 32, 3, 2), np.uint8), y=np.array([[0], [3]])), "from 0 to 3"),
        ("svhn", mat(X=np.zeros((32, 32, 3, 2), np.uint8), y=np.array([[11], [3]])), "3 to 11"),
        ("svhn", mat(X=np.zeros((32, 32, 3, 2)), y=np.array([[1], [3]])), "holds no bytes X"),
        ("svhn", mat(X=np.zeros((2, 32, 32, 3), np.uint8), y=np.array([[1]])), "but .2, 32, 32, 3"),
        ("svhn", mat(y=np.array([[1], [3]])), "holds no bytes X"),
        ("svhn", mat(X=np.zeros((32, 32, 3, 2), np.uint8)), "no list of 2 whole numbers"),
        ("mnist", idx(np.full(50, 10, np.uint8)), "labels from 10 to 10"),
        ("mnist", idx(np.zeros(49, np.uint8)), "no list of 50 whole numbers"),
        ("mnist", idx(np.zeros((50, 1), np.uint8)), "begins with 00 00 08 02 instead of"),
        ("mnist", b"\x00\x00\x0d\x01" + bytes(54), "begins with 00 00 0d 01"),
        ("mnist", idx(np.zeros(50, np.uint8)) + b"\0", "has 59 bytes instead of 58"),
    ],
)
def test_wrong_content_is_told(tmp_path: Path, case: str, content: bytes, told: str) -> None:
    name, place, make = WHOLE[case]
    files = make()
    files[list(files)[1]] = content
    write(tmp_path / place, files)

    with pytest.raises(BadFile, match=told):
        open_images(name, root=tmp_path)


def test_images_of_another_side_are_told(tmp_path: Path) -> None:
    images = noise(60, channels=1, side=27)[:, 0]
    write(tmp_path / "mnist", mnist_files(images, LABELS, n_test=10))

    with pytest.raises(BadFile, match=r"shape \(50, 1, 27, 27\) instead of \(50, 1, 28, 28\)"):
        open_images("mnist", root=tmp_path)


class Hostile:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> Any:
        return os.system, (self.command,)


@pytest.mark.parametrize("case", ["cifar10", "ImageNet16-120"])
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_hostile_batch_executes_nothing(tmp_path: Path, case: str, protocol: int) -> None:
    name, place, make = WHOLE[case]
    files, mark = make(), tmp_path / "executed"
    files[list(files)[1]] = pickle.dumps({"data": Hostile(f"touch {mark}")}, protocol)
    write(tmp_path / place, files)

    with pytest.raises(BadFile, match="nothing was executed"):
        open_images(name, root=tmp_path)

    assert not mark.exists()


def test_an_archive_is_never_unpacked_to_disk(tmp_path: Path) -> None:
    files = {f"../../{n}": c for n, c in whole_cifar10().items()}
    (tmp_path / "a/b").mkdir(parents=True)
    tar_gz(tmp_path / "a/b/cifar-10-python.tar.gz", files)

    open_images("cifar10", root=tmp_path / "a/b")

    assert {tmp_path / "a", tmp_path / "a/b", tmp_path / "a/b/cifar-10-python.tar.gz"} == set(
        tmp_path.rglob("*")
    )


def test_pictures_outside_of_classes_or_without_content_are_told(tmp_path: Path) -> None:
    pytest.importorskip("PIL")
    flat = write(tmp_path / "flat", {"train/a/1.JPEG": b"", "val/1.JPEG": b""})
    broken = write(tmp_path / "broken", {"train/a/1.JPEG": b"no picture", "val/a/1.JPEG": b""})
    empty = write(tmp_path / "empty", {"train/a/1.txt": b"", "val/a/1.JPEG": b""})

    with pytest.raises(BadFile, match="not sorted into the classes"):
        open_images("imagenet", root=flat)
    with pytest.raises(BadFile, match="1.JPEG is no readable image"):
        open_images("imagenet", root=broken)
    with pytest.raises(BadFile, match="holds no images"):
        open_images("imagenet", root=empty)


# --- Index splits -------------------------------------------------------------------------------


def official_lists(dataset: str) -> dict[str, list[Any]]:
    """Lists of the published form, interleaved; the published ones are others."""
    official = OFFICIAL[dataset]
    return {
        part: ["int", [str(i) for i in range(start, official.n_images, 2)]]
        for start, part in enumerate(official.parts)
    }


@pytest.mark.parametrize(
    ("dataset", "split", "sizes"),
    [
        ("cifar10", "train", {"train": 25_000, "valid": 25_000}),
        ("cifar100", "test", {"valid": 5_000, "test": 5_000}),
        ("ImageNet16-120", "test", {"valid": 3_000, "test": 3_000}),
    ],
)
def test_a_published_list_and_its_stand_in(
    tmp_path: Path, dataset: str, split: str, sizes: dict[str, int]
) -> None:
    (tmp_path / "list.txt").write_text(json.dumps(official_lists(dataset)))

    official, ours = read_split(tmp_path / "list.txt"), default_split(dataset)

    assert np.array_equal(np.arange(0, 2 * sizes["valid"], 2), next(iter(official.parts.values())))
    assert (True, False) == (official.is_official, ours.is_official)
    assert official.name != ours.name
    assert official.sha256 != ours.sha256
    for found in (official, ours):
        assert (dataset, split) == (found.dataset, found.split)
        assert sizes == {part: len(indices) for part, indices in found.parts.items()}
        every = np.sort(np.concatenate(list(found.parts.values())))
        assert np.array_equal(np.arange(sum(sizes.values())), every)


def test_the_stand_in_never_changes() -> None:
    first = {dataset: default_split(dataset).parts["valid"][:4].tolist() for dataset in OFFICIAL}

    assert first == {
        dataset: np.sort(
            np.random.default_rng(
                np.random.SeedSequence([0, *words(f"index split\0{dataset}")])
            ).permutation(n)[part]
        )[:4].tolist()
        for dataset, n, part in (
            ("cifar10", 50_000, slice(25_000, None)),
            ("cifar100", 10_000, slice(5_000)),
            ("ImageNet16-120", 6_000, slice(3_000)),
        )
    }


def words(text: str) -> list[int]:
    digest = hashlib.sha256(text.encode()).digest()
    return [int.from_bytes(digest[i : i + 4], "little") for i in range(0, 16, 4)]


def doubled(lists: dict[str, list[Any]]) -> dict[str, list[Any]]:
    return lists | {"train": ["int", ["1", *lists["train"][1][1:]]]}


def out_of_range(lists: dict[str, list[Any]]) -> dict[str, list[Any]]:
    return lists | {"train": ["int", ["50000", *lists["train"][1][1:]]]}


def shorter(lists: dict[str, list[Any]]) -> dict[str, list[Any]]:
    return lists | {"train": ["int", lists["train"][1][1:]]}


def other_parts(lists: dict[str, list[Any]]) -> dict[str, list[Any]]:
    return {"xvalid": lists["train"], "xtest": lists["valid"]}


def no_numbers(lists: dict[str, list[Any]]) -> dict[str, list[Any]]:
    return lists | {"train": ["int", ["a", *lists["train"][1][1:]]]}


def bare(lists: dict[str, list[Any]]) -> dict[str, list[Any]]:
    return {part: value[1] for part, value in lists.items()}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (doubled, "every index from 0 to 49999 once"),
        (out_of_range, "every index from 0 to 49999 once"),
        (shorter, "24999"),
        (other_parts, "the benchmark's lists hold"),
        (no_numbers, "no index"),
        (bare, "not of the form"),
    ],
)
def test_a_list_that_is_not_the_benchmarks_is_refused(
    tmp_path: Path, change: Callable[[Any], Any], told: str
) -> None:
    path = tmp_path / "cifar-split.txt"
    path.write_text(json.dumps(change(official_lists("cifar10"))))

    with pytest.raises(BadFile, match=told):
        read_split(path)


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"train": 3}'])
def test_what_is_no_list_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "f").write_text(content)

    with pytest.raises(BadFile, match="AutoDL-Projects"):
        read_split(tmp_path / "f")


def test_the_first_images_train_and_the_last_select() -> None:
    found = in_order("cifar10", 50_000, 25_000)

    assert np.array_equal(np.arange(25_000), found.parts["train"])
    assert np.array_equal(np.arange(25_000, 50_000), found.parts["valid"])
    with pytest.raises(InvalidSpec, match="leave a part empty"):
        in_order("cifar10", 50_000, 50_000)


# --- On the device ------------------------------------------------------------------------------

IDENTITY = Normalisation((0.0,) * 3, (1.0,) * 3, "the pixels themselves")


def image_set(n: int, side: int = 32, seed: int = 0, normalisation: Any = IDENTITY) -> ImageSet:
    about = Description("made", 10, (3, side, side), normalisation, "", "", "")
    return ImageSet(about, {"train": ImageSplit(noise(n, 3, side, seed), np.arange(n) % 10)})


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def all_of(batches: Any) -> tuple[np.ndarray, np.ndarray]:
    held = list(batches)
    images = torch.cat([batch.images for batch in held])
    return images.numpy(), torch.cat([batch.labels for batch in held]).numpy()


def augmented(n: int, augmentation: Augmentation, side: int = 32, seed: int = 0) -> np.ndarray:
    on_device = DeviceImages(image_set(n, side), "cpu")
    batches = on_device.batches(
        "train", np.arange(n), 64, generator(seed), augmentation=augmentation
    )
    return all_of(batches)[0]


def windows(image: np.ndarray, padding: int, flip: bool) -> dict[bytes, tuple[int, int, int]]:
    """Every image that cutting and mirroring may lead to, by how."""
    side = image.shape[-1]
    padded = np.pad(image, ((0, 0), (padding, padding), (padding, padding)))
    found = {}
    for top, left in itertools.product(range(2 * padding + 1), repeat=2):
        window = padded[:, top : top + side, left : left + side].astype(np.float32)
        found[window.tobytes()] = (top, left, 0)
        if flip:
            found[np.ascontiguousarray(window[:, :, ::-1]).tobytes()] = (top, left, 1)
    return found


@pytest.mark.parametrize(
    ("augmentation", "side"),
    [
        (CROP_AND_FLIP, 32),
        (Augmentation(padding=2, flip=True), 16),
        (Augmentation(padding=4), 32),
        (Augmentation(flip=True), 32),
    ],
)
def test_every_image_is_a_window_of_its_padded_self_mirrored_or_not(
    augmentation: Augmentation, side: int
) -> None:
    images = noise(80, side=side)
    made = augmented(80, augmentation, side)

    found = [
        windows(image, augmentation.padding, augmentation.flip)[result.tobytes()]
        for image, result in zip(images, made, strict=True)
    ]

    tops, lefts, flips = map(set, zip(*found, strict=True))
    n_places = 2 * augmentation.padding + 1
    assert (n_places, n_places) == (len(tops), len(lefts))
    assert flips == ({0, 1} if augmentation.flip else {0})


def test_windows_are_uniform_flips_happen_half_of_the_time_and_all_are_independent() -> None:
    """One pixel lit in a corner region tells where the window lay; 20,000 images of 12 pixels."""
    n, side, padding = 20_000, 12, 4
    images = np.zeros((n, 3, side, side), np.uint8)
    images[:, 0, 5, 4] = 1  # Unmirrored it lands left of the middle by an odd, known shift.
    images[:, 1, 5, 5] = 1
    about = Description("made", 10, (3, side, side), IDENTITY, "", "", "")
    held = ImageSet(about, {"train": ImageSplit(images, np.zeros(n, np.int64))})

    made, _ = all_of(
        DeviceImages(held, "cpu").batches(
            "train", np.arange(n), 1000, generator(), augmentation=CROP_AND_FLIP
        )
    )
    first = made[:, 0].reshape(n, -1).argmax(axis=1)
    second = made[:, 1].reshape(n, -1).argmax(axis=1)
    is_flipped = second < first
    top = 5 + padding - first // side
    column = np.where(is_flipped, side - 1 - first % side, first % side)
    left = 4 + padding - column
    counts = np.zeros((9, 9, 2))
    np.add.at(counts, (top, left, is_flipped.astype(int)), 1)
    expected = n / counts.size

    assert is_flipped.mean() == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(n))
    # Chi-squared with 161 degrees of freedom: mean 161, deviation 18.
    assert ((counts - expected) ** 2 / expected).sum() == pytest.approx(161, abs=4 * 18)


@pytest.mark.parametrize(("length", "side"), [(16, 32), (8, 16), (4, 9)])
def test_cutout_blanks_exactly_a_clipped_square(length: int, side: int) -> None:
    spans = {
        (max(0, centre - length // 2), min(side, centre + length // 2)) for centre in range(side)
    }
    shifted = replace(IDENTITY, mean=(300.0,) * 3)  # So that no pixel is zero by itself.
    held = image_set(600, side, normalisation=shifted)

    made, _ = all_of(
        DeviceImages(held, "cpu").batches(
            "train", np.arange(600), 100, generator(), augmentation=Augmentation(cutout=length)
        )
    )

    seen, corners = set(), set()
    for image, result in zip(held.splits["train"].images, made, strict=True):
        rows, columns = np.nonzero(result[0] == 0)
        top, bottom, left, right = rows.min(), rows.max() + 1, columns.min(), columns.max() + 1
        assert {(top, bottom), (left, right)} <= spans
        expected = image.astype(np.float32) - 300
        expected[:, top:bottom, left:right] = 0
        assert np.array_equal(expected, result)
        seen |= {(top, bottom), (left, right)}
        corners.add((top, bottom, left, right))
    assert spans == seen
    assert len(corners) > 5 * len(spans)  # Rows and columns are drawn each for itself.


def test_cutout_comes_after_normalising_and_padding_before() -> None:
    white = np.full((50, 3, 32, 32), 255, np.uint8)
    about = replace(describe("cifar10"), n_images={})
    held = ImageSet(about, {"train": ImageSplit(white, np.zeros(50, np.int64))})
    everything = replace(CROP_AND_FLIP, cutout=16)

    made, _ = all_of(
        DeviceImages(held, "cpu").batches(
            "train", np.arange(50), 50, generator(), augmentation=everything
        )
    )

    for channel, (mean, std) in enumerate(zip(cifar10.NB201.mean, cifar10.NB201.std, strict=True)):
        values = np.unique(made[:, channel])
        assert sorted([-mean / std, 0, (255 - mean) / std]) == pytest.approx(values, abs=1e-5)


@pytest.mark.parametrize("augmentation", [PLAIN, replace(CROP_AND_FLIP, cutout=16)])
def test_the_same_generator_gives_the_same_batches_whatever_their_size(
    augmentation: Augmentation,
) -> None:
    on_device = DeviceImages(image_set(90), "cpu")

    def made(seed: int, batch_size: int) -> np.ndarray:
        return all_of(
            on_device.batches(
                "train", np.arange(90), batch_size, generator(seed), augmentation=augmentation
            )
        )[0]

    assert np.array_equal(made(1, 32), made(1, 32))
    assert np.array_equal(made(1, 32), made(1, 7))
    assert (augmentation == PLAIN) == np.array_equal(made(1, 32), made(2, 32))


def test_chance_is_drawn_when_batches_are_asked_for() -> None:
    """So that two iterators that take turns do not depend on the turns."""
    on_device = DeviceImages(image_set(40), "cpu")

    def two(take_turns: bool) -> list[np.ndarray]:
        chance = generator()
        pair = [
            on_device.batches("train", np.arange(40), 10, chance, augmentation=CROP_AND_FLIP)
            for _ in range(2)
        ]
        if take_turns:
            held: Any = zip(*zip(*pair, strict=True), strict=True)
        else:
            held = map(list, pair)
        return [all_of(batches)[0] for batches in held]

    turns, one_by_one = two(True), two(False)

    assert all(map(np.array_equal, turns, one_by_one))
    assert not np.array_equal(*turns)


def test_batches_follow_the_indices_and_the_last_is_what_is_left() -> None:
    held = image_set(50)
    split = held.splits["train"]
    indices = np.random.default_rng(0).permutation(50)[:23]

    batches = list(DeviceImages(held, "cpu").batches("train", indices, 10))
    images, labels = all_of(batches)

    assert [10, 10, 3] == [len(batch) for batch in batches]
    assert np.array_equal(split.images[indices].astype(np.float32), images)
    assert np.array_equal(split.labels[indices], labels)
    assert images.dtype == np.float32


@pytest.mark.parametrize("name", [name for name in NAMES if name != "gaussian"])
def test_normalising_can_be_undone(name: str) -> None:
    about = replace(describe(name), n_images={}, shape=(describe(name).shape[0], 16, 16))
    images = noise(16, about.shape[0], side=16)
    held = ImageSet(about, {"train": ImageSplit(images, np.zeros(16, np.int64))})
    mean, std = (
        np.array(values).reshape(1, -1, 1, 1)
        for values in (about.normalisation.mean, about.normalisation.std)
    )

    made = DeviceImages(held, "cpu").labelled("train").images.numpy()

    assert np.array_equal(images, np.round(made * std + mean).astype(np.uint8))
    assert made == pytest.approx((images - mean) / std, abs=1e-5)


def test_other_constants_can_be_given() -> None:
    held = image_set(5, normalisation=cifar10.NB201)

    made = DeviceImages(held, "cpu", IDENTITY).labelled("train", np.array([3, 1]))

    assert np.array_equal(held.splits["train"].images[[3, 1]], made.images.numpy())
    assert [3, 1] == made.labels.tolist()


def id_of(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


class Recorder(TorchDispatchMode):
    """Names of all operations, and the most bytes that one took anew."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.largest = 0

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = operation(*args, **(kwargs or {}))
        self.names.add(operation.overloadpacket.__name__)
        given = {id_of(a) for a in tree_leaves((args, kwargs)) if isinstance(a, torch.Tensor)}
        for made in tree_leaves(result):
            if id_of(made) not in given:  # A view has the storage of what it shows.
                self.largest = max(self.largest, made.untyped_storage().nbytes())
        return result


def test_a_batch_costs_no_more_than_the_batch_and_never_waits_for_the_device() -> None:
    n, batch_size = 4000, 10
    on_device = DeviceImages(image_set(n), "cpu")
    everything = replace(CROP_AND_FLIP, cutout=16)
    before = on_device.stored("train").images.data_ptr()
    batches = on_device.batches(
        "train", np.arange(n), batch_size, generator(), augmentation=everything
    )

    with Recorder() as recorded:
        for _ in range(3):
            next(batches)

    assert recorded.largest == batch_size * 3 * 32 * 32 * 4  # A float32 batch.
    assert recorded.names.isdisjoint(
        {"_local_scalar_dense", "item", "nonzero", "masked_select", "equal", "_to_copy", "copy_"}
    )
    assert before == on_device.stored("train").images.data_ptr()


def test_the_pixels_on_the_device_stay_bytes_and_unchanged() -> None:
    held = image_set(30)
    on_device = DeviceImages(held, "cpu")
    expected = held.splits["train"].images.copy()

    list(
        on_device.batches(
            "train", np.arange(30), 8, generator(), augmentation=replace(CROP_AND_FLIP, cutout=16)
        )
    )
    next(on_device.batches("train", np.arange(30), 8)).images.zero_()

    assert on_device.stored("train").images.dtype == torch.uint8
    assert np.array_equal(expected, on_device.stored("train").images.numpy())


def test_the_order_of_an_epoch_is_a_permutation_told_by_seed_epoch_and_stream() -> None:
    indices = np.arange(100, 200)

    orders = [epoch_order(indices, *at) for at in ((0, 1), (0, 2), (1, 1), (0, 1, "valid"), (0, 1))]

    for order in orders:
        assert np.array_equal(indices, np.sort(order))
    assert len({order.tobytes() for order in orders}) == 4
    assert np.array_equal(orders[0], orders[4])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"indices": np.array([0, 10])}, "indices 0 to 9"),
        ({"indices": np.array([-1])}, "indices 0 to 9"),
        ({"indices": np.array([], dtype=np.int64)}, "indices 0 to 9"),
        ({"batch_size": 0}, "A batch of 0"),
        ({"generator": None}, "needs chance"),
    ],
)
def test_what_makes_no_batches_is_told_at_once(change: dict[str, Any], told: str) -> None:
    on_device = DeviceImages(image_set(10), "cpu")
    asked: dict[str, Any] = {"indices": np.arange(10), "batch_size": 4, "generator": generator()}

    with pytest.raises(InvalidSpec, match=told):
        on_device.batches("train", **(asked | change), augmentation=CROP_AND_FLIP)
    with pytest.raises(UnknownName, match="split of made"):
        on_device.batches("valid", np.arange(3), 1)
