"""How a worker ends by itself: as any program does, but for the taking apart of its interpreter.

Owns what an interpreter does at its end that somebody could miss. Never decides that it ends.

To take the interpreter apart is to write to each object that the worker shares with its zygote: 3,600 pages would have
to be copied for that, in some 15 ms, three times what the worker's start takes, to give back memory that the system
has back anyway. So it is left as it is, as `multiprocessing` does. What is not reached by then is not finalized: the
globals of modules. What is open is flushed, wherever it is.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import io
import os
import sys
import threading
from typing import NoReturn

_BUFFERED = frozenset({io.BufferedWriter, io.BufferedRandom, io.TextIOWrapper})
"""Classes of open files that may hold back what was written."""


def leave() -> NoReturn:
    """End this process with code 0: wait for its threads, run its exit functions, flush what it has open."""
    threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001  as the interpreter waits for those of users
    atexit._run_exitfuncs()  # noqa: SLF001  likewise
    flush_all()
    os._exit(0)


def flush_all() -> None:
    """Finalize what is garbage, and write out what any open file holds back."""
    gc.collect()  # what is in cycles, and would be finalized now
    # What the zygote had is not among these.
    opened = [each for each in gc.get_objects() if type(each) in _BUFFERED]
    # Files of text before those that they write to.
    opened.sort(key=lambda each: type(each) is not io.TextIOWrapper)
    for each in (*opened, sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # closed, detached, or nobody reads
            each.flush()
