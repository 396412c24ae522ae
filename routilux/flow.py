"""`Flow`: a graph of routines that can be run."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, Self, Unpack

from routilux import flowfile, runtime, stores
from routilux.errors import EntryError, FlowRunningError, UnknownRoutineError
from routilux.model.graph import FlowGraph
from routilux.model.options import checked_shared_memory_limit, checked_shutdown
from routilux.model.routine import Routine
from routilux.runtime.running import running
from routilux.serial.naming import Naming, built_in
from routilux.serial.plain_writer import AsItIs
from routilux.serial.registry import default

if TYPE_CHECKING:  # the rest is loaded when it is needed
    from routilux.jobs.state import JobState
    from routilux.runtime.job import Job
    from routilux.runtime.keeping import Keeping, ResumeKeeping
    from routilux.stores.base import Store
    from routilux.stores.memory import MemoryStore

SHUTDOWN_SECONDS = 5.0
"""What turns in hand get when a job ends early (OTP's default for a worker's shutdown)."""


@built_in.register("routilux.Flow")
class Flow(FlowGraph):
    """Routines wired by connections; run as often as you like, also at the same time.

    A flow holds no live resources: each run is a `Job` of its own, and two jobs of one flow share
    nothing but the routine objects themselves (their plain attributes, on threads). While a job of it
    runs, a flow cannot be changed (`FlowRunningError`), and what runs on threads cannot be started by another
    flow (`RoutineInUseError`), but for functions, which may be anywhere.

    Written as plain data (`serialize`) while jobs of it are paused, a flow has these with it; read again, it has them
    in `paused_jobs`.

    Args:
        flow_id: its name; made up when None.
    """

    _own_attributes = FlowGraph._own_attributes | {"_paused_jobs"}  # noqa: SLF001  its base's

    def __init__(self, flow_id: str | None = None) -> None:
        super().__init__(flow_id)
        self._paused_jobs: MemoryStore | None = None

    def _repr_html_(self) -> str:
        """Give the flow as a picture, for notebooks."""
        from routilux.drawing.display import show_flow  # noqa: PLC0415  nobody else pays for it

        return show_flow(self)

    @property
    def paused_jobs(self) -> Store | None:
        """The jobs that were paused when the flow was written of which this one was read; None for none.

        `Flow.resume(flow.paused_jobs, job_id, flow=flow)` goes on with one. It is kept in memory from there on.
        """
        return self._paused_jobs

    def execute(
        self,
        entry_routine_id: str | None = None,
        entry_params: dict[str, Any] | None = None,
        *,
        shutdown: float = SHUTDOWN_SECONDS,
        shared_memory_limit: int | None = None,
        takes_commands: bool | None = None,
        **keeping: Unpack[Keeping],
    ) -> JobState:
        """Run the flow and wait until everything is handled.

        Results of declared outputs are collected into the state's `outputs`.

        Args:
            entry_routine_id: the routine that gets the first message, at its slot `trigger` if it
                has one, else at its `__call__`; None for the only one that has an entry and is fed by nobody, or where
                each is fed, as in a circle, for the only one that has an entry.
            entry_params: that message's parameters; none when None.
            shutdown: seconds that turns in hand get if the job ends early.
            shared_memory_limit: bytes of memory, at most, that the job shares with its workers, for large arrays; None
                for a quarter of what this program may use. While there is no room, what would take some waits.
            takes_commands: whether other programs of the same user on this machine may look at the job and tell it what
                to do (`routilux ps`, `pause`, `tap` and so on), over a socket that is a file; None: if it has a store
                in which they find it.
            keeping: where and how the job is kept, as for `start`.

        Returns:
            The job's final state, whatever its status: look at `status` and `error`.

        Raises:
            FlowCheckError: the flow cannot be run; it lists all that is wrong.
            UnknownRoutineError: there is no such entry.
            EntryError: that routine has neither a slot `trigger` nor a `__call__`.
            MissingExtraError: a routine is placed on Ray, which is not installed.
            ValueEncodingError: the parameters cannot be carried to the entry's process.
            RoutineInUseError: a routine object runs on a thread for a job of another flow.
            OptionError: `shutdown`, `entry_params` or an option cannot be that.
            JobAtImportError: a worker process, or a command, is only loading the code that starts it.
            KeyboardInterrupt, SystemExit: Ctrl-C, or SIGTERM or SIGHUP for a job with a store. The job has ended:
                cancelled, or with a store paused, and a note of the error says how to resume it. A second one cuts
                `shutdown` short.
            As `start`, for a job with a store.
        """
        started: list[Job] = []
        with runtime.ending_on_signals(is_wanted=keeping.get("store") is not None):
            try:
                job = self._start(
                    entry_routine_id,
                    entry_params or {},
                    started.append,
                    keeping,
                    keep_open=False,
                    shutdown=shutdown,
                    shared_memory_limit=shared_memory_limit,
                    takes_commands=takes_commands,
                )
                job.collect()
                return job.wait()
            except BaseException as error:
                # Ctrl-C while waiting: the caller gets its prompt back with nothing left running.
                for job in started:
                    job.end_early("interrupted")
                    runtime.note_resume(error, job)
                raise

    def start(
        self,
        entry_routine_id: str | None = None,
        entry_params: dict[str, Any] | None = None,
        *,
        keep_open: bool = False,
        shutdown: float = SHUTDOWN_SECONDS,
        shared_memory_limit: int | None = None,
        takes_commands: bool | None = None,
        **keeping: Unpack[Keeping],
    ) -> Job:
        """Start a job and return at once; with a store, once its first checkpoint is durable.

        Args:
            entry_routine_id: as for `execute`; with `keep_open`, None sends no first message.
            entry_params: that message's parameters.
            keep_open: go on taking messages by `Job.send` until `Job.close_entry`.
            shutdown: seconds that turns in hand get if the job ends early.
            shared_memory_limit: as for `execute`.
            takes_commands: as for `execute`.
            keeping: where and how the job is kept, to be resumed: see `Keeping`. With a `store`, all values that are
                emitted and all declared state must be such that can be kept (`routilux.register`).

        Raises:
            As `execute`; and for a job with a store:
            JobExistsError: there is a job of that id.
            JobOwnedError: somebody runs it.
            StoreWriteError, CheckpointFailedError: the store could not be written.
        """
        return self._start(
            entry_routine_id,
            entry_params or {},
            lambda _: None,
            keeping,
            keep_open=keep_open,
            shutdown=shutdown,
            shared_memory_limit=shared_memory_limit,
            takes_commands=takes_commands,
        )

    @staticmethod
    def resume(
        store: Store | str | os.PathLike[str],
        job_id: str,
        *,
        flow: Flow,
        rename: Mapping[str, str] | None = None,
        drop: Collection[str] = (),
        migrate: Mapping[str, Callable[[Any], Any]] | None = None,
        shutdown: float = SHUTDOWN_SECONDS,
        shared_memory_limit: int | None = None,
        **keeping: Unpack[ResumeKeeping],
    ) -> Job:
        """Go on with a job that was paused, that failed, or whose program ended in any way.

        Each routine goes on with its committed state, each message that was not handled is still there, and none that
        was is handled again in effect. What ran after the newest checkpoint when the program was killed runs again.

        Args:
            store: where the job is kept.
            job_id: the job.
            flow: the flow; it may have changed. Its new routines begin with nothing.
            rename: old names to new ones: `"parse"` for a routine, `"parse.source"` for a slot or event of it.
            drop: what is let go, by its new name where it has one: a routine's id, a connection's label,
                `"parse.state"` for a declared state, `"parse.source"` for what a slot has gathered, `"parse.parsed"`
                for the results of an output. The error that refuses a resume says which.
            migrate: for routines whose declared state is of another kind now, what makes the new one of the old one.
            shutdown: seconds that turns in hand get if the job ends early.
            shared_memory_limit: as for `execute`.
            keeping: how it is kept from now on, as for `start`.

        Raises:
            UnknownJobError, NoCheckpointError: there is no such job, or nothing of it that can be read.
            JobOwnedError: somebody runs it; the error says who.
            NotResumableError: it is completed, or cancelled; `Flow.fork` makes a new job of it.
            ResumeRefusedError: the flow is another one, and something would be lost; or values need `allow_pickle` or
                another Python; or one of these names means nothing. It lists all, and what to do about each.
            UnsupportedFormatError, SealError: its checkpoint is of a newer version, or does not go with `key`.
            ValueReadingError: a value in it cannot be read here.
            StateError: what `migrate` gave is no state of that routine; what it raises passes.
            FlowCheckError, MissingExtraError, NotPortableError, RoutineInUseError, JobAtImportError: as `start`.
        """
        runtime.refuse_while_loading()
        runtime.give_head_start(flow.options.values())
        wanted = runtime.Wanted(rename or {}, drop, migrate or {})
        options: Keeping = {**keeping}  # type: ignore[typeddict-item]  # without where it is, which is told apart
        return runtime.resume_job(
            flow,
            stores.open_store(store),
            job_id,
            options,
            wanted,
            lambda _: None,
            shutdown=checked_shutdown(shutdown),
            memory_limit=checked_shared_memory_limit(shared_memory_limit),
        )

    @staticmethod
    def fork(
        store: Store | str | os.PathLike[str],
        job_id: str,
        new_id: str,
        *,
        checkpoint: tuple[int, int] | None = None,
        key: bytes | None = None,
    ) -> str:
        """Make a new, paused job of what a kept checkpoint of another holds; `resume` goes on with it.

        The other job may be running, or over; nothing of it is changed, and the new one does not need it any more.

        Args:
            store: where the job is kept.
            job_id: the job.
            new_id: the new job's id.
            checkpoint: generation and number of the checkpoint; None for the newest good one.
            key: what its checkpoints are sealed with.

        Returns:
            What it was made of, such as `nightly/1-12`.

        Raises:
            UnknownJobError, MissingObjectError, NoCheckpointError: there is no such job, or checkpoint.
            JobExistsError: there is a job of the new id.
            KeptError: the checkpoint cannot be read.
            StoreWriteError: the store did not take the new one.
        """
        return runtime.fork_job(stores.open_store(store), job_id, new_id, checkpoint, key=key)

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], *, allow_modules: Collection[str] = ()) -> Self:
        """Make a flow of a file that somebody has written: TOML, YAML or JSON, by its ending.

        Args:
            path: the file.
            allow_modules: modules, and packages with all in them, whose routines it may use as `module:name`, beside
                those that are registered (`register_serializable`). They are imported, and that runs their code.

        Raises:
            FlowFileError: it describes no flow; the error says where in the file, and what is wrong.
            MissingExtraError: YAML takes a library that is not installed; it says which.
            OSError: the file cannot be read.
        """
        content = flowfile.read_content(path)
        return flowfile.fill_flow(cls, content, os.fspath(path), Naming(default, allow_modules))

    def to_file(self, path: str | os.PathLike[str]) -> None:
        """Write the flow into a file for people, in the place of the one there; `from_file` reads it.

        Raises:
            FlowFileError: a part of it cannot be told in a file, such as a routine that was changed after it was made.
            MissingExtraError: TOML and YAML take libraries that are not installed; it says which.
            OSError: the file cannot be written.
        """
        flowfile.write_content(path, flowfile.tell_flow(self, Naming(default)))

    def wait_for(self, job_id: str, timeout: float | None = None) -> bool:
        """Wait until a job is over; True if it is, False if the time ran out; raises as `Job.wait`.

        Args:
            job_id: the job's id; one that does not run here is over.
            timeout: seconds to wait at most; None for no limit.
        """
        job = running.find(job_id)
        if job is None:
            return True
        try:
            job.wait(timeout)
        except TimeoutError:
            return False
        return True

    def _start(
        self,
        entry: str | None,
        params: dict[str, Any],
        hold: Callable[[Job], object],
        keeping: Keeping,
        *,
        keep_open: bool,
        shutdown: float,
        shared_memory_limit: int | None,
        takes_commands: bool | None,
    ) -> Job:
        runtime.refuse_while_loading()
        if entry is None and not keep_open:
            entry = _only_entry(self)
        if entry is not None and entry not in tuple(self.routines):
            raise UnknownRoutineError(entry, self.routines, "entry_routine_id")
        if entry is not None:
            self.routines[entry].entry_slot()
        shutdown = checked_shutdown(shutdown)
        memory_limit = checked_shared_memory_limit(shared_memory_limit)
        runtime.give_head_start(self.options.values())  # ahead of what else of the runtime is loaded now
        runtime.check_flow(self)
        runtime.require_ray(self.options)
        plan = runtime.compile_plan(self)
        kept = runtime.begin_kept(keeping)
        job_id = runtime.make_job_id() if kept is None else kept.lease.job_id
        beginning = runtime.Beginning(plan, job_id, kept, memory_limit=memory_limit, takes_commands=takes_commands)
        return runtime.start_job(self, beginning, runtime.First(entry, params, keep_open), hold, shutdown=shutdown)

    def _take_fields(self) -> dict[str, Any]:
        fields = super()._take_fields()
        jobs = runtime.pack_paused(self, self._paused_jobs)
        return {**fields, "jobs": [AsItIs(job) for job in jobs]} if jobs else fields

    def _fill_fields(self, fields: dict[str, Any]) -> None:
        self._paused_jobs = None
        super()._fill_fields(fields)
        if "jobs" in fields:
            self._paused_jobs = stores.MemoryStore()
            for job in fields["jobs"]:
                runtime.unpack_job(self._paused_jobs, job)

    def _before_change(self, attempted: str) -> None:
        job_ids = running.of(self)
        if job_ids:
            raise FlowRunningError(self.flow_id, job_ids, attempted)


def find_entries(flow: Flow) -> list[str]:
    """Give the ids of the routines that may be meant where nobody says which gets the first message.

    They are those that have an entry, of the ones that are fed by nobody; or of all, where each is fed, as in a circle.
    """
    fed = {link.target_id for link in flow.connections}
    sources = [routine_id for routine_id in flow.routines if routine_id not in fed] or list(flow.routines)
    return [routine_id for routine_id in sources if _has_entry(flow.routines[routine_id])]


def _only_entry(flow: Flow) -> str:
    entries = find_entries(flow)
    if len(entries) != 1:
        raise UnknownRoutineError(None, entries or flow.routines, "entry_routine_id (say which)")
    return entries[0]


def _has_entry(routine: Routine) -> bool:
    try:
        routine.entry_slot()
    except EntryError:
        return False
    return True
