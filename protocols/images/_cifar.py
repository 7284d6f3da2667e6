"""CIFAR's python version: a folder of pickled batches, or the archive that it is downloaded as."""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Collection, Mapping
from pathlib import Path, PurePosixPath

import numpy as np

from harness.errors import BadFile
from protocols.images._batches import DOWNLOAD, batch
from protocols.images.image_set import Description, ImageSet, ImageSplit
from protocols.images.raw_files import hashed, raw_file, read_file

MAX_MEMBER_BYTES = 1 << 29  # Ours: the largest batch, CIFAR-100's train, has 156 MB.


def read(
    path: Path, about: Description, batches: Mapping[str, tuple[str, ...]], label_key: str
) -> ImageSet:
    """The whole data set from its folder or archive.

    batches: names of the pickles of every split.
    Raises: BadFile if one is missing, damaged or of another shape.
    """
    names = [name for split in batches.values() for name in split]
    if path.is_dir():
        found = {name: read_file(path / name, about.md5s) for name in names}
        contents = {name: content for name, (content, _) in found.items()}
        files = [file for _, file in found.values()]
    else:
        contents = _members(path, names)
        files = [hashed(path, about.md5s)]
        files += [raw_file(name, contents[name], about.md5s) for name in names]
    return ImageSet(about, _splits(contents, about, batches, label_key), tuple(files))


def _members(archive: Path, names: Collection[str]) -> dict[str, bytes]:
    """The archive's files of these names, whose folder is not looked at; nothing is unpacked."""
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(archive, "r|*") as stream:
            for member in stream:
                name = PurePosixPath(member.name).name
                if name not in names or not member.isfile() or name in found:
                    continue
                if member.size > MAX_MEMBER_BYTES:
                    raise BadFile(f"{archive}: {name} has {member.size} bytes.", DOWNLOAD)
                file = stream.extractfile(member)
                found[name] = file.read() if file else b""
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise BadFile(f"{archive} is damaged or cut ({error}).", DOWNLOAD) from error
    if missing := sorted(set(names) - set(found)):
        raise BadFile(f"{archive} holds no {', '.join(missing)}.", DOWNLOAD)
    return found


def _splits(
    contents: Mapping[str, bytes],
    about: Description,
    batches: Mapping[str, tuple[str, ...]],
    label_key: str,
) -> dict[str, ImageSplit]:
    made = {}
    for split, names in batches.items():
        parts = [
            batch(
                contents[name],
                name,
                side=about.shape[-1],
                label_key=label_key,
                labels=range(about.n_classes),
            )
            for name in names
        ]
        images, labels = zip(*parts, strict=True)
        made[split] = ImageSplit(np.concatenate(images), np.concatenate(labels))
    return made
