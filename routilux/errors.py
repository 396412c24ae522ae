"""The errors of `routilux`: one tree, and its branches say whose fault it is.

    RoutiluxError
    ├── CallerError                         the program that builds or runs the flow
    │   ├── WiringError (ValueError)        a flow or routine is put together wrong
    │   │   ├── InvalidNameError            an id or name that cannot be one
    │   │   ├── DuplicateRoutineError       UnknownRoutineError
    │   │   ├── DuplicateSlotError          UnknownSlotError
    │   │   ├── DuplicateEventError         UnknownEventError
    │   │   ├── DuplicateConnectionError    DuplicateOutputError    UnknownOutputError
    │   │   ├── MappingError                a parameter mapping that cannot work
    │   │   ├── OptionError                 an option that does not exist, or not with this value
    │   │   ├── HandlerError                a handler that cannot be called with a message
    │   │   ├── EntryError                  a routine without an entry was to be one
    │   │   └── FlowCheckError              all problems of a flow at once; `problems` lists them
    │   ├── MissingExtraError (ImportError) a library that an extra installs is not there
    │   ├── NotPortableError (TypeError)    a routine that cannot travel to its workers; `path` names the part
    │   └── MomentError (RuntimeError)      the right call at the wrong moment
    │       ├── NotInitializedError         a routine whose `__init__` did not call `super().__init__()`
    │       ├── OutsideTurnError            asked for what exists only while a handler runs
    │       │   └── EmitOutsideTurnError    `emit` outside a turn of that routine
    │       ├── WaitInsideHandlerError      a handler waits for its own job
    │       ├── FlowRunningError            a flow is changed while a job of it runs
    │       ├── ConfigInUseError            a routine's configuration is changed while a job has it
    │       ├── RoutineInUseError           a routine object runs in a job of another flow
    │       ├── ForkedJobError              a job is used in a forked copy of its program
    │       ├── JobAtImportError            a job is started while a worker or a command only loads code
    │       ├── JobEndedError               the job takes nothing more
    │       ├── NotADeadLetterError         what was to be redelivered is no dead letter of the job, or none any more
    │       └── RoutineSkippedError         the routine is skipped for the rest of the job
    ├── RoutineCodeError                    code of a routine, while it handles a message
    │   ├── SlotArgumentError (ValueError)  the data lacks what the handler needs
    │   ├── StateError (ValueError)         a declared state that cannot be one
    │   ├── StatError (ValueError)          a stat that cannot be one
    │   ├── OnceError (ValueError)          `once` used as it cannot be
    │   ├── ResultError (ValueError)        what a handler or a merge function gave, and cannot
    │   ├── PartitionKeyError (ValueError)  a message without the key that its receiver goes by, or one that is no key
    │   └── JoinError (ValueError)          messages that cannot be handled together, or whose partner never came
    ├── JobTimeoutError (TimeoutError)      the world: a job was waited for, and has not come so far in time
    └── TransitionError (InternalError)     our own: a change of status that is not in the table

What ends a message or a job is no exception to whoever runs the flow, but told by its `JobState`: the
error and the history of a routine, the dead letters, the job's own `error`. There a death (`Crashed`,
`DeadlineExceeded`, see `supervisors.reasons`) stands beside what a handler raised, in the same words.

`InternalError`, a state the code holds to be impossible, is the one of `supervisors.errors`. All
errors pickle, with everything they carry, since they come from child processes too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from routilux.hints import describe_names, did_you_mean, list_names
from supervisors.errors import InternalError, restore_error

__all__ = [
    "CallerError",
    "ConfigInUseError",
    "DuplicateConnectionError",
    "DuplicateEventError",
    "DuplicateOutputError",
    "DuplicateRoutineError",
    "DuplicateSlotError",
    "EmitOutsideTurnError",
    "EntryError",
    "FlowCheckError",
    "FlowRunningError",
    "ForkedJobError",
    "HandlerError",
    "InternalError",
    "InvalidNameError",
    "JobAtImportError",
    "JobEndedError",
    "JobTimeoutError",
    "JoinError",
    "MappingError",
    "MomentError",
    "NotADeadLetterError",
    "NotInitializedError",
    "NotPortableError",
    "OnceError",
    "OptionError",
    "OutsideTurnError",
    "PartitionKeyError",
    "ResultError",
    "RoutiluxError",
    "RoutineCodeError",
    "RoutineInUseError",
    "RoutineSkippedError",
    "SlotArgumentError",
    "StatError",
    "StateError",
    "TransitionError",
    "UnknownEventError",
    "UnknownOutputError",
    "UnknownRoutineError",
    "UnknownSlotError",
    "WaitInsideHandlerError",
    "WiringError",
]


class RoutiluxError(Exception):
    """Base of all errors of this package."""

    def __reduce__(self) -> tuple[Any, ...]:
        # As of a SupervisorsError.
        return restore_error, (type(self), self.args, dict(self.__dict__))


# ---- the caller


class CallerError(RoutiluxError):
    """The program that builds or runs the flow asked for something that cannot be."""


class WiringError(CallerError, ValueError):
    """A flow or a routine is put together wrong."""


class InvalidNameError(WiringError):
    """An id or a name that cannot be one."""


class DuplicateRoutineError(WiringError):
    """A routine id, or a routine object, is in the flow already."""


class UnknownRoutineError(WiringError):
    """The flow has no routine of that id.

    Args:
        routine_id: what was asked for.
        existing: the ids there are.
        where: what asked for it, such as `connect(source_id=...)`; empty to leave it out.
    """

    def __init__(self, routine_id: object, existing: Iterable[str], where: str = "") -> None:
        self.routine_id = routine_id
        prefix = f"{where}: " if where else ""
        known = describe_names(routine_id, existing, "its routines are", "it has no routines yet")
        super().__init__(f"{prefix}the flow has no routine {routine_id!r}; {known}")


class DuplicateSlotError(WiringError):
    """The routine has a slot of that name already."""


class UnknownSlotError(WiringError):
    """The routine has no slot of that name.

    Args:
        slot: what was asked for.
        routine: whose slot, as people call it: a routine id or a class name.
        existing: the slots there are.
    """

    def __init__(self, slot: object, routine: str, existing: Iterable[str]) -> None:
        self.slot = slot
        self.routine = routine
        known = describe_names(slot, existing, "its slots are", "it defines no slots")
        super().__init__(f"routine {routine!r} has no slot {slot!r}; {known}")


class DuplicateEventError(WiringError):
    """The routine has an event of that name already."""


class UnknownEventError(WiringError):
    """The routine has no event of that name.

    Args:
        event: what was asked for.
        routine: whose event, as people call it: a routine id or a class name.
        existing: the events there are.
    """

    def __init__(self, event: object, routine: str, existing: Iterable[str]) -> None:
        self.event = event
        self.routine = routine
        known = describe_names(event, existing, "its events are", "it defines no events")
        super().__init__(f"routine {routine!r} has no event {event!r}; {known}")


class DuplicateConnectionError(WiringError):
    """The very same connection is in the flow already."""


class DuplicateOutputError(WiringError):
    """The event is declared as an output already."""


class UnknownOutputError(WiringError):
    """No declared output fits.

    Args:
        wanted: what was asked for, such as `parse.parsed` or `*.parsed`.
        existing: the declared outputs, in the same form.
    """

    def __init__(self, wanted: str, existing: Iterable[str]) -> None:
        known = describe_names(wanted, existing, "declared are", "none is declared (see Flow.output)")
        super().__init__(f"the flow has no declared output {wanted!r}; {known}")


class MappingError(WiringError):
    """A parameter mapping names what the event or the handler does not have."""


class OptionError(WiringError):
    """An option does not exist, or cannot have this value."""


class HandlerError(WiringError):
    """A handler is missing, or cannot be called with a message."""


class EntryError(WiringError):
    """A routine was to be the entry and has neither a slot `trigger` nor a `__call__`."""


class Trouble(Protocol):
    """A problem as an error carries it; see `routilux.model.check.Problem`."""

    @property
    def severity(self) -> str:
        """`error` or `warning`."""


class FlowCheckError(WiringError):
    """The flow cannot run as it is.

    Args:
        flow_id: which flow.
        problems: everything that was found, in the order in which it is told; not empty.
    """

    def __init__(self, flow_id: str, problems: Sequence[Trouble]) -> None:
        self.flow_id = flow_id
        self.problems = tuple(problems)
        lines = "".join(f"\n  {problem}" for problem in self.problems)
        count = len(self.problems)
        super().__init__(f"flow {flow_id!r} has {count} problem{'s' if count != 1 else ''}:{lines}")


class MissingExtraError(CallerError, ImportError):
    """A library that an extra installs is not there, or is none that this package knows.

    Args:
        what: what needs it, and which one that is.
        extra: the extra's name.
    """

    def __init__(self, what: str, extra: str) -> None:
        self.what, self.extra = what, extra
        super().__init__(f"{what}: pip install 'routilux[{extra}]'")

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.what, self.extra)


class NotPortableError(CallerError, TypeError):
    """A routine cannot travel to its workers: to child processes, or to Ray.

    Args:
        routine_id: which routine.
        path: the part that cannot be carried, such as `routine.connection`.
        detail: what is wrong with it.
    """

    def __init__(self, routine_id: str, path: str, detail: str) -> None:
        self.routine_id = routine_id
        self.path = path
        super().__init__(
            f"routine {routine_id!r} runs apart from the program but cannot travel to its worker: {detail}; "
            f"make {path} inside the handler, or use placement='thread'"
        )


class MomentError(CallerError, RuntimeError):
    """The right call at the wrong moment."""


class NotInitializedError(MomentError):
    """A routine's own `__init__` did not call `super().__init__()` first.

    Args:
        class_name: the routine's class.
    """

    def __init__(self, class_name: str) -> None:
        super().__init__(
            f"{class_name}.__init__ must call super().__init__() before anything else of the routine is used"
        )


class OutsideTurnError(MomentError):
    """Something was asked for that exists only while a handler of that routine runs."""


class EmitOutsideTurnError(OutsideTurnError):
    """`emit` was called where no turn of that routine runs: its event would belong to no message.

    Args:
        routine: the routine's class or id.
        event: what was to be emitted.
        found: what runs instead, such as `no turn`.
    """

    def __init__(self, routine: str, event: object, found: str) -> None:
        self.routine = routine
        self.event = event
        super().__init__(
            f"{routine}.emit({event!r}) works inside a handler of that routine, on the handler's own thread; "
            f"here {found}"
        )


class WaitInsideHandlerError(MomentError):
    """A handler waits for the job that it is itself a part of: neither would ever go on.

    Args:
        job_id: which job.
        routine_id: whose handler it is; None: none's, but a log handler or the like on a thread of the job.
        attempted: what was tried, such as `job.wait()`.
        instead: what to do.
    """

    def __init__(self, job_id: str, routine_id: str | None, attempted: str, instead: str) -> None:
        self.job_id = job_id
        self.routine_id = routine_id
        self.attempted = attempted
        where, what = (
            ("on a thread of that job (in a log handler?)", "thread")
            if routine_id is None
            else (f"in a handler of routine {routine_id!r}", "handler")
        )
        super().__init__(f"{attempted} {where} waits for job {job_id!r}, which waits for that {what}; {instead}")


class FlowRunningError(MomentError):
    """A flow was to be changed while a job of it runs.

    Args:
        flow_id: which flow.
        job_ids: its jobs that run; not empty.
        attempted: what was tried, such as `connect`.
    """

    def __init__(self, flow_id: str, job_ids: Sequence[str], attempted: str) -> None:
        self.flow_id = flow_id
        self.job_ids = tuple(job_ids)
        many = len(self.job_ids) > 1
        super().__init__(
            f"flow {flow_id!r} cannot be changed ({attempted}) while job{'s' if many else ''} "
            f"{list_names(self.job_ids)} of it run{'' if many else 's'}; change it before the start or after the end "
            f"(job.wait()), or build another flow"
        )


class ConfigInUseError(MomentError):
    """A routine's configuration was to be changed while a job has the routine, or in one of its handlers.

    Args:
        class_name: the routine's class.
        job_ids: the jobs that have it; not empty.
    """

    def __init__(self, class_name: str, job_ids: Sequence[str]) -> None:
        self.class_name = class_name
        self.job_ids = tuple(job_ids)
        super().__init__(
            f"the configuration of a {class_name} is read-only while job{'s' if len(self.job_ids) > 1 else ''} "
            f"{list_names(self.job_ids)} {'have' if len(self.job_ids) > 1 else 'has'} it: a worker would not hear of "
            f"the change; set it before the start, or keep what changes in self.state"
        )


class RoutineInUseError(MomentError):
    """A job needs a routine object that runs, on a thread, in a job of another flow.

    Args:
        routine_id: the routine's id in the flow that was to be started.
        flow_id: that flow.
        other_routine_id: its id where it runs.
        other_flow_id: the flow whose job runs it.
        job_id: that job.
    """

    def __init__(self, routine_id: str, flow_id: str, other_routine_id: str, other_flow_id: str, job_id: str) -> None:
        self.routine_id = routine_id
        self.flow_id = flow_id
        self.job_id = job_id
        super().__init__(
            f"routine {routine_id!r} of flow {flow_id!r} is the very object that runs as {other_routine_id!r} in job "
            f"{job_id!r} of flow {other_flow_id!r}; wait for that job's end, give each flow an object of its own, or "
            f"use placement='process', which runs a copy"
        )


class ForkedJobError(MomentError):
    """A job was used in a forked copy of its program, where nothing of it runs.

    Args:
        job_id: which job.
        pid: the process it runs in.
    """

    def __init__(self, job_id: str, pid: int) -> None:
        self.job_id = job_id
        self.pid = pid
        super().__init__(
            f"job {job_id!r} runs in process {pid}, this is a copy of it made by fork: it can be used there alone; "
            f"a job that is started here runs here"
        )


class JobAtImportError(MomentError):
    """A job was started while a worker process makes what it runs, or a command loads a flow.

    Args:
        module: the module that starts it where it is imported; None: a function does, such as one that gives a flow.
        file: where it is started.
        line: its line there.
    """

    def __init__(self, module: str | None, file: str, line: int) -> None:
        self.module = module
        self.file = file
        self.line = line
        if module is None:
            super().__init__(
                f"a job is started at {file}, line {line}, while that code is only loaded, by a command or a worker: "
                f"start it in a handler, or where the program runs"
            )
            return
        super().__init__(
            f"module {module!r} starts a job where it is imported ({file}, line {line}): put that under "
            f'`if __name__ == "__main__":`, because workers import the module too'
        )


class JobEndedError(MomentError):
    """The job has ended, or its entry was closed: it takes nothing more.

    Args:
        job_id: which job.
        status: its status word.
        attempted: what was tried, such as `send to 'parse.source'`.
    """

    def __init__(self, job_id: str, status: str, attempted: str) -> None:
        self.job_id = job_id
        self.status = status
        super().__init__(f"job {job_id!r} is {status} and takes nothing more: {attempted} was refused")


class NotADeadLetterError(MomentError):
    """What was to be redelivered is no dead letter of the job, or none any more.

    Args:
        given: what was given, such as `message 3-17 of routine 'parse'`.
        why: what may be the cause.
    """

    def __init__(
        self, given: str, why: str = "it was redelivered already, was let go as one of too many, or is another job's"
    ) -> None:
        super().__init__(f"{given} is not among the dead letters of the job: {why}")


class RoutineSkippedError(MomentError):
    """The routine is skipped for the rest of the job: it takes no message any more.

    Args:
        routine_id: which routine.
    """

    def __init__(self, routine_id: str) -> None:
        self.routine_id = routine_id
        super().__init__(f"routine {routine_id!r} is skipped for the rest of the job: it takes no message any more")


# ---- the routine's code


class RoutineCodeError(RoutiluxError):
    """Code of a routine did what it cannot, while it handled a message."""


class SlotArgumentError(RoutineCodeError, ValueError):
    """The data of a message lacks a parameter that the handler requires.

    Whoever knows more about the place adds it with `located`; the text is made when it is read.

    Args:
        missing: required parameters that did not come.
        expected: all parameters of the handler.
        got: the names that came.
    """

    def __init__(self, missing: Iterable[str], expected: Iterable[str], got: Iterable[str]) -> None:
        self.missing = tuple(missing)
        self.expected = tuple(expected)
        self.got = tuple(str(name) for name in got)
        self.slot: str | None = None
        self.routine_id: str | None = None
        self.connection: str | None = None
        super().__init__()

    def located(
        self, *, slot: str | None = None, routine_id: str | None = None, connection: str | None = None
    ) -> SlotArgumentError:
        """Note where it happened, without forgetting what is known, and give the same error."""
        self.slot = slot if slot is not None else self.slot
        self.routine_id = routine_id if routine_id is not None else self.routine_id
        self.connection = connection if connection is not None else self.connection
        return self

    def __str__(self) -> str:
        subject = f"slot {self.slot!r}" if self.slot is not None else "the handler"
        if self.routine_id is not None:
            subject += f" of routine {self.routine_id!r}"
        where = f" (connection {self.connection})" if self.connection else ""
        got = list_names(self.got) if self.got else "no parameters"
        text = f"{subject} expected {list_names(self.missing)}, got {got}{where}"
        # Only names that are nobody's already can be what was meant.
        spare = [name for name in self.got if name not in self.expected]
        return text + "".join(did_you_mean(name, spare) for name in self.missing[:1])


class StateError(RoutineCodeError, ValueError):
    """A routine's declared state cannot be what it was set to."""


class StatError(RoutineCodeError, ValueError):
    """A routine's stat has a name that cannot be one, or is set to what is no number."""


class OnceError(RoutineCodeError, ValueError):
    """`once` was given a key that cannot be one, within itself, or a function that does more than give a result."""


class ResultError(RoutineCodeError, ValueError):
    """What a handler returned or yielded, or a slot's merge function gave, is nothing that can be used."""


# ---- the world


class PartitionKeyError(RoutineCodeError, ValueError):
    """A message for a routine with `partition_by` lacks that parameter, or what it has there cannot be a key."""


class JoinError(RoutineCodeError, ValueError):
    """Messages that a slot takes together cannot be: they have a parameter in common, or one of them never came."""


class JobTimeoutError(RoutiluxError, TimeoutError):
    """The job was waited for, for its end or for room, longer than was allowed; it goes on.

    Args:
        job_id: which job.
        seconds: how long it was waited for.
        status: its status word.
    """

    def __init__(self, job_id: str, seconds: float, status: str) -> None:
        self.job_id = job_id
        self.seconds = seconds
        self.status = status
        super().__init__(f"job {job_id!r} is still {status} after {seconds:g} s")


# ---- ourselves


class TransitionError(RoutiluxError, InternalError):
    """A change of status that is not in the table.

    Args:
        subject: whose status, such as `job 'x'`.
        before: the status it has.
        after: the status it was to get.
        allowed: what could follow.
    """

    def __init__(self, subject: str, before: str, after: str, allowed: Iterable[str]) -> None:
        self.before = before
        self.after = after
        follow = list_names(tuple(allowed)) or "nothing"
        super().__init__(f"{subject} cannot go from {str(before)!r} to {str(after)!r}; what can follow is {follow}")
