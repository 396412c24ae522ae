"""What a forked copy of this process makes anew, since it has one thread alone, and the locks of others as they were.

Owns the one call that the interpreter makes in a copy for both packages, and in which order that goes round. Never
forks, never knows what is made anew.
"""

from __future__ import annotations

import os
from collections.abc import Callable


class Renewals:
    """The renewals of this process."""

    def __init__(self) -> None:
        self._all: list[Callable[[], object]] = []
        self.are_due = True
        """Whether a copy is in need of them. One of a process that has a single thread, and has begun nothing, is not;
        and each would cost it tens of microseconds, by the pages that it then has to have for itself."""

    def add(self, renew: Callable[[], object]) -> None:
        """Have something called in each copy, behind what was added before."""
        self._all.append(renew)

    def run(self) -> None:
        """Make all anew; in a copy."""
        if self.are_due:
            for renew in self._all:
                renew()


renewals = Renewals()
"""Those of this process."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=renewals.run)
