"""Objects from plain data: the way back from what `plain_writer` gives.

Owns the checks: data comes from anywhere. Never imports anything but what the naming allows, and runs no code of a
class but that of migrations.

Theory of operation. What can be made empty (a list, a dict, a set, an object) is made first and noted under its id;
so a reference to it finds it, also from within itself. What cannot (a tuple, say) is noted when it is complete. A
reference that comes before that, or whose hash is needed while what is meant is not filled yet, gives a `_Later`:
what holds it is filled when all else has been read, and of that what needs hashes last.
"""

from __future__ import annotations

import base64
import binascii
import functools
import operator
from array import array
from collections import defaultdict
from collections.abc import Callable
from types import FunctionType, GenericAlias, MethodType
from typing import Any, NamedTuple

from routilux.serial import arrays
from routilux.serial.errors import (
    PickleRefusedError,
    PlainDataError,
    ValueReadingError,
)
from routilux.serial.kinds import ObjectKind, OwnKind
from routilux.serial.makers import ARRAY, FACTORIES, STANDARD, VIEW, standard_makers
from routilux.serial.naming import Naming
from routilux.serial.plain_writer import (
    ANNOTATION,
    APART,
    AS_IT_IS,
    BESIDE,
    BYTEARRAY,
    BYTES,
    CLASS,
    DEFAULT_DICT,
    DICT,
    FLOAT,
    FROZENSET,
    FUNCTION,
    ID,
    INT,
    ITEMS,
    LIST,
    METHOD,
    NUMPY,
    PICKLED,
    REF,
    SET,
    STANDARD_TAGS,
    STR,
    TAG,
    TUPLE,
    TYPE,
    UNSET,
    VERSION,
)
from routilux.serial.registry import WrittenType
from supervisors.wire import values
from supervisors.wire.values import describe

_MAKERS = standard_makers()
_STANDARD: dict[str, tuple[Callable[..., Any], str]] = {
    **{STANDARD_TAGS[cls]: (standard.make, standard.items) for cls, standard in STANDARD.items()},
    STANDARD_TAGS[array]: (_MAKERS[ARRAY], ""),
    STANDARD_TAGS[memoryview]: (_MAKERS[VIEW], ""),
    NUMPY: (arrays.make_numpy, ""),
}
_NOT_FINITE = {"nan", "inf", "-inf"}


class Unread:
    """A value that was written by itself (`Apart`), and is not read yet."""

    __slots__ = ("_naming", "_path", "data")

    def __init__(self, data: Any, path: str, naming: Naming) -> None:
        self.data = data
        self._path = path
        self._naming = naming

    def read(self, *, allow_pickle: bool = False) -> Any:
        """Give the value.

        Args:
            allow_pickle: whether it may be a pickle, whose loading runs code of whoever wrote it.

        Raises:
            ValueDecodingError: it cannot be read here.
        """
        data = self.data
        if type(data) is not dict or PICKLED not in data:
            return read_plain(data, self._path, self._naming)
        if not allow_pickle:
            raise PickleRefusedError
        return values.decode(_decode(data[PICKLED], self._path))


class _Later:
    """Stands for what is not complete yet.

    Args:
        resolve: gives it, when all else has been read.
    """

    __slots__ = ("resolve",)

    def __init__(self, resolve: Callable[[], Any]) -> None:
        self.resolve = resolve


def read_plain(data: Any, path: str, naming: Naming) -> Any:
    """Give the value that plain data stands for.

    Args:
        data: what `write_plain` gave, or JSON or MessagePack made of that; nothing of it is kept.
        path: what it is called in an error.
        naming: what names stand for.

    Raises:
        ValueReadingError: it cannot be read here; a `PlainDataError` is no such data.
    """
    reader = _Reader(naming)
    try:
        return reader.read_whole(data, path)
    except RecursionError:
        raise PlainDataError(path, "it is nested too deeply") from None
    except ValueReadingError:
        raise
    except Exception as error:
        raise PlainDataError(path, f"it cannot be made again ({describe(error)})") from error


class _At(NamedTuple):
    """Where something is that is read.

    Args:
        path: what it is called in an error.
        number: its id; None for what is referred to once.
        is_hashed: whether its hash is needed by what holds it.
    """

    path: str
    number: int | None = None
    is_hashed: bool = False

    def step(self, step: str, *, is_hashed: bool = False) -> _At:
        """Give the place of a part."""
        return _At(self.path + step, None, is_hashed)


class _Reader:
    def __init__(self, naming: Naming) -> None:
        self._naming = naming
        self._made: dict[int, Any] = {}
        self._unfilled: set[int] = set()
        """Ids of what has been made and not filled yet."""
        self._fillings: list[Callable[[], object]] = []
        """What waits until all else has been read."""
        self._hashing: list[Callable[[], object]] = []
        """What waits for those, since it needs hashes of what they fill."""
        self._shells: dict[str, Callable[[dict[str, Any], _At], Any]] = {
            LIST: lambda data, at: self._fill_items([], data[LIST], at, list.extend),
            DICT: lambda data, at: self._fill_pairs({}, data[DICT], at),
            SET: lambda data, at: self._fill_items(set(), data[SET], at, set.update, is_hashed=True),
            DEFAULT_DICT: self._read_default_dict,
            TYPE: self._read_object,
        }
        self._wholes: dict[str, Callable[[Any, _At], Any]] = {
            TUPLE: lambda content, at: self._make_whole(content, at, tuple),
            FROZENSET: lambda content, at: self._make_whole(content, at, frozenset, is_hashed=True),
            METHOD: lambda content, at: self._make_whole(content, at, lambda parts: _make_method(parts, at.path)),
            ANNOTATION: lambda content, at: self._make_whole(
                content, at, lambda parts: _make_annotation(parts, at.path)
            ),
        }
        self._atoms: dict[str, Callable[[Any, str], Any]] = {
            STR: lambda content, path: _decode(content, path).decode("utf-8", "surrogatepass"),
            BYTES: _decode,
            BYTEARRAY: lambda content, path: bytearray(_decode(content, path)),
            INT: lambda content, path: int(_name(content, path), 16),
            FLOAT: _make_float,
            CLASS: lambda content, path: naming.find_class(_name(content, path)),
            FUNCTION: lambda content, path: naming.find_function(_name(content, path)),
            APART: lambda content, path: Unread(content, path, naming),
            AS_IT_IS: lambda content, _: content,
        }

    def read_whole(self, data: Any, path: str) -> Any:
        """Give the value of all the data."""
        value = self._read(data, _At(path))
        for waiting in (self._fillings, self._hashing):
            for fill in waiting:
                fill()
        return value.resolve() if type(value) is _Later else value

    def _read(self, data: Any, at: _At) -> Any:
        cls = type(data)
        if data is None or cls in {bool, int, float, str}:
            return data
        if cls is list:
            return self._fill_items([], data, at, list.extend)
        if cls is not dict:
            raise PlainDataError(at.path, f"expected plain data, got a {cls.__name__}")
        if not any(type(key) is not str or key.startswith(TAG) for key in data):
            return self._fill_named({}, data, at)
        if REF in data:
            return self._refer(data[REF], at)
        try:
            return self._read_tagged(data, at)
        except (ValueReadingError, RecursionError):
            raise
        except Exception as error:
            raise PlainDataError(at.path, f"it cannot be made again ({describe(error)})") from error

    def _read_tagged(self, data: dict[str, Any], at: _At) -> Any:
        number = data.get(ID)
        if number is not None and (type(number) is not int or number in self._made):
            raise PlainDataError(at.path, f"expected an id of its own, got {number!r}")
        at = at._replace(number=number)
        tags = [TYPE] if TYPE in data else [key for key in data if key not in {ID, ITEMS}]
        if len(tags) != 1:
            raise PlainDataError(at.path, f"expected one word for what it is, got {tags}")
        (tag,) = tags
        if ITEMS in data and tag not in _STANDARD and tag != DEFAULT_DICT:
            raise PlainDataError(at.path, f"expected no items of {tag!r}")
        if tag in self._shells:
            return self._shells[tag](data, at)
        if tag in self._wholes:
            return self._wholes[tag](data[tag], at)
        if tag in self._atoms:
            return self._note(self._atoms[tag](data[tag], at.path), at)
        if tag in _STANDARD:
            return self._read_standard(tag, data, at)
        raise PlainDataError(at.path, f"there is nothing that is called {tag!r}; a newer version may have written it")

    def _read_standard(self, tag: str, data: dict[str, Any], at: _At) -> Any:
        make, items = _STANDARD[tag]
        if bool(items) != (ITEMS in data):
            raise PlainDataError(at.path, f"expected {tag!r} with items, or without")
        if not items:
            return self._make_whole(data[tag], at, lambda parts: make(*parts))
        shell = make(*self._read_complete(data[tag], at))
        if items == "dict":
            return self._fill_pairs(shell, data[ITEMS], at)
        return self._fill_items(shell, data[ITEMS], at, type(shell).extend)

    def _read_default_dict(self, data: dict[str, Any], at: _At) -> Any:
        (factory,) = self._read_complete(data[DEFAULT_DICT], at)
        shell: Any = defaultdict(FACTORIES[factory] if type(factory) is str else factory)
        return self._fill_pairs(shell, data.get(ITEMS), at)

    def _read_object(self, data: dict[str, Any], at: _At) -> Any:
        name, version = _name(data[TYPE], at.path), data.get(VERSION, 1)
        if type(version) is not int or version < 1:
            raise PlainDataError(at.path, f"expected a version from 1, got {version!r}")
        fields = {key: part for key, part in data.items() if key not in {TYPE, VERSION, ID, BESIDE, UNSET}}
        if not {str}.issuperset(map(type, fields)) or any(key.startswith(TAG) for key in fields):
            raise PlainDataError(at.path, f"expected names of fields, got {list(fields)}")
        registration = self._naming.find_registration(name)
        beside, unset = (_names(data.get(word, []), at.path) for word in (BESIDE, UNSET))
        # A class that declares nothing takes any.
        declared = (*(name for name in fields if name not in beside), *unset) if registration.kind.fields else ()
        written = registration.read_as(version, declared)
        if isinstance(registration.kind, ObjectKind):
            shell = written.make_shell()
            is_by_name = version == registration.version and not isinstance(registration.kind, OwnKind)

            def fill(named: dict[str, Any]) -> None:
                _fill_object(written, shell, named, at.path)

            return self._fill_fields(shell, fields, at, fill, is_by_name=is_by_name)

        def make(parts: list[Any]) -> Any:
            return written.make(dict(zip(fields, parts, strict=True)))

        parts = [self._read(part, at.step(f".{key}", is_hashed=at.is_hashed)) for key, part in fields.items()]
        return self._complete(parts, at, make)

    # -- What is made when all in it is there

    def _make_whole(self, content: Any, at: _At, make: Callable[[list[Any]], Any], *, is_hashed: bool = False) -> Any:
        items = _items(content, at.path)
        is_hashed = is_hashed or at.is_hashed
        parts = [self._read(part, at.step(f"[{index}]", is_hashed=is_hashed)) for index, part in enumerate(items)]
        return self._complete(parts, at, make)

    def _complete(self, parts: list[Any], at: _At, make: Callable[[list[Any]], Any]) -> Any:
        if any(type(part) is _Later for part in parts):
            return _Later(lambda: self._note(make(_resolve(parts)), at))
        return self._note(make(parts), at)

    def _note(self, value: Any, at: _At) -> Any:
        if at.number is not None:
            self._made[at.number] = value
        return value

    def _read_complete(self, content: Any, at: _At) -> list[Any]:
        parts = [self._read(part, at.step(f"[{index}]")) for index, part in enumerate(_items(content, at.path))]
        if any(type(part) is _Later for part in parts):
            raise PlainDataError(at.path, "what it is made with is not complete before it")
        return parts

    # -- What is made empty first

    def _fill_items(
        self, shell: Any, content: Any, at: _At, fill: Callable[[Any, list[Any]], object], *, is_hashed: bool = False
    ) -> Any:
        self._begin(shell, at)
        items = _items(content, at.path)
        parts = [self._read(part, at.step(f"[{index}]", is_hashed=is_hashed)) for index, part in enumerate(items)]
        return self._fill(shell, parts, at, lambda parts: fill(shell, parts), is_hashed=is_hashed)

    def _fill_named(self, shell: dict[str, Any], content: dict[str, Any], at: _At) -> Any:
        parts = [self._read(part, at.step(f"[{key!r}]")) for key, part in content.items()]
        return self._fill(shell, parts, at, lambda parts: shell.update(zip(content, parts, strict=True)))

    def _fill_pairs(self, shell: Any, content: Any, at: _At) -> Any:
        self._begin(shell, at)
        pairs = [_items(pair, at.path) for pair in _items(content, at.path)]
        if any(len(pair) != 2 for pair in pairs):  # noqa: PLR2004  a key and a value
            raise PlainDataError(at.path, "expected pairs of a key and a value")
        keys = [self._read(key, at.step(f".keys()[{index}]", is_hashed=True)) for index, (key, _) in enumerate(pairs)]
        parts = [self._read(part, at.step(f".values()[{index}]")) for index, (_, part) in enumerate(pairs)]

        def fill(flat: list[Any]) -> None:
            for key, part in zip(flat[: len(pairs)], flat[len(pairs) :], strict=True):
                shell[key] = part

        return self._fill(shell, [*keys, *parts], at, fill, is_hashed=True)

    def _fill_fields(
        self,
        shell: Any,
        fields: dict[str, Any],
        at: _At,
        fill: Callable[[dict[str, Any]], None],
        *,
        is_by_name: bool,
    ) -> Any:
        self._begin(shell, at)
        parts = {key: self._read(part, at.step(f".{key}")) for key, part in fields.items()}
        late = {key: part for key, part in parts.items() if type(part) is _Later}
        if not late:
            fill(parts)
            self._unfilled.discard(at.number or 0)
        elif is_by_name:
            # What is there already may be all that its hash takes.
            fill({key: part for key, part in parts.items() if key not in late})
            self._fillings.append(lambda: fill({key: part.resolve() for key, part in late.items()}))
        else:
            self._fillings.append(lambda: fill(dict(zip(parts, _resolve(list(parts.values())), strict=True))))
        return shell

    def _begin(self, shell: Any, at: _At) -> None:
        if at.number is not None:
            self._made[at.number] = shell
            self._unfilled.add(at.number)

    def _fill(
        self, shell: Any, parts: list[Any], at: _At, fill: Callable[[list[Any]], object], *, is_hashed: bool = False
    ) -> Any:
        if any(type(part) is _Later for part in parts):
            waiting = self._hashing if is_hashed else self._fillings
            waiting.append(lambda: fill(_resolve(parts)))
            return shell
        fill(parts)
        self._unfilled.discard(at.number or 0)
        return shell

    def _refer(self, number: Any, at: _At) -> Any:
        if type(number) is not int:
            raise PlainDataError(at.path, f"expected the id of what is meant, got {number!r}")
        if number in self._made and not (at.is_hashed and number in self._unfilled):
            return self._made[number]

        def find() -> Any:
            if number not in self._made:
                raise PlainDataError(at.path, f"it refers to {number}, and nothing has that id")
            return self._made[number]

        return _Later(find)


def _resolve(parts: list[Any]) -> list[Any]:
    return [part.resolve() if type(part) is _Later else part for part in parts]


def _make_method(parts: list[Any], path: str) -> Any:
    owner, name = parts
    function = getattr(type(owner), _name(name, path), None)
    # Its own, and none of those that the language calls; and a part of what is read, not of a class.
    is_special = name.startswith("__") and name != "__call__"
    if not isinstance(function, FunctionType) or is_special or isinstance(owner, type):
        raise PlainDataError(path, f"a {type(owner).__qualname__} has no method {name!r}")
    return MethodType(function, owner)


def _make_annotation(parts: list[Any], path: str) -> Any:
    origin, *args = parts
    is_class = origin is type or (isinstance(origin, type) and hasattr(origin, "__class_getitem__"))
    if not args or not (origin is None or is_class):
        raise PlainDataError(path, "expected a class that takes arguments, or None for a union, and the arguments")
    return functools.reduce(operator.or_, args) if origin is None else GenericAlias(origin, tuple(args))


def _fill_object(written: WrittenType, shell: Any, fields: dict[str, Any], path: str) -> None:
    try:
        written.fill(shell, fields)
    except (ValueReadingError, RecursionError):
        raise
    except Exception as error:
        raise PlainDataError(path, f"it cannot be made of these fields ({describe(error)})") from error


def _items(content: Any, path: str) -> list[Any]:
    if type(content) is not list:
        raise PlainDataError(path, f"expected a list, got a {type(content).__name__}")
    return content


def _names(content: Any, path: str) -> list[str]:
    return [_name(name, path) for name in _items(content, path)]


def _name(content: Any, path: str) -> str:
    if type(content) is not str:
        raise PlainDataError(path, f"expected a name, got {content!r}")
    return content


def _make_float(content: Any, path: str) -> float:
    if content not in _NOT_FINITE:
        raise PlainDataError(path, f"expected one of {sorted(_NOT_FINITE)}, got {content!r}")
    return float(content)


def _decode(content: Any, path: str) -> bytes:
    try:
        return base64.b64decode(content, validate=True)
    except (TypeError, ValueError, binascii.Error) as error:
        raise PlainDataError(path, f"expected base64 ({error})") from error
