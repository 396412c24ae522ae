"""The actor that keeps a job: it encodes what was cut and writes it into the store, on a thread of its own.

Owns all writing of one job: its history, its checkpoints, and which old ones are let go. What it is told comes by its
control lane, in the order in which it was sent; so the history is written up to the cut before the checkpoint that says
how far it had come, and the last checkpoint before the end. Never touches the ledger: what it encodes was copied by
reference and never changes.

What cannot be written is told, and kept for the next try where it is history: the job goes on meanwhile.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from typing import NamedTuple

from routilux.books import Books, Versions
from routilux.facts import Commits, Fact, facts_of
from routilux.jobs import imaging
from routilux.jobs.backlog import Backlog
from routilux.jobs.errors import CheckpointFailedError
from routilux.keeping.listing import history_name
from routilux.keeping.retention import Retention
from routilux.keeping.saving import save
from routilux.records.errors import KeptError
from routilux.records.history_log import LogHeader, write_facts, write_log_header
from routilux.records.schema import Header, HistoryPosition, Image, KeptState, PausePoint, Topology
from routilux.routing import Plan, names_of
from routilux.serial.carried import Carried
from routilux.stores.base import Lease, Store
from routilux.stores.errors import FencedError, StoreError
from routilux.version import VERSION
from supervisors.behavior import Behavior, Context
from supervisors.errors import InternalError, ValueDecodingError, ValueEncodingError
from supervisors.messages import Terminate
from supervisors.reasons import Normal
from supervisors.report import reporter

BACKLOG_BYTES = 64 * 1024 * 1024
"""History that waits for a store that does not take it; what is more is lost, and counted (arbitrary)."""

_log = reporter("routilux")


class Custody(NamedTuple):
    """Where and how a job is kept.

    Args:
        store: the store.
        lease: the right to write there.
        codec: of the user's values.
        topology: the flow's shape.
        key: what checkpoints are sealed with; None for no seal.
        keep_last: newest checkpoints kept, beside those of pauses.
        created_at: when the job was made, in seconds since the epoch.
        forked_from: the checkpoint it began with, of another job.
        base: how far the history had come where this runner began; None where it began anew.
        wall_offset: what to add to a clock reading to get seconds since the epoch.
    """

    store: Store
    lease: Lease
    codec: Carried
    topology: Topology
    key: bytes | None
    keep_last: int
    created_at: float
    forked_from: str | None
    base: HistoryPosition | None
    wall_offset: float


class CheckpointInfo(NamedTuple):
    """A checkpoint that is durable.

    Args:
        generation: which runner of the job wrote it.
        number: which checkpoint of the job it is.
        cause: why it was written: `start`, `interval`, `asked`, `pause`, `resume` or `end`.
        at: when the job was cut, in seconds since the epoch.
        messages: messages in it.
        size_bytes: what was written for it.
        cut_seconds, encode_seconds, write_seconds: what it took: with the job's lock held, to become bytes, and to be
            durable.
    """

    generation: int
    number: int
    cause: str
    at: float
    messages: int
    size_bytes: int
    cut_seconds: float
    encode_seconds: float
    write_seconds: float


class KeepFacts(NamedTuple):
    """What happened in the job, in commit order."""

    facts: list[Fact | Commits]


class Save(NamedTuple):
    """A cut of the job is to be kept.

    Args:
        number: the checkpoint's.
        cause: why it is written.
        status: the job's status in it, as a word.
        error: why the job ended badly.
        at: clock reading at the cut.
        cut_seconds: how long the lock was held for it.
        books: what the ledger held.
        pause_points: the newest pauses, oldest first.
        once: how far the log had come of what was done once.
    """

    number: int
    cause: str
    status: str
    error: str | None
    at: float
    cut_seconds: float
    books: Books
    pause_points: list[PausePoint]
    once: HistoryPosition


class Saved(NamedTuple):
    """A checkpoint is durable."""

    info: CheckpointInfo
    versions: Versions


class TakenOver(NamedTuple):
    """Another runner has the job: this one may write nothing more."""

    error: FencedError


class NotSaved(NamedTuple):
    """A checkpoint could not be kept; nothing of it is there, and those before it are.

    Told by the recorder, and to it where a job could not even be cut.
    """

    number: int
    error: CheckpointFailedError


class Recorder(Behavior):
    """Keeps one job.

    Args:
        plan: the compiled flow.
        custody: where and how.
        report: tells the state actor.
        backlog: where it tells what it has written.
    """

    handles_terminate = True

    def __init__(
        self,
        plan: Plan,
        custody: Custody,
        report: Callable[[Saved | NotSaved | TakenOver], None],
        backlog: Backlog,
    ) -> None:
        self._plan = plan
        self._custody = custody
        self._report = report
        self._facts = backlog
        self._log_name = history_name(custody.lease.generation)
        self._backlog = [
            write_log_header(
                LogHeader(
                    generation=custody.lease.generation,
                    base=custody.base,
                    names=names_of(plan),
                    wall_offset=custody.wall_offset,
                )
            )
        ]
        self._lost_facts = 0
        self._length = 0
        self._retention = Retention(custody.store, custody.lease, keep_last=custody.keep_last, key=custody.key)
        self._needs: set[str] = set()
        """What reading the values of users takes that were kept so far, beyond plain data."""
        self._kept: dict[tuple[str, int], KeptState] = {}
        self._is_taken_over = False
        self.last: CheckpointInfo | None = None
        """The newest checkpoint that is durable; to be read by others once this actor has ended."""
        self.unkept: CheckpointFailedError | None = None
        """Why there is no newer one, though one was asked for; as above."""

    def on_message(self, message: object, ctx: Context) -> None:
        """Write what is to be kept."""
        match message:
            case KeepFacts(facts):
                told = list(facts_of(facts))
                self._keep_facts(told)
                self._facts.done(len(told))
            case Save():
                self._save(message)
            case NotSaved(_, error):
                self.unkept = error
            case Terminate():
                ctx.stop(Normal())
            case _:
                raise InternalError(f"the recorder was sent {message!r}")

    def _keep_facts(self, facts: list[Fact]) -> None:
        records = write_facts(facts)
        if sum(map(len, self._backlog)) + len(records) > BACKLOG_BYTES:
            self._lost_facts += len(facts)
        else:
            self._backlog.append(records)
        try:
            self._append(durable=False)
        except FencedError as error:
            self._tell_taken_over(error)
        except StoreError:
            pass  # the next checkpoint tries again, and tells

    def _tell_taken_over(self, error: FencedError) -> None:
        if not self._is_taken_over:
            self._is_taken_over = True
            self._report(TakenOver(error))

    def _append(self, *, durable: bool) -> None:
        if self._backlog or durable:
            custody = self._custody
            data = b"".join(self._backlog)
            self._length = custody.store.append(custody.lease, self._log_name, data, durable=durable)
            self._backlog.clear()
        if self._lost_facts:
            _log.error("job %r: its history lacks %d facts that could not be written", self._job_id, self._lost_facts)
            self._lost_facts = 0

    def _save(self, asked: Save) -> None:
        custody, started = self._custody, time.perf_counter()
        try:
            self._append(durable=True)
            asked.books.check([edge.label for edge in self._plan.edges])
            image = self._make_image(asked)
            encoded_at = time.perf_counter()
            changed = {(state.routine_id, state.worker) for state in image.states}
            unchanged = [state for where, state in self._kept.items() if where not in changed]
            saved = save(custody.store, custody.lease, image, kept=unchanged, key=custody.key)
        except (StoreError, ValueEncodingError, ValueDecodingError, RecursionError, MemoryError) as error:
            failure = CheckpointFailedError(self._job_id, asked.number, str(error))
            failure.__cause__ = error
            self.unkept = failure
            self._report(NotSaved(asked.number, failure))
            if isinstance(error, FencedError):
                self._tell_taken_over(error)
            return
        self.unkept = None
        self._kept = {(state.routine_id, state.worker): state for state in saved.states}
        info = CheckpointInfo(
            generation=custody.lease.generation,
            number=asked.number,
            cause=asked.cause,
            at=asked.at + custody.wall_offset,
            messages=image.header.messages,
            size_bytes=saved.size_bytes,
            cut_seconds=asked.cut_seconds,
            encode_seconds=encoded_at - started,
            write_seconds=time.perf_counter() - encoded_at,
        )
        self.last = info
        self._report(Saved(info, _versions(asked.books)))
        self._prune(saved.name)

    def _prune(self, newest: str) -> None:
        try:
            self._retention.prune(newest)
        except (StoreError, KeptError) as error:
            _log.warning("job %r: old checkpoints could not be let go: %s", self._job_id, error)

    def _make_image(self, asked: Save) -> Image:
        custody, books = self._custody, asked.books
        clocks = imaging.Clocks(asked.at, custody.wall_offset)
        ids = [routine.id for routine in self._plan.routines]
        python = ".".join(platform.python_version_tuple()[:2])
        held = list(zip(ids, books.accounts, strict=True))
        routines = [imaging.image_routine(id_, account, clocks, custody.codec) for id_, account in held]
        states = [state for id_, account in held for state in imaging.image_states(id_, account, custody.codec)]
        position = HistoryPosition(custody.lease.generation, self._length)
        job = imaging.image_job(books, self._plan, asked.pause_points, position, asked.once, clocks, custody.codec)
        if custody.codec.allow_pickle:
            self._needs |= imaging.find_needs(job, routines, states)
        header = Header(
            job_id=self._job_id,
            flow_id=self._plan.flow_id,
            generation=custody.lease.generation,
            number=asked.number,
            status=asked.status,
            error=asked.error,
            cause=asked.cause,
            job_created_at=custody.created_at,
            created_at=asked.at + custody.wall_offset,
            forked_from=custody.forked_from,
            python=python,
            version=VERSION,
            needs=sorted(self._needs),
            routines=[imaging.summarize_routine(id_, account) for id_, account in held],
            messages=sum(imaging.count_messages(account) for account in books.accounts),
        )
        return Image(
            header,
            custody.topology,
            job,
            routines,
            states,
        )

    @property
    def _job_id(self) -> str:
        return self._custody.lease.job_id


def _versions(books: Books) -> Versions:
    return {
        (index, worker): version
        for index, account in enumerate(books.accounts)
        for worker, version in enumerate(account.versions)
    }
