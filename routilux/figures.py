"""The figures that the runtime counts of each routine: their names. Pure, counts nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class RoutineFigures(NamedTuple):
    """The counts of one routine: exact, for the whole job.

    Args:
        handled: messages whose turn committed.
        failed: tries that ended badly, deaths included.
        skipped: messages passed over because the routine is skipped.
        dead: messages given up, results that could not be read among them, and not redelivered.
        retries: messages that were set aside to be tried again.
        restarts: workers that were replaced.
        emitted: emissions that were committed or released.
        waiting: messages in its mailbox.
        in_hand: messages being handled.
        in_retry: messages that wait for their next try.
        abandoned: threads that were given up and are still in their handlers.
        peak_waiting: messages in its mailbox at most.
        merged: those of the handled ones that were handled beside another one, in its turn.
        merging: messages that wait for others to be handled with.
    """

    handled: int = 0
    failed: int = 0
    skipped: int = 0
    dead: int = 0
    retries: int = 0
    restarts: int = 0
    emitted: int = 0
    waiting: int = 0
    in_hand: int = 0
    in_retry: int = 0
    abandoned: int = 0
    peak_waiting: int = 0
    merged: int = 0
    merging: int = 0

    @property
    def left(self) -> int:
        """Messages that are still to be handled."""
        return self.waiting + self.in_hand + self.merging + self.in_retry


def figures_in(stats: Mapping[str, Any]) -> RoutineFigures:
    """Give the figures in `JobState.routine_states[id]["stats"]`, which holds a routine's own numbers as well."""
    return RoutineFigures(**{name: stats[name] for name in RoutineFigures._fields})


def numbers_in(stats: Mapping[str, Any]) -> dict[str, int | float]:
    """Give the routine's own numbers in there."""
    return {name: value for name, value in stats.items() if name not in RoutineFigures._fields}
