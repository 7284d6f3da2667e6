"""NAS-Bench-201: the one .pth file of all architectures, and live nas_201_api objects.

Source: Dong and Yang, "NAS-Bench-201: Extending the Scope of Reproducible Neural Architecture
Search", ICLR 2020. The file is read as a stream without torch, one architecture at a time.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, final

from adapters._packing import CHUNK_ARCHS, Packing, in_memory, make_chunk, write_chunk
from adapters._pth import ArchState, MetaArchs, stream_pth
from adapters._training_runs import Measured, live_states, measured, roles
from harness.adapter import Adapter, Progress, RawSource
from harness.benchmark import Table
from harness.builder import Provenance, Source
from harness.errors import BadFile, InvalidSpec
from harness.spaces import listed_space

EPOCHS_OF = {"full": "200", "less": "12"}
NAMED_DIGITS = re.compile(r"NAS-Bench-201-v1_\d-([0-9a-f]{6})\.pth")
CITATION = "Dong and Yang, NAS-Bench-201, ICLR 2020, arXiv:2001.00326"
LICENCE = "MIT"


@final
class Nb201(Adapter):
    """Packs v1_0 or v1_1. An interrupted import starts again: a stream cannot be entered midway."""

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
            paths = []
            for number, archs in enumerate(_batches(path, progress)):
                paths.append(packing.path([self.version, raw.sha256, number]))
                write_chunk(paths[-1], make_chunk(archs, str(path)))
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


def _batches(path: Path, progress: Progress) -> Iterator[dict[int, Measured]]:
    """The file's architectures, CHUNK_ARCHS at a time."""
    batch: dict[int, Measured] = {}
    for index, states in _archs(path, progress):
        batch[index] = measured(states, f"{path}, architecture {index}")
        if len(batch) == CHUNK_ARCHS:
            yield batch
            batch = {}
    if batch:
        yield batch


def _archs(
    path: Path, progress: Callable[[int, int], None]
) -> Iterator[tuple[int, dict[str, Any]]]:
    """(index, states by schedule) of every architecture, checked against the official list.

    Raises: BadFile if an architecture is not where the official order has it, or comes twice.
    """
    texts = [listed_space("nb201").format(arch) for arch in listed_space("nb201")]
    index, states, seen = -1, dict[str, Any](), set[int]()
    for event in stream_pth(path, progress):
        if isinstance(event, MetaArchs):
            if list(event.names) != texts:
                raise BadFile(f"{path} does not list the 15,625 cells in their official order.")
            continue
        if event.index != index:
            if states:
                yield index, states
            index, states = event.index, {}
            _check_place(path, event, texts, seen)
        states[EPOCHS_OF[event.kind]] = event.state
    if states:
        yield index, states


def _check_place(path: Path, event: ArchState, texts: list[str], seen: set[int]) -> None:
    text = event.state.get("arch_str")
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
