"""The handle by which its owner holds a job: what goes in and what comes out (for the rest see `handle`).

What changes the ledger is a step that Ctrl-C does not cut short (`interrupts`); what waits is interrupted at once, and
the job goes on.
"""

from __future__ import annotations

import os
import reprlib
import time
from collections.abc import Iterable
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

from routilux.accounts import Account, Tap
from routilux.dead_letters import DeadLetter
from routilux.errors import (
    EntryError,
    JobEndedError,
    JobTimeoutError,
    OptionError,
    UnknownEventError,
    UnknownRoutineError,
    UnknownSlotError,
)
from routilux.ledger import Admission
from routilux.messages import Payload
from routilux.partitioning import find_key
from routilux.quantities import is_whole
from routilux.runtime.handle import JobHandle
from routilux.runtime.interrupts import Uninterrupted
from routilux.runtime.results import ResultIterator
from routilux.runtime.signals import ending_on_signals, note_resume
from routilux.runtime.stream import Stream
from routilux.runtime.waits import countdown

STREAM_CAPACITY = 10_000
"""Items kept for a slow reader of `Job.stream` (arbitrary)."""
_WAIT_OUTSIDE = "wait where the job was started, or emit to a routine that goes on when this turn is committed"
_EMIT_INSTEAD = "emit to a connected routine, or give the receiver a larger capacity"


class Job(JobHandle):
    """One run of a flow. Made by `Flow.start`; its methods may be called from any thread.

    As a context manager it waits for the end of the job, collecting results that nobody has read,
    and cancels it when the body raises or that wait is interrupted. One that still runs when the program
    ends is cancelled then, and its end waited for. A job with a store is not cancelled then but left, to be resumed,
    and a note of the error says how; SIGTERM and SIGHUP too are interrupts while such a one is in its `with` on
    the main thread, unless the program ignores them or has handlers of its own.

    Everything may be done twice, and after the end: what is over is told again. In a forked copy of the
    program everything but the ids raises `ForkedJobError`; what would wait raises
    `WaitInsideHandlerError` in a handler of the same job.
    """

    def send(self, routine_id: str, slot: str, /, *, timeout: float | None = None, **data: Any) -> None:
        """Put a message into a slot from outside, waiting for room if there is none.

        Args:
            routine_id: the routine.
            slot: the slot's name.
            timeout: seconds to wait for room in a full mailbox; None for no limit.
            data: the message's parameters.

        Raises:
            UnknownRoutineError, UnknownSlotError: there is no such routine or slot.
            ValueEncodingError: the data cannot be carried to the routine's process.
            PartitionKeyError: the routine is partitioned by a parameter that is not there, or cannot be a key.
            JobEndedError: the job takes no more messages.
            JobTimeoutError: no room within `timeout`; nothing was sent.
            WaitInsideHandlerError: there is no room, and a handler of this job would wait for it; nothing was sent.
        """
        self.require_here()
        self._put(routine_id, slot, data, None, timeout)

    def put(
        self,
        routine_id: str,
        slot: str,
        data: dict[str, Any],
        *,
        name: str | None = None,
        timeout: float | None = None,
    ) -> None:
        """As `send`, with the parameters in a dict; `slot` may be `""` for the routine's entry.

        Args:
            routine_id: the routine.
            slot: the slot's name.
            data: the message's parameters.
            name: what the message is known by outside, such as the number of an order: its id, and the ids of all that
                comes of it, follow from it. So who sends one again after a program was killed, since nothing says
                whether it was kept, sends the same message to all that go by ids. Nobody checks that a name is used
                once. None: an id of its own.
            timeout: seconds to wait for room in a full mailbox; None for no limit.

        Raises:
            OptionError: `data` is no dict with the names of parameters as its keys, or `name` is no text.
            As `send`.
        """
        self.require_here()
        given: object = data  # what came may be anything
        if not isinstance(given, dict) or not all(isinstance(name, str) for name in given):
            raise OptionError(
                f"a message to {routine_id!r}: expected a dict of parameters by their names, got {reprlib.repr(data)}"
            )
        if name is not None and not isinstance(name, str):
            raise OptionError(f"a message to {routine_id!r}: expected its name to be text, got {reprlib.repr(name)}")
        self._put(routine_id, slot, data, name, timeout)

    def redeliver(
        self, letters: DeadLetter | Iterable[DeadLetter] | None = None, *, routine_id: str | None = None
    ) -> int:
        """Put dead letters back into their mailboxes, behind what waits there, to be tried as new ones.

        For messages whose failure had a cause that is gone: a service was down, a file not there. It does
        not matter whether the job is open to messages from outside, only that it is not over. Handlers see
        `self.redelivered`. Letters that were let go because there were too many cannot be put back.

        Args:
            letters: one, or several, of `dead_letters`, each put back once; None: all there are now, but
                for those of routines that are skipped.
            routine_id: only those of this routine.

        Returns:
            How many were put back.

        Raises:
            JobEndedError: the job is over, or ending.
            NotADeadLetterError: one is no dead letter of this job, or none any more.
            RoutineSkippedError: the routine of one, or the one of `routine_id`, is skipped.
            UnknownRoutineError: there is no such routine.
                When anything is raised, nothing was put back.
        """
        self.require_here()
        ledger, now = self._ledger, time.monotonic()
        account = None if routine_id is None else self._find_account(routine_id)
        if letters is None:
            with Uninterrupted():
                count = ledger.redeliver_all(account, now)
        else:
            chosen = _listed(letters, routine_id)
            with Uninterrupted():
                count = ledger.redeliver(chosen, now)
        if count is None:
            raise JobEndedError(self.id, self.status if self.is_over else "ending", "a dead letter")
        return count

    def discard(
        self, letters: DeadLetter | Iterable[DeadLetter] | None = None, *, routine_id: str | None = None
    ) -> int:
        """Let dead letters go for good: from here on they are messages that were skipped.

        For messages that nobody will want any more. They are no dead letters then, neither here nor in checkpoints.

        Args:
            letters: one, or several, of `dead_letters`; None: all there are now.
            routine_id: only those of this routine.

        Returns:
            How many were let go.

        Raises:
            JobEndedError: the job is over, or ending.
            NotADeadLetterError: one is no dead letter of this job, or none any more.
            UnknownRoutineError: there is no such routine.
                When anything is raised, nothing was let go.
        """
        self.require_here()
        ledger = self._ledger
        account = None if routine_id is None else self._find_account(routine_id)
        if letters is None:
            accounts = ledger.accounts if account is None else (account,)
            with ledger.outside:
                chosen: list[Any] = [letter for owner in accounts for letter in owner.dead_letters]
        else:
            chosen = _listed(letters, routine_id)
        with Uninterrupted():
            count = ledger.discard(chosen, time.monotonic())
        if count is None:
            raise JobEndedError(self.id, self.status if self.is_over else "ending", "a dead letter")
        return count

    def close_entry(self) -> None:
        """Take no more messages by `send`; the job ends when the last one is handled."""
        self.require_here()
        with Uninterrupted():
            self._ledger.close_entry()

    def results(self, routine_id: str | None = None, event: str | None = None) -> ResultIterator:
        """Iterate over the results of the declared outputs, as they come, until the job is over.

        By `for`, or in a task by `async for`, which does not block its loop while it waits. Each result is handed over
        once, to one of those who iterate. A bounded output presses back on the flow until its results are taken.
        Ctrl-C while one is being handed over can cost its reader that one. One that cannot be read here is passed over:
        it becomes a dead letter of the routine that emitted it.

        Args:
            routine_id: only outputs of this routine; None for all.
            event: only outputs of this event; None for all.

        Raises:
            UnknownOutputError: no declared output fits.
        """
        self.require_outside("job.results()")
        return ResultIterator(self._results, self._results.select(routine_id, event), self.require_outside)

    def collect(self) -> None:
        """Gather all results until the job is over; the final state has them in `outputs`."""
        self.require_outside("job.collect()")
        outputs = self._ledger.outputs
        for output in outputs:
            self._collected.setdefault(
                (output.plan.routine_id, output.plan.event), self._results.collected_before(output)
            )
        while (taken := self._results.collect(outputs)) is not None:
            self._collected[taken[0].plan.routine_id, taken[0].plan.event].append(taken[1])

    def stream(self, routine_id: str, event: str, *, capacity: int = STREAM_CAPACITY) -> Stream:
        """Tap what an event emits, from now on, without pressing back.

        Args:
            routine_id: the routine.
            event: the name of its event.
            capacity: items kept for a slow reader; what comes beyond is counted in `missed`.

        Raises:
            UnknownRoutineError, UnknownEventError: there is no such routine or event.
            OptionError: the capacity is not a positive number.
        """
        self.require_here()
        if not is_whole(capacity):
            raise OptionError(f"stream: expected capacity to be a number of at least 1, got {capacity!r}")
        routine = self._find_account(routine_id).plan
        if event not in routine.events:
            raise UnknownEventError(event, routine_id, routine.events)
        tap, at, index = Tap(capacity, self._ledger.outside), routine.index, routine.events.index(event)
        with Uninterrupted():
            self._ledger.add_tap(at, index, tap)
        return Stream(self, tap, lambda: self._ledger.remove_tap(at, index, tap), self._ledger.codec)

    def __enter__(self) -> Self:
        self.require_here()
        if self._signals is None:
            self._signals = ExitStack()
            self._signals.enter_context(ending_on_signals(is_wanted=self._kept is not None))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and self._pid != os.getpid():
            return  # a forked copy leaves, by `sys.exit` most often: nothing here runs that could be ended
        signals, self._signals = self._signals or ExitStack(), None
        with signals:
            self.require_outside("the end of `with job`")
            if error is not None:
                self.end_early(f"the body of its `with` raised {type(error).__name__}")
                note_resume(error, self)
                return
            try:
                self.close_entry()
                # What nobody has read would hold the flow up for ever where an output is bounded.
                self.collect()
                self.wait()
            except BaseException as interrupt:
                # Ctrl-C while waiting: as in `Flow.execute`, nothing is left running.
                self.end_early("interrupted")
                note_resume(interrupt, self)
                raise

    # -- Private

    def _put(self, routine_id: str, slot: str, data: dict[str, Any], name: str | None, timeout: float | None) -> None:
        edge = self._entry_edge(routine_id, slot)
        names = self._ledger.plan.edges[edge].key
        partition = find_key(data, names, f"a message to {routine_id!r}") if names else ""
        payload = self._payload(edge, data)
        seconds_left = None if timeout is None else countdown(timeout)

        def try_admit() -> Admission | None:
            with Uninterrupted():
                admission = self._ledger.admit(edge, payload, name, time.monotonic(), partition)
            if admission is not Admission.FULL:
                return admission
            if timeout is None or timeout > 0:
                self.require_outside(f"job.send to {routine_id!r}, which has no room,", _EMIT_INSTEAD)
            return None

        admission = self._ledger.room_bell.wait_for(try_admit, seconds_left)
        if admission is None:
            lacks = "paused, and takes no" if self._ledger.hold else "without room for a"
            raise JobTimeoutError(self.id, timeout or 0.0, f"{lacks} message to {routine_id!r}")
        if admission is Admission.CLOSED:
            raise JobEndedError(self.id, self._why_closed(), f"a message to {routine_id!r}")

    def _find_account(self, routine_id: str) -> Account:
        for account in self._ledger.accounts:
            if account.plan.id == routine_id:
                return account
        raise UnknownRoutineError(routine_id, [account.plan.id for account in self._ledger.accounts])

    def _entry_edge(self, routine_id: str, slot: str) -> int:
        plan = self._ledger.plan
        try:
            edge = plan.entries.get((routine_id, slot))
        except TypeError:
            edge = None  # what came may be anything, and need not even be able to be a key
        if edge is not None:
            if edge in plan.partners:
                raise EntryError(
                    f"slot {slot!r} of routine {routine_id!r} takes something of each of its connections "
                    f"({', '.join(plan.partners[edge])}), and a message from outside is of none of them; send it to "
                    "where they begin"
                )
            return edge
        for routine in plan.routines:
            if routine.id == routine_id:
                raise UnknownSlotError(slot, routine_id, routine.routine.slots)
        raise UnknownRoutineError(routine_id, [routine.id for routine in plan.routines])

    def _payload(self, edge: int, data: dict[str, Any]) -> Payload:
        target = self._ledger.accounts[self._ledger.plan.edges[edge].target]
        codec = self._ledger.codec
        if target.takes_bytes:
            return codec.share(data, "data")
        codec.check(data, "data")
        return dict(data)

    def _why_closed(self) -> str:
        if self.is_over:
            return self.status
        if not self._ledger.is_open:
            return "ending"
        return "closed to messages from outside (start it with keep_open=True to send some)"


def _listed(letters: object, routine_id: str | None) -> list[Any]:
    """Give what came as dead letters as a list, without those of other routines; it may be anything."""
    are_many = isinstance(letters, Iterable) and not isinstance(letters, DeadLetter)
    chosen: list[Any] = [*letters] if are_many else [letters]  # type: ignore[misc]  # narrowed a line above
    if routine_id is not None:
        chosen = [letter for letter in chosen if getattr(letter, "routine_id", routine_id) == routine_id]
    return chosen
