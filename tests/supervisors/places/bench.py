"""What the tests of places run on: a service with a verb for everything, and a driver of a process place."""

from __future__ import annotations

import ctypes
import logging
import math
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import psutil

from supervisors.errors import FrameError
from supervisors.parking import Poller
from supervisors.places.base import Finished, Lost, Port, Ran, Watch
from supervisors.places.process.launch import Launch, has_zygotes
from supervisors.places.process.place import ProcessPlace
from supervisors.reasons import Reason, Shutdown
from supervisors.wire.frames import Done, Parked, encode_frame
from supervisors.wire.values import decode, encode, encode_code
from tests.deeds import DEEDS

PATIENCE = 30.0
"""Seconds that anything may take before a test gives up (arbitrary, generous on a busy machine)."""


LAUNCH = Launch(preload=("pytest", __name__))
"""How the workers of tests are started: what all of them import is there."""
LAUNCHES = [LAUNCH, Launch("spawn")] if has_zygotes() else [LAUNCH]
"""Each way of starting them."""


class Bench:
    """A service whose requests say what to do: `[verb, *arguments]`."""

    request_type: Any = bytes
    result_type: type = bytes
    batch_type: Any = None

    def __init__(self) -> None:
        self.settled: list[bool] = []

    def boot(self, number: int, boot: bytes) -> None:
        self.number = number
        if boot:
            getattr(self, decode(boot))(None)

    def begin(self, request: bytes, port: Port) -> Stepwise:
        verb, *arguments = decode(request)
        return Stepwise(getattr(self, verb)(port, *arguments))

    def settle(self, *, accepted: bool) -> None:
        self.settled.append(accepted)

    def close(self, reason: Reason) -> None:
        """Do nothing."""

    def describe_failure(self, error: BaseException) -> bytes:
        return encode(f"{type(error).__name__}: {error}")

    # -- The verbs; each gives the result or a generator of parts that returns it

    def echo(self, _port: Port, value: Any) -> Any:
        return value

    def facts(self, _port: Port) -> Any:
        main = sys.modules["__main__"]
        return [os.getpid(), self.number, sys.argv, hasattr(main, "__file__"), self.settled]

    def wait(self, _port: Port, seconds: float) -> Any:
        time.sleep(seconds)  # noqa: TID251  a request that takes long is what is tested
        return seconds

    def fail(self, _port: Port, text: str) -> Any:
        raise ValueError(text)

    def do(self, _port: Port, name: str) -> Any:
        DEEDS[name][0]()

    def leave(self, _port: Port, code: int) -> Any:
        sys.exit(code)

    def sink(self, _port: Port | None, code: int = 7) -> Any:
        os._exit(code)

    def kill(self, _port: Port | None, number: int = signal.SIGKILL) -> Any:
        os.kill(os.getpid(), number)
        time.sleep(PATIENCE)  # noqa: TID251

    def crash(self, _port: Port) -> Any:
        ctypes.string_at(0)

    def recurse(self, port: Port) -> Any:
        return self.recurse(port)

    def refuse(self, _port: Port | None) -> Any:
        raise LookupError("no such boot")

    def give(self, _port: Port, value: Any) -> Any:
        return Bare(value)

    def note(self, _port: Port, path: str, text: str) -> Any:
        """Write to a file that stays open."""
        self.notes = Path(path).open("w")  # noqa: SIM115
        self.notes.write(text)

    def hoard(self, _port: Port, size: int) -> Any:
        """Hold so much memory for a while."""
        held = bytearray(size)
        time.sleep(PATIENCE)  # noqa: TID251
        return len(held)

    def enlarge(self, _port: Port, size: int) -> Any:
        return b"x" * size

    def stream(self, port: Port, count: int, weight: int) -> Any:
        for index in range(count):
            port.part(encode(index), weight)
        return count

    def confirm(self, port: Port, parts: int) -> Any:
        """Hand over some parts, then one that is waited for."""
        for index in range(parts):
            port.part(encode(index), 1)
        port.confirm(encode("confirmed?"))
        return "confirmed"

    def steps(self, port: Port, count: int, weight: int) -> Iterator[None]:
        for index in range(count):
            port.stop_with(encode(index), weight)
            yield

    def say(self, _port: Port, out: str, err: str) -> Any:
        print(out)  # noqa: T201
        print(err, file=sys.stderr)  # noqa: T201
        logging.getLogger("bench.noise").debug("not wanted")
        try:
            self.fail(_port, "inner")
        except ValueError:
            logging.getLogger("bench.voice").exception("said %s", out)

    def breed(self, _port: Port, *fate: str) -> Any:
        """Start a process that holds every descriptor of this one, the channel with them."""
        for fd in range(3, 64):
            try:
                os.set_inheritable(fd, True)
            except OSError:
                continue
        child = subprocess.Popen(["sleep", "600"], close_fds=False)
        print("bred", child.pid)  # noqa: T201
        if fate:
            self.kill(None)
        return child.pid

    def fork(self, _port: Port) -> Any:
        pid = os.fork()  # noqa: TID251
        if pid == 0:
            sys.exit(3)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def clone(self, _port: Port) -> Any:
        """Make a copy of this process past the interpreter, which comes back out of here as this one does."""
        pid = ctypes.PyDLL(None).fork()
        return None if pid == 0 else os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def garbage(self, _port: Port) -> Any:
        own_channel().send(b"not a frame, not at all")
        time.sleep(PATIENCE)  # noqa: TID251

    def scribble(self, _port: Port) -> Any:
        """Write nonsense into the channel, and go on."""
        os.write(own_channel().detach(), b"not a frame, not at all")

    def hang_up(self, _port: Port) -> Any:
        own_channel().shutdown(socket.SHUT_WR)
        time.sleep(PATIENCE)  # noqa: TID251

    def lie(self, _port: Port, seq: int) -> Any:
        own_channel().send(encode_frame(Done([seq], [b""], [0.0]), 1))
        time.sleep(PATIENCE)  # noqa: TID251

    def claim(self, _port: Port, hold: int, seq: int | None, times: int = 1) -> Any:
        """Tell to be parked."""
        own_channel().send(encode_frame(Parked(hold, seq), 1) * times)
        time.sleep(PATIENCE)  # noqa: TID251

    def block(self, _port: Port, path: str) -> Any:
        """Stay until there is a file."""
        while not Path(path).exists():
            time.sleep(0.001)  # noqa: TID251

    def survive(self, _port: Port) -> Any:
        """Let the kernel not end this worker with its parent."""
        ctypes.CDLL(None).prctl(1, 0, 0, 0, 0)

    def bear(self, _port: Port) -> Any:
        """Start a process that gets all that may be inherited."""
        return subprocess.Popen(["sleep", "600"], close_fds=False).pid


_found: list[socket.socket] = []
"""What `own_channel` gave: who lets go of a socket closes it, and the worker loses its channel."""


def own_channel() -> socket.socket:
    """The channel of the worker that this runs in: its only socket."""
    (fd,) = [fd for fd in range(3, 64) if Path(f"/proc/self/fd/{fd}").exists() and is_socket(fd)]
    _found.append(socket.socket(fileno=fd))
    return _found[-1]


def is_socket(fd: int) -> bool:
    return stat.S_ISSOCK(os.fstat(fd).st_mode)


def gone(pid: int) -> bool:
    """Whether a process ends soon; a zombie has ended."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        threading.Event().wait(0.01)
    return False


class Bare:
    """A result that is not to be encoded."""

    def __init__(self, value: Any) -> None:
        self.value = value


class Stepwise:
    """The execution of one verb."""

    touched = True

    def __init__(self, outcome: Any) -> None:
        self._outcome = outcome

    @property
    def outcome(self) -> Any:
        return self._outcome

    def advance(self) -> bool:
        if not hasattr(self._outcome, "__next__"):
            return True
        try:
            next(self._outcome)
        except StopIteration as stop:
            self._outcome = stop.value
            return True
        return False

    @property
    def result(self) -> Any:
        return self._outcome.value if isinstance(self._outcome, Bare) else encode(self._outcome)


class Results(msgspec.Struct, array_like=True):
    """What requests of a batch came to that were run one behind the other."""

    began_at: float
    ats: list[float]
    bodies: list[bytes]

    def __len__(self) -> int:
        return len(self.ats)

    def one_by_one(self, first: int) -> Iterator[Finished]:
        before = self.began_at
        for seq, (body, at) in enumerate(zip(self.bodies, self.ats, strict=True), first):
            yield seq, body, at - before, at
            before = at


class Together:
    """The execution of a batch of verbs; one that uses the port, or has steps, ends apart."""

    touched = True

    def __init__(self, bench: Bench, batch: list[bytes], port: Port, now: float) -> None:
        self._bench = bench
        self._batch = batch
        self._port = port
        self._began_at = now
        self._stop = len(batch)
        self._bodies: list[bytes] = []
        self._ats: list[float] = []
        self._taken = 0
        self._turn: Stepwise | None = None
        self._is_apart = False
        self.position = 0

    def run(self, watch: Watch, urgent: Sized, until: float) -> Ran:
        now = watch.clock()
        while self.position < self._stop:
            if self._turn is None:
                if watch.note is not None:
                    watch.note(watch.ran + self.position, now, watch.first + self.position)
                self._is_apart = False
                self._turn = self._bench.begin(self._batch[self.position], self)
                self._is_apart |= hasattr(self._turn.outcome, "__next__")
            if not self.advance():
                return Ran.STOPPED
            if not watch.mark[0]:
                return Ran.COPIED
            if self._is_apart:
                return Ran.APART
            self._bodies.append(self._turn.result)
            self._turn = None
            now = watch.clock()
            self._ats.append(now)
            self.position += 1
            if urgent or now >= until:
                break
        return Ran.PLAIN

    def advance(self) -> bool:
        return self._turn is None or self._turn.advance()

    @property
    def result(self) -> Any:
        return None if self._turn is None else self._turn.result

    def take_results(self) -> tuple[int, Results, float, float] | None:
        first, stop = self._taken, len(self._ats)
        if first == stop:
            return None
        self._taken = stop
        began_at = self._ats[first - 1] if first else self._began_at
        results = Results(began_at, self._ats[first:stop], self._bodies[first:stop])
        return first, results, self._ats[stop - 1] - began_at, self._ats[stop - 1]

    def take_rest(self, behind: bool) -> tuple[int, list[bytes]]:
        start, stop = self.position + behind, self._stop
        self._stop = start
        return start, self._batch[start:stop]

    @property
    def since(self) -> float:
        return self._ats[-1] if self._ats else self._began_at

    # -- Port

    def part(self, body: bytes, weight: int) -> None:
        self._is_apart = True
        self._port.part(body, weight)

    def confirm(self, body: bytes) -> None:
        self._is_apart = True
        self._port.confirm(body)

    def check(self) -> None:
        self._port.check()

    def stop_with(self, body: bytes, weight: int) -> None:
        self._port.stop_with(body, weight)


class BatchBench(Bench):
    """A bench that takes its requests together."""

    batch_type = list[bytes]

    def begin_batch(self, batch: list[bytes], port: Port, now: float) -> Together:
        return Together(self, batch, port, now)


class Driver:
    """An actor's loop reduced to what a place needs, and a listener that writes everything down."""

    def __init__(self, workers: int = 1, service: Any = None, *, grants: bool = True, **options: Any) -> None:
        self.poller = Poller()
        self.takes_batches = isinstance(service, BatchBench)
        self.place = self.make_place(workers, Bench() if service is None else service, **options)
        self.waiting: deque[tuple[int, bytes]] = deque()
        self.requests: dict[int, bytes] = {}
        self.done: dict[int, Any] = {}
        self.order: list[int] = []
        self.together: list[int] = []
        """How many results were told by each call."""
        self.seconds: dict[int, float] = {}
        self.parts: list[tuple[int, Any]] = []
        self.failed: list[tuple[int, str, tuple[int, ...]]] = []
        self.returned: list[tuple[int, ...]] = []
        self.lost: list[tuple[int, Reason, Lost]] = []
        self.ready: list[int] = []
        self.lines: list[tuple[int, str, str]] = []
        self.warned: list[tuple[int, float, str]] = []
        self.closed = 0
        self.unreadable = 0
        """The request of which no report can be read."""
        self._workers = workers
        self.grants = grants
        self._next = 0

    def make_place(self, workers: int, service: Any, **options: Any) -> Any:
        return ProcessPlace(
            "bench",
            encode_code(service, "service"),
            workers,
            poller=self.poller,
            clock=time.monotonic,
            listener=self,
            output=lambda number, stream, line: self.lines.append((number, stream, line)),
            warn=lambda seq, seconds, stack: self.warned.append((seq, seconds, stack)),
            **{"launch": LAUNCH, "results_type": Results if self.takes_batches else None, **options},
        )

    def ask(self, *request: Any) -> int:
        """Line a request up; its number."""
        self._next += 1
        self.requests[self._next] = encode(list(request))
        self.waiting.append((self._next, self.requests[self._next]))
        return self._next

    def put_back(self, seqs: Iterable[int]) -> None:
        """Line up again what has come back, oldest first, ahead of all else."""
        self.waiting.extendleft((seq, self.requests[seq]) for seq in reversed(tuple(seqs)))

    def run(self, until: Callable[[], object], look_every: float = PATIENCE) -> None:
        """Drive until `until()`; for what no event tells, such as a page, look again after some seconds."""
        end = time.monotonic() + PATIENCE
        while True:
            self.place.on_tick(time.monotonic())
            while self.place.advance():
                pass
            self.hand_out()
            if until():
                return
            now = time.monotonic()
            assert now < end, self
            deadline = self.place.next_deadline()
            assert deadline is None or deadline < math.inf
            self.poller.park(max(0.0, min(end, now + look_every, end if deadline is None else deadline) - now))

    def hand_out(self) -> None:
        """Give out what there is room for."""
        for number in range(self._workers):
            while self.waiting and (room := self.place.room(number)):
                if self.takes_batches:
                    self._submit_batch(room)
                else:
                    self.place.submit(number, [self.waiting.popleft()])
        self.place.flush()

    def _submit_batch(self, room: int) -> None:
        """Hand out together what has numbers that follow one another."""
        first, request = self.waiting.popleft()
        batch = [request]
        while self.waiting and len(batch) < room and self.waiting[0][0] == first + len(batch):
            batch.append(self.waiting.popleft()[1])
        self.place.submit_batch(first, batch)

    def start(self, boot: str = "") -> None:
        """Start every worker and drive until all are ready."""
        for number in range(self._workers):
            self.place.start(number, encode(boot) if boot else b"")
        self.run(lambda: len(self.ready) + len(self.lost) == self._workers)

    def close(self, timeout: float = 0.0) -> None:
        self.place.close(timeout)
        self.run(lambda: self.closed)
        assert self.closed == 1
        assert self.place.workers() == ()

    def __repr__(self) -> str:
        names = ("waiting", "failed", "lost", "ready", "lines", "closed")
        return f"{len(self.done)} done, " + ", ".join(f"{name}={getattr(self, name)!r:.300}" for name in names)

    # -- Listener

    def on_ready(self, number: int) -> None:
        self.ready.append(number)

    def on_part(self, number: int, seq: int, body: bytes) -> bool:
        self._read(seq)
        self.parts.append((seq, decode(body)))
        if self.grants:
            self.place.grant(number, seq)
        return True

    def on_done(self, _number: int, finished: Sequence[Finished]) -> bool:
        each = [
            one
            for entry in finished
            for one in (entry[1].one_by_one(entry[0]) if isinstance(entry[1], Results) else (entry,))
        ]
        for seq, _body, _seconds, _at in each:
            self._read(seq)
        self.together.append(len(each))
        for seq, body, seconds, _at in each:
            assert seconds >= 0.0
            assert seq not in self.done
            self.done[seq] = decode(body)
            self.seconds[seq] = seconds
            self.order.append(seq)
        return True

    def on_returned(self, _number: int, seqs: tuple[int, ...]) -> None:
        self.returned.append(seqs)
        self.put_back(seqs)

    def on_failed(self, _number: int, seq: int, body: bytes, returned: tuple[int, ...]) -> None:
        self._read(seq)
        self.failed.append((seq, decode(body), returned))

    def _read(self, seq: int) -> None:
        if seq == self.unreadable:
            raise FrameError("unreadable")

    def on_lost(self, number: int, reason: Reason, lost: Lost) -> None:
        self.lost.append((number, reason, lost))

    def on_closed(self) -> None:
        self.closed += 1


@contextmanager
def driven(workers: int = 1, service: Any = None, *, boot: str = "", **options: Any) -> Iterator[Driver]:
    """Give a driver whose workers have started; close it at the end."""
    driver = Driver(workers, service, **options)
    try:
        driver.start(boot)
        yield driver
        if not driver.closed:
            driver.close()
    finally:
        driver.place.abort()
        driver.poller.close()


CLOSED = Shutdown("closed")
