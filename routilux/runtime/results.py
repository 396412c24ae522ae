"""The results of declared outputs, handed over to whoever reads them from outside.

Owns the way from an output's mailbox to its reader. Runs on its readers' threads, several at a time if they
like. A result that cannot be read where its reader is costs itself alone: it becomes a dead letter.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Self

from routilux.accounts import Output
from routilux.errors import UnknownOutputError
from routilux.ledger import Ledger
from routilux.messages import Message
from routilux.runtime.failure_log import FailureLog
from routilux.runtime.interrupts import Uninterrupted
from routilux.runtime.stream import Item, read_payload
from supervisors.errors import ValueDecodingError
from supervisors.reasons import Raised, record_error


class ResultIterator:
    """Results as they come, an iterator that ends with the job; in a program of tasks, an asynchronous one.

    Several threads or tasks may share one: each result is handed over once.

    Args:
        results: the job's.
        outputs: those that are read.
        check: refuses a wait that would have no end.
    """

    def __init__(self, results: Results, outputs: tuple[Output, ...], check: Callable[[str], None]) -> None:
        self._results = results
        self._outputs = outputs
        self._check = check

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Item:
        self._check("reading results")
        taken = self._results.take(self._outputs)
        if taken is None:
            raise StopIteration
        return taken[1]

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Item:
        self._check("reading results")
        taken = await self._results.take_awaited(self._outputs)
        if taken is None:
            raise StopAsyncIteration
        return taken[1]


class Results:
    """The results of one job.

    Args:
        ledger: the job's.
        failures: told of what cannot be read.
        is_over: whether the job has ended.
    """

    def __init__(self, ledger: Ledger, failures: FailureLog, is_over: Callable[[], bool]) -> None:
        self._codec = ledger.codec
        self._ledger = ledger
        self._failures = failures
        self._is_over = is_over

    def select(self, routine_id: str | None, event: str | None) -> tuple[Output, ...]:
        """Give the outputs of a routine, of an event, of both; None stands for any.

        Raises:
            UnknownOutputError: no declared output fits.
        """
        outputs = self._ledger.outputs
        chosen = tuple(o for o in outputs if routine_id in {None, o.plan.routine_id} and event in {None, o.plan.event})
        if not chosen and (routine_id is not None or event is not None):
            wanted = ".".join(name or "*" for name in (routine_id, event))
            raise UnknownOutputError(wanted, [f"{output.plan.routine_id}.{output.plan.event}" for output in outputs])
        return chosen

    def take(self, outputs: tuple[Output, ...]) -> tuple[Output, Item] | None:
        """Wait for the next result of one of `outputs`; None when the job is over and has no more."""
        return self._told(self._ledger.results_bell.wait_for(partial(self._look, outputs, self._ledger.take_output)))

    def collect(self, outputs: tuple[Output, ...]) -> tuple[Output, Item] | None:
        """As `take`, for a result that is to be part of the job's final state."""
        return self._told(self._ledger.results_bell.wait_for(partial(self._look, outputs, self._ledger.collect_output)))

    def collected_before(self, output: Output) -> list[Item]:
        """Give the results that were collected before the job was resumed."""
        return [read_payload(message.payload, self._codec) for message in output.collected]

    async def take_awaited(self, outputs: tuple[Output, ...]) -> tuple[Output, Item] | None:
        """As `take`, for a task: what is cancelled while it waits has taken nothing."""
        from routilux.runtime.awaiting import wait_for  # noqa: PLC0415  # who awaits has it

        found = await wait_for(self._ledger.results_bell, partial(self._look, outputs, self._ledger.take_output))
        return self._told(found)

    def _look(
        self, outputs: tuple[Output, ...], take: Callable[[Output], Message | None]
    ) -> tuple[tuple[Output, Item], ...] | None:
        """Give the next result, alone; empty when there will be none, None while there is none."""
        # In this order: what a job that is over has left is all there will be.
        over = self._is_over()
        for output in outputs:
            # Looked at first without a step of its own, which costs ten times as much: most have nothing, most times.
            while output.mailbox.data:
                with Uninterrupted():
                    message = take(output)
                if message is None:
                    break
                try:
                    return ((output, read_payload(message.payload, self._codec)),)
                except ValueDecodingError as error:
                    self._bury(output, message, error)
        return () if over else None

    def _told(self, found: tuple[tuple[Output, Item], ...] | None) -> tuple[Output, Item] | None:
        if found:
            return found[0]
        self._failures.tell_left_out()
        return None

    def _bury(self, output: Output, message: Message, error: ValueDecodingError) -> None:
        reason, now = Raised(record_error(error)), time.monotonic()
        with Uninterrupted():
            self._ledger.bury_result(output, message, reason, now)
        self._failures.tell_unreadable(output.plan.routine_id, message.edge, message.id, reason, now)
        on_main = threading.current_thread() is threading.main_thread()
        if isinstance(error.__cause__, KeyboardInterrupt) and on_main:
            # Ctrl-C, most likely, in the middle of the value's own code; that could also have raised it by itself.
            raise KeyboardInterrupt
