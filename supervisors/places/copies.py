"""Copies of this process that a request makes by fork, and comes back out of.

Such a copy has the requesting thread alone: nobody hears it, and the locks of others stay as they were. So it must not
go on with what its original does. Owns how a copy is told from its original, and its end. Never forks.
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import NoReturn


class Generation:
    """How many forks lie between the program's first process and this one; read without a call."""

    number = 0


generation = Generation()
"""That of this process. Whoever runs requests compares it with the one in which it was made."""


def leave_copy(error: BaseException | None) -> NoReturn:
    """End this copy, whose request returned (None) or raised, as a program that came to its end by that."""
    with contextlib.suppress(BaseException):
        sys.stdout.flush()
    code = error.code if isinstance(error, SystemExit) else (0 if error is None else 1)
    os._exit(code if isinstance(code, int) else (0 if code is None else 1))


def _count_copy() -> None:
    generation.number += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_count_copy)
