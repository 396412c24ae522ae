"""Finding the flow that a command names: `MODULE:FLOW`, `path/file.py:flow`, or a flow file.

Owns the import of the user's module, under the name that workers can import it by. Never runs a
flow.
"""

from __future__ import annotations

import importlib
import inspect
import sys
import traceback
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

from routilux.cli.errors import BrokenFlowError, UsageError
from routilux.errors import JobAtImportError, MissingExtraError
from routilux.flow import Flow
from routilux.flowfile.errors import FlowFileError
from routilux.flowfile.formats import is_flow_file
from routilux.frames import is_own
from routilux.hints import describe_names, did_you_mean
from supervisors.loading import loading
from supervisors.text import printable

TARGET_HELP = (
    "MODULE:FLOW or path/file.py:flow; a Flow, or a function without arguments that gives one. Or a flow file (.toml, "
    ".yaml, .json), and with ':' the modules that it may use, as flow.toml:shop,mill"
)


def load_flow(target: str) -> Flow:
    """Load a flow.

    The module is imported by its own name, with its folder (for a module's name: the present
    folder) on `sys.path`: worker processes get the same `sys.path`, and find what is pickled by
    reference under the same name.

    Args:
        target: `MODULE:FLOW` or `path/file.py:flow`; dots in the second part lead into objects.
            It names a `Flow`, or something that gives one when it is called without arguments.
            Or a flow file, by its ending, and behind a colon the modules whose routines it may name, with commas
            between them; these are found in its folder too, and are imported.

    Raises:
        UsageError: there is no such module, file or attribute, or it is no flow.
        BrokenFlowError: the user's code raised, or started a job; or the flow file describes no flow.
    """
    with loading.going_on():
        return _load_flow(target)


def absolute_target(target: str) -> str:
    """Give a target that means the same in every folder, where it names a file."""
    if is_flow_file(target):
        return str(Path(target).resolve())
    where, separator, attribute = target.rpartition(":")
    is_file = where.endswith(".py") or is_flow_file(where)
    return f"{Path(where).resolve()}{separator}{attribute}" if is_file else target


def describe_error(error: BaseException) -> str:
    """Say in one line what was raised, and the user's line where it came from."""
    where = _user_line(error.__traceback__)
    text = str(error).strip()
    return f"{type(error).__name__}{f': {text}' if text else ''}{f' ({where})' if where else ''}"


def _load_flow(target: str) -> Flow:
    named = _flow_file(target)
    if named is not None:
        return _read_flow_file(*named)
    where, separator, attribute = target.rpartition(":")
    if target.endswith(".py") and Path(target).is_file():
        known = describe_names(None, _flow_names(_import_file(target)), "its flows are", "it has no flows")
        raise UsageError(f"say which flow of {target!r} is meant, as in {target}:flow; {known}")
    if not separator or not where or not attribute:
        raise UsageError(f"expected MODULE:FLOW, path/file.py:flow or a flow file, got {target!r}")
    module = _import_file(where) if where.endswith(".py") else _import_module(where)
    found = _find(module, attribute)
    if callable(found) and not isinstance(found, Flow):
        found = _call(found, target)
        if found is None:
            raise UsageError(
                f"{target} was called, and gave nothing: a function that makes a Flow ends with 'return flow'"
            )
    if not isinstance(found, Flow):
        raise UsageError(f"{target} is no Flow but of type {type(found).__name__}")
    return found


def _flow_file(target: str) -> tuple[str, list[str]] | None:
    """Give the flow file that a target names, and the modules it may use; None where it names no such file."""
    if is_flow_file(target):
        return target, []
    file, _, modules = target.rpartition(":")
    return (file, modules.split(",")) if is_flow_file(file) else None


def _read_flow_file(file: str, modules: list[str]) -> Flow:
    for name in modules:
        _put_on_path(str(Path(file).resolve().parent))
        _import_module(name)
    try:
        return Flow.from_file(file, allow_modules=modules)
    except OSError as error:
        raise UsageError(f"{file!r} cannot be read: {error.strerror}") from error
    except (FlowFileError, MissingExtraError) as error:
        raise BrokenFlowError(str(error)) from error


def _import_module(name: str) -> ModuleType:
    if not all(part.isidentifier() for part in name.split(".")):
        raise UsageError(f"expected the name of a module or the path of a .py file, got {name!r}")
    _put_on_path(str(Path.cwd()))
    beside = sorted(other.stem for other in Path.cwd().iterdir() if other.suffix in {"", ".py"})
    hint = did_you_mean(name, beside)
    return _import(name, f"there is no module {name!r} in {str(Path.cwd())!r} or on sys.path{hint}")


def _import_file(path: str) -> ModuleType:
    file = Path(path).resolve()
    if not file.is_file():
        beside = sorted(other.name for other in file.parent.glob("*.py")) if file.parent.is_dir() else []
        raise UsageError(f"there is no file {path!r}{did_you_mean(file.name, beside)}")
    folder, parts = file.parent, [file.stem]
    while (folder / "__init__.py").is_file():
        folder, parts = folder.parent, [folder.name, *parts]
    if parts[-1] == "__init__":
        parts.pop()
    if any("." in part for part in parts):
        raise UsageError(f"{path!r} cannot be imported: a module's name has no dots in it")
    _put_on_path(str(folder))
    name = ".".join(parts)
    module = _import(name, f"{path!r} cannot be imported as {name!r}")
    if module.__file__ is None or Path(module.__file__).resolve() != file:
        raise UsageError(
            f"{path!r} cannot be imported: {name!r} is already {module.__file__ or 'a module'}; rename the file"
        )
    return module


def _put_on_path(folder: str) -> None:
    if folder not in sys.path:
        sys.path.insert(0, folder)


def _import(name: str, missing: str) -> ModuleType:
    importlib.invalidate_caches()
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            raise UsageError(missing) from error
        raise BrokenFlowError(f"importing {name!r} raised {describe_error(error)}") from error
    except JobAtImportError as error:
        raise BrokenFlowError(str(error)) from error
    except (Exception, SystemExit) as error:
        raise BrokenFlowError(f"importing {name!r} raised {describe_error(error)}") from error


def _find(module: ModuleType, attribute: str) -> Any:
    found: Any = module
    for part in attribute.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            names = _flow_names(module)
            known = describe_names(part, names, "its flows are", "it has no flows")
            raise UsageError(f"module {module.__name__!r} has no {attribute!r}; {known}") from None
    return found


def _flow_names(module: ModuleType) -> list[str]:
    """Give the names of a module's flows, and of functions that say they give one."""
    names = []
    for name, value in vars(module).items():
        returns = getattr(value, "__annotations__", {}).get("return") if inspect.isfunction(value) else None
        if isinstance(value, Flow) or (returns in {Flow, "Flow"} and value.__module__ == module.__name__):
            names.append(name)
    return names


def _call(maker: Any, target: str) -> Any:
    try:
        inspect.signature(maker).bind()
    except (TypeError, ValueError) as error:
        raise UsageError(f"{target} is no Flow, and cannot be called without arguments to get one: {error}") from error
    try:
        return maker()
    except JobAtImportError as error:
        raise BrokenFlowError(str(error)) from error
    except (Exception, SystemExit) as error:
        raise BrokenFlowError(f"{target} raised {describe_error(error)}") from error


def _user_line(trace: TracebackType | None) -> str:
    frames = [
        frame
        for frame in traceback.extract_tb(trace)
        if not is_own(frame.filename, frame.name) and "importlib" not in frame.filename
    ]
    return printable(f"{frames[-1].filename}, line {frames[-1].lineno}") if frames else ""
