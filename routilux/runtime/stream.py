"""What an event emits, read from outside while the job runs.

Owns the reader's side of a tap. Runs on its reader's thread, and never presses back on the job.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, Self

from routilux.accounts import Tap
from routilux.messages import Payload
from routilux.runtime.interrupts import Uninterrupted
from routilux.turn.values import PICKLED, ValueCodec
from supervisors.parking import NOTICE_SECONDS, LockParker

if TYPE_CHECKING:
    from routilux.runtime.awaiting import TaskParker

Item = dict[str, Any]
"""What an event was emitted with, by parameter name."""


class Tapped(Protocol):
    """What a stream needs of its job."""

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""

    def require_here(self) -> None:
        """Refuse all use in a forked copy of the program."""

    def require_outside(self, attempted: str) -> None:
        """Refuse a wait that would have no end."""


class Stream:
    """What an event emits, from now on; an iterator that ends with the job.

    In a task, an asynchronous one. For one reader. `missed` counts what came while its reader was too slow. An item
    that cannot be read here raises `ValueDecodingError` at the line that asks for it; the next one can be asked for
    after it.

    Args:
        job: whose event it is.
        tap: where the ledger puts what is emitted.
        close: has it put no more there.
        codec: how the job's values are encoded.
    """

    def __init__(self, job: Tapped, tap: Tap, close: Callable[[], None], codec: ValueCodec = PICKLED) -> None:
        self._codec = codec
        self._job = job
        self._tap = tap
        self._close = close
        self._parker: TaskParker | None = None
        """Where the task waits that has read last; None where a thread has."""

    @property
    def missed(self) -> int:
        """Emissions that were not kept because the reader was too slow."""
        return self._tap.missed

    def close(self) -> None:
        """Stop tapping; what is kept can still be read."""
        self._job.require_here()
        with Uninterrupted():
            self._close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Item:
        self._job.require_outside("reading a stream")
        mailbox = self._tap.mailbox
        if self._parker is not None:
            self._parker = None
            mailbox.attach(LockParker())
        while True:
            seen = mailbox.rings
            over = self._job.is_over
            payload = mailbox.try_take()
            if payload is not None:
                return read_payload(payload, self._codec)  # type: ignore[arg-type]  # a tap's mailbox holds payloads alone
            if over:
                raise StopIteration
            mailbox.sleep(seen, NOTICE_SECONDS)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Item:
        from routilux.runtime.awaiting import TaskParker, wait_rung  # noqa: PLC0415  # who awaits has it

        self._job.require_outside("reading a stream")
        mailbox, parker = self._tap.mailbox, self._parker
        if parker is None or not parker.is_here:
            parker = self._parker = TaskParker()
            mailbox.attach(parker)
        while True:
            seen = mailbox.rings
            over = self._job.is_over
            payload = mailbox.try_take()
            if payload is not None:
                return read_payload(payload, self._codec)  # type: ignore[arg-type]  # as above
            if over:
                raise StopAsyncIteration
            await wait_rung(mailbox, seen, parker)


def read_payload(payload: Payload, codec: ValueCodec) -> Item:
    """Give the data of a message that has left the job, for its reader alone."""
    if isinstance(payload, dict):
        return dict(payload)
    data: Item = codec.decode(payload)
    return data
