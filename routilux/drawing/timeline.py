"""A job's history over time: how busy each routine was, and when something went wrong. Pure.

Owns the slots of time into which the history is added up. They become twice as long whenever they do not reach the
end, so a history of any length takes the same room, and is looked at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from routilux.executions import ExecutionRecord
from supervisors.reasons import Abandoned, DeadlineExceeded, Raised, Reason

SLOTS = 480
"""Slots at most, and more than half of that at the end (arbitrary: two pixels each on a page)."""
FIRST_SECONDS = 0.0005
"""How long a slot is at first (arbitrary: a job of a quarter of a second has all of them)."""

LONGEST = 1e10
"""Seconds that a job goes on at most, as far as it is drawn (arbitrary: three hundred years)."""


class Lane(NamedTuple):
    """One routine over time.

    Args:
        routine_id: which.
        turns: turns that ended in each slot.
        emissions: what it emitted in each slot: of a generator, which commits at each `yield`, all that is seen.
        busy: seconds of turns in each slot; more than it is long where several run at once.
        failures: tries in each slot that ended badly.
        deaths: those of them that were deaths of a process.
    """

    routine_id: str
    turns: list[int]
    emissions: list[int]
    busy: list[float]
    failures: list[int]
    deaths: list[int]


class Timeline:
    """Adds a history up.

    Args:
        began_at: when it begins, in seconds since the epoch.
        routine_ids: the routines that have a lane whatever happens, in this order; others get one when they are met.
    """

    def __init__(self, began_at: float, routine_ids: Iterable[str] = ()) -> None:
        self.began_at = began_at
        self.seconds = FIRST_SECONDS
        """How long a slot is."""
        self.records = 0
        self._lanes = {routine_id: _new_lane(routine_id) for routine_id in routine_ids}
        self.last_at = began_at
        """When something last happened, in seconds since the epoch."""
        self.ended_at = began_at
        """Until when it goes, in seconds since the epoch."""

    @property
    def lanes(self) -> list[Lane]:
        """The routines."""
        return list(self._lanes.values())

    def add(self, record: ExecutionRecord) -> None:
        """Add what happened."""
        self.records += 1
        at = self._within(record.at)
        self.last_at = max(self.last_at, at)
        slot = self._slot_at(at)
        if not record.routine_id:
            return  # it happened to the job as a whole
        lane = self._lanes.get(record.routine_id)
        if lane is None:
            lane = self._lanes[record.routine_id] = _new_lane(record.routine_id)
        if record.kind == "completed":
            lane.turns[slot] += 1
            self._spread(lane.busy, at - self.began_at - record.seconds, at - self.began_at)
        elif record.kind == "emit":
            lane.emissions[slot] += 1
        elif record.kind == "error":
            lane.failures[slot] += 1
            lane.deaths[slot] += is_death(record.reason)

    def reach(self, at: float) -> None:
        """Let it go on until a moment at which nothing of the history happened."""
        self._slot_at(self._within(at))

    def _within(self, at: float) -> float:
        """Give a time, or what is nearest to it of those that a job can have: a log may hold anything."""
        return min(max(self.began_at, at), self.began_at + LONGEST)

    def _slot_at(self, at: float) -> int:
        self.ended_at = max(self.ended_at, at)
        since = at - self.began_at
        while since >= self.seconds * SLOTS:
            self.seconds *= 2
            for lane in self._lanes.values():
                for values in (lane.turns, lane.emissions, lane.busy, lane.failures, lane.deaths):
                    _halve(values)
        return int(since / self.seconds)

    def _spread(self, busy: list[float], begin: float, end: float) -> None:
        """Add a turn to the slots that it ran in."""
        begin, width = min(max(0.0, begin), end), self.seconds
        slot = int(begin / width)
        while begin < end and slot < SLOTS:
            until = min(end, (slot + 1) * width)
            busy[slot] += max(0.0, until - begin)
            begin, slot = until, slot + 1


def is_death(reason: Reason | None) -> bool:
    """Tell whether a try ended with the process that it ran in."""
    if isinstance(reason, DeadlineExceeded):
        return reason.pid is not None
    return reason is not None and not isinstance(reason, Raised | Abandoned)


def _new_lane(routine_id: str) -> Lane:
    return Lane(routine_id, [0] * SLOTS, [0] * SLOTS, [0.0] * SLOTS, [0] * SLOTS, [0] * SLOTS)


def _halve(values: list[int] | list[float]) -> None:
    """Add up each two slots, and leave as many again empty."""
    values[:] = [*map(sum, zip(values[::2], values[1::2], strict=True)), *([0] * (SLOTS // 2))]  # type: ignore[list-item]
