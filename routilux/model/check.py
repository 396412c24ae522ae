"""What is wrong or odd about a flow, all of it at once. Pure.

Owns the checks that need the whole flow; what is wrong at one call is refused there (see `graph`).
Never changes a flow.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from routilux.errors import EntryError
from routilux.fitting import can_fit, tell_annotation
from routilux.hints import list_names
from routilux.model.binding import NoArguments, WholeDict
from routilux.model.concurrency import find_unfit
from routilux.model.merging import Batching, is_of_each_connection, keeps_gathered
from routilux.model.options import RoutineOptions
from routilux.model.partition import find_unpartitionable
from routilux.model.ray import has_ray
from routilux.model.routine import OWN_PREFIX, Routine
from routilux.model.slot import Slot
from routilux.model.state_policy import IN_PLACE, NONE
from supervisors.errors import ValueEncodingError
from supervisors.wire.values import encode_code

if TYPE_CHECKING:
    from routilux.model.connection import Connection
    from routilux.model.graph import FlowGraph


class Problem(NamedTuple):
    """Something about a flow.

    Args:
        severity: `error` for what keeps it from running, `warning` for what is odd.
        where: the part of the flow, such as `connection read.file -> parse.source`.
        message: what is wrong, and what to do.
    """

    severity: str
    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.severity}: {self.where}: {self.message}"


def check_graph(graph: FlowGraph) -> list[Problem]:
    """Find all problems of a flow, errors first."""
    problems: list[Problem] = []
    if not graph.routines:
        problems.append(Problem("error", f"flow {graph.flow_id!r}", "has no routines; add some with add_routine"))
    problems += _check_placement(graph)
    problems += _check_needs(graph)
    problems += _check_ray(graph)
    problems += [Problem("error", where, text) for where, text in find_unpartitionable(graph)]
    problems += [problem for link in graph.connections for problem in _check_parameters(graph, link)]
    problems += [problem for link in graph.connections for problem in _check_types(graph, link)]
    problems += _check_events(graph)
    problems += _check_slots(graph)
    problems += _check_joins(graph)
    problems += _check_reach(graph)
    return sorted(problems, key=lambda problem: problem.severity != "error")


def find_unplaceable(routine_id: str, routine: Routine, options: RoutineOptions) -> Iterator[str]:
    """Give what keeps a routine from running with these options, each in a line.

    Args:
        routine_id: its id.
        routine: the routine.
        options: which were checked by themselves.
    """
    if options.runs_apart:
        try:
            encode_code(routine, routine_id)
        except ValueEncodingError as error:
            told = f"{error.path}: {error.detail}".replace(f".{OWN_PREFIX}initial_", ".").replace(f".{OWN_PREFIX}", ".")
            yield f"cannot travel to its worker: {told}; make that part inside the handler, or use placement='thread'"
    if routine.state_policy == IN_PLACE and options.runs_apart:
        yield (
            f"state_policy {IN_PLACE!r} is for threads: a worker that is killed takes such a state along; "
            "use placement='thread', or state_policy 'encoded' or 'value'"
        )
    elif routine.state_policy == IN_PLACE and options.timeout is not None:
        yield (
            f"state_policy {IN_PLACE!r} goes without a timeout: a handler that was given up would go on changing "
            "the state beside its successor; leave the timeout out, or use state_policy 'encoded' or 'value'"
        )
    objection = routine.objection_to(options)
    if objection is not None:
        yield objection
    # Looked at again: slots may have been defined since it was added.
    unfit = find_unfit(routine, options)
    if unfit:
        yield unfit


def _check_placement(graph: FlowGraph) -> list[Problem]:
    return [
        Problem("error", f"routine {routine_id!r}", text)
        for routine_id, routine in graph.routines.items()
        for text in find_unplaceable(routine_id, routine, graph.options[routine_id])
    ]


def _check_ray(graph: FlowGraph) -> list[Problem]:
    on_ray = {id_: routine for id_, routine in graph.routines.items() if graph.options[id_].placement == "ray"}
    problems = []
    if on_ray and not has_ray():
        where = f"routine{'s' if len(on_ray) > 1 else ''} {list_names([*on_ray])}"
        text = "Ray is not installed, and a job of this flow does not start without: pip install 'routilux[ray]'"
        problems.append(Problem("warning", where, text))
    for routine_id, routine in on_ray.items():
        need = routine.needs_here()
        if need is not None:
            text = (
                f"works on {need}, on whichever machine of the cluster its worker runs: see that all of them have the "
                "same there, or use another placement"
            )
            problems.append(Problem("warning", f"routine {routine_id!r}", text))
    return problems


def _check_needs(graph: FlowGraph) -> list[Problem]:
    problems = []
    owners: dict[str, str] = {}
    for routine_id, routine in graph.routines.items():
        thing = routine.needs_alone()
        if thing is not None and owners.setdefault(thing, routine_id) != routine_id:
            text = f"needs {thing} to itself, and so does routine {owners[thing]!r}"
            problems.append(Problem("error", f"routine {routine_id!r}", text))
    return problems


def _check_parameters(graph: FlowGraph, link: Connection) -> list[Problem]:
    event = graph.routines[link.source_id].events[link.event]
    slot = graph.routines[link.target_id].slots[link.slot]
    binding = slot.binding
    names = _names_that_come(graph, link)
    missing = () if names is None else binding.lacks(names)
    if not missing:
        return []
    severity = "error" if slot.merge_strategy == "override" else "warning"
    text = (
        f"the slot needs {list(missing)}, and the event declares {list(event.params)}; "
        "declare them, map them, or give the handler's parameters defaults"
    )
    return [Problem(severity, f"connection {link}", text)]


def _names_that_come(graph: FlowGraph, link: Connection) -> frozenset[str] | None:
    """Give the parameters that the handler of a connection's slot is called with; None where that is open."""
    slot = graph.routines[link.target_id].slots[link.slot]
    strategy = slot.merge_strategy
    if isinstance(strategy, Batching) and strategy.into is not None and not slot.binding.asks_each:
        return frozenset({strategy.into})
    links = [link]
    if is_of_each_connection(strategy):
        links = [other for other in graph.connections if (other.target_id, other.slot) == (link.target_id, link.slot)]
    names = [_names_of(graph, other) for other in links]
    return frozenset().union(*names) if all(names) else None


def _names_of(graph: FlowGraph, link: Connection) -> frozenset[str]:
    """Give the parameters that a connection declares, under their new names; none where that is left open."""
    event = graph.routines[link.source_id].events[link.event]
    return frozenset(link.param_mapping.get(name, name) for name in event.params)


def _check_types(graph: FlowGraph, link: Connection) -> list[Problem]:
    """Find parameters whose declared type cannot be what the handler's annotation asks for."""
    types = graph.routines[link.source_id].events[link.event].types
    slot = graph.routines[link.target_id].slots[link.slot]
    strategy = slot.merge_strategy
    into = strategy.into if isinstance(strategy, Batching) else None
    if not types or callable(strategy) or type(slot.binding) is WholeDict or into is not None:
        return []
    asked = graph.routines[link.target_id].slot_annotations(slot)
    problems = []
    # A slot that appends hands a list of them over, and so does a batch.
    is_listed = strategy == "append" or isinstance(strategy, Batching)
    for name, declared in types.items():
        target = link.param_mapping.get(name, name)
        comes = list[declared] if is_listed else declared  # type: ignore[valid-type]
        if target in asked and not can_fit(comes, asked[target]):
            listed = f", of which the slot makes {tell_annotation(comes)}" if is_listed else ""
            text = (
                f"the event declares {name!r} as {tell_annotation(declared)}{listed}, which is no "
                f"{tell_annotation(asked[target])}, as which the handler annotates {target!r}"
            )
            problems.append(Problem("warning", f"connection {link}", text))
    return problems


def _check_events(graph: FlowGraph) -> list[Problem]:
    heard = {(link.source_id, link.event) for link in graph.connections}
    heard |= {(output.routine_id, output.event) for output in graph.outputs}
    return [
        Problem("warning", f"routine {routine_id!r}", f"event {event!r} goes nowhere: it is counted and dropped")
        for routine_id, routine in graph.routines.items()
        for event in routine.events
        if (routine_id, event) not in heard
    ]


def _check_slots(graph: FlowGraph) -> list[Problem]:
    problems = []
    fed = {(link.target_id, link.slot) for link in graph.connections}
    for routine_id, routine in graph.routines.items():
        entry = find_entry(routine)
        workers = graph.options[routine_id].pool
        for name, slot in routine.slots.items():
            # One whose handler takes nothing is a signal, such as `flush`: Job.send may well be all that it is for.
            needs_feeding = not slot.at_end and type(slot.binding) is not NoArguments
            if slot is not entry and needs_feeding and (routine_id, name) not in fed:
                text = "nothing is connected to it: only Job.send reaches it"
                problems.append(Problem("warning", f"slot {name!r} of routine {routine_id!r}", text))
            if workers > 1 and keeps_gathered(slot.merge_strategy):
                text = f"it gathers, and each of the {workers} workers gathers for itself"
                problems.append(Problem("warning", f"slot {name!r} of routine {routine_id!r}", text))
            if workers > 1 and slot.at_end and routine.state_policy != NONE:
                text = (
                    f"one of the {workers} workers hears of the end, and has its own state alone: add up in a routine "
                    "behind it, or set state_policy to 'none' if it needs none"
                )
                problems.append(Problem("warning", f"slot {name!r} of routine {routine_id!r}", text))
    return problems


def _check_joins(graph: FlowGraph) -> list[Problem]:
    """Find slots that merge messages of several connections which declare a parameter of the same name."""
    problems = []
    links: dict[tuple[str, str], list[Connection]] = {}
    for link in graph.connections:
        links.setdefault((link.target_id, link.slot), []).append(link)
    for (routine_id, name), joined in links.items():
        strategy = graph.routines[routine_id].slots[name].merge_strategy
        if not is_of_each_connection(strategy):
            continue
        declared = Counter(parameter for link in joined for parameter in _names_of(graph, link))
        binding = graph.routines[routine_id].slots[name].binding
        taken = declared if binding.takes_any else binding.parameters
        twice = sorted(parameter for parameter in taken if declared[parameter] > 1)
        if twice:
            text = (
                f"it merges by {strategy!r}, and more than one of its connections brings {twice}: map them to "
                "other names, or its turns fail where the values differ"
            )
            problems.append(Problem("warning", f"slot {name!r} of routine {routine_id!r}", text))
    return problems


def _check_reach(graph: FlowGraph) -> list[Problem]:
    """Find routines no message can ever come to, however the job is started."""
    following: dict[str, list[str]] = {}
    for link in graph.connections:
        following.setdefault(link.source_id, []).append(link.target_id)
    fed = {link.target_id for link in graph.connections}
    waiting = [routine_id for routine_id, routine in graph.routines.items() if find_entry(routine) is not None]
    reached = set(waiting)
    while waiting:
        for target in following.get(waiting.pop(), ()):
            if target not in reached:
                reached.add(target)
                waiting.append(target)
    problems = []
    for routine_id, routine in graph.routines.items():
        if routine_id in reached:
            continue
        text = "no entry (a slot 'trigger', or a __call__) leads to it: it runs only by Job.send"
        if not routine.slots:
            text = "it has no slots and no entry (a slot 'trigger', or a __call__): it never runs"
        # A slot that nobody feeds is told already.
        if routine_id in fed or not routine.slots:
            problems.append(Problem("warning", f"routine {routine_id!r}", text))
    return problems


def find_entry(routine: Routine) -> Slot | None:
    """Give the slot of a job's first message (`Routine.entry_slot`); None where there is none."""
    try:
        return routine.entry_slot()
    except EntryError:
        return None
