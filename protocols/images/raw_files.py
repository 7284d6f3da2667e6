"""Finding, hashing and unpacking the files that image data sets are published as."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import zlib
from collections.abc import Mapping
from pathlib import Path

from harness.errors import BadFile
from protocols.images.image_set import Checksum, RawFile, Reader

DOWNLOAD = "Download it again."
BLOCK = 1 << 20


def find(reader: Reader, root: Path | None) -> Path:
    """The file or folder that shows where the data set lies: one of the reader's markers.

    root: a folder, or the marker itself; None for NAS_HARNESS_DATA/images. In a folder are
    searched the folder of the data set's name, those that the reader names, and itself.
    Raises: BadFile if it is not there, with what to download.
    """
    folder = root if root is not None else _configured(reader)
    if folder.name in reader.markers and folder.exists():
        return folder
    places = (reader.about.name, *reader.folders, ".")
    for place in places:
        for marker in reader.markers:
            if (folder / place / marker).exists():
                return folder / place / marker
    raise BadFile(
        f"{reader.about.name} is not in {folder}: neither there nor in"
        f" {', '.join(places[:-1])} is {' or '.join(reader.markers)}.",
        f"Download {reader.about.download}, and put it into {folder / reader.about.name}.",
    )


def read_file(path: Path, md5s: Mapping[str, str]) -> tuple[bytes, RawFile]:
    """The bytes of a file, and what they are known by.

    Raises: BadFile if it cannot be read.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadFile(f"{path} cannot be read: {error}.", DOWNLOAD) from error
    return content, raw_file(path.name, content, md5s)


def raw_file(name: str, content: bytes, md5s: Mapping[str, str]) -> RawFile:
    """What is known of a file's bytes."""
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    return RawFile(name, hashlib.sha256(content).hexdigest(), _compared(name, md5, md5s))


def hashed(path: Path, md5s: Mapping[str, str]) -> RawFile:
    """What is known of a file too large to be held at once.

    Raises: BadFile if it cannot be read.
    """
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    try:
        with path.open("rb") as file:
            while block := file.read(BLOCK):
                sha256.update(block)
                md5.update(block)
    except OSError as error:
        raise BadFile(f"{path} cannot be read: {error}.", DOWNLOAD) from error
    return RawFile(path.name, sha256.hexdigest(), _compared(path.name, md5.hexdigest(), md5s))


def unzipped(content: bytes, n_bytes: int, where: str) -> bytes:
    """The first `n_bytes` of what a gzip file holds, fewer if it holds fewer.

    Raises: BadFile if it is damaged or cut.
    """
    try:
        with gzip.open(io.BytesIO(content)) as file:
            return file.read(n_bytes)
    except (OSError, EOFError, zlib.error) as error:
        raise BadFile(f"{where} is damaged or cut ({error}).", DOWNLOAD) from error


def image_folder() -> Path | None:
    """NAS_HARNESS_DATA/images; None where the variable is not set."""
    configured = os.environ.get("NAS_HARNESS_DATA")
    return Path(configured) / "images" if configured else None


def _configured(reader: Reader) -> Path:
    folder = image_folder()
    if folder is None:
        raise BadFile(
            f"No folder was given for {reader.about.name}, and NAS_HARNESS_DATA is not set.",
            f"Download {reader.about.download}; put it into the folder images/{reader.about.name}"
            " of one that NAS_HARNESS_DATA names.",
        )
    return folder


def _compared(name: str, md5: str, md5s: Mapping[str, str]) -> Checksum:
    if name not in md5s:
        return "none"
    return "matches" if md5s[name] == md5 else "differs"
