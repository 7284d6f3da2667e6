"""Pickled batches: read as pickle reads them, and nothing of a hostile one is executed."""

from __future__ import annotations

import os
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import BadFile
from harness.unpickle import MAX_TUPLES, named_arrays

ROWS = np.arange(24, dtype=np.uint8).reshape(4, 6)
CONTENT = {"data": ROWS, "labels": [3, 0, 255, 70_000], "batch_label": "a", "none": None}


class Hostile:
    """Unpickled without care, it runs a command."""

    def __init__(self, call: Any, *args: Any) -> None:
        self.call = call, args

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("protocol", range(6))
def test_every_protocol_reads_alike(protocol: int) -> None:
    found = named_arrays(pickle.dumps(CONTENT, protocol), "f")

    assert list(CONTENT) == list(found)
    assert found["data"].dtype == np.uint8
    assert np.array_equal(ROWS, found["data"])
    assert CONTENT["labels"] == found["labels"]
    assert (CONTENT["batch_label"], None) == (found["batch_label"], found["none"])


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("code", ["u1", "<i2", ">i4", "<f8", ">f4", "b1"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_every_number_type_byte_order_and_layout(protocol: int, code: str, order: str) -> None:
    expected = np.asarray(ROWS.astype(code), order=order)

    found = named_arrays(pickle.dumps({"a": expected}, protocol), "f")["a"]

    assert expected.dtype == found.dtype
    assert np.array_equal(expected, found)


def test_nothing_of_a_hostile_pickle_is_executed(tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    for protocol in range(6):
        for call in (
            Hostile(os.system, f"touch {mark}"),
            Hostile(eval, f"open({str(mark)!r}, 'w')"),
            Hostile(np.load, str(mark)),
        ):
            with pytest.raises(BadFile, match="nothing was executed"):
                named_arrays(pickle.dumps({"data": call}, protocol), "f")

    assert not mark.exists()


def test_the_names_of_numpy_cannot_be_changed_or_used_as_values() -> None:
    name = b"cnumpy\nndarray\n"
    for raw in (
        b"\x80\x02}(X\x01\x00\x00\x00a" + name + b"}(X\x04\x00\x00\x00dataK\x01ubu.",  # BUILD
        b"\x80\x02}(X\x01\x00\x00\x00a" + name + b"u.",  # The class itself.
        b"\x80\x02}(X\x01\x00\x00\x00a" + name + b")Ru.",  # ndarray()
    ):
        with pytest.raises(BadFile, match="is not a readable batch"):
            named_arrays(raw, "f")


@pytest.mark.parametrize(
    "array",
    [np.array([{}]), np.array(["text"]), np.zeros(2, "M8[s]"), np.zeros(2, "c16"), np.float64(1)],
    ids=["objects", "text", "dates", "complex", "scalar"],
)
def test_arrays_of_anything_but_numbers_are_refused(array: Any) -> None:
    with pytest.raises(BadFile):
        named_arrays(pickle.dumps({"a": array}, 4), "f")


@pytest.mark.parametrize(
    "value", [1.5, {1}, 1j, Path("x")], ids=["float", "set", "complex", "path"]
)
def test_what_no_batch_holds_is_refused(value: Any) -> None:
    with pytest.raises(BadFile):
        named_arrays(pickle.dumps({"a": value}, 4), "f")


def test_a_shape_that_does_not_fit_the_bytes_is_refused() -> None:
    raw = pickle.dumps({"a": ROWS}, 2)
    wrong = raw.replace(b"K\x04K\x06\x86", b"K\x04K\x07\x86")

    assert raw != wrong
    with pytest.raises(BadFile, match=r"24 bytes for an array of shape \(4, 7\)"):
        named_arrays(wrong, "f")


@pytest.mark.parametrize("protocol", range(6))
def test_cut_at_any_byte_it_is_a_bad_file(protocol: int) -> None:
    raw = pickle.dumps(CONTENT, protocol)

    for n_bytes in range(len(raw)):
        with pytest.raises(BadFile, match=r"^f is not a readable batch"):
            named_arrays(raw[:n_bytes], "f")


def test_bytes_behind_the_end_are_refused() -> None:
    with pytest.raises(BadFile, match="goes on behind its end"):
        named_arrays(pickle.dumps(CONTENT, 2) + b"N.", "f")


@pytest.mark.parametrize(
    "raw",
    [
        b"\x80\x04}r" + struct.pack("<I", 2**31) + b".",
        b"}p2147483647\n.",
        b"\x80\x04}(" + b")" + b"\x85" * (MAX_TUPLES + 1) + b"Nu.",
        b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b".",
        b"\x80\x02\x82\x01.",
        b"\x80\x02cos\nsystem\n.",
    ],
    ids=["memo", "text memo", "tuples", "length", "extension", "not a dict"],
)
def test_few_bytes_that_ask_for_much_are_refused(raw: bytes) -> None:
    with pytest.raises(BadFile):
        named_arrays(raw, "f")


@pytest.mark.parametrize("content", [[1], None, {1: 2}, {("a",): 1}])
def test_what_is_no_dict_of_named_entries_is_refused(content: Any) -> None:
    with pytest.raises(BadFile, match="is not a readable batch"):
        named_arrays(pickle.dumps(content, 2), "f")


@settings(max_examples=300, deadline=None)
@given(
    protocol=st.integers(0, 5),
    changes=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=4),
)
def test_any_changed_bytes_give_plain_entries_or_a_bad_file(
    protocol: int, changes: list[tuple[int, int]]
) -> None:
    raw = bytearray(pickle.dumps(CONTENT, protocol))
    for at, value in changes:
        raw[at % len(raw)] = value

    try:
        found = named_arrays(bytes(raw), "f")
    except BadFile:
        return

    assert all(isinstance(key, str) for key in found)
