"""What becomes of trees that still run when the program ends.

Owns the list of roots that nobody may have ended, and the one step at the interpreter's exit: each is
asked to end, the log is told so, and the ends are waited for. Never ends one while the program runs.

Theory of operation. Actors' threads are daemons, which the interpreter freezes at its end wherever they
are: in the middle of a line on stderr, for one, whose lock it then cannot get ("Fatal Python error").
So they are gone before that. The step is one of `atexit`: it comes when the threads that are no daemons
have ended, so that one of these which waits for a root sees its end; after those steps that the program
registered later, and before `logging` is shut down. Each root is waited for as long as it said when it was
started; Ctrl-C cuts all of that short. What is left then ends with the program: threads are frozen, and
worker processes ended by the kernel. The exit status stays the program's own.

A forked copy of the program has none of the threads: it forgets them all.
"""

from __future__ import annotations

import atexit
import math
from collections.abc import Callable
from typing import NamedTuple, Protocol

from supervisors.clock import MonotonicClock
from supervisors.messages import Terminate
from supervisors.reasons import Reason, Shutdown
from supervisors.renewals import renewals
from supervisors.report import Reporter

REASON = Shutdown("the program ended")
"""Why those end that still run then."""


class Root(Protocol):
    """The address of an actor that nobody stands above."""

    def signal(self, message: object) -> bool:
        """Put `message` ahead of all data; False after its end."""

    def watch(self, notify: Callable[[Reason], object]) -> Callable[[], bool]:
        """Call `notify` once with the reason of its end, at once if it has ended."""

    def wait_terminated(self, timeout: float | None) -> bool:
        """Wait until its thread, and those below it, are gone; tells whether they are."""


class _Entry(NamedTuple):
    ref: Root
    told: str
    log: Reporter
    seconds: float


class ProgramEnd:
    """The roots that are ended with the program. Any thread may call its methods."""

    def __init__(self) -> None:
        # Each change, and the copy that `end_all` makes, is one step of the interpreter: no lock.
        self._roots: dict[int, _Entry] = {}
        self._is_registered = False

    def watch_over(self, ref: Root, told: str, log: Reporter, seconds: float) -> None:
        """End a root with the program, should it run then.

        Args:
            ref: the root; one that takes `Terminate`.
            told: the line that the log is told in that case.
            log: where it is told.
            seconds: how long its end is waited for at most; infinite for no limit but Ctrl-C.
        """
        if not self._is_registered:
            self._is_registered = True
            atexit.register(self.end_all)
        self._roots[id(ref)] = _Entry(ref, told, log, seconds)
        ref.watch(lambda _reason: self._roots.pop(id(ref), None))  # at once if it has ended by now

    def end_all(self) -> None:
        """Ask all to end, and wait for that."""
        roots = tuple(self._roots.values())
        clock = MonotonicClock()
        asked_at = clock.now()
        try:
            for root in roots:
                if root.ref.signal(Terminate(REASON)):
                    root.log.warning("%s", root.told)
            for root in roots:
                left = None if math.isinf(root.seconds) else max(0.0, asked_at + root.seconds - clock.now())
                root.ref.wait_terminated(left)
        except KeyboardInterrupt:
            return  # somebody is in a hurry: the system ends what is left

    def forget(self) -> None:
        """Know of none, in a forked copy of the program."""
        self._roots.clear()


program_end = ProgramEnd()
"""The one of this program."""

renewals.add(program_end.forget)
