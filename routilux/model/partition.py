"""Whether a flow can be run in which routines are partitioned by a parameter of their messages.

Owns that rule. Pure. Never finds a key (see `routilux.partitioning`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from routilux.model.state_policy import ENCODED, NONE
from routilux.partitioning import names_of

if TYPE_CHECKING:
    from routilux.model.connection import Connection
    from routilux.model.graph import FlowGraph
    from routilux.model.routine import Routine


def find_unpartitionable(graph: FlowGraph) -> Iterator[tuple[str, str]]:
    """Give what keeps routines from being partitioned as they are to be: where, and what is wrong."""
    for routine_id, routine in graph.routines.items():
        parameter = graph.options[routine_id].partition_by
        if parameter is not None:
            for where, wrong in _find_unfit(routine, parameter):
                yield (
                    f"{where}routine {routine_id!r}",
                    f"partition_by={parameter!r} {wrong}",
                )
    for link in graph.connections:
        parameter = graph.options[link.target_id].partition_by
        declared = graph.routines[link.source_id].events[link.event].params
        if parameter is not None and not _can_bring(link, parameter, declared):
            lacks = f"{parameter!r}, by which routine {link.target_id!r} is partitioned"
            yield f"connection {link}", f"the event declares {list(declared)} and not {lacks}; declare it, or map it"


def _find_unfit(routine: Routine, parameter: str) -> Iterator[tuple[str, str]]:
    if routine.state_policy not in {ENCODED, NONE}:
        yield "", f"goes with state_policy 'encoded' or 'none', and it has {routine.state_policy!r}"
    for name, slot in routine.slots.items():
        where = f"slot {name!r} of "
        if slot.merge_strategy != "override":
            yield where, "goes without slots that merge: gather in the state, which is that of the key"
        if slot.at_end:
            yield where, "goes without a slot that hears of the end, which has no key"
        if not (slot.binding.takes_any or parameter in slot.binding.parameters):
            yield where, f"is none of its handler's parameters, {list(slot.binding.parameters)}"


def _can_bring(link: Connection, parameter: str, declared: Iterable[str]) -> bool:
    names = names_of(parameter, link.param_mapping.items())
    known = set(declared)
    return bool(names) and (not known or any(name in known for name in names))
