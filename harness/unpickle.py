"""A restricted reader of pickled batches: dicts of plain values and numpy arrays, nothing else.

A pickle is a program. This one is looked through before it runs, and it runs without anything to
call: the names that it asks for are answered by functions of this file, which make arrays of
numbers. Whatever else a file asks for is refused, and nothing of it is executed.

Protocols 0 to 5 of Python 3 are read, and 1 and 2 of Python 2, which wrote CIFAR's batches.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
from collections.abc import Callable
from typing import Any, NoReturn, final

import numpy as np
from numpy.typing import NDArray

from harness.errors import BadFile

MAX_TUPLES = 1000  # Ours: an array takes eight; thousands, nested, could overflow the C stack.
DOWNLOAD = "Download it again."
# What the published batches and numpy's arrays are made of: no objects, no calls by number, no
# storage outside the pickle.
_INSTRUCTIONS = frozenset(
    """
    PROTO FRAME STOP MARK NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1
    BINSTRING SHORT_BINSTRING UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8
    BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8 EMPTY_DICT DICT SETITEM SETITEMS
    EMPTY_LIST LIST APPEND APPENDS EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3
    GLOBAL STACK_GLOBAL REDUCE BUILD PUT BINPUT LONG_BINPUT MEMOIZE GET BINGET LONG_BINGET
    """.split()
)
_TUPLES = frozenset({"TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"})
_PUTS = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})
_NUMBERS = frozenset("u1 u2 u4 u8 i1 i2 i4 i8 f2 f4 f8 b1".split())
_BYTE_ORDERS = {"<": "<", ">": ">", "|": "|", "=": "="}


def named_arrays(content: bytes, where: str) -> dict[str, Any]:
    """The entries of a pickled dict, arrays as numpy arrays of numbers.

    Text that Python 2 wrote stays bytes, except in the keys. Arrays may be read-only: their
    numbers are not copied out of the pickle.

    Args:
        content: the whole pickle.
        where: the name to use in errors.

    Raises: BadFile if the bytes are damaged, cut, or hold more than plain values and arrays.
    """
    try:
        _look_through(content)
        found = _Unpickler(content).load()
        if not isinstance(found, dict):
            raise pickle.UnpicklingError("it holds no dict")
        return {_text(key): _plain(value) for key, value in found.items()}
    except Exception as error:  # A damaged pickle can raise nearly every type there is.
        told = f"{type(error).__name__}: {error}"[:200]
        raise BadFile(f"{where} is not a readable batch ({told}).", DOWNLOAD) from error


def _look_through(content: bytes) -> None:
    """Refuses instructions that no batch needs, and few bytes that would ask for gigabytes."""
    file = io.BytesIO(content)
    n_tuples = 0
    for n, (instruction, argument, _) in enumerate(pickletools.genops(file)):
        name = instruction.name
        if name not in _INSTRUCTIONS:
            raise pickle.UnpicklingError(f"pickle instruction {name}, which no batch needs")
        n_tuples += name in _TUPLES
        if n_tuples > MAX_TUPLES:
            raise pickle.UnpicklingError("more tuples than any batch")
        # The unpickler's memo is a list as long as its largest place.
        if name in _PUTS and int(argument or 0) > n:
            raise pickle.UnpicklingError("a place in the memo that no batch needs")
    if file.tell() != len(content):
        raise pickle.UnpicklingError(f"it goes on behind its end, at byte {file.tell()}")


@final
class _Dtype:
    """Stands for a numpy.dtype: a type code and a byte order, nothing more."""

    __slots__ = ("code", "order")

    def __init__(self, code: str) -> None:
        self.code = code
        self.order = "="

    def __setstate__(self, state: object) -> None:
        order = _text(state[1]) if isinstance(state, tuple) and len(state) > 1 else ""
        if order not in _BYTE_ORDERS:
            raise pickle.UnpicklingError("a number type of unknown byte order")
        self.order = _BYTE_ORDERS[order]

    def made(self) -> np.dtype[Any]:
        return np.dtype(self.order + self.code)


@final
class _Array:
    """Stands for a numpy.ndarray, which takes its shape and numbers after it was made."""

    __slots__ = ("made",)

    def __init__(self) -> None:
        self.made: NDArray[Any] | None = None

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise pickle.UnpicklingError("an array of unknown form")
        _, shape, dtype, is_fortran, numbers = state
        self.made = _filled(numbers, dtype, shape, "F" if is_fortran else "C")


@final
class Answer:
    """A function of ours under a foreign name.

    It has no settable attribute: BUILD on a plain function or class could change the defaults or
    the methods that the next file meets.
    """

    __slots__ = ("_make",)

    def __init__(self, make: Callable[..., object]) -> None:
        self._make = make

    def __call__(self, *args: object) -> object:
        return self._make(*args)

    def __setstate__(self, state: object) -> NoReturn:
        raise pickle.UnpicklingError("an attempt to change a function")


def _filled(numbers: object, dtype: object, shape: object, order: str) -> NDArray[Any]:
    if not isinstance(dtype, _Dtype) or not isinstance(numbers, bytes | bytearray):
        raise pickle.UnpicklingError("an array of what is no number")
    sizes = shape if isinstance(shape, tuple) else (shape,)
    if any(type(size) is not int or size < 0 for size in sizes):
        raise pickle.UnpicklingError(f"an array of shape {shape!r:.40}")
    if math.prod(sizes) * dtype.made().itemsize != len(numbers):
        raise pickle.UnpicklingError(f"{len(numbers)} bytes for an array of shape {sizes}")
    flat = np.frombuffer(numbers, dtype.made())
    return flat.reshape(sizes, order="F" if order == "F" else "C")


def _empty_array(kind: object, shape: object, code: object) -> _Array:
    return _Array()


def _array_of_buffer(numbers: object, dtype: object, shape: object, order: object) -> _Array:
    array = _Array()
    array.made = _filled(numbers, dtype, shape, _text(order))
    return array


def _dtype(code: object, align: object = False, copy: object = True) -> _Dtype:
    if _text(code) not in _NUMBERS:
        raise pickle.UnpicklingError(f"numbers of type {code!r:.40}")
    return _Dtype(_text(code))


def _encoded(text: object, encoding: object) -> bytes:
    # Protocol 2 has no bytes; Python 3 writes an array's as a call of _codecs.encode.
    if not isinstance(text, str) or encoding != "latin1":
        raise pickle.UnpicklingError("bytes of unknown encoding")
    return text.encode("latin1")


def _never() -> NoReturn:
    raise pickle.UnpicklingError("an array made by its class")


_ANSWERS = {
    ("numpy", "ndarray"): Answer(_never),
    ("numpy", "dtype"): Answer(_dtype),
    ("numpy.core.multiarray", "_reconstruct"): Answer(_empty_array),
    ("numpy._core.multiarray", "_reconstruct"): Answer(_empty_array),
    ("numpy.core.numeric", "_frombuffer"): Answer(_array_of_buffer),
    ("numpy._core.numeric", "_frombuffer"): Answer(_array_of_buffer),
    ("_codecs", "encode"): Answer(_encoded),
}


@final
class _Unpickler(pickle.Unpickler):
    def __init__(self, content: bytes) -> None:
        # As bytes: Python 2 had one type for text and for the numbers of an array.
        super().__init__(io.BytesIO(content), encoding="bytes")

    def find_class(self, module: str, name: str) -> object:
        if (module, name) not in _ANSWERS:
            raise pickle.UnpicklingError(
                f"it asks for {module}.{name}, which no batch needs; nothing was executed"
            )
        return _ANSWERS[module, name]


def _plain(value: object) -> Any:
    if isinstance(value, _Array):
        if value.made is None:
            raise pickle.UnpicklingError("an array without numbers")
        return value.made
    if isinstance(value, Answer | _Dtype):
        raise pickle.UnpicklingError("a function where a value is expected")
    return value


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("latin1")
    if not isinstance(value, str):
        raise pickle.UnpicklingError(f"{type(value).__name__} where a name is expected")
    return value
