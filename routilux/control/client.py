"""Commands are sent to a job that another program runs, and their answers awaited."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from routilux.control.errors import CommandRefusedError, ControlError, ProtocolError, UnreachableError
from routilux.control.folder import check_socket
from routilux.control.frames import (
    CHANGES,
    HEADER_BYTES,
    MAX_ANSWER_BYTES,
    Answer,
    Command,
    Refused,
    Who,
    read_answer,
    read_length,
    to_frame,
)
from routilux.control.peers import IS_POSSIBLE, check_peer
from routilux.stores.base import Owner

CONNECT_SECONDS = 5.0
"""What a job's program gets to take a command in (arbitrary)."""


class Answers:
    """What comes back for one command; made by `asking`.

    Args:
        owner: the program that answers.
        job_id: the job.
        connection: to it.
        changes: whether the command changes something.
    """

    def __init__(self, owner: Owner, job_id: str, connection: socket.socket, *, changes: bool) -> None:
        self.owner = owner
        self.job_id = job_id
        self._changes = changes
        self._connection = connection

    def fileno(self) -> int:
        """Give the descriptor that is ready to be read when there is an answer."""
        return self._connection.fileno()

    def read(self, timeout: float | None = None) -> Answer:
        """Wait for the next answer.

        Args:
            timeout: seconds to wait; None for as long as it takes.

        Raises:
            UnreachableError: it did not come in time, or the connection broke before.
            CommandRefusedError: the job does not do it.
            ProtocolError: what came is no answer.
        """
        with _telling(self.owner, self.job_id, "; what was asked may still be carried out" if self._changes else ""):
            answer = _receive(self._connection, timeout)
        if isinstance(answer, Refused):
            raise CommandRefusedError(answer.kind, answer.text)
        return answer


@contextmanager
def asking(owner: Owner, command: Command) -> Iterator[Answers]:
    """Send a command to the program that runs a job, and give its answers, of which there may be many.

    At the end it is told no more.

    Args:
        owner: that program, as the store tells, or `find_running`.
        command: the command.

    Raises:
        UnreachableError: it takes no commands, is on another machine, or ended meanwhile.
        UnsafeControlError: its socket is not this user's alone.
    """
    job_id = "" if isinstance(command, Who) else command.job_id
    if owner.host != os.uname().nodename:
        raise UnreachableError(job_id, f"it is run by {owner}, and commands stay on one machine: give them there")
    if not owner.control or not IS_POSSIBLE:
        raise UnreachableError(job_id, f"{owner}, which runs it, takes no commands")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        with _telling(owner, job_id):
            check_socket(Path(owner.control))
            connection.settimeout(CONNECT_SECONDS)
            connection.connect(owner.control)
            check_peer(connection)
            connection.sendall(to_frame(command))
        yield Answers(owner, job_id, connection, changes=isinstance(command, CHANGES))


def ask(owner: Owner, command: Command, timeout: float | None = None) -> Answer:
    """Send a command to the program that runs a job, and wait for the answer; of several, for the first.

    Args:
        owner: that program, as the store tells, or `find_running`.
        command: the command.
        timeout: seconds to wait for the answer; None for as long as it takes.

    Raises:
        As `asking` and `Answers.read`.
    """
    with asking(owner, command) as answers:
        return answers.read(timeout)


@contextmanager
def _telling(owner: Owner, job_id: str, late: str = "") -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        raise UnreachableError(job_id, f"{owner}, which runs it, did not answer in time{late}") from error
    except OSError as error:
        if isinstance(error, ControlError):
            raise
        reason = f"{owner}, which ran it, takes no commands any more ({error.strerror or error})"
        raise UnreachableError(job_id, reason) from error


def _receive(connection: socket.socket, timeout: float | None) -> Answer:
    end = None if timeout is None else time.monotonic() + timeout
    length = read_length(_read(connection, HEADER_BYTES, end), MAX_ANSWER_BYTES)
    return read_answer(_read(connection, length, end))


def _read(connection: socket.socket, size: int, end: float | None) -> bytes:
    data = bytearray()
    while len(data) < size:
        connection.settimeout(None if end is None else max(0.001, end - time.monotonic()))
        part = connection.recv(min(size - len(data), 64 * 1024))
        if not part:
            if data:
                raise ProtocolError("the answer ends in its middle")
            raise ConnectionResetError("it ended before it answered")
        data += part
    return bytes(data)
