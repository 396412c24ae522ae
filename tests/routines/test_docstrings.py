from __future__ import annotations

import doctest
import importlib
import inspect

import pytest

from routilux import routines

ROUTINES = [name for name in routines.__all__ if not name.endswith("Error")]


@pytest.mark.parametrize("name", ROUTINES)
def test_a_routine_has_an_example(name: str) -> None:
    kind = getattr(routines, name)
    module = importlib.import_module(kind.__module__)
    [example] = doctest.DocTestFinder(recurse=False).find(kind, name, module)
    assert example.examples  # which is run by tests/test_docstrings.py


@pytest.mark.parametrize("name", ROUTINES)
def test_the_docstring_of_a_routine_tells_its_arguments(name: str) -> None:
    kind = getattr(routines, name)
    told = inspect.getdoc(kind) or ""
    for parameter in inspect.signature(kind).parameters:
        assert f"\n    {parameter}: " in told, parameter
