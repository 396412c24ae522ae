"""Objects as plain data: what `json.dump` and MessagePack take as it is, and people can read.

Owns the form, and the refusal of what could not be read back, by its path. Never looks anything up by a name.

The form. None, bool, text, lists, and whole numbers and floats that JSON and MessagePack have, are themselves; so is a
dict whose keys are texts that do not begin with `$`. All else is a dict with a key that does, and says what it is:
`{"$tuple": [...]}`, `{"$datetime": [2026, ...]}`; an object of a registered class is its fields beside `"$type"` and,
but for the first, `"$version"`; where it has attributes that its class does not declare, or lacks some, `"$beside"` and
`"$unset"` name them. What is referred to a second time has an `"$id"` where it is first, and is
`{"$ref": id}` where it is again, so that one object stays one, and cycles come out. The words are kept for ever.

Theory of operation. First a tree of nodes is built, one for each object, which notes those that are met again; then it
is turned into data, in the order in which it will be read, and the ids are given out.
"""

from __future__ import annotations

import base64
import math
import typing
from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import partial
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType, UnionType
from typing import Any

import msgspec

from routilux.serial import arrays
from routilux.serial.kinds import EnumKind, NamedTupleKind
from routilux.serial.makers import BULK, STANDARD, Standard, name_of_factory
from routilux.serial.naming import Naming
from supervisors.errors import ValueEncodingError
from supervisors.tracebacks import type_name
from supervisors.wire import values
from supervisors.wire.values import RefusedPartError, describe

TAG = "$"
"""What the keys begin with that say what a dict stands for."""
ID, REF = "$id", "$ref"
TYPE, VERSION, BESIDE, UNSET = "$type", "$version", "$beside", "$unset"
CLASS, FUNCTION, METHOD, ANNOTATION = "$class", "$function", "$method", "$annotation"
LIST, DICT, TUPLE, SET, FROZENSET = "$list", "$dict", "$tuple", "$set", "$frozenset"
INT, FLOAT, STR, BYTES, BYTEARRAY = "$int", "$float", "$str", "$bytes", "$bytearray"
NUMPY, DEFAULT_DICT = "$numpy", "$defaultdict"
APART, AS_IT_IS, PICKLED = "$apart", "$as_it_is", "$pickle"
ITEMS = "$items"

STANDARD_TAGS: dict[type, str] = {cls: f"${cls.__name__.lower()}" for cls in (*STANDARD, *BULK)}
"""The words of the types of the standard library."""

_LEAST, _MOST = -(2**63), 2**64 - 1
"""The whole numbers that MessagePack has."""

_Build = Callable[[Callable[[Any], Any]], Any]
"""Gives the data of an object, by what gives that of its parts."""
_Path = tuple[Any, str]
"""Where a part is: the path of what holds it, and the step from there."""


class Apart:
    """A value that is written by itself, with ids of its own: where it cannot be read, only it is lost.

    Args:
        value: the value.
        allow_pickle: whether it goes as a pickle where it cannot be plain data.
    """

    __slots__ = ("allow_pickle", "value")

    def __init__(self, value: Any, *, allow_pickle: bool = False) -> None:
        self.value = value
        self.allow_pickle = allow_pickle


class AsItIs:
    """What is plain data already, and is not looked into.

    Args:
        data: the data; its keys are texts.
    """

    __slots__ = ("data",)

    def __init__(self, data: Any) -> None:
        self.data = data


class _Node:
    """One object that is written.

    Args:
        value: the object: as long as it is held, its id is nobody else's.
    """

    __slots__ = ("build", "is_shared", "number", "value")

    def __init__(self, value: Any) -> None:
        self.value = value
        self.build: _Build
        """Gives its data, by what gives that of its parts."""
        self.is_shared = False
        self.number = 0


class _Again:
    """Stands where a node is referred to again."""

    __slots__ = ("node",)

    def __init__(self, node: _Node) -> None:
        self.node = node


def struct_as_it_is(struct: Any) -> Any:
    """Give a Struct of this package, which holds no values of users, as plain data: dicts, lists, texts and numbers."""
    return msgspec.json.decode(msgspec.json.encode(struct))


def write_plain(value: Any, path: str, naming: Naming) -> Any:
    """Give a value as plain data.

    Args:
        value: what is written; nothing of it is changed.
        path: what it is called in an error.
        naming: what classes and functions are called.

    Raises:
        ValueEncodingError: a part cannot be written such that it could be read again; the error's `path` names it.
    """
    writer = _Writer(naming)
    try:
        return writer.render(writer.look_at(value, (None, path)))
    except RecursionError:
        raise ValueEncodingError(path, "it is nested too deeply to be plain data") from None


class _Writer:
    def __init__(self, naming: Naming) -> None:
        self._naming = naming
        self._nodes: dict[int, _Node] = {}
        self._numbers = 0
        self._takes: dict[type, Callable[[Any, _Path], _Build]] = {
            list: self._list,
            dict: self._dict,
            tuple: partial(self._tagged, TUPLE),
            set: partial(self._tagged, SET),
            frozenset: partial(self._tagged, FROZENSET),
            bytearray: lambda value, _: _ready({BYTEARRAY: _to_text(value)}),
            defaultdict: self._default_dict,
            FunctionType: self._function,
            BuiltinFunctionType: self._function,
            MethodType: self._method,
            Apart: self._apart,
            AsItIs: lambda value, _: _ready({AS_IT_IS: value.data}),
        }

    def look_at(self, value: Any, path: _Path) -> Any:
        """Give the node of a value, or itself where it is plain."""
        cls = type(value)
        if value is None or cls is bool:
            return value
        if cls is str:
            return value if _is_text(value) else {STR: _to_text(value.encode("utf-8", "surrogatepass"))}
        if cls is int or cls is float:
            return _number(value)
        if cls is bytes:
            return {BYTES: _to_text(value)}
        node = self._nodes.get(id(value))
        if node is not None:
            node.is_shared = True
            return _Again(node)
        node = self._nodes[id(value)] = _Node(value)
        try:
            node.build = self._take_apart(value, cls, path)
        except RefusedPartError as error:
            raise _refusal(path, str(error)) from None
        except (ValueEncodingError, RecursionError):
            raise
        except Exception as error:
            raise _refusal(path, f"a {type_name(cls)} ({describe(error)})") from error
        return node

    def render(self, looked_at: Any) -> Any:
        """Give the data of what `look_at` gave."""
        if type(looked_at) is _Again:
            return {REF: looked_at.node.number}
        if type(looked_at) is not _Node:
            return looked_at
        if looked_at.is_shared:
            self._numbers += 1
            looked_at.number = self._numbers
        data = looked_at.build(self.render)
        if not looked_at.is_shared:
            return data
        if type(data) is list:
            return {ID: looked_at.number, LIST: data}
        if not any(key.startswith(TAG) for key in data):
            return {ID: looked_at.number, DICT: [[key, part] for key, part in data.items()]}
        return {ID: looked_at.number, **data}

    def _take_apart(self, value: Any, cls: type, path: _Path) -> _Build:
        takes = self._takes.get(cls)
        if takes is not None:
            return takes(value, path)
        standard = STANDARD.get(cls)
        if standard is not None:
            return self._standard(value, STANDARD_TAGS[cls], standard, path)
        if isinstance(value, type) or typing.get_args(value):
            return self._annotation(value, path)
        return self._mostly_bytes(value, cls, path) or self._object(value, cls, path)

    def _mostly_bytes(self, value: Any, cls: type, path: _Path) -> _Build | None:
        if cls in BULK:
            return self._tagged(STANDARD_TAGS[cls], BULK[cls][1](value, is_check=False), path)
        return self._tagged(NUMPY, arrays.take_numpy(value, is_check=False), path) if arrays.is_numpy(value) else None

    def _function(self, value: Any, _: _Path) -> _Build:
        if isinstance(value, BuiltinFunctionType) and not isinstance(value.__self__, ModuleType):
            raise RefusedPartError(f"the method {value.__name__!r} of a {type_name(type(value.__self__))}")
        return _ready({FUNCTION: self._naming.name_of_function(value)})

    def _annotation(self, value: Any, path: _Path) -> _Build:
        if not typing.get_args(value):
            return _ready({CLASS: self._naming.name_of_class(value)})
        origin = typing.get_origin(value)
        if not isinstance(origin, type) and origin is not typing.Union:
            raise RefusedPartError(f"the annotation {value}, which is neither a class with arguments nor a union")
        of = None if origin in {typing.Union, UnionType} else origin
        return self._tagged(ANNOTATION, [of, *typing.get_args(value)], path)

    def _apart(self, value: Apart, path: _Path) -> _Build:
        told = _told(path)
        try:
            return _ready({APART: write_plain(value.value, told, self._naming)})
        except ValueEncodingError:
            if not value.allow_pickle:
                raise
        return _ready({APART: {PICKLED: _to_text(values.encode_code(value.value, told))}})

    def _default_dict(self, value: Any, path: _Path) -> _Build:
        return self._with_items(DEFAULT_DICT, [_factory(value.default_factory)], value, path)

    def _list(self, value: list[Any], path: _Path) -> _Build:
        parts = self._parts(value, path)
        return lambda render: [render(part) for part in parts]

    def _dict(self, value: dict[Any, Any], path: _Path) -> _Build:
        if all(type(key) is str and not key.startswith(TAG) and _is_text(key) for key in value):
            named = {key: self.look_at(part, (path, f"[{key!r}]")) for key, part in value.items()}
            return lambda render: {key: render(part) for key, part in named.items()}
        pairs = self._pairs(value, path)
        return lambda render: {DICT: [[render(key), render(part)] for key, part in pairs]}

    def _tagged(self, tag: str, value: Iterable[Any], path: _Path) -> _Build:
        parts = self._parts(value, path)
        return lambda render: {tag: [render(part) for part in parts]}

    def _standard(self, value: Any, tag: str, standard: Standard, path: _Path) -> _Build:
        args = standard.take(value)
        if not standard.items:
            return self._tagged(tag, args, path)
        return self._with_items(tag, list(args), value, path)

    def _with_items(self, tag: str, args: list[Any], value: Any, path: _Path) -> _Build:
        looked_at = self._parts(args, path)
        if not isinstance(value, dict):
            parts = self._parts(value, path)
            return lambda render: {tag: [render(arg) for arg in looked_at], ITEMS: [render(part) for part in parts]}
        pairs = self._pairs(value, path)
        return lambda render: {
            tag: [render(arg) for arg in looked_at],
            ITEMS: [[render(key), render(part)] for key, part in pairs],
        }

    def _object(self, value: Any, cls: type, path: _Path) -> _Build:
        registration = self._naming.registration_of(cls)
        if registration is None:
            raise RefusedPartError(_unknown(cls))
        kind = registration.kind
        if isinstance(kind, NamedTupleKind):
            state = dict(zip(kind.fields, kind.take(value), strict=True))
        else:
            state = kind.take(value)
        head: dict[str, Any] = {TYPE: registration.name}
        if registration.version != 1:
            head[VERSION] = registration.version
        if kind.fields and not isinstance(kind, EnumKind):
            beside = [name for name in state if name not in kind.fields]
            unset = [name for name in kind.fields if name not in state]
            head.update({word: names for word, names in ((BESIDE, beside), (UNSET, unset)) if names})
        fields = {}
        for name, part in state.items():
            if name.startswith(TAG):
                raise RefusedPartError(
                    f"a {type_name(type(value))} with a field {name!r}, whose name begins with {TAG!r}"
                )
            fields[name] = self.look_at(part, (path, f".{name}"))
        return lambda render: {**head, **{name: render(part) for name, part in fields.items()}}

    def _method(self, value: MethodType, path: _Path) -> _Build:
        owner, name = value.__self__, value.__name__
        if isinstance(owner, type) or getattr(type(owner), name, None) is not value.__func__:
            raise RefusedPartError(f"the method {name!r}, which is not what its object has under that name")
        parts = [self.look_at(owner, (path, ".__self__")), name]
        return lambda render: {METHOD: [render(part) for part in parts]}

    def _parts(self, value: Iterable[Any], path: _Path) -> list[Any]:
        return [self.look_at(part, (path, f"[{index}]")) for index, part in enumerate(value)]

    def _pairs(self, value: dict[Any, Any], path: _Path) -> list[tuple[Any, Any]]:
        return [
            (
                self.look_at(key, (path, f".keys()[{index}]")),
                self.look_at(part, (path, f"[{_shown(key, index)}]")),
            )
            for index, (key, part) in enumerate(value.items())
        ]


def _factory(factory: Any) -> Any:
    if factory is None:
        return None
    name = name_of_factory(factory)
    if name is not None:
        return name
    if not isinstance(factory, type):
        raise RefusedPartError(f"a defaultdict whose values are made by a {type_name(type(factory))}, and no class")
    return factory


def _to_text(data: bytes | bytearray) -> str:
    return base64.b64encode(data).decode("ascii")


def _ready(data: Any) -> _Build:
    return lambda _: data


def _is_text(value: str) -> bool:
    """Tell whether MessagePack has it: no half of a surrogate pair."""
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _number(value: float) -> Any:
    if type(value) is int:
        return value if _LEAST <= value <= _MOST else {INT: hex(value)}
    return value if math.isfinite(value) else {FLOAT: repr(value)}


def _shown(key: Any, index: int) -> str:
    return repr(key) if type(key) in {str, int, bool, type(None)} else f"keys()[{index}]"


def _unknown(cls: type) -> str:
    name = type_name(cls)
    if cls.__flags__ & _HEAP_TYPE:
        return f"a {name}, which is not registered: derive it from Serializable, or routilux.register(...) its class"
    return (
        f"a {name}, which cannot be plain data: take it out by remove_serializable_fields, if its owner can do without"
    )


_HEAP_TYPE = 1 << 9
"""The flag of classes that were made by a class statement (`Py_TPFLAGS_HEAPTYPE`)."""


def _refusal(path: _Path, what: str) -> ValueEncodingError:
    return ValueEncodingError(_told(path), what)


def _told(path: _Path) -> str:
    steps = []
    at: Any = path
    while at is not None:
        at, step = at
        steps.append(step)
    return "".join(reversed(steps))
