"""Which images a search learns from: NAS-Bench-201's parts, halves in order, all."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.errors import BadFile
from protocols.images import describe
from protocols.images.image_set import ImageSet, ImageSplit
from protocols.search.halves import SPLITS, halves

# Images a split, as published.
PUBLISHED = {
    "cifar10": {"train": 50_000, "test": 10_000},
    "cifar100": {"train": 50_000, "test": 10_000},
    "ImageNet16-120": {"train": 151_700, "test": 6_000},
}


def images(name: str, **sizes: int) -> ImageSet:
    """As many images as were published, one pixel each and all black, or as many as are asked."""
    splits = {
        split: ImageSplit(np.broadcast_to(np.uint8(0), (n, 1, 1, 1)), np.zeros(n, dtype=np.int64))
        for split, n in {**PUBLISHED.get(name, {}), **sizes}.items()
    }
    return ImageSet(replace(describe(name), shape=(1, 1, 1)), splits)


@pytest.mark.parametrize(
    ("name", "split", "train", "valid"),
    [
        ("cifar10", "benchmark", ("train", 25_000), ("train", 25_000)),
        ("cifar100", "benchmark", ("train", 50_000), ("test", 5_000)),
        ("ImageNet16-120", "benchmark", ("train", 151_700), ("test", 3_000)),
        ("cifar10", "in-order", ("train", 25_000), ("train", 25_000)),
        ("cifar100", "in-order", ("train", 25_000), ("train", 25_000)),
        ("ImageNet16-120", "in-order", ("train", 75_850), ("train", 75_850)),
        ("cifar10", "all", ("train", 50_000), ("train", 25_000)),
        ("cifar100", "all", ("train", 50_000), ("test", 5_000)),
    ],
)
def test_the_sizes_of_every_split(
    name: str, split: str, train: tuple[str, int], valid: tuple[str, int]
) -> None:
    found = halves(images(name), split)

    for part, (of, n) in ((found.train, train), (found.valid, valid)):
        assert (of, n) == (part.split, len(set(part.indices.tolist())))
        assert part.indices.max() < PUBLISHED[name][of]


@pytest.mark.parametrize(("name", "split"), [(n, s) for n in PUBLISHED for s in SPLITS])
def test_the_parts_overlap_only_where_all_training_images_are_learnt(name: str, split: str) -> None:
    train, valid, _ = halves(images(name), split)

    both = np.intersect1d(train.indices, valid.indices) if train.split == valid.split else []

    assert bool(len(both)) == ((name, split) == ("cifar10", "all"))


def test_in_order_is_the_first_and_the_last_half() -> None:
    train, valid, _ = halves(images("cifar100"), "in-order")

    assert train.indices.tolist() == list(range(25_000))
    assert valid.indices.tolist() == list(range(25_000, 50_000))


def test_too_few_images_for_the_benchmarks_parts_are_halved_in_order() -> None:
    found = halves(images("cifar10", train=4_000))

    assert (found.origin, len(found.train.indices)) == ("first-2000", 2_000)


@pytest.mark.parametrize("split", SPLITS)
def test_a_split_of_its_own_stays(split: str) -> None:
    found = halves(images("cluttered-digits", train=30, valid=20), split)

    assert [("train", 30), ("valid", 20)] == [(p.split, len(p.indices)) for p in found[:2]]
    assert found.origin == "own split"


def test_the_published_list_is_used_where_it_is_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "images").mkdir()
    monkeypatch.setenv("NAS_HARNESS_DATA", str(tmp_path))
    ours = halves(images("cifar100")).origin
    odd = [str(i) for i in range(1, 10_000, 2)]
    even = [str(i) for i in range(0, 10_000, 2)]
    listed = tmp_path / "images" / "cifar100-test-split.txt"
    listed.write_text(json.dumps({"xvalid": ["int", odd], "xtest": ["int", even]}))

    found = halves(images("cifar100"))

    assert found.valid.indices.tolist() == list(range(1, 10_000, 2))
    assert (ours, found.origin) == ("own-permutation-cifar100", "cifar100-test-split")


def test_the_list_of_another_data_set_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "images").mkdir()
    monkeypatch.setenv("NAS_HARNESS_DATA", str(tmp_path))
    third = [str(i) for i in range(3_000)], [str(i) for i in range(3_000, 6_000)]
    (tmp_path / "images" / "cifar100-test-split.txt").write_text(
        json.dumps({"xvalid": ["int", third[0]], "xtest": ["int", third[1]]})
    )

    with pytest.raises(BadFile, match="is the list of ImageNet16-120"):
        halves(images("cifar100"))
