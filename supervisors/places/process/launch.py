"""How the workers of a place are started, and what of the machine they get: values, checked by who takes them in.

Owns the words for the ways of starting, and which of them this system has. Never starts anything.
"""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import dataclass
from typing import Literal

StartMethod = Literal["zygote", "spawn"]
"""`zygote`: forked from a bare process that has imported what workers need; `spawn`: by a fresh interpreter each."""


@dataclass(frozen=True, slots=True)
class Launch:
    """How workers are started.

    Args:
        start_method: None for the one that is best here (`default_start_method`).
        preload: modules that a worker has imported before it is told what to become; a zygote once for all of them.
        cpus: the processors that each worker keeps to, by its number; empty: all that the program may use.
        niceness: of each worker; None for the program's.
    """

    start_method: StartMethod | None = None
    preload: tuple[str, ...] = ()
    cpus: tuple[tuple[int, ...], ...] = ()
    niceness: int | None = None

    @property
    def is_forked(self) -> bool:
        """Whether workers come from a zygote."""
        return (self.start_method or default_start_method()) == "zygote"

    def cpus_of(self, number: int) -> tuple[int, ...] | None:
        """Give the processors of a worker; None for all."""
        return self.cpus[number] if self.cpus else None


BY_DEFAULT = Launch()
"""As is best here, with nothing special."""


def default_start_method() -> StartMethod:
    """Give how workers are started unless something else is said: by a zygote wherever that is to be had."""
    return "zygote" if has_zygotes() else "spawn"


def has_zygotes() -> bool:
    """Tell whether workers can come from a zygote: on Linux, if the death of a process that is no child can be watched.

    macOS could fork, but its own libraries may not be used in a copy; Windows cannot.
    """
    if sys.platform != "linux" or not hasattr(os, "pidfd_open"):
        return False
    with contextlib.suppress(OSError):  # ENOSYS: an old kernel or a sandbox
        os.close(os.pidfd_open(os.getpid()))
        return True
    return False
