"""Which routines run on an event loop, and which of them can handle several messages at once.

Owns these two rules. Pure. Never runs anything.
"""

from __future__ import annotations

from routilux.model.binding import is_async
from routilux.model.merging import keeps_gathered
from routilux.model.options import RoutineOptions
from routilux.model.routine import TRIGGER, Routine
from routilux.model.state_policy import IN_PLACE


def has_async(routine: Routine) -> bool:
    """Tell whether one of its handlers is `async`: then all of them run on an event loop."""
    if any(slot.binding.is_async for slot in routine.slots.values()):
        return True
    return TRIGGER not in routine.slots and callable(routine) and is_async(routine.__call__)


def find_unfit(routine: Routine, options: RoutineOptions) -> str:
    """Say why the routine cannot do with `concurrency` what it says; "" if it can.

    Args:
        routine: the routine.
        options: its options in the flow.
    """
    if options.concurrency == 1:
        return ""
    told = f"concurrency={options.concurrency}"
    if not has_async(routine):
        return f"{told} is for 'async def' handlers: a plain one keeps its thread from start to end; leave it at 1"
    gathering = [slot.name for slot in routine.slots.values() if keeps_gathered(slot.merge_strategy)]
    if gathering:
        return (
            f"{told} goes without slots that gather, and {gathering[0]!r} does: what it has gathered would depend on "
            "which turn commits first; leave it at 1, or gather in a routine behind this one"
        )
    if routine.state_policy == IN_PLACE:
        return (
            f"{told} goes without state_policy {IN_PLACE!r}: turns would see each other's changes before they commit; "
            "use 'encoded' or 'value'"
        )
    return ""
