"""The actor that takes commands for a job from other programs of the same user, and answers them.

Owns the job's door and who stands at it: each visitor brings one command and is given one answer, or, where it looks
on, one after the other (`watchers`). Decides nothing: what a command means it asks of the job's supervisor and of the
state actor, as the job's owner would, and never waits for them. What a visitor sends can do no more than close its own
connection, and one that does not read holds up nobody: what is for it waits within bounds, or is counted and let go,
and it is sent away if it takes nothing for long. Those who ask cannot take all places: some are kept for commands.

It is the last of the job's actors to end: so those who wait for the job's end are told how it ended.
"""

from __future__ import annotations

import contextlib
import errno
import selectors
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import partial
from typing import Any, NamedTuple

from routilux.control import frames
from routilux.control.door import Door
from routilux.control.errors import ControlError, ProtocolError
from routilux.control.peers import check_peer
from routilux.errors import OptionError, RoutiluxError
from routilux.jobs.actor import GetCut, JobCut, TakeCheckpoint
from routilux.jobs.checkpoints import Pause
from routilux.jobs.errors import NoStoreError
from routilux.jobs.recorder import CheckpointInfo
from routilux.jobs.tracks import track_cut
from routilux.observe import Sampler
from routilux.runtime.commands import Cancel, GetStacks, Leave, PauseJob, ResumeJob
from routilux.runtime.letters import find_account, find_accounts
from routilux.runtime.passage import Passage
from routilux.runtime.queries import answer_query, tell_cut
from routilux.runtime.stacks import tell_threads, tell_workers
from routilux.runtime.subject import Subject
from routilux.runtime.visitor import Visitor
from routilux.runtime.watchers import Lines, Looks, Passings, Source
from supervisors.behavior import Behavior, Context, Ref
from supervisors.errors import InternalError
from supervisors.messages import Terminate
from supervisors.parking import Poller
from supervisors.places.process.reap import read_usage
from supervisors.reasons import Normal, Reason
from supervisors.report import reporter

VISITORS = 32
"""Visitors at a time; further ones wait to be let in (arbitrary: a person has few terminals)."""
WATCHERS = 16
"""Those of them that look on; further ones are refused, so that there is room for commands (arbitrary)."""
ASKING = 24
"""Those of them that ask or look on, the latter counted too; further ones are refused, for the same (arbitrary)."""
COMMAND_SECONDS = 10.0
"""What a visitor gets to say what it wants (arbitrary)."""
ANSWER_SECONDS = 10.0
"""What a visitor gets to take any of its answer (arbitrary)."""
WATCH_SECONDS = 60.0
"""What one that looks on gets to take any of what it is sent: its terminal may be stopped for a while (arbitrary)."""
STACKS_SECONDS = 2.0
"""What workers get to tell where they are, before those that have are told of alone (arbitrary)."""
STACKS_TOLD = 400
"""Stacks in one answer (arbitrary: what an answer has room for)."""
TURN_ANSWERS = 16
"""Answers that one visitor is sent before the others have their turn (arbitrary)."""
LAST_BYTES = 1024 * 1024
"""What one that looks on is still sent when the job is over, if it takes that at once (arbitrary)."""
FULL_SECONDS = 0.25
"""How long the door is left alone when the program has no descriptor left for who stands at it (arbitrary)."""
ON_TIMEOUT = ("abort", "requeue")
"""What may follow when a job does not come to rest in time."""

_NO_ROOM = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_log = reporter("routilux")


class Told(NamedTuple):
    """What tells the job's actors, and the job as it is seen.

    Args:
        subject: the job.
        root: sends a message to the job's supervisor.
        state: sends one to the state actor.
    """

    subject: Subject
    root: Callable[[Any], None]
    state: Callable[[Any], None]


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


class _Stalled(NamedTuple):
    """A visitor has had its time to take any of what it is sent.

    Args:
        number: which one.
        sent: what it had been sent before, in bytes.
    """

    number: int
    sent: int


class _Answered(NamedTuple):
    """What a visitor asked for has come to something."""

    number: int
    future: Future[Any]


class _StacksDue(NamedTuple):
    """Workers have had their time to tell a visitor where they are."""

    number: int


class _More(NamedTuple):
    """There may be something more for a visitor that looks on."""

    number: int


class _LookDue(NamedTuple):
    """It is time for one of them to look."""

    number: int


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
        self._poller, self._own, self._ctx = ctx.parker, ctx.ref, ctx
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
            case _Overdue() | _Stalled() | _Answered() | _StacksDue() | _More() | _LookDue():
                visitor = self._visitors.get(message.number)
                if visitor is not None:  # else it has gone
                    with self._failing_alone(visitor):
                        self._serve(visitor, message)
            case Terminate():
                self._end_all()
                ctx.stop(Normal())
            case _:
                raise InternalError(f"the actor that takes a job's commands was sent {message!r}")

    def _serve(
        self, visitor: Visitor, message: _Overdue | _Stalled | _Answered | _StacksDue | _More | _LookDue
    ) -> None:
        match message:
            case _Overdue():
                if not visitor.has_asked:
                    self._close(visitor)
            case _Stalled(_, sent):
                visitor.is_timed = False
                if visitor.to_send and visitor.sent_bytes == sent:
                    self._close(visitor)
                elif visitor.to_send:
                    self._time(visitor)
            case _Answered() | _StacksDue() if visitor.stacks:
                self._tell_stacks(visitor, is_late=isinstance(message, _StacksDue))
            case _Answered(_, future) if future is visitor.awaited:
                self._answer(visitor, self._tell(visitor, future))
            case _More() | _LookDue() if visitor.source is not None:
                self._look(visitor, visitor.source, is_due=isinstance(message, _LookDue))
            case _:
                pass  # what it had asked for was answered meanwhile

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
        with self._failing_alone(visitor):
            try:
                if events & selectors.EVENT_READ:
                    self._read(visitor)
                if events & selectors.EVENT_WRITE:
                    self._send(visitor)
            except BlockingIOError:
                return
            except OSError:
                self._close(visitor)

    @contextlib.contextmanager
    def _failing_alone(self, visitor: Visitor) -> Iterator[None]:
        """Have what goes wrong for a visitor, by a fault of ours, end its visit and no more."""
        try:
            yield
        except Exception as error:  # noqa: BLE001  whatever it is, others have commands to give
            _log.error("job %r: what a visitor asked for failed", self._job_id, exc_info=error)
            if visitor.to_send:
                self._close(visitor)  # it may have part of an answer
                return
            if visitor.source is not None:
                visitor.source.close()
                visitor.source = None
            text = f"it failed in the job's program, whose log tells more: {type(error).__name__}"
            self._answer(visitor, frames.Refused("InternalError", text))

    def _read(self, visitor: Visitor) -> None:
        if not visitor.receive() or visitor.has_asked:
            self._close(visitor)  # it has gone, or says more than it may
            return
        try:
            command = visitor.take_command()
        except ProtocolError as error:
            self._answer(visitor, frames.Refused("ProtocolError", frames.fit(str(error))))
            return
        if command is None:
            return
        visitor.has_asked = True
        if visitor.has_gone():
            self._close(visitor)  # and was told that there is no answer: it is not to happen behind its back
            return
        self._carry_out(visitor, command)

    def _carry_out(self, visitor: Visitor, command: frames.Command) -> None:
        if not isinstance(command, frames.Who) and command.job_id != self._job_id:
            text = f"job {self._job_id!r} was sent a command to job {frames.fit(command.job_id)!r}"
            self._answer(visitor, frames.Refused("ProtocolError", text))
            return
        try:
            self._begin(visitor, command)
        except (RoutiluxError, OSError) as error:
            self._answer(visitor, _refuse(error))

    def _begin(self, visitor: Visitor, command: frames.Command) -> None:
        """Begin with what a visitor asks for; raises what it is refused with."""
        told, subject = self._told, self._told.subject
        _check_possible(command, subject)
        self._find_place(visitor, command)
        match command:
            case frames.Pause(_, reason, timeout, on_timeout):
                paused: Future[CheckpointInfo | None] = self._await(visitor)
                told.root(PauseJob(Pause(reason, None), timeout, on_timeout, paused))
            case frames.Resume():
                told.root(ResumeJob(self._await(visitor)))
            case frames.Checkpoint():
                told.state(TakeCheckpoint("asked", self._await(visitor)))
            case frames.Status() | frames.Metrics():
                visitor.wants_metrics = isinstance(command, frames.Metrics)
                told.state(GetCut(self._await(visitor)))
            case frames.Cancel(_, reason, shutdown) | frames.Leave(_, reason, shutdown):
                visitor.waits_for_end = True
                told.root((Cancel if isinstance(command, frames.Cancel) else Leave)(reason, shutdown))
            case frames.Stacks(_, routine):
                self._ask_stacks(visitor, routine)
            case frames.Look() | frames.Tap() | frames.Logs():
                self._watch(visitor, command)
            case _:
                self._answer(visitor, answer_query(command, subject))

    def _find_place(self, visitor: Visitor, command: frames.Command) -> None:
        """Give a visitor that asks, and changes nothing, one of the places for such."""
        if isinstance(command, frames.CHANGES | frames.Who):
            return
        if sum(other.is_asking for other in self._visitors.values()) >= ASKING:
            raise OptionError(f"{ASKING} others ask or look on at job {self._job_id!r} already: ask again later")
        visitor.is_asking = True

    def _ask_stacks(self, visitor: Visitor, routine: str) -> None:
        accounts = find_accounts(self._told.subject.ledger, routine)
        visitor.stacks = [(account, Future()) for account in accounts]
        for account, reply in visitor.stacks:
            reply.add_done_callback(partial(self._note_answered, visitor.number))
            if account.plan.runs_apart or account.plan.is_async:
                self._told.root(GetStacks(account.index, reply))
            else:  # its own thread may be in a handler: it is looked at from here
                reply.set_result([])
        self._ctx.set_timer(STACKS_SECONDS, _StacksDue(visitor.number))

    def _tell_stacks(self, visitor: Visitor, *, is_late: bool = False) -> None:
        asked, ledger = visitor.stacks, self._told.subject.ledger
        if not is_late and not all(reply.done() for _account, reply in asked):
            return
        visitor.stacks = []
        stacks: list[frames.Stack] = []
        for account, reply in asked:
            if not (account.plan.runs_apart or account.plan.is_async):
                stacks += tell_threads(account, ledger)
            elif reply.done():
                stacks += tell_workers(account, ledger, reply.result(), self._ctx.now())
        self._answer(visitor, frames.StacksTold(stacks=stacks[:STACKS_TOLD]))

    # -- Those who look on

    def _watch(self, visitor: Visitor, command: frames.Look | frames.Tap | frames.Logs) -> None:
        """Let a visitor look on."""
        if sum(other.source is not None for other in self._visitors.values()) >= WATCHERS:
            raise OptionError(f"{WATCHERS} others look on at job {self._job_id!r} already: end one of them")
        source = visitor.source = self._make_source(command, partial(self._call, visitor))
        if source.seconds is not None:
            self._ctx.set_timer(source.seconds, _LookDue(visitor.number))
        self._go_on(visitor, source)

    def _make_source(self, command: frames.Look | frames.Tap | frames.Logs, call: Callable[[], None]) -> Source:
        subject = self._told.subject
        match command:
            case frames.Look(_, seconds):
                return Looks(Sampler(subject), seconds)
            case frames.Tap(_, routine):
                account = find_account(subject.ledger, routine)
                passage = Passage(subject.ledger.plan, account.plan, subject.ledger.outside, call)
                return Passings(passage, subject.ledger.add_watch(account.index, passage.watch))
            case frames.Logs(_, routine, last, follow):
                find_accounts(subject.ledger, routine)
                return Lines(subject.logbook, routine, last, call, follow=follow)

    def _call(self, visitor: Visitor) -> None:
        """Have a visitor's source looked at soon; any thread may call it, as often as it likes."""
        if not visitor.is_called:
            visitor.is_called = True
            _signal(self._own, _More(visitor.number))

    def _look(self, visitor: Visitor, source: Source, *, is_due: bool) -> None:
        visitor.is_called = False  # before the look: what comes from here on calls again
        source.look()
        if is_due and source.seconds is not None:
            self._ctx.set_timer(source.seconds, _LookDue(visitor.number))
        if not visitor.to_send:
            self._go_on(visitor, source)

    def _go_on(self, visitor: Visitor, source: Source) -> None:
        """Send what there is for a visitor, as far as it takes it and others have their turn."""
        try:
            for _ in range(TURN_ANSWERS):
                answer = source.take()
                if answer is None:
                    break
                visitor.to_send = memoryview(frames.to_frame(answer))
                visitor.send()
            else:
                self._call(visitor)
            if source.is_over:
                self._close(visitor)
        except BlockingIOError:
            self._await_room(visitor)
        except OSError:
            self._close(visitor)

    # -- Answers

    def _note_answered(self, number: int, done: Future[Any]) -> None:
        _signal(self._own, _Answered(number, done))

    def _await(self, visitor: Visitor) -> Future[Any]:
        future = visitor.awaited = Future()
        # On whatever thread answers.
        future.add_done_callback(partial(self._note_answered, visitor.number))
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
        result, plan = future.result(), self._told.subject.ledger.plan
        if isinstance(result, bool):
            return frames.Resumed(result)
        if not isinstance(result, JobCut):
            return frames.Kept(result)
        if visitor.wants_metrics:
            return frames.Tracked(track_cut(result, plan, self._job_id, read_usage))
        return tell_cut(result, plan)

    def _send(self, visitor: Visitor) -> None:
        visitor.send()
        if visitor.source is None:
            self._close(visitor)
            return
        self._poller.watch(visitor.connection.fileno(), selectors.EVENT_READ, partial(self._on_visitor, visitor))
        self._go_on(visitor, visitor.source)

    def _time(self, visitor: Visitor) -> None:
        """Look later whether a visitor has taken any of what it is sent."""
        if not visitor.is_timed:
            visitor.is_timed = True
            seconds = ANSWER_SECONDS if visitor.source is None else WATCH_SECONDS
            self._ctx.set_timer(seconds, _Stalled(visitor.number, visitor.sent_bytes))

    def _await_room(self, visitor: Visitor) -> None:
        self._time(visitor)
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
            if visitor.source is not None:
                visitor.source.close()

    def _end_all(self) -> None:
        """Tell all who still wait how the job has ended; what does not go out at once is lost."""
        status, error = self._told.subject.status, self._told.subject.error
        fitting = None if error is None else frames.fit(error)
        refused = frames.Refused("JobEndedError", f"job {self._job_id!r} is over in its program: {status}")
        ended = frames.Ended(status, fitting)
        for visitor in list(self._visitors.values()):
            with self._failing_alone(visitor):
                if visitor.source is not None:
                    self._send_last(visitor, visitor.source, ended)
                elif visitor.has_asked and not visitor.to_send:
                    self._answer(visitor, ended if visitor.waits_for_end else refused)

    def _send_last(self, visitor: Visitor, source: Source, ended: frames.Ended) -> None:
        data = bytearray(visitor.to_send)
        source.look()
        while len(data) < LAST_BYTES and (answer := source.take()) is not None:
            data += frames.to_frame(answer)
        data += frames.to_frame(ended)
        visitor.to_send = memoryview(bytes(data))
        with contextlib.suppress(OSError):
            visitor.send()


def _check_possible(command: frames.Command, subject: Subject) -> None:
    """Refuse what a job without a store, or any job, does not do; raises what its owner would be told."""
    if isinstance(command, frames.Pause) and command.on_timeout not in ON_TIMEOUT:
        raise OptionError(f"expected on_timeout to be 'abort' or 'requeue', got {command.on_timeout!r}")
    if isinstance(command, frames.Checkpoint | frames.Leave) and not subject.is_kept:
        raise NoStoreError(subject.id, "a checkpoint" if isinstance(command, frames.Checkpoint) else "leaving it")


def _signal(own: Ref, message: object) -> None:
    with contextlib.suppress(RuntimeError):  # its poller is closed: nobody waits any more
        own.signal(message)


def _refuse(error: BaseException) -> frames.Refused:
    return frames.Refused(type(error).__name__, frames.fit(str(error)))
