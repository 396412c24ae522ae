"""The proxy of an actor whose behaviour runs in a process of its own.

Owns the process, the messages that are in its hands, and whom it owes answers. Has the behaviour's
place in the tree: its address, mailbox, timers and end are the actor's. Never runs code of the
behaviour, and decodes nothing of what comes from the process but the information of its start:
replies are opened by those who asked.

Theory of operation. A message is encoded, numbered and handed over while the process has room;
results come in the same order. Whatever the behaviour did comes as an `Outcome` and is carried out
here. When the behaviour ends itself, or is asked to end, its place is closed: the process finishes
the call it is on, makes its last one (`on_stop`) and ends, and so does the proxy, without a deadline of
its own. Messages that were handed over and not begun go back to the front of the mailbox, where the
end of every actor finds what it has not taken. What the process was on when it died is lost
with it, as it is on a thread; its ask is answered by the end.

Handed over is handled: a message that the process has room for is not taken back when its sender
stops waiting, or when the actor is suspended.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence
from functools import partial
from typing import NamedTuple

from supervisors.asking import Ask, Opened, Sealed
from supervisors.behavior import Answer, Behavior, Context, Maker, Timer
from supervisors.behavior_service import BehaviorService
from supervisors.errors import FrameError, InternalError, RemoteError, ValueDecodingError, ValueEncodingError
from supervisors.mailbox import EMPTY
from supervisors.messages import Exit, Kill, Terminate
from supervisors.places.base import CLOSED, Finished, Lost, Place
from supervisors.reasons import (
    ErrorRecord,
    Killed,
    Normal,
    ProtocolError,
    Reason,
    StartFailed,
    is_clean,
    record_error,
)
from supervisors.report import reporter
from supervisors.wire.requests import (
    Begin,
    Drain,
    Fire,
    Handle,
    Outcome,
    Report,
    decode_ended,
    decode_outcome,
    encode_request,
)
from supervisors.wire.values import decode, encode, encode_code

_log = reporter("supervisors")


class ProcessActor(Behavior):
    """Runs a behaviour in a process of its own.

    In there it has a context of its own: what needs other actors (children, monitors, links,
    places) raises `NotInProcessError`. Messages and replies are copied. `Exit` and `Kill` never reach it.

    Args:
        make: gives the behaviour, inside the process; it travels there with the code it needs.
        name: what the process is called in listings and output; None for the actor's name.
    """

    uses_poller = True
    handles_terminate = True
    handles_kill = True
    traps_exits = True
    acknowledges = True

    def __init__(self, make: Maker, *, name: str | None = None) -> None:
        self.pid: int | None = None
        """The process; None while there is none, and while it starts."""
        self._make = make
        self._name = name
        self._place: Place | None = None
        self._ending: Reason | None = None
        """Why it ends, once that is decided and its place is closing."""
        self._urgent: deque[_Entry] = deque()
        """What goes to the process ahead of data, as soon as there is room."""
        self._in_hand: dict[int, _Entry] = {}
        """What the process has and has not brought back, by number, oldest first."""
        self._next = 0
        self._asks: dict[int, Answer] = {}
        """Whom an answer is owed, by the number of the ask."""
        self._next_ask = 0
        self._timers: dict[int, Timer] = {}
        self._is_begun = False
        self._has_more = False
        self._takes_terminate = False
        self._tick_at: float | None = None

    # -- Behavior

    def on_start(self, ctx: Context) -> None:
        """Start the process.

        Raises:
            ValueEncodingError: what makes the behaviour does not travel.
        """
        self._ctx = ctx
        make = encode(self._make, "make")
        begin = Begin(make, ctx.ref.name, ctx.ref.path, ctx.random.getrandbits(63))
        self._urgent.append(_Entry(encode_request(begin)))
        name = ctx.ref.name if self._name is None else self._name
        self._place = ctx.open_place(self, name, encode_code(BehaviorService(), "service"))
        self._place.start(0, b"")

    def on_message(self, message: object, ctx: Context) -> None:
        """Carry out an end, or what a timer brought; hand all else over ahead of data."""
        match message:
            case Terminate(reason):
                if self._takes_terminate and self._ending is None:
                    self._urge_message(message)
                else:
                    self._close(reason)
            case Exit(_, reason, _):
                if not is_clean(reason):
                    self._close(reason)
            case Kill():
                self._open_place.kill(0, Killed(self._find_pid()))
            case _Due(number):
                del self._timers[number]
                self._urge(_Entry(encode_request(Fire(number))))
            case _Tick():
                self._tick_at = None
                self._open_place.on_tick(ctx.now())
            case _:
                self._urge_message(message)

    def step(self, ctx: Context) -> bool:
        """Hand over what there is room for."""
        place = self._open_place
        worked = self._hand_over(place, ctx)
        if worked:
            place.flush()
        while place.advance():
            worked = True
        self._set_tick(place, ctx)
        return worked

    def on_stop(self, reason: Reason, ctx: Context) -> None:
        """End what is left of the process: nothing, unless this proxy failed or was given up."""
        if self._place is not None:
            self._place.abort()
        if self._in_hand:
            # Nobody can tell any more which of them were begun, so none is put back.
            _log.warning("actor %s %s with %d messages in its process", ctx.ref.path, reason, len(self._in_hand))
        for answer in self._asks.values():
            answer.set_dead(reason)
        self.pid = None

    def report_state(self, answer: Answer) -> None:
        """Let the behaviour answer with its state, ahead of data and also while the actor is suspended."""
        self._urge(_Entry(encode_request(Report(self._owe(answer)))))

    # -- Listener

    def on_ready(self, number: int) -> None:
        """The process takes requests."""
        self.pid = self._find_pid()
        self._push()

    def on_part(self, number: int, seq: int, body: bytes) -> bool:
        """Carry out what a call that goes on has done so far."""
        self._carry_out(self._in_hand[seq], body)
        self._open_place.grant(0, seq)
        return True

    def on_done(self, number: int, finished: Sequence[Finished]) -> bool:
        """Carry out what calls have done."""
        self._is_begun = True
        for seq, body, _seconds, _at in finished:
            self._carry_out(self._in_hand.pop(seq), body)
        self._push()
        return True

    def on_returned(self, number: int, seqs: tuple[int, ...]) -> None:
        """Nothing comes back this way: nobody holds this place, and every result is taken."""
        raise InternalError(f"a process gave back {len(seqs)} messages without having been held")

    def on_failed(self, number: int, seq: int, body: bytes, returned: tuple[int, ...]) -> None:
        """A call has ended the actor."""
        self._is_begun = True
        entry = self._in_hand.pop(seq)
        self._put_back(returned)
        try:
            ended = decode_ended(body)
            self._apply(entry, ended.outcome)
        except FrameError as error:
            self._break_off(error)
            return
        # Also when it was asked to end meanwhile: that came behind this message.
        self._close(ended.reason)
        self._ending = ended.reason

    def on_lost(self, number: int, reason: Reason, lost: Lost) -> None:
        """The process has ended."""
        suspect = () if lost.suspect is None else (lost.suspect,)
        for seq in (*lost.ran, *suspect):
            del self._in_hand[seq]
        self._put_back(lost.unbegun)
        self.pid = None
        if self._ending is None:
            self._ctx.stop(reason)
        elif isinstance(reason, Killed) or (reason != CLOSED and (suspect or not self._is_begun)):
            self._ending = reason
        elif reason != CLOSED:
            _log.warning("actor %s: its process did not get to its end: %s", self._ctx.ref.path, reason)

    def on_closed(self) -> None:
        """The process has ended as it was asked to."""
        self.pid = None
        self._ctx.stop(self._ending or Normal())

    # -- to the process

    @property
    def _open_place(self) -> Place:
        if self._place is None:
            raise InternalError("a process-backed actor was called before it had started")
        return self._place

    def _urge_message(self, message: object) -> None:
        entry = self._to_entry(message, self._ctx.defer(), is_data=False)
        if entry is not None:
            self._urge(entry)

    def _urge(self, entry: _Entry) -> None:
        self._urgent.append(entry)
        self._push()

    def _push(self) -> None:
        """Hand over what is urgent now, and not at the next `step`: a suspended actor makes none."""
        place = self._open_place
        if self._hand_over_urgent(place):
            place.flush()

    def _hand_over_urgent(self, place: Place) -> bool:
        worked = False
        while self._urgent and place.room(0):
            self._submit(place, self._urgent.popleft())
            worked = True
        return worked

    def _hand_over(self, place: Place, ctx: Context) -> bool:
        worked = self._hand_over_urgent(place)
        mailbox = ctx.mailbox
        while self._ending is None and place.room(0) and not mailbox.has_control:
            if self._has_more:
                self._has_more = False
                self._submit(place, _Entry(encode_request(Drain())))
                worked = True
                continue
            message = mailbox.try_take(EMPTY)
            if message is EMPTY:
                break
            worked = True
            entry = self._to_entry(message, ctx.defer(), is_data=True)
            if entry is not None:
                self._submit(place, entry)
        return worked

    def _to_entry(self, message: object, answer: Answer | None, *, is_data: bool) -> _Entry | None:
        try:
            body = encode(message, "message")
        except ValueEncodingError as error:
            if answer is not None:
                answer.set_error(error)
            else:
                self._tell_undelivered(message, str(error))
            return None
        ask = 0 if answer is None else self._owe(answer)
        return _Entry(encode_request(Handle(body, ask)), message, ask, is_data)

    def _owe(self, answer: Answer) -> int:
        self._next_ask += 1
        self._asks[self._next_ask] = answer
        return self._next_ask

    def _submit(self, place: Place, entry: _Entry) -> None:
        self._next += 1
        place.submit(0, ((self._next, entry.body),))
        self._in_hand[self._next] = entry._replace(body=b"")

    def _put_back(self, seqs: Iterable[int]) -> None:
        """Put messages that were not begun, oldest first, back to where they came from."""
        messages: list[object] = []
        for seq in seqs:
            entry = self._in_hand.pop(seq)
            if entry.is_data:
                answer = self._asks.pop(entry.ask, None)
                messages.append(entry.message if answer is None else Ask(entry.message, answer))
        mailbox = self._ctx.mailbox
        with mailbox.lock:
            wake = mailbox.prepend_held(messages)
        if wake:
            mailbox.unpark()

    def _close(self, reason: Reason) -> None:
        if self._ending is None:
            self._ending = reason
            # The deadline of an end is the supervisor's.
            self._open_place.close(math.inf, reason)

    # -- from the process

    def _carry_out(self, entry: _Entry, body: bytes) -> None:
        if not body:
            return
        try:
            self._apply(entry, decode_outcome(body))
        except FrameError as error:
            self._break_off(error)

    def _apply(self, entry: _Entry, outcome: Outcome) -> None:
        ctx = self._ctx
        for ask, reply in outcome.replies:
            self._answer(ask, Sealed(partial(_open_reply, reply)))
        for ask, record, error in outcome.failures:
            self._answer(ask, Sealed(partial(_open_failure, record, error)))
        for number in outcome.cancelled:
            timer = self._timers.pop(number, None)
            if timer is not None:
                timer.cancel()
        for number, delay in outcome.timers:
            self._timers[number] = ctx.set_timer(delay, _Due(number))
        for note in outcome.notes:
            ctx.note(*note)
        if outcome.refused is not None:
            self._tell_undelivered(entry.message, outcome.refused)
        self._has_more = self._has_more or outcome.has_more
        self._takes_terminate = self._takes_terminate or outcome.takes_terminate
        if outcome.acknowledged is not None:
            self._acknowledge(outcome.acknowledged)

    def _answer(self, ask: int, reply: Sealed) -> None:
        answer = self._asks.pop(ask, None)
        if answer is not None:
            answer.set_reply(reply)

    def _acknowledge(self, info: bytes) -> None:
        try:
            self._ctx.acknowledge(decode(info))
        except ValueDecodingError as error:
            self._close(StartFailed(record_error(error)))

    def _break_off(self, error: FrameError) -> None:
        self._open_place.kill(0, ProtocolError(str(error), self._find_pid()))

    def _tell_undelivered(self, message: object, text: str) -> None:
        path = self._ctx.ref.path
        _log.warning("actor %s: a message did not reach its process and is lost: %s", path, text)
        self._ctx.note("actor.undelivered", {"count": 1}, {"path": path, "messages": (message,), "error": text})

    # -- the process itself

    def _find_pid(self) -> int | None:
        return next((worker.pid for worker in self._open_place.workers()), None)

    def _set_tick(self, place: Place, ctx: Context) -> None:
        deadline = place.next_deadline()
        if deadline is not None and (self._tick_at is None or deadline < self._tick_at):
            self._tick_at = deadline
            ctx.set_timer(max(0.0, deadline - ctx.now()), _Tick())


class _Entry(NamedTuple):
    """Something for the process.

    Args:
        body: the request.
        message: the message it carries, for a `Handle`.
        ask: the number of the ask it is; 0 for none.
        is_data: whether it came from the data lane, and goes back there if it is not begun.
    """

    body: bytes
    message: object = None
    ask: int = 0
    is_data: bool = False


class _Due(NamedTuple):
    """A timer of the behaviour is due."""

    number: int


class _Tick(NamedTuple):
    """A deadline of the place may have passed."""


def _open_reply(body: bytes) -> Opened:
    try:
        return decode(body), None
    except ValueDecodingError as error:
        return None, error


def _open_failure(record: ErrorRecord, body: bytes | None) -> Opened:
    if body is None:
        return None, RemoteError(record)
    try:
        error = decode(body)
    except ValueDecodingError:
        return None, RemoteError(record)
    if not isinstance(error, BaseException):
        return None, RemoteError(record)
    error.add_note(f"It was raised in another process:\n{record.traceback}")
    return None, error
