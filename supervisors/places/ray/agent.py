"""What runs on the other machine: an actor of the engine that is a worker.

Owns the worker's set-up in a process that the engine has started, and the passing on of what goes in and out of it.
Runs there what runs in a worker process here (`worker.live`), with the engine's calls instead of a channel between
processes. Never knows which engine it is.

Theory of operation. `serve` makes it a worker, whose main thread is one of this module's. From then on calls of four
kinds go on at once: `deliver` hands over what the worker is told; `take_piece` waits for what it says, and
`take_object` for what it puts, so that both are answers to the parent, which has asked ahead; `tell_stack` looks at its
threads. Where the parent is connected to it (`direct`), all of that but objects goes by the connection, and
`take_piece` waits for the end alone.

An object is the parent's, as the answer to any call is, and outlives the agent. The worker waits while the engine
copies it (`Rendezvous`), and goes on when the engine has let go of it (`Handout`).
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
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from supervisors.places.process import worker
from supervisors.places.process.guardian import Guardian
from supervisors.places.process.heap import keep_freed
from supervisors.places.process.leaving import flush_all
from supervisors.places.process.page import Page, create_page_file
from supervisors.places.process.reap import TreeMemory
from supervisors.places.process.stack import tidy_stacks
from supervisors.places.ray.direct import DirectServer
from supervisors.places.ray.engine import Group, Hello, Piece, Terms
from supervisors.places.ray.objects import ObjectSpace
from supervisors.places.ray.telling import Mouth, Teller
from supervisors.renewals import renewals
from supervisors.wire.memory import lend
from supervisors.wire.outside import here

VERSION = 1
"""Of what agents and their parents say to each other."""
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
        self._mouth = Mouth()
        self._speaker: Mouth | DirectServer = self._mouth
        """What takes frames."""
        self._rendezvous = Rendezvous()
        self._objects = ObjectSpace(self._rendezvous.put, self._mouth.drop, self.fetch)
        self._clock = ParentClock()
        self._host = host
        self._direct: DirectServer | None = None
        self._teller: Teller
        self._told: threading.Event | None = None
        """Whether all was told, where that is done directly."""
        self._failure: Exception | None = None
        """Why not all could be."""

    def say_hello(self) -> Hello:
        """Tell who it is; asked once."""
        if self._host is not None:
            with contextlib.suppress(OSError):  # it is not the machine's own: all goes by the engine
                self._direct = DirectServer(self._host)
        address = None if self._direct is None else self._direct.address
        return Hello(VERSION, os.getpid(), self._node, self._node_id, address)

    def fetch(self, carried: bytes) -> Sequence[memoryview]:
        """Give the buffers of an object; the engine's own agents know how."""
        raise NotImplementedError

    def deliver(self, data: bytes | memoryview, now: float, groups: Sequence[Group]) -> None:
        """Take bytes of frames; one call after the other.

        Args:
            data: the bytes.
            now: what the parent's clock was.
            groups: the objects of each request that names any: of those in `data`, or in what comes after.
        """
        self._clock.hear(now)
        self._objects.give(groups)
        self._far_end.sendall(data)

    def tell_stack(self) -> None:
        """Tell the stacks of all threads, with the next piece."""
        with tempfile.TemporaryFile() as file:
            faulthandler.dump_traceback(file, all_threads=True)
            file.seek(0)
            told = file.read().decode("utf-8", "backslashreplace")
        threads = [thread for thread in told.split("\n\n") if _is_of_worker(thread)]
        self._mouth.say_stack(tidy_stacks("\n\n".join(threads)))

    def serve(self, terms: Terms) -> None:
        """Be a worker from now on, whose words are told directly where the parent is connected."""
        here.space = self._objects
        if not terms.is_weighed:
            keep_freed()
        sys.path += [entry for entry in terms.search_path if entry not in sys.path and os.path.exists(entry)]  # noqa: PTH110
        self._teller = Teller(self._mouth, self._page, TreeMemory(os.getpid()).read if terms.is_weighed else lambda: 0)
        if terms.is_direct and self._direct is not None:
            self._speaker = self._direct
            self._told = threading.Event()
            self._direct.begin(self._page.read, self.deliver, self._mouth.break_off)
            _begin_thread("teller", self._tell_directly, self._direct, self._told)
        outputs = [_Output(1, self._mouth.say_stdout), _Output(2, self._mouth.say_stderr)]
        sys.stdout, sys.stderr = (output.open() for output in outputs)
        _begin_thread("worker", self._be_worker, terms, outputs)

    def take_piece(self) -> Piece | None:
        """Give what the worker says next, waiting for it; None when it has ended, and all was told.

        Raises:
            ConnectionError: the parent was told directly, and listens no more.
        """
        if self._told is None:
            return self._teller.next()
        self._told.wait()
        if self._failure is not None:
            raise self._failure
        return None

    def take_object(self) -> tuple[Handout | None, bytes]:
        """Give the next object that the worker puts, and its number, waiting for it; nothing where none comes."""
        taken = self._rendezvous.take()
        if taken is None:
            return None, b""
        self._speaker.say_put()  # the parent waits for this very answer then
        handout, number = taken
        return handout, number.to_bytes(8)

    def _be_worker(self, terms: Terms, outputs: Sequence[_Output]) -> None:
        try:
            worker.live(
                self._channel,
                self._speaker,
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
            self._rendezvous.close()

    def _tell_directly(self, direct: DirectServer, told: threading.Event) -> None:
        try:
            while (piece := self._teller.next()) is not None:
                if piece.news is not None:
                    direct.tell(piece.news)
            direct.finish()
        except Exception as error:  # noqa: BLE001  it is raised to who waits for the end
            self._failure = error
        finally:
            told.set()


class Rendezvous:
    """Where a worker puts objects, and calls that the parent has made ahead take them, one after the other."""

    def __init__(self) -> None:
        # Reentrant: what was taken may be given back wherever its last reference ends.
        self._changed = threading.Condition()
        # Guarded by that.
        self._waiting: tuple[Handout, int] | None = None
        """What is to be taken."""
        self._is_out = False
        """Whether what was put was not given back so far."""
        self._is_closed = False

    def put(self, number: int, buffers: Sequence[memoryview]) -> None:
        """Put an object, and wait until its buffers are given back, or nobody takes any."""
        with self._changed:
            self._waiting, self._is_out = (Handout(buffers, self._give_back), number), True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._is_out or self._is_closed)

    def take(self) -> tuple[Handout, int] | None:
        """Take the next object, waiting for it; None where none comes."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting is not None or self._is_closed)
            taken, self._waiting = self._waiting, None
            return taken

    def close(self) -> None:
        """Put nothing more."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def _give_back(self) -> None:
        with self._changed:
            self._is_out = False
            self._changed.notify_all()


class Handout:
    """Buffers for the engine to copy, which are given back when it holds this no more. It is pickled as their list.

    Args:
        buffers: the buffers.
        give_back: called then.
    """

    def __init__(self, buffers: Sequence[memoryview], give_back: Callable[[], None]) -> None:
        self._buffers = buffers
        self._give_back = give_back

    def __reduce__(self) -> tuple[type[list[Any]], tuple[list[Any]]]:
        return list, ([lend(buffer) for buffer in self._buffers],)

    def __del__(self) -> None:
        self._buffers = ()
        self._give_back()


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
        self._thread = _begin_thread(f"output-{fd}", _read_all, reader, say)

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


def _begin_thread(what: str, target: Callable[..., None], *arguments: Any) -> threading.Thread:
    thread = threading.Thread(target=target, args=arguments, name=f"supervisors-{what}", daemon=True)
    thread.start()
    return thread
