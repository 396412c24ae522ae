"""What a flow makes of a job that another version of it has left: what goes on, what is new, what would be lost.

Owns the gates of a resume: the shape of the flow, the kinds of its declared states, the registered types. Pure. An
image goes in, and comes out as this flow can take it, with a note on each difference that costs nothing; anything that
would lose a message or a state is refused, all at once, unless the caller says what is to become of it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from msgspec.structs import replace

from routilux.jobs.errors import ResumeRefusedError
from routilux.records.schema import (
    EdgeImage,
    Image,
    JobImage,
    MessageImage,
    OutputImage,
    RoutineImage,
    RoutineShape,
    StateImage,
    Topology,
    TypeShape,
)
from routilux.turn.codec import decode_boot, encode_boot
from routilux.turn.gather import slot_key, slot_of
from routilux.turn.state import is_reserved


class Changes(NamedTuple):
    """What the caller says is to become of what the flow has no more.

    Args:
        rename: old name to new: `parse` for a routine, `parse.source` for a slot or an event of it (by its old names).
        drop: what is let go: a routine's id; a connection's label; `parse.state` for a declared state;
            `parse.parsed` for the results of a declared output.
        migrated: routines whose declared state the caller turns into one of another kind.
    """

    rename: Mapping[str, str]
    drop: Collection[str]
    migrated: Collection[str]


class Adoption(NamedTuple):
    """A job as the flow takes it.

    Args:
        image: the job, under the flow's names, without what was dropped.
        labels: of its connections, by number.
        notes: what is different and costs nothing, each in a line.
    """

    image: Image
    labels: list[str]
    notes: list[str]


def adopt(image: Image, topology: Topology, types: Mapping[str, TypeShape], changes: Changes) -> Adoption:
    """Let a flow take a job over.

    Args:
        image: the job.
        topology: the flow as it is now.
        types: the registered types as they are now.
        changes: what is to become of what would be lost.

    Raises:
        ResumeRefusedError: something would be lost of which `changes` does not speak; it lists all.
    """
    renamed = _rename(image, changes.rename)
    gate = _Gate(renamed, topology, types, changes)
    losses = gate.find_losses()
    if losses:
        raise ResumeRefusedError(image.header.job_id, losses)
    return Adoption(gate.drop(), [edge.label for edge in renamed.topology.edges], gate.notes)


class _Gate:
    """One comparison of a job with a flow."""

    def __init__(self, image: Image, topology: Topology, types: Mapping[str, TypeShape], changes: Changes) -> None:
        self._image = image
        self._before = {shape.id: shape for shape in image.topology.routines}
        self._now = {shape.id: shape for shape in topology.routines}
        self._labels = {edge.label for edge in topology.edges}
        self._types = types
        self._changes = changes
        self._states: dict[str, list[StateImage]] = {}
        for state in image.states:
            self._states.setdefault(state.routine_id, []).append(state)
        self.notes: list[str] = []

    def find_losses(self) -> list[str]:
        losses: list[str] = []
        for routine in self._image.routines:
            losses += self._of_routine(routine)
        for output in self._image.job.outputs:
            losses += self._of_output(output)
        losses += self._of_types()
        self.notes += [f"routine {id_!r} is new" for id_ in self._now if id_ not in self._before]
        self.notes += [
            f"connection {edge.label!r} is gone"
            for edge in self._image.topology.edges
            if edge.label not in self._labels
        ]
        return losses

    def drop(self) -> Image:
        """Give the image without what was dropped; messages that went count as skipped."""
        skipped = list(self._image.job.skipped)

        def keep(messages: Iterable[MessageImage]) -> list[MessageImage]:
            kept = []
            for message in messages:
                if self._has_way(message):
                    kept.append(message)
                else:
                    skipped[message.edge] += 1
            return kept

        dead = list(self._image.job.dead)
        routines = []
        for routine in self._image.routines:
            retries = [replace(wait, messages=keep(wait.messages)) for wait in routine.retries]
            in_hand, waiting = keep(routine.in_hand), keep(routine.waiting)
            letters = [letter for letter in routine.dead_letters if self._has_way(letter.message)]
            if routine.id in self._now:
                routines.append(
                    replace(
                        routine,
                        in_hand=in_hand,
                        waiting=waiting,
                        retries=[wait for wait in retries if wait.messages],
                        dead_letters=letters,
                    )
                )
        outputs = []
        for output in self._image.job.outputs:
            if f"{output.routine_id}.{output.event} -> output" in self._labels:
                outputs.append(output)
            else:
                keep(output.waiting)
        job = replace(self._image.job, skipped=skipped, dead=dead, outputs=outputs)
        states = [state for state in self._image.states if self._keeps_state(state)]
        return replace(self._image, job=job, routines=routines, states=states)

    # -- Losses

    def _of_routine(self, routine: RoutineImage) -> list[str]:
        dropped = self._changes.drop
        if routine.id in dropped:
            return []
        shape = self._now.get(routine.id)
        losses = []
        for label, count in self._count_lost(routine).items():
            if label not in dropped:
                losses.append(f"{_many(count, 'message')} of connection {label!r}, which is gone")
        if shape is None:
            has_state = any(decode_boot(state.body) for state in self._states.get(routine.id, ()))
            if has_state and f"{routine.id}.state" not in dropped:
                losses.append(f"the declared state of routine {routine.id!r}, which is gone")
            self.notes.append(f"routine {routine.id!r} is gone")
            return losses
        return losses + self._of_state(self._before[routine.id], shape)

    def _count_lost(self, routine: RoutineImage) -> dict[str, int]:
        lost: dict[str, int] = {}
        letters = [letter.message for letter in routine.dead_letters]
        waits = [message for wait in routine.retries for message in wait.messages]
        for message in (*routine.in_hand, *routine.waiting, *waits, *letters):
            if not self._has_way(message):
                label = self._image.topology.edges[message.edge].label
                lost[label] = lost.get(label, 0) + 1
        return lost

    def _of_state(self, before: RoutineShape, now: RoutineShape) -> list[str]:
        keys = {state.worker: set(decode_boot(state.body)) for state in self._states.get(now.id, ())}
        if f"{now.id}.state" in self._changes.drop:
            return []
        losses = []
        over = [worker for worker in keys if worker >= now.workers and keys[worker]]
        if over:
            losses.append(
                f"the declared states of {_many(len(over), 'worker')} of routine {now.id!r}, which had "
                f"{before.workers} and has {now.workers}"
            )
        gathered = {key for held in keys.values() for key in held if is_reserved(key)}
        has_state = any(held - gathered for held in keys.values())
        for slot, strategy in before.slots.items():
            if slot_key(slot) in gathered and now.slots.get(slot) != strategy:
                found = "is gone" if slot not in now.slots else f"merges by {now.slots[slot]!r} now"
                losses.append(
                    f"what slot {slot!r} of routine {now.id!r} has gathered, which merged by {strategy!r} and {found}"
                )
        if before.source != now.source:
            self.notes.append(f"the code of routine {now.id!r} is another one")
        if not has_state or now.id in self._changes.migrated:
            return losses
        if before.state != now.state:
            losses.append(f"the declared state of routine {now.id!r}, which was {before.state} and is {now.state}")
        elif now.state_policy == "none" != before.state_policy:
            losses.append(f"the declared state of routine {now.id!r}, which keeps none any more")
        return losses

    def _of_output(self, output: OutputImage) -> list[str]:
        name = f"{output.routine_id}.{output.event}"
        if f"{name} -> output" in self._labels or name in self._changes.drop or output.routine_id in self._changes.drop:
            return []
        count = len(output.waiting) + len(output.collected)
        return [f"{_many(count, 'result')} of output {name!r}, which is gone"] if count else []

    def _of_types(self) -> list[str]:
        losses = []
        for name, before in self._image.topology.types.items():
            now = self._types.get(name)
            if now is None:
                self.notes.append(f"type {name!r} is not registered here: a value of it cannot be read")
            elif now.version < before.version:
                losses.append(
                    f"values of type {name!r}, which is version {before.version} there and {now.version} here"
                )
            elif now.version == before.version and now.fields != before.fields:
                losses.append(
                    f"values of type {name!r}: its fields were {', '.join(before.fields)} and are "
                    f"{', '.join(now.fields)}, both under version {now.version}"
                )
        return losses

    def _has_way(self, message: MessageImage) -> bool:
        return self._image.topology.edges[message.edge].label in self._labels

    def _keeps_state(self, state: StateImage) -> bool:
        shape = self._now.get(state.routine_id)
        return (
            shape is not None and state.worker < shape.workers and f"{state.routine_id}.state" not in self._changes.drop
        )


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


# ---- new names


def _rename(image: Image, rename: Mapping[str, str]) -> Image:
    """Give the image under the names of the flow."""
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
        topology=replace(topology, routines=shapes, edges=[_rename_edge(edge, rename) for edge in topology.edges]),
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
    body = state.body if named.keys() == held.keys() else encode_boot(named)
    return StateImage(rename.get(state.routine_id, state.routine_id), state.worker, body)


def _rename_edge(edge: EdgeImage, rename: Mapping[str, str]) -> EdgeImage:
    source, target = rename.get(edge.source, edge.source), rename.get(edge.target, edge.target)
    event = _part(rename, edge.source, edge.event) if edge.source else ""
    slot = _part(rename, edge.target, edge.slot) if edge.slot else ""
    left = f"{source}.{event}" if source else "entry"
    right = f"{target}.{slot}" if slot else (target or "output")
    return replace(edge, source=source, event=event, target=target, slot=slot, label=f"{left} -> {right}")


def _rename_outputs(job: JobImage, rename: Mapping[str, str]) -> JobImage:
    outputs = [
        replace(
            output,
            routine_id=rename.get(output.routine_id, output.routine_id),
            event=_part(rename, output.routine_id, output.event),
        )
        for output in job.outputs
    ]
    return replace(job, outputs=outputs)


def _part(rename: Mapping[str, str], routine_id: str, name: str) -> str:
    """Give the new name of a slot or event; it may be told with or without its routine's new id."""
    new = rename.get(f"{routine_id}.{name}", name)
    return new.rpartition(".")[2]
