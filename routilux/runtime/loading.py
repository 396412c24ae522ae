"""When no job may be started: while a worker makes what it is to run, or a command loads the flow that it is given.

Owns the refusal, and the search for the line that it is about. Never loads anything.

Theory of operation. A worker imports the modules of what it runs. If one of them starts a job where it is imported, the
workers of that job import the module too, and start one: without end. In a worker a module may be imported later as
well, for the values of a message; so there it also counts whether a module is being imported. A handler may start what
jobs it wants.
"""

from __future__ import annotations

import traceback

from routilux.errors import JobAtImportError
from routilux.frames import is_own
from supervisors.loading import loading
from supervisors.wire.outside import here

_IMPORTER = "<frozen importlib"
"""What the files begin with of the code that imports modules."""


def refuse_while_loading() -> None:
    """Refuse to start a job now, if this process only loads code; raises `JobAtImportError`."""
    if not loading and here.space is None:
        return
    module, file, line = _find_import()
    if module is None and not loading:
        return  # a handler does it
    raise JobAtImportError(module, file, line)


def _find_import() -> tuple[str | None, str, int]:
    """Give the newest module on the stack that is being imported, if one is; and the user's file and line."""
    newest: tuple[str, int] | None = None
    for frame, line in traceback.walk_stack(None):
        code, caller = frame.f_code, frame.f_back
        if is_own(code.co_filename, code.co_name):
            continue
        newest = newest or (code.co_filename, line)
        if code.co_name == "<module>" and caller is not None and caller.f_code.co_filename.startswith(_IMPORTER):
            return str(frame.f_globals.get("__name__")), code.co_filename, line
    return None, *(newest or ("<unknown>", 0))
