"""The actor that takes commands for a job from other programs of the same user, and answers them.

Owns the job's door and who stands at it: each visitor brings one command and is given one answer. Decides nothing: what
a command means it asks of the job's supervisor and of the state actor, as the job's owner would, and never waits for
them. What a visitor sends can do no more than close its own connection.

It is the last of the job's actors to end: so those who wait for the job's end are told how it ended.
"""

from __future__ import annotations

import contextlib
import errno
import selectors
import socket
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any, NamedTuple

from routilux.control import frames
from routilux.control.door import Door
from routilux.control.errors import ControlError, ProtocolError
from routilux.control.peers import IS_POSSIBLE, check_peer
from routilux.errors import OptionError
from routilux.jobs.actor import GetCut, JobCut, TakeCheckpoint
from routilux.jobs.checkpoints import Pause
from routilux.jobs.recorder import CheckpointInfo
from routilux.jobs.tracks import track_cut
from routilux.routing import Plan
from routilux.runtime.commands import Cancel, Leave, PauseJob, ResumeJob
from routilux.stores.base import Lease, Store
from routilux.stores.memory import MemoryStore
from routilux.stores.owners import this_process
from supervisors.behavior import Behavior, Context, Ref
from supervisors.errors import InternalError
from supervisors.messages import Terminate
from supervisors.parking import Poller
from supervisors.places.process.reap import read_usage
from supervisors.reasons import Normal, Reason
from supervisors.report import reporter

VISITORS = 32
"""Visitors at a time; further ones wait to be let in (arbitrary: a person has few terminals)."""
COMMAND_SECONDS = 10.0
"""What a visitor gets to say what it wants (arbitrary)."""
FULL_SECONDS = 0.25
"""How long the door is left alone when the program has no descriptor left for who stands at it (arbitrary)."""
ON_TIMEOUT = ("abort", "requeue")
"""What may follow when a job does not come to rest in time."""

_NO_ROOM = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_READ_BYTES = 64 * 1024
_log = reporter("routilux")


class Told(NamedTuple):
    """What tells the job's actors, and how the job stands.

    Args:
        plan: the compiled flow.
        root: sends a message to the job's supervisor.
        state: sends one to the state actor.
        outcome: gives the job's status word and error; any thread may call it.
    """

    plan: Plan
    root: Callable[[Any], None]
    state: Callable[[Any], None]
    outcome: Callable[[], tuple[str, str | None]]


class _Came(NamedTuple):
    """A visitor has come."""

    number: int


class _Full(NamedTuple):
    """There is no descriptor left for a visitor."""


class _Again(NamedTuple):
    """There may be one again."""


class _Overdue(NamedTuple):
    """A visitor has had its time to say what it wants."""

    number: int


class _Answered(NamedTuple):
    """What a visitor asked for has come to something."""

    number: int
    future: Future[Any]


class Visitor:
    """A connection that brings one command.

    Args:
        number: which one.
        connection: it.
    """

    def __init__(self, number: int, connection: socket.socket) -> None:
        self.number = number
        self.connection = connection
        self.received = bytearray()
        self.to_send = memoryview(b"")
        self.has_asked = False
        self.waits_for_end = False
        self.wants_metrics = False


def open_door(store: Store, lease: Lease) -> Door | None:
    """Open a job's door, and tell in its store where it is; None, and a line on the log, where that cannot be."""
    if not IS_POSSIBLE or isinstance(store, MemoryStore):
        return None  # no other program finds it there
    try:
        door = Door.open()
    except OSError as error:
        _log.warning("job %r takes no commands from other programs: %s", lease.job_id, error)
        return None
    try:
        lease.announce(this_process(str(door.path)))
    except BaseException:
        door.close()
        raise
    return door


class Control(Behavior):
    """Takes commands for one job.

    Args:
        job_id: the job.
        door: where.
        told: what tells the job's actors.
    """

    handles_terminate = True
    uses_poller = True

    def __init__(self, job_id: str, door: Door, told: Told) -> None:
        self._job_id = job_id
        self._door = door
        self._told = told
        self._visitors: dict[int, Visitor] = {}
        self._count = 0

    def on_start(self, ctx: Context) -> None:
        """Open the door."""
        if not isinstance(ctx.parker, Poller):
            raise InternalError("the actor that takes a job's commands waits at a Poller")
        self._poller, self._own = ctx.parker, ctx.ref
        self._watch_door()

    def on_message(self, message: object, ctx: Context) -> None:
        """Answer, or end."""
        match message:
            case _Came(number):
                ctx.set_timer(COMMAND_SECONDS, _Overdue(number))
            case _Full():
                ctx.set_timer(FULL_SECONDS, _Again())
            case _Again():
                if len(self._visitors) < VISITORS:
                    self._watch_door()
            case _Overdue(number):
                visitor = self._visitors.get(number)
                if visitor is not None and not visitor.has_asked:
                    self._close(visitor)
            case _Answered(number, future):
                visitor = self._visitors.get(number)
                if visitor is not None:
                    self._answer(visitor, self._tell(visitor, future))
            case Terminate():
                self._end_all()
                ctx.stop(Normal())
            case _:
                raise InternalError(f"the actor that takes a job's commands was sent {message!r}")

    def on_stop(self, reason: Reason, ctx: Context) -> None:
        """Close the door, whatever the reason."""
        self._poller.unwatch(self._door.listener.fileno())
        for visitor in list(self._visitors.values()):
            self._forget(visitor)
        self._door.close()

    # -- Its visitors; called by the poller, on this actor's thread

    def _watch_door(self) -> None:
        self._poller.watch(self._door.listener.fileno(), selectors.EVENT_READ, self._on_door)

    def _on_door(self, _events: int) -> None:
        try:
            connection, _address = self._door.listener.accept()
        except OSError as error:
            if error.errno in _NO_ROOM:
                # It stands there still: who watched on would be called at once, without end.
                self._poller.unwatch(self._door.listener.fileno())
                self._own.signal(_Full())
            return  # else it has gone again
        connection.setblocking(False)
        try:
            check_peer(connection)
        except (ControlError, OSError) as error:
            _log.warning("job %r: a command was turned away: %s", self._job_id, error)
            connection.close()
            return
        self._count += 1
        visitor = self._visitors[self._count] = Visitor(self._count, connection)
        self._poller.watch(connection.fileno(), selectors.EVENT_READ, partial(self._on_visitor, visitor))
        self._own.signal(_Came(visitor.number))
        if len(self._visitors) >= VISITORS:
            self._poller.unwatch(self._door.listener.fileno())

    def _on_visitor(self, visitor: Visitor, events: int) -> None:
        try:
            if events & selectors.EVENT_READ:
                self._read(visitor)
            if events & selectors.EVENT_WRITE:
                self._send(visitor)
        except BlockingIOError:
            return
        except OSError:
            self._close(visitor)

    def _read(self, visitor: Visitor) -> None:
        data = visitor.connection.recv(_READ_BYTES)
        if not data or visitor.has_asked:
            self._close(visitor)  # it has gone, or says more than it may
            return
        visitor.received += data
        try:
            command = _take_command(visitor.received)
        except ProtocolError as error:
            self._answer(visitor, frames.Refused("ProtocolError", frames.fit(str(error))))
            return
        if command is not None:
            visitor.has_asked = True
            self._carry_out(visitor, command)

    def _carry_out(self, visitor: Visitor, command: frames.Command) -> None:
        if command.job_id != self._job_id:
            text = f"job {self._job_id!r} was sent a command to job {frames.fit(command.job_id)!r}"
            self._answer(visitor, frames.Refused("ProtocolError", text))
            return
        told = self._told
        match command:
            case frames.Pause(_, reason, timeout, on_timeout):
                if on_timeout not in ON_TIMEOUT:
                    error = OptionError(f"expected on_timeout to be 'abort' or 'requeue', got {on_timeout!r}")
                    self._answer(visitor, _refuse(error))
                    return
                paused: Future[CheckpointInfo | None] = self._await(visitor)
                told.root(PauseJob(Pause(reason, None), timeout, on_timeout, paused))
            case frames.Resume():
                told.root(ResumeJob(self._await(visitor)))
            case frames.Checkpoint():
                told.state(TakeCheckpoint("asked", self._await(visitor)))
            case frames.Status() | frames.Metrics():
                visitor.wants_metrics = isinstance(command, frames.Metrics)
                told.state(GetCut(self._await(visitor)))
            case frames.Cancel(_, reason, shutdown):
                visitor.waits_for_end = True
                told.root(Cancel(reason, shutdown))
            case frames.Leave(_, reason, shutdown):
                visitor.waits_for_end = True
                told.root(Leave(reason, shutdown))

    def _await(self, visitor: Visitor) -> Future[Any]:
        own, number = self._own, visitor.number
        future: Future[Any] = Future()
        # On whatever thread answers.
        future.add_done_callback(lambda done: _signal(own, _Answered(number, done)))
        return future

    def _answer(self, visitor: Visitor, answer: frames.Answer) -> None:
        visitor.has_asked = True
        visitor.to_send = memoryview(frames.to_frame(answer))
        try:
            self._send(visitor)
        except BlockingIOError:
            self._await_room(visitor)
        except OSError:
            self._close(visitor)

    def _tell(self, visitor: Visitor, future: Future[Any]) -> frames.Answer:
        error = future.exception()
        if error is not None:
            return _refuse(error)
        result, plan = future.result(), self._told.plan
        if isinstance(result, bool):
            return frames.Resumed(result)
        if not isinstance(result, JobCut):
            return frames.Kept(result)
        if visitor.wants_metrics:
            return frames.Tracked(track_cut(result, plan, self._job_id, read_usage))
        return _tell_cut(result, plan)

    def _send(self, visitor: Visitor) -> None:
        while visitor.to_send:
            visitor.to_send = visitor.to_send[visitor.connection.send(visitor.to_send) :]
        self._close(visitor)

    def _await_room(self, visitor: Visitor) -> None:
        events = selectors.EVENT_READ | selectors.EVENT_WRITE
        self._poller.watch(visitor.connection.fileno(), events, partial(self._on_visitor, visitor))

    def _close(self, visitor: Visitor) -> None:
        self._forget(visitor)
        if len(self._visitors) == VISITORS - 1:
            self._watch_door()

    def _forget(self, visitor: Visitor) -> None:
        if self._visitors.pop(visitor.number, None) is not None:
            self._poller.unwatch(visitor.connection.fileno())
            visitor.connection.close()

    def _end_all(self) -> None:
        """Tell all who still wait how the job has ended; what does not go out at once is lost."""
        status, error = self._told.outcome()
        fitting = None if error is None else frames.fit(error)
        refused = frames.Refused("JobEndedError", f"job {self._job_id!r} is over in its program: {status}")
        for visitor in list(self._visitors.values()):
            if visitor.has_asked and not visitor.to_send:
                self._answer(visitor, frames.Ended(status, fitting) if visitor.waits_for_end else refused)


def _take_command(received: bytearray) -> frames.Command | None:
    """Give the command that has come; None while it is not whole. Raises `ProtocolError`."""
    if len(received) < frames.HEADER_BYTES:
        return None
    length = frames.read_length(bytes(received[: frames.HEADER_BYTES]), frames.MAX_COMMAND_BYTES)
    body = bytes(received[frames.HEADER_BYTES :])
    if len(body) > length:
        raise ProtocolError("more came than one command")
    return frames.read_command(body) if len(body) == length else None


def _signal(own: Ref, message: object) -> None:
    with contextlib.suppress(RuntimeError):  # its poller is closed: nobody waits any more
        own.signal(message)


def _refuse(error: BaseException) -> frames.Refused:
    return frames.Refused(type(error).__name__, frames.fit(str(error)))


def _tell_cut(cut: JobCut, plan: Plan) -> frames.Now:
    return frames.Now(
        str(cut.status),
        None if cut.error is None else frames.fit(cut.error),
        cut.updated_at,
        [
            frames.RoutineNow(routine.id, now.status, now.error and frames.fit(now.error), now.figures)
            for routine, now in zip(plan.routines, cut.routines, strict=True)
        ],
        cut.checkpoint,
    )
