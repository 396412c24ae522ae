"""Objects from plain data: the way back from what `plain_writer` gives.

Owns the checks: data comes from anywhere. Never imports anything but what the naming allows, and runs no code of a
class but that of migrations.

Theory of operation. What can be made empty (a list, a dict, a set, an object) is made first and noted under its id;
so a reference to it finds it, also from within itself. What cannot (a tuple, say) is noted when it is complete. A
reference that comes before that, or that needs the hash of what is not filled yet, makes the filling of what holds
it wait until all else has been read.
"""

from __future__ import annotations

import base64
import binascii
from array import array
from collections import defaultdict
from collections.abc import Callable, Collection
from types import FunctionType, MethodType
from typing import Any

from routilux.serial import arrays
from routilux.serial.errors import (
    FieldsChangedError,
    MissingMigrationError,
    NewerTypeError,
    PickleRefusedError,
    PlainDataError,
    ValueReadingError,
)
from routilux.serial.kinds import EnumKind, ObjectKind
from routilux.serial.makers import ARRAY, FACTORIES, STANDARD, VIEW, standard_makers
from routilux.serial.naming import Naming
from routilux.serial.plain_writer import (
    APART,
    AS_IT_IS,
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
    VERSION,
)
from routilux.serial.registry import Registration, WrittenType
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
    """Stands for what a reference leads to and is not complete yet."""

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        self.number = number


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
        value = reader.read(data, path)
        reader.finish()
    except RecursionError:
        raise PlainDataError(path, "it is nested too deeply") from None
    return value


class _Reader:
    def __init__(self, naming: Naming) -> None:
        self._naming = naming
        self._made: dict[int, Any] = {}
        self._unfilled: set[int] = set()
        """Ids of what has been made and not filled yet."""
        self._fillings: list[Callable[[], None]] = []
        """What waits until all else has been read."""
        self._fillers: dict[str, Callable[[int | None, dict[str, Any], str], Any]] = {
            LIST: lambda number, data, path: self._fill(number, [], data[LIST], path, _extend),
            DICT: lambda number, data, path: self._fill_pairs(number, {}, data[DICT], path),
            SET: lambda number, data, path: self._fill(number, set(), data[SET], path, _update, is_hashed=True),
            DEFAULT_DICT: self._fill_default_dict,
        }
        self._makers: dict[str, Callable[[Any, str], Any]] = {
            TUPLE: lambda content, path: tuple(self._read_all(content, path)),
            FROZENSET: lambda content, path: frozenset(self._read_all(content, path, is_hashed=True)),
            STR: lambda content, path: _decode(content, path).decode("utf-8", "surrogatepass"),
            BYTES: _decode,
            BYTEARRAY: lambda content, path: bytearray(_decode(content, path)),
            INT: lambda content, path: int(_name(content, path), 16),
            FLOAT: _make_float,
            CLASS: lambda content, path: naming.find_class(_name(content, path)),
            FUNCTION: lambda content, path: naming.find_function(_name(content, path)),
            METHOD: self._make_method,
            APART: lambda content, path: Unread(content, path, naming),
            AS_IT_IS: lambda content, _: content,
        }

    def finish(self) -> None:
        """Fill what had to wait."""
        while self._fillings:
            waiting, self._fillings = self._fillings, []
            for fill in waiting:
                fill()

    def read(self, data: Any, path: str, *, is_hashed: bool = False) -> Any:
        """Give the value of one part.

        Args:
            data: the part.
            path: where it is.
            is_hashed: whether its hash is needed at once.
        """
        cls = type(data)
        if data is None or cls in {bool, int, float, str}:
            return data
        if cls is list:
            return self._fill(None, [], data, path, _extend)
        if cls is not dict:
            raise PlainDataError(path, f"expected plain data, got a {cls.__name__}")
        tags = [key for key in data if type(key) is not str or key.startswith(TAG)]
        if not tags:
            return self._fill_named(None, {}, data, path)
        if REF in data:
            return self._refer(data[REF], path, is_hashed=is_hashed)
        try:
            return self._read_tagged(data, path)
        except (ValueReadingError, RecursionError):
            raise
        except Exception as error:
            raise PlainDataError(path, f"it cannot be made again ({describe(error)})") from error

    def _read_tagged(self, data: dict[str, Any], path: str) -> Any:
        number = data.get(ID)
        if number is not None and (type(number) is not int or number in self._made):
            raise PlainDataError(path, f"expected an id of its own, got {number!r}")
        if TYPE in data:
            return self._read_object(data, number, path)
        tags = [key for key in data if key not in {ID, ITEMS}]
        if len(tags) != 1:
            raise PlainDataError(path, f"expected one word for what it is, got {tags}")
        (tag,) = tags
        if tag in self._fillers:
            return self._fillers[tag](number, data, path)
        if ITEMS in data:
            return self._fill_standard(tag, number, data, path)
        value = self._make_whole(tag, data[tag], path)
        if number is not None:
            self._made[number] = value
        return value

    def _fill_standard(self, tag: str, number: int | None, data: dict[str, Any], path: str) -> Any:
        made, items = _STANDARD.get(tag, (None, ""))
        if made is None or not items:
            raise PlainDataError(path, f"there is nothing with items that is called {tag!r}")
        shell = made(*self._read_all(data[tag], path))
        if items == "dict":
            return self._fill_pairs(number, shell, data[ITEMS], path)
        return self._fill(number, shell, data[ITEMS], path, _extend)

    def _fill_default_dict(self, number: int | None, data: dict[str, Any], path: str) -> Any:
        (factory,) = self._read_all(data[DEFAULT_DICT], path)
        shell: Any = defaultdict(FACTORIES[factory] if type(factory) is str else factory)
        return self._fill_pairs(number, shell, data.get(ITEMS), path)

    def _make_whole(self, tag: str, content: Any, path: str) -> Any:
        if tag in self._makers:
            return self._makers[tag](content, path)
        if tag in _STANDARD:
            return _STANDARD[tag][0](*self._read_all(content, path))
        raise PlainDataError(path, f"there is nothing that is called {tag!r}; a newer version may have written it")

    def _make_method(self, content: Any, path: str) -> Any:
        owner, name = self._read_all(content, path)
        function = getattr(type(owner), _name(name, path), None)
        # Its own, and none of those that the language calls; and a part of what is read, not of a class.
        is_special = name.startswith("__") and name != "__call__"
        if not isinstance(function, FunctionType) or is_special or isinstance(owner, type):
            raise PlainDataError(path, f"a {type(owner).__qualname__} has no method {name!r}")
        return MethodType(function, owner)

    def _read_object(self, data: dict[str, Any], number: int | None, path: str) -> Any:
        name, version = _name(data[TYPE], path), data.get(VERSION, 1)
        if type(version) is not int or version < 1:
            raise PlainDataError(path, f"expected a version from 1, got {version!r}")
        fields = {key: part for key, part in data.items() if key not in {TYPE, VERSION, ID}}
        if not {str}.issuperset(map(type, fields)) or any(key.startswith(TAG) for key in fields):
            raise PlainDataError(path, f"expected names of fields, got {list(fields)}")
        registration = self._naming.find_registration(name)
        written = _written_type(registration, version, tuple(fields))
        steps = [f"{path}.{key}" for key in fields]
        if isinstance(registration.kind, ObjectKind):
            shell = written.make_shell()

            def fill(parts: list[Any]) -> None:
                _fill_object(written, shell, dict(zip(fields, parts, strict=True)), path)

            return self._fill_shell(number, shell, list(fields.values()), steps, fill)
        parts = [self.read(part, step, is_hashed=True) for part, step in zip(fields.values(), steps, strict=True)]
        _check_complete(parts, path)
        made = written.make(dict(zip(fields, parts, strict=True)))
        if number is not None:
            self._made[number] = made
        return made

    # -- What is made empty first

    def _fill(
        self,
        number: int | None,
        shell: Any,
        content: Any,
        path: str,
        fill: Callable[[Any, list[Any]], None],
        *,
        is_hashed: bool = False,
    ) -> Any:
        items = _items(content, path)
        steps = [f"{path}[{index}]" for index in range(len(items))]
        return self._fill_shell(number, shell, items, steps, lambda parts: fill(shell, parts), is_hashed=is_hashed)

    def _fill_named(self, number: int | None, shell: dict[str, Any], content: dict[str, Any], path: str) -> Any:
        steps = [f"{path}[{key!r}]" for key in content]
        return self._fill_shell(
            number,
            shell,
            list(content.values()),
            steps,
            lambda parts: shell.update(zip(content, parts, strict=True)),
        )

    def _fill_pairs(self, number: int | None, shell: Any, content: Any, path: str) -> Any:
        pairs = [_items(pair, path) for pair in _items(content, path)]
        if any(len(pair) != 2 for pair in pairs):  # noqa: PLR2004  a key and a value
            raise PlainDataError(path, "expected pairs of a key and a value")
        flat = [part for pair in pairs for part in pair]
        steps = [f"{path}[{index // 2}]" for index in range(len(flat))]

        def fill(parts: list[Any]) -> None:
            for key, part in zip(parts[::2], parts[1::2], strict=True):
                shell[key] = part

        return self._fill_shell(number, shell, flat, steps, fill, is_hashed=True)

    def _fill_shell(
        self,
        number: int | None,
        shell: Any,
        content: list[Any],
        steps: list[str],
        fill: Callable[[list[Any]], None],
        *,
        is_hashed: bool = False,
    ) -> Any:
        if number is not None:
            self._made[number] = shell
            self._unfilled.add(number)
        parts = [self.read(part, step, is_hashed=is_hashed) for part, step in zip(content, steps, strict=True)]
        if any(type(part) is _Later for part in parts):
            self._fillings.append(lambda: self._fill_later(parts, fill))
        else:
            fill(parts)
        # Also of one that waits: what needs its hash waits as well, and behind it.
        if number is not None and not any(type(part) is _Later for part in parts):
            self._unfilled.discard(number)
        return shell

    def _fill_later(self, parts: list[Any], fill: Callable[[list[Any]], None]) -> None:
        fill([self._made[part.number] if type(part) is _Later else part for part in parts])

    def _refer(self, number: Any, path: str, *, is_hashed: bool) -> Any:
        if type(number) is not int:
            raise PlainDataError(path, f"expected the id of what is meant, got {number!r}")
        if number not in self._made or (is_hashed and number in self._unfilled):
            return _Later(number)
        return self._made[number]

    def _read_all(self, content: Any, path: str, *, is_hashed: bool = False) -> list[Any]:
        parts = [
            self.read(part, f"{path}[{index}]", is_hashed=is_hashed) for index, part in enumerate(_items(content, path))
        ]
        _check_complete(parts, path)
        return parts


def _check_complete(parts: list[Any], path: str) -> None:
    for part in parts:
        if type(part) is _Later:
            raise PlainDataError(path, f"it refers to {part.number}, which is not complete before it")


def _fill_object(written: WrittenType, shell: Any, fields: dict[str, Any], path: str) -> None:
    try:
        written.fill(shell, fields)
    except (ValueReadingError, RecursionError):
        raise
    except Exception as error:
        raise PlainDataError(path, f"it cannot be made of these fields ({describe(error)})") from error


def _written_type(registration: Registration, version: int, fields: tuple[str, ...]) -> WrittenType:
    """Give what reads objects that were written with these fields."""
    name, current, kind = registration.name, registration.version, registration.kind
    if version > current:
        raise NewerTypeError(name, version, current)
    for step in range(version, current):
        if step not in registration.migrations:
            raise MissingMigrationError(name, step, current)
    if version == current and not isinstance(kind, EnumKind):
        gone, lacking = kind.find_gone(frozenset(fields)), kind.find_lacking(frozenset(fields))
        if gone or lacking:
            raise FieldsChangedError(name, version, gone, lacking)
    return WrittenType(registration, version, fields)


def _extend(shell: Any, parts: Collection[Any]) -> None:
    shell.extend(parts)


def _update(shell: set[Any], parts: Collection[Any]) -> None:
    shell.update(parts)


def _items(content: Any, path: str) -> list[Any]:
    if type(content) is not list:
        raise PlainDataError(path, f"expected a list, got a {type(content).__name__}")
    return content


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
