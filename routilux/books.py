"""All that a ledger holds, copied by reference between two commits: what a checkpoint is made of, and a job begun from.

Plain values. A message never changes and is shared; what commits change in place is copied.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from routilux.accounts import Account, Output, RetryWait
from routilux.blocks import Block, messages_of
from routilux.dead_letters import DeadLetter
from routilux.messages import Message, Once, parts_of
from routilux.tracking.meters import Measured, Spent
from supervisors.errors import InternalError

COUNTS = ("handled", "merged", "failed", "skipped", "dead", "retries", "restarts", "emitted", "peak_waiting")
"""The counts of an account that belong to the job and not to the moment."""


class AccountBooks(NamedTuple):
    """What one routine holds.

    Args:
        committed: its declared states by worker; None for one that is known from before.
        versions: how often each of them was changed.
        in_hand: messages being handled, oldest first; some of them in blocks, as of those that wait.
        waiting: messages in its mailbox, oldest first.
        retries: messages that wait for their next try.
        letters: its dead letters, oldest first.
        status: its word.
        error: its last failure in one line.
        is_skipped: whether it is skipped for the rest of the job.
        counts: what it did, by the names of `COUNTS`.
        spent: what its processes have used that have ended, by worker.
        measured: what its turns took; None where that was not asked for.
        merging: messages that wait for others to be handled with, in an order in which they can be gathered again.
    """

    committed: tuple[dict[str, Any] | None, ...]
    versions: tuple[int, ...]
    in_hand: tuple[Message | Block, ...]
    waiting: tuple[Message | Block, ...]
    retries: tuple[RetryWait, ...]
    letters: tuple[DeadLetter, ...]
    status: str
    error: str | None
    is_skipped: bool
    counts: dict[str, int]
    spent: tuple[Spent, ...] = ()
    measured: Measured | None = None
    merging: tuple[Message, ...] = ()

    @property
    def held(self) -> Iterator[Message]:
        """All messages that are still to be handled, those of a set one by one."""
        for messages in (self.in_hand, self.waiting, self.merging, *(wait.messages for wait in self.retries)):
            for message in messages_of(messages):
                yield from parts_of(message)


class OutputBooks(NamedTuple):
    """What a declared output holds: results that wait for a reader, and those that the job keeps, oldest first."""

    waiting: tuple[Message, ...]
    collected: tuple[Message, ...]


class Books(NamedTuple):
    """What a whole ledger holds.

    Args:
        sent, handled, dead, skipped: counts by index of the connection.
        accounts: what the routines hold, in the order of the plan.
        outputs: what the outputs hold, in the order of the plan.
        is_entry_open: whether it takes messages from outside.
        memos: by the keys of messages that have not come again yet, what was done once for them by an earlier runner.
        first_at, last_at: clock readings when a message was first and last sent, by index of the connection; None for
            never.
        seconds: how long the job has run, in all its programs together.
    """

    sent: list[int]
    handled: list[int]
    dead: list[int]
    skipped: list[int]
    accounts: tuple[AccountBooks, ...]
    outputs: tuple[OutputBooks, ...]
    is_entry_open: bool
    memos: Mapping[int, tuple[Once, ...]] = MappingProxyType({})
    first_at: Sequence[float | None] = ()
    last_at: Sequence[float | None] = ()
    seconds: float = 0.0

    def check(self, labels: Sequence[str]) -> None:
        """Check the conservation of messages (R7).

        Args:
            labels: of the connections, by index.

        Raises:
            InternalError: some connection's messages do not add up; it names them.
        """
        left = [
            sent - handled - dead - skipped
            for sent, handled, dead, skipped in zip(self.sent, self.handled, self.dead, self.skipped, strict=True)
        ]
        for account in self.accounts:
            for message in account.held:
                left[message.edge] -= 1
        for output in self.outputs:
            for message in output.waiting:
                left[message.edge] -= 1
        wrong = [f"{label}: {count:+d}" for label, count in zip(labels, left, strict=True) if count]
        if wrong:
            raise InternalError(f"what was cut does not add up: {'; '.join(wrong)}")


Versions = dict[tuple[int, int], int]
"""How often a declared state had been changed, by (index of the routine, number of the worker)."""


def copy_account(account: Account, known: Versions) -> AccountBooks:
    """Copy what a routine holds; the job's lock is held.

    Args:
        account: the routine's.
        known: versions of states that need not be copied again.
    """
    return AccountBooks(
        committed=tuple(
            None if known.get((account.index, worker)) == account.versions[worker] else copy_committed(committed)
            for worker, committed in enumerate(account.committed)
        ),
        versions=tuple(account.versions),
        in_hand=tuple(account.entries_in_hand),
        waiting=tuple(account.mailbox.data),
        retries=tuple(account.in_retry.values()),
        letters=tuple(account.dead_letters),
        status=account.status,
        error=account.error,
        is_skipped=account.is_skipped,
        counts={name: getattr(account, name) for name in COUNTS},
        spent=account.spent,
        merging=tuple(account.merging),
    )


def copy_committed(committed: dict[str, Any]) -> dict[str, Any]:
    """Copy a declared state as commits change it: its keys, and the lists that grow."""
    copied = committed.copy()
    for key, value in committed.items():
        if value.__class__ is list:
            copied[key] = value.copy()
    return copied


def copy_output(output: Output) -> OutputBooks:
    """Copy what an output holds; the job's lock is held."""
    return OutputBooks(tuple(output.mailbox.data), tuple(output.collected))
