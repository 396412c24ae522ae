"""Values with identity: a graph of objects as a pickle that can do nothing but make values. The second door to pickle.

Owns the encoding of what MessagePack would change: tuples, sets, shared references, cycles, the types of the standard
library, objects of registered classes. Never looks up a name in a module, and never calls what came with the bytes.

Theory of operation. The interpreter's pickler writes, as it is fast and knows of identity; `reducer_override` is asked
about every object that has no opcode of its own, and reduces it to calls of two makers: `MAKE(number, ...)`, where the
number is one of the closed table in `makers`, and `FILL(object, (type, fields))`. The two are no names in the stream:
they lie in the memo before it begins, on both sides. So a graph has no global, no BUILD and no NEWOBJ at all, and what
has one is no graph: `streams` looks at every opcode before the unpickler does.
"""

from __future__ import annotations

import io
import pickle
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from routilux.serial import arrays, streams
from routilux.serial.errors import ValueReadingError
from routilux.serial.kinds import ObjectKind
from routilux.serial.makers import (
    APART,
    BULK,
    DEFAULT_DICT,
    FACTORIES,
    NUMPY,
    SHELL,
    STANDARD,
    TYPE,
    WHOLE,
    name_of_factory,
    standard_makers,
)
from routilux.serial.registry import Registration, Registry, WrittenType
from supervisors.errors import ValueDecodingError, ValueEncodingError
from supervisors.tracebacks import type_name
from supervisors.wire.sharing import Buffers
from supervisors.wire.values import (
    MAX_VALUE_BYTES,
    PROTOCOL,
    TOO_LONG,
    BoundedFile,
    CountingFile,
    RefusedPartError,
    TooLongError,
    describe,
    find_bad_part,
)

GRAPH = b"\x03"
"""First byte of a graph."""


class _Token:
    """Stands for a maker while a graph is written."""

    __slots__ = ()

    def __call__(self, *args: Any) -> Any:
        """Nothing: the pickler wants what it writes a call of to be callable."""


_MAKE, _FILL = _Token(), _Token()


def _memo_of_tokens() -> Any:
    pickler = pickle.Pickler(io.BytesIO(), PROTOCOL)
    pickler.memo = {id(token): (place, token) for place, token in enumerate((_MAKE, _FILL))}
    return pickler.memo


_TOKENS = _memo_of_tokens()
_PREAMBLE = pickle.PROTO + bytes([PROTOCOL]) + 2 * (pickle.NEXT_BUFFER + pickle.MEMOIZE) + pickle.TUPLE2 + pickle.STOP
"""Puts the two makers, which it is given as buffers, into the memo of an unpickler."""
_MAKERS = 2


class _Pickler(pickle.Pickler):
    """Writes graphs.

    Args:
        file: where to.
        registry: the classes it knows.
        is_check: whether the bytes of arrays are counted only.
        buffers: takes the elements of large arrays; None: all are written.
    """

    def __init__(
        self, file: BoundedFile | CountingFile, registry: Registry, *, is_check: bool, buffers: Buffers | None = None
    ) -> None:
        super().__init__(file, PROTOCOL, buffer_callback=_refuse_buffer)
        self.memo = _TOKENS
        self._file = file
        self._classes = registry.by_class
        self._is_check = is_check
        self._buffers = buffers

    def reducer_override(self, obj: Any) -> Any:
        cls = type(obj)
        registration = self._classes.get(cls)
        if registration is not None:
            return _reduce_object(obj, registration)
        if cls is Registration:
            return _MAKE, (TYPE, *obj.type_args)
        standard = STANDARD.get(cls)
        if standard is not None:
            args = (standard.number, *standard.take(obj))
            if not standard.items:
                return _MAKE, args
            items = iter(obj) if standard.items == "list" else None
            return _MAKE, args, None, items, iter(obj.items()) if items is None else None
        return self._reduce_special(obj, cls)

    def _reduce_special(self, obj: Any, cls: type) -> Any:
        if cls is defaultdict:
            return _MAKE, (DEFAULT_DICT, self._factory(obj.default_factory)), None, None, iter(obj.items())
        bulk = BULK.get(cls)
        if bulk is not None:
            number, take = bulk
            self._count(obj)
            return _MAKE, (number, *take(obj, is_check=self._is_check))
        if arrays.is_numpy(obj):
            elements = None if self._buffers is None else arrays.elements_of(obj)
            if self._buffers is not None and elements is not None:
                *parts, _none = arrays.take_numpy(obj, is_check=True)
                return _MAKE, (APART, self._buffers.add(elements), *parts)
            self._count(obj)
            return _MAKE, (NUMPY, *arrays.take_numpy(obj, is_check=self._is_check))
        raise RefusedPartError(_refusal(obj))

    def _count(self, obj: Any) -> None:
        """See that a large array fits before its bytes are copied; a check counts nothing else."""
        size = arrays.count_bytes(obj)
        if size > self._file.room:
            raise TooLongError
        if self._is_check:
            self._file.room -= size

    def _factory(self, factory: Any) -> Any:
        if factory is None:
            return None
        name = name_of_factory(factory)
        if name is not None:
            return name
        registration = self._classes.get(factory) if isinstance(factory, type) else None
        if registration is None:
            what = type_name(factory) if isinstance(factory, type) else f"a {type_name(type(factory))}"
            raise RefusedPartError(
                f"a defaultdict whose values are made by {what}: a built-in class, a registered one or None can be kept"
            )
        return registration


def _reduce_object(obj: Any, registration: Registration) -> Any:
    state = registration.kind.take(obj)
    if isinstance(registration.kind, ObjectKind):
        return _MAKE, (SHELL, registration), (registration, state), None, None, _FILL
    return _MAKE, (WHOLE, registration, state)


def _refuse_buffer(_buffer: Any) -> None:
    raise RefusedPartError("a pickle.PickleBuffer: memoryview(...) of it can be kept")


def _refusal(obj: Any) -> str:
    cls = type(obj)
    what = f"a {type_name(cls)}"
    if isinstance(obj, type):
        return f"the class {type_name(obj)}: objects can be kept, classes cannot (unless by allow_pickle=True)"
    if cls.__module__ in {"builtins", "_thread", "_io", "types"} or not cls.__flags__ & _HEAP_TYPE:
        return f"{what}, which cannot be kept (unless by allow_pickle=True, if it can be pickled)"
    return f"{what}, which is not registered: routilux.register(...) its class, or give allow_pickle=True"


_HEAP_TYPE = 1 << 9
"""The flag of classes that were made by a class statement (`Py_TPFLAGS_HEAPTYPE`)."""


def write_graph(value: Any, path: str, registry: Registry, buffers: Buffers | None = None) -> bytes:
    """Encode a value as a graph.

    Args:
        value: the value.
        path: what it is called in an error.
        registry: the classes it may be made of.
        buffers: as of the pickler.

    Raises:
        ValueEncodingError: some part cannot be carried; the error's `path` names it.
    """
    file = BoundedFile(MAX_VALUE_BYTES, GRAPH)
    _write(value, path, registry, file, buffers=buffers)
    return b"".join(file.chunks)


def check_graph(value: Any, path: str, registry: Registry) -> None:
    """Raise what `write_graph` would raise; what it writes is not kept, and arrays are not copied."""
    _write(value, path, registry, _MeasuringFile(MAX_VALUE_BYTES - len(GRAPH)), is_check=True)


class _MeasuringFile(CountingFile):
    """Keeps nothing of what a pickler writes, and counts all of it."""

    __slots__ = ()

    def write(self, data: Any) -> None:
        """Count `data`; raises as that of the bounded file."""
        self.room -= len(data) if data.__class__ is bytes else memoryview(data).nbytes
        if self.room < 0:
            raise TooLongError


def _write(
    value: Any,
    path: str,
    registry: Registry,
    file: BoundedFile | CountingFile,
    *,
    is_check: bool = False,
    buffers: Buffers | None = None,
) -> None:
    try:
        _Pickler(file, registry, is_check=is_check, buffers=buffers).dump(value)
    except TooLongError:
        raise ValueEncodingError(path, TOO_LONG) from None
    except BaseException as error:  # noqa: BLE001 - an object's own methods may raise anything

        def write_part(part: Any, file: BoundedFile | CountingFile) -> None:
            _Pickler(file, registry, is_check=True).dump(part)

        bad_path, detail = find_bad_part(value, path, error, write_part)
        raise ValueEncodingError(bad_path, detail) from (None if isinstance(error, RefusedPartError) else error)


class _Make:
    """The first maker of a stream that is read: makes what is in the table."""

    __slots__ = ("_makers",)

    def __init__(self, makers: dict[int, Callable[..., Any]]) -> None:
        self._makers = makers

    def __call__(self, number: Any, *args: Any) -> Any:
        if type(number) is not int or number not in self._makers:
            raise ValueError("there is no such maker")  # its text would be asked of whatever object it is
        return self._makers[number](*args)

    def with_buffers(self, buffers: Sequence[Any]) -> _Make:
        """Give one that makes arrays of these too, unless it makes something else of arrays."""

        def make_apart(index: Any, *parts: Any) -> Any:
            if type(index) is not int or not 0 <= index < len(buffers):
                raise ValueError("there is no such buffer")
            return self._makers[APART](*parts, buffers[index])

        return _Make({**self._makers, APART: make_apart})


class _ActiveClassError(Exception):
    """A class was met whose objects a stream could call, and the stream was not run through before."""


class _Unpickler(pickle.Unpickler):
    """Reads graphs: it finds nothing by name."""

    def find_class(self, module: str, name: str, /) -> Any:
        """Refuse any name; `streams` has, before.

        Raises:
            ValueError: always.
        """
        raise ValueError(f"a graph names {module}.{name}")


class Types(Protocol):
    """What becomes of the registered types in a graph that is read."""

    def find_type(self, name: str, version: int, fields: tuple[str, ...]) -> Any:
        """Give what stands for a type that was written."""

    def find_class(self, found: Any) -> type | None:
        """Give the class that a type stands for; None where there is none. Raises for what is no type."""

    def make_shell(self, found: Any) -> Any:
        """Make an object that holds nothing yet."""

    def make_whole(self, found: Any, state: Any) -> Any:
        """Make an object with what it holds."""

    def fill(self, obj: Any, content: Any) -> None:
        """Set what an object holds: a pair of its type and that."""


class RegisteredTypes:
    """Types as a registry has them.

    Args:
        registry: the registry.
    """

    def __init__(self, registry: Registry) -> None:
        self.find_type = registry.find_type

    def find_class(self, found: Any) -> type:
        return _type_of(found).cls

    def make_shell(self, found: Any) -> Any:
        return _type_of(found).make_shell()

    def make_whole(self, found: Any, state: Any) -> Any:
        return _type_of(found).make(state)

    def fill(self, obj: Any, content: Any) -> None:
        found, state = content
        _type_of(found).fill(obj, state)


def _type_of(found: Any) -> WrittenType:
    if type(found) is not WrittenType:
        raise TypeError("no type stands where one was expected")
    return found


class Reader:
    """Reads graphs.

    Args:
        types: what becomes of registered types.
        special: makers in place of those of the table, by number.
    """

    def __init__(self, types: Types, special: dict[int, Callable[..., Any]] | None = None) -> None:
        self._types = types
        makers: dict[int, Callable[..., Any]] = {
            **standard_makers(),
            SHELL: types.make_shell,
            WHOLE: types.make_whole,
            DEFAULT_DICT: self._make_default_dict,
        }
        makers.update(special or {})
        idle, any_type = {**makers, TYPE: self._find_idle_type}, {**makers, TYPE: self._find_type}
        self._makers = (_Make(idle), types.fill)
        self._checked_makers = (_Make(any_type), types.fill)

    def read(self, data: memoryview, buffers: Sequence[Any] = ()) -> Any:
        """Give the value of a graph.

        Args:
            data: its bytes, without the first.
            buffers: the elements of arrays that were not written into it.

        Raises:
            ValueReadingError: it is sound, and cannot be read here.
            ValueDecodingError: it is damaged.
        """
        stream, start = b"".join((_PREAMBLE, data)), len(_PREAMBLE)
        try:
            streams.check_opcodes(stream, start)
            if not streams.is_maybe_deep(stream):
                try:
                    return _load(stream, self._makers, buffers)
                except _ActiveClassError:
                    pass
            streams.check_targets(stream, start, _MAKERS, _TAKERS)
            return _load(stream, self._checked_makers, buffers)
        except ValueReadingError:
            raise
        except BaseException as error:  # hashing runs code of registered classes, and it may raise anything
            message = f"{len(data) + 1} bytes could not be turned back into a value: {describe(error)}"
            raise ValueDecodingError(message) from error

    def _find_type(self, name: Any, version: Any, fields: Any) -> Any:
        is_name = type(name) is str and type(version) is int and version >= 1
        if not is_name or type(fields) is not tuple or not {str}.issuperset(map(type, fields)):
            raise ValueError("no name, version and fields of a type")
        return self._types.find_type(name, version, fields)

    def _find_idle_type(self, name: Any, version: Any, fields: Any) -> Any:
        found = self._find_type(name, version, fields)
        cls = self._types.find_class(found)
        if cls is not None and streams.is_active(cls):
            raise _ActiveClassError
        return found

    def _make_default_dict(self, factory: Any) -> Any:
        if type(factory) is str:
            return defaultdict(FACTORIES[factory])
        return defaultdict(None if factory is None else self._types.find_class(factory))


_TAKERS = frozenset({DEFAULT_DICT, *(standard.number for standard in STANDARD.values() if standard.items)})


def _load(stream: bytes, makers: tuple[_Make, Any], buffers: Sequence[Any]) -> Any:
    if buffers:
        makers = makers[0].with_buffers(buffers), makers[1]
    unpickler = _Unpickler(io.BytesIO(stream), buffers=makers)
    unpickler.load()  # the preamble
    return unpickler.load()
