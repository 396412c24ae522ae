"""What the requests of a worker are held to while it is on one: time and memory.

Owns the looks at one incarnation: when the next is due, and carrying out what a look shows. What a limit of time
leads to is decided in `overdue`; how an end comes about is the child's. An idle worker is not looked at.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from supervisors.places.process.child import Child
from supervisors.places.process.overdue import TERMINATE_SECONDS, Overdue, Step
from supervisors.places.process.page import PageView
from supervisors.places.process.sizing import resident_shared_bytes
from supervisors.reasons import DeadlineExceeded, OutOfMemory

MEMORY_SECONDS = 0.05
"""Time between two looks at a worker's memory (arbitrary: half a GiB may be filled in it)."""


class Limits:
    """Holds one incarnation to its limits.

    Args:
        child: the incarnation.
        timeout: seconds a request may take, waits for grants and while it is held left out; None for no limit.
        warn: called with (seq, seconds, stack) when half of them are over; None: nobody is.
        memory_limit: bytes that it and all it has started may hold resident; None for no limit.
    """

    def __init__(
        self,
        child: Child,
        timeout: float | None,
        warn: Callable[[int, float, str], None] | None,
        memory_limit: int | None,
    ) -> None:
        self._child = child
        self._timeout = timeout
        self._warn = warn
        self._overdue = None if timeout is None else Overdue(timeout)
        self._memory_limit = memory_limit
        self._memory_at = 0.0

    def next_look(self, now: float) -> float:
        """Clock reading at which `look` is to be called at the latest; infinite if there is nothing to look for."""
        child = self._child
        if not len(child.link) or child.is_ending:
            return math.inf
        looks = [math.inf]
        if self._overdue is not None:
            looks.append(self._overdue.next_look(child.page(), now))
        if self._memory_limit is not None:
            looks.append(self._memory_at if self._memory_at > now else now + MEMORY_SECONDS)
        return min(looks)

    def look(self, now: float) -> None:
        """Do what is to be done at clock reading `now`."""
        child = self._child
        if not len(child.link) or child.is_ending:
            return
        if self._memory_limit is not None and now >= self._memory_at:
            self._memory_at = now + MEMORY_SECONDS
            self._look_at_memory(self._memory_limit)
        overdue, timeout = self._overdue, self._timeout
        if overdue is not None and timeout is not None and not child.is_ending:
            page = child.page()
            is_told = overdue.is_asking and child.read_stack() != ""
            oldest = None if child.owes_grants or child.is_parked or child.is_stopping else child.link.oldest
            step = overdue.decide_step(page, now, oldest=oldest, is_told=is_told)
            self._carry_out(step, page, now, timeout)

    def _carry_out(self, step: Step, page: PageView, now: float, timeout: float) -> None:
        child = self._child
        match step:
            case Step.NOTHING:
                pass
            case Step.ASK_STACK:
                child.ask_stack()
            case Step.WARN:
                if self._warn is not None and page.seq is not None:
                    self._warn(page.seq, now - page.since, child.read_stack())
            case Step.END:
                if page.seq is not None:
                    reason = DeadlineExceeded(timeout, child.pid, child.read_stack())
                    child.terminate(page.seq, reason, now + TERMINATE_SECONDS)
            case Step.GIVE_UP:
                child.kill_silent(DeadlineExceeded(timeout, child.pid))

    def _look_at_memory(self, limit: int) -> None:
        child = self._child
        if child.pid is None:
            return
        held = child.count_resident()
        if held > limit and child.party is not None:
            # What it looks at of its owner's memory is not its own; what it shares with others itself is.
            held -= min(resident_shared_bytes(child.pid), child.party.count_known_bytes())
        if held > limit:
            child.kill(OutOfMemory(child.pid, held, limit, child.node))
