"""How values become bytes and back: the one door to cloudpickle.

Owns the encoding of payloads, states and services. A value that MessagePack gives back exactly
as it was is carried as MessagePack; everything else as a pickle (by value where it was defined
in `__main__`, so that scripts and notebooks work). The first byte tells which. Never opens a
channel, never decides who decodes: bytes are decoded by the turn that uses them, and by
nobody else, since unpickling runs code.
"""

from __future__ import annotations

import functools
import struct
import sys
import threading
import types
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import cloudpickle
import msgspec

from supervisors.errors import ValueDecodingError, ValueEncodingError
from supervisors.renewals import renewals
from supervisors.tracebacks import text_of, type_name

MAX_VALUE_BYTES = 255 * 1024 * 1024
"""Bytes of an encoded value at most: what fits into a frame of the default bound with its envelope."""
TOO_LONG = f"it takes more than the {MAX_VALUE_BYTES:,} bytes that travel in one message"
PLAIN_TAG = 1
PLAIN = bytes([PLAIN_TAG])
"""First byte of what MessagePack wrote."""
PICKLE = b"\x02"
"""First byte of what cloudpickle wrote."""
PROTOCOL = 5
"""Of pickles."""

SCALARS = frozenset({type(None), bool, int, float, str, bytes})
"""Types that MessagePack gives back as they were (checked exactly: subclasses do not come back).

Integers beyond 64 bits and text with lone surrogates make msgspec raise; they go by pickle.
"""
_USUAL = SCALARS - {bytes}
"""Types whose sizes are not looked at: that would cost each small value a third more (measured)."""
_KINDS = SCALARS | {dict, list}
"""Types of which plain values may consist."""
TEXT = frozenset({str})
"""The type of keys that are text."""
_FEW = 6
"""Values that a dict has at most which may hold another one, or be in it, to be told as plain at once (arbitrary)."""
_LIST_HEAD, _LIST_MARK = struct.Struct(">BI"), 0xDD
"""How MessagePack begins a list: its type, and how many there are in it."""
_DEPTH = 32
"""Levels of containers that are looked into (arbitrary); what is deeper goes by pickle."""
_NOT_PLAIN = -1
"""The size of what goes by pickle."""
_SEARCH_DEPTH = 24
"""Levels that the search for a bad part descends (arbitrary)."""
_SEARCH_LOOKS = 1_000_000
"""Parts that the search looks at (arbitrary; a second at most)."""
_SEARCH_TRIES = 10_000
"""Parts that the search tries to encode before it gives up and names what it has (arbitrary)."""
_SEARCH_BYTES = 32 * 1024 * 1024
"""Bytes that these tries write, together (arbitrary; a second or two for the slowest kinds of values)."""
_TRY_BYTES = 1024 * 1024
"""Bytes that one try writes: a larger part is good or bad as the parts beside it tell (arbitrary)."""

_KEY_CHARACTERS = 40
"""Characters of a key that a path shows (arbitrary)."""
_PICKLE_FRAME = 64 * 1024
"""What a pickler gathers before it writes (`pickle.Pickler.framer`); what is longer comes as it is."""
_DETAIL_CHARACTERS = 1_000
"""Characters of the text of an error of the user's that our own one repeats (arbitrary)."""
_CLASS_PARTS = 6
"""Length of the tuple that a class carried by value is reduced to: its last part fills the class in."""

_COPIED_BYTES = 4_096
"""Bytes of a value up to which it is copied to be read (arbitrary)."""
Take = Callable[[Any], bool]
"""What is asked about each buffer that a value lends."""

_pack = msgspec.msgpack.Encoder().encode
_unpacker = msgspec.msgpack.Decoder()


def encode(value: Any, path: str = "value") -> bytes:
    """Encode `value`, which is copied by this: later changes to it do not show.

    What is too long is refused early: bytes objects by their lengths, before they are copied, and a pickle once so
    many bytes were written. Of other plain values one copy is made at most, which is then refused.

    Args:
        value: anything that MessagePack or cloudpickle can carry.
        path: what the value is called in an error, such as `payload`.

    Raises:
        ValueEncodingError: some part cannot be carried; the error's `path` names it. Whatever
            the value's own methods raise is turned into this, `SystemExit` included.
    """
    if value.__class__ is dict and TEXT.issuperset(map(type, value)):
        plain = encode_parameters(value, path)
    else:
        plain = encode_plain(value, path)
    return encode_code(value, path) if plain is None else plain


def encode_plain(value: Any, path: str = "value") -> bytes | None:
    """Encode a plain value, as `encode` does; None for one that MessagePack does not give back as it was.

    Raises:
        ValueEncodingError: it is plain and too long.
    """
    try:
        size = _plain_size(value)
        if size == _NOT_PLAIN:
            return None
        packed = _pack(value) if size < MAX_VALUE_BYTES else None
    except Exception:  # noqa: BLE001 - not plain after all (huge integer, lone surrogate)
        return None
    if packed is None or len(packed) >= MAX_VALUE_BYTES:
        raise ValueEncodingError(path, TOO_LONG)
    return PLAIN + packed


def encode_parameters(data: dict[str, Any], path: str = "value") -> bytes | None:
    """As `encode_plain`, of a dict of which all keys are text, which is not looked at."""
    for part in data.values():
        # A class that is pretended is not encoded below.
        if part.__class__ not in _USUAL:
            if part.__class__ not in _KINDS:
                return None
            if not _holds_one_flat(data):
                return encode_plain(data, path)
            break
    try:
        packed = _pack(data)
    except Exception:  # noqa: BLE001 - as above
        return None
    if len(packed) >= MAX_VALUE_BYTES:
        raise ValueEncodingError(path, TOO_LONG)
    return PLAIN + packed


def encode_within(value: Any, most: int) -> bytes | None:
    """Encode `value` as a pickle of `most` bytes at most; None if it takes more or cannot be carried."""
    try:
        return _pickle(value, most)
    except BaseException:  # noqa: BLE001 - user code runs in there, and it may raise anything
        return None


def decode_plain(data: bytes) -> Any:
    """Give back a plain value; None where it is something else, or damaged, as `decode` can tell."""
    if not data or data[0] != PLAIN_TAG:
        return None
    try:
        return _unpacker.decode(data[1:])
    except Exception:  # noqa: BLE001 - as msgspec raises several
        return None


def decode_together(data: bytes, count: int) -> list[Any] | None:
    """Give back plain values, each as encoded, that lie one behind the other; None where one is something else."""
    # MessagePack reads a tag as a number: so what is tagged is a list of twice as many, but for its head.
    try:
        found = _unpacker.decode(_LIST_HEAD.pack(_LIST_MARK, 2 * count) + data)
    except Exception:  # noqa: BLE001 - as msgspec raises several
        return None
    return found[1::2] if found[::2].count(PLAIN_TAG) == count else None


def decode(data: bytes | memoryview) -> Any:
    """Give back the value that `encode` or `encode_code` was given. This runs code: see the module.

    Raises:
        ValueDecodingError: the bytes are damaged, or what they need (a module, a class) is not
            here, or it raised, whatever it raised.
    """
    # A small copy costs less than a view.
    view = data if data.__class__ is bytes and len(data) <= _COPIED_BYTES else memoryview(data)
    tag = bytes(view[:1])
    try:
        if tag == PLAIN:
            return _unpacker.decode(view[1:])
        if tag == PICKLE:
            return cloudpickle.loads(view[1:])
    except BaseException as error:  # user code runs in there, and it may raise anything
        raise _undecodable(view, error) from error
    what = f"it starts with {tag!r}" if tag else "it is empty"
    raise ValueDecodingError(f"this is no encoded value: {what}")


def decode_apart(data: memoryview, buffers: Sequence[Any]) -> Any:
    """Give back the value that is a pickle without its buffers, with these; raises as `decode`, and runs code."""
    if bytes(data[:1]) != PICKLE:
        raise ValueDecodingError(f"this is no value without its buffers: it starts with {bytes(data[:1])!r}")
    try:
        return cloudpickle.loads(data[1:], buffers=buffers)
    except BaseException as error:  # as above
        raise _undecodable(data, error) from error


def _undecodable(view: bytes | memoryview, error: BaseException) -> ValueDecodingError:
    return ValueDecodingError(f"{len(view)} bytes could not be turned back into a value: {describe(error)}")


def encode_code(obj: Any, path: str, take: Take | None = None) -> bytes:
    """Encode an object together with the code it needs, always as a pickle; else as `encode`.

    Args:
        obj: the object.
        path: as of `encode`.
        take: given each buffer that it lends (`pickle.PickleBuffer`); True where that is to be copied into the pickle,
            and else `decode_apart` needs it. None: all are.
    """
    try:
        return _pickle(obj, MAX_VALUE_BYTES, take)
    except TooLongError:
        raise ValueEncodingError(path, TOO_LONG) from None
    except BaseException as error:
        bad_path, detail = find_bad_part(obj, path, error, _write_pickle)
        raise ValueEncodingError(bad_path, detail) from error


def decode_code(data: bytes | memoryview) -> Any:
    """Give back the object that `encode_code` was given; raises as `decode`."""
    return decode(data)


def is_plain(value: Any) -> bool:
    """Tell whether MessagePack gives `value` back as it is: same types, nothing shared or cyclic.

    The one thing it does not look at is the size of integers and whether text can be encoded:
    msgspec raises for those.
    """
    return _plain_size(value) >= 0


def _plain_size(value: Any) -> int:
    """Give `_NOT_PLAIN`, or the number of bytes in the bytes objects of a plain value."""
    kind = type(value)
    if kind is dict:
        # The common payload, a flat dict with text keys, is decided by two loops in C.
        if not TEXT.issuperset(map(type, value)):
            return _NOT_PLAIN
        parts = value.values()
        if _USUAL.issuperset(map(type, parts)):
            return 0
        size = 0
        for part in parts:
            if type(part) is bytes:
                size += len(part)
            elif type(part) not in _USUAL:
                break
        else:
            return size
    elif kind in SCALARS:
        return len(value) if kind is bytes else 0
    elif kind is not list:
        return _NOT_PLAIN
    return _container_size(value, set(), _DEPTH)


def _holds_one_flat(data: dict[str, Any]) -> bool:
    """Whether a small dict holds one small flat dict, and nothing else that is no plain value: none is met twice."""
    inner = [part for part in data.values() if part.__class__ not in _USUAL]
    return len(data) <= _FEW and len(inner) == 1 and _is_flat(inner[0])


def _is_flat(value: Any) -> bool:
    """Whether it is a small dict of plain values, with keys that are text: nothing in it leads anywhere."""
    if value.__class__ is not dict or len(value) > _FEW or not TEXT.issuperset(map(type, value)):
        return False
    for part in value.values():  # noqa: SIM110  a generator would cost more
        if part.__class__ not in _USUAL:
            return False
    return True


def _container_size(value: Any, seen: set[int], depth: int) -> int:
    # A container met twice would come back as two: shared references are kept by pickle only.
    if depth == 0 or id(value) in seen:
        return _NOT_PLAIN
    seen.add(id(value))
    parts: Iterable[Any] = value
    if type(value) is dict:
        if not TEXT.issuperset(map(type, value)):
            return _NOT_PLAIN
        parts = value.values()
    kinds = set(map(type, parts))
    size = sum([len(part) for part in parts if type(part) is bytes]) if bytes in kinds else 0
    kinds -= SCALARS
    if not kinds:
        return size
    if not kinds <= {dict, list}:
        return _NOT_PLAIN
    for part in parts:
        if type(part) not in SCALARS:
            inner = _container_size(part, seen, depth - 1)
            if inner == _NOT_PLAIN:
                return _NOT_PLAIN
            size += inner
    return size


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle is untyped
    """Pickles classes of `__main__` by value, as cloudpickle does, but changes none that is known.

    cloudpickle recognizes a class that comes back from a child and gives the same class again, but
    sets all its attributes anew on the way: the methods of the program's own class would be replaced
    by copies with other globals, and class attributes set back. So a class is filled in once.

    It knows nothing of what `functools.cache` makes of a function, such as the one by which each worker loads
    something once: that is carried as the function is, with an empty cache.
    """

    def reducer_override(self, obj: Any) -> Any:
        if type(obj) is _Cached and not _is_importable(obj):
            return _cache_again, (obj.__wrapped__, obj.cache_parameters())
        reduced = super().reducer_override(obj)
        if isinstance(obj, type) and isinstance(reduced, tuple) and len(reduced) == _CLASS_PARTS:
            _known_classes.add(obj)
            make, args, state, items, pairs, fill = reduced
            return make, args, (fill, state), items, pairs, _fill_class_once
        return reduced


_Cached = type(functools.lru_cache(int))


def _is_importable(function: Any) -> bool:
    """Tell whether a function is found by its name wherever its module can be imported."""
    found: Any = None if function.__module__ == "__main__" else sys.modules.get(function.__module__)
    for name in getattr(function, "__qualname__", "").split("."):  # of a `partial` there is none
        found = getattr(found, name, None)
    return found is function


def _cache_again(function: Callable[..., Any], parameters: dict[str, Any]) -> Any:
    return functools.lru_cache(**parameters)(function)


_known_classes: weakref.WeakSet[type] = weakref.WeakSet()
"""Classes carried by value that are complete in this process."""


def _fill_class_once(cls: type, content: tuple[Callable[[type, Any], Any], Any]) -> None:
    fill, state = content
    if cls not in _known_classes:
        fill(cls, state)
        _known_classes.add(cls)


class TooLongError(Exception):
    """A pickle takes more bytes than it may."""


class BoundedFile:
    """Takes what a pickler writes, up to a bound. A large buffer comes as it is: it is looked at before any copy."""

    __slots__ = ("chunks", "room")

    def __init__(self, most: int, tag: bytes) -> None:
        self.room = most - len(tag)
        self.chunks = [tag]

    def write(self, data: Any) -> None:
        """Take `data`.

        Raises:
            TooLongError: there is no room for it.
        """
        is_bytes = data.__class__ is bytes
        self.room -= len(data) if is_bytes else memoryview(data).nbytes
        if self.room < 0:
            raise TooLongError
        self.chunks.append(data if is_bytes else bytes(data))


class CountingFile:
    """Keeps nothing of what a pickler writes, which it may until `room` is used up; large buffers cost it little."""

    __slots__ = ("room",)

    def __init__(self, room: int) -> None:
        self.room = room

    def write(self, data: Any) -> None:
        """Count `data`; raises as that of the bounded file."""
        self.room -= min(len(data), _PICKLE_FRAME) if data.__class__ is bytes else _PICKLE_FRAME
        if self.room < 0:
            raise TooLongError


def _pickle(value: Any, most: int, take: Take | None = None) -> bytes:
    file = BoundedFile(most, PICKLE)
    _write_pickle(value, file, take)
    return b"".join(file.chunks)


def _write_pickle(value: Any, file: BoundedFile | CountingFile, take: Take | None = None) -> None:
    _Pickler(file, protocol=PROTOCOL, buffer_callback=take).dump(value)


def describe(error: BaseException) -> str:
    """Give an error's class and text on one line."""
    name, text = type_name(type(error)), text_of(error, _DETAIL_CHARACTERS)
    return f"{name}: {text}" if text else name


# ---- finding the bad part of a value that could not be pickled


Write = Callable[[Any, "BoundedFile | CountingFile"], None]
"""Writes a part to a file; raises where the part cannot be carried."""


class RefusedPartError(Exception):
    """A writer does not carry a part: its text says what the part is, and what to do."""


def find_bad_part(value: Any, path: str, error: BaseException, write: Write) -> tuple[str, str]:
    """Descend to the smallest part that cannot be encoded; give its path and what is wrong with it.

    Args:
        value: what could not be encoded.
        path: what it is called.
        error: what was raised then.
        write: how a part is encoded.
    """
    if isinstance(error, RecursionError) or isinstance(error.__cause__, RecursionError):
        return path, "it is nested too deeply to be pickled"
    search = _Search(value, write)
    for _ in range(_SEARCH_DEPTH):
        found = search.find_in(value)
        if found is None:
            break
        step, value, failure = found
        path += step
        error = error if failure is None else failure
    if isinstance(error, RefusedPartError):
        return path, str(error)
    return path, f"a {type_name(type(value))} ({describe(error)})"


class _Search:
    """The search for a bad part, in bounded time: each try encodes all that is below a part."""

    def __init__(self, value: Any, write: Write) -> None:
        self._write = write
        # The parts themselves, since what was made by a look would leave its id to another.
        self._seen = {id(value): value}
        self._looks = _SEARCH_LOOKS
        self._tries = _SEARCH_TRIES
        self._bytes = _SEARCH_BYTES

    def find_in(self, value: Any) -> tuple[str, Any, BaseException | None] | None:
        """Give the first part of `value` that cannot be encoded: its step of the path, itself, and why.

        Where none is found, it is the one that was too large to be tried, if there is one alone.
        """
        large: list[tuple[str, Any, None]] = []
        for step, key, part in _safe_parts(value):
            self._looks -= 1
            if self._looks < 0 or self._tries == 0 or self._bytes <= 0:
                return None
            if type(part) in SCALARS or id(part) in self._seen:
                continue
            self._seen[id(part)] = part
            failure = self._try(part)
            if isinstance(failure, TooLongError):
                large.append((_to_step(step, key), part, None))
            elif failure is not None:
                return _to_step(step, key), part, failure
        return large[0] if len(large) == 1 else None

    def _try(self, part: Any) -> BaseException | None:
        self._tries -= 1
        room = min(_TRY_BYTES, self._bytes)
        file = CountingFile(room)
        try:
            self._write(part, file)
        except BaseException as error:  # noqa: BLE001 - it is what we look for
            return error
        finally:
            self._bytes -= room - max(0, file.room)
        return None


_Part = tuple[str, Any, Any]
"""A step of a path, with a place in braces for a key where it has one; the key; the part."""


def _to_step(step: str, key: Any) -> str:
    if key is _NO_KEY:
        return step
    try:
        text = repr(key[: _KEY_CHARACTERS + 1] if type(key) in {str, bytes} else key)
    except BaseException:  # noqa: BLE001 - a user's __repr__
        text = f"<a {type_name(type(key))}>"
    return step.format(text if len(text) <= _KEY_CHARACTERS else text[: _KEY_CHARACTERS - 3] + "...")


_NO_KEY = object()


def _safe_parts(value: Any) -> Iterator[_Part]:
    parts = _parts(value)
    while True:
        try:
            part = next(parts)
        except BaseException:  # noqa: BLE001 - the end, or a user's __getattr__: there the search ends too
            return
        yield part


def _parts(value: Any) -> Iterator[_Part]:
    if isinstance(value, dict):
        yield from (("[{}]", key, part) for key, part in value.items())
        yield from ((".key({})", key, key) for key in value)
    elif isinstance(value, list | tuple | deque):
        yield from (("[{}]", index, part) for index, part in enumerate(value))
    elif isinstance(value, set | frozenset):
        yield from ((".element", _NO_KEY, part) for part in value)
    else:
        yield from ((step, _NO_KEY, part) for step, part in _named_parts(value))
    if not isinstance(value, type):
        yield from ((step, _NO_KEY, part) for step, part in _attributes(value))


def _named_parts(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, types.FunctionType):
        yield from _function_parts(value)
    elif isinstance(value, types.MethodType):
        yield ".__self__", value.__self__
        yield ".__func__", value.__func__
    elif isinstance(value, functools.partial):
        yield from ((".func", value.func), (".args", value.args), (".keywords", value.keywords))
    elif isinstance(value, type):
        yield from ((f".{name}", part) for name, part in vars(value).items() if not name.startswith("__"))


def _function_parts(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    code = function.__code__
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        yield f".<variable {name}>", cell.cell_contents
    for name in _global_names(code):
        if name in function.__globals__:
            yield f".<global {name}>", function.__globals__[name]
    yield ".__defaults__", function.__defaults__
    yield ".__kwdefaults__", function.__kwdefaults__


def _global_names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _global_names(constant)


def _attributes(value: Any) -> Iterator[tuple[str, Any]]:
    # A class that says itself what is pickled is asked, so that what it leaves out is not blamed.
    state = getattr(value, "__dict__", None)
    if "__getstate__" in _own_names(type(value)):
        state = value.__getstate__()
    if isinstance(state, dict):
        yield from ((f".{name}", part) for name, part in state.items())
    for cls in type(value).__mro__:
        slots = cls.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name not in {"__dict__", "__weakref__"} and hasattr(value, name):
                yield f".{name}", getattr(value, name)
    for name in getattr(type(value), "__struct_fields__", ()):
        yield f".{name}", getattr(value, name)
    if isinstance(value, BaseException):
        yield ".args", value.args


def _own_names(cls: type) -> set[str]:
    return {name for base in cls.__mro__ if base is not object for name in base.__dict__}


def _renew_lock() -> None:
    # In a forked copy of the program: another thread may have been carrying a class when it was made.
    cloudpickle.cloudpickle._DYNAMIC_CLASS_TRACKER_LOCK = threading.Lock()  # noqa: SLF001


renewals.add(_renew_lock)
