"""The main program of a worker process: one service, one request at a time.

Owns the worker's set-up (signals, output, logging, its end with the parent) and the loop that
runs requests. Never imports the program's `__main__`, never decides what a failure leads to.

Three threads: the main thread runs the service; one reads the channel (`inbound`), and ends the
process when the parent is gone; one sends results that have waited (`outbound`). Every exception
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
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from supervisors.errors import FrameError
from supervisors.places.base import PART_BOUND, RequestAbandoned, Service, tell_failure
from supervisors.places.copies import generation, leave_copy
from supervisors.places.process.attached import Attached
from supervisors.places.process.inbound import Inbound, end_now
from supervisors.places.process.outbound import Outbound
from supervisors.places.process.page import Page
from supervisors.places.process.stack import answer_stack_requests
from supervisors.reasons import record_error
from supervisors.wire.frames import (
    Boot,
    BootFailed,
    Bye,
    Failed,
    Log,
    Parked,
    Part,
    Ready,
    Want,
    encode_frame,
    worker_reader,
)
from supervisors.wire.outside import here
from supervisors.wire.values import MAX_VALUE_BYTES, decode_code

_PR_SET_PDEATHSIG = 1
_TRACE_LIMIT = 65_536
"""Characters of a log record's text or traceback that are forwarded (arbitrary)."""


def main(
    channel_fd: int, page_fd: int, incarnation: int, max_frame_bytes: int, parent_pid: int, *inherited: int
) -> NoReturn:
    """Be a worker until the parent says stop. Called by the interpreter that `spawn` has started.

    Keeps the descriptors `inherited` open, and from all that it starts.
    """
    _end_with_parent(parent_pid)
    _set_up_signals()
    _set_up_output()
    for fd in (channel_fd, page_fd, *inherited):
        os.set_inheritable(fd, False)
    channel = socket.socket(fileno=channel_fd)
    try:
        page = Page(page_fd)
        answer_stack_requests(page_fd)
        inbound = Inbound(channel, worker_reader(incarnation, max_frame_bytes))
        boot = inbound.receive_boot()
        outbound = Outbound(channel, incarnation, max_frame_bytes)
        here.space = inbound.attached = attached = Attached(outbound.send)
    except BaseException as error:  # noqa: BLE001  no thread was to be had, or no memory
        _leave_unborn(lambda frame: channel.sendall(encode_frame(frame, incarnation)), error)
    try:
        os.register_at_fork(after_in_child=outbound.mute)
        sys.argv[:] = [boot.argv0.decode("utf-8", "surrogatepass")]
        _forward_logging(boot, outbound)
        _limit_memory(boot.memory_limit)
        service: Service = decode_code(boot.service)
        service.boot(boot.number, boot.boot)
    except BaseException as error:  # noqa: BLE001  told to the parent, whatever it is
        _leave_unborn(outbound.send, error)
    outbound.send(Ready(os.getpid()))
    Loop(service, inbound, outbound, page, attached).run()
    outbound.flush()
    service.close(inbound.reason)
    attached.close()
    outbound.send(Bye())
    sys.exit(0)


class Loop:
    """Runs requests, in order, and reports each as done or as failed."""

    def __init__(self, service: Service, inbound: Inbound, outbound: Outbound, page: Page, attached: Attached) -> None:
        self._service = service
        self._attached = attached
        self._inbound = inbound
        self._outbound = outbound
        self._page = page
        self._pid = os.getpid()

    def run(self) -> None:
        """Run requests until told to stop."""
        inbound, outbound = self._inbound, self._outbound
        while True:
            if not inbound.has_more:
                outbound.flush()
            taken = inbound.take()
            if taken is None:
                return
            hold = inbound.hold
            if hold:
                # What was taken is not begun: it goes back with all behind it.
                outbound.send(Parked(hold, None))
                inbound.drop_all()
            else:
                self._run_request(*taken)

    def _run_request(self, seq: int, request: bytes) -> None:
        started = time.monotonic()
        self._page.begin(seq, started)
        self._inbound.begin(seq)
        attached = self._attached
        attached.port = port = RequestPort(seq, started, self._inbound, self._outbound, self._page, attached)
        try:
            execution = self._service.begin(request, port)
            while not execution.advance():
                if self._inbound.is_stopping or not port.wait_for_room():
                    # The page still names the request: that is how the parent knows it was cut short.
                    self._service.settle(accepted=False)
                    return
            body = execution.result
            check_body(body, self._outbound.body_bound)
            self._service.settle(accepted=True)
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is this request's failure
            self._leave_if_copy(error)
            self._report_failure(seq, error, time.monotonic() - started - port.parked)
            return
        self._leave_if_copy(None)
        seconds = time.monotonic() - started - port.parked
        if attached.is_touched:
            attached.tell_kept()
        self._page.end()
        self._outbound.done(seq, body, seconds, more=self._inbound.has_more)
        if attached.is_touched:
            attached.sent()
            attached.end_turn()

    def _report_failure(self, seq: int, error: BaseException, seconds: float) -> None:
        body = tell_failure(self._describe, error)
        self._attached.tell_kept()
        self._page.end()
        self._outbound.send(Failed(seq, body, seconds))
        self._attached.end_turn()
        self._inbound.drop_all()
        self._service.settle(accepted=False)

    def _describe(self, error: BaseException) -> bytes:
        body = self._service.describe_failure(error)
        check_body(body, self._outbound.body_bound)
        return bytes(body)

    def _leave_if_copy(self, error: BaseException | None) -> None:
        """End a copy of the worker that the request made by fork and that came back out of it."""
        # By its number: a worker may run code that forks past the interpreter.
        if os.getpid() != self._pid:
            leave_copy(error)


class RequestPort:
    """What a running request may do besides returning (`supervisors.places.base.Port`)."""

    def __init__(
        self, seq: int, started: float, inbound: Inbound, outbound: Outbound, page: Page, attached: Attached
    ) -> None:
        self._seq = seq
        self._attached = attached
        self._started = started
        self._inbound = inbound
        self._outbound = outbound
        self._page = page
        self._generation = generation.number
        self._parked_at: float | None = None
        self.parked = 0.0
        """Seconds that it was kept by holds."""

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
        if generation.number != self._generation:
            return  # nobody takes what a copy hands over
        check_body(body, self._outbound.body_bound)
        self._inbound.add_weight(weight)
        self._outbound.send(Part(self._seq, weight, body))

    def wait_for_room(self) -> bool:
        """Wait while parts not granted weigh `PART_BOUND` or more, or it is held; False if the worker shall end."""
        return self._inbound.may_go_on(PART_BOUND) or self._wait(PART_BOUND)

    def want(self, size: int, returned: list[int]) -> bool:
        """Ask for shared memory, and wait for it; False if there is none, or the worker is held meanwhile.

        What fits into a frame goes there then, so that a hold need not wait for those who would make room.
        """
        if generation.number != self._generation:
            return False
        number = self._inbound.ask_for_room()
        self._outbound.send(Want(number, size, returned))
        self._page.shift(math.inf)
        waited_from = time.monotonic()
        answer = self._inbound.wait_for_room(is_patient=size >= MAX_VALUE_BYTES)
        self._started += time.monotonic() - waited_from
        self._page.shift(self._started)
        if answer is None:
            self._outbound.send(Want(number, 0, []))
            if self._inbound.is_stopping:
                raise RequestAbandoned
        return bool(answer)

    def _wait(self, bound: float) -> bool:
        # A copy made by fork would wait without end: it has no thread that hears of grants.
        if generation.number != self._generation:
            return True
        # A wait for those downstream, or for the end of a hold, is no part of the time that a timeout allows.
        self._page.shift(math.inf)
        waited_from = time.monotonic()
        may_go_on = self._inbound.wait(bound, self._tell_parked)
        now = time.monotonic()
        self._started += now - waited_from
        self._page.shift(self._started)
        if self._parked_at is not None:
            self.parked += now - self._parked_at
            self._parked_at = None
        return may_go_on

    def _tell_parked(self, hold: int) -> None:
        if self._parked_at is None:
            self._parked_at = time.monotonic()
        self._outbound.send(Parked(hold, self._seq))
        self._inbound.drop_all()


def check_body(body: object, bound: int) -> None:
    """Refuse what cannot be a body of a frame.

    Raises:
        FrameError: it is no bytes object, or longer than `bound`.
    """
    if not isinstance(body, bytes):
        raise FrameError(f"expected a result as bytes, got {type(body).__name__}")
    if len(body) > bound:
        raise FrameError(f"a result of {len(body)} bytes is over the bound of {bound} bytes")


class LogForwarder(logging.Handler):
    """Sends log records to the parent, which handles them as its own."""

    def __init__(self, outbound: Outbound) -> None:
        super().__init__()
        self._outbound = outbound
        self._formatter = logging.Formatter()

    def createLock(self) -> None:  # noqa: N802 - logging's name
        """Do without a lock: the channel has its own, and a signal handler may log."""
        self.lock = None

    def emit(self, record: logging.LogRecord) -> None:
        """Send one record; a record that cannot be formatted is told on stderr, as logging does."""
        try:
            self._outbound.send(self._to_frame(record))
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


def _end_with_parent(parent_pid: int) -> None:
    """Ask the kernel to kill this process when its parent ends, if it can; leave if that was before."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent_pid:
        end_now()


def _set_up_signals() -> None:
    # Ctrl-C is the parent's to handle. A handler that does nothing, and not SIG_IGN, which what
    # the worker starts would inherit.
    signal.signal(signal.SIGINT, lambda _number, _frame: None)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def _set_up_output() -> None:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)
    # The thread that crashed and no other, so that the cause is among the last lines that a report keeps.
    faulthandler.enable(sys.stderr, all_threads=False)


def _forward_logging(boot: Boot, outbound: Outbound) -> None:
    root = logging.getLogger()
    root.handlers[:] = [LogForwarder(outbound)]
    root.setLevel(boot.log_level)
    for name, level in boot.log_levels.items():
        logging.getLogger(name).setLevel(level)
