"""What a flow makes of a job that another version of it has left: what goes on, what is new, what would be lost.

Owns the gates of a resume: the shape of the flow, the kinds of its declared states, the registered types. Pure. An
image goes in, and comes out as this flow can take it, with a note on each difference that costs nothing; anything that
would lose a message or a state is refused, all at once, unless the caller says what is to become of it. Each loss tells
what would say so, and what was said must mean something: a name that nobody knows is refused too.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

from msgspec.structs import replace

from routilux.jobs.errors import ResumeRefusedError
from routilux.jobs.renaming import find_misnamed, rename_all
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
)
from routilux.serial.described import WrittenAs, find_types
from routilux.serial.errors import ValueReadingError
from routilux.turn.codec import decode_boot, encode_boot
from routilux.turn.gather import slot_key
from routilux.turn.state import IMMUTABLE_TYPES, OBJECT_KEY, is_reserved

FindType = Callable[[str, int, tuple[str, ...]], object]
"""Finds what reads the values of a type as it was written; raises `ValueReadingError` where nothing does."""


class Changes(NamedTuple):
    """What the caller says is to become of what the flow has no more.

    Args:
        rename: old name to new: `parse` for a routine, `parse.source` for a slot or an event of it (by its old names).
        drop: what is let go, by its new name where it has one: a routine's id; a connection's label; `parse.state` for
            a declared state; `parse.source` for what a slot has gathered; `parse.parsed` for the results of a declared
            output.
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


def adopt(image: Image, topology: Topology, find_type: FindType, changes: Changes) -> Adoption:
    """Let a flow take a job over.

    Args:
        image: the job.
        topology: the flow as it is now.
        find_type: knows the registered types as they are now.
        changes: what is to become of what would be lost.

    Raises:
        ResumeRefusedError: something would be lost of which `changes` does not speak, or it speaks of what is not
            there; it lists all.
    """
    misnamed = find_misnamed(image.topology, topology, changes.rename)
    if misnamed:
        raise ResumeRefusedError(image.header.job_id, misnamed)
    renamed = rename_all(image, changes.rename)
    gate = _Gate(renamed, topology, find_type, changes)
    refusals = [*gate.find_losses(), *gate.find_idle_changes()]
    if refusals:
        raise ResumeRefusedError(image.header.job_id, refusals)
    return Adoption(gate.drop(), [edge.label for edge in renamed.topology.edges], gate.find_notes())


class _Gate:
    """One comparison of a job with a flow."""

    def __init__(self, image: Image, topology: Topology, find_type: FindType, changes: Changes) -> None:
        self._image = image
        self._topology = topology
        self._before = {shape.id: shape for shape in image.topology.routines}
        self._now = {shape.id: shape for shape in topology.routines}
        self._labels = {edge.label for edge in topology.edges}
        self._find_type = find_type
        self._changes = changes
        self._states: dict[str, list[_State]] = {}
        for state in image.states:
            self._states.setdefault(state.routine_id, []).append(_State(state.worker, decode_boot(state.body)))

    def find_losses(self) -> list[str]:
        losses: list[str] = []
        for routine in self._image.routines:
            losses += self._of_messages(routine)
        for shape in self._before.values():
            losses += self._of_states(shape)
        for output in self._image.job.outputs:
            losses += self._of_output(output)
        return [*losses, *self._of_types()]

    def find_idle_changes(self) -> list[str]:
        """Tell which names of `drop` and `migrate` mean nothing: they may be misspelled."""
        droppable = self._droppable()
        idle = []
        for name in self._changes.drop:
            if name in droppable:
                continue
            what = "is still in the flow" if name in self._now or name in self._labels else "is nothing that is gone"
            can = f"; what can be dropped: {', '.join(map(repr, sorted(droppable)))}" if droppable else ""
            idle.append(f"drop names {name!r}, which {what}{can}")
        there = self._before.keys() & self._now.keys()
        told = "migrate names {!r}, which is no routine that the job has and the flow has too"
        return [*idle, *(told.format(id_) for id_ in self._changes.migrated if id_ not in there)]

    def find_notes(self) -> list[str]:
        before = {edge.label for edge in self._image.topology.edges if not _is_retired(edge)}
        notes = [] if self._image.topology.flow_id == self._topology.flow_id else [self._note_flow()]
        notes += [f"routine {id_!r} is new" for id_ in self._now if id_ not in self._before]
        notes += [f"routine {id_!r} is gone" for id_ in self._before if id_ not in self._now]
        for id_, shape in self._before.items():
            if id_ in self._now:
                notes += _note_changes(shape, self._now[id_])
        for now in self._topology.edges:
            if now.label not in before and (now.source or now.event):
                notes.append(f"connection {now.label!r} is new")
        for edge in self._image.topology.edges:
            if edge.source and edge.label not in self._labels:
                notes.append(f"connection {edge.label!r} is gone")
        mappings = {edge.label: edge.mapping for edge in self._topology.edges}
        notes += [
            f"connection {edge.label!r} maps parameters otherwise, for messages that wait too"
            for edge in self._image.topology.edges
            if sorted(mappings.get(edge.label, edge.mapping)) != sorted(edge.mapping)
        ]
        return notes

    def drop(self) -> Image:
        """Give the image without what was dropped; messages that went count as skipped."""
        skipped = list(self._image.job.skipped)

        def keep(messages: Iterable[MessageImage], loose: list[MessageImage]) -> list[MessageImage]:
            kept = []
            for message in messages:
                each = [part for part in message.each() if self._has_way(part)]
                for part in message.each():
                    skipped[part.edge] += not self._has_way(part)
                if not message.parts or len(each) == len(message.parts):
                    kept += each and [message]
                else:  # what is left of a set waits for others
                    loose += each
            return kept

        routines = []
        for routine in self._image.routines:
            before = sum(skipped)
            loose: list[MessageImage] = []
            retries = [replace(wait, messages=keep(wait.messages, loose)) for wait in routine.retries]
            in_hand, waiting = keep(routine.in_hand, loose), keep(routine.waiting, loose)
            merging = keep(routine.merging, [])
            letters = [letter for letter in routine.dead_letters if self._has_way(letter.message)]
            if routine.id in self._now:
                figures = {**routine.figures, "skipped": routine.figures.get("skipped", 0) + sum(skipped) - before}
                routines.append(
                    replace(
                        routine,
                        in_hand=in_hand,
                        waiting=waiting,
                        merging=[*loose, *merging],
                        retries=[wait for wait in retries if wait.messages],
                        dead_letters=letters,
                        figures=figures if sum(skipped) > before else routine.figures,
                    )
                )
        outputs = []
        for output in self._image.job.outputs:
            if _label_of(output) in self._labels:
                outputs.append(output)
            else:
                keep(output.waiting, [])
        job = replace(self._image.job, skipped=skipped, outputs=outputs)
        states = [kept for state in self._image.states for kept in self._keep_state(state)]
        return replace(self._image, job=job, routines=routines, states=states)

    # -- Losses

    def _of_messages(self, routine: RoutineImage) -> Iterator[str]:
        if routine.id not in self._now and routine.id in self._changes.drop:
            return
        lost: dict[str, int] = {}
        for message in routine.messages():
            if not self._has_way(message):
                label = self._image.topology.edges[message.edge].label
                lost[label] = lost.get(label, 0) + 1
        before, now = self._before[routine.id], self._now.get(routine.id)
        if now is not None and before.partition_by != now.partition_by:
            count = sum(1 for _message in routine.messages())
            if count:
                yield (
                    f"{_many(count, 'message')} of routine {now.id!r}, which was partitioned {_by_key(before)} and is "
                    f"{_by_key(now)}: resume it as it was, and let them be handled first"
                )
        for label, count in lost.items():
            if not self._is_dropped(label):
                yield (
                    f"{_many(count, 'message')} of connection {label!r}, which is gone: rename what it joins, or "
                    f"drop=[{label!r}]"
                )

    def _of_states(self, before: RoutineShape) -> Iterator[str]:
        id_, states = before.id, self._states.get(before.id, [])
        now = self._now.get(id_)
        if self._is_dropped(f"{id_}.state"):
            states = [_State(state.worker, state.gathered) for state in states]
        if now is None:
            if any(state.held for state in states) and not self._is_dropped(id_, f"{id_}.state"):
                yield (
                    f"the declared state of routine {id_!r}, which is gone: "
                    f"rename={{{id_!r}: its new id}}, or drop=['{id_}.state']"
                )
            return
        if not self._is_dropped(f"{id_}.state"):
            yield from self._of_workers(before, now, states)
            yield from self._of_kind(before, now, states)
        yield from self._of_gathered(before, now, states)

    def _of_workers(self, before: RoutineShape, now: RoutineShape, states: list[_State]) -> Iterator[str]:
        over = [state for state in states if state.worker >= now.states and state.held]
        if over:
            yield (
                f"the declared states of {_many(len(over), 'worker')} of routine {now.id!r}, which had "
                f"{before.workers} and has {now.workers}: give it {before.workers} again, or drop=['{now.id}.state'], "
                "which lets go the states of all"
            )

    def _of_kind(self, before: RoutineShape, now: RoutineShape, states: list[_State]) -> Iterator[str]:
        id_ = now.id
        if before.partition_by != now.partition_by and any(state.declared for state in states):
            kept = f"which was kept {_by_key(before)} and is {_by_key(now)}"
            yield f"the declared state of routine {id_!r}, {kept}: drop=['{id_}.state']"
            return
        if id_ in self._changes.migrated or not any(state.declared for state in states):
            return
        cure = f"migrate={{{id_!r}: a function that makes the new one of the old one}}, or drop=['{id_}.state']"
        told = f"the declared state of routine {id_!r}, which"
        if now.state_policy == "none":
            if before.state_policy != "none":
                yield f"{told} keeps none any more: drop=['{id_}.state']"
        elif before.state != now.state and not self._is_grown(before, now, states):
            yield f"{told} was {before.state} and is {now.state}: {cure}"
        elif not _is_kept_alike(before, now):
            yield f"{told} was kept as {before.state_policy!r} says and is as {now.state_policy!r}: {cure}"
        elif now.state_policy == "external" and not all(
            type(value) in IMMUTABLE_TYPES for state in states for value in state.declared.values()
        ):
            yield f"{told} is kept as 'external' says now, and has values beyond None, bool, int, float, str: {cure}"

    def _is_grown(self, before: RoutineShape, now: RoutineShape, states: list[_State]) -> bool:
        """Whether only the fields of its class are others, and that class is registered: its migrations see to it."""
        if before.state.partition("(")[0] != now.state.partition("(")[0]:
            return False
        bodies = [state.declared[OBJECT_KEY] for state in states if OBJECT_KEY in state.declared]
        if before.partition_by:
            bodies = [body for state in states for body in state.declared.values()]
        return bool(bodies) and all(isinstance(body, bytes) and find_types(body) for body in bodies)

    def _of_gathered(self, before: RoutineShape, now: RoutineShape, states: list[_State]) -> Iterator[str]:
        gathered = {key for state in states for key in state.gathered}
        for slot, strategy in before.slots.items():
            name = f"{now.id}.{slot}"
            if slot_key(slot) in gathered and now.slots.get(slot) != strategy and not self._is_dropped(name):
                found = f"merges by {now.slots[slot]!r} now" if slot in now.slots else "is gone"
                cure = (
                    f"drop=[{name!r}]" if slot in now.slots else f"rename={{{name!r}: its new name}}, drop=[{name!r}]"
                )
                yield (
                    f"what slot {slot!r} of routine {now.id!r} has gathered, which merged by {strategy!r} and {found}: "
                    f"{cure}"
                )

    def _of_output(self, output: OutputImage) -> Iterator[str]:
        name = f"{output.routine_id}.{output.event}"
        if _label_of(output) in self._labels or self._is_dropped(name, _label_of(output)):
            return
        if output.routine_id not in self._now and output.routine_id in self._changes.drop:
            return
        count = len(output.waiting) + len(output.collected)
        if count:
            yield (
                f"{_many(count, 'result')} of output {name!r}, which is gone: rename what it was, or drop=[{name!r}]"
            )

    def _of_types(self) -> Iterator[str]:
        """Give what of the values that go on cannot be read here; types that do not occur do not matter."""
        occurring: set[WrittenAs] = set()
        for data in _values_of(self.drop()):
            occurring |= find_types(data)
        for written in sorted(occurring):
            try:
                self._find_type(*written)
            except ValueReadingError as error:
                yield f"values of type {written.name!r}: {error}"

    # -- Private

    def _is_dropped(self, *names: str) -> bool:
        return any(name in self._changes.drop for name in names)

    def _droppable(self) -> set[str]:
        """Give the names of all that is gone, or that may be let go: slots that gather, and declared states."""
        names = {id_ for id_ in self._before if id_ not in self._now}
        names |= {edge.label for edge in self._image.topology.edges if edge.label not in self._labels}
        for id_, states in self._states.items():
            now = self._now.get(id_)
            if any(state.declared or now is None or state.worker >= now.states for state in states):
                names.add(f"{id_}.state")
            gathered = {key for state in states for key in state.gathered}
            names |= {f"{id_}.{slot}" for slot in self._before[id_].slots if slot_key(slot) in gathered}
        names |= {
            f"{output.routine_id}.{output.event}"
            for output in self._image.job.outputs
            if _label_of(output) not in self._labels
        }
        return names

    def _note_flow(self) -> str:
        return f"the flow was called {self._image.topology.flow_id!r} and is {self._topology.flow_id!r}"

    def _has_way(self, message: MessageImage) -> bool:
        return self._image.topology.edges[message.edge].label in self._labels

    def _keep_state(self, state: StateImage) -> Iterator[StateImage]:
        """Give what is kept of a state: of one that is dropped, what the slots of its worker have gathered."""
        shape = self._now.get(state.routine_id)
        if shape is None or state.worker >= shape.states:
            return
        held = decode_boot(state.body)
        lets_go = {slot_key(slot) for slot in self._before[shape.id].slots if self._is_dropped(f"{shape.id}.{slot}")}
        all_of_it = self._is_dropped(f"{shape.id}.state")
        kept = {key: value for key, value in held.items() if key not in lets_go and (is_reserved(key) or not all_of_it)}
        if kept or not all_of_it:
            yield state if len(kept) == len(held) else replace(state, body=encode_boot(kept))


class _State(NamedTuple):
    """What one worker holds, declared and gathered."""

    worker: int
    held: dict[str, object]

    @property
    def declared(self) -> dict[str, object]:
        return {key: value for key, value in self.held.items() if not is_reserved(key)}

    @property
    def gathered(self) -> dict[str, object]:
        return {key: value for key, value in self.held.items() if is_reserved(key)}


def _is_retired(edge: EdgeImage) -> bool:
    """Whether it was gone already: only its number is taken."""
    return not edge.source and not edge.target


def _is_kept_alike(before: RoutineShape, now: RoutineShape) -> bool:
    """Whether both keep a state key by key, or both as one object."""
    by_key = ("encoded", "external") if now.state == "dict" else ()
    return (before.state_policy in by_key) == (now.state_policy in by_key)


def _note_changes(before: RoutineShape, now: RoutineShape) -> Iterator[str]:
    told = f"of routine {now.id!r}"
    for what, old, new in (("slot", before.slots, now.slots), ("event", before.events, now.events)):
        yield from (f"{what} {name!r} {told} is new" for name in new if name not in old)
        yield from (f"{what} {name!r} {told} is gone" for name in old if name not in new)
    for slot, strategy in before.slots.items():
        if now.slots.get(slot, strategy) != strategy:
            yield f"slot {slot!r} {told} merged by {strategy!r} and merges by {now.slots[slot]!r}"
    for what, was, is_ in (
        ("declared state", before.state, now.state),
        ("state policy", before.state_policy, now.state_policy),
        ("placement", before.placement, now.placement),
        ("number of workers", before.workers, now.workers),
        ("key that keeps the state", _by_key(before), _by_key(now)),
    ):
        if was != is_:
            yield f"the {what} {told} was {was} and is {is_}"
    if before.source != now.source:
        yield f"the code {told} is another one"


def _by_key(shape: RoutineShape) -> str:
    return f"by {shape.partition_by!r}" if shape.partition_by else "by no key"


def _label_of(output: OutputImage) -> str:
    return f"{output.routine_id}.{output.event} -> output"


def _values_of(image: Image) -> Iterator[bytes]:
    """Give all encoded values of users that a job holds."""
    for routine in image.routines:
        yield from routine.values()
    job: JobImage = image.job
    for output in job.outputs:
        for message in (*output.waiting, *output.collected):
            yield from message.values()
    for memo in job.memos:
        yield from memo.once.values()
    yield from (point.checkpoint for point in job.pause_points if point.checkpoint is not None)
    for state in image.states:
        for value in decode_boot(state.body).values():
            for encoded in value if isinstance(value, list) else (value,):
                if isinstance(encoded, bytes):
                    yield encoded


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"
