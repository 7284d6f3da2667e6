"""NAS-Bench-201: the one .pth file of all architectures, and live nas_201_api objects.

Source: Dong and Yang, "NAS-Bench-201: Extending the Scope of Reproducible Neural Architecture
Search", ICLR 2020. The file is read as a stream without torch, one architecture at a time.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, final

from adapters._packing import (
    CHUNK_ARCHS,
    Packing,
    in_memory,
    is_finished,
    make_chunk,
    read_chunk,
    write_chunk,
)
from adapters._pth import ArchState, MetaArchs, PthStream
from adapters._training_runs import Measured, live_states, measured, roles
from harness.adapter import Adapter, Progress, RawSource
from harness.benchmark import Table
from harness.builder import Provenance, Source
from harness.errors import BadFile, InvalidSpec
from harness.files import write_atomically
from harness.spaces import listed_space

EPOCHS_OF = {"full": "200", "less": "12"}
NAMED_DIGITS = re.compile(r"NAS-Bench-201-v1_\d-([0-9a-f]{6})\.pth")
CITATION = "Dong and Yang, NAS-Bench-201, ICLR 2020, arXiv:2001.00326"
LICENCE = "MIT"


@final
class Nb201(Adapter):
    """Packs v1_0 or v1_1, in one process: a pickle refers to what stands before in it."""

    version = 1
    sources = (
        RawSource(
            name="nb201-pth",
            summary="NAS-Bench-201: 15,625 cells, every epoch of 12 and 200",
            store="nb201-v1_1",
            patterns=("NAS-Bench-201-v1_*.pth",),
            download="NAS-Bench-201-v1_1-096897.pth, linked from github.com/D-X-Y/NAS-Bench-201",
            size="4.7 GB",
            tested_on="files that torch wrote from 3 real architectures, in both of its formats",
            checksum="the name ends in the last six digits of the file's digest",
        ),
    )

    def store_of(self, source: str, path: Path) -> str:
        match = re.search(r"v1_\d", path.name)
        return f"nb201-{match[0]}" if match else super().store_of(source, path)

    def pack(
        self, source: str, path: Path, *, mapping: str | None, jobs: int, progress: Progress
    ) -> str:
        if mapping is not None:
            raise InvalidSpec(f"{source} takes no --map.")
        if not path.is_file():
            raise BadFile(f"{path} is not a file.", "Give NAS-Bench-201-v1_1-096897.pth.")
        raw = _source(path)
        with Packing(self.store_of(source, path), "nb201") as packing:
            paths = _convert_all(packing, path, [self.version, raw.sha256], progress)
            if not paths:
                raise BadFile(f"{path} holds no architecture.", "Download it again.")
            provenance = Provenance("nb201", self.version, (raw,), LICENCE, CITATION)
            return packing.commit(
                paths, listed_space("nb201"), roles(200, 12), lambda _: provenance
            )


def _source(path: Path) -> Source:
    """Hashes the file, and compares with the digits in its name if there are any."""
    md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            md5.update(block)
            sha256.update(block)
    named = NAMED_DIGITS.fullmatch(path.name)
    published = "none"
    if named:
        ends = (md5.hexdigest()[-6:], sha256.hexdigest()[-6:])
        published = "matches" if named[1] in ends else "differs"
    return Source(path.name, sha256.hexdigest(), path.stat().st_size, published)


def _convert_all(
    packing: Packing, path: Path, made_from: Sequence[str | int], progress: Progress
) -> list[Path]:
    """Makes the chunks, from where an earlier import of the same file stopped; all of them."""
    paths = _finished(packing, made_from)
    seen = {index for finished in paths for index in read_chunk(finished).indices}
    place = _place_file(paths[-1]).read_bytes() if paths else None

    def finish(archs: Mapping[int, Measured], place: bytes | None) -> None:
        paths.append(packing.path([*made_from, len(paths)]))
        write_chunk(paths[-1], make_chunk(archs, str(path)))
        if place is not None:
            write_atomically(_place_file(paths[-1]), place)
            for older in paths[:-1]:
                _place_file(older).unlink(missing_ok=True)

    batch: dict[int, Measured] = {}
    index, states = -1, dict[str, Any]()
    stream = PthStream(path, progress, place)
    for event in stream:
        if isinstance(event, MetaArchs):
            _check_names(path, event)
            continue
        if event.index != index:
            if states:
                batch[index] = measured(states, f"{path}, architecture {index}")
            if len(batch) == CHUNK_ARCHS:
                finish(batch, place)
                batch = {}
            index, states = event.index, {}
            _check_place(path, event, seen)
        states[EPOCHS_OF[event.kind]] = event.state
        if len(batch) == CHUNK_ARCHS - 1:  # Perhaps the last state of the chunk.
            place = stream.place()
    if states:
        batch[index] = measured(states, f"{path}, architecture {index}")
        finish(batch, None)
    return paths


def _finished(packing: Packing, made_from: Sequence[str | int]) -> list[Path]:
    """The chunks that an earlier import finished, up to one after which the file can be entered."""
    paths: list[Path] = []
    while is_finished(path := packing.path([*made_from, len(paths)])):
        paths.append(path)
    while paths and not _place_file(paths[-1]).exists():
        paths.pop()
    return paths


def _place_file(chunk: Path) -> Path:
    """Holds where the stream is after a chunk; the newest one is kept, and none after the last."""
    return chunk.with_suffix(".place")


@cache
def _texts() -> list[str]:
    of_space = listed_space("nb201")
    return [of_space.format(arch) for arch in of_space]


def _check_names(path: Path, event: MetaArchs) -> None:
    if list(event.names) != _texts():
        raise BadFile(f"{path} does not list the 15,625 cells in their official order.")


def _check_place(path: Path, event: ArchState, seen: set[int]) -> None:
    """Raises: BadFile if an architecture is not where the official order has it, or comes twice."""
    text, texts = event.state.get("arch_str"), _texts()
    if not 0 <= event.index < len(texts) or text != texts[event.index] or event.index in seen:
        raise BadFile(
            f"{path}: architecture {event.index} ({text}) is not where the official order has it.",
            "Download it again.",
        )
    seen.add(event.index)


def wrap(api: Any, indices: Iterable[int] | None = None) -> Table:
    """A benchmark from a live nas_201_api object, with the answers that its file would give.

    api: a nas_201_api.NASBench201API. indices: which architectures to take over; None: all.
    Raises: InvalidSpec if there is nothing to take over.
    """
    chosen = sorted(api.evaluated_indexes if indices is None else indices)
    if not chosen:
        raise InvalidSpec("The object holds no architecture.", "Name some: indices=…")
    archs = {index: measured(live_states(api, index), f"index {index}") for index in chosen}
    return in_memory("nb201-v1_1", listed_space("nb201"), archs, roles(200, 12))


ADAPTER = Nb201()
