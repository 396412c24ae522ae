"""How objects of a registered class are taken apart and put together, without running any code of the class.

Owns the kinds of classes (objects with slots and a `__dict__`, those of them that choose their fields, Structs,
namedtuples, enumerations) and what their fields are. Never decides which classes are registered.

Theory of operation. What an object holds lies in its slots and its `__dict__`, whichever library made the class:
dataclasses, attrs and msgspec too use the slots of the interpreter. So one way serves them all: slots are read and
set by their descriptors, past `__setattr__` and frozenness; neither `__init__` nor `__post_init__`, `__new__`,
`__getstate__` or `__setstate__` is run. But for the classes of this package that have a form of their own: they
say by `_take_fields` what is written, and check in `_fill_fields` what is read.
"""

from __future__ import annotations

import dataclasses
import enum
import sys
import types
from typing import Any
from weakref import WeakKeyDictionary

import msgspec

from routilux.serial.errors import MissingMemberError, RegistrationError
from routilux.serial.fields import WithFields, annotated_fields, select_fields
from supervisors.tracebacks import type_name
from supervisors.wire.values import RefusedPartError

_SLOT = type(dataclasses.make_dataclass("_Slotted", ["slot"], slots=True).slot)  # type: ignore[attr-defined]
_HASH_CACHE = "_attrs_cached_hash"
"""Where attrs keeps a hash, which is another one in the next process."""


class ObjectKind:
    """Objects whose content lies in slots and in a `__dict__`.

    Args:
        cls: their class.
    """

    is_shell_first = True
    """Whether an object can be made before what it holds: then it may hold itself."""

    def __init__(self, cls: type) -> None:
        self._cls = cls
        self._slots = {
            name: slot
            for base in reversed(cls.__mro__)
            for name, slot in vars(base).items()
            if type(slot) is _SLOT and name not in {"__weakref__", "__dict__"}
        }
        self._has_dict = cls.__dictoffset__ != 0
        self.fields = self._find_fields()

    def _find_fields(self) -> tuple[str, ...]:
        if dataclasses.is_dataclass(self._cls):
            return tuple(field.name for field in dataclasses.fields(self._cls))
        if "__attrs_attrs__" in vars(self._cls):
            return tuple(field.name for field in vars(self._cls)["__attrs_attrs__"])
        return tuple(self._slots)

    def take(self, obj: Any) -> dict[str, Any]:
        """Give what an object holds, by name."""
        state: dict[str, Any] = dict(obj.__dict__) if self._has_dict else {}
        for name, slot in self._slots.items():
            try:
                state[name] = slot.__get__(obj)
            except AttributeError:  # it is not set
                continue
        if _HASH_CACHE in state:
            state[_HASH_CACHE] = None
        return state

    def make_shell(self) -> Any:
        """Make an object that holds nothing yet."""
        return object.__new__(self._cls)

    def fill(self, obj: Any, state: dict[str, Any]) -> None:
        """Set what an object holds.

        Raises:
            ValueError: it has no room for some of that.
        """
        rest = {}
        for name, part in state.items():
            slot = self._slots.get(name)
            if slot is None:
                rest[sys.intern(name)] = part
            else:
                slot.__set__(obj, part)
        if rest:
            if not self._has_dict:
                raise ValueError(f"a {type_name(self._cls)} has no field {next(iter(rest))!r}")
            obj.__dict__.update(rest)

    def find_gone(self, names: frozenset[str]) -> list[str]:
        """Give those of `names` that no object of the class has room for."""
        return [] if self._has_dict else sorted(names - self._slots.keys())

    def find_lacking(self, names: frozenset[str]) -> list[str]:
        """Give the fields that are not among `names`, and have no default in the class."""
        return [field for field in self.fields if field not in names and not self._has_default(field)]

    def _has_default(self, field: str) -> bool:
        return field not in self._slots and hasattr(self._cls, field)


class ChosenKind(ObjectKind):
    """Objects that choose which of their attributes are fields (`WithFields`)."""

    def __init__(self, cls: type) -> None:
        super().__init__(cls)
        self._annotated = annotated_fields(cls)

    def _find_fields(self) -> tuple[str, ...]:
        return ()  # each object has its own

    def take(self, obj: Any) -> dict[str, Any]:
        """Give the fields of an object, by name.

        Raises:
            RefusedPartError: one has no value.
        """
        try:
            return select_fields(obj, super().take(obj), self._annotated)
        except LookupError as error:
            raise RefusedPartError(*error.args) from None


def take_attributes(obj: Any) -> dict[str, Any]:
    """Give the fields that an object of this package chooses among its attributes, for a form of its own.

    Raises:
        RefusedPartError: one has no value.
    """
    return _kind_of(type(obj)).take(obj)


def fill_attributes(obj: Any, state: dict[str, Any]) -> None:
    """Set what `take_attributes` gave."""
    _kind_of(type(obj)).fill(obj, state)


_kinds: WeakKeyDictionary[type, ChosenKind] = WeakKeyDictionary()
"""What a class has does not change, and finding it means going through all of its bases."""


def _kind_of(cls: type) -> ChosenKind:
    kind = _kinds.get(cls)
    if kind is None:
        kind = _kinds[cls] = ChosenKind(cls)
    return kind


class StructKind(ObjectKind):
    """Structs of msgspec, which only a call of their class makes.

    Where that runs a `__post_init__`, a class of the same layout is called instead that has an idle one, and the
    object is given its own class then.
    """

    def __init__(self, cls: Any) -> None:
        super().__init__(cls)
        self._blanks = dict.fromkeys(cls.__struct_fields__)
        self._blank: Any = cls
        if hasattr(cls, "__post_init__"):
            content = {"__post_init__": _do_nothing, "__module__": cls.__module__, "__qualname__": cls.__qualname__}
            self._blank = type(cls)(cls.__name__, (cls,), content)

    def _find_fields(self) -> tuple[str, ...]:
        return tuple(self._cls.__struct_fields__)  # type: ignore[attr-defined]

    def make_shell(self) -> Any:
        shell = self._blank(**self._blanks)
        if self._blank is not self._cls:
            _set_class(shell, self._cls)
        return shell


class OwnKind(ObjectKind):
    """Objects with a form of their own, whatever else their class is.

    Args:
        kind: how one that holds nothing yet is made.
    """

    def __init__(self, cls: Any, kind: ObjectKind) -> None:
        super().__init__(cls)
        self._own: Any = cls
        self.make_shell = kind.make_shell  # type: ignore[method-assign]  # what is made is the other kind's affair

    def _find_fields(self) -> tuple[str, ...]:
        return ()  # the form is checked when it is read

    def take(self, obj: Any) -> dict[str, Any]:
        """Give what is written of an object, by name."""
        fields: dict[str, Any] = self._own._take_fields(obj)  # noqa: SLF001  a name for this place alone
        return fields

    def fill(self, obj: Any, state: dict[str, Any]) -> None:
        """Set what an object holds; raises what its class does where that cannot be."""
        self._own._fill_fields(obj, state)  # noqa: SLF001


_set_class = vars(object)["__class__"].__set__


def _do_nothing(struct: Any) -> None:
    """Stand for the `__post_init__` of a Struct."""


class NamedTupleKind:
    """Namedtuples, which are made together with what they hold."""

    is_shell_first = False

    def __init__(self, cls: Any) -> None:
        self._cls = cls
        self.fields = tuple(cls._fields)

    def take(self, obj: Any) -> tuple[Any, ...]:
        """Give what a namedtuple holds, in the order of its fields."""
        if getattr(obj, "__dict__", None):
            raise RefusedPartError(f"a {type_name(self._cls)} that has attributes beside its fields")
        return tuple(obj)

    def make(self, state: dict[str, Any], name: str, version: int) -> Any:
        """Make one that holds `state`."""
        return tuple.__new__(self._cls, [state[field] for field in self.fields])

    def find_gone(self, names: frozenset[str]) -> list[str]:
        """Give those of `names` that are no fields."""
        return sorted(names.difference(self.fields))

    def find_lacking(self, names: frozenset[str]) -> list[str]:
        """Give the fields that are not among `names`."""
        return [field for field in self.fields if field not in names]


class EnumKind:
    """Enumerations: members by name, and combinations of flags by the names of their members."""

    is_shell_first = False

    def __init__(self, cls: Any) -> None:
        self._cls = cls
        self.fields = tuple(cls.__members__)

    def take(self, obj: Any) -> dict[str, Any]:
        """Give the name of a member, or the names of those that a combination has."""
        name = obj._name_
        if self._cls.__members__.get(name) is obj:
            return {"name": name}
        names = [member._name_ for member in self._cls if member._value_ & obj._value_]
        rest = obj._value_
        for member in names:
            rest &= ~self._cls.__members__[member]._value_
        return {"names": names, "rest": rest} if rest else {"names": names}

    def make(self, state: dict[str, Any], name: str, version: int) -> Any:
        """Give the member, or the combination.

        Raises:
            MissingMemberError: there is no such member.
        """
        if "name" in state:
            return self._member(state["name"], name, version)
        value, names = state.get("rest", 0), state["names"]
        if not issubclass(self._cls, enum.Flag) or type(value) is not int or type(names) is not list:
            raise ValueError("no combination of flags")
        for member in names:
            value |= self._member(member, name, version)._value_
        return self._cls(value)

    def _member(self, member: Any, name: str, version: int) -> Any:
        if type(member) is not str:
            raise TypeError("the name of a member is no text")
        try:
            return self._cls.__members__[member]
        except KeyError:
            raise MissingMemberError(name, version, member) from None

    def find_gone(self, names: frozenset[str]) -> list[str]:
        """Give those of `names` that say nothing of a member."""
        return sorted(names - {"name", "names", "rest"})

    def find_lacking(self, names: frozenset[str]) -> list[str]:
        """Give what must be among `names` and is not."""
        return [] if names & {"name", "names"} else ["name"]


Kind = ObjectKind | NamedTupleKind | EnumKind


def find_kind(cls: type) -> Kind:
    """Give the kind of a class.

    Raises:
        RegistrationError: objects of it hold more than their attributes tell.
    """
    if issubclass(cls, enum.Enum):
        if not cls.__members__:
            raise RegistrationError(f"{type_name(cls)} has no members: register the enumerations that are made of it")
        return EnumKind(cls)
    if issubclass(cls, tuple) and hasattr(cls, "_fields"):
        return NamedTupleKind(cls)
    kind = _find_object_kind(cls)
    return OwnKind(cls, kind) if hasattr(cls, "_take_fields") else kind


def _find_object_kind(cls: type) -> ObjectKind:
    if issubclass(cls, msgspec.Struct):
        return StructKind(cls)
    for base in cls.__mro__[:-1]:
        # A class in C that makes its objects itself has room in them that no attribute shows.
        if isinstance(vars(base).get("__new__"), types.BuiltinFunctionType):
            raise RegistrationError(
                f"{type_name(cls)} is a kind of {base.__name__}, whose content is not in attributes: "
                f"register a class that has the {base.__name__} as an attribute"
            )
    if cls.__flags__ & _ABSTRACT:
        raise RegistrationError(f"{type_name(cls)} is abstract: register the classes that are made of it")
    return ChosenKind(cls) if issubclass(cls, WithFields) else ObjectKind(cls)


_ABSTRACT = 1 << 20
"""The flag of classes that have abstract methods (`inspect.isabstract`)."""
