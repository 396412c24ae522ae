"""The worker's second thread: it listens, and sends what has waited, while the main thread is busy for long.

Owns that thread, and when it is awake. Never runs a request.

Theory of operation. The main thread reads and writes by itself, between two requests, and looks around every
`LINGER_SECONDS` at least while it has short ones to run. So the deputy has something to do only where one request, or
the service at its start and end, takes longer than that. To find out it looks every `LOOK_SECONDS` while the main
thread is at work, and sleeps without end once there was nothing to run between two looks: a main thread that goes
to work wakes it only then. By the page the deputy knows, as the parent does, since when a request runs.
"""

from __future__ import annotations

import _thread

from supervisors.parking import LockParker
from supervisors.places.process.inbound import Inbound, leave_unheard
from supervisors.places.process.outbound import LINGER_SECONDS, Outbound
from supervisors.places.process.page import Page

LOOK_SECONDS = 0.01
"""Seconds between two looks: each takes the interpreter from a main thread that is at work, which costs it more
than the look (arbitrary: as on a thread, `flusher`)."""


class Deputy:
    """The second thread of a worker. The main thread calls its methods.

    Args:
        inbound: where it listens.
        outbound: what it sends from.
        page: tells what the main thread is on.
    """

    def __init__(self, inbound: Inbound, outbound: Outbound, page: Page) -> None:
        self._inbound = inbound
        self._outbound = outbound
        self._page = page
        self._is_away = True
        """Whether the main thread is in code that may take long and is no request."""
        self._is_at_work = True
        self._is_awake = True
        self._parker = LockParker()

    def start(self) -> None:
        """Begin.

        Raises:
            RuntimeError: the system gave no thread.
        """
        # Not by `threading`, whose objects cost each worker a tenth of its start: nobody joins this thread, or asks it
        # who it is.
        _thread.start_new_thread(self._serve, ())

    def stand_in(self) -> None:
        """Be told that the main thread goes into code that may take long, and is no request."""
        self._is_away = True
        self.begin()

    def step_back(self) -> None:
        """Be told that it has come back; so it is at the start."""
        self._is_away = False

    def begin(self) -> None:
        """Be told that there are requests to be run now."""
        # First this, then the look: the deputy falls asleep by the same two steps the other way round.
        self._is_at_work = True
        if not self._is_awake:
            self._is_awake = True
            self._parker.unpark()

    def rest(self) -> None:
        """Be told that there is nothing to run: from here the main thread listens."""
        self._is_at_work = False

    def _serve(self) -> None:
        try:
            while True:
                self._watch()
                self._is_awake = False
                if not self._is_at_work:
                    self._parker.park(None)
                self._is_awake = True
        except BaseException as error:  # noqa: BLE001  without this thread the worker hears nothing while it is busy
            leave_unheard(error)

    def _watch(self) -> None:
        """Look every now and then, until nothing was run between two looks."""
        ran = -1
        pause = LockParker()
        while True:
            pause.park(LOOK_SECONDS)
            if self._is_needed():
                self._inbound.listen(self._stand_by)
                self._inbound.is_listened_to = False
            seen = self._page.read().ran
            if seen == ran and not self._is_at_work:
                return
            ran = seen

    def _stand_by(self) -> bool:
        """Send what has ended before the one thing that takes long; tells whether there is such."""
        is_needed = self._is_needed()
        if is_needed:
            self._outbound.flush_late()
        return is_needed

    def _is_needed(self) -> bool:
        """Whether the main thread has been busy with one thing for long."""
        page = self._page.read()
        return self._is_away or (page.seq is not None and self._page.clock() - page.since >= LINGER_SECONDS)
