"""Names of a package that are loaded when they are first asked for: importing the package itself costs nothing.

Owns the lookup. Which names there are, and where, the package says.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Collection, Mapping
from typing import Any


def deferred(package: str, homes: Mapping[str, str], modules: Collection[str] = ()) -> Callable[[str], Any]:
    """Give what a package has as its `__getattr__` (PEP 562).

    Args:
        package: its name.
        homes: the module that defines each name; one of the package itself begins with a dot.
        modules: modules of the package that are public under their own names.
    """

    def load(name: str) -> Any:
        if name in modules:
            return importlib.import_module(f"{package}.{name}")
        home = homes.get(name)
        if home is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(home, package), name)
        setattr(sys.modules[package], name, value)
        return value

    return load
