"""Restricted readers of the pickles that NATS-Bench and NAS-Bench-201 are published as.

A pickle is a program. Both readers here run it without giving it anything to call: the names it
asks for are looked up in one short list and answered by functions of this file, which make dicts,
sets, bytes and numbers. Whatever else a file asks for is refused, and nothing of it is executed.
Neither numpy nor torch is imported.
"""

from __future__ import annotations

import bz2
import copyreg
import io
import pickle
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

from harness.errors import BadFile
from harness.unpickle import Answer

MAX_RAW_BYTES = 64 * 2**20  # ours: the largest real file, tss meta, holds 1.4 MB.
MAX_TUPLES = (
    20_000  # ours: hashing tuples 100,000 deep still fits an 8 MiB C stack; real files have 3,000.
)


DOWNLOAD = "Download it again."
_TUPLE_CODES = pickle.MARK + pickle.TUPLE1 + pickle.TUPLE2 + pickle.TUPLE3
_NO_TUPLE_CODES = bytes(set(range(256)) - set(_TUPLE_CODES))
_NO_TENSORS = "Take the file without network weights."
_SCALAR_FORMATS = {
    "f4": "f",
    "f8": "d",
    "i1": "b",
    "i2": "h",
    "i4": "i",
    "i8": "q",
    "u1": "B",
    "u2": "H",
    "u4": "I",
    "u8": "Q",
    "b1": "?",
}


# --- What a pickle may ask for ------------------------------------------------------------------


class Dtype:
    """Stands for a numpy.dtype: a type code and a byte order, nothing more."""

    __slots__ = ("code", "order")

    def __init__(self, code: str) -> None:
        self.code = code
        self.order = "<"

    def __setstate__(self, state: object) -> None:
        order = state[1] if isinstance(state, tuple) and len(state) > 1 else None
        if order not in ("<", ">", "|"):
            raise pickle.UnpicklingError("a number type of unknown byte order")
        self.order = "<" if order == "|" else order


def _dtype(code: object, align: object = False, copy: object = True) -> Dtype:
    if not isinstance(code, str) or code not in _SCALAR_FORMATS:
        raise pickle.UnpicklingError(f"a number of type {code!r}")
    return Dtype(code)


def _scalar(dtype: object, data: object) -> object:
    if not isinstance(dtype, Dtype) or not isinstance(data, bytes):
        raise pickle.UnpicklingError("a numpy scalar that is not a plain number")
    return struct.unpack(dtype.order + _SCALAR_FORMATS[dtype.code], data)[0]


def _latin1(text: object, encoding: object) -> bytes:
    # Protocol 2 has no bytes and writes a number's as a call of _codecs.encode.
    if not isinstance(text, str) or len(text) > 8 or encoding != "latin1":
        raise pickle.UnpicklingError("bytes that are not those of a number")
    return text.encode("latin1")


def _dict() -> dict[Any, Any]:
    # OrderedDict without arguments: Python 3 writes the items afterwards, as for a dict.
    return {}


def _set(items: object) -> set[Any]:
    # Protocol 2 writes a set as a call on a list made for it. The list is emptied, lest a few
    # bytes copy a long list over and over.
    if not isinstance(items, list):
        raise pickle.UnpicklingError("a set of what is no list")
    made = set(items)
    items.clear()
    return made


_ANSWERS = {
    ("collections", "OrderedDict"): Answer(_dict),
    ("numpy", "dtype"): Answer(_dtype),
    ("numpy.core.multiarray", "scalar"): Answer(_scalar),
    ("numpy._core.multiarray", "scalar"): Answer(_scalar),
    ("builtins", "set"): Answer(_set),
    ("__builtin__", "set"): Answer(_set),
    ("_codecs", "encode"): Answer(_latin1),
}


def answer(module: str, name: str, where: str) -> Answer:
    answer = _ANSWERS.get((module, name))
    if answer is None:
        raise BadFile(
            f"{where} asks for {module}.{name}, which no benchmark file needs. "
            "Nothing was executed.",
            "Do not open this file with pickle or torch; download the published one.",
        )
    return answer


def name_of(held: Answer) -> tuple[str, str]:
    """A module and name that `answer` gives this answer for."""
    return next(name for name, answer in _ANSWERS.items() if answer is held)


def refuse_tensor(where: str) -> NoReturn:
    raise BadFile(f"{where} holds tensors or other objects stored outside the pickle.", _NO_TENSORS)


# --- One NATS-Bench file ------------------------------------------------------------------------


class _RestrictedUnpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, where: str) -> None:
        super().__init__(file)
        self._where = where

    def find_class(self, module: str, name: str) -> Answer:
        return answer(module, name, self._where)

    def persistent_load(self, pid: object) -> NoReturn:
        refuse_tensor(self._where)


def unpickle_arch(compressed: bytes, where: str) -> dict[str, Any]:
    """The content of one NATS-Bench `*.pickle.pbz2` file as plain Python objects.

    Numpy scalars become float, int or bool and OrderedDict becomes dict. The C unpickler can be
    made to ask for gigabytes by a few bytes; a process that reads files it has no reason to trust
    should call `memory_limit`, which turns that into a BadFile.

    Args:
        compressed: the file as it is on disk.
        where: the name to use in errors.

    Raises: BadFile if the bytes are damaged, cut, too large, or hold more than plain data.
    """
    raw = _decompressed(compressed, where)
    if _may_nest_deep(raw):
        # Python hashes nested tuples by C recursion without a limit, which ends the process.
        raise BadFile(f"{where} nests more tuples than any benchmark file.", DOWNLOAD)
    # A cached extension code would be answered without asking find_class.
    copyreg.clear_extension_cache()
    file = io.BytesIO(raw)
    try:
        content = _RestrictedUnpickler(file, where).load()
    except BadFile:
        raise
    except Exception as error:  # A damaged pickle can raise nearly every type there is.
        raise BadFile(f"{where} is not a readable pickle ({told(error)}).", DOWNLOAD) from error
    if file.tell() != len(raw):
        raise BadFile(f"{where} goes on after its pickle, at byte {file.tell()}.", DOWNLOAD)
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise BadFile(f"{where} holds no dict of named entries.", "Give a NATS-Bench file.")
    return content


@contextmanager
def memory_limit(n_bytes: int) -> Iterator[None]:
    """Lets this process take at most `n_bytes` of address space more than it holds now.

    For worker processes that read pickles: past the limit Python raises MemoryError, and the
    readers here make it a BadFile. Only the soft limit is set, and set back at the end. Does
    nothing where the system knows no such limit.
    """
    if sys.platform == "win32":
        yield
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    bounds = [bound for bound in (soft, hard) if bound != resource.RLIM_INFINITY]
    with suppress(OSError, ValueError):
        limit = min([_address_space_bytes() + n_bytes, *bounds])
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    try:
        yield
    finally:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _address_space_bytes() -> int:
    statm = Path("/proc/self/statm")
    if sys.platform == "win32" or not statm.exists():
        return 0
    import resource

    return int(statm.read_text().split()[0]) * resource.getpagesize()


def _decompressed(compressed: bytes, where: str) -> bytes:
    decompressor = bz2.BZ2Decompressor()
    try:
        raw = decompressor.decompress(compressed, MAX_RAW_BYTES + 1)
    except (OSError, ValueError, EOFError, MemoryError) as error:
        raise BadFile(f"{where} is damaged, or no bz2 file ({error}).", DOWNLOAD) from error
    if len(raw) > MAX_RAW_BYTES:
        raise BadFile(f"{where} unpacks to more than {MAX_RAW_BYTES} bytes.", DOWNLOAD)
    if not decompressor.eof:
        raise BadFile(f"{where} is cut: {len(compressed)} bytes are not all of it.", DOWNLOAD)
    if decompressor.unused_data:
        n_more = len(decompressor.unused_data)
        raise BadFile(f"{where} has {n_more} bytes behind its end.", DOWNLOAD)
    return raw


def _may_nest_deep(raw: bytes) -> bool:
    # One pass that keeps the codes of tuples (a long one needs a MARK) and what looks like them.
    return len(raw.translate(None, _NO_TUPLE_CODES)) > MAX_TUPLES


def told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:200]
