"""Restricted pickle reading: equal to the libraries on good files, BadFile and no more on others.

The expected values come from pickle.loads on the published files, and from the objects that
torch.save was given.
"""

from __future__ import annotations

import bz2
import copy
import copyreg
import os
import pickle
import struct
import subprocess
import sys
import tracemalloc
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters import _pickles, _pth
from adapters._pickles import memory_limit, unpickle_arch
from adapters._pth import ArchState, MetaArchs, PthStream
from harness.errors import BadFile

DATA = os.environ.get("NAS_HARNESS_DATA")
needs_data = pytest.mark.skipif(DATA is None, reason="NAS_HARNESS_DATA names no folder of data")
TSS, SSS = "nats/NATS-tss-v1_0-3ffb9-simple", "nats/NATS-sss-v1_0-50262-simple"
PLAIN = {dict, list, tuple, set, str, int, float, bool, type(None)}
FUZZ = settings(
    max_examples=200,
    deadline=timedelta(seconds=10),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


# --- Material -----------------------------------------------------------------------------------


def plain(value: Any) -> Any:
    """The value with numpy scalars as Python numbers and OrderedDict as dict."""
    if isinstance(value, dict):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(plain(item) for item in value)
    return value.item() if isinstance(value, np.generic) else value


def types_in(value: Any) -> set[type]:
    if isinstance(value, dict):
        parts = [*value.keys(), *value.values()]
    else:
        parts = list(value) if isinstance(value, list | tuple | set) else []
    return {type(value)}.union(*(types_in(part) for part in parts))


def real(name: str) -> bytes:
    return (Path(DATA or "") / name).read_bytes()


def made_state(index: int, n_epochs: int, n_runs: int = 2) -> dict[str, Any]:
    """A state of the published shape; every value tells index, run and epoch."""
    runs = {}
    for seed in range(n_runs):
        at = {epoch: index + seed / 8 + epoch / 1024 for epoch in range(n_epochs)}
        keyed = [{f"x-valid@{e}": v + k for e, v in at.items()} for k in range(3)]
        runs["cifar10-valid", seed] = {
            "net_state_dict": None,
            "train_losses": at,
            "train_times": OrderedDict(at),
            "params": np.float64(index + 0.25),
            "latency": [np.float64(0.5), np.float64(seed)],
            "seed": f"{seed:04d}",
            "epochs": n_epochs,
            "eval_acc1es": keyed[0],
            "eval_losses": keyed[1],
            "eval_times": keyed[2],
        }
    return {
        "arch_index": index,
        "arch_str": f"|arch~{index}|",
        "all_results": runs,
        "dataset_seed": {"cifar10-valid": list(range(n_runs))},
        "clear_net_done": True,
    }


def made_content(n_archs: int, n_epochs: int = 3, n_runs: int = 2) -> dict[str, Any]:
    return {
        "meta_archs": [f"|arch~{index}|" for index in range(n_archs)],
        "arch2infos": {
            index: {
                "full": made_state(index, n_epochs, n_runs),
                "less": made_state(index, 2, n_runs),
            }
            for index in range(n_archs)
        },
        "evaluated_indexes": list(range(n_archs)),
    }


def expected_events(content: dict[str, Any]) -> list[MetaArchs | ArchState]:
    states: list[MetaArchs | ArchState] = [
        ArchState(index, kind, plain(state))
        for index, kinds in content["arch2infos"].items()
        for kind, state in kinds.items()
    ]
    return [MetaArchs(tuple(content["meta_archs"])), *states]


def save(path: Path, content: Any, is_zip: bool, protocol: int = 2) -> Path:
    torch = pytest.importorskip("torch")
    torch.save(content, path, _use_new_zipfile_serialization=is_zip, pickle_protocol=protocol)
    return path


def legacy_file(path: Path, *pickles: bytes) -> Path:
    """A file of torch's first format around pickles made by hand."""
    values: tuple[object, ...] = (0x1950A86A20F9469CFC6C, 1001, {})
    head = [pickle.dumps(value, 2) for value in values]
    path.write_bytes(b"".join([*head, *pickles]))
    return path


def zip_file(path: Path, raw: bytes, compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", raw)
    return path


@pytest.fixture
def little_memory() -> Iterator[None]:
    """256 MiB more than now, for this test: some pickles of five bytes ask for gigabytes."""
    with memory_limit(256 * 2**20):
        yield


# --- NATS-Bench files ---------------------------------------------------------------------------


@needs_data
@pytest.mark.parametrize("folder", [TSS, SSS])
@pytest.mark.parametrize("stem", ["000000", "000011", "000284", "meta"])
def test_a_published_file_reads_as_pickle_reads_it(folder: str, stem: str) -> None:
    compressed = real(f"{folder}/{stem}.pickle.pbz2")
    expected = plain(pickle.loads(bz2.decompress(compressed)))

    actual = unpickle_arch(compressed, stem)

    assert expected == actual
    assert types_in(actual) <= PLAIN


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize(
    "number",
    [
        np.float32(0.1),
        np.float64(0.1),
        np.bool_(True),
        np.int8(-3),
        np.int64(-(2**60)),
        np.uint8(255),
        np.uint64(2**64 - 1),
    ],
    ids=lambda number: number.dtype.str,
)
def test_numpy_numbers_become_the_same_python_numbers(number: np.generic, protocol: int) -> None:
    expected = {"x": number.item()}

    actual = unpickle_arch(bz2.compress(pickle.dumps({"x": number}, protocol)), "f")

    assert expected == actual
    assert types_in(expected) == types_in(actual)


def test_the_byte_order_of_a_number_is_obeyed() -> None:
    raw = pickle.dumps({"x": np.float64(1.5)}, 4)
    swapped = raw.replace(b"\x8c\x01<", b"\x8c\x01>")
    expected = struct.unpack(">d", struct.pack("<d", 1.5))[0]

    actual = unpickle_arch(bz2.compress(swapped), "f")

    assert raw != swapped
    assert expected == actual["x"]


@pytest.mark.parametrize(
    ("value", "word"),
    [
        (np.complex128(1), "c16"),
        (np.zeros(3), "_reconstruct"),
        (np.datetime64(1, "s"), "M8"),
        (Path("x"), "pathlib"),
    ],
)
def test_what_is_no_plain_number_is_refused_by_name(value: object, word: str) -> None:
    with pytest.raises(BadFile, match=word):
        unpickle_arch(bz2.compress(pickle.dumps({"x": value}, 4)), "f")


GOOD_RAW = pickle.dumps({"12": made_state(7, 2, 1), "indexes": {1, 2}}, 4)
GOOD_BZ2 = bz2.compress(GOOD_RAW)
FLIPPED_BZ2 = bytes([*GOOD_BZ2[:200], GOOD_BZ2[200] ^ 8, *GOOD_BZ2[201:]])


@pytest.mark.parametrize(
    "compressed",
    [
        b"",
        b"<html>not found</html>",
        GOOD_BZ2[:-1],
        GOOD_BZ2[:20],
        FLIPPED_BZ2,
        GOOD_BZ2 + b"\0",
        GOOD_BZ2 + GOOD_BZ2,
        bz2.compress(b""),
        bz2.compress(GOOD_RAW[:-1]),
        bz2.compress(GOOD_RAW + b"N"),
    ],
)
def test_a_damaged_download_is_named_and_to_be_downloaded_again(compressed: bytes) -> None:
    with pytest.raises(BadFile, match=r"^000011\.pickle\.pbz2 .*Download it again\.$"):
        unpickle_arch(compressed, "000011.pickle.pbz2")


@pytest.mark.parametrize("content", [None, 1, "text", [1], {1: 2}])
def test_a_pickle_of_another_thing_is_no_benchmark_file(content: object) -> None:
    with pytest.raises(BadFile, match="no dict of named entries"):
        unpickle_arch(bz2.compress(pickle.dumps(content, 4)), "f")


def test_a_bomb_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    compressed = bz2.compress(bytes(10_000_000))
    monkeypatch.setattr(_pickles, "MAX_RAW_BYTES", 100_000)
    tracemalloc.start()

    with pytest.raises(BadFile, match="more than 100000 bytes"):
        unpickle_arch(compressed, "f")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 1_000_000


@pytest.mark.parametrize("code", [b"\x85", b"\x85\x94", b"N\x86", b"NN\x87"])
def test_tuples_nested_too_deep_to_be_hashed_do_not_end_the_process(code: bytes) -> None:
    raw = b"\x80\x04}" + b")" + code * 400_000 + b"Ns."

    with pytest.raises(BadFile, match="nests more tuples"):
        unpickle_arch(bz2.compress(raw), "f")


def test_a_huge_memo_index_is_a_bad_file_in_a_process_of_limited_memory() -> None:
    raw = b"\x80\x04}r" + struct.pack("<I", 2**31) + b"."
    code = (
        "import resource\n"
        "from adapters._pickles import memory_limit, unpickle_arch\n"
        "from harness.errors import BadFile\n"
        "before = resource.getrlimit(resource.RLIMIT_AS)\n"
        "with memory_limit(256 * 2**20):\n"
        f"    try: unpickle_arch({bz2.compress(raw)!r}, 'f')\n"
        "    except BadFile as error: print(error)\n"
        "print(before == resource.getrlimit(resource.RLIMIT_AS))\n"
    )
    expected = "f is not a readable pickle (MemoryError: ). Download it again.\nTrue\n"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)

    assert (expected, 0) == (done.stdout, done.returncode)


# --- NAS-Bench-201 files ------------------------------------------------------------------------


@needs_data
@pytest.mark.parametrize("is_zip", [True, False])
def test_published_results_stream_as_they_were_saved(tmp_path: Path, is_zip: bool) -> None:
    def load(stem: str) -> Any:
        return pickle.loads(bz2.decompress(real(f"{TSS}/{stem}.pickle.pbz2")))

    archs = {index: load(f"{index:06d}") for index in (0, 11, 284)}
    content = {
        "meta_archs": load("meta")["meta_archs"],
        "arch2infos": {i: {"full": a["200"], "less": a["12"]} for i, a in archs.items()},
        "evaluated_indexes": list(archs),
    }
    expected = expected_events(content)

    actual = list(PthStream(save(tmp_path / "a.pth", content, is_zip)))

    assert expected == actual
    assert all(types_in(event.state) <= PLAIN for event in actual if isinstance(event, ArchState))


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("is_zip", [True, False])
def test_every_format_and_protocol_streams_alike(
    tmp_path: Path, is_zip: bool, protocol: int
) -> None:
    content = made_content(n_archs=4, n_epochs=40) | {"evaluated_indexes": {0, 1, 2, 3}}
    expected = expected_events(content)

    actual = list(PthStream(save(tmp_path / "a.pth", content, is_zip, protocol)))

    assert expected == actual


@pytest.mark.parametrize("n_archs", [1, 1001])  # A dict of one, and of more than one batch.
def test_any_number_of_architectures_streams(tmp_path: Path, n_archs: int) -> None:
    content = made_content(n_archs, n_epochs=1, n_runs=1)
    expected = expected_events(content)

    actual = list(PthStream(save(tmp_path / "a.pth", content, is_zip=True)))

    assert expected == actual


def test_the_order_of_the_entries_does_not_matter(tmp_path: Path) -> None:
    content = dict(reversed(made_content(n_archs=12).items()))
    # The names come last in the file, as references to texts read long before.
    content["meta_archs"] = [s["full"]["arch_str"] for s in content["arch2infos"].values()]
    names, *states = expected_events(content)

    actual = list(PthStream(save(tmp_path / "a.pth", content, is_zip=False)))

    assert [*states, names] == actual


def test_an_architecture_without_one_schedule_streams(tmp_path: Path) -> None:
    content = made_content(n_archs=2)
    del content["arch2infos"][1]["less"]
    expected = expected_events(content)

    actual = list(PthStream(save(tmp_path / "a.pth", content, is_zip=True)))

    assert expected == actual


def test_keys_shared_by_all_architectures_are_found(tmp_path: Path) -> None:
    first = made_state(0, n_epochs=20)
    content = made_content(n_archs=30)
    for index, kinds in content["arch2infos"].items():
        # deepcopy keeps the very texts, so the file holds references to those of the first.
        kinds["full"] = copy.deepcopy(first) | {"arch_index": index}
    expected = expected_events(content)

    actual = list(PthStream(save(tmp_path / "a.pth", content, is_zip=True)))

    assert expected == actual


def test_an_object_shared_by_both_schedules_is_found(tmp_path: Path) -> None:
    content = made_content(n_archs=3)
    for kinds in content["arch2infos"].values():
        kinds["less"]["dataset_seed"] = kinds["full"]["dataset_seed"]
    expected = expected_events(content)

    actual = list(PthStream(save(tmp_path / "a.pth", content, is_zip=True)))

    assert expected == actual


def test_an_object_shared_from_far_back_is_an_error_not_a_guess(tmp_path: Path) -> None:
    content = made_content(n_archs=6)
    infos = content["arch2infos"]
    infos[5]["full"]["dataset_seed"] = infos[0]["full"]["dataset_seed"]

    with pytest.raises(BadFile, match="refers to object"):
        list(PthStream(save(tmp_path / "a.pth", content, is_zip=True)))


def test_one_architecture_is_in_memory_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The window onto the file is as large for 15,625 architectures, but not small beside 60.
    monkeypatch.setattr(_pth, "CHUNK_BYTES", 2**16)
    content = made_content(n_archs=60, n_epochs=200, n_runs=4)
    path = save(tmp_path / "a.pth", content, is_zip=True)
    del content

    whole, n_whole = traced(lambda: len(list(PthStream(path))))
    streamed, n_streamed = traced(lambda: sum(1 for _ in PthStream(path)))

    assert (121, 121) == (n_whole, n_streamed)
    assert streamed < whole / 8


def traced(run: Callable[[], int]) -> tuple[int, int]:
    """(peak of the allocated bytes, result) of a function."""
    tracemalloc.start()
    try:
        result = run()
        return tracemalloc.get_traced_memory()[1], result
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("is_zip", [True, False])
def test_progress_rises_to_the_total(tmp_path: Path, is_zip: bool) -> None:
    path = save(tmp_path / "a.pth", made_content(n_archs=3), is_zip)
    seen: list[tuple[int, int]] = []

    list(PthStream(path, lambda done, total: seen.append((done, total))))
    done, totals = zip(*seen, strict=True)

    assert 7 == len(seen)  # the names, and three architectures under two schedules
    assert sorted(done) == list(done)
    assert 0 < done[0] < done[-1] <= totals[-1] <= path.stat().st_size
    assert 1 == len(set(totals))


def test_an_abandoned_stream_closes_its_file(tmp_path: Path) -> None:
    path = save(tmp_path / "a.pth", made_content(n_archs=3), is_zip=True)
    stream = iter(PthStream(path))
    next(stream)

    stream.close()  # type: ignore[attr-defined]

    path.unlink()
    assert [] == list(stream)


@pytest.mark.parametrize("is_zip", [True, False])
@pytest.mark.parametrize("protocol", [2, 4])
def test_a_stream_goes_on_from_any_place(tmp_path: Path, is_zip: bool, protocol: int) -> None:
    path = save(tmp_path / "a.pth", made_content(n_archs=4), is_zip, protocol)
    whole = PthStream(path)
    events, places = zip(*((event, whole.place()) for event in whole), strict=True)

    for n_read in range(2, 10):  # The names, and then two states an architecture.
        assert list(events[n_read:]) == list(PthStream(path, at=places[n_read - 1]))


def test_a_place_gives_nothing_to_call(tmp_path: Path) -> None:
    path = save(tmp_path / "a.pth", made_content(n_archs=2), is_zip=True)

    with pytest.raises(pickle.UnpicklingError, match=r"system in a place"):
        list(PthStream(path, at=pickle.dumps(os.system)))


def without(key: str) -> dict[str, Any]:
    return {k: v for k, v in made_content(2).items() if k != key}


WRONG_CONTENT: dict[str, tuple[Callable[[], Any], str]] = {
    "no names": (lambda: without("meta_archs"), "without meta_archs"),
    "no results": (lambda: without("arch2infos"), "without arch2infos"),
    "no indexes": (lambda: without("evaluated_indexes"), "without evaluated_indexes"),
    "one architecture": (lambda: made_content(1)["arch2infos"][0], "a single architecture"),
    "one state": (lambda: made_state(0, 2), "a single architecture"),
    "empty": (lambda: made_content(0), "arch2infos names"),
    "a list": (lambda: [1, 2], "without meta_archs"),
    "names are numbers": (lambda: made_content(2) | {"meta_archs": [1]}, "no list of texts"),
    "indexes are text": (lambda: made_content(2) | {"evaluated_indexes": "x"}, "is no list"),
    "no such schedule": (
        lambda: made_content(2) | {"arch2infos": {0: {"200": made_state(0, 2)}}},
        "under '200'",
    ),
    "misplaced": (
        lambda: made_content(2) | {"arch2infos": {0: {"full": made_state(1, 2)}}},
        "other architectures",
    ),
    "twice": (
        lambda: made_content(2) | {"arch2infos": {i: {"full": made_state(1, 2)} for i in (0, 1)}},
        "twice",
    ),
    "index is text": (
        lambda: (
            made_content(2) | {"arch2infos": {0: {"full": made_state(0, 2) | {"arch_index": "0"}}}}
        ),
        "architecture '0'",
    ),
    "results are None": (
        lambda: (
            made_content(2)
            | {"arch2infos": {0: {"full": made_state(0, 2) | {"all_results": None}}}}
        ),
        "no results",
    ),
}


@pytest.mark.parametrize("is_zip", [True, False])
@pytest.mark.parametrize("name", WRONG_CONTENT)
def test_another_content_is_named_with_file_and_byte(
    tmp_path: Path, name: str, is_zip: bool
) -> None:
    make, word = WRONG_CONTENT[name]
    path = save(tmp_path / "a.pth", make(), is_zip)

    with pytest.raises(BadFile, match=rf"a\.pth.*, byte \d+.*{word}"):
        list(PthStream(path))


@pytest.mark.parametrize("is_zip", [True, False])
def test_tensors_are_refused_with_a_remedy(tmp_path: Path, is_zip: bool) -> None:
    torch = pytest.importorskip("torch")
    path = save(tmp_path / "a.pth", made_content(1) | {"weights": torch.ones(2)}, is_zip)

    with pytest.raises(BadFile, match="tensor"):
        list(PthStream(path))


GOOD_PTH = pickle.dumps(made_content(2), 2)
NO_KEYS = pickle.dumps([], 2)

WRONG_FILES: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("<html>not found</html>"),
    "NATS": lambda path: path.write_bytes(GOOD_BZ2),
    "pickle": lambda path: path.write_bytes(GOOD_PTH),
    "no PROTO": lambda path: legacy_file(path, GOOD_PTH[2:], NO_KEYS),
    "storage keys": lambda path: legacy_file(path, GOOD_PTH, pickle.dumps(["0"], 2)),
    "no storage keys": lambda path: legacy_file(path, GOOD_PTH),
    "goes on": lambda path: legacy_file(path, GOOD_PTH, NO_KEYS, b"\0"),
    "zip goes on": lambda path: zip_file(path, GOOD_PTH + b"\0"),
    "zip compressed": lambda path: zip_file(path, GOOD_PTH, zipfile.ZIP_DEFLATED),
    "zip cut": lambda path: path.write_bytes(zip_file(path, GOOD_PTH).read_bytes()[:-30]),
    "zip of a cut pickle": lambda path: zip_file(path, GOOD_PTH[:500]),
    "zip damaged": lambda path: path.write_bytes(
        zip_file(path, GOOD_PTH).read_bytes().replace(b"x-valid@1", b"x-valid@7")
    ),
    "zip of others": lambda path: zipfile.ZipFile(path, "w").writestr("readme", "x"),
    "folder": lambda path: path.mkdir(),
    "missing": lambda path: path,
    "text too long": lambda path: legacy_file(path, b"\x80\x02X\xff\xff\xff\xff"),
    "tuple in tuple": lambda path: legacy_file(path, b"\x80\x02})" + b"\x85" * 400_000 + b"Ns."),
    "memo index": lambda path: legacy_file(path, b"\x80\x02}r\xff\xff\xff\xff."),
    "unknown reference": lambda path: legacy_file(path, b"\x80\x02h\x07."),
    "BINPUT and MEMOIZE": lambda path: legacy_file(path, b"\x80\x04}q\x07."),
}


@pytest.mark.parametrize("name", WRONG_FILES)
def test_another_file_is_named_with_a_remedy(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.pth"
    WRONG_FILES[name](path)

    with pytest.raises(BadFile, match=r"a\.pth") as caught:
        list(PthStream(path))

    assert "" != caught.value.remedy


def test_a_file_cut_anywhere_is_a_bad_file(tmp_path: Path) -> None:
    whole = legacy_file(tmp_path / "a.pth", GOOD_PTH, NO_KEYS).read_bytes()
    path = tmp_path / "b.pth"

    for n_bytes in range(0, len(whole), 5):
        path.write_bytes(whole[:n_bytes])
        with pytest.raises(BadFile, match=r"b\.pth, byte \d+"):
            list(PthStream(path))


def test_a_file_without_results_is_not_read_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_pth, "MAX_GAP_BYTES", 3 * 2**20)
    path = legacy_file(tmp_path / "a.pth", b"\x80\x02](" + b"N" * 2**24)

    with pytest.raises(BadFile, match=r"byte [34]\d{6}: no results in the last"):
        list(PthStream(path))


# --- Files made to do harm ----------------------------------------------------------------------


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def mkdir_calls(marker: str) -> dict[str, bytes]:
    """Pickles that make a folder when pickle.loads reads them."""
    path, mkdir = text(marker), b"cos\nmkdir\n"
    evaluated = text(f"__import__('os').mkdir({marker!r})")
    return {
        "GLOBAL": mkdir + path + b"\x85R.",
        "STACK_GLOBAL": text("os") + text("mkdir") + b"\x93" + path + b"\x85R.",
        "INST": b"(" + path + b"ios\nmkdir\n.",
        "OBJ": b"(" + mkdir + path + b"o.",
        "EXT1": b"\x82\xf0" + path + b"\x85R.",
        "EXT2": b"\x83\xf0\x00" + path + b"\x85R.",
        "EXT4": b"\x84\xf0\x00\x00\x00" + path + b"\x85R.",
        "eval": b"cbuiltins\neval\n" + evaluated + b"\x85R.",
        "getattr": b"cbuiltins\ngetattr\ncbuiltins\n__import__\n"
        + text("os")
        + b"\x85R"
        + text("mkdir")
        + b"\x86R"
        + path
        + b"\x85R.",
        "dotted": text("pathlib") + text("os.mkdir") + b"\x93" + path + b"\x85R.",
        "NEWOBJ": b"cbuiltins\nlist\n" + b"cbuiltins\nmap\n" + mkdir + path + b"\x85\x86\x81\x85R.",
        "NEWOBJ_EX": b"cbuiltins\nlist\n"
        + b"cbuiltins\nmap\n"
        + mkdir
        + path
        + b"\x85\x86}\x92\x85R.",
        "BUILD": b"ctypes\nSimpleNamespace\n)R}"
        + text("__setstate__")
        + mkdir
        + b"sb"
        + path
        + b"b.",
    }


HARM = sorted(mkdir_calls(""))


@pytest.fixture
def cached_extension() -> Iterator[None]:
    copyreg.add_extension("os", "mkdir", 240)
    yield
    copyreg.remove_extension("os", "mkdir", 240)
    copyreg.clear_extension_cache()


@pytest.mark.usefixtures("cached_extension")
@pytest.mark.parametrize("name", HARM)
def test_nothing_is_executed(tmp_path: Path, name: str) -> None:
    marker = tmp_path / "marker"
    raw = b"\x80\x04" + mkdir_calls(str(marker))[name]
    pickle.loads(raw)
    assert marker.exists()  # The attack works; only then does the rest say something.
    marker.rmdir()

    with pytest.raises(BadFile):
        unpickle_arch(bz2.compress(raw), "f")
    with pytest.raises(BadFile):
        list(PthStream(legacy_file(tmp_path / "legacy.pth", raw)))
    with pytest.raises(BadFile):
        list(PthStream(zip_file(tmp_path / "zip.pth", raw)))
    (tmp_path / "head.pth").write_bytes(raw)
    with pytest.raises(BadFile):
        list(PthStream(tmp_path / "head.pth"))

    assert not marker.exists()


def test_the_refusal_names_file_and_global() -> None:
    with pytest.raises(BadFile, match=r"^000011 asks for os\.mkdir.*Nothing was executed"):
        unpickle_arch(bz2.compress(b"\x80\x04cos\nmkdir\n."), "000011")


SCALAR, DTYPE = b"cnumpy.core.multiarray\nscalar\n", b"cnumpy\ndtype\n"
ORDERED = b"ccollections\nOrderedDict\n"
CHANGES = {
    "function state": SCALAR + b"}" + text("_make") + ORDERED + b"sb.",
    "function slots": SCALAR + b"N}" + text("_make") + ORDERED + b"s\x86b.",
    "function class": SCALAR + b"N}" + text("__class__") + ORDERED + b"s\x86b.",
    "dict class": ORDERED + b")RN}" + text("__class__") + DTYPE + b"s\x86b.",
    "dtype as class": DTYPE + b")\x81.",
    "dtype as class with names": DTYPE + b")}\x92.",
    "dtype state": DTYPE + text("f8") + b"\x85R}" + text("code") + text("O8") + b"sb.",
    "scalar of a function": SCALAR + ORDERED + b"C\x08\0\0\0\0\0\0\0\0\x86R.",
    "scalar of an object": SCALAR + DTYPE + text("O8") + b"\x85RC\x08\0\0\0\0\0\0\0\0\x86R.",
    "private name": b"cadapters._pickles\n_dict\n.",
    "attribute of a function": text("numpy.core.multiarray") + text("scalar._make") + b"\x93.",
    "names that are no text": b"K\x01K\x02\x93.",
    "unhashable names": b"]]\x93.",
    "bytes without end": b"c_codecs\nencode\n" + text("x" * 1000) + text("latin1") + b"\x86R.",
    "other encoding": b"c_codecs\nencode\n" + text("x") + text("rot13") + b"\x86R.",
    "persistent id": b"}" + text("storage") + b"Qs.",
    "set of a set": b"cbuiltins\nset\n\x8f\x85R.",
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_the_permitted_names_cannot_be_misused(tmp_path: Path, name: str) -> None:
    raw = b"\x80\x04" + CHANGES[name]

    with pytest.raises(BadFile):
        unpickle_arch(bz2.compress(raw), "f")
    with pytest.raises(BadFile):
        list(PthStream(legacy_file(tmp_path / "a.pth", raw)))

    assert plain(pickle.loads(GOOD_RAW)) == unpickle_arch(GOOD_BZ2, "f")


# --- Fuzz: a result or BadFile, whatever the bytes ------------------------------------------------

changes = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=6)
cuts = st.one_of(st.none(), st.floats(0, 1))


def changed(raw: bytes, at: list[tuple[float, int]], cut: float | None) -> bytes:
    damaged = bytearray(raw)
    for share, byte in at:
        damaged[int(share * (len(raw) - 1))] = byte
    return bytes(damaged) if cut is None else bytes(damaged[: int(cut * len(raw))])


def read_or_refuse(read: Callable[[], object]) -> None:
    try:
        read()
    except BadFile as error:
        assert "" != error.remedy


@pytest.mark.usefixtures("little_memory")
@FUZZ
@given(changes, cuts)
def test_any_pickle_is_read_or_refused(at: list[tuple[float, int]], cut: float | None) -> None:
    compressed = bz2.compress(changed(GOOD_RAW, at, cut))

    read_or_refuse(lambda: unpickle_arch(compressed, "f"))


@pytest.mark.usefixtures("little_memory")
@FUZZ
@given(st.binary(max_size=60))
def test_any_bytes_as_a_pickle_are_read_or_refused(raw: bytes) -> None:
    read_or_refuse(lambda: unpickle_arch(bz2.compress(raw), "f"))


@FUZZ
@given(changes, cuts)
def test_any_change_of_compressed_bytes_is_refused(
    at: list[tuple[float, int]], cut: float | None
) -> None:
    damaged = changed(GOOD_BZ2, at, cut)

    if damaged == GOOD_BZ2:
        unpickle_arch(damaged, "f")
    else:
        read_or_refuse(lambda: unpickle_arch(damaged, "f"))


@pytest.fixture(scope="module")
def fuzz_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("is_zip", [True, False])
@FUZZ
@given(changes, cuts)
def test_any_pth_is_read_or_refused(
    fuzz_folder: Path,
    is_zip: bool,
    protocol: int,
    at: list[tuple[float, int]],
    cut: float | None,
) -> None:
    path = fuzz_folder / "a.pth"
    raw = pickle.dumps(made_content(2, n_epochs=1, n_runs=1), protocol)
    make = zip_file if is_zip else legacy_file
    whole = make(path, raw).read_bytes() + (b"" if is_zip else NO_KEYS)
    path.write_bytes(changed(whole, at, cut))

    read_or_refuse(lambda: list(PthStream(path)))


@FUZZ
@given(changes, st.binary(max_size=40))
def test_any_pickle_in_a_pth_is_read_or_refused(
    fuzz_folder: Path, at: list[tuple[float, int]], more: bytes
) -> None:
    # Without the checksum of a zip file, and with instructions that torch.save would not write.
    raw = changed(GOOD_PTH[:-1], at, None) + more + b"."
    path = legacy_file(fuzz_folder / "b.pth", raw, NO_KEYS)

    read_or_refuse(lambda: list(PthStream(path)))
