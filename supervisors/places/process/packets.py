"""Packets that carry descriptors, over a socket of the program and its zygote. Owns the two system calls."""

from __future__ import annotations

import array
import socket
from collections.abc import Sequence

from supervisors.wire.forking import PACKET_BYTES

_MOST_FDS = 64
"""Descriptors that may come with one packet (arbitrary)."""


def send_packet(channel: socket.socket, data: bytes, fds: Sequence[int] = ()) -> None:
    """Send a packet; the descriptors stay the caller's.

    Raises:
        OSError: the other side is gone, or one of `fds` is no descriptor.
    """
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    channel.sendmsg([data], rights)


def receive_packet(channel: socket.socket) -> tuple[bytes, list[int]]:
    """Wait for a packet; the descriptors are the caller's, and closed in what is started by `exec`.

    There are fewer than were sent where none are left here. The data is empty when the other side is gone.

    Raises:
        OSError: the other side is gone, or has not answered in the channel's time.
    """
    fds = array.array("i")
    space = socket.CMSG_SPACE(_MOST_FDS * fds.itemsize)
    # Not `socket.recv_fds`, which hands on no flags (seen on 3.11).
    data, ancillary, _, _ = channel.recvmsg(PACKET_BYTES, space, socket.MSG_CMSG_CLOEXEC)
    for level, kind, rights in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds.frombytes(rights[: len(rights) - len(rights) % fds.itemsize])
    return data, list(fds)
