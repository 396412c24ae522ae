"""Commands are sent to a job that another program runs, and their answers awaited."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

from routilux.control.errors import CommandRefusedError, ControlError, ProtocolError, UnreachableError
from routilux.control.folder import check_socket
from routilux.control.frames import (
    HEADER_BYTES,
    MAX_ANSWER_BYTES,
    Answer,
    Command,
    Refused,
    read_answer,
    read_length,
    to_frame,
)
from routilux.control.peers import IS_POSSIBLE, check_peer
from routilux.stores.base import Owner

CONNECT_SECONDS = 5.0
"""What a job's program gets to take a command in (arbitrary)."""


def ask(owner: Owner, command: Command, timeout: float | None = None) -> Answer:
    """Send a command to the program that runs a job, and wait for the answer.

    Args:
        owner: that program, as the store tells.
        command: the command.
        timeout: seconds to wait for the answer; None for as long as it takes.

    Raises:
        UnreachableError: it takes no commands, is on another machine, or ended meanwhile.
        CommandRefusedError: the job does not do it.
        ProtocolError: what came is no answer.
        UnsafeControlError: its socket is not this user's alone.
    """
    job_id = command.job_id
    if owner.host != os.uname().nodename:
        raise UnreachableError(job_id, f"it is run by {owner}, and commands stay on one machine: give them there")
    if not owner.control or not IS_POSSIBLE:
        raise UnreachableError(job_id, f"{owner}, which runs it, takes no commands")
    try:
        check_socket(Path(owner.control))
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(CONNECT_SECONDS)
            connection.connect(owner.control)
            check_peer(connection)
            connection.sendall(to_frame(command))
            answer = _receive(connection, timeout)
    except TimeoutError as error:
        raise UnreachableError(job_id, f"{owner}, which runs it, did not answer in time") from error
    except OSError as error:
        if isinstance(error, ControlError):
            raise
        reason = f"{owner}, which ran it, takes no commands any more ({error.strerror or error})"
        raise UnreachableError(job_id, reason) from error
    if isinstance(answer, Refused):
        raise CommandRefusedError(answer.kind, answer.text)
    return answer


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
