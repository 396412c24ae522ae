"""The compiled flow: routing tables that a running job reads and never changes.

Owns the translation of a flow's names into indexes and tuples, made once when a job starts.
Pure: no thread, clock, file or process. Never routes a message itself (see `ledger`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest

from routilux.executions import Names, RoutineNames
from routilux.model.check import find_entry
from routilux.model.concurrency import has_async
from routilux.model.digraph import ancestors_of, cyclic_components, topological_order
from routilux.model.error_handler import ErrorHandler
from routilux.model.graph import FlowGraph
from routilux.model.merging import MergeStrategy, batch, is_of_each_connection, is_united
from routilux.model.options import RoutineOptions
from routilux.model.routine import Routine
from routilux.pacing import Pace
from routilux.partitioning import names_of as partition_names
from routilux.turn.tables import Incoming, Outgoing

ENTRY = ""
"""Source of a connection that comes from outside of the flow; slot of a routine's entry."""


END = "end"
"""Event of the connection by which a slot hears of the end (`Slot.at_end`); its source is `ENTRY`."""

GONE = -1
"""Target of a connection that is no more."""


@dataclass(frozen=True, slots=True)
class Edge:
    """One way a message can take.

    Args:
        index: position in `Plan.edges`.
        source: id of the routine that emits, or `ENTRY` for messages from outside.
        event: the event's name; empty for messages from outside.
        target: index of the receiving account: a routine, or an output behind them; `GONE` for a connection that a
            job was resumed without, and whose number stays taken.
        slot: name of the slot, `ENTRY` for the routine's entry, empty for an output.
        label: how people read it, such as `read.file -> parse.source`.
        cycle: index of the cycle it lies in, or -1: such edges never press back.
        mapping: pairs of (parameter that comes, parameter it becomes).
        key: names under which it carries the key that its receiver is partitioned by; none where that is not.
        born: label that the ids of its messages are made of, where that is another: the one it had before it was
            renamed, so that a message is known again that comes once more under the new name.
    """

    index: int
    source: str
    event: str
    target: int
    slot: str
    label: str
    cycle: int
    mapping: tuple[tuple[str, str], ...] = ()
    born: str = ""
    key: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class JoinPlan:
    """A slot of which one turn handles several messages.

    Args:
        slot: its name.
        strategy: its merge strategy.
        edges: the connections whose messages it merges, in the flow's order.
        pressing: those that can press back when they are ahead, for no other could be held up by that.
        sources: by connections that go in step, the indexes of the routines from which what it brings comes.
    """

    slot: str
    strategy: MergeStrategy
    edges: tuple[int, ...]
    pressing: frozenset[int]
    sources: Mapping[int, frozenset[int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RoutinePlan:
    """Everything a job needs to know of one routine.

    Args:
        index: position in `Plan.routines`.
        id: its id in the flow.
        routine: the object that was added.
        options: placement and the like.
        error_handler: the one in force: the routine's own, else the flow's, else STOP.
        events: names of its events; an emission names its event by index.
        outgoing: for each event, in which form its data is wanted.
        routes: for each event, the edges it goes out on.
        incoming: slot and mapping for each edge that ends here.
        downstream: accounts that press back on it.
        cycle: index of the cycle it lies in, or -1.
        is_async: whether its handlers run on an event loop.
        joins: its slots of which one turn handles several messages.
        ends: the connections by which its slots hear of the end.
        pace: at which its messages are taken; None: as fast as it can.
    """

    index: int
    id: str
    routine: Routine
    options: RoutineOptions
    error_handler: ErrorHandler
    events: tuple[str, ...]
    outgoing: tuple[Outgoing, ...]
    routes: tuple[tuple[Edge, ...], ...]
    incoming: dict[int, Incoming]
    downstream: tuple[int, ...]
    cycle: int
    is_async: bool = False
    joins: tuple[JoinPlan, ...] = ()
    ends: tuple[int, ...] = ()
    pace: Pace | None = None

    @property
    def runs_apart(self) -> bool:
        """Whether its handlers run apart from the program (`RoutineOptions.runs_apart`)."""
        return self.options.runs_apart

    @property
    def has_deadlines(self) -> bool:
        """Whether the place its handlers run at has to be told the time."""
        return self.runs_apart or self.is_async or self.options.timeout is not None


@dataclass(frozen=True, slots=True)
class OutputPlan:
    """A declared output: `capacity` results wait at most, None for no bound."""

    index: int
    routine_id: str
    event: str
    capacity: int | None


@dataclass(frozen=True, slots=True)
class Plan:
    """A flow, compiled. Accounts are numbered: the routines first, then the outputs."""

    flow_id: str
    routines: tuple[RoutinePlan, ...]
    outputs: tuple[OutputPlan, ...]
    edges: tuple[Edge, ...]
    entries: dict[tuple[str, str], int]
    """Edge for messages from outside, by (routine id, slot name or `ENTRY`)."""
    cycles: tuple[tuple[int, ...], ...]
    """Indexes of the routines of each cycle."""
    downstream_order: tuple[int, ...] = ()
    """Indexes of the routines, each behind all it receives from; those of a cycle beside one another."""
    partners: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    """By connections from outside to a slot that takes something of each connection: the labels of those."""


def compile_plan(graph: FlowGraph, numbers: Sequence[str] = (), born: Sequence[str] = ()) -> Plan:
    """Turn a checked flow into the tables of a job.

    Args:
        graph: the flow.
        numbers: labels of the connections that have numbers already, in the order of these: those of a job that is
            resumed. They keep them, also where the flow has them no more; new ones come behind.
        born: for each of these what `Edge.born` was; none had one when empty.
    """
    ids = list(graph.routines)
    index_of = {routine_id: index for index, routine_id in enumerate(ids)}
    links = [(index_of[c.source_id], index_of[c.target_id]) for c in graph.connections]
    cycles = cyclic_components(len(ids), links)
    cycle_of = {member: number for number, members in enumerate(cycles) for member in members}
    outputs = tuple(
        OutputPlan(len(ids) + number, output.routine_id, output.event, output.capacity)
        for number, output in enumerate(graph.outputs)
    )
    edges, incoming = _compile_edges(graph, index_of, cycle_of, outputs, list(zip_longest(numbers, born, fillvalue="")))
    entries = {
        (ids[e.target], e.slot): e.index for e in edges if e.source == ENTRY and not e.event and e.target != GONE
    }
    apart = {index_of[routine_id] for routine_id in ids if graph.options[routine_id].runs_apart}
    ends: dict[int, list[int]] = {}
    for edge in edges:
        if edge.source == ENTRY and edge.event == END:
            ends.setdefault(edge.target, []).append(edge.index)
    leaving: dict[tuple[str, str], list[Edge]] = {}
    for edge in edges:
        leaving.setdefault((edge.source, edge.event), []).append(edge)
    routines = []
    for index, routine_id in enumerate(ids):
        routine = graph.routines[routine_id]
        events = tuple(routine.events)
        routes = tuple(tuple(leaving.get((routine_id, event), ())) for event in events)
        routines.append(
            RoutinePlan(
                index=index,
                id=routine_id,
                routine=routine,
                options=graph.options[routine_id],
                error_handler=graph.effective_error_handler(routine_id),
                events=events,
                outgoing=tuple(_outgoing(event, out, index, apart) for event, out in zip(events, routes, strict=True)),
                routes=routes,
                incoming=incoming[index],
                downstream=tuple(dict.fromkeys(edge.target for out in routes for edge in out if edge.cycle < 0)),
                cycle=cycle_of.get(index, -1),
                is_async=has_async(routine),
                joins=tuple(
                    _compile_joins(routine, edges, incoming[index], lambda id_: ancestors_of(index_of[id_], links))
                ),
                ends=tuple(ends.get(index, ())),
                pace=routine.own_pace(),
            )
        )
    order = topological_order(len(ids), links)
    routines = list(_without_crossing(routines))
    partners = {number: labels for routine in routines for number, labels in _find_partners(routine)}
    return Plan(graph.flow_id, tuple(routines), outputs, tuple(edges), entries, cycles, order, partners)


def names_of(plan: Plan) -> Names:
    """Give the names that the indexes in the job's facts stand for."""
    routines = tuple(RoutineNames(routine.id, routine.events) for routine in plan.routines)
    return Names(routines, tuple(edge.label for edge in plan.edges))


def _compile_edges(
    graph: FlowGraph,
    index_of: dict[str, int],
    cycle_of: dict[int, int],
    outputs: tuple[OutputPlan, ...],
    numbers: list[tuple[str, str]],
) -> tuple[list[Edge], list[dict[int, Incoming]]]:
    found = list(_list_edges(graph, index_of, cycle_of, outputs))
    taken = {label: number for number, (label, _born) in enumerate(numbers)}
    edges = [Edge(number, "", "", GONE, "", label, -1, born=born) for number, (label, born) in enumerate(numbers)]
    names = {born or label for label, born in numbers}
    incoming: list[dict[int, Incoming]] = [{} for _ in index_of]
    for edge in found:
        number = taken.get(edge.label, len(edges))
        if number < len(numbers):
            born = numbers[number][1]
        else:  # a new one that is called as another was before must not make the ids that are that one's
            born = f"{edge.label} ({number})" if edge.label in names else ""
        edge = replace(edge, index=number, born=born)  # noqa: PLW2901  the same with its number
        if number == len(edges):
            edges.append(edge)
        else:
            edges[number] = edge
        if edge.target < len(incoming):
            incoming[edge.target][number] = Incoming(edge.slot, edge.mapping, edge.label, edge.source == ENTRY)
    return edges, incoming


def _list_edges(
    graph: FlowGraph, index_of: dict[str, int], cycle_of: dict[int, int], outputs: tuple[OutputPlan, ...]
) -> Iterator[Edge]:
    for link in graph.connections:
        source, target = index_of[link.source_id], index_of[link.target_id]
        in_cycle = source in cycle_of and cycle_of[source] == cycle_of.get(target)
        label = f"{link.source_id}.{link.event} -> {link.target_id}.{link.slot}"
        cycle = cycle_of[source] if in_cycle else -1
        mapping = tuple(link.param_mapping.items())
        key = _find_key(graph, link.target_id, mapping)
        yield Edge(0, link.source_id, link.event, target, link.slot, label, cycle, mapping, key=key)
    for output in outputs:
        label = f"{output.routine_id}.{output.event} -> output"
        yield Edge(0, output.routine_id, output.event, output.index, "", label, -1)
    for routine_id, index in index_of.items():
        for slot in (ENTRY, *graph.routines[routine_id].slots):
            label = f"entry -> {routine_id}.{slot}" if slot else f"entry -> {routine_id}"
            yield Edge(0, ENTRY, "", index, slot, label, -1, key=_find_key(graph, routine_id, ()))
        for name, at_end in graph.routines[routine_id].slots.items():
            if at_end.at_end:
                yield Edge(0, ENTRY, END, index, name, f"end -> {routine_id}.{name}", -1)


def _find_key(graph: FlowGraph, target_id: str, mapping: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    parameter = graph.options[target_id].partition_by
    return () if parameter is None else partition_names(parameter, mapping)


def _compile_joins(
    routine: Routine, edges: list[Edge], incoming: dict[int, Incoming], ancestors: Callable[[str], frozenset[int]]
) -> Iterator[JoinPlan]:
    entry = find_entry(routine)
    for name, slot in routine.slots.items():
        if not is_united(slot.merge_strategy):
            continue
        names = (name, ENTRY) if slot is entry else (name,)
        ways = {number: way for number, way in incoming.items() if way.slot in names}
        links = [edges[number] for number, way in ways.items() if not way.from_outside]
        if slot.merge_strategy != "all":
            yield JoinPlan(name, slot.merge_strategy, tuple(ways), frozenset())
        elif links:
            sources = {edge.index: ancestors(edge.source) for edge in links}
            pressing = frozenset(_find_pressing(links, sources))
            yield JoinPlan(name, slot.merge_strategy, tuple(sources), pressing, sources)
        else:  # what comes from outside has nothing to go in step with
            yield JoinPlan(name, batch(1), tuple(ways), frozenset())


def _find_partners(routine: RoutinePlan) -> Iterator[tuple[int, tuple[str, ...]]]:
    entry = find_entry(routine.routine)
    for name, slot in routine.routine.slots.items():
        labels = tuple(way.label for way in routine.incoming.values() if way.slot == name and not way.from_outside)
        if labels and is_of_each_connection(slot.merge_strategy):
            names = (name, ENTRY) if slot is entry else (name,)
            yield from ((at, labels) for at, way in routine.incoming.items() if way.from_outside and way.slot in names)


def _find_pressing(parties: list[Edge], sources: Mapping[int, frozenset[int]]) -> Iterator[int]:
    """Give the connections whose routine can be held up without holding up what the others bring.

    Where two have an ancestor in common, one that is ahead would hold up that one, and the other with it.
    """
    above = Counter(node for edge in parties for node in sources[edge.index])
    for edge in parties:
        if edge.cycle < 0 and all(above[node] == 1 for node in sources[edge.index]):
            yield edge.index


def _without_crossing(routines: list[RoutinePlan]) -> Iterator[RoutinePlan]:
    """Give the routines; those connections press back no more that would wait for one another.

    What one join holds back may be what another waits for, whose own holding back the first one waits for: where two
    routines feed two joins, and each begins with another of them.
    """
    lanes = [
        (join, edge, frozenset().union(*(nodes for other, nodes in join.sources.items() if other != edge)))
        for routine in routines
        for join in routine.joins
        for edge in join.pressing
    ]
    waits = [
        (one, other)
        for one, (join, _edge, awaited) in enumerate(lanes)
        for other, (other_join, other_edge, _awaited) in enumerate(lanes)
        if join is not other_join and awaited & other_join.sources[other_edge]
    ]
    crossing = {lanes[number][1] for part in cyclic_components(len(lanes), waits) for number in part}
    for routine in routines:
        joins = tuple(replace(join, pressing=join.pressing - crossing) for join in routine.joins)
        yield replace(routine, joins=joins) if crossing else routine


def _outgoing(event: str, out: tuple[Edge, ...], source: int, apart: set[int]) -> Outgoing:
    keys = tuple(edge.key for edge in out)
    keys = keys if any(keys) else ()
    if source in apart:
        return Outgoing(event, by_reference=False, encoded=True, keys=keys)
    encoded = any(edge.target in apart for edge in out)
    # Without a receiver the reference is kept for those who tap the event: it costs nothing.
    by_reference = not encoded or any(edge.target not in apart for edge in out)
    return Outgoing(event, by_reference=by_reference, encoded=encoded, keys=keys)
