"""What people import from the package itself, and what that costs."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import supervisors
from supervisors import errors, reasons


@pytest.mark.parametrize("name", supervisors.__all__)
def test_every_public_name_loads(name: str) -> None:
    assert getattr(supervisors, name) is not None
    assert name in dir(supervisors)


def test_every_public_name_is_told_to_type_checkers_too() -> None:
    [block] = [node for node in ast.parse(inspect.getsource(supervisors)).body if isinstance(node, ast.If)]
    told = [alias.name for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names]
    assert sorted(told) == sorted(supervisors.__all__)


def test_every_error_and_every_reason_is_public() -> None:
    classes = [
        name
        for module in (errors, reasons)
        for name, value in vars(module).items()
        if isinstance(value, type) and value.__module__ == module.__name__
    ]
    assert [name for name in classes if name not in supervisors.__all__] == []


def test_a_name_that_is_not_public_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'supervisors' has no attribute 'Flow'"):
        supervisors.Flow  # noqa: B018  asking is the test


@pytest.mark.processes
@pytest.mark.parametrize(
    "code",
    [
        "import supervisors",
        "from supervisors import telemetry, Backoff, Intensity, Mailbox, Normal, Shutdown, StartError",
    ],
)
def test_importing_it_loads_no_library_that_is_not_used(code: str) -> None:
    # What msgspec loads is its own matter: only the three heavy ones are asked for.
    check = f"{code}\nimport sys\nprint(sorted({{'pykka', 'cloudpickle', 'psutil', 'routilux'}} & set(sys.modules)))"
    root = Path(supervisors.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", check], cwd=root, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "[]\n"
