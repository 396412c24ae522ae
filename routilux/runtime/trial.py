"""Starting one worker of each process routine, to find what cannot become one before a job runs.

Routines on Ray are carried, and no further: what is there on the machines of a cluster is known there alone.

Owns the trial, and the search for the part that is to blame. The routine goes through the same door as in a job, with
its state and its options, and the worker is ended again; no handler is run.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from routilux.errors import StateError
from routilux.model.check import Problem
from routilux.model.graph import FlowGraph
from routilux.routing import RoutinePlan, compile_plan
from routilux.runtime.placing import carry_service
from routilux.runtime.workers import launch_of
from routilux.turn.codec import WireResult, encode_boot
from routilux.turn.state import begin_states
from routilux.turn.values import PICKLED
from supervisors.errors import PreloadError, ValueDecodingError, ValueEncodingError
from supervisors.parking import Poller
from supervisors.places.base import Finished, Lost, Port
from supervisors.places.process.place import START_SECONDS, ProcessPlace
from supervisors.reasons import Reason, StartFailed
from supervisors.tracebacks import type_name
from supervisors.wire.values import RefusedPartError, decode_code, describe, encode_code, find_bad_part

Output = Callable[[str, str], None]
"""Told what a worker printed: the routine, and the line."""

_JOB_ID = "check"
_MADE_AGAIN = (
    "is carried to its process, but cannot be made again there: {}; make that part inside the handler, see that all it "
    "is made with is there in a worker too, or use placement='thread'"
)


def try_workers(graph: FlowGraph, output: Output) -> list[Problem]:
    """Start a worker of each process routine, one after another; give what keeps each from starting.

    Args:
        graph: a flow that was checked, with no error among its problems.
        output: told what the workers print meanwhile.
    """
    plan = compile_plan(graph)
    found = [(routine.id, _try_worker(routine, output)) for routine in plan.routines if routine.runs_apart]
    return [Problem("error", f"routine {routine_id!r}", told) for routine_id, told in found if told is not None]


def _try_worker(routine: RoutinePlan, output: Output) -> str | None:
    try:
        boot = encode_boot(begin_states(routine.options, routine.routine)[0])
    except (StateError, ValueEncodingError) as error:
        return f"its state cannot be carried to its worker: {error}"
    service = carry_service(routine, _JOB_ID, PICKLED)
    return _start_worker(routine, service, boot, output) if routine.options.is_local else None


def _start_worker(routine: RoutinePlan, service: bytes, boot: bytes, output: Output) -> str | None:
    with _started(routine, service, WireResult, boot, output) as worker:
        reason = worker.reason
    if reason is None:
        return None
    if not isinstance(reason, StartFailed):
        return f"its worker did not start: {reason}"
    if reason.error.type == type_name(PreloadError):
        return f"its workers cannot start: {reason.error.text}"
    blamed = _blame(routine, output)
    return f"its worker {reason}" if blamed is None else _MADE_AGAIN.format(blamed)


def _blame(routine: RoutinePlan, output: Output) -> str | None:
    """Say which part of a routine cannot be made again in a worker, and why; None where all of it can."""
    with _started(routine, encode_code(_Parts(), "parts"), bytes, b"", output) as worker:

        def carry(part: Any, _file: object) -> None:
            try:
                data = encode_code(part, "part")
            except ValueEncodingError:
                return  # it is not how the routine carries it, which was carried
            failure = worker.ask(data)
            if failure:
                raise RefusedPartError(failure)

        try:
            carry(routine.routine, None)
        except RefusedPartError as error:
            path, detail = find_bad_part(routine.routine, routine.id, error, carry)
            return f"{path}: {detail}"
    return None


class _Parts:
    """In the worker: makes parts again, and tells what each raised."""

    request_type: Any = bytes
    result_type: type = bytes
    batch_type: Any = None

    def boot(self, number: int, boot: bytes) -> None:
        """Need nothing."""

    def begin(self, request: bytes, port: Port) -> _Made:
        return _Made(_failure_of(request))

    def settle(self, *, accepted: bool) -> None:
        """Keep nothing."""

    def describe_failure(self, error: BaseException) -> bytes:
        return describe(error).encode("utf-8", "backslashreplace")

    def close(self, reason: Reason) -> None:
        """Hold nothing."""


class _Made:
    """The execution of one request, which is over."""

    touched = False

    def __init__(self, failure: str) -> None:
        self.result = failure.encode("utf-8", "backslashreplace")

    def advance(self) -> bool:
        return True


def _failure_of(data: bytes) -> str:
    try:
        decode_code(data)
    except ValueDecodingError as error:
        return describe(error.__cause__ or error)
    return ""


@contextmanager
def _started(routine: RoutinePlan, service: bytes, result_type: type, boot: bytes, output: Output) -> Iterator[_Worker]:
    poller = Poller()
    worker = _Worker(routine, service, result_type, poller, output)
    try:
        worker.start(boot)
        yield worker
    finally:
        worker.end()
        poller.close()


class _Worker:
    """One worker at a place, driven by the thread that asks; the place's listener."""

    def __init__(self, routine: RoutinePlan, service: bytes, result_type: type, poller: Poller, output: Output) -> None:
        self._poller = poller
        self._place = ProcessPlace(
            routine.id,
            service,
            1,
            poller=poller,
            clock=time.monotonic,
            listener=self,
            output=lambda _number, _stream, line: output(routine.id, line),
            timeout=START_SECONDS,
            memory_limit=routine.options.memory_limit,
            result_type=result_type,
            launch=launch_of(routine.options),
        )
        self._is_ready = False
        self._is_closed = False
        self._asked = 0
        self._answers: deque[str] = deque()
        self.reason: Reason | None = None
        """Why it did not start, or ended; None while it runs."""

    def start(self, boot: bytes) -> None:
        """Start it, and wait until it is ready, or lost."""
        self._place.start(0, boot)
        self._run(lambda: self._is_ready or self.reason is not None)

    def ask(self, request: bytes) -> str:
        """Give the answer to a request; of a worker that ends by it, how it ended."""
        if self.reason is not None:
            self.reason = None
            self.start(b"")
        self._asked += 1
        self._place.submit(0, [(self._asked, request)])
        self._place.flush()
        self._run(lambda: self._answers or self.reason is not None)
        return self._answers.popleft() if self._answers else f"its process {self.reason}"

    def end(self) -> None:
        """End it, and wait for that."""
        try:
            self._place.close(0.0)
            self._run(lambda: self._is_closed)
        finally:
            self._place.abort()

    def _run(self, until: Callable[[], object]) -> None:
        while True:
            self._place.on_tick(time.monotonic())
            while self._place.advance():
                pass
            if until():
                return
            deadline = self._place.next_deadline()
            self._poller.park(None if deadline is None else max(0.0, deadline - time.monotonic()))

    # -- Listener

    def on_ready(self, number: int) -> None:
        self._is_ready = True

    def on_part(self, number: int, seq: int, body: bytes) -> bool:
        return True

    def on_done(self, number: int, finished: Sequence[Finished]) -> bool:
        self._answers.extend(body.decode("utf-8") for _seq, body, *_ in finished)
        return True

    def on_returned(self, number: int, seqs: tuple[int, ...]) -> None:
        """Take back nothing: each request is waited for."""

    def on_failed(self, number: int, seq: int, body: bytes, returned: tuple[int, ...]) -> None:
        self._answers.append(body.decode("utf-8"))

    def on_lost(self, number: int, reason: Reason, lost: Lost) -> None:
        self.reason = reason

    def on_closed(self) -> None:
        self._is_closed = True
