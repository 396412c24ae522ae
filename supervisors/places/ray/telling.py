"""What a worker on another machine says, until it is taken to be told to its parent.

Owns what waits to be told (`Mouth`), and the pieces that are made of it (`Teller`). Never sends them: an engine's call
takes them, or whoever writes to a connection.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

from supervisors.places.base import Used
from supervisors.places.process.page import Page
from supervisors.places.ray.engine import OBJECTS_UNTOLD, News, Piece
from supervisors.places.ray.gauge import Gauge, Scale

LOOK_SECONDS = 0.1
"""Time between two looks at what the worker is on, where it says nothing else (arbitrary)."""
HELD_BYTES = 1024 * 1024
"""What waits to be told of one kind before whoever says more has to wait (arbitrary)."""


class Said(NamedTuple):
    """What was said, all of it: true if that is anything."""

    channel: bytes
    stdout: bytes
    stderr: bytes
    stack: str | None
    dropped: tuple[int, ...]
    put: int

    def __bool__(self) -> bool:
        return any(self)


_NOTHING = Said(b"", b"", b"", None, (), 0)


class Mouth:
    """What waits to be told. Any thread may say something; one takes it."""

    def __init__(self) -> None:
        # Guards all below.
        self._lock = threading.Lock()
        self._said = threading.Condition(self._lock)
        """Who takes waits here."""
        self._taken = threading.Condition(self._lock)
        """Those wait here who said too much."""
        self._channel = bytearray()
        self._streams = bytearray(), bytearray()
        self._stack: str | None = None
        self._dropped: list[int] = []
        self._put = 0
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

    def say_put(self) -> None:
        """Say that one more object is being put, at the latest with what is said next."""
        with self._lock:
            self._put += 1
            if self._put >= OBJECTS_UNTOLD:
                self._said.notify()

    def drop(self, numbers: Sequence[int]) -> None:
        """Say that these objects are named by nobody."""
        with self._lock:
            self._dropped += numbers
            self._said.notify()

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

    def take(self, timeout: float) -> Said | None:
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

    def _take_all(self) -> Said:
        stdout, stderr = map(bytes, self._streams)
        said = Said(bytes(self._channel), stdout, stderr, self._stack, tuple(self._dropped), self._put)
        for held in (self._channel, *self._streams, self._dropped):
            held.clear()
        self._stack, self._put = None, 0
        self._taken.notify_all()
        return said

    @property
    def _has_words(self) -> bool:
        is_due = self._put >= OBJECTS_UNTOLD
        return bool(self._channel or any(self._streams) or self._stack is not None or self._dropped or is_due)

    def _say(self, held: bytearray, data: bytes | bytearray) -> None:
        with self._lock:
            if len(held) >= HELD_BYTES:
                self._taken.wait_for(lambda: len(held) < HELD_BYTES or self._is_closed)
            held += data
            self._said.notify()


class Teller:
    """Makes pieces of what a worker says, and of what can be seen of it. For one thread.

    Args:
        mouth: what the worker says it by.
        page: what the worker is on.
        weigh: gives the bytes that the worker and all it has started hold.
    """

    def __init__(self, mouth: Mouth, page: Page, weigh: Callable[[], int]) -> None:
        self._mouth = mouth
        self._page = page
        self._scale = Scale(weigh, LOOK_SECONDS)
        self._gauge = Gauge()
        self._seen = page.read()
        self._resident = 0
        self._has_told_end = False

    def next(self) -> Piece | None:
        """Give the next piece, waiting for it; None behind the last, which comes when the mouth is closed.

        Raises:
            ConnectionError: nobody listens.
        """
        if self._has_told_end:
            return None
        while (said := self._mouth.take(LOOK_SECONDS)) is not None:
            seen, resident = self._seen, self._resident
            self._look()
            used = self._gauge.look()
            if said or self._seen != seen or self._resident != resident or used is not None:
                return self._to_piece(said, used)
        self._has_told_end = True
        self._look()
        return self._to_piece(_NOTHING, self._gauge.take())

    def _look(self) -> None:
        self._seen, self._resident = self._page.read(), self._scale.weigh()

    def _to_piece(self, said: Said, used: Used | None) -> Piece:
        news = News(said.stdout, said.stderr, said.stack, self._resident, said.dropped, used)
        return Piece(said.channel, said.put, self._seen, news)
