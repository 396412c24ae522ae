"""What becomes of messages whose turn failed: what was decided elsewhere is carried out here.

Owns the ways out of a failure: back to the mailbox, into the retry wait and out of it, to the dead
letters, skipped. Each is one step under the job's lock. Never decides which of them it is to be
(see `runtime.job_supervisor`).
"""

from __future__ import annotations

from collections.abc import Iterable

from routilux.accounts import Account
from routilux.dead_letters import DeadLetter
from routilux.facts import Fact
from routilux.holdings import Holdings
from routilux.messages import Message
from supervisors.mailbox import Mailbox
from supervisors.reasons import Reason


class Dispositions(Holdings):
    """The holdings of a job, with what can be done about messages that were not handled."""

    def count_failure(
        self, account: Account, delivery: int, reason: Reason, at: float, *, is_crash: bool
    ) -> Message | None:
        """Note that a try of a message ended badly; it stays in hand until something is decided."""
        with self.lock:
            message = account.in_hand.get(delivery)
            if message is None:
                return None
            message.failures += 1
            message.crashes += is_crash
            account.failed += 1
            full = self._note(
                Fact("failed", account.plan.index, message.edge, message.seq, message.failures, at, reason=reason)
            )
        if full:
            self._notify_facts()
        return message

    def note_decision(self, account: Account, message: Message, decision: str, at: float, reason: Reason) -> None:
        """Record what was decided about a message that failed."""
        with self.lock:
            full = self._note(
                Fact(decision, account.plan.index, message.edge, message.seq, message.failures, at, reason=reason)
            )
        if full:
            self._notify_facts()

    def put_back(self, account: Account, deliveries: Iterable[int], *, redelivered: bool = False) -> None:
        """Put messages in hand back to the head of their mailbox, oldest first, uncounted.

        Args:
            account: the routine's.
            deliveries: their numbers, oldest first; unknown ones are passed over.
            redelivered: whether they may have been run.
        """
        rung: list[Mailbox] = []
        with self.lock:
            messages = self._drop_in_hand(account, deliveries)
            for message in messages:
                message.redelivered = message.redelivered or redelivered
            if account.is_skipped:
                self._skip(account, messages)
            elif messages:
                self._ring_after(account, account.mailbox.prepend_held(messages), rung)
            quiet = self._has_become_quiet()
        self._wake(rung)
        if quiet:
            self._notify_quiet()

    def set_aside(self, account: Account, deliveries: Iterable[int], *, redelivered: bool) -> int:
        """Move messages in hand to the retry wait; gives the ticket for `put_forward`."""
        with self.lock:
            messages = self._drop_in_hand(account, deliveries)
            for message in messages:
                message.redelivered = message.redelivered or redelivered
            self._delivery = ticket = self._delivery + 1
            if account.is_skipped:
                self._skip(account, messages)
            else:
                account.in_retry[ticket] = messages
                account.retries += 1
            quiet = self._has_become_quiet()
        if quiet:
            self._notify_quiet()
        return ticket

    def put_forward(self, account: Account, ticket: int) -> None:
        """Put what was set aside to the head of its mailbox."""
        rung: list[Mailbox] = []
        with self.lock:
            messages = account.in_retry.pop(ticket, None)
            if messages:
                self._ring_after(account, account.mailbox.prepend_held(messages), rung)
        self._wake(rung)

    def fence(self, account: Account) -> None:
        """Put back all that a routine has in hand: what its turns commit from now on is refused."""
        with self.lock:
            deliveries = list(account.in_hand)
        self.put_back(account, deliveries, redelivered=True)

    def bury(self, account: Account, delivery: int, reason: Reason, at: float) -> None:
        """Make a message in hand a dead letter."""
        with self.lock:
            for message in self._drop_in_hand(account, (delivery,)):
                self._dead[message.edge] += 1
                self._outstanding -= 1
                account.dead += 1
                account.dead_letters.add(DeadLetter(account.plan.id, message, reason, message.failures, at))
            quiet = self._has_become_quiet()
        if quiet:
            self._notify_quiet()

    def skip_routine(self, account: Account, at: float) -> None:
        """Skip all that waits for the routine and all that will come, for the rest of the job."""
        rung: list[Mailbox] = []
        with self.lock:
            account.is_skipped = True
            waiting: list[Message] = account.mailbox.drain_held()
            for messages in account.in_retry.values():
                waiting.extend(messages)
            account.in_retry.clear()
            self._skip(account, waiting)
            self._note(Fact("skipped", account.plan.index, -1, 0, 0, at, count=len(waiting)))
            if account.is_pressing:
                self._relieve(account, rung)
            quiet = self._has_become_quiet()
        self._wake(rung)
        if quiet:
            self._notify_quiet()
