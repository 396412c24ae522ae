"""What a forked copy of this process makes anew, since it has one thread alone, and the locks of others as they were.

Owns the one call that the interpreter makes in a copy for both packages, and in which order that goes round. Never
forks, never knows what is made anew.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Renewals:
    """The renewals of this process."""

    def __init__(self) -> None:
        self._all: list[Callable[[], object]] = []
        self._before: list[Callable[[], object]] = []
        """What others want called before a fork, in the reverse order."""
        self._behind: list[Callable[[], object]] = []
        """And in the original, behind it."""
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

    @contextmanager
    def taking_over(self) -> Iterator[None]:
        """Take to these what is registered by `os.register_at_fork` in a `with` block, so that it is due with them.

        For modules whose copies need nothing while these are not due: the locks of `threading` and `logging`, say.
        """
        register = os.register_at_fork
        os.register_at_fork = self._take
        try:
            yield
        finally:
            os.register_at_fork = register
            register(before=self._call_before, after_in_parent=self._call_behind)

    def _take(
        self,
        *,
        before: Callable[[], object] | None = None,
        after_in_child: Callable[[], object] | None = None,
        after_in_parent: Callable[[], object] | None = None,
    ) -> None:
        for those, added in ((self._before, before), (self._all, after_in_child), (self._behind, after_in_parent)):
            if added is not None:
                those.append(added)

    def _call_before(self) -> None:
        if self.are_due:
            for call in reversed(self._before):
                call()

    def _call_behind(self) -> None:
        if self.are_due:
            for call in self._behind:
                call()


renewals = Renewals()
"""Those of this process."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=renewals.run)
