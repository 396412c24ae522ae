"""The main program of a worker process: one service, one request at a time.

Owns the worker's set-up (signals, output, logging, its end with the parent) and the loop that
runs requests. Never imports the program's `__main__`, never decides what a failure leads to.

Two threads: the main thread reads the channel (`inbound`), runs the service and sends (`outbound`); another one stands
in for it while it is busy for long (`deputy`). The process ends when the parent is gone. Every exception
out of a request, `SystemExit` included, is that request's failure and no more.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import io
import logging
import math
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from supervisors.cpus import settle
from supervisors.places.base import PART_BOUND, RequestAbandoned, Service, tell_failure
from supervisors.places.copies import Mark, leave_copy, make_mark
from supervisors.places.process.attached import Attached
from supervisors.places.process.deputy import Deputy
from supervisors.places.process.inbound import Inbound, end_now
from supervisors.places.process.leaving import leave
from supervisors.places.process.outbound import (
    BATCH_ITEMS,
    LINGER_SECONDS,
    LONG_TURN_SECONDS,
    Outbound,
    measure_body,
)
from supervisors.places.process.page import Page
from supervisors.places.process.preloading import preload
from supervisors.places.process.stack import answer_stack_requests
from supervisors.reasons import record_error
from supervisors.renewals import renewals
from supervisors.wire.frames import (
    Boot,
    BootFailed,
    Bye,
    Deliver,
    Failed,
    Log,
    Parked,
    Part,
    Ready,
    Want,
    WorkerReader,
    encode_frame,
)
from supervisors.wire.outside import here
from supervisors.wire.values import MAX_VALUE_BYTES, decode_code

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)
_TRACE_LIMIT = 65_536
"""Characters of a log record's text or traceback that are forwarded (arbitrary)."""


def main(
    channel_fd: int, page_fd: int, incarnation: int, max_frame_bytes: int, parent_pid: int, *inherited: int
) -> NoReturn:
    """Be a worker until the parent says stop. Called by the interpreter that `spawn` has started.

    Keeps the descriptors `inherited` open, and from all that it starts.
    """
    end_with_parent(parent_pid)
    set_up()
    run(channel_fd, page_fd, incarnation, max_frame_bytes, inherited)


def run(channel_fd: int, page_fd: int, incarnation: int, max_frame_bytes: int, inherited: Sequence[int]) -> NoReturn:
    """Be a worker, in a process that was set up and made to end with its parent."""
    for fd in (channel_fd, page_fd, *inherited):
        os.set_inheritable(fd, False)
    channel = socket.socket(fileno=channel_fd)
    try:
        page = Page(page_fd)
        answer_stack_requests(page_fd)
        inbound = Inbound(channel, WorkerReader(incarnation, max_frame_bytes))
        boot = inbound.receive_boot()
        outbound = Outbound(channel, incarnation, max_frame_bytes)
        here.space = inbound.attached = attached = Attached(outbound.send)
        deputy = Deputy(inbound, outbound, page)
    except BaseException as error:  # noqa: BLE001  no thread was to be had, or no memory
        _leave_unborn(lambda frame: channel.sendall(encode_frame(frame, incarnation)), error)
    try:
        renewals.add(outbound.mute)
        sys.argv[:] = [boot.argv0.decode("utf-8", "surrogatepass")]
        _forward_logging(boot, outbound)
        for module in boot.preload:
            if sys.modules.get(module) is None:  # or else its zygote has done so
                preload(module)
        settle(boot.cpus, boot.niceness)
        _limit_memory(boot.memory_limit)
        service: Service = decode_code(boot.service)
        service.boot(boot.number, boot.boot)
        inbound.expect(service.request_type)
    except BaseException as error:  # noqa: BLE001  told to the parent, whatever it is
        _leave_unborn(outbound.send, error)
    deputy.step_back()
    outbound.send(Ready(os.getpid()))
    Loop(service, inbound, outbound, page, deputy, attached).run()
    outbound.flush()
    deputy.stand_in()
    service.close(inbound.reason)
    attached.close()
    outbound.send(Bye())
    del service
    leave()


def set_up() -> None:
    """Set up signals and output, before anything else: in the process itself or in the one that it is forked from."""
    # Ctrl-C is the parent's to handle. A handler that does nothing, and not SIG_IGN, which what
    # the worker starts would inherit.
    signal.signal(signal.SIGINT, lambda _number, _frame: None)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)
    # The thread that crashed and no other, so that the cause is among the last lines that a report keeps.
    faulthandler.enable(sys.stderr, all_threads=False)


class Loop:
    """Runs requests, in order, and reports each as done or as failed."""

    def __init__(
        self,
        service: Service,
        inbound: Inbound,
        outbound: Outbound,
        page: Page,
        deputy: Deputy,
        attached: Attached,
    ) -> None:
        self._service = service
        self._attached = attached
        self._inbound = inbound
        self._outbound = outbound
        self._page = page
        self._deputy = deputy
        self._mark = make_mark()
        self._port = attached.port = RequestPort(inbound, outbound, page, deputy, self._mark, attached)
        self._ran = 0
        """Requests that have run to their end, failed ones included."""

    def run(self) -> None:
        """Run requests until told to stop."""
        inbound, outbound, deputy = self._inbound, self._outbound, self._deputy
        while True:
            if not inbound.has_more:
                outbound.flush()
                deputy.rest()
            delivered = inbound.take()
            if delivered is None:
                return
            deputy.begin()
            self._run_all(delivered)
            if inbound.is_stopping:
                return  # the page names a request that was cut short by that, and none else

    def _run_all(  # noqa: C901, PLR0912, PLR0915  what each request passes is spelled out here
        self, delivered: Deliver[Any]
    ) -> None:
        """Run requests that have come together, but none behind one that fails, nor once the worker is called."""
        # The clock is read once a request, whose end is the beginning of the next.
        inbound, outbound, port, mark, now = self._inbound, self._outbound, self._port, self._mark, time.monotonic
        begin, note, ran = self._service.begin, self._page.begin, self._ran
        add_seq, add_body, add_seconds = outbound.seqs.append, outbound.bodies.append, outbound.seconds.append
        small = self._service.result_type if self._service.result_type is not bytes else None
        used = self._attached.used
        is_told = True
        started = now()
        send_by = started + LINGER_SECONDS
        for seq, request in zip(delivered.seqs, delivered.bodies, strict=True):
            if inbound.is_called:
                self._heed_call()
                break
            note(ran, started, seq)
            port.seq, port.started = seq, started
            try:
                execution = begin(request, port)
                while not execution.advance():
                    if inbound.is_stopping or not port.wait_for_room():
                        # The page still names the request: that is how the parent knows it was cut short.
                        self._service.settle(accepted=False)
                        return
                body = execution.result
                if body.__class__ is not small:
                    outbound.weigh(body)
                is_told = execution.touched
                if is_told:
                    self._service.settle(accepted=True)
            except BaseException as error:  # noqa: BLE001 - whatever it is, it is this request's failure
                self._leave_if_copy(error)
                self._report_failure(seq, error, now() - started - port.parked)
                return
            if not mark[0]:
                leave_copy(None)
            self._ran = ran = ran + 1
            ended = now()
            seconds = ended - started - port.parked
            if used:
                self._attached.tell_kept()
                port.was_used = True
            add_seq(seq)
            add_body(body)
            add_seconds(seconds)
            # While the deputy listens it does not look whether something waits behind the next one.
            if seconds >= LONG_TURN_SECONDS or ended >= send_by or ran % BATCH_ITEMS == 0 or inbound.is_listened_to:
                self._page.rest(ran)
                outbound.flush()
                inbound.look()  # some time has gone by: is there a word from the parent?
                ended = now()
                send_by = ended + LINGER_SECONDS
            if port.was_used:
                self._attached.sent()
                port.forget()
                if inbound.has_dropped(delivered):
                    break
            started = ended
        self._page.rest(self._ran)
        if not is_told:
            self._service.settle(accepted=True)

    def _heed_call(self) -> None:
        """Begin nothing more: what was taken goes back with all behind it, where the worker is held."""
        self._page.rest(self._ran)  # before the word, which may take its time
        if not self._inbound.is_stopping:
            self._outbound.send(Parked(self._inbound.hold, None))
            self._inbound.drop_all()

    def _report_failure(self, seq: int, error: BaseException, seconds: float) -> None:
        body = tell_failure(self._describe, error)
        self._ran += 1
        self._page.rest(self._ran)
        self._attached.tell_kept()
        self._outbound.send(Failed(seq, body, seconds))
        self._attached.end_turn()
        self._inbound.drop_all()
        self._port.forget()
        self._service.settle(accepted=False)

    def _describe(self, error: BaseException) -> bytes:
        body = self._service.describe_failure(error)
        measure_body(body, self._outbound.body_bound)
        return bytes(body)

    def _leave_if_copy(self, error: BaseException) -> None:
        """End a copy of the worker that the request made by fork and that came back out of it."""
        if not self._mark[0]:
            leave_copy(error)


class RequestPort:
    """What a running request may do besides returning (`supervisors.places.base.Port`): one for all, one after another.

    A request that did not use it has left nothing in it.
    """

    def __init__(
        self, inbound: Inbound, outbound: Outbound, page: Page, deputy: Deputy, mark: Mark, attached: Attached
    ) -> None:
        self._attached = attached
        self._inbound = inbound
        self._outbound = outbound
        self._page = page
        self._deputy = deputy
        self._mark = mark
        self._parked_at: float | None = None
        self.seq = -1
        """The request that runs."""
        self.started = 0.0
        """Clock reading at which it began, waits left out."""
        self.parked = 0.0
        """Seconds that it was kept by holds."""
        self.was_used = False
        """Whether it has handed over a part, waited, or had to do with shared memory."""

    def forget(self) -> None:
        """Forget what a request has left that used it; its result was handed over, or it has none."""
        self.was_used = False
        self.parked = 0.0
        self._attached.end_turn()
        self._inbound.forget_parts()

    def part(self, body: bytes, weight: int) -> None:
        """Send a part at once, after a wait while those not granted weigh `PART_BOUND` or more; then stay if held."""
        if not self.wait_for_room():
            raise RequestAbandoned
        self.stop_with(body, weight)
        if self._inbound.hold and not self._wait(math.inf):
            raise RequestAbandoned

    def confirm(self, body: bytes) -> None:
        """Send a part as `part` does, and wait until nothing is left to be granted."""
        if not self.wait_for_room():
            raise RequestAbandoned
        self._hand_over(body, 1)
        if not (self._inbound.may_go_on(1) or self._wait(1)):
            raise RequestAbandoned

    def check(self) -> None:
        """Do nothing: a process that is given up is ended."""

    def stop_with(self, body: bytes, weight: int) -> None:
        """Send a part at once; the wait is made before the request goes on."""
        self._hand_over(body, weight)
        self._attached.sent()

    def _hand_over(self, body: bytes, weight: int) -> None:
        if not self._mark[0]:
            return  # nobody takes what a copy hands over
        measure_body(body, self._outbound.body_bound)
        self._inbound.add_weight(self.seq, weight)
        self.was_used = True
        self._outbound.send(Part(self.seq, weight, body))

    def wait_for_room(self) -> bool:
        """Wait while parts not granted weigh `PART_BOUND` or more, or it is held; False if the worker shall end."""
        return self._inbound.may_go_on(PART_BOUND) or self._wait(PART_BOUND)

    def want(self, size: int, returned: list[int]) -> bool:
        """Ask for shared memory, and wait for it; False if there is none, or the worker is held meanwhile.

        What fits into a frame goes there then, so that a hold need not wait for those who would make room.
        """
        if not self._mark[0]:
            return False
        number = self._inbound.ask_for_room()
        self._outbound.send(Want(number, size, returned))
        with self._waiting():
            answer = self._inbound.wait_for_room(is_patient=size >= MAX_VALUE_BYTES)
        if answer is None:
            self._outbound.send(Want(number, 0, []))
            if self._inbound.is_stopping:
                raise RequestAbandoned
        return bool(answer)

    def _wait(self, bound: float) -> bool:
        # A copy made by fork would wait without end: nobody tells it of grants.
        if not self._mark[0]:
            return True
        with self._waiting():
            may_go_on = self._inbound.wait(bound, self._tell_parked)
        if self._parked_at is not None:
            self.parked += time.monotonic() - self._parked_at
            self._parked_at = None
        return may_go_on

    @contextlib.contextmanager
    def _waiting(self) -> Iterator[None]:
        """Let the main thread listen: a wait for others, or for a hold's end, is no part of what a timeout allows."""
        self.was_used = True
        self._page.shift(math.inf)
        self._deputy.rest()
        waited_from = time.monotonic()
        yield
        self._deputy.begin()
        self.started += time.monotonic() - waited_from
        self._page.shift(self.started)

    def _tell_parked(self, hold: int) -> None:
        if self._parked_at is None:
            self._parked_at = time.monotonic()
        self._outbound.send(Parked(hold, self.seq))
        self._inbound.drop_all()


class LogForwarder(logging.Handler):
    """Sends log records to the parent, which handles them as its own."""

    def __init__(self) -> None:
        super().__init__()
        self.outbound: Outbound | None = None
        """What it sends from; there before it is given a record."""
        self._formatter = logging.Formatter()

    def createLock(self) -> None:  # noqa: N802 - logging's name
        """Do without a lock: the channel has its own, and a signal handler may log."""
        self.lock = None

    def emit(self, record: logging.LogRecord) -> None:
        """Send one record; a record that cannot be formatted is told on stderr, as logging does."""
        try:
            if self.outbound is not None:
                self.outbound.send(self._to_frame(record))
        except Exception:  # noqa: BLE001 - logging's own rule for handlers
            self.handleError(record)

    def _to_frame(self, record: logging.LogRecord) -> Log:
        trace = record.exc_text
        if record.exc_info and not trace:
            trace = self._formatter.formatException(record.exc_info)
        # A record may be of anybody's making, and logging is content with numbers and texts of other kinds.
        return Log(
            logger=_encodable(record.name or "root"),
            level=int(record.levelno),
            text=_encodable(record.getMessage()[:_TRACE_LIMIT]),
            created=float(record.created),
            path=_encodable(record.pathname),
            line=int(record.lineno or 0),
            function=_encodable(record.funcName or ""),
            trace=None if trace is None else _encodable(trace[-_TRACE_LIMIT:]),
            thread=_encodable(record.threadName or ""),
        )


def _encodable(text: object) -> str:
    return str(text).encode("utf-8", "backslashreplace").decode()


def _leave_unborn(send: Callable[[BootFailed], None], error: BaseException) -> NoReturn:
    """Tell the parent, if it is there, why there is no worker, and end."""
    with contextlib.suppress(OSError):
        send(BootFailed(record_error(error)))
    sys.stderr.flush()
    os._exit(1)


def _limit_memory(limit: int | None) -> None:
    """Let most of what goes over the limit be a `MemoryError` at its line, where the system can tell and bound it.

    The parent watches what is resident, and ends the process; this bounds what is asked for, also if it is never used:
    the stacks of threads count, with some 8 MiB each. The threads of the worker's own are counted already.
    """
    if limit is None or sys.platform != "linux":
        return
    with contextlib.suppress(OSError, ValueError, OverflowError, IndexError):  # no /proc, or one that tells less
        pages = int(Path("/proc/self/statm").read_text().split()[5])  # proc(5): data and stack
        soft = pages * resource.getpagesize() + limit
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


def end_with_parent(parent_pid: int) -> None:
    """Ask the kernel to kill this process when its parent ends, if it can; leave if that was before."""
    if sys.platform == "linux":
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent_pid:
        end_now()


_forwarder = LogForwarder()
"""That of this process: made with the module, which a zygote imports once for all of its workers."""


def _forward_logging(boot: Boot, outbound: Outbound) -> None:
    root = logging.getLogger()
    _forwarder.outbound = outbound
    root.handlers[:] = [_forwarder]
    if root.level != boot.log_level:
        root.setLevel(boot.log_level)
    for name, level in boot.log_levels.items():
        logging.getLogger(name).setLevel(level)
