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
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from supervisors.cpus import settle
from supervisors.errors import ValueDecodingError
from supervisors.loading import loading
from supervisors.places.base import Service
from supervisors.places.copies import make_mark
from supervisors.places.process.attached import Attached
from supervisors.places.process.deputy import Deputy
from supervisors.places.process.heap import Heap
from supervisors.places.process.inbound import Inbound, end_now
from supervisors.places.process.leaving import leave
from supervisors.places.process.outbound import Outbound, Outlet
from supervisors.places.process.page import Page
from supervisors.places.process.port import RequestPort
from supervisors.places.process.preloading import preload
from supervisors.places.process.running import Loop
from supervisors.places.process.stack import answer_stack_requests
from supervisors.reasons import record_error
from supervisors.renewals import renewals
from supervisors.wire.frames import (
    Boot,
    BootFailed,
    Bye,
    Log,
    Ready,
    WorkerReader,
    encode_frame,
)
from supervisors.wire.outside import here
from supervisors.wire.values import decode_code, describe

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
    for fd in (channel_fd, page_fd, *inherited):
        os.set_inheritable(fd, False)
    answer_stack_requests(page_fd)
    run(channel_fd, page_fd, incarnation, max_frame_bytes)


def run(channel_fd: int, page_fd: int, incarnation: int, max_frame_bytes: int) -> NoReturn:
    """Be a worker, in a process that was set up, ends with its parent, and answers requests for its stacks.

    What it starts has none of its descriptors but the standard ones.
    """
    channel = socket.socket(fileno=channel_fd)
    here.space = _attached
    if not live(channel, channel, page_fd, incarnation, max_frame_bytes, _attached):
        sys.stderr.flush()
        os._exit(1)
    leave()


def live(
    channel: socket.socket,
    outlet: Outlet,
    page_fd: int,
    incarnation: int,
    max_frame_bytes: int,
    attached: Attached,
    clock: Callable[[], float] = time.monotonic,
) -> bool:
    """Become a worker, and be one until told to stop; on a thread that is its main thread from then on.

    Args:
        channel: where it is told what to do.
        outlet: where it says what it has done.
        page_fd: the file of its page.
        incarnation: its own.
        max_frame_bytes: the longest frame in either direction.
        attached: what it has of memory that others have too.
        clock: the parent's.

    Returns:
        Whether it was one; False where it could not become one, which was told.
    """
    try:
        page = Page(page_fd, clock)
        inbound = Inbound(channel, WorkerReader(incarnation, max_frame_bytes))
        boot = inbound.receive_boot()
        outbound = Outbound(outlet, incarnation, max_frame_bytes)
        inbound.attached = attached
        attached.send, attached.heap = outbound.send, Heap(may_keep=boot.memory_limit is None)
        deputy = Deputy(inbound, outbound, page)
        deputy.start()
    except BaseException as error:  # noqa: BLE001  no thread was to be had, or no memory
        _tell_unborn(lambda frame: outlet.sendall(encode_frame(frame, incarnation)), error)
        return False
    try:
        renewals.add(outbound.mute)
        sys.argv[:] = [boot.argv0.decode("utf-8", "surrogatepass")]
        _forward_logging(boot, outbound)
        with loading.going_on():
            for module in boot.preload:
                if sys.modules.get(module) is None:  # or else its zygote has done so
                    preload(module)
            settle(boot.cpus, boot.niceness)
            _limit_memory(boot.memory_limit)
            service: Service = _make_again(boot.service)
            service.boot(boot.number, boot.boot)
        inbound.expect(service.request_type, service.batch_type)
    except BaseException as error:  # noqa: BLE001  told to the parent, whatever it is
        _tell_unborn(outbound.send, error)
        return False
    deputy.step_back()
    outbound.send(Ready(os.getpid()))
    mark = make_mark()
    port = attached.port = RequestPort(inbound, outbound, page, deputy, mark, attached)
    _forwarder.port = port
    Loop(service, inbound, outbound, page, deputy, attached, port, mark).run()
    outbound.flush()
    deputy.stand_in()
    service.close(inbound.reason)
    attached.close()
    outbound.send(Bye())
    return True


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


class LogForwarder(logging.Handler):
    """Sends log records to the parent, which handles them as its own."""

    def __init__(self) -> None:
        super().__init__()
        self.outbound: Outbound | None = None
        """What it sends from; there before it is given a record."""
        self.port: RequestPort | None = None
        """What knows which request runs; there once one may."""
        self._formatter = logging.Formatter()

    def createLock(self) -> None:  # noqa: N802  as logging calls it
        """Have none: the channel has its own, a signal handler may log, and each copy would make it anew."""
        self.lock = None

    def handle(self, record: logging.LogRecord) -> bool:
        """Send a record that passes the filters."""
        passed: object = self.filter(record)  # from Python 3.12 on it may be another record
        if passed:
            self.emit(passed if isinstance(passed, logging.LogRecord) else record)
        return bool(passed)

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
            seq=None if self.port is None else self.port.current,
        )


def _make_again(service: bytes) -> Any:
    """Give what the worker runs; what code of the user's raises there is told as such."""
    try:
        return decode_code(service)
    except ValueDecodingError as error:
        cause = error.__cause__
        if cause is None:
            raise
        message = f"what it runs could not be made again in its process: {describe(cause)}"
        raise ValueDecodingError(message) from cause


def _encodable(text: object) -> str:
    return str(text).encode("utf-8", "backslashreplace").decode()


def _tell_unborn(send: Callable[[BootFailed], None], error: BaseException) -> None:
    """Tell the parent, if it is there, why there is no worker."""
    with contextlib.suppress(OSError):
        send(BootFailed(record_error(error)))


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


# Those of this process: made with the module, which a zygote imports once for all of its workers.
_forwarder = LogForwarder()
_attached = Attached()
_root = logging.getLogger()


def _forward_logging(boot: Boot, outbound: Outbound) -> None:
    _forwarder.outbound = outbound
    _root.handlers[:] = [_forwarder]
    if _root.level != boot.log_level:
        _root.setLevel(boot.log_level)
    for name in boot.log_levels:
        logging.getLogger(name).setLevel(boot.log_levels[name])
