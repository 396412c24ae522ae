"""The world around a seeded job that is kept: a store that fails, an owner who pauses it, a power cut now and then.

Owns what is drawn, and what must hold at every moment of it (`World.check`). One world sees one job through all its
runners: each is begun from what the one before it has left in the store.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sized
from concurrent.futures import Future
from typing import Any, NamedTuple

from routilux.blocks import Block
from routilux.jobs.actor import JobCut
from routilux.jobs.checkpoints import Pause
from routilux.jobs.errors import CheckpointFailedError, PauseInterruptedError, PauseTimeoutError
from routilux.jobs.imaging import Clocks, image_job, image_routine, read_books
from routilux.jobs.machine import JobStatus
from routilux.jobs.recorder import CheckpointInfo
from routilux.keeping.finding import load
from routilux.keeping.listing import checkpoint_name, journal_name, list_checkpoints, list_journals, log_reading
from routilux.messages import parts_of
from routilux.records.log import LogReader
from routilux.records.schema import Image
from routilux.runtime.commands import Leave, PauseJob, Rested, ResumeJob
from routilux.runtime.keeping import Keeping
from routilux.stores.base import Lease
from routilux.stores.errors import StoreWriteError
from routilux.stores.memory import MemoryStore
from supervisors.places.base import Ran, Watch
from supervisors.places.scripted import Faults
from supervisors.testing import ScheduleError
from tests.runtime.seeded import JOB, SeededJob


class PowerCutError(BaseException):
    """The program dies while it writes."""


class DiedError(ScheduleError):
    """The program dies."""


class Odds(NamedTuple):
    """What the world does, as probabilities of each time that its owner is drawn, or of a write."""

    checkpoint: float = 0.05
    pause: float = 0.05
    resume: float = 0.3
    interrupt: float = 0.02
    wait: float = 0.05
    die: float = 0.02
    leave: float = 0.005
    collect: float = 0.1
    fail: float = 0.0
    die_writing: float = 0.0


class DrawnStore(MemoryStore):
    """A store that does not take some writes, and during others the program dies, after all, some or none of it."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__()
        self._rng = rng
        self.fail = self.die = 0.0
        self.is_dead = False
        """Whether the program has died within a call."""
        self.written: list[str] = []
        """Objects that were put, and not looked at yet."""

    def put(self, lease: Lease, name: str, parts: Iterable[bytes]) -> int:
        if self._dies(name):
            if self._rng.random() < 0.5:
                self._put(lease, name, parts)
            raise PowerCutError
        return self._put(lease, name, parts)

    def _put(self, lease: Lease, name: str, parts: Iterable[bytes]) -> int:
        size = super().put(lease, name, parts)
        self.written.append(name)
        return size

    def append(self, lease: Lease, log: str, data: bytes, *, durable: bool) -> int:
        if self._dies(log):
            super().append(lease, log, data[: self._rng.randrange(len(data) + 1)], durable=durable)
            raise PowerCutError
        return super().append(lease, log, data, durable=durable)

    def delete(self, lease: Lease, name: str) -> None:
        if self._dies(name):
            raise PowerCutError
        super().delete(lease, name)

    def _dies(self, name: str) -> bool:
        if self.is_dead:
            raise PowerCutError
        if self._rng.random() < self.die:
            self.is_dead = True
            return True
        if not name.startswith("once") and self._rng.random() < self.fail:
            raise StoreWriteError(name, "it does not take this one")
        return False


class _Watched:
    """A service that tells the world what it begins and when it goes on."""

    def __init__(self, world: World, plan: Any, service: Any) -> None:
        self._world = world
        self._plan = plan
        self._service = service

    def __getattr__(self, name: str) -> Any:
        return getattr(self._service, name)

    def begin(self, request: Any, port: Any) -> Any:
        is_keyed = self._plan.options.partition_by is not None
        self._world.note_begun(self._plan, request.message if is_keyed else request)
        return _WatchedExecution(self._world, self._plan, self._service.begin(request, port), port)

    def begin_batch(self, block: Block, port: Any, now: float) -> Any:
        return _WatchedBatch(self._world, self._plan, block, self._service.begin_batch(block, port, now))


class _WatchedBatch:
    """Runs the messages of a batch one by one, so that each is noted."""

    def __init__(self, world: World, plan: Any, block: Block, batch: Any) -> None:
        self._world = world
        self._plan = plan
        self._block = block
        self._batch = batch
        self._stop = len(block)
        self._is_at_stop = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def take_rest(self, behind: bool) -> tuple[int, Block]:
        self._stop, rest = self._batch.take_rest(behind)
        return self._stop, rest

    def run(self, watch: Watch, urgent: Sized, until: float) -> Ran:
        batch = self._batch
        while True:
            if not self._is_at_stop:
                self._world.note_begun(self._plan, self._block.message(self._block.start + batch.position))
            self._world.note_step(self._plan)
            ran: Ran = batch.run(watch, (), -math.inf)
            self._is_at_stop = ran is Ran.STOPPED
            if ran is not Ran.PLAIN or urgent or batch.since >= until or batch.position >= self._stop:
                return ran


class _WatchedExecution:
    def __init__(self, world: World, plan: Any, execution: Any, port: Any) -> None:
        self._world = world
        self._plan = plan
        self._execution = execution
        self._port = port

    @property
    def result(self) -> Any:
        return self._execution.result

    @property
    def touched(self) -> Any:
        return self._execution.touched

    def advance(self) -> bool:
        self._world.note_step(self._plan)
        done: bool = self._execution.advance()
        return done

    async def run(self) -> None:
        await _WatchedSteps(self.note_step, self._execution.run())

    def note_step(self) -> None:
        if not self._port.is_given_up:  # what was given up comes to its end at any time
            self._world.note_step(self._plan)

    def conclude(self, *, accepted: bool) -> None:
        self._execution.conclude(accepted=accepted)


class _WatchedSteps:
    """Awaits a coroutine, and notes each of its steps."""

    def __init__(self, note: Callable[[], None], work: Coroutine[Any, Any, None]) -> None:
        self._note = note
        self._work = work

    def __await__(self) -> Iterator[Any]:
        error: BaseException | None = None
        while True:
            self._note()
            try:
                awaited = self._work.send(None) if error is None else self._work.throw(error)
            except StopIteration:
                return
            error = None
            try:
                yield awaited
            except GeneratorExit:
                self._work.close()  # its program has died
                raise
            except BaseException as raised:  # noqa: BLE001  it is raised where the coroutine waits
                error = raised


class World:
    """One job's world.

    Args:
        make_flow: makes the flow, anew for each runner.
        seed: what all is drawn from.
        odds: what happens.
        faults: of the simulated processes.
        every: seconds between two checkpoints.
    """

    def __init__(
        self, make_flow: Any, seed: int, odds: Odds, faults: Faults | None = None, every: float | None = None
    ) -> None:
        self.make_flow = make_flow
        self.seed = seed
        self.odds = odds
        self.faults = Faults() if faults is None else faults
        self.rng = random.Random(f"world {seed}")
        self.store = DrawnStore(self.rng)
        self.keeping: Keeping = {"store": self.store, "checkpoint_every": every, "keep_checkpoints": 2}
        self.ids: dict[Any, str] = {}
        """The ids of messages, by their connection and data, which no two of them share."""
        self.begun: dict[Any, int] = {}
        """How often a handler began with each."""
        self.deaths = 0
        self.pauses = {"paused": 0, "timeout": 0, "failed": 0, "interrupted": 0}
        self.collected: list[Any] = []
        self._pausing: list[tuple[Future[CheckpointInfo | None], PauseJob]] = []
        self._rested = (0, frozenset[int]())
        self._logged = 0
        self._wall = 0.0
        self.job: SeededJob

    # -- The runners

    def run(self, sends: list[tuple[str, dict[str, Any]]], max_runners: int = 60) -> JobCut:
        """Run the job to its end, by as many runners as that takes.

        Args:
            sends: what is put in first: (routine, data).
            max_runners: of them; the last ones are spared.
        """
        self._begin(sends)
        return self._run(max_runners)

    def go_on(self, max_runners: int = 60) -> JobCut:
        """Go on with a job that has come to its end, such as one that failed."""
        self._resume()
        return self._run(max_runners)

    def _run(self, max_runners: int) -> JobCut:
        for runner in range(max_runners):
            try:
                cut = self._run_one(spared=runner > max_runners - 10)
            finally:
                self.job.close()
            if cut is not None and cut.status is not JobStatus.PAUSED:
                return cut
            self._resume()
        raise AssertionError(f"seed {self.seed}: not over after {max_runners} runners")

    def _resume(self) -> None:
        self._wall += self.job.host.now()
        self.job.kept.lease.release()  # type: ignore[union-attr]
        self.store.is_dead = False
        self.store.fail = self.store.die = 0.0
        self._go_on(self.job.kept.lease.generation)  # type: ignore[union-attr]

    def _begin(self, sends: list[tuple[str, dict[str, Any]]]) -> None:
        self.job = SeededJob(self.make_flow(), self.seed, self.faults, keeping=self.keeping, watch=self._watch)
        self._watch_begun()
        for routine_id, data in sends:
            self.job.send(routine_id, **data)
        self.job.ledger.close_entry()
        self._start()

    def _go_on(self, runner: int) -> None:
        keeping: Keeping = {**self.keeping}
        del keeping["store"]
        self.job = SeededJob.go_on(
            self.make_flow(),
            f"{self.seed}.{runner}",
            self.faults,
            self.store,
            keeping,
            watch=self._watch,
            wall=self._wall,
        )
        self._watch_begun()
        self._start()

    def _start(self) -> None:
        # As `Flow.start`, which returns when the first checkpoint is durable.
        while not self.job.supervisor.state_ref.done():
            assert self.job.host.step()
        started = self.job.ask_checkpoint("start")
        while not started.done() and not self.job.finished.done():
            assert self.job.host.step()
            self.check()

    def _watch_begun(self) -> None:
        self._rested, self._logged, self._pausing = (0, frozenset()), 0, []

    def _run_one(self, *, spared: bool) -> JobCut | None:
        odds = Odds(die=0.0, leave=0.0) if spared else self.odds
        self.store.fail, self.store.die = odds.fail, odds.die_writing
        host, job = self.job.host, self.job
        # The owner is one of those who are drawn: a handler may wait inside its step for what he does.
        host.add_source(lambda: self._act(odds), "owner")
        try:
            for _ in range(30_000):
                if not host.step():
                    break
                if self.store.is_dead:
                    raise DiedError  # noqa: TRY301  as if out of a step
                self.check()
            else:
                raise AssertionError(self._tell("does not end"))
        except (DiedError, PowerCutError):
            self.deaths += 1
            return None
        assert job.finished.done(), self._tell("stands still")
        cut = job.finished.result()
        for reply, _ in self._pausing:
            assert reply.done() or job.supervisor._ending is not None, self._tell("never answered a pause")
        return cut

    def _act(self, odds: Odds) -> bool:
        job, draw = self.job, self.rng.random
        if job.finished.done():
            return False
        if draw() < odds.die:
            self.store.is_dead = True
            job.host._failure = DiedError()
            return True
        acted = False
        if draw() < odds.checkpoint:
            job.ask_checkpoint()
            acted = True
        if draw() < odds.pause:
            timeout = self.rng.choice([None, 0.0, 0.5])
            policy = self.rng.choice(["abort", "requeue"])
            asked = PauseJob(Pause("drawn", None), timeout, policy, Future())
            asked.reply.add_done_callback(self._note_paused)
            self._pausing.append((asked.reply, asked))
            job.root.signal(asked)
            acted = True
        if draw() < (odds.resume if self._is_paused() else odds.interrupt):
            job.root.signal(ResumeJob(Future()))
            acted = True
        if draw() < odds.wait and job.supervisor._ending is None:
            job.host.clock.advance(self.rng.choice([0.01, 0.1, 1.0]))
            acted = True
        if draw() < odds.leave:
            job.root.signal(Leave("drawn"))
            acted = True
        for output in job.ledger.outputs:
            if draw() < odds.collect:
                job.ledger.collect_output(output)
        # Nobody else would let a paused job go on.
        return acted or self._is_paused()

    def _is_paused(self) -> bool:
        return self.job.state_actor.status is JobStatus.PAUSED

    def _tell(self, what: str) -> str:
        lines = "\n".join(list(self.job.host.trace)[-40:])
        return f"seed {self.seed}, after {self.deaths} deaths: it {what}\n{lines}"

    # -- What must hold

    def check(self) -> None:
        """Check what must hold at every moment."""
        job = self.job
        job.check()
        self._note_rested()
        if self.store.written:
            written, self.store.written = self.store.written, []
            for kept in list_checkpoints(self.store, JOB):
                if kept.name in written:
                    self._check_image(load(self.store, JOB, kept.generation, kept.number))

    def note_begun(self, plan: Any, message: Any) -> None:
        """A handler begins."""
        self.note_step(plan)
        label = self.job.plan.edges[message.edge].label
        payloads = [part.payload for part in parts_of(message)]
        came = [self.job.codec.decode(payload) if isinstance(payload, bytes) else payload for payload in payloads]
        what = (label, repr([sorted(data.items()) for data in came]))
        assert self.ids.setdefault(what, message.id) == message.id, self._tell(f"gave {what} another id")
        self.begun[what] = self.begun.get(what, 0) + 1

    def note_step(self, plan: Any) -> None:
        """A handler begins, or goes on after a stop."""
        self._note_rested()
        number, rested = self._rested
        if number and number == self.job.ledger.hold:
            assert plan.index not in rested, self._tell(f"went on in {plan.id} after that had come to rest")

    def _note_rested(self) -> None:
        job = self.job
        for message in job.log[self._logged :]:
            if isinstance(message, Rested) and message.number == job.ledger.hold:
                number, rested = self._rested
                before = rested if number == message.number else frozenset()
                self._rested = (message.number, before | {message.routine})
        self._logged = len(job.log)

    def _watch(self, plan: Any, service: Any) -> Any:
        return _Watched(self, plan, service)

    def _note_paused(self, reply: Future[CheckpointInfo | None]) -> None:
        job = self.job
        error = reply.exception()
        if error is None:
            self.pauses["paused"] += 1
            info = reply.result()
            assert info is not None
            assert not job.ledger.is_open
            assert job.state_actor.status is JobStatus.PAUSED
            # Durable before it is reported.
            header = load(self.store, JOB, info.generation, info.number).header
            assert (header.status, header.cause) == ("paused", "pause")
            return
        kind = {
            PauseTimeoutError: "timeout",
            CheckpointFailedError: "failed",
            PauseInterruptedError: "interrupted",
        }.get(
            type(error)  # type: ignore[arg-type]
        )
        if kind is not None:
            self.pauses[kind] += 1
            assert job.ledger.is_open or job.ledger.is_ending, self._tell(f"left its gate shut after {error}")

    def _check_image(self, image: Image) -> None:
        job, plan = image.job, self.job.plan
        here = [[0, 0, 0] for _ in job.sent]
        for routine in image.routines:
            for message in routine.left():
                here[message.edge][0] += 1
        for output in job.outputs:
            for message in output.waiting:
                here[message.edge][0] += 1
        for edge, sent in enumerate(job.sent):
            counted = job.handled[edge] + job.dead[edge] + job.skipped[edge] + here[edge][0]
            assert sent == counted, self._tell(
                f"kept {counted} of {sent} messages on {image.topology.edges[edge].label}"
            )
            assert (job.first_at[edge] is None) == (job.last_at[edge] is None) == (sent == 0)
        for routine in image.routines:
            measured = routine.measured
            assert measured is not None
            for sketch in (measured.turns, measured.waits):
                turns = routine.figures["handled"] - routine.figures["merged"]
                told = f"measured {sketch.count} of {turns} turns of {routine.id}"
                assert sketch.count == sum(sketch.buckets.values()) == turns, self._tell(told)
        # There and back again.
        clocks = Clocks(0.0, 0.0)
        books = read_books(image, plan, clocks, self.job.codec)
        codec = self.job.codec
        for routine, account in zip(image.routines, books.accounts, strict=True):
            assert image_routine(routine.id, account, clocks, codec) == routine
        history, once = job.history, job.once
        assert history is not None
        assert once is not None
        assert image_job(books, plan, job.pause_points, history, once, clocks, codec) == job

    def recorded(self) -> dict[tuple[bytes, str], set[bytes]]:
        """All that was ever recorded as done once, by message and key."""
        from routilux.jobs import journal  # noqa: PLC0415  what is private there

        values: dict[tuple[bytes, str], set[bytes]] = {}
        for generation in list_journals(self.store, JOB):
            for entry in LogReader(log_reading(self.store, JOB, journal_name(generation))):
                record = journal._read_record(entry.body, "")
                values.setdefault((record.message, record.key), set()).add(record.value)
        return values

    def newest(self) -> Image:
        """The newest checkpoint."""
        kept = list_checkpoints(self.store, JOB)[0]
        assert kept.name == checkpoint_name(kept.generation, kept.number)
        return load(self.store, JOB, kept.generation, kept.number)
