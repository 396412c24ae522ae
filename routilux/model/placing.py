"""Moving a routine of a flow to another placement, with the options that go there. Pure.

Owns which options are left behind, and which ones keep a routine where it is. Never runs anything.
"""

from __future__ import annotations

from routilux.errors import OptionError
from routilux.model.check import find_unplaceable
from routilux.model.graph import FlowGraph
from routilux.model.options import RoutineOptions

_KEEPING = ("concurrency", "partition_by")
"""Options that a routine is written for: it would be another one without."""


def place(graph: FlowGraph, routine_id: str, placement: str) -> list[str]:
    """Move a routine of a flow; nothing happens to one that is there already.

    Args:
        graph: the flow.
        routine_id: the routine.
        placement: where to.

    Returns:
        Names of the options that were left behind, as they mean nothing there.

    Raises:
        OptionError: it cannot run there; the error says why, without its id, and the flow is as it was.
        FlowRunningError: a job of the flow runs.
    """
    own = graph.options[routine_id]
    foreign = own.find_foreign(placement)
    for name in _KEEPING:
        if name in foreign:
            raise OptionError(f"its option {name}={getattr(own, name)!r} has to be {foreign[name]}")
    left = {name: getattr(RoutineOptions(), name) for name in foreign}
    given = {**own.changed(), **left, "placement": placement}
    wrong = next(find_unplaceable(routine_id, graph.routines[routine_id], RoutineOptions.of(routine_id, given)), None)
    if wrong is not None:
        raise OptionError(wrong)
    graph.set_options(routine_id, placement=placement, **left)
    return [*left]
