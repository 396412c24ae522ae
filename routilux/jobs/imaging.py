"""The books of a job become an image of it, and back.

Owns the translation between what a running job holds and what a checkpoint holds: references become bytes, indexes
numbers that are kept, clock readings what they mean elsewhere. The values of users are their codec's.
"""

from __future__ import annotations

import contextlib
import hashlib
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from msgspec.structs import replace

from routilux.accounts import RetryWait
from routilux.blocks import messages_of
from routilux.books import AccountBooks, Books, OutputBooks
from routilux.dead_letters import DeadLetter
from routilux.ids import from_bytes, to_bytes
from routilux.messages import Message, Once, unite
from routilux.model.merging import strategy_word
from routilux.model.routine import Routine
from routilux.records.schema import (
    DeadLetterImage,
    EdgeImage,
    GivenUpSet,
    HistoryPosition,
    Image,
    JobImage,
    MemoImage,
    MessageImage,
    OutputImage,
    PausePoint,
    RetryImage,
    RoutineImage,
    RoutineShape,
    RoutineSummary,
    StateImage,
    Topology,
)
from routilux.routing import Plan
from routilux.serial.carried import needs_of
from routilux.serial.shape import TypeShape
from routilux.turn.codec import decode_boot, encode_boot
from routilux.turn.state import from_stored
from routilux.turn.values import ValueCodec, to_kept
from supervisors.errors import ValueDecodingError


class Clocks(NamedTuple):
    """What a clock reading means.

    Args:
        now: the reading.
        wall_offset: what to add to one to get seconds since the epoch.
    """

    now: float
    wall_offset: float


# ---- to an image


def image_routine(routine_id: str, held: AccountBooks, clocks: Clocks, codec: ValueCodec) -> RoutineImage:
    """Give the image of one routine, but for its declared state."""

    def image_all(messages: Iterable[Message]) -> list[MessageImage]:
        return [image_message(message, codec, waited=max(0.0, clocks.now - message.sent_at)) for message in messages]

    given_up = list({id(whole): whole for letter in held.letters if (whole := letter.given_up_with)}.values())
    number_of = {id(whole): number for number, whole in enumerate(given_up)}

    return RoutineImage(
        id=routine_id,
        status=held.status,
        error=held.error,
        is_skipped=held.is_skipped,
        in_hand=image_all(messages_of(held.in_hand)),
        waiting=image_all(messages_of(held.waiting)),
        retries=[
            RetryImage(image_all(wait.messages), max(0.0, wait.due_at - clocks.now), wait.holds)
            for wait in held.retries
        ],
        dead_letters=[
            DeadLetterImage(
                _image_dead(letter.message, codec),
                letter.reason,
                letter.attempts,
                max(0.0, letter.at + clocks.wall_offset),
                number_of.get(id(letter.given_up_with)),
            )
            for letter in held.letters
        ],
        figures=held.counts,
        measured=held.measured,
        spent=list(held.spent),
        merging=image_all(held.merging),
        given_up=[
            GivenUpSet(to_bytes(whole.key), len(whole.parts), whole.released, whole.stepped, dict(whole.once))
            for whole in given_up
        ],
    )


def image_states(routine_id: str, held: AccountBooks, codec: ValueCodec) -> list[StateImage]:
    """Give the images of those declared states of a routine that were copied."""
    return [
        StateImage(routine_id, worker, encode_boot(committed, codec))
        for worker, committed in enumerate(held.committed)
        if committed is not None
    ]


def image_job(
    books: Books,
    plan: Plan,
    pause_points: list[PausePoint],
    history: HistoryPosition,
    once: HistoryPosition,
    clocks: Clocks,
    codec: ValueCodec,
) -> JobImage:
    """Give the image of what belongs to the job as a whole."""
    return JobImage(
        sent=books.sent,
        handled=books.handled,
        dead=books.dead,
        skipped=books.skipped,
        is_entry_open=books.is_entry_open,
        pause_points=pause_points,
        history=history,
        outputs=[
            OutputImage(
                output.routine_id,
                output.event,
                [image_message(message, codec) for message in held.waiting],
                [image_message(message, codec) for message in held.collected],
            )
            for output, held in zip(plan.outputs, books.outputs, strict=True)
        ],
        once=once,
        memos=[MemoImage(to_bytes(key), dict(memo)) for key, memo in books.memos.items()],
        first_at=[_to_wall(at, clocks) for at in books.first_at],
        last_at=[_to_wall(at, clocks) for at in books.last_at],
        seconds=books.seconds,
    )


def find_needs(job: JobImage, routines: Iterable[RoutineImage], states: Iterable[StateImage]) -> set[str]:
    """Tell what reading the values of users in them takes beyond plain data (`needs_of`)."""
    needs: set[str] = set()
    for output in job.outputs:
        for message in (*output.waiting, *output.collected):
            needs = needs.union(*map(needs_of, message.values()))
    for routine in routines:
        needs = needs.union(*map(needs_of, routine.values()))
    needs = needs.union(*(needs_of(value) for memo in job.memos for value in memo.once.values()))
    needs = needs.union(*(needs_of(point.checkpoint) for point in job.pause_points if point.checkpoint is not None))
    for state in states:
        for value in decode_boot(state.body).values():
            for encoded in value if isinstance(value, list) else (value,):
                if isinstance(encoded, bytes):
                    needs |= needs_of(encoded)
    return needs


def summarize_routine(routine_id: str, held: AccountBooks) -> RoutineSummary:
    """Give what a list shows of a routine."""
    return RoutineSummary(
        id=routine_id,
        status=held.status,
        error=held.error,
        waiting=count_messages(held),
        dead=held.counts["dead"],
        handled=held.counts["handled"],
    )


def count_messages(held: AccountBooks) -> int:
    """Count the messages that are still to be handled."""
    return sum(1 for _message in held.held)


def image_topology(plan: Plan, types: Mapping[str, TypeShape]) -> Topology:
    """Give the shape of a flow, by which it is known again.

    Args:
        plan: the compiled flow.
        types: the registered types.
    """
    return Topology(
        flow_id=plan.flow_id,
        routines=[
            RoutineShape(
                id=routine.id,
                kind=type(routine.routine).__qualname__,
                placement=routine.options.placement,
                workers=routine.options.pool,
                slots={name: strategy_word(slot.merge_strategy) for name, slot in routine.routine.slots.items()},
                events=list(routine.events),
                state=describe_state(routine.routine.state_type),
                state_policy=routine.routine.state_policy,
                source=_digest_source(routine.routine),
                partition_by=routine.options.partition_by or "",
            )
            for routine in plan.routines
        ],
        edges=[
            EdgeImage(
                source=edge.source,
                event=edge.event,
                target=plan.routines[edge.target].id if 0 <= edge.target < len(plan.routines) else "",
                slot=edge.slot,
                label=edge.label,
                mapping=list(edge.mapping),
                born=edge.born,
            )
            for edge in plan.edges
        ],
        types=dict(types),
    )


def describe_state(state_type: type | None) -> str:
    """Tell what a declared state is: `dict`, or the name of its class with those of its fields."""
    if state_type is None or state_type is dict:
        return "dict"
    fields = getattr(state_type, "__struct_fields__", None) or getattr(state_type, "__dataclass_fields__", None) or ()
    return f"{state_type.__qualname__}({', '.join(fields)})"


# ---- and back


def read_books(
    image: Image,
    plan: Plan,
    clocks: Clocks,
    codec: ValueCodec,
    house: Callable[[bytes], bytes] = lambda payload: payload,
) -> Books:
    """Give the books that a job begins with that goes on from an image.

    Args:
        image: the image; routines of it that the plan does not have are passed over.
        plan: the compiled flow, its connections under the numbers of the image.
        clocks: of the job that begins.
        codec: of the user's values.
        house: gives a payload as it is to be held while it waits to be handled.
    """
    job = image.job
    images = {routine.id: routine for routine in image.routines}
    bodies = {(state.routine_id, state.worker): state.body for state in image.states}
    added = [0] * (len(plan.edges) - len(job.sent))
    outputs = {(output.routine_id, output.event): output for output in job.outputs}
    accounts = []
    for routine in plan.routines:
        committed = tuple(
            from_stored(decode_boot(body), routine.routine.state_policy, codec, by_reference=not routine.runs_apart)
            if (body := bodies.get((routine.id, worker))) is not None
            else None
            for worker in range(routine.options.states)
        )
        known = images.get(routine.id)
        accounts.append(_NEW if known is None else _read_routine(known, clocks, house))
        accounts[-1] = accounts[-1]._replace(committed=committed)
    return Books(
        sent=[*job.sent, *added],
        handled=[*job.handled, *added],
        dead=[*job.dead, *added],
        skipped=[*job.skipped, *added],
        accounts=tuple(accounts),
        outputs=tuple(_read_output(outputs.get((output.routine_id, output.event))) for output in plan.outputs),
        is_entry_open=job.is_entry_open,
        memos={from_bytes(memo.key): _read_once(memo.once) for memo in job.memos},
        first_at=_read_times(job.first_at, len(plan.edges), clocks),
        last_at=_read_times(job.last_at, len(plan.edges), clocks),
        seconds=job.seconds,
    )


_NEW = AccountBooks((), (), (), (), (), (), "pending", None, is_skipped=False, counts={})
"""Of a routine that the image did not have."""


def _read_routine(image: RoutineImage, clocks: Clocks, house: Callable[[bytes], bytes]) -> AccountBooks:
    read = partial(read_message, now=clocks.now, house=house)
    return AccountBooks(
        committed=(),
        versions=(),
        in_hand=tuple(map(read, image.in_hand)),
        waiting=tuple(map(read, image.waiting)),
        retries=tuple(
            RetryWait(list(map(read, wait.messages)), clocks.now + wait.seconds, wait.holds) for wait in image.retries
        ),
        letters=tuple(_read_letters(image, clocks)),
        status=image.status,
        error=image.error,
        is_skipped=image.is_skipped,
        counts=image.figures,
        spent=tuple(image.spent),
        measured=image.measured,
        merging=tuple(map(read, image.merging)),
    )


def _read_letters(image: RoutineImage, clocks: Clocks) -> Iterator[DeadLetter]:
    messages = [read_message(letter.message) for letter in image.dead_letters]
    members: dict[int | None, list[Message]] = {}
    for letter, message in zip(image.dead_letters, messages, strict=True):
        members.setdefault(letter.given_up_with, []).append(message)
    sets = {
        number: replace(
            unite(tuple(members[number])),
            key=from_bytes(whole.key),
            released=whole.released,
            stepped=whole.stepped,
            once=_read_once(whole.once),
        )
        for number, whole in enumerate(image.given_up)
        if len(members.get(number, ())) == whole.size
    }
    for letter, message in zip(image.dead_letters, messages, strict=True):
        whole = None if letter.given_up_with is None else sets.get(letter.given_up_with)
        at = letter.at - clocks.wall_offset
        yield DeadLetter(image.id, message, letter.reason, letter.attempts, at, given_up_with=whole)


def _to_wall(at: float | None, clocks: Clocks) -> float | None:
    return None if at is None else max(0.0, at + clocks.wall_offset)


def _read_times(times: Sequence[float | None], count: int, clocks: Clocks) -> list[float | None]:
    """Give clock readings for as many connections as there are."""
    known = [None if at is None else at - clocks.wall_offset for at in times]
    return known + [None] * (count - len(known))


def _read_output(image: OutputImage | None) -> OutputBooks:
    if image is None:
        return OutputBooks((), ())
    return OutputBooks(tuple(map(read_message, image.waiting)), tuple(map(read_message, image.collected)))


def _image_dead(message: Message, codec: ValueCodec) -> MessageImage:
    """Give the image of a message that was given up; where that was since its data is lost, without its data."""
    try:
        return image_message(message, codec)
    except ValueDecodingError:
        parts = tuple(replace(part, payload={}) for part in message.parts)
        return image_message(replace(message, payload={}, parts=parts), codec)


def image_message(message: Message, codec: ValueCodec, waited: float = 0.0) -> MessageImage:
    """Give the image of a message that has waited for so long; a payload that is bytes is encoded already."""
    payload = message.payload
    if message.parts:
        payload = b""
    return MessageImage(
        message.edge,
        message.seq,
        to_bytes(message.key),
        to_kept(payload) if isinstance(payload, bytes) else codec.encode(payload, "payload"),
        message.failures,
        message.crashes,
        message.redelivered,
        message.released,
        message.stepped,
        dict(message.once),
        waited,
        [image_message(part, codec, waited) for part in message.parts],
        message.partition,
    )


def read_message(
    image: MessageImage, now: float = 0.0, house: Callable[[bytes], bytes] = lambda payload: payload
) -> Message:
    """Give the message that an image is of.

    Args:
        image: the image.
        now: clock reading, where anybody looks at when it was sent.
        house: as of `read_books`.
    """
    return Message(
        image.edge,
        image.seq,
        {} if image.parts else house(image.payload),
        from_bytes(image.key),
        now - image.waited,
        image.failures,
        image.crashes,
        image.redelivered,
        image.released,
        image.stepped,
        _read_once(image.once),
        tuple([read_message(part, now, house) for part in image.parts]),
        image.partition,
    )


def _read_once(once: Mapping[str, bytes]) -> tuple[Once, ...]:
    return tuple(Once(*item) for item in once.items())


_digests: WeakKeyDictionary[Any, str] = WeakKeyDictionary()
"""Finding a class in its file means parsing that: some 20 ms, for each class of each job that would be started."""


def _digest_source(routine: Routine) -> str:
    code = getattr(routine, "function", None) or type(routine)
    try:
        return _digests[code]
    except (KeyError, TypeError):
        pass  # not known, or nothing that can be kept so
    try:
        source = inspect.getsource(code)
    except Exception:  # noqa: BLE001  a note only, and what all may be the matter: an interactive session, no Python,
        return ""  # a file that was changed since, and a SystemError of CPython (its issue 106905)
    digest = hashlib.blake2b(source.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    with contextlib.suppress(TypeError):
        _digests[code] = digest
    return digest
