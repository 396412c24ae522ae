"""How a job goes on that another program has left, and how another job begins with what one has left.

Owns the way from a checkpoint to a running job: its lease, its gates, its books. Nothing of a user is decoded before
the gates were passed.
"""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from msgspec.structs import replace

from routilux.ids import to_bytes
from routilux.jobs.adoption import Adoption, Changes, adopt
from routilux.jobs.errors import NotResumableError, ResumeRefusedError
from routilux.jobs.imaging import Clocks, image_topology, read_books
from routilux.jobs.journal import read_journals
from routilux.jobs.machine import JobStatus
from routilux.keeping.copying import pack_job
from routilux.keeping.finding import OVER, latest, load, summarize_job
from routilux.keeping.origin import copy_origin
from routilux.keeping.saving import save
from routilux.ledger import Ledger
from routilux.messages import Once
from routilux.model.graph import FlowGraph
from routilux.model.state_policy import checked_default
from routilux.records.errors import DamagedCheckpointError
from routilux.records.schema import Header, Image, MemoImage, MessageImage, RoutineImage, StateImage
from routilux.routing import Plan, compile_plan
from routilux.runtime.job import Job
from routilux.runtime.keeping import Keeping, Kept, check_options, keep_with, note_target, take_new
from routilux.runtime.running import running
from routilux.runtime.tree import Beginning, First, check_flow, start_job
from routilux.runtime.workers import require_ray
from routilux.serial.registry import default as registry
from routilux.stores.base import Store, checked_job_id
from routilux.stores.owners import this_process
from routilux.turn.codec import decode_boot, encode_boot
from routilux.turn.state import OBJECT_KEY, begin_states, encode_initial, from_committed, is_reserved
from supervisors.errors import FrameError
from supervisors.report import reporter

_log = reporter("routilux")


class Wanted(NamedTuple):
    """What the caller wants of a resume besides the job.

    Args:
        rename: see `Changes`.
        drop: see `Changes`.
        migrate: for routines whose declared state is of another kind now: makes the new one of the old one.
    """

    rename: Mapping[str, str]
    drop: Collection[str]
    migrate: Mapping[str, Callable[[Any], Any]]


def resume_job(
    graph: FlowGraph,
    store: Store,
    job_id: str,
    options: Keeping,
    wanted: Wanted,
    hold: Callable[[Job], object],
    *,
    shutdown: float,
    memory_limit: int | None,
) -> Job:
    """Go on with a job where its newest good checkpoint has it.

    Args:
        graph: the flow.
        store: where the job is kept.
        job_id: the job.
        options: how it is kept from now on.
        wanted: what is to become of what the flow has no more.
        hold: given the job before any signal handler can raise.
        shutdown: seconds that turns in hand get if the job ends early.
        memory_limit: bytes that it shares with its workers at most; None for what that is by itself.

    Raises:
        FlowCheckError: the flow cannot be run.
        MissingExtraError: a routine is placed on Ray, which is not installed.
        OptionError: an option cannot be that.
        UnknownJobError, NoCheckpointError: the store has no such job, or nothing of it that can be read.
        JobOwnedError: somebody runs it.
        NotResumableError: it is completed, or cancelled.
        ResumeRefusedError: something would be lost.
        KeptError, ValueReadingError: its checkpoint cannot be read here.
    """
    check_flow(graph)
    require_ray(graph.options)
    check_options(options)
    lease = store.acquire(checked_job_id(job_id), this_process(), create=False)
    try:
        whole = _newest(store, job_id, options.get("key"))
        header = whole.header
        _check_status(header)
        kept = keep_with(store, lease, options, header.job_created_at)
        check_needs(header, allow_pickle=kept.codec.allow_pickle)
        adoption = adopt_for(graph, whole, wanted)
        image = begin_again(adoption.image)
        plan = compile_plan(graph, adoption.labels, [edge.born for edge in image.topology.edges])
        note_target(store, lease, options)  # not of a flow that was refused
    except BaseException:
        lease.release()
        raise
    for note in adoption.notes:
        _log.info("job %r is resumed: %s", job_id, note)
    kept = kept._replace(
        forked_from=header.forked_from,
        base=image.job.history,
        number=header.number,
        pause_points=tuple(image.job.pause_points),
    )
    beginning = Beginning(plan, job_id, kept, _restoring(image, plan, kept, wanted), memory_limit)
    return start_job(graph, beginning, First(None, {}, image.job.is_entry_open), hold, shutdown=shutdown)


def pack_paused(graph: FlowGraph, resting: Store | None) -> list[Any]:
    """Give the paused jobs of a flow, each as `pack_job` does, for who writes the flow as plain data.

    Args:
        graph: the flow; of its jobs those that run here, and are paused.
        resting: the jobs that it was read with; of them those that nobody has resumed. None for none.
    """
    jobs = filter(None, map(running.find, running.of(graph)))
    packed = [job.pack() for job in jobs if job.status is JobStatus.PAUSED]
    if resting is None:
        return packed
    left = [summarize_job(resting, job_id) for job_id in resting.jobs() if resting.owner(job_id) is None]
    return packed + [
        pack_job(resting, job.job_id, job.header.generation)
        for job in left
        if job.header is not None and job.header.status == JobStatus.PAUSED
    ]


def fork_job(
    store: Store, job_id: str, new_id: str, checkpoint: tuple[int, int] | None = None, *, key: bytes | None = None
) -> str:
    """Make a new, paused job of what a checkpoint of another holds, and give what it was made of: see `Flow.fork`."""
    image = load(store, job_id, *checkpoint, key=key) if checkpoint else _newest(store, job_id, key)
    before = image.header
    origin = f"{job_id}/{before.generation}-{before.number}"
    image = begin_again(image)
    lease = take_new(store, checked_job_id(new_id))
    try:
        header = replace(
            before,
            job_id=new_id,
            generation=lease.generation,
            number=1,
            status=str(JobStatus.PAUSED),
            error=None,
            cause="fork",
            job_created_at=time.time(),
            forked_from=origin,
        )
        # Its history begins anew: that of the other job stays with the other job.
        memos = read_journals(store, job_id, image.job.once, seal_key=key)
        job = replace(image.job, history=None, pause_points=[], once=None, memos=_add_memos(image.job.memos, memos))
        copy_origin(store, job_id, lease)
        save(store, lease, replace(image, header=header, job=job), key=key)
    finally:
        lease.release()  # where it could not be saved, nothing of it can be resumed, and its id is free
    return origin


def _add_memos(before: list[MemoImage], memos: dict[int, tuple[Once, ...]]) -> list[MemoImage]:
    """Add what was done once since the checkpoint: messages that come again have the ids of the first time."""
    known = {memo.key: dict(memo.once) for memo in before}
    for key, recorded in memos.items():
        for once in recorded:
            known.setdefault(to_bytes(key), {}).setdefault(once.key, once.value)
    return [MemoImage(key, once) for key, once in known.items()]


def _newest(store: Store, job_id: str, key: bytes | None) -> Image:
    """Read the newest good checkpoint; those that are damaged are told on the log."""
    found = latest(store, job_id, key=key)
    for problem in found.problems:
        _log.warning("job %r: %s; the checkpoint before it is used", job_id, problem)
    return found.image


def begin_again(image: Image) -> Image:
    """Give a job so that it can go on, or begin as another one: with what its messages have been through by now.

    A checkpoint of a running job does not tell what ran after it: all that waits in it may have been run.

    In a failed job the message that stopped it begins with its first try again. Whoever resumes it has mended the
    cause, and wants no try counted that had none. Those of messages that wait for another try count on.
    """
    if image.header.status == JobStatus.RUNNING:
        return replace(image, routines=[_doubt_routine(routine) for routine in image.routines])
    if image.header.status == JobStatus.FAILED:
        return replace(image, routines=[_begin_routine_again(routine) for routine in image.routines])
    return image


def _doubt_routine(routine: RoutineImage) -> RoutineImage:
    return replace(
        routine,
        in_hand=_doubt(routine.in_hand),
        waiting=_doubt(routine.waiting),
        retries=[replace(wait, messages=_doubt(wait.messages)) for wait in routine.retries],
    )


def _doubt(messages: list[MessageImage]) -> list[MessageImage]:
    return [message if message.redelivered else replace(message, redelivered=True) for message in messages]


def _begin_routine_again(routine: RoutineImage) -> RoutineImage:
    if routine.status != "failed":
        return routine
    waiting = list(routine.waiting)
    for place, message in enumerate(waiting):
        if message.failures:
            # Where it was put back: nothing that was tried before waits ahead of it.
            waiting[place] = replace(message, failures=0, crashes=0)
            break
    return replace(routine, status="pending", waiting=waiting)


def adopt_for(graph: FlowGraph, image: Image, wanted: Wanted) -> Adoption:
    """Let a flow take a job over; raises `ResumeRefusedError`, or `DamagedCheckpointError`."""
    changes = Changes(wanted.rename, frozenset(wanted.drop), frozenset(wanted.migrate))
    try:
        return adopt(image, image_topology(compile_plan(graph), registry.shapes()), registry.find_type, changes)
    except FrameError as error:  # its digests are right: it was made so
        raise DamagedCheckpointError(f"what should be a state is none: {error}") from error


def _restoring(image: Image, plan: Plan, kept: Kept, wanted: Wanted) -> Callable[[Ledger, Clocks], None]:
    def restore(ledger: Ledger, clocks: Clocks) -> None:
        states = [_migrate(state, plan, kept, wanted) for state in image.states]
        memos = read_journals(kept.store, image.header.job_id, image.job.once, seal_key=kept.key)
        books = read_books(replace(image, states=states), plan, clocks, kept.codec, ledger.codec.house)
        ledger.restore(books, memos)

    return restore


def _migrate(state: StateImage, plan: Plan, kept: Kept, wanted: Wanted) -> StateImage:
    """Turn a declared state into one of the kind that its routine declares now; gathered data and numbers stay."""
    function, is_dropped = wanted.migrate.get(state.routine_id), f"{state.routine_id}.state" in wanted.drop
    if function is None and not is_dropped:
        return state
    found = next(routine for routine in plan.routines if routine.id == state.routine_id)
    routine, stored = found.routine, decode_boot(state.body)
    if function is None or is_dropped:
        new = begin_states(found.options, routine, kept.codec)[0]
    elif found.options.partition_by is not None:
        new = {
            key: kept.codec.encode(checked_default(routine, function(value)), "state")
            for key, value in _read_state(stored, kept).items()
        }
    else:
        # A function that changes the old one and gives nothing back must not make it None.
        made = checked_default(routine, function(_read_state(stored, kept)))
        new = encode_initial(made, routine.state_policy, kept.codec)
    own = {key: value for key, value in stored.items() if is_reserved(key)}
    return StateImage(state.routine_id, state.worker, encode_boot({**new, **own}, kept.codec))


def _read_state(stored: Mapping[str, Any], kept: Kept) -> Any:
    """Give a declared state to a function of the user's; raises what its values raise that cannot be read."""
    if OBJECT_KEY in stored:
        return from_committed(stored[OBJECT_KEY], kept.codec)
    return {key: from_committed(value, kept.codec) for key, value in stored.items() if not is_reserved(key)}


def _check_status(header: Header) -> None:
    if header.status in OVER:
        raise NotResumableError(header.job_id, header.status)


def check_needs(header: Header, *, allow_pickle: bool) -> None:
    """Refuse a checkpoint whose values cannot be read here; raises `ResumeRefusedError`."""
    here = f"{sys.implementation.name}-{'.'.join(platform.python_version_tuple()[:2])}"
    missing = []
    for need in header.needs:
        if need == "pickle" and not allow_pickle:
            missing.append(
                "values that were written as pickles: give allow_pickle=True if you trust all who could write"
            )
        elif need not in ("pickle", here):
            missing.append(f"code that was written by {need}, which {here} cannot run: resume it there")
    if missing:
        raise ResumeRefusedError(header.job_id, missing)
