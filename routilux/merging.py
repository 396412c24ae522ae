"""One turn for several messages: what waits for others, and what comes of it.

Owns the way of a message into a merge buffer and of a set out of it. What makes a set complete is the buffer's
(`merge_buffers`); a set that has left is a message like any other, in hand or in the mailbox, to its end.

Theory of operation. A message is gathered when the routine's actor takes it: it waits no more, and is not in hand.
Nothing can be done about it before others come, so that it does not keep the job going: when nothing but such messages
is left anywhere, and nothing can come from outside, the job is quiet. Then `drain` lets batches go as they are, and
tells slots that want to know of the end, upstream first and one routine at a time, as that may fill what is
downstream. What then still waits in a join can never be handled, and becomes dead letters.
"""

from __future__ import annotations

from typing import NamedTuple

from routilux.accounts import Account
from routilux.causes import tell_cause
from routilux.dead_letters import DeadLetter
from routilux.dispositions import Dispositions
from routilux.errors import JoinError
from routilux.facts import Fact
from routilux.ids import key_of_child, key_of_text, to_bytes
from routilux.merge_buffers import MergeBuffer
from routilux.messages import Message, unite
from supervisors.mailbox import Mailbox
from supervisors.reasons import ErrorRecord, Raised


class GivenUp(NamedTuple):
    """Messages for which no partner can come any more.

    Args:
        routine: index of the routine that waited for one.
        messages: how many they are.
        reason: what their dead letters say.
    """

    routine: int
    messages: int
    reason: Raised


class Merging(Dispositions):
    """The holdings of a job, with messages that wait for others."""

    __slots__ = ()

    def flush_due(self, account: Account, at: float) -> None:
        """Let those batches of a routine go whose time has come.

        Args:
            account: the routine's.
            at: clock reading.
        """
        rung: list[Mailbox] = []
        with self.lock:
            for buffer in account.buffers:
                if buffer.due_at is not None and buffer.due_at <= at:
                    self._flush(account, buffer, rung)
        self._wake(rung)

    def drain(self, at: float) -> list[GivenUp] | None:
        """Go on with what waits for others, in a job that is quiet.

        Args:
            at: clock reading.

        Returns:
            None: there is something to be handled again. Else what was given up: the job is at its end.
        """
        rung: list[Mailbox] = []
        gone: list[DeadLetter] = []  # kept until the lock is let go
        given_up: list[GivenUp] | None = None
        with self.lock:
            for index in self.plan.downstream_order:
                self._drain_account(self.accounts[index], at, rung)
                if self._outstanding:
                    self._is_quiet = False
                    break
            else:
                buffers = [(account, buffer) for account in self.accounts for buffer in account.buffers if len(buffer)]
                given_up = [self._give_up(account, buffer, at, gone) for account, buffer in buffers]
        del gone
        self._wake(rung)
        return given_up

    # -- Private

    def _take_joined(self, account: Account, limit: int) -> list[tuple[int, Message]]:
        """As `Ledger.take`, for a routine that merges: what has to wait for others goes to its buffer."""
        rung: list[Mailbox] = []
        with self.lock:
            if not self._gate_open or account.is_stopping or account.is_pressed:
                return []
            account.peak_waiting = max(account.peak_waiting, len(account.mailbox))
            taken = self._gather(account, limit, rung)
            account.in_hand.update(taken)
            for watch in account.watches:
                watch.show_taken_held([message for _, message in taken], rung)
            if account.is_pressing:
                self._relieve(account, rung)
            self._open_lanes(rung)
            quiet = self._has_become_quiet()
        self._wake(rung)
        if quiet:
            self._notify_quiet()
        return taken

    # -- Private; the lock is held

    def _gather(self, account: Account, limit: int, rung: list[Mailbox]) -> list[tuple[int, Message]]:
        waiting = account.mailbox.data
        taken: list[tuple[int, Message]] = []
        while waiting and len(taken) < limit:
            message: Message = waiting.popleft()
            buffer = account.joins.get(message.edge)
            if buffer is not None and not message.parts:
                self._outstanding -= 1
                members = buffer.add(message)
                self._check_buffer(account, buffer)
                if members is None:
                    continue
                message = self._unite(members)
                self._relieve_lanes(account, rung)
            self._delivery += 1
            taken.append((self._delivery, message))
        return taken

    def _note_handled_beside(self, account: Account, message: Message) -> None:
        """Count the messages of a set that was handled, but for the last, which stands for all."""
        others = message.parts[:-1]
        for part in others:
            self._handled[part.edge] += 1
        count = len(others)
        self._outstanding -= count
        account.merged += count
        account.handled += count
        # It is one turn: what is measured of turns does not see them.
        account.measured += count
        account.next_sample += count

    def _unite(self, members: tuple[Message, ...]) -> Message:
        self._outstanding += len(members)
        return self._with_memos(unite(members))

    def _flush(self, account: Account, buffer: MergeBuffer, rung: list[Mailbox]) -> None:
        members = buffer.flush()
        if members is None:
            return
        # What waits in the mailbox came later, but for sets that were put back.
        waiting = account.mailbox.data
        before = (at for at, other in enumerate(waiting, 1) if other.parts and account.joins.get(other.edge) is buffer)
        ahead = [waiting.popleft() for _ in range(max(before, default=0))]
        self._ring_after(account, account.mailbox.prepend_held([*ahead, self._unite(members)]), rung)

    def _drain_account(self, account: Account, at: float, rung: list[Mailbox]) -> None:
        for buffer in account.buffers:
            self._flush(account, buffer, rung)
        if self._outstanding:
            return  # they come before the end, which other workers, or turns beside, would hear of meanwhile
        for edge in account.plan.ends:
            way = self._ways[edge]
            if not way.sent:
                self._append(way, {}, key_of_child(key_of_text(f"{self.job_id}:end"), way.key), at, rung)
                self._first_at[edge] = self._last_at[edge] = at

    def _give_up(self, account: Account, buffer: MergeBuffer, at: float, gone: list[DeadLetter]) -> GivenUp:
        """Make dead letters of what waits in a join for what can never come."""
        messages = buffer.drain()
        came = {message.edge for message in messages}
        missing = " and ".join(self.plan.edges[edge].label for edge in buffer.plan.edges if edge not in came)
        text = f"slot {buffer.plan.slot!r} takes one message of each connection, and no other came by {missing}"
        reason = Raised(ErrorRecord(JoinError.__name__, text, ""))
        gone += self._bury(account, messages, reason, 0, at)
        account.status = "error_continued"
        account.error = tell_cause(reason)
        for message in messages:
            # All facts are fetched at the job's end, which this is.
            self._note(Fact("unjoined", account.index, message.edge, to_bytes(message.key), 0, at, reason=reason))
        return GivenUp(account.index, len(messages), reason)

    def _check_buffer(self, account: Account, buffer: MergeBuffer) -> None:
        if buffer.lanes and len(buffer) > self._cycle_limit:  # a batch is as long as its author wants it
            ahead = max(buffer.lanes, key=lambda edge: len(buffer.lanes[edge].messages))
            self._overflow = (
                f"slot {buffer.plan.slot!r} of routine {account.plan.id!r} holds more messages than cycle_limit "
                f"allows: {self.plan.edges[ahead].label} brings more than the others"
            )
