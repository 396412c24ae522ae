"""What a worker process is to have imported before its first request. Owns the import, and the error it ends in."""

from __future__ import annotations

import importlib

from supervisors.errors import PreloadError
from supervisors.tracebacks import text_of, type_name


def preload(module: str) -> None:
    """Import a module.

    Raises:
        PreloadError: whatever its import raises is the cause.
    """
    try:
        importlib.import_module(module)
    except BaseException as error:
        raise PreloadError(module, f"{type_name(type(error))}: {text_of(error)}") from error
