"""Who stands at a job's door: a connection, what has come of a command, and what is still to be sent.

Owns the bytes on it. Never waits, and never says what is done about any of it: `control` does.
"""

from __future__ import annotations

import socket
from concurrent.futures import Future
from typing import Any

from routilux.accounts import Account
from routilux.control import frames
from routilux.control.errors import ProtocolError
from routilux.runtime.watchers import Source
from supervisors.places.base import WorkerAt

_READ_BYTES = 64 * 1024


class Visitor:
    """A connection that brings one command.

    Args:
        number: which one.
        connection: it.
    """

    def __init__(self, number: int, connection: socket.socket) -> None:
        self.number = number
        self.connection = connection
        self.received = bytearray()
        self.to_send = memoryview(b"")
        self.sent_bytes = 0
        self.is_timed = False
        """Whether it is looked at whether it takes what it is sent."""
        self.has_asked = False
        self.is_asking = False
        """Whether it has a place of those that ask."""
        self.waits_for_end = False
        self.wants_metrics = False
        self.awaited: Future[Any] | None = None
        """What it waits for."""
        self.stacks: list[tuple[Account, Future[list[WorkerAt]]]] = []
        """Who was asked where its workers are."""
        self.source: Source | None = None
        """What it is told of, one answer after the other."""
        self.is_called = False
        """Whether a look at that is due."""

    def receive(self) -> bool:
        """Take what has come; False where its other end is closed. Raises `OSError`."""
        data = self.connection.recv(_READ_BYTES)
        self.received += data
        return bool(data)

    def take_command(self) -> frames.Command | None:
        """Give the command that has come; None while it is not whole. Raises `ProtocolError`."""
        received = self.received
        if len(received) < frames.HEADER_BYTES:
            return None
        length = frames.read_length(bytes(received[: frames.HEADER_BYTES]), frames.MAX_COMMAND_BYTES)
        body = bytes(received[frames.HEADER_BYTES :])
        if len(body) > length:
            raise ProtocolError("more came than one command")
        return frames.read_command(body) if len(body) == length else None

    def has_gone(self) -> bool:
        """Tell whether there is nobody any more who waits for the answer."""
        try:
            return not self.connection.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False

    def send(self) -> None:
        """Send what is ready, or raise `BlockingIOError`."""
        while self.to_send:
            sent = self.connection.send(self.to_send)
            self.sent_bytes += sent
            self.to_send = self.to_send[sent:]
