"""Packs: the finished records of many runs in one file, so that they need not be run again.

A pack is a zip archive that holds, for every record, RUN/KEY.json and its arrays beside it. KEY is
the record's; RUN names the same run whatever the versions of its plug-ins, so that a pack answers
where these cannot be imported. Packs ship beside the suites in protocols/recipes; others are found
below NAS_HARNESS_HOME/packs.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from harness import registry
from harness.benchmark import check_unsealed
from harness.errors import BadFile
from harness.files import write_atomically
from harness.store import home

EPOCH = (1980, 1, 1, 0, 0, 0)  # Of all members, so that the same records give the same file.


def write(path: Path, members: Mapping[str, bytes]) -> None:
    """A new pack; members: contents by RUN/FILE. Raises: StorageFailed."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, held in sorted(members.items()):
            member = zipfile.ZipInfo(name, EPOCH)
            archive.writestr(member, held, compress_type=zipfile.ZIP_LZMA)
    write_atomically(path, content.getbuffer())


def content(file: str) -> bytes | None:
    """What a pack holds as RUN/FILE, or None where none does.

    Raises: BadFile; TestSliceSealed while a method runs.
    """
    check_unsealed("the records of earlier runs")
    for path in found():
        member = _files(path, path.stat().st_mtime_ns).get(file)
        if member is not None:
            try:
                with zipfile.ZipFile(path) as archive:
                    return archive.read(member)
            except (OSError, zipfile.BadZipFile, EOFError) as error:
                raise _broken(path, error) from error
    return None


def has(file: str) -> bool:
    """Whether a pack holds a file of this name. Raises: BadFile."""
    return any(file in _files(path, path.stat().st_mtime_ns) for path in found())


def keys_of(run: str) -> list[str]:
    """The keys of the records of a run, by whatever versions; the first pack's come first."""
    return [
        Path(member).stem
        for path in found()
        for member in _files(path, path.stat().st_mtime_ns).values()
        if member.startswith(f"{run}/") and member.endswith(".json")
    ]


def names(path: Path) -> list[str]:
    """The files that a pack holds. Raises: BadFile."""
    return list(_files(path, path.stat().st_mtime_ns))


def found() -> list[Path]:
    """The packs that are here: a user's own first."""
    own = sorted((home() / "packs").glob("*.zip"))
    return [*own, *sorted(registry.recipes_folder().rglob("*.zip"))]


@cache
def _files(path: Path, stamp: int) -> dict[str, str]:
    """Member by file name, read once for every state of the pack."""
    try:
        with zipfile.ZipFile(path) as archive:
            return {Path(member).name: member for member in archive.namelist()}
    except (OSError, zipfile.BadZipFile) as error:
        raise _broken(path, error) from error


def _broken(path: Path, error: Exception) -> BadFile:
    return BadFile(f"{path} cannot be read: {error}.", "Remove it or get it again.")
