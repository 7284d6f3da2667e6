"""A NAS-Bench-201 .pth as a stream: no torch, one architecture in memory at a time.

The file is one torch.save of {"meta_archs", "arch2infos", "evaluated_indexes"}, 4.7 GB for all
architectures. A small machine runs the pickle's opcodes with the answers of `adapters._pickles`,
hands out every architecture's results as soon as they are complete, and forgets them.
"""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, NoReturn, final

from adapters._pickles import DOWNLOAD, Dtype, answer, name_of, refuse_tensor, told
from harness.errors import BadFile
from harness.unpickle import Answer

MAX_TEXT_BYTES = 2**20  # ours: an architecture's text is 100 bytes.
MAX_GAP_BYTES = 32 * 2**20  # ours: one architecture takes 0.5 MB, all of meta_archs 1.6 MB.
CHUNK_BYTES = 2**20
MARGIN_BYTES = 1024  # Longer than any instruction whose length is not written in four bytes.
KEPT_GENERATIONS = 8  # ours: schedules read (four architectures) that an unused memo entry lives.
TORCH_MAGIC = 0x1950A86A20F9469CFC6C  # torch.serialization, legacy format
TORCH_LEGACY_PROTOCOL = 1001  # torch.serialization, legacy format


@dataclass(frozen=True, slots=True)
class MetaArchs:
    """The texts of all architectures; the position in `names` is the index."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ArchState:
    """One architecture's results under one schedule: 'full' is 200 epochs, 'less' is 12.

    `state` is the dict with `all_results` and `dataset_seed`; it is yours, but its parts may be
    shared with the next state, so copy before changing them.
    """

    index: int
    kind: Literal["full", "less"]
    state: dict[str, Any]


@final
class PthStream:
    """Reads a `NAS-Bench-201-*.pth` without torch, one architecture in memory at a time.

    Both formats of torch.save are read. `MetaArchs` comes once, normally first; the states come in
    the order of the file. What a file lacks is known only at its end, so keep nothing of a file
    whose reading ended in an error. Iterate once.
    """

    def __init__(
        self,
        path: Path,
        progress: Callable[[int, int], None] | None = None,
        at: bytes | None = None,
    ) -> None:
        """
        path: one torch.save of {"meta_archs", "arch2infos", "evaluated_indexes"}.
        progress: called after each event with the bytes read so far and in total.
        at: what `place` gave on the same file, to go on with the next event.
        """
        self._path, self._progress, self._at = path, progress, at
        self._reading: _Reading | None = None

    def __iter__(self) -> Iterator[MetaArchs | ArchState]:
        """Raises: BadFile if the file is damaged, cut, another, or holds more than plain data."""
        with _opened(self._path) as (window, n_total):
            self._reading = _Reading(window, self._at)
            for event in _guarded(window, self._reading.events()):
                yield event
                if self._progress is not None:
                    self._progress(window.offset, n_total)
                del event  # Else it would stay in memory while the next one is read.

    def place(self) -> bytes:
        """Where the stream is after an `ArchState`, and all that what follows may refer to."""
        assert self._reading is not None, "nothing was read yet"
        return self._reading.place()


@contextmanager
def _opened(path: Path) -> Iterator[tuple[_Window, int]]:
    try:
        file = path.open("rb")
    except OSError as error:
        raise BadFile(f"{path} cannot be opened ({error.strerror}).", "Check the path.") from error
    with file:
        head = file.peek(4)[:4]
        if head[:1] == pickle.PROTO:
            yield _Window(file, str(path), legacy=True), path.stat().st_size
        elif head == b"PK\x03\x04":
            with _opened_member(file, str(path)) as (member, n_bytes):
                yield _Window(member, f"{path} (data.pkl)", legacy=False), n_bytes
        else:
            raise BadFile(
                f"{path}, byte 0: neither format of torch.save begins with {head!r}.",
                "Give the NAS-Bench-201 .pth file as it was downloaded and unpacked.",
            )


@contextmanager
def _opened_member(file: IO[bytes], where: str) -> Iterator[tuple[IO[bytes], int]]:
    try:
        archive = zipfile.ZipFile(file)
        infos = [info for info in archive.infolist() if info.filename.endswith("/data.pkl")]
        if len(infos) != 1 or infos[0].compress_type != zipfile.ZIP_STORED:
            raise BadFile(f"{where} is a zip file but none of torch.save.", "Give the .pth file.")
        member = archive.open(infos[0])
    except BadFile:
        raise
    except Exception as error:  # A damaged zip file can raise nearly every type there is.
        raise BadFile(f"{where} is a cut or damaged zip file ({told(error)}).", DOWNLOAD) from error
    with archive, member:
        yield member, infos[0].file_size


def _guarded(
    window: _Window, events: Iterator[MetaArchs | ArchState]
) -> Iterator[MetaArchs | ArchState]:
    try:
        yield from events
    except BadFile:
        raise
    except Exception as error:  # A damaged pickle can raise nearly every type there is.
        what = "the file is cut" if window.spent else "the file is damaged"
        raise BadFile(f"{window.here}: {what} ({told(error)}).", DOWNLOAD) from error


class _Reading:
    """One file's machine, and what was seen so far."""

    def __init__(self, window: _Window, at: bytes | None) -> None:
        self._window = window
        self._machine = _Machine(window)
        self._kinds_of: dict[int, list[str]] = {}
        self._has_names = False
        self._goes_on = at is not None
        if at is not None:
            offset, self._kinds_of, self._has_names, kept = _PlaceReader(io.BytesIO(at)).load()
            window.enter(offset)
            self._machine.restore(kept)

    def place(self) -> bytes:
        written = io.BytesIO()
        kept = self._machine.kept()
        what = (self._window.offset, self._kinds_of, self._has_names, kept)
        _PlaceWriter(written, pickle.HIGHEST_PROTOCOL).dump(what)
        return written.getvalue()

    def events(self) -> Iterator[MetaArchs | ArchState]:
        window, machine = self._window, self._machine
        if not self._goes_on:
            if window.legacy:
                _read_legacy_head(window)
            machine.begin()
        for state in machine.states():
            if not self._has_names and (early := machine.entry_before("meta_archs", "arch2infos")):
                self._has_names = True
                yield MetaArchs(_checked_names(early, window))
            yield _arch_state(state, machine, self._kinds_of)
            del state  # Else it would stay in memory while the next one is read.
        content = _checked_content(machine.result, self._kinds_of, window)
        if not self._has_names:
            yield MetaArchs(_checked_names(content["meta_archs"], window))
        if window.legacy:
            _read_legacy_tail(window)
        window.expect_end()


class _PlaceWriter(pickle.Pickler):
    def persistent_id(self, value: object) -> tuple[str, str, str] | None:
        if isinstance(value, Dtype):
            return ("dtype", value.code, value.order)
        if isinstance(value, Answer):
            return ("answer", *name_of(value))
        return None


class _PlaceReader(pickle.Unpickler):
    """Of plain values, and of what stands for a file's names in them; no name is looked up."""

    def find_class(self, module: str, name: str) -> NoReturn:
        raise pickle.UnpicklingError(f"{module}.{name} in a place of a file")

    def persistent_load(self, pid: tuple[str, str, str]) -> object:
        kind, first, second = pid
        if kind == "answer":
            return answer(first, second, "the place")
        made = Dtype(first)
        made.order = second
        return made


def _read_legacy_head(window: _Window) -> None:
    for wanted in (TORCH_MAGIC, TORCH_LEGACY_PROTOCOL):
        if _plain_value(window) != wanted:
            raise BadFile(
                f"{window.here} is a pickle but was not written by torch.save.",
                "Give the NAS-Bench-201 .pth file; NATS-Bench files are read as a folder.",
            )
    _plain_value(window)  # sizes of C types on the machine that saved; no tensor, no matter


def _read_legacy_tail(window: _Window) -> None:
    if _plain_value(window) != []:  # the keys of the tensors' storages
        refuse_tensor(window.here)


def _plain_value(window: _Window) -> object:
    machine = _Machine(window)
    machine.begin()
    for _ in machine.states():
        raise BadFile(f"{window.here} has results where torch.save writes none.", DOWNLOAD)
    return machine.result


def _arch_state(
    state: dict[str, Any], machine: _Machine, kinds_of: dict[int, list[str]]
) -> ArchState:
    here, stack = machine.window.here, machine.stack
    if len(stack) < 2 or stack[1] in ("full", "less"):
        raise BadFile(
            f"{here} holds a single architecture.", "Give the .pth file of all architectures."
        )
    index, kind = state["arch_index"], stack[-2]
    if type(index) is not int or index < 0 or kind not in ("full", "less"):
        raise BadFile(f"{here} has results of architecture {index!r} under {kind!r}.", DOWNLOAD)
    wanted = {"arch_str": str, "all_results": dict, "dataset_seed": dict}
    if not all(isinstance(state[key], kind_of) for key, kind_of in wanted.items()):
        raise BadFile(f"{here} has no results for architecture {index}.", DOWNLOAD)
    kinds = kinds_of.setdefault(index, [])
    if kind in kinds:
        raise BadFile(f"{here} has architecture {index} twice under {kind!r}.", DOWNLOAD)
    kinds.append(kind)
    return ArchState(index, kind, state)


def _checked_names(names: object, window: _Window) -> tuple[str, ...]:
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise BadFile(f"{window.here}: meta_archs is no list of texts.", DOWNLOAD)
    return tuple(names)


def _checked_content(
    content: object, kinds_of: dict[int, list[str]], window: _Window
) -> dict[str, Any]:
    wanted = ("meta_archs", "arch2infos", "evaluated_indexes")
    missing = [key for key in wanted if not isinstance(content, dict) or key not in content]
    if not isinstance(content, dict) or missing:
        raise BadFile(
            f"{window.here} ends a file without {', '.join(missing)}.",
            "Give the NAS-Bench-201 .pth file of all architectures.",
        )
    infos = content["arch2infos"]
    if not isinstance(content["evaluated_indexes"], list | set):
        raise BadFile(f"{window.here}: evaluated_indexes is no list and no set.", DOWNLOAD)
    if not isinstance(infos, dict) or not infos or infos.keys() != kinds_of.keys():
        raise BadFile(
            f"{window.here}: arch2infos names other architectures than it holds results of.",
            DOWNLOAD,
        )
    return content


# --- A pickle machine that hands results out while it reads --------------------------------------
#
# pickle.Unpickler returns everything at the end, and its memo keeps every string and dict of the
# file until then: 20 to 30 GiB for NAS-Bench-201. Hence this machine: of the instructions only
# those that torch.save writes for plain data, and a memo that forgets.

_double = struct.Struct(">d").unpack_from
_uint32 = struct.Struct("<I").unpack_from
_int32 = struct.Struct("<i").unpack_from
_uint16 = struct.Struct("<H").unpack_from

_BINFLOAT = pickle.BINFLOAT[0]
_BINUNICODE = pickle.BINUNICODE[0]
_SHORT_BINUNICODE = pickle.SHORT_BINUNICODE[0]
_LONG_BINPUT = pickle.LONG_BINPUT[0]
_MEMOIZE = pickle.MEMOIZE[0]
_BININT1 = pickle.BININT1[0]
_STOP = pickle.STOP[0]


class _Window:
    """The part of a file that is being read: `data`, read up to `pos`."""

    def __init__(self, stream: IO[bytes], where: str, legacy: bool) -> None:
        self.where, self.legacy = where, legacy
        self.data, self.pos = b"", 0
        self.safe_end = 0  # Up to here any instruction without a long text lies in `data`.
        self._stream, self._n_dropped, self._ended = stream, 0, False

    @property
    def offset(self) -> int:
        return self._n_dropped + self.pos

    @property
    def here(self) -> str:
        return f"{self.where}, byte {self.offset}"

    @property
    def spent(self) -> bool:
        """Whether an instruction at `pos` may miss bytes that the file does not have."""
        return self._ended and self.pos + MARGIN_BYTES > len(self.data)

    def refill(self) -> None:
        """Drops what was read and reads on."""
        self._n_dropped += self.pos
        fresh = self._stream.read(CHUNK_BYTES) if not self._ended else b""
        self.data, self.pos = self.data[self.pos :] + fresh, 0
        self._ended = self._ended or not fresh
        # At the end of the file the margin cannot be had; running over it is an IndexError.
        self.safe_end = len(self.data) + 1 if self._ended else len(self.data) - MARGIN_BYTES

    def enter(self, offset: int) -> None:
        """Goes to a byte of the stream, before anything was read."""
        self._stream.seek(offset)
        self._n_dropped = offset

    def take(self, n_bytes: int) -> bytes:
        """The next bytes, which may be more than the margin."""
        if n_bytes > MAX_TEXT_BYTES:
            raise BadFile(f"{self.here} has a text of {n_bytes} bytes.", DOWNLOAD)
        while self.pos + n_bytes > len(self.data):
            if self._ended:
                raise BadFile(f"{self.here}: the file is cut.", DOWNLOAD)
            self.refill()
        self.pos += n_bytes
        return self.data[self.pos - n_bytes : self.pos]

    def expect_end(self) -> None:
        self.refill()
        if self.data:
            raise BadFile(f"{self.here}: the file goes on where it should end.", DOWNLOAD)


class _Memo:
    """What later instructions may refer to, as far back as a benchmark file refers.

    Entries made or used since the last state are in `young`. Dicts, lists and sets are forgotten
    when one more state was read without a use of them, all others after KEPT_GENERATIONS states.
    Texts from before the first state (meta_archs) and the architectures' own texts stay.
    """

    def __init__(self) -> None:
        self.young: dict[int, Any] = {}
        self._old: deque[dict[int, Any]] = deque(maxlen=KEPT_GENERATIONS)
        self._kept: dict[int, str] | None = None

    def get(self, key: int) -> Any:
        """Raises: KeyError if nothing was put there, or it was forgotten."""
        if key not in self.young:
            for entries in (*self._old, self._kept or {}):
                if key in entries:
                    self.young[key] = entries[key]
                    break
        return self.young[key]

    def kept(self) -> tuple[Any, ...]:
        """All entries between two states."""
        return self.young, list(self._old), self._kept

    def restore(self, kept: tuple[Any, ...]) -> None:
        """The entries as they were."""
        self.young, old, self._kept = kept
        self._old.extend(old)

    def grow_older(self, arch_str: str) -> None:
        """To be called at the end of each state."""
        if self._old:
            last = self._old[0]
            self._old[0] = {k: v for k, v in last.items() if not isinstance(v, dict | list | set)}
        if self._kept is None:
            self._kept = {
                k: v for k, v in self.young.items() if isinstance(v, str) and "@" not in v
            }
        else:
            self._kept.update((k, arch_str) for k, v in self.young.items() if v is arch_str)
        self._old.appendleft(self.young)
        self.young = {}


class _Machine:
    """Runs one pickle of a window; `result` is its value once `states()` is exhausted."""

    def __init__(self, window: _Window) -> None:
        self.window = window
        self.stack: list[Any] = []
        self.result: object = None
        self.memo = _Memo()
        self._marks: list[int] = []
        self._texts: dict[bytes, str] = {}
        self._n_memoized = 0
        self._explicit_memo = True
        self._state: dict[str, Any] | None = None
        self._state_offset = window.offset

    def states(self) -> Iterator[dict[str, Any]]:
        """Each architecture's results under one schedule, as soon as they are complete."""
        window = self.window
        while (code := self._run_frequent()) != _STOP:
            run = _RARE.get(code)
            if run is None:
                self._refuse(code)
            window.pos += 1
            run(self)
            if self._state is not None:
                yield self._hand_out()
        window.pos += 1
        (self.result,) = self.stack
        if self._marks:
            raise BadFile(f"{window.here}: the pickle ends inside a container.", DOWNLOAD)

    def kept(self) -> dict[str, Any]:
        """Between two states: what the rest of the pickle builds on and may refer to."""
        return {name: getattr(self, name) for name in _KEPT} | {"memo": self.memo.kept()}

    def restore(self, kept: Mapping[str, Any]) -> None:
        """As it was when it had `kept`, in a window at the same byte."""
        for name in _KEPT:
            setattr(self, name, kept[name])
        self.memo.restore(kept["memo"])

    def entry_before(self, key: str, last_key: str) -> object:
        """The value of a key of the outermost dict if it was read before `last_key`, else None."""
        for at in range(1, min(len(self.stack), 2 * 3) - 1, 2):  # of its three keys
            if self.stack[at] == last_key:
                break
            if self.stack[at] == key:
                return self.stack[at + 1]
        return None

    def begin(self) -> None:
        """Reads what stands before the first instruction."""
        head = self.window.take(2)
        if head[:1] != pickle.PROTO or not 2 <= head[1] <= 5:
            self.window.pos -= 2
            raise BadFile(f"{self.window.here}: no pickle of protocol 2 to 5.", DOWNLOAD)
        self._explicit_memo = head[1] < 4

    def _run_frequent(self) -> int:
        """Runs to the next instruction that is none of the six most frequent; returns its code."""
        window, stack, memo, texts = self.window, self.stack, self.memo.young, self._texts
        push, data, pos = self.stack.append, window.data, window.pos
        binput = _LONG_BINPUT if self._explicit_memo else -1
        memoize = _MEMOIZE if not self._explicit_memo else -1
        safe_end = window.safe_end
        try:
            while True:
                if pos >= safe_end:
                    window.pos = pos
                    self._refill()
                    data, pos, safe_end = window.data, 0, window.safe_end
                code = data[pos]
                if code == _BINFLOAT:
                    push(_double(data, pos + 1)[0])
                    pos += 9
                elif code == binput:
                    memo[_uint32(data, pos + 1)[0]] = stack[-1]
                    pos += 5
                elif code == _BINUNICODE or code == _SHORT_BINUNICODE:
                    if code == _BINUNICODE:
                        start = pos + 5
                        end = start + _uint32(data, pos + 1)[0]
                    else:
                        start = pos + 2
                        end = start + data[pos + 1]
                    if end > len(data):
                        return code
                    raw = data[start:end]
                    text = texts.get(raw)
                    push(self._text(raw) if text is None else text)
                    pos = end
                elif code == memoize:
                    memo[self._n_memoized] = stack[-1]
                    self._n_memoized += 1
                    pos += 1
                elif code == _BININT1:
                    push(data[pos + 1])
                    pos += 2
                else:
                    return code
        finally:
            window.pos = pos

    def _refill(self) -> None:
        if self.window.offset - self._state_offset > MAX_GAP_BYTES:
            raise BadFile(
                f"{self.window.here}: no results in the last {MAX_GAP_BYTES} bytes.",
                "Give the NAS-Bench-201 .pth file without network weights.",
            )
        self.window.refill()

    def _text(self, raw: bytes) -> str:
        # A file repeats the same few thousand keys; one object each makes the states small.
        text = raw.decode("utf-8", "surrogatepass")
        if len(self._texts) < 50_000 and len(raw) < 200:
            self._texts[raw] = text
        return text

    def _hand_out(self) -> dict[str, Any]:
        kept = self._state or {}
        state, self._state = dict(kept), None
        kept.clear()  # It stays in arch2infos until the end of the file.
        self.memo.grow_older(state["arch_str"])
        self._state_offset = self.window.offset
        return state

    def _refuse(self, code: int) -> NoReturn:
        import pickletools

        if code in (pickle.PERSID[0], pickle.BINPERSID[0]):
            refuse_tensor(self.window.here)
        names = [op.name for op in pickletools.opcodes if op.code == chr(code)]
        raise BadFile(
            f"{self.window.here}: instruction {names[0] if names else hex(code)} has no place in "
            "a file of plain data. Nothing was executed.",
            DOWNLOAD,
        )

    # --- Less frequent instructions; window.pos is behind the code ---

    def _push_taken(self, n_bytes: int, value: Callable[[bytes], object]) -> None:
        self.stack.append(value(self.window.take(n_bytes)))

    def _long_text(self) -> None:
        self._push_taken(_uint32(self.window.take(4))[0], self._text)

    def _short_text(self) -> None:
        self._push_taken(self.window.take(1)[0], self._text)

    def _binint(self) -> None:
        self.stack.append(_int32(self.window.take(4))[0])

    def _binint2(self) -> None:
        self.stack.append(_uint16(self.window.take(2))[0])

    def _long1(self) -> None:
        n_bytes = self.window.take(1)[0]
        self._push_taken(n_bytes, lambda raw: int.from_bytes(raw, "little", signed=True))

    def _short_bytes(self) -> None:
        self._push_taken(self.window.take(1)[0], bytes)

    def _frame(self) -> None:
        self.window.take(8)  # A frame says how far to read ahead; the window does that anyway.

    def _binput(self) -> None:
        key = self.window.take(1)[0]
        if not self._explicit_memo:
            raise BadFile(f"{self.window.here}: BINPUT in a pickle of protocol 4 or 5.", DOWNLOAD)
        self.memo.young[key] = self.stack[-1]

    def _binget(self) -> None:
        self._recall(self.window.take(1)[0])

    def _long_binget(self) -> None:
        self._recall(_uint32(self.window.take(4))[0])

    def _recall(self, key: int) -> None:
        try:
            self.stack.append(self.memo.get(key))
        except KeyError:
            raise BadFile(
                f"{self.window.here} refers to object {key}, which was never read or was dropped "
                f"from memory {KEPT_GENERATIONS} results ago.",
                "Download it again; if it is whole, its results share objects in a way that "
                "this reader does not know: please report it.",
            ) from None

    def _mark(self) -> None:
        self._marks.append(len(self.stack))

    def _popped(self) -> list[Any]:
        start = self._marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def _tuple_of(self, items: list[Any]) -> None:
        # Python hashes nested tuples by C recursion without a limit, which ends the process.
        if any(isinstance(item, tuple) for item in items):
            raise BadFile(f"{self.window.here}: a tuple in a tuple.", DOWNLOAD)
        self.stack.append(tuple(items))

    def _tuple(self) -> None:
        self._tuple_of(self._popped())

    def _tuple_of_last(self, n_items: int) -> None:
        items = self.stack[-n_items:]
        if len(items) != n_items:
            raise IndexError
        del self.stack[-n_items:]
        self._tuple_of(items)

    def _append(self) -> None:
        item = self.stack.pop()
        self._last(list).append(item)

    def _appends(self) -> None:
        items = self._popped()
        self._last(list).extend(items)

    def _additems(self) -> None:
        items = self._popped()
        self._last(set).update(items)

    def _setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._fill([key, value])

    def _setitems(self) -> None:
        self._fill(self._popped())

    def _fill(self, items: list[Any]) -> None:
        if len(items) % 2:
            raise BadFile(f"{self.window.here}: a dict with a key but no value.", DOWNLOAD)
        target = self._last(dict)
        target.update(zip(items[::2], items[1::2], strict=True))
        if "all_results" in target and _STATE_KEYS <= target.keys():
            self._state = target

    def _last(self, kind: type[Any]) -> Any:
        if not isinstance(self.stack[-1], kind):
            raise BadFile(f"{self.window.here}: items for what is no {kind.__name__}.", DOWNLOAD)
        return self.stack[-1]

    def _global(self) -> None:
        self.stack.append(answer(self._line(), self._line(), self.window.here))

    def _line(self) -> str:
        line = bytearray()
        while (byte := self.window.take(1)) != b"\n":
            line += byte
            if len(line) > MARGIN_BYTES:
                raise BadFile(f"{self.window.here}: a name without an end.", DOWNLOAD)
        return line.decode()

    def _stack_global(self) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self.stack.append(answer(module, name, self.window.here))

    def _reduce(self) -> None:
        args, function = self.stack.pop(), self.stack.pop()
        if not isinstance(function, Answer) or not isinstance(args, tuple):
            raise BadFile(f"{self.window.here}: a call of what is no function.", DOWNLOAD)
        self.stack.append(function(*args))

    def _build(self) -> None:
        state = self.stack.pop()
        self._last(Dtype).__setstate__(state)


_KEPT = ("stack", "_marks", "_n_memoized", "_explicit_memo", "_state_offset")
_STATE_KEYS = {"arch_index", "arch_str", "all_results", "dataset_seed"}


def _pushes(make: Callable[[], object]) -> Callable[[_Machine], None]:
    return lambda machine: machine.stack.append(make())


_RARE: dict[int, Callable[[_Machine], None]] = {
    code[0]: run
    for code, run in (
        (pickle.BINUNICODE, _Machine._long_text),
        (pickle.SHORT_BINUNICODE, _Machine._short_text),
        (pickle.SHORT_BINBYTES, _Machine._short_bytes),
        (pickle.BININT, _Machine._binint),
        (pickle.BININT2, _Machine._binint2),
        (pickle.LONG1, _Machine._long1),
        (pickle.NONE, _pushes(lambda: None)),
        (pickle.NEWTRUE, _pushes(lambda: True)),
        (pickle.NEWFALSE, _pushes(lambda: False)),
        (pickle.EMPTY_TUPLE, _pushes(tuple)),
        (pickle.EMPTY_LIST, _pushes(list)),
        (pickle.EMPTY_DICT, _pushes(dict)),
        (pickle.EMPTY_SET, _pushes(set)),
        (pickle.FRAME, _Machine._frame),
        (pickle.BINPUT, _Machine._binput),
        (pickle.BINGET, _Machine._binget),
        (pickle.LONG_BINGET, _Machine._long_binget),
        (pickle.MARK, _Machine._mark),
        (pickle.TUPLE, _Machine._tuple),
        (pickle.TUPLE1, lambda machine: machine._tuple_of_last(1)),
        (pickle.TUPLE2, lambda machine: machine._tuple_of_last(2)),
        (pickle.TUPLE3, lambda machine: machine._tuple_of_last(3)),
        (pickle.APPEND, _Machine._append),
        (pickle.APPENDS, _Machine._appends),
        (pickle.ADDITEMS, _Machine._additems),
        (pickle.SETITEM, _Machine._setitem),
        (pickle.SETITEMS, _Machine._setitems),
        (pickle.GLOBAL, _Machine._global),
        (pickle.STACK_GLOBAL, _Machine._stack_global),
        (pickle.REDUCE, _Machine._reduce),
        (pickle.BUILD, _Machine._build),
    )
}
