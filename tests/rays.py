"""Ray as it is installed, or is not, for tests that import none of it."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import pytest


def hide_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have Ray be found nowhere, also where it is installed."""
    monkeypatch.setitem(sys.modules, "ray", None)


def show_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have Ray be found: a module that has nothing in it."""
    module: Any = ModuleType("ray")
    module.__spec__ = ModuleSpec("ray", None, origin="/somewhere/ray/__init__.py")
    module.is_initialized = lambda: False
    monkeypatch.setitem(sys.modules, "ray", module)
