"""Steps of the caller's thread that no signal handler cuts short.

Owns one thing: the handlers of a few signals, for the microseconds of a step. Never waits: a wait
is no step, and is interrupted as ever.

Theory of operation. Python runs signal handlers on the main thread, between any two instructions
of it, and what a handler raises (`KeyboardInterrupt` at Ctrl-C) comes out there. In the middle of a
step on a job's ledger that would leave a message counted in one place and held in no other, so that
the books do not add up at the end (R7); or a sleeper noted as woken whom nobody wakes, so that the
job has no end. And a handler that looks at the job in the middle of such a step waits for the lock that
the step holds. None of this can be mended afterwards: the mending could be interrupted too. So, on the
main thread, a step runs under handlers that note a signal and do nothing else. When the step is
complete the program's own handlers are put back, and each is given what was noted.

A noting handler outside of its step hands the signal on at once: so an exception that comes while
the handlers are being replaced or put back, out of the handler of another signal, leaves nothing
behind that would swallow one.

What does not help: blocking signals for the thread (the system gives them to another thread, and
Python runs their handlers on the main one all the same); a handler that stays installed (`asyncio`
and others look whether the one for Ctrl-C is Python's own, and behave differently). What stays
possible: handlers of other signals that raise or look at the job, and exceptions set from another thread by the C API.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable
from itertools import compress
from types import FrameType
from typing import Any

from supervisors.renewals import renewals

DEFERRED = tuple(
    int(getattr(signal, name))
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGALRM", "SIGUSR1", "SIGUSR2")
    if hasattr(signal, name)
)
"""Signals whose handlers are commonly made to raise, or to look at what the program is doing."""

_Handler = Callable[[int, FrameType | None], Any]

# The functions themselves, where they can be had: what `signal` puts around them looks up names for numbers,
# which takes twenty times as long, and a step of some 5 µs is taken with each message that is sent.
_functions = sys.modules.get("_signal", signal)
_get_handler: Callable[[int], Any] = _functions.getsignal
_set_handler: Callable[[int, _Handler], Any] = _functions.signal
_main_thread = threading.main_thread().ident


class Uninterrupted:
    """A step without a wait, to be completed before any signal handler raises.

    To be entered once. On other threads than the main one it does nothing, since no handler runs there.
    """

    __slots__ = ("_before", "_is_inside", "_noted")

    _before: dict[int, _Handler]
    """The program's own handlers, by signal; set where the step begins, as what follows."""
    _noted: list[tuple[int, FrameType | None]]
    _is_inside: bool

    def __enter__(self) -> None:
        self._before = before = {}
        self._noted = []
        self._is_inside = False
        if threading.get_ident() != _main_thread:
            return
        note = self._note
        # Not callable: it ends the process, is ignored, or was not set by Python. Built-in parts find out which.
        for number in compress(DEFERRED, map(callable, map(_get_handler, DEFERRED))):
            before[number] = _get_handler(number)
            _set_handler(number, note)
        self._is_inside = True

    def __exit__(self, *_: object) -> None:
        if not self._before:
            return
        self._is_inside = False  # from here a signal goes to its own handler at once
        try:
            self._put_back()
        finally:
            if self._noted:
                self._hand_on()

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._is_inside:
            self._noted.append((number, frame))
        else:
            self._put_back()
            self._before[number](number, frame)

    def _hand_on(self) -> None:
        if self._noted:
            number, frame = self._noted.pop(0)
            try:
                self._before[number](number, frame)
            finally:
                self._hand_on()  # what one handler raises is no reason for another never to hear of its signal

    def _put_back(self) -> None:
        for number, handler in self._before.items():
            if _get_handler(number) == self._note:
                _set_handler(number, handler)


def _find_main_thread() -> None:
    """Know the main thread of a forked copy: the one that has forked it."""
    global _main_thread  # noqa: PLW0603  which is another one there
    _main_thread = threading.main_thread().ident


renewals.add(_find_main_thread)
