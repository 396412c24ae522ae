"""How values become bytes and back: the one door to cloudpickle.

Owns the encoding of payloads, states and services. A value that MessagePack gives back exactly
as it was is carried as MessagePack; everything else as a pickle (by value where it was defined
in `__main__`, so that scripts and notebooks work). The first byte tells which. Never opens a
channel, never decides who decodes: bytes are decoded by the turn that uses them, and by
nobody else, since unpickling runs code.
"""

from __future__ import annotations

import functools
import io
import os
import threading
import types
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import cloudpickle
import msgspec

from supervisors.errors import ValueDecodingError, ValueEncodingError

MAX_VALUE_BYTES = 255 * 1024 * 1024
"""Bytes of an encoded value at most: what fits into a frame of the default bound with its envelope."""
_PLAIN = b"\x01"
_PICKLE = b"\x02"
_PROTOCOL = 5

_SCALARS = frozenset({type(None), bool, int, float, str, bytes})
"""Types that MessagePack gives back as they were (checked exactly: subclasses do not come back).

Integers beyond 64 bits and text with lone surrogates make msgspec raise; they go by pickle.
"""
_TEXT = frozenset({str})
_DEPTH = 32
"""Levels of containers that are looked into (arbitrary); what is deeper goes by pickle."""
_SEARCH_DEPTH = 24
"""Levels that the search for a bad part descends (arbitrary)."""
_SEARCH_PARTS = 10_000
"""Parts that the search tries to encode before it gives up and names what it has (arbitrary)."""

_KEY_CHARACTERS = 40
"""Characters of a key that a path shows (arbitrary)."""
_CLASS_PARTS = 6
"""Length of the tuple that a class carried by value is reduced to: its last part fills the class in."""

_packer = msgspec.msgpack.Encoder()
_unpacker = msgspec.msgpack.Decoder()


def encode(value: Any, path: str = "value") -> bytes:
    """Encode `value`, which is copied by this: later changes to it do not show.

    Args:
        value: anything that MessagePack or cloudpickle can carry.
        path: what the value is called in an error, such as `payload`.

    Raises:
        ValueEncodingError: some part cannot be carried; the error's `path` names it. Whatever
            the value's own methods raise is turned into this, `SystemExit` included.
    """
    try:
        data = _PLAIN + _packer.encode(value) if is_plain(value) else None
    except Exception:  # noqa: BLE001 - not plain after all (huge integer, lone surrogate): pickle it
        data = None
    if data is None:
        data = encode_code(value, path)
    if len(data) > MAX_VALUE_BYTES:
        raise ValueEncodingError(
            path, f"it takes {len(data):,} bytes, at most {MAX_VALUE_BYTES:,} travel in one message"
        )
    return data


def decode(data: bytes | memoryview) -> Any:
    """Give back the value that `encode` or `encode_code` was given. This runs code: see the module.

    Raises:
        ValueDecodingError: the bytes are damaged, or what they need (a module, a class) is not
            here, or it raised, whatever it raised.
    """
    view = memoryview(data)
    tag = bytes(view[:1])
    try:
        if tag == _PLAIN:
            return _unpacker.decode(view[1:])
        if tag == _PICKLE:
            return cloudpickle.loads(view[1:])
    except BaseException as error:  # user code runs in there, and it may raise anything
        message = f"{len(view)} bytes could not be turned back into a value: {_describe(error)}"
        raise ValueDecodingError(message) from error
    what = f"it starts with {tag!r}" if tag else "it is empty"
    raise ValueDecodingError(f"this is no encoded value: {what}")


def encode_code(obj: Any, path: str) -> bytes:
    """Encode an object together with the code it needs, always as a pickle; else as `encode`."""
    try:
        return _PICKLE + _pickle(obj)
    except BaseException as error:
        bad_path, detail = _find_bad_part(obj, path, error)
        raise ValueEncodingError(bad_path, detail) from error


def decode_code(data: bytes | memoryview) -> Any:
    """Give back the object that `encode_code` was given; raises as `decode`."""
    return decode(data)


def is_plain(value: Any) -> bool:
    """Tell whether MessagePack gives `value` back as it is: same types, nothing shared or cyclic.

    The one thing it does not look at is the size of integers and whether text can be encoded:
    msgspec raises for those.
    """
    kind = type(value)
    if kind is dict:
        # The common payload, a flat dict with text keys, is decided by two loops in C.
        if not _TEXT.issuperset(map(type, value)):
            return False
        if _SCALARS.issuperset(map(type, value.values())):
            return True
    elif kind in _SCALARS:
        return True
    elif kind is not list:
        return False
    return _is_plain_container(value, set(), _DEPTH)


def _is_plain_container(value: Any, seen: set[int], depth: int) -> bool:
    # A container met twice would come back as two: shared references are kept by pickle only.
    if depth == 0 or id(value) in seen:
        return False
    seen.add(id(value))
    parts: Iterable[Any] = value
    if type(value) is dict:
        if not _TEXT.issuperset(map(type, value)):
            return False
        parts = value.values()
    kinds = set(map(type, parts)) - _SCALARS
    if not kinds:
        return True
    if not kinds <= {dict, list}:
        return False
    return all(_is_plain_container(part, seen, depth - 1) for part in parts if type(part) not in _SCALARS)


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle is untyped
    """Pickles classes of `__main__` by value, as cloudpickle does, but changes none that is known.

    cloudpickle recognizes a class that comes back from a child and gives the same class again, but
    sets all its attributes anew on the way: the methods of the program's own class would be replaced
    by copies with other globals, and class attributes set back. So a class is filled in once.
    """

    def reducer_override(self, obj: Any) -> Any:
        reduced = super().reducer_override(obj)
        if isinstance(obj, type) and isinstance(reduced, tuple) and len(reduced) == _CLASS_PARTS:
            _known_classes.add(obj)
            make, args, state, items, pairs, fill = reduced
            return make, args, (fill, state), items, pairs, _fill_class_once
        return reduced


_known_classes: weakref.WeakSet[type] = weakref.WeakSet()
"""Classes carried by value that are complete in this process."""


def _fill_class_once(cls: type, content: tuple[Callable[[type, Any], Any], Any]) -> None:
    fill, state = content
    if cls not in _known_classes:
        fill(cls, state)
        _known_classes.add(cls)


def _pickle(value: Any) -> bytes:
    with io.BytesIO() as file:
        _Pickler(file, protocol=_PROTOCOL).dump(value)
        return file.getvalue()


def _describe(error: BaseException) -> str:
    try:
        text = str(error)
    except BaseException as second:  # noqa: BLE001 - a user's __str__
        text = f"<its __str__ raised {type(second).__name__}>"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


# ---- finding the bad part of a value that could not be pickled


def _find_bad_part(value: Any, path: str, error: BaseException) -> tuple[str, str]:
    """Descend to the smallest part that cannot be pickled; give its path and what is wrong with it."""
    if isinstance(error, RecursionError) or isinstance(error.__cause__, RecursionError):
        return path, "it is nested too deeply to be pickled"
    budget = _SEARCH_PARTS
    seen = {id(value)}
    for _ in range(_SEARCH_DEPTH):
        found = None
        for step, part in _safe_parts(value):
            if budget == 0:
                break
            if id(part) in seen or type(part) in _SCALARS:
                continue
            budget -= 1
            seen.add(id(part))
            failure = _try_pickle(part)
            if failure is not None:
                found = (step, part, failure)
                break
        if found is None:
            break
        step, value, error = found
        path += step
    return path, f"{_kind(value)} ({_describe(error)})"


def _kind(value: Any) -> str:
    cls = type(value)
    return f"a {cls.__qualname__}" if cls.__module__ == "builtins" else f"a {cls.__module__}.{cls.__qualname__}"


def _try_pickle(part: Any) -> BaseException | None:
    try:
        _pickle(part)
    except BaseException as error:  # noqa: BLE001 - it is what we look for
        return error
    return None


def _safe_parts(value: Any) -> list[tuple[str, Any]]:
    try:
        return list(_parts(value))
    except BaseException:  # noqa: BLE001 - a user's __getattr__ or __repr__: the search ends here
        return []


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        yield from ((f"[{_short(key)}]", part) for key, part in value.items())
        yield from ((f".key({_short(key)})", key) for key in value)
    elif isinstance(value, list | tuple):
        yield from ((f"[{index}]", part) for index, part in enumerate(value))
    elif isinstance(value, set | frozenset):
        yield from ((".element", part) for part in value)
    elif isinstance(value, types.FunctionType):
        yield from _function_parts(value)
    elif isinstance(value, types.MethodType):
        yield ".__self__", value.__self__
        yield ".__func__", value.__func__
    elif isinstance(value, functools.partial):
        yield from ((".func", value.func), (".args", value.args), (".keywords", value.keywords))
    elif isinstance(value, type):
        yield from ((f".{name}", part) for name, part in vars(value).items() if not name.startswith("__"))
        return
    yield from _attributes(value)


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


def _short(key: Any) -> str:
    text = repr(key)
    return text if len(text) <= _KEY_CHARACTERS else text[: _KEY_CHARACTERS - 3] + "..."


def _renew_lock() -> None:
    # In a forked copy of the program: another thread may have been carrying a class when it was made.
    cloudpickle.cloudpickle._DYNAMIC_CLASS_TRACKER_LOCK = threading.Lock()  # noqa: SLF001


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)
