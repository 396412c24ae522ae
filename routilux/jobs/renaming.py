"""A job under the new names of its routines, slots and events.

Owns what a rename means for each part of an image, and which renames cannot be. Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from msgspec.structs import replace

from routilux.hints import describe_names
from routilux.records.schema import EdgeImage, Image, JobImage, OutputImage, RoutineShape, StateImage, Topology
from routilux.turn.codec import decode_boot, encode_boot
from routilux.turn.gather import slot_key, slot_of


def find_misnamed(before: Topology, now: Topology, rename: Mapping[str, str]) -> list[str]:
    """Tell which renames cannot be: of what the job does not have, to what the flow does not have, or of two to one.

    Args:
        before: the flow, as the job has it.
        now: the flow as it is.
        rename: old names to new ones.
    """
    shapes = {shape.id: shape for shape in before.routines}
    parts = {f"{shape.id}.{part}" for shape in before.routines for part in (*shape.slots, *shape.events)}
    wrong = [
        f"rename names {old!r}: {describe_names(old, sorted({*shapes, *parts}), 'the job has', 'the job has nothing')}"
        for old in rename
        if old not in shapes and old not in parts
    ]
    there = {shape.id: shape for shape in now.routines}
    for id_ in shapes:
        new = rename.get(id_, id_)
        if new != id_ and new not in there:
            wrong.append(f"rename makes {id_!r} {new!r}: {describe_names(new, there, 'the flow has', 'it has none')}")
    wrong += [
        f"rename makes two routines {id_!r}: {_list(old for old in shapes if rename.get(old, old) == id_)}"
        for id_ in _twice(rename.get(id_, id_) for id_ in shapes)
    ]
    for shape in before.routines:
        known = there.get(rename.get(shape.id, shape.id))
        wrong += _find_misnamed_parts(shape, known, rename)
    return wrong


def _find_misnamed_parts(shape: RoutineShape, now: RoutineShape | None, rename: Mapping[str, str]) -> Iterator[str]:
    for what, names, there in (
        ("slots", shape.slots, () if now is None else now.slots),
        ("events", shape.events, () if now is None else now.events),
    ):
        for name in _twice(_part(rename, shape.id, old) for old in names):
            both = _list(old for old in names if _part(rename, shape.id, old) == name)
            yield f"rename makes two {what} {name!r} of routine {shape.id!r}: {both}"
        for old in names:
            new = _part(rename, shape.id, old)
            if new != old and now is not None and new not in there:
                has = describe_names(new, there, f"its {what} are", f"it has no {what}")
                yield f"rename makes '{shape.id}.{old}' {new!r} of routine {now.id!r}: {has}"


def rename_all(image: Image, rename: Mapping[str, str]) -> Image:
    """Give the image under the names of the flow; `find_misnamed` has found nothing.

    Args:
        image: the job.
        rename: old name to new: `parse` for a routine, `parse.source` for a slot or an event of it.
    """
    if not rename:
        return image
    topology = image.topology
    shapes = [
        replace(
            shape,
            id=rename.get(shape.id, shape.id),
            slots={_part(rename, shape.id, slot): strategy for slot, strategy in shape.slots.items()},
            events=[_part(rename, shape.id, event) for event in shape.events],
        )
        for shape in topology.routines
    ]
    return replace(
        image,
        topology=replace(topology, routines=shapes, edges=_rename_edges(topology.edges, rename)),
        job=_rename_outputs(image.job, rename),
        routines=[replace(routine, id=rename.get(routine.id, routine.id)) for routine in image.routines],
        states=[_rename_state(state, rename) for state in image.states],
    )


def _rename_state(state: StateImage, rename: Mapping[str, str]) -> StateImage:
    """Give a state under the new name of its routine, what its slots have gathered under theirs."""
    held = decode_boot(state.body)
    named = {
        slot_key(_part(rename, state.routine_id, slot)) if (slot := slot_of(key)) is not None else key: value
        for key, value in held.items()
    }
    body = state.body if list(named) == list(held) else encode_boot(named)
    return StateImage(rename.get(state.routine_id, state.routine_id), state.worker, body)


def _rename_edges(edges: list[EdgeImage], rename: Mapping[str, str]) -> list[EdgeImage]:
    renamed = [_rename_edge(edge, rename) for edge in edges]
    live = {edge.label for edge in renamed if edge.source or edge.target}
    # A connection that is no more keeps its number, and must not take the messages of one that is called so now.
    return [
        edge
        if edge.source or edge.target or edge.label not in live
        else replace(edge, label=f"{edge.label} ({number})", born=edge.born or edge.label)
        for number, edge in enumerate(renamed)
    ]


def _rename_edge(edge: EdgeImage, rename: Mapping[str, str]) -> EdgeImage:
    if not edge.source and not edge.target:
        return edge
    source, target = rename.get(edge.source, edge.source), rename.get(edge.target, edge.target)
    event = _part(rename, edge.source, edge.event) if edge.source else edge.event
    slot = _part(rename, edge.target, edge.slot) if edge.slot else ""
    left = f"{source}.{event}" if source else event or "entry"
    right = f"{target}.{slot}" if slot else (target or "output")
    label = f"{left} -> {right}"
    born = edge.born or (edge.label if label != edge.label else "")
    return replace(edge, source=source, event=event, target=target, slot=slot, label=label, born=born)


def _rename_outputs(job: JobImage, rename: Mapping[str, str]) -> JobImage:
    def renamed(output: OutputImage) -> OutputImage:
        id_, event = output.routine_id, output.event
        return replace(output, routine_id=rename.get(id_, id_), event=_part(rename, id_, event))

    return replace(job, outputs=list(map(renamed, job.outputs)))


def _part(rename: Mapping[str, str], routine_id: str, name: str) -> str:
    """Give the new name of a slot or event; it may be told with its routine's old or new id before it, or without."""
    new = rename.get(f"{routine_id}.{name}", name)
    for id_ in (rename.get(routine_id, routine_id), routine_id):
        if new.startswith(f"{id_}."):
            return new.removeprefix(f"{id_}.")
    return new


def _twice(names: Iterable[str]) -> list[str]:
    return [name for name, count in Counter(names).items() if count > 1]


def _list(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names))
