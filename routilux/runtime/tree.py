"""How a job is put together: plan, ledger, carriers, places, actors and the handle.

The only room that knows all the others of a running job. It wires and starts; it never takes
part in what follows.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, NamedTuple

from routilux.accounts import Account
from routilux.control.peers import IS_POSSIBLE
from routilux.errors import FlowCheckError, JobEndedError
from routilux.jobs.actor import FactsWait, JobCut, StateActor
from routilux.jobs.backlog import Backlog
from routilux.jobs.checkpoints import Checkpoints, Stopped
from routilux.jobs.errors import CheckpointFailedError
from routilux.jobs.imaging import Clocks, image_topology
from routilux.jobs.journal import Journal
from routilux.jobs.recorder import Recorder
from routilux.ledger import Ledger
from routilux.model.graph import FlowGraph
from routilux.routing import ENTRY, Plan
from routilux.runtime.carriers import Carrier
from routilux.runtime.commands import NotKept, Overflow, Quiet
from routilux.runtime.interrupts import Uninterrupted
from routilux.runtime.job import Job
from routilux.runtime.job_supervisor import ABANDON_SECONDS, RECORDER_SECONDS, JobSupervisor
from routilux.runtime.keeping import Kept
from routilux.runtime.lost_nodes import open_nodes
from routilux.runtime.makers import PlaceMaker
from routilux.runtime.memory import JobMemory
from routilux.runtime.placing import carry_service, place_routine
from routilux.runtime.routine_actor import RoutineActor
from routilux.runtime.running import running
from routilux.runtime.signals import note_resume
from routilux.serial.registry import default as registry
from routilux.stores.errors import FencedError
from routilux.stores.memory import MemoryStore
from routilux.turn.state import begin_states
from routilux.turn.values import PICKLED, ValueCodec
from supervisors.actor import PykkaHost
from supervisors.locking import BriefLock
from supervisors.program_end import program_end
from supervisors.report import reporter

if TYPE_CHECKING:
    from routilux.runtime.visits import Visits

_log = reporter("routilux")
_LEFT_RUNNING = "job {!r} of flow {!r} still ran when the program ended and was cancelled; wait for it with job.wait()"
_LEFT_TO_RESUME = "job {!r} of flow {!r} still ran when the program ended and was paused; resume it with Flow.resume()"


class Beginning(NamedTuple):
    """What a job begins with.

    Args:
        plan: the compiled flow.
        job_id: the job's id.
        kept: how it is kept; None for a job without a store.
        restore: puts into its ledger what a checkpoint held, given what its clock readings mean; None for a new job.
        memory_limit: bytes that it shares with its workers at most; None for what that is by itself.
        takes_commands: whether other programs may send it commands; None: if it has a store in which they find it.
    """

    plan: Plan
    job_id: str
    kept: Kept | None = None
    restore: Callable[[Ledger, Clocks], None] | None = None
    memory_limit: int | None = None
    takes_commands: bool | None = None


class First(NamedTuple):
    """What comes into a job first.

    Args:
        entry: the routine of the first message; None for none.
        params: that message's parameters.
        keep_open: whether the job goes on taking messages.
    """

    entry: str | None
    params: dict[str, Any]
    keep_open: bool


def check_flow(graph: FlowGraph) -> None:
    """Refuse a flow that cannot be run; raises `FlowCheckError`."""
    problems = [problem for problem in graph.check() if problem.severity == "error"]
    if problems:
        raise FlowCheckError(graph.flow_id, problems)


def start_job(
    graph: FlowGraph, beginning: Beginning, first: First, hold: Callable[[Job], object], *, shutdown: float
) -> Job:
    """Start the actors of a job, and send the first message.

    With a store, the job is there to be resumed once this returns, and no handler of a new one runs before: what nobody
    could go on with has done nothing yet.

    Args:
        graph: the flow, which was checked.
        beginning: what the job begins with. Its lease is released if this raises.
        first: what comes in first.
        hold: given the job before any signal handler can raise: Ctrl-C may come just when this returns.
        shutdown: seconds that turns in hand get if the job ends early.

    Raises:
        NotPortableError: a process routine cannot be carried to its process.
        RoutineInUseError: a routine object runs on a thread for a job of another flow.
        ValueEncodingError: the first message, or a state that a routine begins with, cannot be carried.
        CheckpointFailedError: the store did not take the first checkpoint; there is no such job, and one that was to be
            resumed is as it was.
    """
    job: Job | None = None
    try:
        wiring = _Wiring(graph, beginning, shutdown)
        with Uninterrupted():  # or a job might run that nobody holds
            job = wiring.start()
            hold(job)
        _send_first(job, first)
        if beginning.kept is not None:
            _keep_first(job)
            job.ledger.begin()
    except BaseException as error:
        if job is None:
            if beginning.kept is not None:
                beginning.kept.lease.release()
        elif beginning.restore is not None or not isinstance(error, Exception):
            # What it was to go on from is still there; or it was interrupted, which is no fault of it.
            job.end_early("it could not be resumed" if beginning.restore is not None else "interrupted")
            note_resume(error, job)
        else:
            job.cancel_and_wait("its first message could not be sent")
        raise
    return job


class _Wiring:
    """The parts of one job, put together."""

    def __init__(self, graph: FlowGraph, beginning: Beginning, shutdown: float) -> None:
        self._graph = graph
        self._beginning = beginning
        self._shutdown = shutdown
        plan, kept = beginning.plan, beginning.kept
        self._memory = memory = JobMemory(PICKLED if kept is None else kept.codec, beginning.memory_limit, plan)
        job_id, codec = beginning.job_id, memory.codec
        services = {
            routine.id: carry_service(routine, job_id, codec) for routine in plan.routines if routine.runs_apart
        }
        self._created_at = time.time() if kept is None else kept.created_at
        wall_offset = time.time() - time.monotonic()
        self._backlog = Backlog()
        self._ledger = ledger = self._make_ledger(plan, codec, wall_offset)
        checkpoints, recorder, journal = None, None, None
        if kept is not None:
            journal = Journal(kept.store, kept.lease, seal_key=kept.key)
            checkpoints = self._make_checkpoints(kept, journal, wall_offset)
            topology = image_topology(plan, registry.shapes())
            recorder = Recorder(plan, kept.custody(topology, wall_offset), self._tell_state, self._backlog)
            # Up to the first checkpoint, or that would wait for the end of their first turn.
            ledger.stop_in_place()
        self._state_actor = StateActor(ledger, wall_offset, self._tell_root, checkpoints)
        self._finished: Future[JobCut] = Future()
        # Ahead of all who wait for it: once a job is over, its flow may be changed, and it may be resumed.
        self._finished.add_done_callback(lambda _: self._give_back())
        inherited = kept.lease.fileno() if kept is not None else None
        self._visits = _open_visits(beginning)
        logbook = None if self._visits is None else self._visits.logbook
        self._nodes = nodes = open_nodes(plan, ledger, self._tell_lost_node)
        make_control = None if self._visits is None else self._visits.make_control

        def place(account: Account, service: bytes) -> tuple[Carrier, PlaceMaker]:
            return place_routine(account, ledger, memory, service, inherited, logbook, nodes)

        self._supervisor = JobSupervisor(
            ledger,
            self._state_actor,
            [
                _actor_maker(account, ledger, place(account, services.get(account.plan.id, b"")), shutdown, journal)
                for account in ledger.accounts
            ],
            self._finished,
            job_id=job_id,
            shutdown=shutdown,
            recorder=recorder,
            control=make_control
            and make_control(ledger, self._state_actor, self._created_at, self._tell_root, self._tell_state),
        )

    def start(self) -> Job:
        """Start the actors."""
        beginning, job_id = self._beginning, self._beginning.job_id
        try:
            running.enter(job_id, self._graph, beginning.plan)
            if self._visits is not None:
                self._visits.begin()
            root = PykkaHost().start(self._supervisor, f"job {job_id}")
        except BaseException:
            running.leave(job_id)
            if self._visits is not None:
                self._visits.close()
            raise
        job = Job(
            self._ledger,
            self._state_actor,
            self._supervisor.state_ref,
            root,
            self._finished,
            self._created_at,
            self._supervisor.failures,
            beginning.kept,
        )
        running.hold(job)
        told = (_LEFT_RUNNING if beginning.kept is None else _LEFT_TO_RESUME).format(job_id, self._graph.flow_id)
        seconds = _exit_seconds(self._shutdown) + (0.0 if beginning.kept is None else RECORDER_SECONDS)
        program_end.watch_over(root, told, _log, seconds)
        return job

    def _make_ledger(self, plan: Plan, codec: ValueCodec, wall_offset: float) -> Ledger:
        lock = BriefLock()
        ledger = Ledger(
            plan,
            lock,
            on_quiet=lambda: self._tell_root(Quiet()),
            on_facts=self._tell_of_facts,
            on_overflow=lambda told: self._tell_root(Overflow(told)),
            on_stopped=lambda: self._tell_state(Stopped()),
            waits=self._beginning.kept is not None and self._beginning.restore is None,
            job_id=self._beginning.job_id,
            generation=1 if self._beginning.kept is None else self._beginning.kept.lease.generation,
            outside=lock.patient,
            codec=codec,
        )
        for account in ledger.accounts:
            account.committed[:] = begin_states(account.plan.options, account.plan.routine, codec)
        if self._beginning.kept is not None:
            for output in ledger.outputs:
                output.keeps_collected = True
        if self._beginning.restore is not None:
            self._beginning.restore(ledger, Clocks(time.monotonic(), wall_offset))
        return ledger

    def _make_checkpoints(self, kept: Kept, journal: Journal, wall_offset: float) -> Checkpoints:
        return Checkpoints(
            self._ledger,
            journal=journal,
            backlog=self._backlog,
            generation=kept.lease.generation,
            number=kept.number,
            every=kept.every,
            pause_points=list(kept.pause_points),
            wall_offset=wall_offset,
            failed=self._tell_root_of_failure if kept.stops_on_error else log_not_kept,
            taken_over=self._tell_root_of_failure,
        )

    def _tell_root_of_failure(self, error: CheckpointFailedError | FencedError) -> None:
        self._tell_root(NotKept(error))

    def _tell_root(self, message: object) -> None:
        # Not by the ref that its host gives: routines of a resumed job may come to the job's end before that is here.
        self._supervisor.tell(message)

    def _tell_state(self, message: object) -> None:
        self._supervisor.state_ref.result().signal(message)

    def _tell_lost_node(self, told: str) -> None:
        self._supervisor.failures.tell_lost_node(told)

    def _tell_of_facts(self) -> None:
        self._tell_state(FactsWait())
        self._backlog.wait()

    def _give_back(self) -> None:
        running.leave(self._beginning.job_id)
        self._memory.close(self._ledger.outputs, self._ledger.accounts)
        if self._nodes is not None:
            self._nodes.close()
        if self._visits is not None:
            self._visits.close()
        if self._beginning.kept is not None:
            self._beginning.kept.lease.release()


def _open_visits(beginning: Beginning) -> Visits | None:
    kept, is_wanted = beginning.kept, beginning.takes_commands
    if is_wanted is None:
        is_wanted = kept is not None and not isinstance(kept.store, MemoryStore)
    if not (is_wanted and IS_POSSIBLE):
        return None
    from routilux.runtime.visits import open_visits  # noqa: PLC0415  all others start without

    return open_visits(beginning.job_id, kept)


def log_not_kept(error: CheckpointFailedError) -> None:
    """Tell of a checkpoint that could not be kept, where the job goes on without it."""
    _log.error("%s; the job goes on, and can be resumed from the checkpoint before", error)


def _exit_seconds(shutdown: float) -> float:
    """Give what a job's end takes at most, and a second."""
    return shutdown + ABANDON_SECONDS + 1.0


def _send_first(job: Job, first: First) -> None:
    try:
        if first.entry is not None:
            job.put(first.entry, ENTRY, first.params)
    except JobEndedError:
        pass  # it failed while it started; its state says why
    if not first.keep_open:
        job.close_entry()


def _keep_first(job: Job) -> None:
    with contextlib.suppress(JobEndedError):  # it is over already, and was kept at its end
        job.checkpoint(cause="start")


def _actor_maker(
    account: Account,
    ledger: Ledger,
    placed: tuple[Carrier, PlaceMaker],
    shutdown: float,
    journal: Journal | None,
) -> Callable[[Callable[[Any], None]], RoutineActor]:
    routine = account.plan
    carrier, make_place = placed

    def make(report: Callable[[Any], None]) -> RoutineActor:
        return RoutineActor(
            account,
            ledger,
            carrier,
            make_place,
            report,
            shutdown=shutdown,
            uses_poller=routine.runs_apart,
            has_deadlines=routine.has_deadlines,
            journal=journal,
        )

    return make
