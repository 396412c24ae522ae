"""What runs on the other machine: an actor of the engine that is a worker.

Owns the worker's set-up in a process that the engine has started, and the passing on of what goes in and out of it.
Runs there what runs in a worker process here (`worker.live`), with the engine's calls instead of a channel between
processes. Never knows which engine it is.

Theory of operation. Three calls go on at once: `deliver` and `give` hand over what the worker is told and the objects
that it names; `serve` is one long call, whose pieces are what it says, and the objects that it puts; `tell_stack` looks
at its threads. Where the parent is connected to it (`direct`), bytes come and pieces go by that. The worker's main
thread is one of this module's.
"""

from __future__ import annotations

import contextlib
import faulthandler
import io
import math
import os
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from supervisors.places.base import Used
from supervisors.places.process import worker
from supervisors.places.process.guardian import Guardian
from supervisors.places.process.leaving import flush_all
from supervisors.places.process.page import Page, PageView, create_page_file
from supervisors.places.process.reap import TreeMemory
from supervisors.places.process.stack import tidy_stacks
from supervisors.places.ray.direct import DirectServer
from supervisors.places.ray.engine import Hello, Piece, Reference, Terms
from supervisors.places.ray.gauge import Gauge, Scale
from supervisors.places.ray.objects import Group, ObjectSpace
from supervisors.renewals import renewals
from supervisors.wire.memory import lend
from supervisors.wire.outside import here

VERSION = 1
"""Of what agents and their parents say to each other."""
LOOK_SECONDS = 0.1
"""Time between two looks at what the worker is on, where it says nothing else (arbitrary)."""
HELD_BYTES = 1024 * 1024
"""What waits to be told of one kind before whoever says more has to wait (arbitrary)."""
PERIOD_SECONDS = 60.0
"""For how long, once or twice, a delivery is believed that told of the parent's clock (arbitrary: clocks of machines
drift by some microseconds in a second)."""
_DRAIN_SECONDS = 1.0
"""What the last output gets to come through, when the worker has ended (arbitrary)."""
_READ_BYTES = 65_536


class Agent:
    """A worker on another machine; made there, by the engine.

    Args:
        node: what the machine is called in the cluster.
        node_id: what tells it from all others.
        host: its address, where a parent may connect; None: it may not.
    """

    def __init__(self, node: str, node_id: str, host: str | None) -> None:
        self._node = node
        self._node_id = node_id
        # What its requests start is found by its session, and ended with it.
        with contextlib.suppress(OSError):
            os.setsid()
        self._guardian = Guardian()
        self._guardian.add(os.getpgrp())
        # It waits for this process's end, which a copy that a request makes by fork would keep from it.
        renewals.add(self._guardian.disown)
        self._page_fd = create_page_file(b"")
        self._page = Page(self._page_fd)
        self._page.clear()
        self._channel, self._far_end = socket.socketpair()
        self._mouth = _Mouth()
        self._resident = 0
        self._objects = ObjectSpace(self._mouth.put, self._mouth.drop, self.fetch)
        self._clock = ParentClock()
        self._host = host
        self._direct: DirectServer | None = None
        self._failure: Exception | None = None
        """What has ended `serve`, if it should not have."""
        self._has_told_all = False

    def say_hello(self) -> Hello:
        """Tell who it is; asked once."""
        if self._host is not None:
            with contextlib.suppress(OSError):  # it is not the machine's own: all goes by the engine
                self._direct = DirectServer(self._host)
        address = None if self._direct is None else self._direct.address
        return Hello(VERSION, os.getpid(), self._node, self._node_id, address)

    def fetch(self, reference: Reference) -> Sequence[memoryview]:
        """Give the buffers of an object; the engine's own agents know how."""
        raise NotImplementedError

    def give(self, objects: Sequence[Group]) -> None:
        """Take what requests name that are to come."""
        self._objects.give(objects)

    def deliver(self, data: bytes | memoryview, now: float) -> None:
        """Take bytes of frames; one call after the other.

        Args:
            data: the bytes.
            now: what the parent's clock was.
        """
        self._clock.hear(now)
        self._far_end.sendall(data)

    def tell_stack(self) -> None:
        """Tell the stacks of all threads, by `serve`."""
        with tempfile.TemporaryFile() as file:
            faulthandler.dump_traceback(file, all_threads=True)
            file.seek(0)
            told = file.read().decode("utf-8", "backslashreplace")
        threads = [thread for thread in told.split("\n\n") if _is_of_worker(thread)]
        self._mouth.say_stack(tidy_stacks("\n\n".join(threads)))

    def serve(self, terms: Terms) -> Iterator[Piece | list[Any]]:
        """Be a worker; gives what that says, as it comes, but for pieces that are told directly.

        An object that it puts is told by its number, in a piece, and then given itself: so it is the parent's.
        """
        try:
            yield from self._be_worker(terms)
            self._has_told_all = True
        except Exception as error:
            self._failure = error
            raise

    def check_end(self) -> None:
        """Raise what `serve` has raised, if it did: an engine may not tell that from the objects that it gives."""
        if self._failure is not None:
            raise self._failure
        if not self._has_told_all:
            message = "what it had to tell was not taken to its end"
            raise ConnectionAbortedError(message)

    def _be_worker(self, terms: Terms) -> Iterator[Piece | list[Any]]:
        direct = self._direct if terms.is_direct else None
        if direct is not None:
            direct.begin(self.deliver, self._mouth.break_off)
        here.space = self._objects
        sys.path += [entry for entry in terms.search_path if entry not in sys.path and os.path.exists(entry)]  # noqa: PTH110
        scale, gauge = Scale(TreeMemory(os.getpid()).read if terms.is_weighed else lambda: 0, LOOK_SECONDS), Gauge()
        outputs = [_Output(1, self._mouth.say_stdout), _Output(2, self._mouth.say_stderr)]
        sys.stdout, sys.stderr = (output.open() for output in outputs)

        def be_worker() -> None:
            try:
                worker.live(
                    self._channel,
                    self._mouth,
                    self._page_fd,
                    terms.incarnation,
                    terms.max_frame_bytes,
                    self._objects,
                    self._clock,
                )
                flush_all()  # the engine kills it then
            finally:
                for output in outputs:
                    output.close()
                self._mouth.close()

        threading.Thread(target=be_worker, name="supervisors-worker", daemon=True).start()
        page = self._page.read()
        while (said := self._mouth.take(LOOK_SECONDS)) is not None:
            before, page = page, self._page.read()
            weight, self._resident = self._resident, scale.weigh()
            used = gauge.look()
            if said or page != before or weight != self._resident or used is not None:
                yield from self._tell(self._to_piece(said, page, used), direct)
            if said.stored is not None:
                yield [lend(buffer) for buffer in said.stored[1]]
                self._mouth.end_put()
        yield from self._tell(self._to_piece(_NOTHING, self._page.read(), gauge.take()), direct)
        if direct is not None:
            direct.finish()

    def _tell(self, piece: Piece, direct: DirectServer | None) -> Iterator[Piece]:
        if direct is None:
            yield piece
        else:
            direct.tell(piece)

    def _to_piece(self, said: _Said, page: PageView, used: Used | None = None) -> Piece:
        return Piece(
            said.channel,
            said.stdout,
            said.stderr,
            said.stack,
            (page.seq, page.since, page.ran),
            self._resident,
            said.dropped,
            None if said.stored is None else said.stored[0],
            used,
        )


class ParentClock:
    """The parent's clock, as it can be known on another machine: a little behind, and never going back.

    Both clocks count seconds from a moment of their own. What the parent's was is heard with each delivery, which has
    been on its way for a while by then; so the delivery that was fastest is believed, of those of the last minute or
    two, since clocks drift.

    Args:
        clock: this machine's.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ahead = self._ahead_before = -math.inf
        """How far the parent's is ahead at the least, as was heard in this period and in the one before."""
        self._until = -math.inf
        self._last = -math.inf

    def hear(self, now: float) -> None:
        """Note what the parent's clock was, a moment ago."""
        here = self._clock()
        if here >= self._until:
            self._ahead_before, self._ahead, self._until = self._ahead, -math.inf, here + PERIOD_SECONDS
        self._ahead = max(self._ahead, now - here)

    def __call__(self) -> float:
        """Give what it is now, once something was heard."""
        self._last = max(self._last, self._clock() + max(self._ahead, self._ahead_before))
        return self._last


class _Said(NamedTuple):
    """What was said, all of it: true if that is anything."""

    channel: bytes
    stdout: bytes
    stderr: bytes
    stack: str | None
    dropped: tuple[int, ...]
    stored: tuple[int, Sequence[memoryview]] | None

    def __bool__(self) -> bool:
        return any(self)


_NOTHING = _Said(b"", b"", b"", None, (), None)


class _Mouth:
    """What waits to be told. Any thread may say something; one takes it."""

    def __init__(self) -> None:
        # Guards all below.
        self._lock = threading.Lock()
        self._said = threading.Condition(self._lock)
        """Who takes waits here."""
        self._taken = threading.Condition(self._lock)
        """Those wait here who said too much, or put an object."""
        self._channel = bytearray()
        self._streams = bytearray(), bytearray()
        self._stack: str | None = None
        self._dropped: list[int] = []
        self._object: tuple[int, Sequence[memoryview]] | None = None
        """What is being put into the store."""
        self._is_put = False
        """Whether it was taken for that."""
        self._is_closed = False
        self._is_broken = False

    def sendall(self, data: bytearray) -> None:
        """Say bytes of frames (`Outlet`)."""
        self._say(self._channel, data)

    def say_stdout(self, data: bytes) -> None:
        """Say what was printed."""
        self._say(self._streams[0], data)

    def say_stderr(self, data: bytes) -> None:
        """Say what was printed."""
        self._say(self._streams[1], data)

    def say_stack(self, text: str) -> None:
        """Say where the threads are."""
        with self._lock:
            self._stack = text
            self._said.notify()

    def drop(self, numbers: Sequence[int]) -> None:
        """Say that these objects are named by nobody."""
        with self._lock:
            self._dropped += numbers
            self._said.notify()

    def put(self, number: int, buffers: Sequence[memoryview]) -> None:
        """Say an object, ahead of all that is said after this, which returns when it is in the store."""
        with self._lock:
            self._object, self._is_put = (number, buffers), False
            self._said.notify()
            self._taken.wait_for(lambda: self._object is None or self._is_closed)

    def end_put(self) -> None:
        """Note that the object that was taken is in the store."""
        with self._lock:
            self._object = None
            self._taken.notify_all()

    def close(self) -> None:
        """Say nothing more."""
        with self._lock:
            self._is_closed = True
            self._said.notify()
            self._taken.notify_all()

    def break_off(self) -> None:
        """Note that nobody listens any more."""
        with self._lock:
            self._is_broken = True
            self._said.notify()

    def take(self, timeout: float) -> _Said | None:
        """Take all that was said, waiting for something; None once it is closed and all was taken.

        Raises:
            ConnectionError: nobody listens.
        """
        with self._lock:
            self._said.wait_for(lambda: self._has_words or self._is_closed or self._is_broken, timeout)
            if self._is_broken and not self._is_closed:
                message = "the connection to its parent broke"
                raise ConnectionAbortedError(message)
            return self._take_all() if self._has_words or not self._is_closed else None

    def _take_all(self) -> _Said:
        stored = self._object if self._is_object_new else None
        self._is_put |= stored is not None
        stdout, stderr = map(bytes, self._streams)
        said = _Said(bytes(self._channel), stdout, stderr, self._stack, tuple(self._dropped), stored)
        for held in (self._channel, *self._streams, self._dropped):
            held.clear()
        self._stack = None
        self._taken.notify_all()
        return said

    @property
    def _has_words(self) -> bool:
        return bool(
            self._channel or any(self._streams) or self._stack is not None or self._dropped or self._is_object_new
        )

    @property
    def _is_object_new(self) -> bool:
        return self._object is not None and not self._is_put

    def _say(self, held: bytearray, data: bytes | bytearray) -> None:
        with self._lock:
            if len(held) >= HELD_BYTES:
                self._taken.wait_for(lambda: len(held) < HELD_BYTES or self._is_closed)
            held += data
            self._said.notify()


class _Output:
    """One of the standard streams, read as lines of the worker.

    Args:
        fd: 1 or 2.
        say: given what was written, as it comes.
    """

    def __init__(self, fd: int, say: Callable[[bytes], None]) -> None:
        self._fd = fd
        self._before = os.dup(fd)
        reader, writer = os.pipe()
        os.dup2(writer, fd)
        os.close(writer)
        self._thread = threading.Thread(
            target=_read_all, args=(reader, say), name=f"supervisors-output-{fd}", daemon=True
        )
        self._thread.start()

    def open(self) -> io.TextIOWrapper:
        """Give a file that writes there."""
        return open(self._fd, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)

    def close(self) -> None:
        """Let the last of it come through, and be what it was."""
        os.dup2(self._before, self._fd)
        os.close(self._before)
        self._thread.join(_DRAIN_SECONDS)


def _is_of_worker(thread: str) -> bool:
    """Tell whether a stack is the worker's main thread's, or one of its requests', and none of the engine's or ours."""
    if f"{_folder_of(worker)}worker.py" in thread:
        return True
    loaded = [sys.modules[name] for name in ("supervisors", "ray") if name in sys.modules]
    return not any(own in thread for own in (*map(_folder_of, loaded), "<no Python frame>"))


def _folder_of(module: ModuleType) -> str:
    return str(Path(str(module.__file__)).parent) + os.sep


def _read_all(fd: int, say: Callable[[bytes], None]) -> None:
    while data := os.read(fd, _READ_BYTES):
        say(data)
    os.close(fd)
