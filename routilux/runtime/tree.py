"""How a job is put together: plan, ledger, carriers, places, actors and the handle.

The only room that knows all the others of a running job. It wires and starts; it never takes
part in what follows.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any

from routilux.accounts import Account
from routilux.errors import FlowCheckError, JobEndedError, NotPortableError
from routilux.jobs.actor import FactsWait, JobCut, StateActor
from routilux.ledger import Ledger
from routilux.model.graph import FlowGraph
from routilux.routing import ENTRY, RoutinePlan, compile_plan
from routilux.runtime.carriers import LocalCarrier, WireCarrier
from routilux.runtime.commands import Overflow, Quiet
from routilux.runtime.failure_log import tell_origin
from routilux.runtime.hangs import warn_slow
from routilux.runtime.interrupts import Uninterrupted
from routilux.runtime.job import Job
from routilux.runtime.job_supervisor import ABANDON_SECONDS, JobSupervisor
from routilux.runtime.routine_actor import PlaceMaker, RoutineActor
from routilux.runtime.running import running
from routilux.turn.codec import LocalCodec, WireCodec
from routilux.turn.service import RoutineService
from routilux.turn.state import begin_state
from routilux.turn.values import PICKLED, ValueCodec
from supervisors.actor import PykkaHost, PykkaRef
from supervisors.behavior import Context, Ref
from supervisors.errors import ValueEncodingError
from supervisors.locking import BriefLock
from supervisors.parking import Poller
from supervisors.places.base import Listener, Place
from supervisors.places.process.output import show_output
from supervisors.places.process.place import ProcessPlace
from supervisors.places.thread import ThreadPlace
from supervisors.places.timed import TimedThreadPlace
from supervisors.program_end import program_end
from supervisors.report import reporter
from supervisors.wire.values import encode_code

Warn = Callable[[int, float, str], None]
"""Told once of a message that takes long: its delivery number, for how many seconds, and where its handler is."""

_log = reporter("routilux")
_LEFT_RUNNING = "job {!r} of flow {!r} still ran when the program ended and was cancelled; wait for it with job.wait()"


def start_job(
    graph: FlowGraph,
    entry: str | None,
    params: dict[str, Any],
    hold: Callable[[Job], object],
    *,
    keep_open: bool,
    shutdown: float,
    codec: ValueCodec = PICKLED,
) -> Job:
    """Check the flow, compile it, start its actors, and send the first message.

    Args:
        graph: the flow.
        entry: the routine of the first message; None for none.
        params: that message's parameters.
        hold: given the job before any signal handler can raise: Ctrl-C may come just when this returns.
        keep_open: whether it goes on taking messages.
        shutdown: seconds that turns in hand get if the job ends early.
        codec: how the values of users are encoded.

    Raises:
        FlowCheckError: the flow cannot be run.
        NotPortableError: a process routine cannot be carried to its process.
        RoutineInUseError: a routine object runs on a thread for a job of another flow.
        ValueEncodingError: the first message cannot be.
    """
    problems = [problem for problem in graph.check() if problem.severity == "error"]
    if problems:
        raise FlowCheckError(graph.flow_id, problems)
    plan = compile_plan(graph)
    job_id = secrets.token_hex(6)
    services = {routine.id: _carry_service(routine, job_id, codec) for routine in plan.routines if routine.is_process}
    created_at = time.time()
    supervisor: JobSupervisor
    root: PykkaRef | None = None
    lock = BriefLock()
    ledger = Ledger(
        plan,
        lock,
        on_quiet=lambda: _signal(root, Quiet()),
        on_facts=lambda: _signal(supervisor.state_ref.result(), FactsWait()),
        on_overflow=lambda cycle: _signal(root, Overflow(cycle)),
        job_id=job_id,
        outside=lock.patient,
        codec=codec,
    )
    for account in ledger.accounts:
        for worker in range(account.plan.options.workers):
            account.committed[worker] = begin_state(
                account.plan.routine, codec, by_reference=not account.plan.is_process
            )
    state_actor = StateActor(ledger, created_at - time.monotonic())
    finished: Future[JobCut] = Future()
    # Ahead of all who wait for it: once a job is over, its flow may be changed.
    finished.add_done_callback(lambda _: running.leave(job_id))
    supervisor = JobSupervisor(
        ledger,
        state_actor,
        [_actor_maker(account, ledger, services, job_id, shutdown) for account in ledger.accounts],
        finished,
        job_id=job_id,
        shutdown=shutdown,
    )
    job: Job | None = None
    try:
        with Uninterrupted():  # or a job might run that nobody holds
            running.enter(job_id, graph, plan)
            try:
                root = PykkaHost().start(supervisor, f"job {job_id}")
            except BaseException:
                running.leave(job_id)
                raise
            failures = supervisor.failures
            job = Job(job_id, ledger, state_actor, supervisor.state_ref, root, finished, created_at, failures)
            running.hold(job)
            hold(job)
            program_end.watch_over(root, _LEFT_RUNNING.format(job_id, graph.flow_id), _log, _exit_seconds(shutdown))
        _send_first(job, entry, params, keep_open=keep_open)
    except BaseException:
        if job is not None:
            job.cancel_and_wait("its first message could not be sent")
        raise
    return job


def _exit_seconds(shutdown: float) -> float:
    """Give what a job's end takes at most, and a second."""
    return shutdown + ABANDON_SECONDS + 1.0


def _signal(ref: Ref | None, message: object) -> None:
    if ref is not None:
        ref.signal(message)


def _send_first(job: Job, entry: str | None, params: dict[str, Any], *, keep_open: bool) -> None:
    try:
        if entry is not None:
            job.put(entry, ENTRY, params)
    except JobEndedError:
        pass  # it failed while it started; its state says why
    if not keep_open:
        job.close_entry()


def _carry_service(routine: RoutinePlan, job_id: str, codec: ValueCodec) -> bytes:
    try:
        return encode_code(_make_service(routine, job_id, codec, is_local=False), routine.id)
    except ValueEncodingError as error:
        raise NotPortableError(routine.id, error.path, str(error)) from error


def _make_service(routine: RoutinePlan, job_id: str, codec: ValueCodec, *, is_local: bool) -> RoutineService:
    handler = routine.error_handler
    return RoutineService(
        routine.routine,
        routine.id,
        routine.incoming,
        routine.outgoing,
        job_id=job_id,
        atomic=routine.options.atomic,
        retryable=handler.retryable_exceptions,
        codec=LocalCodec() if is_local else WireCodec(codec),
        values=codec,
    )


def _actor_maker(
    account: Account, ledger: Ledger, services: dict[str, bytes], job_id: str, shutdown: float
) -> Callable[[Callable[[Any], None]], RoutineActor]:
    routine = account.plan
    warn = partial(warn_slow, account, tell_origin(ledger.plan, job_id, routine.id))
    if routine.is_process:
        carrier: LocalCarrier | WireCarrier = WireCarrier(routine.outgoing, ledger.codec)
        make_place = _process_place(account, services[routine.id], warn)
    else:
        carrier = LocalCarrier()
        timeout = routine.options.timeout
        codec = ledger.codec
        make_place = (
            _thread_place(routine, job_id, codec)
            if timeout is None
            else _timed_place(account, job_id, codec, timeout, warn)
        )

    def make(report: Callable[[Any], None]) -> RoutineActor:
        return RoutineActor(
            account,
            ledger,
            carrier,
            make_place,
            report,
            shutdown=shutdown,
            uses_poller=routine.is_process,
            has_deadlines=routine.has_deadlines,
        )

    return make


def _thread_place(routine: RoutinePlan, job_id: str, codec: ValueCodec) -> PlaceMaker:
    def make(listener: Listener, ctx: Context, wait: Callable[[], bool]) -> Place:
        return ThreadPlace(lambda: _make_service(routine, job_id, codec, is_local=True), listener, ctx.now, wait)

    return make


def _timed_place(account: Account, job_id: str, codec: ValueCodec, timeout: float, warn: Warn) -> PlaceMaker:
    routine = account.plan

    def make(listener: Listener, ctx: Context, wait: Callable[[], bool]) -> Place:  # noqa: ARG001  nothing runs here
        return TimedThreadPlace(
            ctx.ref.path,
            lambda: _make_service(routine, job_id, codec, is_local=True),
            listener,
            ctx.now,
            ctx.mailbox.ring,
            timeout=timeout,
            warn=warn,
            note_abandoned=account.note_abandoned,
        )

    return make


def _process_place(account: Account, service: bytes, warn: Warn) -> PlaceMaker:
    routine = account.plan

    def make(listener: Listener, ctx: Context, wait: Callable[[], bool]) -> Place:  # noqa: ARG001  nothing runs here
        if not isinstance(ctx.parker, Poller):
            message = "the actor of a process routine waits at a Poller"
            raise TypeError(message)
        return ProcessPlace(
            routine.id,
            service,
            routine.options.workers,
            poller=ctx.parker,
            clock=ctx.now,
            listener=listener,
            output=partial(show_output, routine.id),
            timeout=routine.options.timeout,
            warn=warn,
            memory_limit=routine.options.memory_limit,
        )

    return make
