"""Who is at the other end of a socket: the one place that asks the system."""

from __future__ import annotations

import os
import socket
import struct

from routilux.control.errors import UnsafeControlError

IS_POSSIBLE = hasattr(socket, "AF_UNIX")
"""Whether this system has sockets that are files; without them no job takes commands."""

_CREDENTIALS = struct.Struct("3i")
_OPTION: int | None = getattr(socket, "SO_PEERCRED", None)


def check_peer(connection: socket.socket) -> None:
    """Hold that the other end is a program of this user, or of root, where the system tells.

    Raises:
        UnsafeControlError: it is another's.
    """
    if _OPTION is None:
        return  # the modes of the socket and its folder have to do
    given = connection.getsockopt(socket.SOL_SOCKET, _OPTION, _CREDENTIALS.size)
    _pid, user, _group = _CREDENTIALS.unpack(given)
    if user not in (os.geteuid(), 0):
        raise UnsafeControlError(f"a program of user {user} is at the other end")
