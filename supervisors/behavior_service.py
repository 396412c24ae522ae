"""What runs in the process of a process-backed actor: the behaviour, one request at a time.

Owns the behaviour and its context, and tells what each request came to. Never decides when a request
comes, nor what becomes of those that are not begun: that is the proxy's (`process_actor`).

Theory of operation. Each request is one call of the behaviour; after it come the messages which
the behaviour has sent to itself, `OWN_MESSAGES` at most, so that one which sends itself messages
without end still hears of others: what is left is asked for by a `Drain` request of its own. What
ends the actor, an exception or `Context.stop`, is a request's failure to the worker that runs this:
so nothing behind it is begun, and all of that goes back to the proxy.
"""

from __future__ import annotations

from collections.abc import Callable

from supervisors.behavior import Behavior
from supervisors.clock import MonotonicClock
from supervisors.errors import InternalError, NotInProcessError, ValueDecodingError
from supervisors.mailbox import EMPTY
from supervisors.messages import Terminate
from supervisors.places.base import Port
from supervisors.process_context import OwnAnswer, ProcessContext
from supervisors.reasons import Raised, Reason, StartFailed, record_error
from supervisors.report import reporter
from supervisors.wire.requests import (
    NOTHING,
    Begin,
    Drain,
    Ended,
    Fire,
    Handle,
    Report,
    Request,
    decode_request,
    encode_ended,
    encode_outcome,
)
from supervisors.wire.values import decode, decode_code

OWN_MESSAGES = 64
"""Messages to itself that one request handles at most (arbitrary: their cost outweighs that of a request)."""

_log = reporter("supervisors")


class EndingError(Exception):
    """Raised inside a request in which the behaviour has asked for its end."""


class BehaviorService:
    """A `Service` whose requests are calls of one behaviour."""

    request_type = bytes
    result_type = bytes
    batch_type = None

    def __init__(self) -> None:
        self.clock: Callable[[], float] = MonotonicClock.now
        """Gives the time in seconds; a host with a clock of its own replaces it before the first request."""
        self.behavior: Behavior | None = None
        """What runs here, once it was made."""
        self.context: ProcessContext | None = None
        """Its context."""
        self._reason: Reason | None = None

    def boot(self, number: int, boot: bytes) -> None:
        """Do nothing: the behaviour is made by the first request, which may take its time."""

    def begin(self, request: bytes, port: Port) -> Call:
        """Take up a request.

        Raises:
            FrameError: it is none.
        """
        return Call(self, decode_request(request), port)

    def settle(self, *, accepted: bool) -> None:
        """Let nothing go out before the next request."""
        if self.context is not None:
            self.context.send = None

    def describe_failure(self, error: BaseException) -> bytes:
        """Tell how a request ended the actor."""
        context = self.context
        if isinstance(error, EndingError) and context is not None and context.ending is not None:
            reason = context.ending
        else:
            record = record_error(error)
            is_started = context is not None and context.is_acknowledged
            reason = Raised(record) if is_started else StartFailed(record)
        self._reason = reason
        return encode_ended(Ended(reason, NOTHING if context is None else context.take_outcome()))

    def close(self, reason: Reason) -> None:
        """Make the behaviour's last call, with the reason by which it has ended or else was asked to."""
        behavior, context = self.behavior, self.context
        if behavior is None or context is None:
            return
        reason = self._reason or reason
        path = context.ref.path
        try:
            behavior.on_stop(reason, context)
        except BaseException:  # noqa: BLE001  there is nobody left whom it could end
            _log.exception("actor %s raised at its end, after it %s", path, reason)
        _, left = context.mailbox.close()
        if left:
            _log.info("actor %s %s; %d messages it had sent to itself are lost with it", path, reason, len(left))
        if context.take_outcome() != NOTHING:
            _log.warning("actor %s told others something in its on_stop, which is lost: do so before ctx.stop", path)


class Call:
    """The execution of one request.

    Args:
        service: whose it is.
        request: what is to be done.
        port: takes what is told ahead of its end.
    """

    touched = True

    def __init__(self, service: BehaviorService, request: Request, port: Port) -> None:
        self._service = service
        self._request: Request | None = request
        self._port = port
        self._left = OWN_MESSAGES
        self._result = b""

    def advance(self) -> bool:
        """Make one call of the behaviour: the requested one, then one for each message to itself.

        Raises:
            EndingError: the behaviour has asked for its end.
            Exception: what the behaviour raised.
        """
        request, self._request = self._request, None
        if isinstance(request, Begin):
            self._begin(request)
        behavior, context = self._service.behavior, self._service.context
        if behavior is None or context is None:
            raise InternalError("a request came before the behaviour was made")
        context.send = self._send
        match request:
            case Begin():
                self._start(behavior, context)
            case Handle():
                _handle(request, behavior, context)
            case Fire(number):
                timer = context.take_timer(number)
                if timer is not None:
                    behavior.on_message(timer.message, context)
            case Report(ask):
                _report(ask, behavior, context)
            case Drain() | None:
                self._left -= 1
                _handle_own(behavior, context)
        if context.ending is not None:
            raise EndingError
        return self._is_done(context, is_report=isinstance(request, Report))

    @property
    def result(self) -> bytes:
        """What the request did that was not sent ahead."""
        return self._result

    def _begin(self, request: Begin) -> None:
        made = decode_code(request.make)()
        self._service.behavior = _check(made)
        self._service.context = ProcessContext(request.name, request.path, request.seed, self._service.clock)

    def _start(self, behavior: Behavior, context: ProcessContext) -> None:
        if behavior.handles_terminate:
            context.tell_takes_terminate()
        behavior.on_start(context)
        if context.ending is None and not behavior.acknowledges:
            context.acknowledge()

    def _is_done(self, context: ProcessContext, *, is_report: bool) -> bool:
        mailbox = context.mailbox
        has_more = bool(mailbox) or mailbox.has_control
        if has_more and self._left and not is_report:
            # Between two calls the worker looks whether it is to end: nothing may be left untold then.
            outcome = context.take_outcome()
            if outcome != NOTHING:
                self._send(encode_outcome(outcome))
            return False
        if has_more:
            context.tell_more()
        self._result = encode_outcome(context.take_outcome())
        return True

    def _send(self, body: bytes) -> None:
        self._port.stop_with(body, 1)


def _handle(request: Handle, behavior: Behavior, context: ProcessContext) -> None:
    try:
        message = decode(request.message)
    except ValueDecodingError as error:
        # A message that cannot be read is its sender's fault, not a reason to end.
        if request.ask:
            context.send_failure(request.ask, error)
        else:
            context.tell_refused(str(error))
        return
    context.begin_ask(request.ask)
    try:
        behavior.on_message(message, context)
    except BaseException as error:
        context.fail_present_ask(error)
        raise
    context.reply(None)


def _report(ask: int, behavior: Behavior, context: ProcessContext) -> None:
    answer = OwnAnswer(context, ask, context.ref.path)
    # A behaviour that cannot tell its state is no reason to end it: somebody was curious.
    try:
        behavior.report_state(answer)
    except Exception as error:  # noqa: BLE001  it is told to who asked
        answer.set_error(error)


def _handle_own(behavior: Behavior, context: ProcessContext) -> None:
    message = context.mailbox.try_take_control(EMPTY)
    if message is EMPTY:
        message = context.mailbox.try_take(EMPTY)
    if isinstance(message, Terminate) and not behavior.handles_terminate:
        context.stop(message.reason)
    elif message is not EMPTY:
        behavior.on_message(message, context)


def _check(made: object) -> Behavior:
    """Refuse what cannot run in a process of its own.

    Raises:
        NotInProcessError: it says which.
    """
    if not isinstance(made, Behavior):
        name = type(made).__name__
        raise NotInProcessError(
            f"being a {name}", "what is made must be a Behavior; one that is not needed stops itself"
        )
    if made.uses_poller:
        raise NotInProcessError("waiting for file descriptors (uses_poller)", "wait for them inside a call")
    if made.traps_exits:
        raise NotInProcessError("trapping exits (traps_exits)", "have an actor of the parent do so and tell this one")
    if type(made).step is not Behavior.step:
        raise NotInProcessError("a step of its own", "its proxy takes its messages one by one: override on_message")
    return made
