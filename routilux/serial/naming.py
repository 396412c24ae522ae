"""What classes and functions are called in plain data, and how one is found by such a name.

Owns the two ways: by the name it is registered under, or by its module's and its own, `shop.orders:Order.total`. A
name of the second kind leads anywhere only where the reader allows that module; nothing else is imported by what
data says.
"""

from __future__ import annotations

import builtins
import collections.abc
import importlib
import sys
from collections.abc import Collection
from types import BuiltinFunctionType, FunctionType, NoneType
from typing import Any

from routilux.serial.errors import ForbiddenModuleError, MissingNameError, RegistrationError, UnknownTypeError
from routilux.serial.fields import WithFields
from routilux.serial.makers import FACTORIES
from routilux.serial.registry import Registration, Registry, module_name
from supervisors.tracebacks import type_name
from supervisors.wire.values import RefusedPartError

BETWEEN = ":"
"""Between a module and what is in it."""

CLASSES: dict[str, Any] = {
    **FACTORIES,
    "Any": Any,
    "type": type,
    "NoneType": NoneType,
    **{f"collections.abc.{name}": getattr(collections.abc, name) for name in collections.abc.__all__},
    **{
        name: found
        for name, found in vars(builtins).items()
        if isinstance(found, type) and issubclass(found, BaseException) and found.__name__ == name
    },
}
"""Classes of the language itself that can be named anywhere: those of plain values, of annotations, and exceptions."""
_CLASS_NAMES = {cls: name for name, cls in CLASSES.items()}

built_in = Registry()
"""The classes of this package: their names begin with `routilux.`, and are kept for ever."""
_MAIN = "__main__"
_OWN = "routilux."
_HOLDING = ("routilux.flow", "routilux.jobs.state", "routilux.routines")
"""The modules that, with what they import, put all of them in there; not imported before one is named that is not."""


class Naming:
    """Names for what is written, and what names stand for.

    Args:
        registry: the classes and functions of the program.
        allow_modules: modules, and packages with all in them, from which names may be imported.
    """

    def __init__(self, registry: Registry, allow_modules: Collection[str] = ()) -> None:
        self._registries = (built_in, registry)
        self._allowed = frozenset((allow_modules,) if isinstance(allow_modules, str) else allow_modules)
        self._by_module: dict[type, Registration] = {}

    def registration_of(self, cls: type) -> Registration | None:
        """Give what is known of a class whose objects are to be written; None for nothing.

        Raises:
            RefusedPartError: it could be written, and nobody could find it again.
        """
        for registry in self._registries:
            if cls in registry.by_class:
                return registry.by_class[cls]
        if not issubclass(cls, WithFields):
            return None
        if cls not in self._by_module:
            self._by_module[cls] = self._register(cls, self._name_in_module(cls, "class"))
        return self._by_module[cls]

    def name_of_class(self, cls: type) -> str:
        """Give the name of a class that is itself to be written.

        Raises:
            RefusedPartError: nobody could find it again.
        """
        for registry in self._registries:
            if cls in registry.by_class:
                return registry.by_class[cls].name
        return _CLASS_NAMES.get(cls) or self._name_in_module(cls, "class")

    def name_of_function(self, function: FunctionType | BuiltinFunctionType) -> str:
        """Give the name of a function; raises as `name_of_class`."""
        for registry in self._registries:
            name = registry.name_of_function(function)
            if name is not None:
                return name
        return self._name_in_module(function, "function")

    def find_registration(self, name: str) -> Registration:
        """Find the class whose objects are read.

        Raises:
            UnknownTypeError: no class is registered under that name.
            ForbiddenModuleError, MissingNameError: it is one of a module that is not allowed, or not there.
        """
        if BETWEEN in name:
            cls = self._find_in_module(name)
            if not (isinstance(cls, type) and issubclass(cls, WithFields)):
                raise MissingNameError(name, "is no class that is Serializable")
            if cls not in self._by_module:
                self._by_module[cls] = self._register(cls, name)
            return self._by_module[cls]
        for registry in self._knowing(name):
            found = registry.find(name)
            if found is not None:
                return found
        raise UnknownTypeError(name, 1, self._registries[1].shapes())

    def find_class(self, name: str) -> type:
        """Find a class that was written itself; raises as `find_registration`."""
        if name in CLASSES:
            found_class: type = CLASSES[name]
            return found_class
        if BETWEEN not in name:
            return self.find_registration(name).cls
        found = self._find_in_module(name)
        if not isinstance(found, type):
            raise MissingNameError(name, "is no class")
        return found

    def find_named(self, name: str) -> Any:
        """Find a class or function, or a routine made of one; raises as `find_registration`."""
        if BETWEEN in name:
            return self._find_in_module(name)
        for registry in self._knowing(name):
            found = registry.find_named(name)
            if found is not None:
                return found
        raise UnknownTypeError(name, 1, [name for registry in self._registries for name in registry.names()])

    def find_function(self, name: str) -> Any:
        """Find a function; raises as `find_registration`."""
        if BETWEEN in name:
            found, module = self._find_in_module(name), name.partition(BETWEEN)[0]
            found = found if isinstance(found, type) else getattr(found, "function", found)  # a @routine has its name
            # Of this module, and not one that it imported: allowing a module allows no other.
            if not isinstance(found, FunctionType | BuiltinFunctionType) or module_name(found.__module__) != module:
                raise MissingNameError(name, "is no function of that module")
            return found
        for registry in self._registries:
            found = registry.find_function(name)
            if found is not None:
                return found
        raise UnknownTypeError(name, 1, self._registries[1].names())

    def _knowing(self, name: str) -> tuple[Registry, ...]:
        """Give the registries, with all in them that `name` may be."""
        if name.startswith(_OWN) and built_in.find(name) is None:
            for module in _HOLDING:
                importlib.import_module(module)
        return self._registries

    def _register(self, cls: type, name: str) -> Registration:
        try:
            return Registration(cls, name, 1, {})
        except RegistrationError as error:
            raise RefusedPartError(str(error)) from error

    def _name_in_module(self, named: Any, what: str) -> str:
        module, path = getattr(named, "__module__", None), getattr(named, "__qualname__", "")
        told = f"the {what} {type_name(named) if isinstance(named, type) else path or repr(named)}"
        if not module or "<" in path:
            raise RefusedPartError(
                f"{told}, which has no name by which it could be found again: define it at the top of a module, "
                f"or register it under a name (routilux.register_serializable('shop.{what}'))"
            )
        found: Any = sys.modules.get(module)
        for part in path.split("."):
            found = getattr(found, part, None)
        found = getattr(found, "function", found) if what == "function" else found  # a @routine has taken its name
        if found is not named:
            raise RefusedPartError(f"{told}, which is not what {module}.{path} leads to")
        return f"{module_name(module)}{BETWEEN}{path}"

    def _find_in_module(self, name: str) -> Any:
        module, _, path = name.partition(BETWEEN)
        packages = (_MAIN if module == module_name(_MAIN) else module).split(".")
        if not self._allowed.intersection(".".join(packages[: end + 1]) for end in range(len(packages))):
            raise ForbiddenModuleError(name, module, self._allowed)
        try:
            # The program itself is there already; importing it would run it again.
            found: Any = sys.modules["__main__"] if module == module_name(_MAIN) else importlib.import_module(module)
        except ImportError as error:
            raise MissingNameError(name, f"cannot be found ({error})") from error
        for part in path.split("."):
            if part.startswith("__") or not part.isidentifier():
                raise MissingNameError(name, "is no name of a class or function")
            found = getattr(found, part, None)
        return found
