"""A connection between an agent and its parent, for what needs nothing of the engine.

Owns both ends of it (`DirectServer`, `DirectClient`) and how what is said looks on it. A call of an engine costs about
a millisecond, which nearly every message would pay twice; so bytes of frames go straight from program to program, where
the network allows that. Large buffers, starts and ends stay with the engine.

The agent listens, at its machine's address in the cluster and a port that the system chooses, for one who knows what it
has told its parent by the engine. Nothing else is ever read from a stranger. What goes over it is as open as what Ray
sends: where Ray is told to encrypt, there is no such connection.
"""

from __future__ import annotations

import contextlib
import secrets
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any

import msgspec

from supervisors.places.ray.engine import DirectAddress, Piece
from supervisors.wire.frames import MAX_FRAME_BYTES

CONNECT_SECONDS = 2.0
"""How long a connection may take to be there, before all goes by the engine (arbitrary: it takes some round trips)."""
ACCEPT_SECONDS = 30.0
"""How long an agent listens for its parent, who comes at once where it can (arbitrary)."""
_QUIET_SECONDS = 30
"""After how long without a word the system asks whether the other end is still there: firewalls forget a connection
that is quiet for some minutes."""
_ASKING = ((("TCP_KEEPIDLE", "TCP_KEEPALIVE"), _QUIET_SECONDS), (("TCP_KEEPINTVL",), 10), (("TCP_KEEPCNT",), 6))
"""By what names systems have how it asks; it is gone after 6 questions (arbitrary: Ray gives up a node sooner)."""
_TOKEN_BYTES = 32
_MOST_BYTES = MAX_FRAME_BYTES + 64 * 1024 * 1024
"""Of a piece: the longest frame, behind what waited to be told of each kind (arbitrary beyond that)."""
_WELCOME = b"+"
_NOW = struct.Struct("<d")
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Piece).decode


class DirectServer:
    """An agent's end.

    Args:
        host: its machine's address, as others of the cluster reach it.

    Raises:
        OSError: nobody can listen there.
    """

    def __init__(self, host: str) -> None:
        self._listener = socket.create_server((host, 0), family=_family_of(host))
        self._token = secrets.token_bytes(_TOKEN_BYTES)
        self.address = DirectAddress(host, self._listener.getsockname()[1], self._token)
        # Guards that nobody writes where it is being closed.
        self._telling = threading.Lock()
        self._client: _End
        """The parent's; there once the parent was let in."""
        self._begin_thread(self._accept)

    def begin(self, take: Callable[[memoryview, float], None], note_broken: Callable[[], None]) -> None:
        """Take what the parent, which was let in, sends.

        Args:
            take: given the parent's bytes and what the parent's clock was, as they come.
            note_broken: called when nothing more comes.
        """
        self._begin_thread(self._read, take, note_broken)

    def tell(self, piece: Piece) -> None:
        """Send a piece. Raises `OSError` if nobody listens any more."""
        with self._telling:
            self._client.connection.send_bytes(_encode(piece))

    def finish(self) -> None:
        """Send nothing more."""
        self._client.shut(socket.SHUT_WR)

    def _begin_thread(self, target: Callable[..., None], *arguments: Any) -> None:
        threading.Thread(target=target, args=arguments, name="supervisors-direct", daemon=True).start()

    def _accept(self) -> None:
        """Let the parent in. Whoever else comes is sent away."""
        end = time.monotonic() + ACCEPT_SECONDS
        with self._listener, contextlib.suppress(OSError):  # it does not come
            while (left := end - time.monotonic()) > 0:
                self._listener.settimeout(left)
                client, _address = self._listener.accept()
                with contextlib.suppress(OSError):  # it went away, or says nothing
                    if secrets.compare_digest(_read_token(client), self._token):
                        self._client = _End(client)
                        client.sendall(_WELCOME)
                        return
                client.close()

    def _read(self, take: Callable[[memoryview, float], None], note_broken: Callable[[], None]) -> None:
        try:
            while True:
                said = memoryview(self._client.connection.recv_bytes())
                take(said[_NOW.size :], *_NOW.unpack_from(said))
        except (OSError, EOFError):
            pass  # it has gone
        finally:
            note_broken()
            self._client.shut(socket.SHUT_RDWR)
            with self._telling:
                self._client.close()


class DirectClient:
    """The parent's end. Two threads may use it, one for each direction.

    Args:
        address: as the agent has told it.

    Raises:
        OSError: nobody is to be reached there, or not the agent.
    """

    def __init__(self, address: DirectAddress) -> None:
        client = socket.create_connection((address.host, address.port), CONNECT_SECONDS)
        try:
            client.sendall(address.token)
            is_welcome = client.recv(1) == _WELCOME
        except OSError:
            is_welcome = False
        if not is_welcome:
            client.close()
            message = f"nobody at {address.host}:{address.port} knows of this agent"
            raise ConnectionRefusedError(message)
        self._end = _End(client)

    def send(self, data: bytes, now: float) -> None:
        """Send bytes of frames, and what the clock is; whoever listens to the agent hears if they cannot come there."""
        try:
            self._end.connection.send_bytes(_NOW.pack(now) + data)
        except OSError:
            self.end()  # whatever came there of it, nothing may follow

    def hear(self) -> Iterator[Piece]:
        """Give what the agent tells here, until it tells nothing more, for whatever reason.

        Raises:
            msgspec.MsgspecError: it told what is no piece.
        """
        try:
            while True:
                yield _decode(self._end.connection.recv_bytes(_MOST_BYTES))
        except (OSError, EOFError):
            pass  # it has ended, or told more at once than can be
        finally:
            self.end()

    def end(self) -> None:
        """Have both directions end, whoever waits there."""
        self._end.shut(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close it, once nobody uses it any more."""
        self._end.close()


class _End:
    """A connected socket, as one that carries messages.

    Args:
        connected: the socket, which becomes its own.
    """

    def __init__(self, connected: socket.socket) -> None:
        connected.settimeout(None)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for names, value in _ASKING:
            for option in (getattr(socket, name) for name in names if hasattr(socket, name)):
                connected.setsockopt(socket.IPPROTO_TCP, option, value)
        self._socket = connected
        self.connection = Connection(connected.dup().detach())

    def shut(self, how: int) -> None:
        """End one direction or both, also for who waits at it."""
        with contextlib.suppress(OSError):  # the other end has
            self._socket.shutdown(how)

    def close(self) -> None:
        """Close it."""
        self._socket.close()
        self.connection.close()


def connect(address: DirectAddress | None) -> DirectClient | None:
    """Connect to an agent; None where there is no way there but the engine's."""
    if address is None:
        return None
    try:
        return DirectClient(address)
    except OSError:
        return None


def _read_token(client: socket.socket) -> bytes:
    """Give what one who has connected says first: as one packet, since who says byte by byte keeps others waiting."""
    client.settimeout(CONNECT_SECONDS)
    return client.recv(_TOKEN_BYTES)


def _family_of(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
