"""Dead letters of a kept job that nobody runs are put back into their mailboxes, or let go, by a new checkpoint.

Nothing of users is decoded, and the flow is not needed: what is put back is tried when the job is resumed.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar

from msgspec.structs import replace

from routilux.errors import NotADeadLetterError, OptionError, RoutineSkippedError, UnknownRoutineError
from routilux.ids import from_bytes, to_id
from routilux.keeping.finding import latest
from routilux.keeping.saving import save
from routilux.records.schema import DeadLetterImage, Image, JobImage, MessageImage, RoutineImage, RoutineSummary
from routilux.stores.base import Lease, Store

_Letter = TypeVar("_Letter")

CAUSE = "asked"
"""Why such a checkpoint was written, as its header says."""


class Chosen(NamedTuple):
    """A dead letter that was named: the index of the routine that has it, and its index among those."""

    routine: int
    letter: int


def redeliver_kept(
    store: Store, lease: Lease, ids: Sequence[str], routine_id: str = "", *, key: bytes | None = None
) -> int:
    """Write a checkpoint in which dead letters wait in their mailboxes again, behind what waits there.

    Those that were given up as one set of a slot that merges, and come back all, are that set again, and come first.

    Args:
        store: where the job is kept.
        lease: the right to write there.
        ids: beginnings of the ids of their messages, each of one alone; none for all, but those of routines that are
            skipped.
        routine_id: those of this routine alone; "" for all.
        key: what its checkpoints are sealed with.

    Returns:
        How many they are.

    Raises:
        UnknownRoutineError, NotADeadLetterError, OptionError: a name is of none, or of several.
        RoutineSkippedError: the routine of one of them is skipped.
        KeptError: the job has no checkpoint that can be read.
        StoreWriteError: the store did not take it.
    """
    image = latest(store, lease.job_id, key=key).image
    chosen = choose(image, ids, routine_id)
    if not ids:
        chosen = [one for one in chosen if not _is_skipped(image, _letter(image, one))]
    for one in chosen:
        if _is_skipped(image, _letter(image, one)):
            raise RoutineSkippedError(_target(image, _letter(image, one)))
    if chosen:
        _save(store, lease, _put_back(image, chosen), key)
    return len(chosen)


def discard_kept(
    store: Store, lease: Lease, ids: Sequence[str], routine_id: str = "", *, key: bytes | None = None
) -> int:
    """Write a checkpoint without dead letters, which count as skipped; as `redeliver_kept`."""
    image = latest(store, lease.job_id, key=key).image
    chosen = choose(image, ids, routine_id)
    if chosen:
        taken = _take_out(image, chosen)
        skipped = Counter(_letter(image, one).message.edge for one in chosen)
        routines = [
            replace(
                after, figures=_add(after.figures, "skipped", before.figures.get("dead", 0) - after.figures["dead"])
            )
            for before, after in zip(image.routines, taken.routines, strict=True)
        ]
        job = replace(taken.job, skipped=[count + skipped[edge] for edge, count in enumerate(taken.job.skipped)])
        _save(store, lease, replace(taken, routines=routines, job=job), key)
    return len(chosen)


def choose(image: Image, ids: Sequence[str], routine_id: str) -> list[Chosen]:
    """Find the dead letters that are named; see `redeliver_kept`."""
    if routine_id and routine_id not in [routine.id for routine in image.routines]:
        raise UnknownRoutineError(routine_id, [routine.id for routine in image.routines])
    known = [
        (to_id(from_bytes(letter.message.key)), Chosen(index, at))
        for index, routine in enumerate(image.routines)
        if routine_id in {"", routine.id}
        for at, letter in enumerate(routine.dead_letters)
    ]
    if not ids:
        return [one for _id, one in known]
    return list(dict.fromkeys(find_letter(start, known) for start in ids))


def find_letter(start: str, known: Iterable[tuple[str, _Letter]]) -> _Letter:
    """Give the dead letter that is meant by the beginning of its message's id.

    Args:
        start: the beginning.
        known: pairs of an id and its letter.

    Raises:
        NotADeadLetterError: there is none.
        OptionError: there are several.
    """
    found = {id_: letter for id_, letter in known if start and id_.startswith(start.lower())}
    if not found:
        raise NotADeadLetterError(
            f"message {start!r}", "none has an id that begins so; it is misspelt, or was redelivered or let go already"
        )
    if len(found) > 1:
        raise OptionError(f"{start!r} begins the ids of {len(found)} dead letters: give more of it")
    return next(iter(found.values()))


def _put_back(image: Image, chosen: list[Chosen]) -> Image:
    taken = _take_out(image, chosen)
    waiting: dict[str, list[MessageImage]] = {routine.id: list(routine.waiting) for routine in taken.routines}
    outputs = {(output.routine_id, output.event): list(output.waiting) for output in taken.job.outputs}
    for message in _messages_of(image, chosen):
        edge = image.topology.edges[message.edge]
        if not edge.target:
            outputs[edge.source, edge.event].append(message)
        elif message.parts:
            # What waits behind a set may be older than what is still to become one: a set comes first (`restoring`).
            waiting[edge.target].insert(0, message)
        else:
            waiting[edge.target].append(message)
    job = replace(
        taken.job,
        outputs=[replace(output, waiting=outputs[output.routine_id, output.event]) for output in taken.job.outputs],
    )
    routines = [replace(routine, waiting=waiting[routine.id]) for routine in taken.routines]
    return replace(taken, job=job, routines=routines)


def _messages_of(image: Image, chosen: list[Chosen]) -> list[MessageImage]:
    """Give the messages of dead letters as they wait again, oldest first; those of a set that is whole as one."""
    messages: list[tuple[float, MessageImage]] = []
    sets: dict[tuple[int, int], list[DeadLetterImage]] = {}
    for one in chosen:
        letter = _letter(image, one)
        number = letter.given_up_with
        if number is None:
            messages.append((letter.at, _as_new(letter.message)))
        else:
            sets.setdefault((one.routine, number), []).append(letter)
    for (routine, number), letters in sets.items():
        whole, parts = image.routines[routine].given_up[number], [_as_new(letter.message) for letter in letters]
        if len(parts) < whole.size:
            messages += [(letter.at, part) for letter, part in zip(letters, parts, strict=True)]
            continue
        united = replace(
            parts[-1],
            key=whole.key,
            payload=b"",
            released=whole.released,
            stepped=whole.stepped,
            once=whole.once,
            parts=parts,
            partition="",
        )
        messages.append((letters[-1].at, united))
    return [message for _at, message in sorted(messages, key=lambda found: found[0])]


def _as_new(message: MessageImage) -> MessageImage:
    return replace(message, failures=0, crashes=0, redelivered=True, waited=0.0)


def _take_out(image: Image, chosen: list[Chosen]) -> Image:
    """Give the image without these dead letters, which are nowhere in it."""
    dead = Counter(_letter(image, one).message.edge for one in chosen)
    job: JobImage = replace(image.job, dead=[count - dead[edge] for edge, count in enumerate(image.job.dead)])
    routines = [
        _without(routine, {one.letter for one in chosen if one.routine == index})
        for index, routine in enumerate(image.routines)
    ]
    return replace(image, job=job, routines=routines)


def _without(routine: RoutineImage, gone: Collection[int]) -> RoutineImage:
    # What is left of a set that is not whole any more is by itself: its size says so.
    letters = [letter for at, letter in enumerate(routine.dead_letters) if at not in gone]
    return replace(routine, dead_letters=letters, figures=_add(routine.figures, "dead", -len(gone)))


def _add(figures: Mapping[str, int], name: str, count: int) -> dict[str, int]:
    return {**figures, name: figures.get(name, 0) + count}


def _letter(image: Image, one: Chosen) -> DeadLetterImage:
    return image.routines[one.routine].dead_letters[one.letter]


def _target(image: Image, letter: DeadLetterImage) -> str:
    return image.topology.edges[letter.message.edge].target


def _is_skipped(image: Image, letter: DeadLetterImage) -> bool:
    target = _target(image, letter)
    return any(routine.is_skipped for routine in image.routines if routine.id == target)


def _save(store: Store, lease: Lease, image: Image, key: bytes | None) -> None:
    header = image.header
    summaries = [_summarize(summary, routine) for summary, routine in zip(header.routines, image.routines, strict=True)]
    messages = sum(summary.waiting for summary in summaries)
    header = replace(
        header,
        generation=lease.generation,
        number=header.number + 1,
        cause=CAUSE,
        created_at=time.time(),
        routines=summaries,
        messages=messages,
    )
    save(store, lease, replace(image, header=header), key=key)


def _summarize(summary: RoutineSummary, routine: RoutineImage) -> RoutineSummary:
    return replace(summary, waiting=sum(1 for _ in routine.left()), dead=routine.figures.get("dead", 0))
