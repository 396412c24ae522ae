"""Finding the flow that a command names: `MODULE:ATTRIBUTE` or `path/file.py:attribute`."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from routilux.errors import RoutiluxError, describe_names
from routilux.flow import Flow


class UsageError(RoutiluxError):
    """What was asked for on the command line cannot be; told in one line, exit status 2."""


def load_flow(target: str) -> Flow:
    """Load a flow.

    The module is imported by its name, with its folder (or the present one) on `sys.path`, so that
    worker processes find it by the same name.

    Args:
        target: `MODULE:ATTRIBUTE` or `path/file.py:attribute`; the attribute is a `Flow`, or
            something that gives one when it is called without arguments.

    Raises:
        UsageError: there is no such module, file or attribute, or it is no flow.
    """
    where, separator, name = target.rpartition(":")
    if not separator or not where or not name:
        raise UsageError(f"expected MODULE:FLOW or path/file.py:flow, got {target!r}")
    folder, module_name = _locate(where)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise  # the module is there; something that it imports is not
        raise UsageError(f"there is no module {module_name!r} (looked in {folder!r} and on sys.path)") from error
    found = getattr(module, name, None)
    if found is None:
        flows = [key for key, value in vars(module).items() if isinstance(value, Flow)]
        known = describe_names(name, flows, "its flows are", "it has no flows")
        raise UsageError(f"module {module_name!r} has no {name!r}; {known}")
    flow = found() if callable(found) and not isinstance(found, Flow) else found
    if not isinstance(flow, Flow):
        raise UsageError(f"{target} is no Flow but {type(flow).__name__}")
    return flow


def _locate(where: str) -> tuple[str, str]:
    if not where.endswith(".py"):
        return str(Path.cwd()), where
    path = Path(where).resolve()
    if not path.is_file():
        raise UsageError(f"there is no file {where!r}")
    return str(path.parent), path.stem
