"""Which images of a split are trained on and which are selected on.

NAS-Bench-201 trained and measured on fixed halves that its authors published as lists of indices;
they do not ship with this project. `listed_split` reads those files where the user has them.
Elsewhere `default_split` makes parts of the same sizes, under a name that says so, and
`in_order` those of the DARTS family, the first and the last images.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import BadFile, InvalidSpec, unknown
from harness.seeds import derive
from protocols.images.raw_files import image_folder

Indices = NDArray[np.int64]

REMEDY = (
    "Take cifar-split.txt, cifar100-test-split.txt or imagenet-16-120-test-split.txt from the"
    " folder configs/nas-benchmark of AutoDL-Projects."
)


@dataclass(frozen=True)
class IndexSplit:
    """Disjoint parts of one official split of a data set, which together are all of it.

    name: tells one way of splitting from others. dataset, split: what is split. parts: ascending
    indices by what they serve as here, "train" and "valid" or "valid" and "test".
    is_official: whether they are the benchmark's own. sha256: of the parts.
    """

    name: str
    dataset: str
    split: str
    parts: Mapping[str, Indices]
    is_official: bool
    sha256: str


@dataclass(frozen=True)
class _Official:
    """A published list: its file, what it splits, and per part of the file our name and size."""

    file: str
    split: str
    parts: Mapping[str, tuple[str, int]]

    @property
    def sizes(self) -> dict[str, int]:
        return {part: n for part, (_, n) in self.parts.items()}

    @property
    def n_images(self) -> int:
        return sum(self.sizes.values())


# Names of the parts: AutoDL-Projects, get_dataset_with_transform.py. Sizes: the paper's section 2.
OFFICIAL = MappingProxyType(
    {
        "cifar10": _Official(
            "cifar-split", "train", {"train": ("train", 25_000), "valid": ("valid", 25_000)}
        ),
        "cifar100": _Official(
            "cifar100-test-split", "test", {"xvalid": ("valid", 5_000), "xtest": ("test", 5_000)}
        ),
        "ImageNet16-120": _Official(
            "imagenet-16-120-test-split",
            "test",
            {"xvalid": ("valid", 3_000), "xtest": ("test", 3_000)},
        ),
    }
)


def listed_split(dataset: str) -> IndexSplit:
    """The benchmark's own parts where their list is in NAS_HARNESS_DATA/images, else ours.

    Raises: UnknownName for a data set that the benchmark does not split; BadFile for a list that
        is damaged or another data set's.
    """
    ours, folder = default_split(dataset), image_folder()
    if folder is None or not (path := folder / f"{OFFICIAL[dataset].file}.txt").exists():
        return ours
    listed = read_split(path)
    if listed.dataset != dataset:
        raise BadFile(f"{path} is the list of {listed.dataset}.", REMEDY)
    return listed


def read_split(path: Path) -> IndexSplit:
    """One of NAS-Bench-201's three published lists, recognised by its parts and their sizes.

    Raises: BadFile if it is none of them, or its parts overlap or leave images out.
    """
    lists = _lists(path)
    sizes = {part: len(indices) for part, indices in lists.items()}
    known = {dataset: official.sizes for dataset, official in OFFICIAL.items()}
    fitting = [dataset for dataset, held in known.items() if held == sizes]
    if not fitting:
        raise BadFile(f"{path} holds {sizes}; the benchmark's lists hold {known}.", REMEDY)
    dataset, official = fitting[0], OFFICIAL[fitting[0]]
    every = np.sort(np.concatenate(list(lists.values())))
    if not np.array_equal(every, np.arange(official.n_images)):
        raise BadFile(
            f"{path} does not hold every index from 0 to {official.n_images - 1} once.", REMEDY
        )
    parts = {ours: lists[part] for part, (ours, _) in official.parts.items()}
    return _split(official.file, dataset, official.split, parts, is_official=True)


def default_split(dataset: str) -> IndexSplit:
    """Parts of the official sizes, drawn by a permutation of ours that never changes.

    What is measured on it compares with itself, not with the benchmark's numbers.
    Raises: UnknownName for a data set that the benchmark does not split.
    """
    if dataset not in OFFICIAL:
        raise unknown("split data set", dataset, OFFICIAL)
    official = OFFICIAL[dataset]
    shuffled = derive(0, "index split", dataset).permutation(official.n_images)
    ends = np.cumsum(list(official.sizes.values()))[:-1]
    names = [ours for ours, _ in official.parts.values()]
    parts = dict(zip(names, np.split(shuffled, ends), strict=True))
    return _split(f"own-permutation-{dataset}", dataset, official.split, parts, is_official=False)


def in_order(dataset: str, n_images: int, n_train: int) -> IndexSplit:
    """The first `n_train` images of the train split to train on, the others as "valid".

    DARTS official code, train_search.py, with train_portion 0.5; NAS-Bench-1Shot1 and DrNAS alike.
    Raises: InvalidSpec if a part would be empty.
    """
    if not 0 < n_train < n_images:
        raise InvalidSpec(f"{n_train} of {n_images} images leave a part empty.")
    every = np.arange(n_images)
    parts = {"train": every[:n_train], "valid": every[n_train:]}
    return _split(f"first-{n_train}", dataset, "train", parts, is_official=False)


def _split(
    name: str, dataset: str, split: str, parts: Mapping[str, Indices], *, is_official: bool
) -> IndexSplit:
    ascending = {part: np.sort(indices).astype(np.int64) for part, indices in parts.items()}
    digest = hashlib.sha256()
    for part, indices in ascending.items():
        digest.update(part.encode() + b"\0" + indices.astype("<i8").tobytes())
    return IndexSplit(name, dataset, split, ascending, is_official, digest.hexdigest())


def _lists(path: Path) -> dict[str, Indices]:
    """The file's lists: {part: ["int", ["0", "3", ...]]}, numbers written as text."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise BadFile(f"{path} is no list of indices ({error}).", REMEDY) from error
    if not isinstance(content, dict):
        raise BadFile(f"{path} holds no named lists.", REMEDY)
    return {part: _indices(value, f"{path}, {part}") for part, value in content.items()}


def _indices(value: Any, where: str) -> Indices:
    texts = value[1] if isinstance(value, list) and len(value) == 2 and value[0] == "int" else None
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise BadFile(f'{where} is not of the form ["int", ["0", "1", ...]].', REMEDY)
    try:
        return np.array([int(text) for text in texts], dtype=np.int64)
    except (ValueError, OverflowError) as error:
        raise BadFile(f"{where} holds what is no index ({error}).", REMEDY) from error
