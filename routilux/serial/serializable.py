"""`Serializable`: the base of what can be written as plain data and read again.

Owns the four ways in and out, and the mark of the format. What the data looks like is told in `plain_writer`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from types import FunctionType
from typing import Any, Self, TypeVar, overload

import msgspec

from routilux.serial.errors import PlainDataError, RegistrationError
from routilux.serial.fields import WithFields
from routilux.serial.naming import Naming, built_in
from routilux.serial.plain_reader import read_plain
from routilux.serial.plain_writer import TYPE, struct_as_it_is, write_plain
from routilux.serial.registry import Migration, default, default_name
from supervisors.tracebacks import type_name
from supervisors.wire.values import describe

FORMAT = 1
"""The form of the data; a reader refuses a later one."""
_FORMAT = "$format"

_T = TypeVar("_T", bound=Callable[..., Any])


class Serializable(WithFields):
    """Base of objects that can be written as plain data, with all they refer to, and read again.

    Derive a class from it, register it (`register_serializable`), and its objects have `serialize` and `to_bytes`.
    Their attributes are the fields; `add_serializable_fields` and `remove_serializable_fields` change that. What
    is referred to twice is one object again, also in cycles; the types of the standard library, classes that are
    registered by `routilux.register`, NumPy arrays, functions of modules and methods come back as what they
    were. `__init__` is not run when an object is read.

    A class that is not registered is written under its module's name, and read where that module is allowed.
    """

    __slots__ = ()

    def serialize(self) -> dict[str, Any]:
        """Give this object, and all it refers to, as plain data that `json.dump` takes as it is.

        Raises:
            ValueEncodingError: a part could not be read again; the error's `path` names it. Nothing is written.
        """
        data: dict[str, Any] = write_plain(self, type(self).__name__, Naming(default))
        return {_FORMAT: FORMAT, **data}

    @classmethod
    def deserialize(cls, data: Mapping[str, Any], *, allow_modules: Collection[str] = ()) -> Self:
        """Give the object of which `serialize` made `data`.

        Args:
            data: what `serialize` gave, also by way of JSON; nothing of it is kept.
            allow_modules: modules, and packages with all in them, whose classes and functions the data may name.
                They are imported, and that runs their code.

        Raises:
            ValueReadingError: it cannot be read here: a class is not registered, or is of a module that is not
                allowed, or it is no such data (`PlainDataError`).
        """
        value = read_plain(_without_format(cls, data), cls.__name__, Naming(default, allow_modules))
        if not isinstance(value, cls):
            raise PlainDataError(cls.__name__, f"expected a {cls.__name__}, got a {type_name(type(value))}")
        return value

    def to_bytes(self) -> bytes:
        """Give what `serialize` gives as MessagePack; raises as that."""
        return pack_document(self.serialize())

    @classmethod
    def from_bytes(cls, data: bytes, *, allow_modules: Collection[str] = ()) -> Self:
        """Give the object of which `to_bytes` made `data`; arguments and errors as those of `deserialize`."""
        return cls.deserialize(unpack_document(cls, data), allow_modules=allow_modules)


def to_document(obj: Serializable, fields: dict[str, Any]) -> dict[str, Any]:
    """Give plain data for an object of this package that has these fields; raises as `Serializable.serialize`."""
    registration = built_in.by_class[type(obj)]
    written: dict[str, Any] = write_plain(fields, type(obj).__name__, Naming(default))
    return {_FORMAT: FORMAT, TYPE: registration.name, **written}


def from_document(cls: type[Serializable], data: Mapping[str, Any], allow_modules: Collection[str]) -> dict[str, Any]:
    """Give the fields that `to_document` was given for an object of a class; raises as `Serializable.deserialize`."""
    fields = _without_format(cls, data)
    name = built_in.by_class[cls].name
    if fields.pop(TYPE, None) != name:
        raise PlainDataError(cls.__name__, f"expected {TYPE!r} {name!r}, got {data.get(TYPE)!r}")
    read: dict[str, Any] = read_plain(fields, cls.__name__, Naming(default, allow_modules))
    return read


def pack_document(data: dict[str, Any]) -> bytes:
    """Give plain data as MessagePack."""
    return msgspec.msgpack.encode(data)


def unpack_document(cls: type[Serializable], data: bytes) -> Any:
    """Give the plain data that `pack_document` was given.

    Raises:
        PlainDataError: these are no such bytes.
    """
    try:
        return msgspec.msgpack.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError, TypeError) as error:
        raise PlainDataError(cls.__name__, f"expected the bytes that to_bytes() gave ({describe(error)})") from error


def _without_format(cls: type[Serializable], data: Any) -> dict[str, Any]:
    if not isinstance(data, Mapping):
        raise PlainDataError(cls.__name__, f"expected the dict that serialize() gave, got a {type(data).__name__}")
    rest = dict(data)
    found = rest.pop(_FORMAT, None)
    if type(found) is not int or not 1 <= found <= FORMAT:
        what = f"expected {_FORMAT!r} {FORMAT}, got {found!r}: a newer version wrote it, or it is no such data"
        raise PlainDataError(cls.__name__, what)
    return rest


class SerializableStruct(Serializable, msgspec.Struct, frozen=True):
    """Base of Structs of this package: written as msgspec would, and checked as it would when they are read."""

    def _take_fields(self) -> dict[str, Any]:
        fields: dict[str, Any] = struct_as_it_is(self)
        return fields

    def _fill_fields(self, fields: dict[str, Any]) -> None:
        read = msgspec.convert(fields, type(self), str_keys=True)  # JSON has no other keys
        for name in self.__struct_fields__:
            msgspec.structs.force_setattr(self, name, getattr(read, name))


@overload
def register_serializable(named: _T, /) -> _T: ...
@overload
def register_serializable(
    named: str | None = None, /, *, version: int = 1, migrations: Mapping[int, Migration] | None = None
) -> Callable[[_T], _T]: ...
def register_serializable(
    named: Any = None, /, *, version: int = 1, migrations: Mapping[int, Migration] | None = None
) -> Any:
    """Register a class that is `Serializable`, or a function that such objects refer to: data may name it from now on.

    As a decorator, or called with a class or function of others. The table is that of `routilux.register`, which is for
    classes of values: what is registered here can be kept in the state of a job as well.

    Args:
        named: what it is called in the data, for ever; None: the name of its module and its own.
        version: the version of a class's fields, from 1: one more whenever they change.
        migrations: functions by the version they lead from; each is given the fields of an object of that version
            as a dict, and gives those of the next.

    Raises:
        RegistrationError: it is neither, its name is taken, or an argument is not what it should be.
    """
    if callable(named):
        return register_serializable()(named)

    def add(found: _T) -> _T:
        if isinstance(found, type):
            if not issubclass(found, Serializable):
                raise RegistrationError(
                    f"{type_name(found)} is not derived from Serializable: derive it, or register it as a class of "
                    f"values by routilux.register"
                )
            return default.register(named, version=version, migrations=migrations)(found)
        function = found if isinstance(found, FunctionType) else getattr(found, "function", None)
        if not isinstance(function, FunctionType):
            raise RegistrationError(f"a class or a function is registered, and no {type_name(type(found))}")
        if version != 1 or migrations:
            raise RegistrationError(f"the function {function.__qualname__} has no fields, so no version of them")
        default.register_function(named or default_name(function), found)
        return found

    return add
