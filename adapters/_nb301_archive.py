"""The published archives of NAS-Bench-301's models: which members they hold, and their files.

A .zip is read where it lies and nothing is unpacked, so that a name in it cannot point anywhere.
"""

from __future__ import annotations

import json
import os
import re
import zipfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, final

from harness.errors import BadFile

MODEL, DATA_CONFIG, MODEL_CONFIG = "surrogate_model.model", "data_config.json", "model_config.json"
CONFIGS = (DATA_CONFIG, MODEL_CONFIG)
MAX_MODEL_BYTES = 512 * 2**20  # ours
MAX_CONFIG_BYTES = 2**20  # ours: configurations list some dozens of settings.
DOWNLOAD = "Download models_0.9.zip or models_1.0.zip again; automl/nasbench301 says from where."

Config = Mapping[str, Any]


class Member(NamedTuple):
    """One model of an ensemble.

    name: its path below the folder that holds all of them. seed: what it was fitted with.
    config: model_config.json. files: its three files. where: the model's place, for messages.
    """

    name: str
    seed: int
    config: Config
    files: Mapping[str, bytes]
    where: str


class Members(NamedTuple):
    """The models of one kind in the order of their paths; version: such as "-v0.9", or nothing."""

    version: str
    members: tuple[Member, ...]


def read_members(path: Path, model: str, kind: str) -> Members:
    """Reads all members of a kind.

    path: a .zip, the folder it unpacks to, or a folder within. model: what the members' settings
    name their model. kind: its name in messages.
    Raises: BadFile if there is no whole member of the kind, or one cannot be read.
    """
    with _archive(path) as archive:
        configs = _chosen(archive, model, kind)
        chosen = list(configs)
        above = os.path.commonpath([folder.parent for folder in chosen])
        return Members(
            _version(path, chosen),
            tuple(
                Member(
                    str(folder.relative_to(above)) if folder.name else path.name,
                    configs[folder][0]["seed"],
                    configs[folder][1],
                    _files(archive, folder),
                    archive.where(folder / MODEL),
                )
                for folder in chosen
            ),
        )


def version(path: Path, model: str, kind: str) -> str:
    """The version of a kind's members, as in `Members`; the models themselves are not read.

    Raises: BadFile as `read_members`.
    """
    with _archive(path) as archive:
        return _version(path, list(_chosen(archive, model, kind)))


def _chosen(
    archive: Folder | Zip, model: str, kind: str
) -> dict[PurePosixPath, tuple[Config, Config]]:
    """The members of a kind with their settings, in the order of their paths."""
    configs = {folder: _configs(archive, folder) for folder in _folders(archive)}
    chosen = {folder: held for folder, held in configs.items() if held[1]["model"] == model}
    if not chosen:
        counts = Counter(config["model"] for _, config in configs.values())
        listed = ", ".join(f"{n} of {name}" for name, n in sorted(counts.items()))
        raise BadFile(f"{archive.path} holds no {kind} models, but {listed}.", DOWNLOAD)
    return chosen


def _files(archive: Folder | Zip, folder: PurePosixPath) -> dict[str, bytes]:
    limits = {MODEL: MAX_MODEL_BYTES, DATA_CONFIG: MAX_CONFIG_BYTES, MODEL_CONFIG: MAX_CONFIG_BYTES}
    return {name: archive.read(folder / name, limit) for name, limit in limits.items()}


def _folders(archive: Folder | Zip) -> list[PurePosixPath]:
    """The members' folders, sorted by path; each has all three files."""
    held: dict[PurePosixPath, set[str]] = defaultdict(set)
    for file in archive.files():
        if file.name in (MODEL, *CONFIGS):
            held[file.parent].add(file.name)
    members = {folder for folder, names in held.items() if MODEL in names}
    # Upstream saves an ensemble's settings beside its members too, where there is no model.
    parents = {above for folder in members for above in folder.parents}
    members |= {
        folder for folder, names in held.items() if names >= set(CONFIGS) and folder not in parents
    }
    if not members:
        raise BadFile(f"{archive.path} holds no folder with a {MODEL}.", DOWNLOAD)
    for folder in sorted(members):
        for name in (MODEL, *CONFIGS):
            if name not in held[folder]:
                raise BadFile(f"{archive.where(folder)} has no {name}.", DOWNLOAD)
    return sorted(members)


def _configs(archive: Folder | Zip, folder: PurePosixPath) -> tuple[Config, Config]:
    """data_config.json with its seed and model_config.json with its model."""
    found = []
    for name, key, kind in ((DATA_CONFIG, "seed", int), (MODEL_CONFIG, "model", str)):
        where = archive.where(folder / name)
        try:
            config = json.loads(archive.read(folder / name, MAX_CONFIG_BYTES))
        except (ValueError, RecursionError) as error:
            raise BadFile(f"{where} is not readable JSON ({error}).", DOWNLOAD) from error
        if not isinstance(config, dict) or not isinstance(config.get(key), kind):
            raise BadFile(f"{where} names no {key}.", DOWNLOAD)
        found.append(config)
    return found[0], found[1]


def _version(path: Path, folders: Sequence[PurePosixPath]) -> str:
    """The version as a part of a name, by the nearest folder that tells it; else nothing.

    Raises: BadFile if the folders are of more than one version.
    """
    found = set()
    for folder in folders:
        names = [*reversed(folder.parts), path.name.removesuffix(".zip"), path.parent.name]
        matches = (re.fullmatch(r"(?:.*[_-])?v?(0\.9|1\.0)", name) for name in names)
        found.add(next((f"-v{match[1]}" for match in matches if match), ""))
    if len(found) > 1:
        listed = ", ".join(sorted(version or "unnamed" for version in found))
        raise BadFile(f"{path} holds models of several versions ({listed}).", "Name one's folder.")
    return found.pop()


def _archive(path: Path) -> Folder | Zip:
    return Folder(path) if path.is_dir() else Zip(path)


@final
class Folder:
    """An unpacked archive."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> Folder:
        return self

    def __exit__(self, *error: object) -> None:
        """Holds nothing open."""

    def files(self) -> Iterator[PurePosixPath]:
        for folder, _, names in os.walk(self.path):
            inside = Path(folder).relative_to(self.path).as_posix()
            yield from (PurePosixPath(inside, name) for name in names)

    def where(self, file: PurePosixPath) -> str:
        return str(self.path / file)

    def read(self, file: PurePosixPath, max_bytes: int) -> bytes:
        """The content. Raises: BadFile if it is longer than `max_bytes` or cannot be read."""
        try:
            with (self.path / file).open("rb") as opened:
                content = opened.read(max_bytes + 1)
        except OSError as error:
            raise BadFile(f"{self.where(file)} cannot be read ({error}).", DOWNLOAD) from error
        return _bounded(content, len(content), max_bytes, self.where(file))


@final
class Zip:
    """A zipped archive, read in place."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._zip = zipfile.ZipFile(path)
        except FileNotFoundError as error:
            raise BadFile(f"There is no {path}.", "Give the archive or its folder.") from error
        except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile) as error:
            raise BadFile(
                f"{path} is neither a folder nor a whole zip ({error}).", DOWNLOAD
            ) from error
        entries = (info for info in self._zip.infolist() if not info.is_dir())
        self._entries = {PurePosixPath(info.filename.lstrip("/")): info for info in entries}

    def __enter__(self) -> Zip:
        return self

    def __exit__(self, *error: object) -> None:
        self._zip.close()

    def files(self) -> Iterator[PurePosixPath]:
        yield from self._entries

    def where(self, file: PurePosixPath) -> str:
        return f"{file} of {self.path}"

    def read(self, file: PurePosixPath, max_bytes: int) -> bytes:
        """The content. Raises: BadFile if it is longer than `max_bytes` or cannot be read."""
        info, where = self._entries[file], self.where(file)
        # zipfile unpacks no more of an entry than its directory tells.
        _bounded(b"", info.file_size, max_bytes, where)
        try:
            return self._zip.read(info)
        except Exception as error:  # Damaged entries raise what their compression's reader does.
            raise BadFile(f"{where} cannot be read ({error}).", DOWNLOAD) from error


def _bounded(content: bytes, n_bytes: int, max_bytes: int, where: str) -> bytes:
    if n_bytes > max_bytes:
        raise BadFile(f"{where} has more than {max_bytes} bytes.", DOWNLOAD)
    return content
