"""The accounts of the ledger: what each routine and each output of a job holds.

Plain data, guarded by the job's lock and changed by `ledger` alone.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, TypeVar

from routilux.blocks import Block
from routilux.dead_letters import DeadLetters
from routilux.ids import key_of_text, to_id
from routilux.merge_buffers import Lane, MergeBuffer, make_buffers
from routilux.messages import Message, count_parts
from routilux.routing import Edge, OutputPlan, RoutinePlan
from routilux.tracking.meters import Spent
from routilux.turn.state import is_reserved
from supervisors.mailbox import Lock, Mailbox
from supervisors.parking import NOTICE_SECONDS, give_way
from supervisors.places.base import Worker

_Found = TypeVar("_Found")


class Tap:
    """A bounded copy of what an event emits, which never presses back.

    Args:
        capacity: items kept for the reader; what comes beyond is counted as missed.
        lock: the job's lock.
    """

    def __init__(self, capacity: int, lock: Lock) -> None:
        self.mailbox = Mailbox(capacity, lock)
        self.missed = 0

    def offer_held(self, payload: Any) -> bool:
        """Keep `payload`, unless it is None, if there is room; True if the reader is to be unparked."""
        if payload is None or self.mailbox.is_full:
            self.missed += 1
            return False
        return self.mailbox.append_held(payload)


class Watch:
    """A bounded copy of all that passes a routine: what it takes and what it emits, in the order of both.

    Its reader finds messages, and pairs of the index of an event and what it was emitted with.

    Args:
        capacity: as for `Tap`.
        lock: the job's lock.
    """

    def __init__(self, capacity: int, lock: Lock) -> None:
        self.tap = Tap(capacity, lock)

    def show_taken_held(self, messages: Iterable[Message], rung: list[Mailbox]) -> None:
        """Copy messages that were taken; `rung` gets its mailbox if the reader is to be unparked."""
        rung += [self.tap.mailbox for message in messages if self.tap.offer_held(message)]

    def event(self, event: int) -> Tap:
        """Give what copies the emissions of one event here."""
        return _EventTap(event, self.tap)


class _EventTap(Tap):
    """Of one event, what goes to a tap that is for several."""

    def __init__(self, event: int, tap: Tap) -> None:
        self.mailbox = tap.mailbox
        self._event = event
        self._tap = tap

    def offer_held(self, payload: Any) -> bool:
        return self._tap.offer_held(None if payload is None else (self._event, payload))


class Bell:
    """Where threads from outside wait for something to change in the ledger, each for itself.

    Args:
        lock: the job's lock, as threads from outside take it.
    """

    def __init__(self, lock: Lock) -> None:
        self._lock = lock
        self._rings = 0
        self._waiters: list[Mailbox] = []
        self._spare: list[Mailbox] = []
        """Those of waits that are over: as many as there were at once."""

    def wait_for(
        self, look: Callable[[], _Found | None], seconds_left: Callable[[], float | None] | None = None
    ) -> _Found | None:
        """Look until there is something, anew each time the bell is rung.

        Args:
            look: gives what is waited for, None while it is not there; called without the lock.
            seconds_left: gives the seconds that are left for the wait, None for no limit; None for none either.

        Returns:
            What `look` gave; None: the time was over, and it gave nothing even then.
        """
        while True:
            # Both are read before looking: a ring in between keeps the waiter from falling asleep.
            seen, left = self._rings, None if seconds_left is None else seconds_left()
            found = look()
            if found is not None or (left is not None and left <= 0):
                return found
            give_way()
            if self._rings == seen:
                self._wait_rung(seen, NOTICE_SECONDS if left is None else min(left, NOTICE_SECONDS))

    def _wait_rung(self, seen: int, timeout: float) -> None:
        """Wait until the bell is rung, not at all if it was since `seen`."""
        try:
            waiter = self._spare.pop()
        except IndexError:
            waiter = self.make_waiter()
        rings = waiter.rings
        try:
            self.enter(waiter)
            if self._rings == seen:
                waiter.sleep(rings, timeout)
        finally:
            self.leave(waiter)
            self._spare.append(waiter)

    def make_waiter(self) -> Mailbox:
        """Give what a waiter is rung by; for those who wait by means of their own."""
        return Mailbox(lock=self._lock)

    def enter(self, waiter: Mailbox) -> None:
        """Ring `waiter` too, from now on."""
        with self._lock:
            self._waiters.append(waiter)

    def leave(self, waiter: Mailbox) -> None:
        """Ring it no more; nothing if it is not there."""
        with self._lock:
            if waiter in self._waiters:
                self._waiters.remove(waiter)

    def ring_held(self) -> list[Mailbox]:
        """Ring all that wait; give those that are to be unparked."""
        self._rings += 1
        return [waiter for waiter in self._waiters if waiter.ring_held()]


class RetryWait(NamedTuple):
    """Messages that wait for their next try.

    Args:
        messages: oldest first.
        due_at: clock reading at which the wait is over.
        holds: whether the routine takes nothing until then.
    """

    messages: list[Message]
    due_at: float
    holds: bool


class Account:
    """What one routine holds, and what became of the rest.

    Args:
        plan: the routine, compiled.
        lock: the job's lock.
    """

    # CPython 3.11 finds the attributes of an object with thirty or more of them by a slower way, which is felt here.
    __slots__ = (
        "_in_hand",
        "abandoned",
        "alone",
        "blocks",
        "committed",
        "dead",
        "dead_letters",
        "emitted",
        "error",
        "failed",
        "hand_out_here",
        "handled",
        "in_retry",
        "index",
        "is_apart",
        "is_at_boundary",
        "is_in_place",
        "is_pressing",
        "is_skipped",
        "is_stopping",
        "joins",
        "list_workers",
        "longest",
        "mailbox",
        "measured",
        "merged",
        "next_sample",
        "peak_waiting",
        "pids",
        "plan",
        "pressed_by",
        "presses_on",
        "restarts",
        "retries",
        "sample_every",
        "samples",
        "seconds",
        "seconds_before",
        "sends_keys",
        "skipped",
        "spent",
        "status",
        "takes_blocks",
        "takes_bytes",
        "taps",
        "versions",
        "watches",
        "ways",
    )

    def __init__(self, plan: RoutinePlan, lock: Lock) -> None:  # noqa: PLR0915  an account has as many sides
        self.plan = plan
        self.index = plan.index
        self.takes_bytes = plan.runs_apart
        self.joins = make_buffers(plan.joins, plan.options.capacity)
        """By connection, where its messages wait for others; empty for nearly all routines."""
        self.mailbox = Mailbox(plan.options.capacity, lock)
        self.blocks: deque[tuple[int, Block]] = deque()
        """In hand as what they came as: for each what to add to an index in it to get a delivery number."""
        self.takes_blocks = _takes_blocks(plan)
        """Whether messages that were sent together may come to it as one."""
        self._in_hand: dict[int, Message] = {}
        self.in_retry: dict[int, RetryWait] = {}
        """By the ticket for `put_forward`."""
        self.dead_letters = DeadLetters()
        self.committed: list[dict[str, Any]] = [{} for _ in range(plan.options.states)]
        """Declared state as last committed, by worker; bytes are encoded values. Where the routine is partitioned there
        is one, and in that the states of all keys."""
        self.versions = [0] * plan.options.states
        """How often each of these was changed."""
        self.taps: dict[int, list[Tap]] = {}
        """Of each event that is tapped, those who do; empty while nobody does."""
        self.watches: tuple[Watch, ...] = ()
        self.ways: tuple[tuple[Way, ...], ...] = ()
        """For each event, where its emissions go; set when all accounts are there."""
        self.is_apart: tuple[bool, ...] = ()
        """For each event, whether each of its ways has a receiver of its own, and none of these is partitioned."""
        self.alone = tuple((event,) for event in range(len(plan.events)))
        """For each event, the tuple of its index: what the fact of nearly every turn names."""
        self.hand_out_here: Callable[[], bool] = leave_to_actor
        """Hands out, on its sender's thread, what came while the routine's actor slept; False: that is to be woken."""
        self.presses_on: tuple[Account | Output | Lane, ...] = ()
        self.pressed_by: tuple[Account, ...] = ()
        self.is_pressing = False
        """Whether its senders are to wait; set at its bound, taken back at half of it."""
        self.sends_keys = any(out.keys for out in plan.outgoing)
        """Whether some receiver of its events is partitioned."""
        self.is_in_place = plan.routine.state_policy == "in_place"
        """Whether its declared state can be read at a turn's boundary alone."""
        self.is_stopping = False
        """Whether it is to stop at its next boundary: it takes nothing meanwhile."""
        self.is_at_boundary = False
        """Whether it stands at one between two steps of a generator, for as long as it is stopping."""
        self.is_skipped = False
        self.status = "pending"
        self.error: str | None = None
        """The last failure, in one line."""
        self.measured = 0
        """How much of `handled` was taken by `Holdings.fetch_times_held`; what follows is of those since."""
        self.seconds = 0.0
        self.seconds_before = 0.0
        """What the turns took that were fetched before."""
        self.longest = 0.0
        """What one of all its turns took at most."""
        self.samples: list[tuple[float, float]] = []
        """Of every so-manieth turn, the seconds it took, and those its message had waited: all the time since it was
        sent, but for the turn itself."""
        self.sample_every = 1
        self.next_sample = 1
        """What `handled` is after the next one of these."""
        self.peak_waiting = 0
        """Messages in its mailbox at most, as far as they were there when it took some."""
        self.spent = (Spent(),) * plan.options.pool
        """What the processes have used that have ended, by worker."""
        self.pids: tuple[int | None, ...] = (None,) * plan.options.pool
        self.list_workers: Callable[[], tuple[Worker, ...]] = tuple
        """Lists where its turns run, for those who look on; set by its actor, as the job begins."""
        self.abandoned: tuple[str, ...] = ()
        """Where each of its threads was when it was given up; of those alone that have not come back."""
        self.handled = 0
        self.merged = 0
        """Those of them that were handled beside another one, in its turn."""
        self.failed = 0
        self.skipped = 0
        self.dead = 0
        self.retries = 0
        self.restarts = 0
        self.emitted = 0

    def boot_state(self, worker: int) -> dict[str, Any]:
        """Give what a worker begins with: its state, or, where states come with their keys, what belongs to none."""
        if self.plan.options.partition_by is None:
            return self.committed[worker]
        return {key: value for key, value in self.committed[0].items() if is_reserved(key)}

    def note_running(self) -> None:
        """Note that a message was taken; an earlier failure that was tolerated stays told."""
        if self.status in {"pending", "retrying"}:
            self.status = "running"

    def note_completed(self) -> None:
        """Note that the job is over with all messages of this routine handled."""
        if self.status == "running":
            self.status = "completed"

    def note_ended(self, worker: int, cpu_seconds: float, peak_bytes: int | None) -> None:
        """Note what the process of a worker has used, which has ended."""
        before = self.spent[worker]
        now = Spent(before.cpu_seconds + cpu_seconds, max(before.peak_bytes, peak_bytes or 0))
        self.spent = (*self.spent[:worker], now, *self.spent[worker + 1 :])

    def note_abandoned(self, stacks: tuple[str, ...]) -> None:
        """Note which of its threads were given up and still run."""
        self.abandoned = stacks

    @property
    def in_hand(self) -> dict[int, Message]:
        """What is in hand, message by message, by its delivery number; for those who hold the job's lock."""
        while self.blocks:
            offset, block = self.blocks.popleft()
            for at, message in enumerate(block.messages(), block.start):
                self._in_hand[offset + at] = message
        return self._in_hand

    def find_id(self, delivery: int) -> str:
        """Give the id of a message in hand; "" for what is not. For those who hold the job's lock."""
        message = self._in_hand.get(delivery)
        if message is not None:
            return message.id
        for offset, block in self.blocks:
            if block.start <= delivery - offset < block.stop:
                return to_id(block.keys.to_list()[block.first_key + delivery - offset])
        return ""

    def find_only_id(self) -> str:
        """Give the id of what is in hand, where that is one message alone, else ""; as `find_id`."""
        if len(self._in_hand) == 1 and not self.blocks:
            return next(iter(self._in_hand.values())).id
        if not self._in_hand and len(self.blocks) == 1 and len(self.blocks[0][1]) == 1:
            offset, block = self.blocks[0]
            return self.find_id(offset + block.start)
        return ""

    @property
    def entries_in_hand(self) -> Iterator[Message | Block]:
        """What is in hand, those of a block together, oldest first."""
        yield from self._in_hand.values()
        for _offset, block in self.blocks:
            yield block

    @property
    def count_in_hand(self) -> int:
        """Messages in hand, those of a set one by one."""
        return count_parts(self._in_hand.values()) + sum(len(block) for _offset, block in self.blocks)

    @property
    def has_in_hand(self) -> bool:
        """Whether anything is in hand."""
        return bool(self.blocks or self._in_hand)

    @property
    def waiting(self) -> int:
        """Messages in its mailbox, those of a set one by one."""
        return count_parts(self.mailbox.data) if self.joins else len(self.mailbox)

    @property
    def buffers(self) -> tuple[MergeBuffer, ...]:
        """Where messages wait for others to be handled with, in the order of the slots."""
        return tuple(dict.fromkeys(self.joins.values()))

    @property
    def merging(self) -> Iterator[Message]:
        """What is in there, in an order in which it can be gathered again."""
        for buffer in self.buffers:
            yield from buffer

    def drain_joins(self) -> Iterator[Message]:
        """Give up all that waits for others to be handled with, one by one."""
        for buffer in self.buffers:
            yield from buffer.drain()

    @property
    def lanes(self) -> Iterator[tuple[int, Lane]]:
        """What presses back on one connection alone, with that."""
        for edge, buffer in self.joins.items():
            if edge in buffer.plan.pressing:
                yield edge, buffer.lanes[edge]

    @property
    def flush_at(self) -> float | None:
        """Clock reading at which the first of its batches is to be handed over as it is; None for none."""
        dates = [buffer.due_at for buffer in self.buffers if buffer.due_at is not None]
        return min(dates) if dates else None

    @property
    def has_stopped(self) -> bool:
        """Whether none of its turns is between two boundaries."""
        return self.is_at_boundary or not self.has_in_hand

    @property
    def retrying(self) -> int:
        """Messages that wait for their next try."""
        return sum(count_parts(wait.messages) for wait in self.in_retry.values())

    @property
    def is_idle(self) -> bool:
        """Whether it has nothing to handle; what waits for others waits on."""
        return not (self.mailbox.data or self.has_in_hand or self.in_retry)

    @property
    def is_pressed(self) -> bool:
        """Whether some receiver downstream of it is above its bound."""
        for receiver in self.presses_on:  # noqa: SIM110  a generator would cost more than the turn's own work
            if receiver.is_pressing:
                return True
        return False


class Output:
    """A declared output: a mailbox of the job.

    Args:
        plan: the output, compiled.
        lock: the job's lock.
    """

    takes_bytes = False

    def __init__(self, plan: OutputPlan, lock: Lock) -> None:
        self.plan = plan
        self.mailbox = Mailbox(plan.capacity, lock)
        self.pressed_by: tuple[Account, ...] = ()
        self.is_pressing = False
        self.collected: list[Message] = []
        """Results that were taken for the job's final state (`Job.collect`), oldest first; where they are kept."""
        self.keeps_collected = False
        """Whether they are: a job that outlives its program has to find them again."""


class Way:
    """One connection, with what appending to it needs at hand: every emission takes one.

    Args:
        edge: the connection.
        receiver: the routine or output that receives.
    """

    __slots__ = (
        "account",
        "bound",
        "edge",
        "index",
        "is_plain",
        "key",
        "mailbox",
        "receiver",
        "sent",
        "takes_blocks",
        "takes_bytes",
        "waiting",
    )

    def __init__(self, edge: Edge, receiver: Account | Output) -> None:
        self.edge = edge
        self.index = edge.index
        self.receiver = receiver
        self.account = receiver if isinstance(receiver, Account) else None
        """The routine that receives; None where an output does."""
        self.takes_bytes = receiver.takes_bytes
        self.mailbox = receiver.mailbox
        self.waiting: deque[Message | Block] = receiver.mailbox.data
        """The mailbox's data lane."""
        capacity = receiver.mailbox.capacity
        self.bound = sys.maxsize if capacity is None else capacity
        """Messages with which the receiver begins to press back."""
        self.key = key_of_text(edge.born or edge.label)
        """Its part in the keys of its messages (`ids`)."""
        self.takes_blocks = self.account is not None and self.account.takes_blocks
        """Whether messages that are sent together may be appended as one."""
        self.is_plain = self.account is not None and edge.cycle < 0
        """Whether nothing is to be done for a message but to append it: no more, once its routine is skipped."""
        self.sent = 0
        """Messages that took it."""


def leave_to_actor() -> bool:
    """Hand out nothing: the actor does that itself."""
    return False


def _takes_blocks(plan: RoutinePlan) -> bool:
    """Tell whether a routine takes its messages one behind the other, and nothing is done about single ones before."""
    options = plan.options
    if plan.is_async or plan.joins or plan.pace is not None or options.pool > 1 or options.has_line:
        return False
    # A thread with a timeout runs one request at a time.
    return plan.runs_apart or options.timeout is None
