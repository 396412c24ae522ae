"""What can go wrong with values that are kept.

RoutiluxError
├── RegistrationError (CallerError, ValueError)  a class cannot be registered like this
└── ValueReadingError (ValueDecodingError)       kept values that cannot be read here, or not any more
    ├── UnknownTypeError         no class is registered under their type's name
    ├── NewerTypeError           they were written by a newer version of their type
    ├── MissingMigrationError    nothing leads from their version to the present one
    ├── MigrationError           a migration raised, or gave what the present version is not
    ├── FieldsChangedError       their type has other fields now, under the same version
    ├── KindChangedError         their type was no namedtuple or enumeration and is one now, or the reverse
    ├── MissingMemberError       their enumeration has no such member any more
    ├── ForbiddenModuleError     they name a class or function of a module that the reader does not allow
    ├── MissingNameError         a class or function that they name is not there, or is something else
    ├── PlainDataError           plain data that no `serialize` of this version could have given
    ├── PickleRefusedError       they are a pickle, and pickles are not allowed
    └── MissingLibraryError (ImportError)  they need a library that is not installed
"""

from __future__ import annotations

from collections.abc import Iterable

from routilux.errors import CallerError, RoutiluxError
from routilux.hints import describe_names, list_names
from supervisors.errors import ValueDecodingError


class RegistrationError(CallerError, ValueError):
    """A class cannot be registered, or not like this."""


class ValueReadingError(RoutiluxError, ValueDecodingError):
    """Kept values cannot be read here, or not any more; the bytes themselves are sound."""


class UnknownTypeError(ValueReadingError):
    """No class is registered under the name of a value's type.

    Args:
        name: the name.
        version: the version of the type that wrote it.
        existing: the names there are.
    """

    def __init__(self, name: str, version: int, existing: Iterable[str]) -> None:
        self.name, self.version = name, version
        known = describe_names(name, existing, "registered are", "none is registered")
        super().__init__(
            f"no class is registered as {name!r} (version {version} of it is to be read); {known}: import the module "
            f"that registers it before, or register the class that took its place under this name"
        )


class NewerTypeError(ValueReadingError):
    """A value was written by a newer version of its type than is registered here.

    Args:
        name: name of the type.
        version: the version that wrote it.
        current: the version here.
    """

    def __init__(self, name: str, version: int, current: int) -> None:
        self.name, self.version, self.current = name, version, current
        super().__init__(
            f"version {version} of {name!r} is to be read, and version {current} is registered: "
            f"read it with the newer program that wrote it"
        )


class MissingMigrationError(ValueReadingError):
    """No migration leads from the version of a value to the present one.

    Args:
        name: name of the type.
        version: the version that has no migration.
        current: the version here.
    """

    def __init__(self, name: str, version: int, current: int) -> None:
        self.name, self.version, self.current = name, version, current
        super().__init__(
            f"version {version} of {name!r} is to be read, version {current} is registered, and no migration leads "
            f"from {version} to {version + 1}: register(..., migrations={{{version}: function}})"
        )


class MigrationError(ValueReadingError):
    """A migration raised, or gave what the next version is not.

    Args:
        name: name of the type.
        version: the version it was to lead from.
        what: what went wrong.
    """

    def __init__(self, name: str, version: int, what: str) -> None:
        self.name, self.version = name, version
        super().__init__(f"the migration of {name!r} from version {version} to {version + 1} {what}")


class FieldsChangedError(ValueReadingError):
    """A type has other fields now than when a value was written, and its version is the same.

    Args:
        name: name of the type.
        version: its version.
        gone: fields of the value that the class does not have.
        new: fields of the class that the value does not have.
    """

    def __init__(self, name: str, version: int, gone: Iterable[str], new: Iterable[str]) -> None:
        self.name, self.version = name, version
        self.gone, self.new = tuple(gone), tuple(new)
        parts = (("it has no more", self.gone), ("new are", self.new))
        told = "; ".join(f"{what} {list_names(fields)}" for what, fields in parts if fields)
        super().__init__(
            f"the fields of {name!r} have changed since version {version} of it was written ({told}): "
            f"register it with version={version + 1} and migrations={{{version}: function}}"
        )


class KindChangedError(ValueReadingError):
    """A type was a namedtuple or an enumeration, and is another kind of class now, or the reverse.

    Args:
        name: name of the type.
        version: the version that wrote it.
    """

    def __init__(self, name: str, version: int) -> None:
        self.name, self.version = name, version
        super().__init__(
            f"version {version} of {name!r} was a namedtuple or an enumeration, and is neither now, or the reverse, "
            f"which no migration changes: register the present class under another name"
        )


class MissingMemberError(ValueReadingError):
    """An enumeration has no member of the name that was written.

    Args:
        name: name of the type.
        version: its version.
        member: name of the member.
    """

    def __init__(self, name: str, version: int, member: str) -> None:
        self.name, self.version, self.member = name, version, member
        super().__init__(
            f"{name!r} has no member {member!r} any more: register it with version={version + 1} and a migration "
            f"from {version} that gives {{'name': ...}}, the member that took its place"
        )


class ForbiddenModuleError(ValueReadingError):
    """Data names a class or function of a module that its reader did not allow; nothing was imported.

    Args:
        name: the name, such as `shop.orders:Order`.
        module: the module.
        allowed: the modules that are allowed.
    """

    def __init__(self, name: str, module: str, allowed: Iterable[str]) -> None:
        self.name, self.module = name, module
        self.allowed = tuple(sorted(allowed))
        known = f"allowed are {list_names(self.allowed)}" if self.allowed else "no module is"
        super().__init__(
            f"{name!r} is named by the data, and its module is not allowed ({known}): if you trust that module to be "
            f"imported, give allow_modules=[{module!r}]; or register what is named under a name of its own"
        )


class MissingNameError(ValueReadingError):
    """A class or function that data names is not there, or is something else.

    Args:
        name: the name.
        what: what is wrong with it.
    """

    def __init__(self, name: str, what: str) -> None:
        self.name = name
        super().__init__(f"{name!r}, which the data names, {what}")


class PlainDataError(ValueReadingError):
    """Plain data is none that `serialize` gave, or was changed since.

    Args:
        path: where in the data.
        what: what is wrong there.
    """

    def __init__(self, path: str, what: str) -> None:
        self.path = path
        super().__init__(f"{path}: {what}")


class PickleRefusedError(ValueReadingError):
    """A value is a pickle, whose loading runs what code it pleases, and pickles are not allowed here."""

    def __init__(self) -> None:
        super().__init__(
            "it was written as a pickle, since allow_pickle=True was given then: give it on reading too, "
            "if you trust whoever could write to the store, as loading a pickle runs code"
        )


class MissingLibraryError(ValueReadingError, ImportError):
    """A value needs a library that is not installed.

    Args:
        library: its name, which is that of the extra too.
        reason: why it could not be imported.
    """

    def __init__(self, library: str, reason: str) -> None:
        self.library = library
        super().__init__(f"a value needs {library} ({reason}): pip install routilux[{library}]")
