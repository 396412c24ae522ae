"""What becomes of messages whose turn failed: what was decided elsewhere is carried out here.

Owns the ways out of a failure: back to the mailbox, into the retry wait and out of it, to the dead
letters and back from there, skipped. Each is one step under the job's lock. Never decides which of them it is to be
(see `runtime.job_supervisor`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from msgspec.structs import replace

from routilux.accounts import Account, Output, RetryWait, Way
from routilux.blocks import messages_of
from routilux.dead_letters import DeadLetter
from routilux.errors import NotADeadLetterError, RoutineSkippedError
from routilux.facts import JOB, Fact
from routilux.ids import to_bytes
from routilux.messages import Message, count_parts, parts_of
from routilux.restoring import Restoring
from supervisors.errors import InternalError
from supervisors.mailbox import Mailbox
from supervisors.reasons import Reason


class Dispositions(Restoring):
    """The holdings of a job, with what can be done about messages that were not handled."""

    __slots__ = ()

    def count_failure(
        self, account: Account, delivery: int, reason: Reason, at: float, *, is_crash: bool
    ) -> Message | None:
        """Note that a try of a message ended badly; it stays in hand until something is decided."""
        with self.lock:
            message = account.in_hand.get(delivery)
            if message is None:
                return None
            message = replace(message, failures=message.failures + 1, crashes=message.crashes + is_crash)
            account.in_hand[delivery] = message
            account.failed += 1
            full = self._note_try(account, message, "failed", at, reason)
        if full:
            self._notify_facts()
        return message

    def note_lost_node(self, detail: str, at: float) -> None:
        """Record that a machine was lost, and workers with it; from outside."""
        with self.outside:
            full = self._note(Fact("node_lost", JOB, -1, b"", 0, at, detail=detail))
        if full:
            self._notify_facts()

    def note_decision(self, account: Account, message: Message, decision: str, at: float, reason: Reason) -> None:
        """Record what was decided about a message that failed."""
        with self.lock:
            full = self._note_try(account, message, decision, at, reason)
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
            messages = self._drop_in_hand(account, deliveries, redelivered=redelivered)
            if account.is_skipped:
                self._skip(account, messages)
            elif messages:
                self._ring_after(account, account.mailbox.prepend_held(messages), rung)
            self._open_lanes(rung)
            quiet = self._has_become_quiet()
        self._wake(rung)
        if quiet:
            self._notify_quiet()

    def give_again(self, account: Account, delivery: int, *, redelivered: bool) -> Message:
        """Give a message in hand that is to be run again, and keeps its place there.

        Args:
            account: the routine's.
            delivery: its number.
            redelivered: whether it may have been run.

        Raises:
            InternalError: it is not in hand.
        """
        with self.lock:
            message = account.in_hand.get(delivery)
            if message is None:
                detail = f"routine {account.plan.id!r} is to run delivery {delivery} again, which is not in hand"
                raise InternalError(detail)
            if redelivered and not message.redelivered:
                account.in_hand[delivery] = message = replace(message, redelivered=True)
        return message

    def set_aside(
        self, account: Account, deliveries: Iterable[int], *, redelivered: bool, due_at: float, holds: bool
    ) -> int:
        """Move messages in hand to the retry wait, see `RetryWait`; gives the ticket for `put_forward`."""
        rung: list[Mailbox] = []
        with self.lock:
            messages = self._drop_in_hand(account, deliveries, redelivered=redelivered)
            self._delivery = ticket = self._delivery + 1
            if account.is_skipped:
                self._skip(account, messages)
            else:
                account.in_retry[ticket] = RetryWait(messages, due_at, holds)
                account.retries += 1
            self._open_lanes(rung)
            quiet = self._has_become_quiet()
        self._wake(rung)
        if quiet:
            self._notify_quiet()
        return ticket

    def put_forward(self, account: Account, ticket: int) -> None:
        """Put what was set aside to the head of its mailbox."""
        rung: list[Mailbox] = []
        with self.lock:
            wait = account.in_retry.pop(ticket, None)
            if wait is not None and wait.messages:
                self._ring_after(account, account.mailbox.prepend_held(wait.messages), rung)
        self._wake(rung)

    def fence(self, account: Account) -> None:
        """Put back all that a routine has in hand: what its turns commit from now on is refused."""
        with self.lock:
            deliveries = list(account.in_hand)
        self.put_back(account, deliveries, redelivered=True)

    def bury(self, account: Account, delivery: int, reason: Reason, at: float) -> None:
        """Make a message in hand a dead letter."""
        gone: list[DeadLetter] = []  # kept until the lock is let go
        rung: list[Mailbox] = []
        full = False
        with self.lock:
            for message in self._drop_in_hand(account, (delivery,)):
                whole = message if message.parts else None
                gone = self._bury(account, parts_of(message), reason, message.failures, at, whole)
                for part in message.parts:  # what was recorded so far tells of the set alone
                    fact = Fact(
                        "given_up", account.index, part.edge, to_bytes(part.key), message.failures, at, reason=reason
                    )
                    full |= self._note(fact)
                self._outstanding -= len(parts_of(message))
            self._open_lanes(rung)
            quiet = self._has_become_quiet()
        del gone
        self._wake(rung)
        if full:
            self._notify_facts()
        if quiet:
            self._notify_quiet()

    def redeliver(self, letters: Iterable[DeadLetter], at: float) -> int | None:
        """Put dead letters back to the tails of their mailboxes, as if they had never been tried; from outside.

        Args:
            letters: which, in their order; one that comes twice is put back once.
            at: clock reading.

        Returns:
            How many they are; None: the job is ending, and nothing was put back.

        Raises:
            NotADeadLetterError: one of them is none, or none any more; nothing was put back.
            RoutineSkippedError: the routine of one of them is skipped; nothing was put back.
        """
        wanted = list(letters)
        rung: list[Mailbox] = []
        with self.outside:
            if self._takes_nothing_back():
                return None
            chosen: dict[int, DeadLetter] = {}
            for letter in wanted:
                if not self._is_dead(letter):
                    raise NotADeadLetterError(_describe(letter))
                if self._is_skipped(letter):
                    raise RoutineSkippedError(letter.routine_id)
                chosen[id(letter.message)] = letter
            full = self._redeliver(chosen.values(), at, rung)
        self._wake(rung)
        if full:
            self._notify_facts()
        return len(chosen)

    def redeliver_all(self, account: Account | None, at: float) -> int | None:
        """Put back all dead letters that are kept, oldest first; as `redeliver`.

        Args:
            account: only those of this routine; None: those of all that are not skipped.
            at: clock reading.

        Raises:
            RoutineSkippedError: that routine is skipped; nothing was put back.
        """
        rung: list[Mailbox] = []
        with self.outside:
            if self._takes_nothing_back():
                return None
            if account is not None and account.is_skipped:
                raise RoutineSkippedError(account.plan.id)
            owners = self.accounts if account is None else (account,)
            letters = [letter for owner in owners for letter in owner.dead_letters if not self._is_skipped(letter)]
            full = self._redeliver(sorted(letters, key=lambda letter: letter.at), at, rung)
        self._wake(rung)
        if full:
            self._notify_facts()
        return len(letters)

    def discard(self, letters: Iterable[DeadLetter], at: float) -> int | None:
        """Let dead letters go for good: they are skipped ones from here on; from outside. Arguments as for `redeliver`.

        Returns:
            How many they are; None: the job is ending, and all are there still.

        Raises:
            NotADeadLetterError: one of them is none, or none any more; all are there still.
        """
        wanted = list(letters)  # kept until the lock is let go, with all that they carry
        full = False
        with self.outside:
            if self._is_ending:
                return None
            for letter in wanted:
                if not self._is_dead(letter):
                    raise NotADeadLetterError(_describe(letter))
            chosen = {id(letter.message): letter for letter in wanted}
            for letter in chosen.values():
                owner, message = self._owners[letter.routine_id], letter.message
                owner.dead_letters.remove(letter)
                owner.dead -= 1
                owner.skipped += 1
                self._dead[message.edge] -= 1
                self._skipped[message.edge] += 1
                full |= self._note(Fact("discarded", owner.index, message.edge, to_bytes(message.key), 0, at))
        if full:
            self._notify_facts()
        return len(chosen)

    def bury_result(self, output: Output, message: Message, reason: Reason, at: float) -> None:
        """Make a result that was taken, and cannot be read, a dead letter of the routine that emitted it."""
        account = self._owners[output.plan.routine_id]
        with self.outside:
            if output.collected and output.collected[-1] is message:
                output.collected.pop()
            self._handled[message.edge] -= 1
            self._dead[message.edge] += 1
            account.dead += 1
            gone = account.dead_letters.add(DeadLetter(account.plan.id, message, reason, 1, at, self.codec))
        del gone  # without the lock

    def skip_routine(self, account: Account, at: float) -> None:
        """Skip all that waits for the routine and all that will come, for the rest of the job."""
        rung: list[Mailbox] = []
        with self.lock:
            account.is_skipped = True
            self._close_ways(account)
            waiting = list(messages_of(account.mailbox.drain_held()))
            for wait in account.in_retry.values():
                waiting.extend(wait.messages)
            account.in_retry.clear()
            merging = list(account.drain_joins())
            self._outstanding += len(merging)  # nobody was to handle them before
            waiting += merging
            self._skip(account, waiting)
            self._note(Fact("skipped", account.plan.index, -1, b"", 0, at, count=count_parts(waiting)))
            self._relieve_lanes(account, rung)
            if account.is_pressing:
                self._relieve(account, rung)
            self._open_lanes(rung)
            quiet = self._has_become_quiet()
        self._wake(rung)
        if quiet:
            self._notify_quiet()

    # -- Private; the lock is held

    def _note_try(self, account: Account, message: Message, kind: str, at: float, reason: Reason) -> bool:
        """Note what a try of a message came to that did not commit; tells whether there is enough to be fetched."""
        key = to_bytes(message.key)
        return self._note(Fact(kind, account.plan.index, message.edge, key, message.failures, at, reason=reason))

    def _bury(
        self,
        account: Account,
        messages: Iterable[Message],
        reason: Reason,
        attempts: int,
        at: float,
        whole: Message | None = None,
    ) -> list[DeadLetter]:
        """Make dead letters; gives those that are let go for them, to be dropped without the lock."""
        gone = []
        for message in messages:
            self._dead[message.edge] += 1
            account.dead += 1
            letter = DeadLetter(account.plan.id, message, reason, attempts, at, self.codec, whole)
            oldest = account.dead_letters.add(letter)
            if oldest is not None:
                gone.append(oldest)
        return gone

    def _takes_nothing_back(self) -> bool:
        return self._is_ending or self._is_quiet

    def _is_dead(self, letter: DeadLetter) -> bool:
        if not isinstance(letter, DeadLetter):  # what the job's owner hands in may be anything
            return False
        owner = self._owners.get(letter.routine_id)
        return owner is not None and owner.dead_letters.holds(letter)

    def _is_skipped(self, letter: DeadLetter) -> bool:
        receiver = self._ways[letter.message.edge].account
        return receiver is not None and receiver.is_skipped

    def _redeliver(self, letters: Iterable[DeadLetter], at: float, rung: list[Mailbox]) -> bool:
        full = False
        coming = list(letters)
        together = Counter(id(letter.given_up_with) for letter in coming)
        for letter in coming:
            owner, before = self._owners[letter.routine_id], letter.message
            way = self._ways[before.edge]
            owner.dead_letters.remove(letter)
            owner.dead -= 1
            self._dead[before.edge] -= 1
            if way.account is None:
                rung += self.results_bell.ring_held()
            else:
                self._outstanding += 1
            whole = letter.given_up_with
            if whole is None or together[id(whole)] < len(whole.parts):
                self._put_to_tail(way, before, at, rung)
            elif before is whole.parts[-1]:  # all of them come back: they are again what they were
                self._put_to_tail(way, whole, at, rung)
            full |= self._note(Fact("redelivered", owner.index, before.edge, to_bytes(before.key), 0, at))
        return full

    def _put_to_tail(self, way: Way, before: Message, at: float, rung: list[Mailbox]) -> None:
        # Another message: the letter is in its owner's hands. What its turn released stays released (R3).
        message = replace(before, sent_at=at, failures=0, crashes=0, redelivered=True)
        self._ring_after(way.receiver, way.mailbox.append_held(message), rung)


def _describe(letter: object) -> str:
    if isinstance(letter, DeadLetter):
        return f"message {letter.message.id} of routine {letter.routine_id!r}"
    return f"a value of type {type(letter).__qualname__}"
