"""Which classes of users can be kept, under which names and versions.

Owns the closed table of classes, and the way from what an old version wrote to an object of today. Nothing is ever
looked up by a name outside this table.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar, overload

from routilux.serial.errors import (
    FieldsChangedError,
    KindChangedError,
    MigrationError,
    MissingMigrationError,
    NewerTypeError,
    RegistrationError,
    UnknownTypeError,
)
from routilux.serial.kinds import ChosenKind, EnumKind, Kind, ObjectKind, OwnKind, find_kind
from routilux.serial.shape import TypeShape
from supervisors.tracebacks import text_of, type_name

_T = TypeVar("_T", bound=type)
Migration = Callable[[dict[str, Any]], dict[str, Any]]
"""Gives the fields of version n + 1 for those of version n."""
_MIGRATION_TEXT = 1_000
"""Characters that are kept of what a migration raised (arbitrary)."""


class Registration:
    """One registered class.

    Args:
        cls: the class.
        name: what it is called in what is kept.
        version: the version of its fields.
        migrations: by the version that they lead from, to the next.
    """

    __slots__ = ("cls", "kind", "migrations", "name", "origin", "type_args", "version")

    def __init__(self, cls: type, name: str, version: int, migrations: Mapping[int, Migration]) -> None:
        self.cls = cls
        self.name = name
        self.version = version
        self.migrations = dict(migrations)
        self.kind: Kind = find_kind(cls)
        self.origin = (cls.__module__, cls.__qualname__)
        self.type_args = (name, version, self.kind.fields)
        """What is written of the type."""

    def read_as(self, version: int, fields: tuple[str, ...]) -> WrittenType:
        """Give what reads objects that were written by a version which declared these fields.

        Raises:
            NewerTypeError, MissingMigrationError, FieldsChangedError: nothing does.
        """
        if version > self.version:
            raise NewerTypeError(self.name, version, self.version)
        for step in range(version, self.version):
            if step not in self.migrations:
                raise MissingMigrationError(self.name, step, self.version)
        present = self.kind.fields
        # Each object of those that choose has fields of its own, and members of an enumeration have names.
        is_fixed = not isinstance(self.kind, EnumKind | ChosenKind | OwnKind)
        if version == self.version and is_fixed and set(present) != set(fields):
            gone, new = sorted(set(fields) - set(present)), sorted(set(present) - set(fields))
            raise FieldsChangedError(self.name, version, gone, new)
        return WrittenType(self, version, fields)

    def __reduce__(self) -> Any:
        return Registration, (self.cls, self.name, self.version, self.migrations)


class WrittenType:
    """A type as it was written, beside the class that reads it.

    Args:
        registration: the class.
        version: the version that wrote it.
        fields: the fields it had then.
    """

    __slots__ = ("_fields", "_registration", "_version")

    def __init__(self, registration: Registration, version: int, fields: tuple[str, ...]) -> None:
        self._registration = registration
        self._version = version
        self._fields = fields

    @property
    def cls(self) -> type:
        """The class of today."""
        return self._registration.cls

    def make_shell(self) -> Any:
        """Make an object that holds nothing yet."""
        kind = self._registration.kind
        if not isinstance(kind, ObjectKind):
            raise KindChangedError(self._registration.name, self._version)
        return kind.make_shell()

    def fill(self, obj: Any, state: dict[str, Any]) -> None:
        """Set what a shell holds: `state`, as it was written."""
        kind = self._registration.kind
        if type(obj) is not self.cls or not isinstance(kind, ObjectKind):
            raise TypeError(f"no shell of {self._registration.name!r}")
        kind.fill(obj, self._migrate(state))

    def make(self, state: Any) -> Any:
        """Make a namedtuple, of its values, or give a member of an enumeration: `state` as it was written."""
        kind = self._registration.kind
        if isinstance(kind, ObjectKind):
            raise KindChangedError(self._registration.name, self._version)
        if type(state) is tuple:
            state = dict(zip(self._fields, state, strict=True))
        return kind.make(self._migrate(state), self._registration.name, self._registration.version)

    def _migrate(self, state: dict[str, Any]) -> dict[str, Any]:
        registration = self._registration
        if type(state) is not dict or not {str}.issuperset(map(type, state)):
            raise TypeError("the fields of an object are no names")
        if self._version == registration.version:
            return state
        state = dict(state)
        for version in range(self._version, registration.version):
            try:
                state = registration.migrations[version](state)
            except BaseException as error:
                what = f"raised {type_name(type(error))}: {text_of(error, _MIGRATION_TEXT)}"
                raise MigrationError(registration.name, version, what) from error
            if type(state) is not dict or not {str}.issuperset(map(type, state)):
                what = f"gave a {type_name(type(state))} that is no dict of fields by name"
                raise MigrationError(registration.name, version, what)
        self._check_migrated(state)
        return state

    def _check_migrated(self, state: dict[str, Any]) -> None:
        registration = self._registration
        kind, last = registration.kind, registration.version - 1
        left = [name for name in self._fields if name in state and name not in kind.fields]
        gone = (
            kind.find_gone(frozenset(state)) if isinstance(kind, EnumKind) else left or kind.find_gone(frozenset(state))
        )
        if gone:
            raise MigrationError(registration.name, last, f"gave {gone[0]!r}, which is no field of it")
        lacking = kind.find_lacking(frozenset(state))
        if lacking:
            raise MigrationError(registration.name, last, f"gave no {lacking[0]!r}")


class Registry:
    """The classes and functions that are registered. Registering is for one thread at a time, reading for any."""

    def __init__(
        self, registrations: Iterable[Registration] = (), functions: Mapping[str, Callable[..., Any]] | None = None
    ) -> None:
        self._by_name = {registration.name: registration for registration in registrations}
        self._functions = dict(functions or {})
        self.by_class = {registration.cls: registration for registration in self._by_name.values()}
        """The registrations by their classes; not to be changed."""

    @overload
    def register(self, name: _T, /) -> _T: ...

    @overload
    def register(
        self, name: str | None = None, /, *, version: int = 1, migrations: Mapping[int, Migration] | None = None
    ) -> Callable[[_T], _T]: ...

    def register(
        self, name: Any = None, /, *, version: int = 1, migrations: Mapping[int, Migration] | None = None
    ) -> Any:
        """Register a class, so that its objects can be kept: as a decorator, or called with a class of others.

        Args:
            name: what the class is called in what is kept, for ever; None: its module and name.
            version: the version of its fields, from 1: one more whenever they change.
            migrations: functions by the version they lead from; each is given the fields of an object of that
                version as a dict, and gives those of the next.

        Raises:
            RegistrationError: the class is none whose objects can be kept, the name is taken by another class, or
                an argument is not what it should be.
        """
        if isinstance(name, type):
            return self.register()(name)
        _check_arguments(name, version, migrations or {})

        def add(cls: _T) -> _T:
            if not isinstance(cls, type):
                raise RegistrationError(f"a class is registered, and no {type_name(type(cls))}")
            self._add(Registration(cls, default_name(cls) if name is None else name, version, migrations or {}))
            return cls

        return add

    def register_function(self, name: str, function: Callable[..., Any]) -> None:
        """Register a function under a name, under which serialized objects refer to it.

        Args:
            name: the name.
            function: the function, or what has it as its `function`.

        Raises:
            RegistrationError: the name is taken by another function, or is none.
        """
        _check_arguments(name, 1, {})
        old = self._functions.get(name)
        if name in self._by_name or (old is not None and _origin(old) != _origin(function)):
            raise RegistrationError(f"{name!r} is registered already")
        self._functions = {**self._functions, name: function}

    def find(self, name: str) -> Registration | None:
        """Give the class of a name; None where there is none."""
        return self._by_name.get(name)

    def find_named(self, name: str) -> Any:
        """Give the class or function that was registered under a name; None where there is none."""
        registration = self._by_name.get(name)
        return self._functions.get(name) if registration is None else registration.cls

    def find_function(self, name: str) -> Callable[..., Any] | None:
        """Give the plain function of a name; None where there is none."""
        found = self._functions.get(name)
        return getattr(found, "function", found)

    def name_of_function(self, function: object) -> str | None:
        """Give the name that a function is registered under; None for one that is not."""
        return next((name for name in self._functions if self.find_function(name) is function), None)

    def names(self) -> tuple[str, ...]:
        """Give the names of all classes and functions."""
        return (*self._by_name, *self._functions)

    def _add(self, registration: Registration) -> None:
        old = self._by_name.get(registration.name)
        if old is not None and old.origin != registration.origin:
            raise RegistrationError(
                f"{registration.name!r} is {type_name(old.cls)} already: give {type_name(registration.cls)} "
                f"another name, as in register('shop.Order')"
            )
        other = self.by_class.get(registration.cls)
        if other is not None and other.name != registration.name:
            raise RegistrationError(f"{type_name(registration.cls)} is registered as {other.name!r} already")
        # Replaced, not changed: others may be reading. The same class again is a module that was loaded again.
        by_name = {**self._by_name, registration.name: registration}
        self.by_class = {each.cls: each for each in by_name.values()}
        self._by_name = by_name

    def find_type(self, name: str, version: int, fields: tuple[str, ...]) -> WrittenType:
        """Find what reads objects of a type that is kept.

        Raises:
            UnknownTypeError, NewerTypeError, MissingMigrationError, FieldsChangedError: nothing does.
        """
        registration = self._by_name.get(name)
        if registration is None:
            raise UnknownTypeError(name, version, self._by_name)
        return registration.read_as(version, fields)

    def shapes(self) -> dict[str, TypeShape]:
        """Give version and fields of every registered class, by name."""
        return {
            name: TypeShape(registration.version, list(registration.kind.fields))
            for name, registration in self._by_name.items()
        }

    def __reduce__(self) -> Any:
        # It travels to a worker process as it is now, with its classes.
        return Registry, (tuple(self._by_name.values()), self._functions)


def _origin(function: Any) -> tuple[str, str]:
    return function.__module__, function.__qualname__


def _check_arguments(name: Any, version: Any, migrations: Mapping[int, Migration]) -> None:
    if name is not None and (type(name) is not str or not name or not name.isprintable()):
        raise RegistrationError(f"the name of a class is printable text such as 'shop.Order', and not {name!r}")
    if type(version) is not int or version < 1:
        raise RegistrationError(f"a version is a whole number from 1, and not {version!r}")
    for start, migration in migrations.items():
        if type(start) is not int or not 1 <= start < version:
            raise RegistrationError(f"a migration leads from a version between 1 and {version - 1}, not from {start!r}")
        if not callable(migration):
            raise RegistrationError(
                f"the migration from version {start} is a {type_name(type(migration))}, no function"
            )


def default_name(cls: Any) -> str:
    """Give the name under which a class or function is registered that is given none."""
    if "<locals>" in cls.__qualname__:
        raise RegistrationError(
            f"{type_name(cls)} was made in a function, and its name may be another's too: give it one, "
            f"as in register('shop.Order')"
        )
    return f"{module_name(cls.__module__)}.{cls.__qualname__}"


def module_name(module: str) -> str:
    """Give the name by which a script's module would be imported: it is read by another program than wrote it."""
    if module != "__main__":
        return module
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        return str(spec.name).removesuffix(".__main__")
    file = getattr(main, "__file__", None)
    return Path(file).stem if file else module


default = Registry()
"""What `routilux.register` registers in."""
register = default.register
