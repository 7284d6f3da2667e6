"""NATS-Bench: the folder or .tar of per-architecture files, and live nats_bench objects.

Source: Dong et al., "NATS-Bench: Benchmarking NAS Algorithms for Architecture Topology and
Size", TPAMI 2021. File layout: one bz2-compressed pickle an architecture, and meta.pickle.pbz2.
"""

from __future__ import annotations

import gc
import hashlib
import re
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from adapters._packing import (
    CHUNK_ARCHS,
    Packing,
    in_memory,
    is_finished,
    make_chunk,
    write_chunk,
)
from adapters._pickles import MAX_RAW_BYTES, memory_limit, unpickle_arch
from adapters._training_runs import Measured, live_states, measured, roles
from harness.adapter import Adapter, Progress, RawSource
from harness.arch import ListedSpace
from harness.benchmark import Table
from harness.builder import Provenance, Source
from harness.errors import BadFile, InvalidSpec
from harness.spaces import listed_space

ARCH_FILE = re.compile(r"(\d{6})\.pickle\.pbz2")
META_FILE = "meta.pickle.pbz2"
# Ours: an architecture's file needs some 10 MB; the rest is Python, numpy and hostile input.
WORKER_MEMORY_BYTES = 2 << 30
CITATION = "Dong et al., NATS-Bench, IEEE TPAMI 2021, arXiv:2009.00437"
LICENCE = "MIT"


@dataclass(frozen=True)
class Kind:
    """One of the two halves of NATS-Bench: its space and its longest and short schedule."""

    space: str
    longest: int
    short: int


KINDS = {"nats-tss": Kind("nb201", 200, 12), "nats-sss": Kind("nb201-size", 90, 12)}


@dataclass(frozen=True)
class Member:
    """Where one architecture's bytes lie: a file, or a stretch of a .tar.

    modified_ns: when the file was last changed, so that a repaired one is read again.
    """

    index: int
    path: Path
    offset: int
    n_bytes: int
    modified_ns: int

    @property
    def identity(self) -> list[int | str]:
        """What tells this member from another one or from a changed one."""
        return [self.index, str(self.path), self.offset, self.n_bytes, self.modified_ns]

    def read(self) -> bytes:
        """The compressed bytes.

        Raises: BadFile if they cannot be one architecture's, because there are too many.
        """
        if self.n_bytes > MAX_RAW_BYTES:
            raise BadFile(f"{self.where} has {self.n_bytes} bytes.", "Download it again.")
        with self.path.open("rb") as file:
            file.seek(self.offset)
            return file.read(self.n_bytes)

    @property
    def where(self) -> str:
        """The place that an error names."""
        name = f"{self.index:06d}.pickle.pbz2"
        return f"{self.path}, {name} at byte {self.offset}" if self.offset else str(self.path)


@final
class Nats(Adapter):
    """Packs the topology (tss) or the size half (sss)."""

    version = 1
    sources = (
        RawSource(
            name="nats-tss",
            summary="NATS-Bench topology space: 15,625 cells, every epoch of 12 and 200",
            store="nats-tss",
            patterns=("NATS-tss-*-simple", "NATS-tss-*-simple.tar"),
            download="NATS-tss-v1_0-3ffb9-simple.tar, linked from github.com/D-X-Y/NATS-Bench",
            size="about 1.3 GB",
            tested_on="3 of its 15,625 architectures, and 15,625 files made from these",
        ),
        RawSource(
            name="nats-sss",
            summary="NATS-Bench size space: 32,768 networks, every epoch of 1, 12 and 90",
            store="nats-sss",
            patterns=("NATS-sss-*-simple", "NATS-sss-*-simple.tar"),
            download="NATS-sss-v1_0-50262-simple.tar, linked from github.com/D-X-Y/NATS-Bench",
            size="about 1 GB",
            tested_on="3 of its 32,768 architectures",
        ),
    )

    def pack(
        self, source: str, path: Path, *, mapping: str | None, jobs: int, progress: Progress
    ) -> str:
        if mapping is not None:
            raise InvalidSpec(f"{source} takes no --map.")
        kind = KINDS[source]
        of_space = listed_space(kind.space)
        meta, members = _members(path)
        texts = _check_meta(meta, source, of_space)
        with Packing(source, "nats") as packing:
            paths = _convert_all(packing, members, texts, jobs, progress)

            def provenance(digests: list[str]) -> Provenance:
                raw = _source(path, digests, members)
                return Provenance("nats", self.version, (raw,), LICENCE, CITATION)

            return packing.commit(paths, of_space, roles(kind.longest, kind.short), provenance)


def _members(path: Path) -> tuple[Member, list[Member]]:
    """The meta file and all architectures, by index.

    Raises: BadFile if it is neither a folder of such files nor an uncompressed .tar of one.
    """
    if path.is_dir():
        found = _in_folder(path)
    elif path.is_file():
        found = _in_tar(path)
    else:
        raise BadFile(f"{path} does not exist.", "Give the -simple folder or the -simple.tar.")
    by_name = dict(found)
    if META_FILE not in by_name:
        raise BadFile(
            f"{path} holds no {META_FILE}.",
            "Give the folder or .tar whose name ends in -simple, as NATS-Bench offers it.",
        )
    members = [member for name, member in sorted(by_name.items()) if ARCH_FILE.fullmatch(name)]
    if not members:
        raise BadFile(f"{path} holds no architecture file (000000.pickle.pbz2 …).")
    return by_name[META_FILE], members


def _in_folder(path: Path) -> Iterator[tuple[str, Member]]:
    for file in sorted(path.iterdir()):
        if file.name == META_FILE or ARCH_FILE.fullmatch(file.name):
            found = file.stat()
            yield file.name, Member(_index(file.name), file, 0, found.st_size, found.st_mtime_ns)


def _in_tar(path: Path) -> Iterator[tuple[str, Member]]:
    """Members are found by their headers and read in place; nothing is unpacked."""
    size, modified_ns = path.stat().st_size, path.stat().st_mtime_ns
    try:
        with tarfile.open(path, "r:") as archive:
            for entry in archive:
                name = Path(entry.name).name
                if not entry.isreg() or not (name == META_FILE or ARCH_FILE.fullmatch(name)):
                    continue
                if entry.offset_data + entry.size > size:
                    raise BadFile(
                        f"{path} ends inside {name}.", "The download was cut short: repeat it."
                    )
                place = entry.offset_data
                yield name, Member(_index(name), path, place, entry.size, modified_ns)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise BadFile(
            f"{path} is not the .tar that NATS-Bench offers ({error}).",
            "Give NATS-tss-…-simple.tar or NATS-sss-…-simple.tar, or the unpacked folder;"
            " the single NATS-…pickle.pbz2 file is not read.",
        ) from error


def _index(name: str) -> int:
    match = ARCH_FILE.fullmatch(name)
    return int(match[1]) if match else -1


def _check_meta(meta: Member, source: str, of_space: ListedSpace) -> list[str]:
    """The official texts by index.

    Raises: BadFile if the list is not the one of this space in the official order.
    """
    with memory_limit(WORKER_MEMORY_BYTES):
        content = unpickle_arch(meta.read(), meta.where)
    texts = content.get("meta_archs")
    if texts == [of_space.format(arch) for arch in of_space]:
        return texts
    n_found = len(texts) if isinstance(texts, list) else 0
    other = [name for name, kind in KINDS.items() if listed_space(kind.space).size == n_found]
    remedy = f"This is {other[0]}." if other and other[0] != source else "Download it again."
    raise BadFile(
        f"{meta.where} lists {n_found} architectures, not the {of_space.size} of {source} in"
        " their official order.",
        remedy,
    )


def _convert_all(
    packing: Packing,
    members: Sequence[Member],
    texts: Sequence[str],
    jobs: int,
    progress: Progress,
) -> list[Path]:
    """Makes the chunks that are missing; returns all of them in the order of the index."""
    from joblib import Parallel, delayed

    chunks = [members[i : i + CHUNK_ARCHS] for i in range(0, len(members), CHUNK_ARCHS)]
    paths = [
        packing.path([Nats.version, *(member.identity for member in chunk)]) for chunk in chunks
    ]
    missing = [(p, chunk) for p, chunk in zip(paths, chunks, strict=True) if not is_finished(p)]
    done = len(members) - sum(len(chunk) for _, chunk in missing)
    progress(done, len(members))
    pool = Parallel(n_jobs=jobs, return_as="generator_unordered")
    tasks = (delayed(_convert)(p, c, [texts[member.index] for member in c]) for p, c in missing)
    for n_converted in pool(tasks):
        done += n_converted
        progress(done, len(members))
    return paths


def _convert(path: Path, members: Sequence[Member], texts: Sequence[str]) -> int:
    """Turns raw files into one finished chunk; runs in a worker process."""
    archs: dict[int, Measured] = {}
    digests = []
    # The cyclic collector would walk every unpickled dict, and nothing here has cycles.
    gc.disable()
    try:
        with memory_limit(WORKER_MEMORY_BYTES):
            for member, text in zip(members, texts, strict=True):
                compressed = member.read()
                archs[member.index] = read_arch(compressed, member.index, text, member.where)
                digests.append(hashlib.sha256(compressed).hexdigest())
    finally:
        gc.enable()
    write_chunk(path, make_chunk(archs, str(members[0].path.parent), digests))
    return len(members)


def read_arch(compressed: bytes, index: int, text: str, where: str) -> Measured:
    """Everything in one architecture's file.

    Raises: BadFile if it is damaged, hostile, or holds another architecture than its name says.
    """
    states = unpickle_arch(compressed, where)
    for state in states.values():
        if not isinstance(state, dict):
            continue  # `measured` says what is wrong with it.
        held = state.get("arch_index"), state.get("arch_str")
        if held != (index, text):
            told = " ".join(str(part)[:100] for part in held if isinstance(part, (int, str)))
            raise BadFile(
                f"{where} holds architecture {told}, not {index} {text}.",
                "Files were swapped or renamed: download them again.",
            )
    return measured(states, where)


def _source(path: Path, digests: Sequence[str], members: Sequence[Member]) -> Source:
    """The digest of a folder or .tar is that of its members' digests in the order of the index."""
    digest = hashlib.sha256("\n".join(digests).encode()).hexdigest()
    return Source(path.name, digest, sum(member.n_bytes for member in members))


def wrap(api: Any, indices: Iterable[int] | None = None) -> Table:
    """A benchmark from a live nats_bench object, with the answers that its files would give.

    api: what nats_bench.create(...) returns. indices: which architectures to take over; None
    takes those that the object holds in memory (all, unless it was created with fast_mode).
    Raises: InvalidSpec if there is nothing to take over.
    """
    source = {"topology": "nats-tss", "size": "nats-sss"}[api.search_space_name]
    kind = KINDS[source]
    chosen = sorted(api.evaluated_indexes if indices is None else indices)
    if not chosen:
        raise InvalidSpec("The object holds no architecture in memory.", "Name some: indices=…")
    archs = {index: measured(live_states(api, index), f"index {index}") for index in chosen}
    return in_memory(source, listed_space(kind.space), archs, roles(kind.longest, kind.short))


ADAPTER = Nats()
