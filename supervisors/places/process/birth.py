"""A worker being started, and what its place then holds of it: the same for every way in which workers are started.

Owns the protocols between a `Child` and where its worker lives. Never starts one itself: `spawn` does so with
processes of this machine.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Protocol

from supervisors.places.base import Used
from supervisors.places.process.page import PageView
from supervisors.places.process.reap import Ended
from supervisors.places.process.segments import Segment
from supervisors.reasons import ErrorRecord, Reason
from supervisors.wire.outside import Holder


class Birth(Protocol):
    """A worker being started. All calls come from its place's thread, none after `close`.

    How it went comes on the channel: a `Spawned` frame ahead of everything else, from which on what is said of the
    worker may be read; or the end of the channel, and then `failure` says why.
    """

    channel: socket.socket
    """Does not block; carries the frames of both."""
    pid: int
    """Its process id, where it runs; 0 until it was started."""
    node: str
    """The machine that it runs on, as that is called in its cluster; empty for this one."""
    death_fd: int
    """Readable once it has ended, and all that is to come of it is in the channel and the streams."""
    stdout_fd: int
    stderr_fd: int
    failure: ErrorRecord | None

    def begin(self) -> None:
        """Have it started soon."""

    def read_page(self) -> PageView:
        """Give what it is on; any thread may ask, also after `close`."""

    def read_last_page(self) -> PageView | None:
        """Give what it was on as it ended; None where nobody knows."""

    def ask_stack(self) -> None:
        """Ask for its Python stacks, which come some milliseconds later, if they do."""

    def read_stack(self) -> str:
        """Give the stacks that it was asked for; empty if none have come."""

    def present(self, leases: Sequence[Holder]) -> Sequence[Segment]:
        """Give it what a request holds that is about to be written, as far as that needs no descriptor.

        Returns:
            Segments whose descriptors are to go with the request.
        """

    def count_resident(self) -> int:
        """Give the bytes that it and all it has started hold resident; 0 where that is not known."""

    def read_used(self) -> Used | None:
        """Give what it has told that it uses; None on this machine, where that can be looked at, and before it did."""

    def terminate(self) -> None:
        """Ask it to end by SIGTERM."""

    def end(self) -> None:
        """End it and all it has started, now; may be called again."""

    def give_up(self) -> None:
        """Start it no more: it is to end, and the channel has not said `Spawned` so far.

        Where a start takes long the channel ends now; what has been begun of it is undone behind that.
        """

    def end_rest(self) -> None:
        """End what it has left behind: it has ended."""

    def reap(self) -> Ended | None:
        """Take the status of the ended worker; None while it still runs."""

    def describe_death(self, ended: Ended, last_output: tuple[str, ...]) -> Reason:
        """Tell its death as a reason.

        Args:
            ended: what `reap` gave.
            last_output: the last lines that it wrote to stderr.
        """

    def abort(self, *, is_begun: bool) -> None:
        """End it, and return when that is done as far as it can be known.

        Args:
            is_begun: whether the channel has said `Spawned`, or has ended.
        """

    def close(self) -> None:
        """Close every descriptor; it has ended, or was aborted."""


class Starter(Protocol):
    """How the workers of a place are started."""

    def begin(self) -> None:
        """Get ready to start some.

        Raises:
            RuntimeError, OSError: that cannot be.
        """

    def make_birth(self, number: int, incarnation: int, max_frame_bytes: int) -> Birth:
        """Give what a worker is started by; nothing is started yet.

        Args:
            number: which worker of the place.
            incarnation: carried by every frame of this worker.
            max_frame_bytes: the longest frame in either direction.

        Raises:
            OSError: no descriptors are left.
        """

    def close(self) -> None:
        """Start no more: all that were have ended, or were aborted. Nothing the second time."""
