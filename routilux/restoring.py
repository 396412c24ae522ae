"""Where a ledger begins that goes on from another's books.

Owns the way of what was held into the places of this one. Never reads a checkpoint (see `jobs.imaging`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec.structs import replace

from routilux.accounts import Account, Output
from routilux.blocks import messages_of
from routilux.books import AccountBooks, Books
from routilux.holdings import Holdings
from routilux.messages import Message, Once, add_once, count_parts, unite
from routilux.tracking.meters import Measured, Measures


class Restoring(Holdings):
    """The holdings of a job, which can be those of an earlier runner."""

    __slots__ = ()

    def restore(self, books: Books, memos: dict[int, tuple[Once, ...]]) -> None:
        """Begin where another ledger was: once, before anything is taken or comes in.

        What was in hand waits ahead of all else, and may have been run. Times are readings of this job's clock.

        Args:
            books: what the other held.
            memos: by the keys of messages, what was done once for them since; some will only come again.
        """
        self._memos = dict(books.memos)
        for key, added in memos.items():
            self._memos[key] = add_once(self._memos.get(key, ()), added)
        self.measures = Measures(0.0, books.seconds, tuple(held.measured or Measured() for held in books.accounts))
        with self.lock:
            for way, sent in zip(self._ways, books.sent, strict=True):
                way.sent = sent
            self._dated = list(books.sent)
            self._handled[:], self._dead[:], self._skipped[:] = books.handled, books.dead, books.skipped
            for index, at in enumerate(books.first_at):
                self._first_at[index], self._last_at[index] = at, books.last_at[index]
            self._entry_open = books.is_entry_open
            for account, held in zip(self.accounts, books.accounts, strict=True):
                self._restore_account(account, held)
            for output, results in zip(self.outputs, books.outputs, strict=True):
                output.collected.extend(results.collected)
                self._refill(output, results.waiting)
            self._open_lanes([])  # nobody waits yet

    # -- Private; the lock is held

    def _restore_account(self, account: Account, held: AccountBooks) -> None:
        for worker, committed in enumerate(held.committed[: len(account.committed)]):
            if committed is not None:
                account.committed[worker] = committed
        # What it failed by waits to be tried again; the error stays told.
        account.status = "pending" if held.status == "failed" else held.status
        account.error, account.is_skipped = held.error, held.is_skipped
        for name, count in held.counts.items():
            setattr(account, name, count)
        account.measured = account.handled
        account.next_sample = account.handled + 1
        account.spent = (*held.spent, *account.spent)[: len(account.spent)]
        for letter in held.letters:
            whole = letter.given_up_with
            if whole is not None and not _fits(account, whole):
                letter = letter._replace(given_up_with=None)  # noqa: PLW2901  the same, by itself
            account.dead_letters.add(letter)
        if account.is_skipped:
            self._close_ways(account)
            # The others of its pool still had something in hand: nobody will take that here.
            gone = list(held.held)
            self._outstanding += len(gone)
            self._skip(account, gone)
            return
        loose: list[Message] = []
        for wait in held.retries:
            messages = list(map(self._with_memos, _fit(account, wait.messages, loose)))
            if messages:
                self._delivery += 1
                account.in_retry[self._delivery] = wait._replace(messages=messages)
        begun = [
            message if message.redelivered else replace(message, redelivered=True)
            for message in messages_of(held.in_hand)
        ]
        # A set that waits is older than what is still to become one, and that older than what waits behind.
        waiting = tuple(messages_of(held.waiting))
        behind = max((at for at, message in enumerate(waiting, 1) if message.parts), default=0)
        ahead = list(_fit(account, (*begun, *waiting[:behind]), loose))
        merging = self._gather_again(account, (*loose, *held.merging))
        self._refill(account, (*ahead, *merging, *waiting[behind:]))
        self._outstanding += count_parts(account.mailbox.data) + account.retrying

    def _gather_again(self, account: Account, messages: Iterable[Message]) -> list[Message]:
        """Let messages wait for others as before; give those that have no slot any more where they would."""
        loose = []
        for message in messages:
            buffer = account.joins.get(message.edge)
            if buffer is None:
                loose.append(message)
            elif (members := buffer.add(message)) is not None:  # the slot takes fewer now
                loose.append(unite(members))
        return loose

    def _refill(self, receiver: Account | Output, messages: Iterable[Message]) -> None:
        for message in map(self._with_memos, messages):
            receiver.mailbox.append_held(message)
        receiver.is_pressing = receiver.mailbox.is_full


def _fit(account: Account, messages: Iterable[Message], loose: list[Message]) -> Iterator[Message]:
    """Give messages, those of a set one by one where its slot takes one at a time now.

    Where it takes several, but would not take these together any more, they are to wait for others again.

    Args:
        account: the routine's.
        messages: as they were held.
        loose: gets what is to wait for others.
    """
    for message in messages:
        if not message.parts or _fits(account, message):
            yield message
            continue
        parts = [replace(part, redelivered=part.redelivered or message.redelivered) for part in message.parts]
        if message.edge in account.joins:
            loose += parts
        else:
            yield from parts


def _fits(account: Account, whole: Message) -> bool:
    """Whether the slot of a set would make such a one now."""
    buffer = account.joins.get(whole.edge)
    return buffer is not None and buffer.fits(whole.parts)
