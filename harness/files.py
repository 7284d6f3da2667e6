"""Writing whole files or nothing, and hashing them."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

from harness.errors import InvalidSpec, StorageFailed


@contextlib.contextmanager
def disk_errors(what: str) -> Iterator[None]:
    """Turns a refused write (disk full, read-only, over quota) into StorageFailed."""
    try:
        yield
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise InvalidSpec(f"{what} is in the way: {error}.", "Name another place.") from error
    except OSError as error:
        raise StorageFailed(
            f"{what} could not be written: {error}.",
            "Free space, or choose another disk (NAS_HARNESS_HOME for stores and runs, --out for"
            " reports), then run the same command again; what was finished is kept.",
        ) from error


def write_atomically(path: Path, content: bytes | memoryview, *, durable: bool = True) -> None:
    """Writes a file so that a reader sees the old content or the new, never a part.

    durable: also wait until it would survive a power cut (records can do without: they are
    many, and one that is lost is run again).
    Raises: StorageFailed if the disk refuses.
    """
    with disk_errors(str(path)):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        try:
            with temporary.open("xb") as file:
                file.write(content)
                if durable:
                    file.flush()
                    os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def canonical_json(value: object) -> bytes:
    """The one JSON text of a value: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


@contextlib.contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Holds an exclusive lock on a file, which is made if need be and stays.

    Raises: BlockingIOError if another process holds it and wait is False; StorageFailed.
    """
    with disk_errors(str(path)):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("w")
    with file:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a file, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
