"""A whole job on the seeded host: the same actors, simulated processes, one step at a time.

With a store it can be begun again from what another one has left there (`SeededJob.go_on`): nothing else of that one
survives. What the world does to it meanwhile is drawn by `tests.runtime.world`.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, NamedTuple

from routilux import Flow
from routilux.jobs.actor import FactsWait, JobCut, StateActor, TakeCheckpoint
from routilux.jobs.backlog import Backlog
from routilux.jobs.checkpoints import Checkpoints, Stopped
from routilux.jobs.errors import CheckpointFailedError
from routilux.jobs.imaging import Clocks, image_topology, read_books
from routilux.jobs.journal import Journal, read_journals
from routilux.jobs.recorder import CheckpointInfo, Recorder
from routilux.keeping.finding import latest
from routilux.ledger import Admission, Ledger
from routilux.messages import Payload
from routilux.partitioning import find_key
from routilux.routing import ENTRY, RoutinePlan, compile_plan
from routilux.runtime.carriers import LocalCarrier, WireCarrier
from routilux.runtime.commands import NotKept, Overflow, Quiet
from routilux.runtime.job_supervisor import JobSupervisor
from routilux.runtime.keeping import Keeping, Kept, begin_kept, keep_with
from routilux.runtime.resuming import Wanted, adopt_for
from routilux.runtime.routine_actor import RoutineActor
from routilux.serial.registry import default as registry
from routilux.stores.base import Store
from routilux.stores.owners import this_process
from routilux.turn.codec import LocalCodec, WireCodec, WireResult, WireResults
from routilux.turn.concurrent import ConcurrentService
from routilux.turn.keyed import KeyedService, decode_states
from routilux.turn.service import RoutineService
from routilux.turn.state import begin_states, decode_state
from routilux.turn.values import PICKLED, ValueCodec
from supervisors.locking import BriefLock
from supervisors.places.looped import LoopPlace
from supervisors.places.ordered import OrderedPlace
from supervisors.places.scripted import Faults, ScriptedPlace
from supervisors.places.simulated_loop import SimulatedLoop
from supervisors.places.thread import ThreadPlace
from supervisors.testing import StepHost

JOB = "job"
LINE_LIMIT = 5
"""Requests in the line of an ordered pool, for each of its workers: little more than those take ahead."""


class _Together:
    """Has results told together: a flusher that never comes, and a control lane in which there is something at times.

    Args:
        draw: what all is drawn from.
    """

    def __init__(self, draw: random.Random) -> None:
        self._draw = draw

    def new_lock(self) -> threading.Lock:
        return threading.Lock()

    def watch(self, _tell: Callable[[], None]) -> bool:
        return True

    def __len__(self) -> int:
        return self._draw.random() < 0.2


class CountedLock(BriefLock):
    """A lock that knows how often somebody wanted it. For one thread alone."""

    __slots__ = ("wanted",)

    def __init__(self) -> None:
        super().__init__()
        self.wanted = 0
        acquire = self.try_acquire

        def try_acquire() -> bool:
            self.wanted += 1
            return acquire()

        self.try_acquire = try_acquire  # type: ignore[assignment]  # what it is for others: something to be called
        self.patient = self  # type: ignore[assignment]  # nobody else has it: there is nothing to wait for


class Past(NamedTuple):
    """What a job begins with that another runner has left.

    Args:
        kept: how it is kept.
        restore: puts it into the ledger.
        labels: of the connections, by number.
        is_entry_open: whether it takes messages from outside.
    """

    kept: Kept
    restore: Callable[[Ledger, Clocks], None]
    labels: list[str]
    is_entry_open: bool


class SeededJob:
    """A job whose every step is drawn from a seed.

    Args:
        flow: what to run; routines placed on `process` run on simulated processes.
        seed: of the order, the faults and the jitter.
        faults: what goes wrong with the simulated processes.
        max_request_bytes: the longest request that a simulated process is sent; None for no bound.
        codec: how values are encoded, without a store.
        keeping: how the job is kept; None for a job without a store.
        past: what another runner has left (`go_on`).
        watch: given each routine's plan and service, gives the service that is run.
        wall: seconds since the epoch when it begins.
    """

    def __init__(  # noqa: PLR0913  what a job is made of, spelled out once
        self,
        flow: Flow,
        seed: int | str,
        faults: Faults,
        *,
        max_request_bytes: int | None = None,
        codec: ValueCodec = PICKLED,
        keeping: Keeping | None = None,
        past: Past | None = None,
        watch: Callable[[RoutinePlan, Any], Any] = lambda _plan, service: service,
        wall: float = 0.0,
        stops_on_error: bool = False,
    ) -> None:
        kept = past.kept if past is not None else begin_kept({**(keeping or {}), "job_id": JOB} if keeping else {})
        self.kept = kept
        self.codec = codec if kept is None else kept.codec
        self.host = StepHost(seed)  # type: ignore[arg-type]  # a generator takes text for its seed as well
        self.plan = compile_plan(flow) if past is None else compile_plan(flow, past.labels)
        self._seed = seed
        self._faults = faults
        self._max_request_bytes = max_request_bytes
        self._watch = watch
        self.wall = wall
        self._loops: list[SimulatedLoop] = []
        self.log: list[object] = []
        """Reports of the routines to their supervisor, in order."""
        self.not_kept: list[CheckpointFailedError] = []
        self._lock = CountedLock()
        self._checked_at = -1
        self.ledger = self._make_ledger(past)
        self.finished: Future[JobCut] = Future()
        checkpoints, recorder, self._journal = None, None, None
        if kept is not None:
            self._journal = Journal(kept.store, kept.lease)
            backlog = Backlog()
            checkpoints = Checkpoints(
                self.ledger,
                journal=self._journal,
                backlog=backlog,
                generation=kept.lease.generation,
                number=kept.number,
                every=kept.every,
                pause_points=list(kept.pause_points),
                wall_offset=wall,
                failed=self._note_not_kept,
                taken_over=lambda error: self._tell_root(NotKept(error)),
            )
            topology = image_topology(self.plan, registry.shapes())
            recorder = Recorder(self.plan, kept.custody(topology, wall), self.tell_state, backlog)
        self.checkpoints = checkpoints
        self.recorder = recorder
        self.state_actor = StateActor(self.ledger, wall, self._tell_root, checkpoints)
        self.supervisor = JobSupervisor(
            self.ledger,
            self.state_actor,
            [self._maker(routine) for routine in self.plan.routines],
            self.finished,
            job_id=JOB,
            shutdown=5.0,
            recorder=recorder,
        )
        self.root = self.host.start(self.supervisor, JOB)
        self._stops_on_error = stops_on_error
        if past is not None and not past.is_entry_open:
            self.ledger.close_entry()

    @classmethod
    def go_on(
        cls, flow: Flow, seed: int | str, faults: Faults, store: Store, keeping: Keeping, **options: Any
    ) -> SeededJob:
        """Begin where the newest checkpoint in `store` has the job, as `Flow.resume` does."""
        lease = store.acquire(JOB, this_process(), create=False)
        found = latest(store, JOB)
        image = found.image
        kept = keep_with(store, lease, keeping, image.header.job_created_at)
        adoption = adopt_for(flow, image, Wanted({}, (), {}))
        kept = kept._replace(
            base=image.job.history, number=image.header.number, pause_points=tuple(image.job.pause_points)
        )

        def restore(ledger: Ledger, clocks: Clocks) -> None:
            memos = read_journals(store, JOB, image.job.once)
            ledger.restore(read_books(adoption.image, ledger.plan, clocks, kept.codec), memos)

        past = Past(kept, restore, adoption.labels, image.job.is_entry_open)
        return cls(flow, seed, faults, past=past, **options)

    def send(self, routine_id: str, *, slot: str = ENTRY, **data: Any) -> None:
        """Put a message into a routine's entry, or another slot of it."""
        assert self.try_send(routine_id, slot=slot, **data) is Admission.ADMITTED

    def try_send(self, routine_id: str, *, slot: str = ENTRY, **data: Any) -> Admission:
        """As `send`; tells what became of it."""
        edge = self.plan.entries[routine_id, slot]
        account = self.ledger.accounts[self.plan.edges[edge].target]
        payload: Payload = self.codec.encode(data, "data") if account.takes_bytes else data
        names = self.plan.edges[edge].key
        partition = find_key(data, names, "send") if names else ""
        return self.ledger.admit(edge, payload, at=self.host.now(), partition=partition)

    def tell_state(self, message: object) -> None:
        """Send a command to the state actor."""
        self.supervisor.state_ref.result(timeout=0).signal(message)

    def ask_checkpoint(self, cause: str = "asked") -> Future[CheckpointInfo]:
        """Ask for a checkpoint."""
        reply: Future[CheckpointInfo] = Future()
        self.tell_state(TakeCheckpoint(cause, reply))
        return reply

    def run(self, max_steps: int = 100_000) -> JobCut:
        """Run to the end, checking the books at every step."""
        self.ledger.close_entry()
        try:
            for _ in range(max_steps):
                if not self.host.step():
                    break
                self.check()
            self.host.run(max_steps)
        finally:
            self.close()
        return self.finished.result(timeout=0)

    def check(self) -> None:
        """Check the books, where somebody has had their lock since this was last done: else they are as they were."""
        if self._lock.wanted != self._checked_at:
            self.ledger.check()
            self._checked_at = self._lock.wanted

    def close(self) -> None:
        """Be done with it, whether it has come to its end or its program dies: what handlers still wait for is over."""
        for loop in self._loops:
            loop.drop()

    def run_until(self, is_enough: Callable[[], bool], max_steps: int = 20_000) -> None:
        """Make steps until `is_enough`, checking the books at every one; it has to come to that."""
        for _ in range(max_steps):
            if is_enough():
                return
            assert self.host.step(), "nothing can happen any more"
            self.check()
        raise AssertionError("it did not come to that")

    def settle(self, seconds: float = 0.0, max_steps: int = 20_000) -> None:
        """Make steps while the clock need not go on, or goes on by `seconds` at most."""
        end = self.host.now() + seconds
        for _ in range(max_steps):
            if not self.host._ready():
                due = min((t for a in self.host._actors if (t := a.next_timer()) is not None), default=None)
                if due is None or due > end:
                    self.host.clock.advance_to(end)
                    return
            if not self.host.step():
                return
            self.check()
        raise AssertionError("it does not settle")

    def state(self, routine_id: str, worker: int = 0) -> Any:
        """The declared state of a routine, as committed."""
        account = self.account(routine_id)
        routine = account.plan.routine
        if account.plan.options.partition_by is not None:
            return decode_states(account.committed[0], self.codec)
        return decode_state(
            account.committed[worker],
            routine.state_type,
            policy=routine.state_policy,
            codec=self.codec,
            at_rest=self.finished.done(),
        )

    def account(self, routine_id: str) -> Any:
        """What a routine holds."""
        for account in self.ledger.accounts:
            if account.plan.id == routine_id:
                return account
        raise KeyError(routine_id)

    def _make_ledger(self, past: Past | None) -> Ledger:
        ledger = Ledger(
            self.plan,
            self._lock,
            on_quiet=lambda: self._tell_root(Quiet()),
            on_facts=lambda: self.tell_state(FactsWait()),
            on_overflow=lambda told: self._tell_root(Overflow(told)),
            on_stopped=lambda: self.tell_state(Stopped()),
            job_id=JOB,
            codec=self.codec,
        )
        for account in ledger.accounts:
            account.committed[:] = begin_states(account.plan.options, account.plan.routine, self.codec)
        for output in ledger.outputs:
            output.keeps_collected = self.kept is not None
        if past is not None:
            past.restore(ledger, Clocks(self.host.now(), self.wall))
        return ledger

    def _codec_for(self, routine: RoutinePlan) -> Any:
        if routine.runs_apart:
            return WireCodec(self.codec)
        return LocalCodec()

    def _kind_of(self, routine: RoutinePlan) -> type[RoutineService]:
        if routine.options.partition_by is not None:
            return KeyedService
        return ConcurrentService if routine.is_async else RoutineService

    def _make_looped(self, routine: RoutinePlan, make_service: Any, listener: Any, ctx: Any) -> LoopPlace:
        loops: list[SimulatedLoop] = []
        draw = random.Random(f"{self._seed}:{routine.id}")
        options = routine.options

        def make_loop(boot: Any) -> SimulatedLoop:
            loop = SimulatedLoop(make_service, boot, draw, ctx.now, start_failure=self._faults.start_failure)
            loops.append(loop)
            self._loops.append(loop)
            return loop

        def act() -> bool:
            acted = [loop for loop in draw.sample(loops, len(loops)) if loop.tick()][:1]
            if acted:
                ctx.mailbox.ring()
            return bool(acted)

        self.host.add_source(act, f"loop {routine.id}")
        account = self.ledger.accounts[routine.index]
        return LoopPlace(
            make_loop,
            listener,
            ctx.now,
            limit=options.concurrency,
            is_ordered=options.has_line,
            timeout=options.timeout,
            warn=lambda *_: None,
            note_abandoned=account.note_abandoned,
        )

    def _make_pool(self, routine: RoutinePlan, make_service: Any, listener: Any, ctx: Any) -> tuple[Any, ScriptedPlace]:
        workers, pools = routine.options.pool, []

        def make(listener: Any) -> ScriptedPlace:
            pool = ScriptedPlace(
                make_service,
                listener,
                random.Random(f"{self._seed}:{routine.id}"),
                workers=workers,
                faults=self._faults,
                clock=ctx.now,
                max_request_bytes=self._max_request_bytes,
                result_type=WireResult,
                results_type=WireResults if self.ledger.accounts[routine.index].takes_blocks else None,
            )
            pools.append(pool)
            return pool

        place: Any
        if routine.options.has_line:
            is_one = routine.options.has_one_line
            place = OrderedPlace(make, listener, workers=workers, limit=LINE_LIMIT * workers, is_one=is_one)
        else:
            place = make(listener)
        return place, pools[0]

    def _make_thread(self, routine: RoutinePlan, make_service: Any, listener: Any, ctx: Any, wait: Any) -> ThreadPlace:
        draw = random.Random(f"{self._seed}:{routine.id}")
        if draw.random() < 0.3:
            return ThreadPlace(make_service, listener, ctx.now, wait)  # tells each result at once
        together: Any = _Together(draw)
        return ThreadPlace(make_service, listener, ctx.now, wait, urgent=together, flusher=together)

    def _tell_root(self, message: object) -> None:
        self.root.signal(message)

    def _note_not_kept(self, error: CheckpointFailedError) -> None:
        self.not_kept.append(error)
        if self._stops_on_error:
            self._tell_root(NotKept(error))

    def _maker(self, routine: RoutinePlan) -> Any:
        account = self.ledger.accounts[routine.index]

        def make_service() -> RoutineService:
            service = self._kind_of(routine)(
                routine.routine,
                routine.id,
                routine.incoming,
                routine.outgoing,
                job_id=JOB,
                atomic=routine.options.atomic,
                retryable=routine.error_handler.retryable_exceptions,
                codec=WireCodec(self.codec) if routine.runs_apart else LocalCodec(),
                values=self.codec,
                clock=self.host.now,
            )
            watched: RoutineService = self._watch(routine, service)
            return watched

        def make_place(listener: Any, ctx: Any, wait: Any) -> Any:
            if routine.is_async:
                return self._make_looped(routine, make_service, listener, ctx)
            if not routine.runs_apart:
                return self._make_thread(routine, make_service, listener, ctx, wait)
            place, pool = self._make_pool(routine, make_service, listener, ctx)

            def act() -> bool:
                # As a poller's callbacks do on threads: whoever was called back looks for work again.
                if not pool.tick():
                    return False
                ctx.mailbox.ring()
                return True

            self.host.add_source(act, f"place {routine.id}")
            return place

        carrier = WireCarrier(routine.outgoing, self.codec) if routine.runs_apart else LocalCarrier()

        def make(report: Callable[[Any], None]) -> RoutineActor:
            def told(message: Any) -> None:
                self.log.append(message)
                report(message)

            return RoutineActor(
                account,
                self.ledger,
                carrier,
                make_place,
                told,
                has_deadlines=routine.runs_apart or routine.is_async,
                journal=self._journal,
            )

        return make
