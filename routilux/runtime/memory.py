"""The shared memory of one job: who may write into it, and when waiting for room is of no use.

Owns the pool, and what the job knows of those who wait. Room comes when messages are handled that hold some. So waiting
helps while there is such a message, and a routine that can go on to handle it: one that does not wait for room itself,
and has it in hand, or may take it. Where there is none (all is held by results that nobody takes, by dead letters, by
views that were kept, or by those who wait), and while the job is being paused, what would have waited goes without
shared memory: by the way of all other values, in the message itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING

from routilux.accounts import Account, Output
from routilux.blocks import Block
from routilux.ledger import Ledger
from routilux.messages import Message, parts_of
from routilux.routing import Plan
from routilux.turn.values import BaseCodec, Shared
from supervisors.parking import NOTICE_SECONDS, LockParker
from supervisors.places.process.exchange import Exchange
from supervisors.places.process.own_space import OwnSpace
from supervisors.places.process.segment_pool import SegmentPool
from supervisors.places.process.segments import Loan
from supervisors.places.process.sizing import default_limit
from supervisors.wire.outside import Leased
from supervisors.wire.values import MAX_VALUE_BYTES

if TYPE_CHECKING:
    from supervisors.places.ray.objects import ObjectTable


class JobMemory:
    """The shared memory of one job.

    Args:
        base: how the job's values are encoded.
        limit: bytes of it at most; None for a quarter of the memory that this program may use.
        plan: the flow.
    """

    def __init__(self, base: BaseCodec, limit: int | None, plan: Plan) -> None:
        self.pool = SegmentPool(default_limit() if limit is None else limit)
        self._bounds = bounds_of(plan, self.pool.limit)
        placements = {routine.options.placement for routine in plan.routines}
        self.objects = _make_objects() if "ray" in placements else None
        """What there is in the store of the cluster that has remote workers; None where there are none."""
        self._is_far = "process" not in placements
        """Whether all who are given large buffers of threads are remote workers, if there are such."""
        self._base = base
        self.codec = self._make_codec(self.pool.lend_own)
        """For those who do not wait: the job's owner, and turns that share a thread."""
        self._blocked: dict[int, int] = {}
        """How many workers of a routine wait for room, by its index."""

    def exchange(self, account: Account, ledger: Ledger) -> Exchange:
        """Give the part of a process routine."""
        return Exchange(
            self.pool,
            partial(self._note_blocked, account.index),
            partial(self._may_help, ledger),
            self._bounds[account.index],
        )

    def codec_for(self, account: Account, ledger: Ledger) -> Shared:
        """Give the codec of a routine whose turns may wait on their thread."""
        return self._make_codec(partial(self._lend, account, ledger))

    def close(self, outputs: Iterable[Output] = (), accounts: Iterable[Account] = ()) -> None:
        """Give up what no message holds; what results of outputs still hold goes with them.

        So does what dead letters hold, the newest ones first, as far as that is no more than there may be in shared
        memory: nobody bounds what waits in the store of a cluster.
        """
        self.pool.close()
        if self.objects is not None:
            results = (message for output in outputs for message in (*output.mailbox.data, *output.collected))
            letters = (letter.message for account in accounts for letter in reversed([*account.dead_letters]))
            self.objects.close((*_leased_of(results), *_up_to(self.pool.limit, _leased_of(letters))))

    def _make_codec(self, lend: Callable[[int], Loan | None]) -> Shared:
        own = OwnSpace(self.pool, lend)
        if self.objects is None or not self._is_far:
            return Shared(self._base, own)
        from supervisors.places.ray.objects import StoreSpace  # noqa: PLC0415  all other jobs start without

        return Shared(self._base, StoreSpace(self.objects, own))

    def _lend(self, account: Account, ledger: Ledger, size: int) -> Loan | None:
        bound = self._bounds[account.index]
        loan = self.pool.lend_own(size, bound)
        if loan is not None or not self.pool.may_hold(size):
            return loan
        parker = LockParker()
        self.pool.add_waiting(parker.unpark)
        self._note_blocked(account.index, self._blocked.get(account.index, 0) + 1)
        try:
            while (loan := self.pool.lend_own(size, bound)) is None and self._may_wait(ledger, size):
                parker.park(NOTICE_SECONDS)
        finally:
            self.pool.remove_waiting(parker.unpark)
            self._note_blocked(account.index, self._blocked[account.index] - 1)
        return loan

    def _may_wait(self, ledger: Ledger, size: int) -> bool:
        # What fits into no message has nowhere else to go: it waits for the end of a pause.
        if ledger.is_ending or (ledger.hold and size < MAX_VALUE_BYTES):
            return False
        return bool(ledger.hold) or self._may_help(ledger)

    def _note_blocked(self, index: int, count: int) -> None:
        self._blocked[index] = count

    def _may_help(self, ledger: Ledger) -> bool:
        if self.pool.may_regain:
            return True
        with ledger.lock:
            return any(
                self._blocked.get(account.index, 0) < account.plan.options.pool and _may_free(account)
                for account in ledger.accounts
            ) or any(
                output.mailbox.capacity is not None and _hold_memory(output.mailbox.data) for output in ledger.outputs
            )


def _make_objects() -> ObjectTable:
    """Give what a job has in the store of the engine that it uses: nothing so far."""
    from supervisors.places.ray.cluster import ray_cluster  # noqa: PLC0415  all other jobs start without
    from supervisors.places.ray.engine import chosen  # noqa: PLC0415
    from supervisors.places.ray.objects import ObjectTable  # noqa: PLC0415

    return ObjectTable(chosen.engine or ray_cluster)


def bounds_of(plan: Plan, limit: int) -> list[int]:
    """Give what may be held by all together when a routine gets room: more for those further down the flow.

    Each level of routines that may write adds the same share, so that what is in front of one never takes its.
    """
    count = len(plan.routines)
    level = [0] * count
    for index in plan.downstream_order:
        routine = plan.routines[index]
        step = routine.runs_apart or any(event.encoded for event in routine.outgoing)
        for other in routine.downstream:
            if other < count:
                level[other] = max(level[other], level[index] + step)
    writers = [
        level[routine.index]
        for routine in plan.routines
        if routine.runs_apart or any(event.encoded for event in routine.outgoing)
    ]
    levels = max(writers, default=0) + 1
    return [min(limit, limit * (at + 1) // levels) for at in level]


def _may_free(account: Account) -> bool:
    if _hold_memory(account.entries_in_hand):
        return True
    if account.is_skipped:
        return False
    if any(_hold_memory(wait.messages) for wait in account.in_retry.values()):
        return True
    return not account.is_pressed and _hold_memory(account.mailbox.data)


def _leased_of(messages: Iterable[Message]) -> Iterator[Leased]:
    return (part.payload for message in messages for part in parts_of(message) if isinstance(part.payload, Leased))


def _up_to(limit: int, payloads: Iterable[Leased]) -> Iterator[Leased]:
    """Give payloads while what they hold together is within a limit."""
    held = 0
    for payload in payloads:
        held += payload.count_held()
        if held > limit:
            return
        yield payload


def _hold_memory(entries: Iterable[Message | Block]) -> bool:
    # Blocks have none of it.
    return any(
        isinstance(part.payload, Leased)
        for entry in entries
        if not isinstance(entry, Block)
        for part in parts_of(entry)
    )
