"""State dicts that torch.save wrote, read without torch.

Two formats: the legacy one of torch up to 1.5, pickles with the storages behind them, and the zip
of later versions. A pickle is a program; these are read by an unpickler that is given nothing to
call but functions of this file, and only after a scan has seen that the pickle uses no other
instructions than torch.save's. Format: torch/serialization.py of pytorch/pytorch.
"""

from __future__ import annotations

import copyreg
import io
import math
import pickle
import pickletools
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapters._pickles import told
from harness.errors import BadFile
from harness.unpickle import Answer

REMEDY = "Take the file from the published archive."
# What a legacy file begins with: three pickles, of these numbers and of facts on the machine.
LEGACY_MAGIC, LEGACY_PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
ZIP_START = b"PK\x03\x04"
MAX_INSTRUCTIONS = 500_000  # ours: the GIN of NAS-Bench-301 has 8,000.
MAX_TUPLES = 50_000  # ours: hashing tuples nested 100,000 deep still fits an 8 MiB C stack.
MAX_DIMENSIONS = 8  # ours: weights have at most 5.
_DTYPES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "<i1",
    "ByteStorage": "<u1",
    "BoolStorage": "?",
}
# What torch.save writes at pickle protocols 2 to 5.
_INSTRUCTIONS = frozenset(
    "PROTO FRAME STOP MARK GLOBAL STACK_GLOBAL REDUCE BUILD BINPERSID NONE NEWTRUE NEWFALSE"
    " BININT BININT1 BININT2 LONG1 BINUNICODE SHORT_BINUNICODE EMPTY_DICT SETITEM SETITEMS"
    " EMPTY_LIST APPEND APPENDS EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 BINPUT LONG_BINPUT MEMOIZE"
    " BINGET LONG_BINGET".split()
)
_TUPLES = frozenset({"TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"})


@dataclass(frozen=True, slots=True)
class _Storage:
    key: str
    dtype: str
    n_items: int


@dataclass(frozen=True, slots=True)
class _Tensor:
    storage: _Storage
    start: int
    shape: tuple[int, ...]


class _Dict(dict[Any, Any]):
    """Stands for an OrderedDict; torch hangs the versions of the modules on it."""

    def __setstate__(self, state: object) -> None:
        """Drops them."""


def read(content: bytes, where: str) -> dict[str, NDArray[Any]]:
    """The tensors of a state dict by name, as read-only views of `content` where possible.

    Only contiguous tensors of floating-point numbers, integers and truth values are read. Nothing
    of the file is executed, and no more is allocated than the file is long.
    Raises: BadFile naming `where` if it is anything else.
    """
    try:
        tensors, data = (_zipped if content.startswith(ZIP_START) else _legacy)(content)
        if not isinstance(tensors, dict) or not tensors:
            raise ValueError("no dict of tensors")
        return {_name(name): _array(tensor, data) for name, tensor in tensors.items()}
    except BadFile:
        raise
    except Exception as error:  # A damaged pickle raises whatever its instructions lead to.
        raise BadFile(f"{where} is not a readable state dict ({told(error)}).", REMEDY) from error


# --- The two formats ----------------------------------------------------------------------------


def _legacy(content: bytes) -> tuple[object, Mapping[str, memoryview]]:
    """Magic number, protocol, machine, state dict and storage keys; then every storage."""
    found: list[object] = []
    storages: dict[str, _Storage] = {}
    at = 0
    for _ in range(5):
        end = _end_of_pickle(content, at)
        found.append(_Unpickler(content[at:end], storages).load())
        at = end
        if found[:2] != [LEGACY_MAGIC, LEGACY_PROTOCOL][: len(found)]:
            raise ValueError("neither of torch's formats")
    _, _, machine, tensors, keys = found
    if not isinstance(machine, dict) or machine.get("little_endian") is not True:
        raise ValueError("numbers of another byte order")
    if not isinstance(keys, list) or sorted(map(str, keys)) != sorted(storages):
        raise ValueError("the storages are not those of the tensors")
    data = {}
    for key in keys:
        storage = storages[key]
        n_bytes = storage.n_items * np.dtype(storage.dtype).itemsize
        head, body = content[at : at + 8], memoryview(content)[at + 8 : at + 8 + n_bytes]
        if len(body) != n_bytes or int.from_bytes(head, "little") != storage.n_items:
            raise ValueError(f"storage {key} is cut short")
        data[str(key)] = body
        at += 8 + n_bytes
    if at != len(content):
        raise ValueError(f"{len(content) - at} bytes behind its end")
    return tensors, data


def _zipped(content: bytes) -> tuple[object, Mapping[str, memoryview]]:
    """A zip of uncompressed files: data.pkl and data/KEY in one folder."""
    storages: dict[str, _Storage] = {}
    data = {}
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = {info.filename.partition("/")[2]: info for info in archive.infolist()}
        # Entries may overlap; together they may be no longer than the file.
        left = len(content)

        def stored(name: str) -> bytes:
            nonlocal left
            info = entries.get(name)
            if info is None:
                raise ValueError(f"no {name}")
            left -= info.file_size
            if info.compress_type != zipfile.ZIP_STORED or left < 0:
                raise ValueError(f"{name} is compressed")
            return archive.read(info)

        if "byteorder" in entries and stored("byteorder") != b"little":
            raise ValueError("numbers of another byte order")
        program = stored("data.pkl")
        if _end_of_pickle(program, 0) != len(program):
            raise ValueError("bytes behind the pickle's end")
        tensors = _Unpickler(program, storages).load()
        for key, storage in storages.items():
            body = stored(f"data/{key}")
            if len(body) != storage.n_items * np.dtype(storage.dtype).itemsize:
                raise ValueError(f"storage {key} has another length")
            data[key] = memoryview(body)
    return tensors, data


# --- Pickles ------------------------------------------------------------------------------------


def _end_of_pickle(content: bytes, start: int) -> int:
    """Where the pickle that begins at `start` ends.

    Raises: ValueError if it is cut, or has instructions, places in the memo or nesting that no
        state dict needs: a few bytes of these could ask for gigabytes or overflow the C stack.
    """
    file = io.BytesIO(content)
    file.seek(start)
    n_tuples = 0
    for n, (instruction, argument, _) in enumerate(pickletools.genops(file)):
        name = instruction.name
        n_tuples += name in _TUPLES
        if name not in _INSTRUCTIONS or n > MAX_INSTRUCTIONS or n_tuples > MAX_TUPLES:
            raise ValueError(f"pickle instruction {n}, {name}, is not one of a state dict")
        if name == "LONG_BINPUT" and (argument is None or argument > n):
            raise ValueError("a place in the memo that no state dict needs")
    return file.tell()


class _Unpickler(pickle.Unpickler):
    """Answers the names of state dicts; tensors and storages are told, not made."""

    def __init__(self, content: bytes, storages: dict[str, _Storage]) -> None:
        # A cached extension code would be answered without asking find_class.
        copyreg.clear_extension_cache()
        super().__init__(io.BytesIO(content))
        self._storages = storages

    def find_class(self, module: str, name: str) -> object:
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        if (module, name) not in _ANSWERS:
            raise pickle.UnpicklingError(
                f"it asks for {module}.{name}, which no state dict needs; nothing was executed"
            )
        return _ANSWERS[module, name]

    def persistent_load(self, pid: object) -> _Storage:
        if not isinstance(pid, tuple) or len(pid) not in (5, 6) or pid[0] != "storage":
            raise pickle.UnpicklingError("an object stored outside the pickle")
        _, dtype, key, _, n_items, *view = pid
        if dtype not in _DTYPES.values() or not isinstance(key, str) or view not in ([], [None]):
            raise pickle.UnpicklingError("a storage of unknown form")
        storage = _Storage(key, dtype, _count(n_items))
        if self._storages.setdefault(key, storage) != storage:
            raise pickle.UnpicklingError(f"two storages with the key {key}")
        return storage


def _tensor(
    storage: object, start: object, shape: object, strides: object, *rest: object
) -> _Tensor:
    if not isinstance(storage, _Storage):
        raise pickle.UnpicklingError("a tensor without a storage")
    if not isinstance(shape, tuple) or not isinstance(strides, tuple):
        raise pickle.UnpicklingError("a tensor without a shape")
    sizes = tuple(map(_count, shape))
    if len(sizes) > MAX_DIMENSIONS:
        raise pickle.UnpicklingError(f"a tensor of {len(sizes)} dimensions")
    expected = [math.prod(sizes[axis + 1 :]) for axis in range(len(sizes))]
    # The stride of an axis of length 1 says nothing, and torch writes any.
    matches = [size == 1 or s == e for size, s, e in zip(sizes, strides, expected, strict=True)]
    if not all(matches) and 0 not in sizes:
        raise pickle.UnpicklingError("a tensor that is not contiguous")
    if _count(start) + math.prod(sizes) > storage.n_items:
        raise pickle.UnpicklingError(f"a tensor that is longer than its storage {storage.key}")
    return _Tensor(storage, _count(start), sizes)


_ANSWERS = {
    # Python writes the items of an OrderedDict afterwards, as for a dict.
    ("collections", "OrderedDict"): Answer(lambda: _Dict()),
    ("torch._utils", "_rebuild_tensor_v2"): Answer(_tensor),
}


def _count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise pickle.UnpicklingError(f"{value!r} where a count is expected")
    return value


def _name(name: object) -> str:
    if not isinstance(name, str):
        raise ValueError("an entry without a name")
    return name


def _array(tensor: object, data: Mapping[str, memoryview]) -> NDArray[Any]:
    if not isinstance(tensor, _Tensor):
        raise ValueError("an entry that is no tensor")
    storage = tensor.storage
    dtype = np.dtype(storage.dtype)
    n_items = math.prod(tensor.shape)
    if n_items == 0:
        return np.empty(tensor.shape, dtype)
    flat = np.frombuffer(data[storage.key], dtype, n_items, tensor.start * dtype.itemsize)
    return flat.reshape(tensor.shape)
