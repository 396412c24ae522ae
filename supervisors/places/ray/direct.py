"""A connection between an agent and its parent, for what needs nothing of the engine.

Owns both ends of it (`DirectServer`, `DirectClient`) and how what is said looks on it. A call of an engine costs about
a millisecond, which nearly every message would pay twice; so bytes of frames go straight from program to program, where
the network allows that. Large buffers, starts and ends stay with the engine.

The agent listens, at its machine's address in the cluster and a port that the system chooses, for one who knows what it
has told its parent by the engine. Nothing else is ever read from a stranger. What goes over it is as open as what Ray
sends: where Ray is told to encrypt, there is no such connection.

In either direction go words: a head with their lengths, what they say beside frames, bytes of frames. Those are read as
they come, a part at a time, since they may be many, and nobody needs them together.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from supervisors.places.process.page import PageView
from supervisors.places.ray.engine import OBJECTS_UNTOLD, DirectAddress, Group, News, Piece

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
_MOST_BYTES = 64 * 1024 * 1024
"""Of what is said beside frames (arbitrary: far above what waits to be told)."""
_PART_BYTES = 256 * 1024
"""Of frames that are read at once (arbitrary)."""
_WELCOME = b"+"
_DELIVERY = struct.Struct("<dIQ")
"""The parent's words: its clock; bytes of the objects that requests name, and of frames."""
_WORDS = struct.Struct("<IIQqdQ")
"""The agent's: how many objects are being put; bytes of news, and of frames; what its worker is on (`Piece`)."""
_IDLE = -1
"""Where that is on no request."""
_encode = msgspec.msgpack.Encoder().encode
_decode_news = msgspec.msgpack.Decoder(News).decode
_decode_groups = msgspec.msgpack.Decoder(list[Group]).decode
Take = Callable[[memoryview, float, Sequence[Group]], None]
"""Given bytes of frames, which are there for the call alone, what the parent's clock was, and what objects go along."""


class DirectServer:
    """An agent's end, by which any thread may tell something.

    Args:
        host: its machine's address, as others of the cluster reach it.

    Raises:
        OSError: nobody can listen there.
    """

    def __init__(self, host: str) -> None:
        self._listener = socket.create_server((host, 0), family=_family_of(host))
        self._token = secrets.token_bytes(_TOKEN_BYTES)
        self.address = DirectAddress(host, self._listener.getsockname()[1], self._token)
        # Guards that words come one after the other, and that nobody writes where it is being closed.
        self._telling = threading.Lock()
        self._put = 0
        """How many objects are being put, of those that are not told of. Guarded likewise."""
        self._client: _End
        """The parent's; there once the parent was let in."""
        self._look: Callable[[], PageView]
        self._begin_thread(self._accept)

    def begin(self, look: Callable[[], PageView], take: Take, note_broken: Callable[[], None]) -> None:
        """Take what the parent, which was let in, sends, and tell it something from now on.

        Args:
            look: gives what the worker is on, whenever something is told.
            take: called with that as it comes.
            note_broken: called when nothing more comes.
        """
        self._look = look
        self._begin_thread(self._read, take, note_broken)

    def sendall(self, data: bytearray) -> None:
        """Tell bytes of frames (`Outlet`); whoever was to be told of it hears if nobody listens any more."""
        self._tell(b"", data)

    def say_put(self) -> None:
        """Tell that one more object is being put, at the latest with what is told next."""
        with self._telling:
            self._put += 1
            is_due = self._put >= OBJECTS_UNTOLD
        if is_due:
            self._tell()

    def tell(self, news: News) -> None:
        """Tell what is seen of the worker."""
        self._tell(_encode(news))

    def finish(self) -> None:
        """Send nothing more."""
        self._client.shut(socket.SHUT_WR)

    def close(self) -> None:
        """Close it: for a copy of the process made by fork."""
        self._client.close()

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

    def _read(self, take: Take, note_broken: Callable[[], None]) -> None:
        client = self._client
        try:
            while True:
                now, size, left = _DELIVERY.unpack(client.read(_DELIVERY.size))
                groups = _decode_groups(client.read(size)) if size else ()
                for part in client.read_parts(left):
                    take(part, now, groups)
                    groups = ()
        except (OSError, EOFError, msgspec.MsgspecError):
            pass  # it has gone
        finally:
            note_broken()
            client.shut(socket.SHUT_RDWR)
            with self._telling:
                client.close()

    def _tell(self, news: bytes = b"", data: bytes | bytearray = b"") -> None:
        with self._telling, contextlib.suppress(OSError):
            put, self._put = self._put, 0
            page = self._look()
            seq = _IDLE if page.seq is None else page.seq
            self._client.send(_WORDS.pack(put, len(news), len(data), seq, page.since, page.ran), news, data)


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

    def send(self, data: memoryview, now: float, groups: Sequence[Group]) -> None:
        """Send bytes of frames, what the clock is, and what requests name that are in them, or in the next.

        Whoever listens to the agent hears if they cannot come there.
        """
        objects = _encode(groups) if groups else b""
        try:
            self._end.send(_DELIVERY.pack(now, len(objects), len(data)), objects, data)
        except OSError:
            self.end()  # whatever came there of it, nothing may follow

    def hear(self) -> Iterator[Piece]:
        """Give what the agent tells here, until it tells nothing more, for whatever reason.

        Bytes of frames are there until the next piece is asked for.

        Raises:
            msgspec.MsgspecError: it told what is no news.
        """
        end = self._end
        try:
            while True:
                put, size, left, seq, since, ran = _WORDS.unpack(end.read(_WORDS.size))
                page = None if seq == _IDLE else seq, since, ran
                news = _decode_news(end.read(size)) if size else None
                parts = end.read_parts(left)
                yield Piece(next(parts, b""), put, page, news)
                for part in parts:
                    yield Piece(part, 0, page, None)
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
    """A connected socket that carries words. One thread may read, and one write.

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
        self._space = memoryview(bytearray(_PART_BYTES))

    def send(self, *words: bytes | bytearray | memoryview) -> None:
        """Send all of these, one behind the other. Raises `OSError` if nobody listens any more."""
        left = [memoryview(word) for word in words if len(word)]
        while left:
            sent = self._socket.sendmsg(left)
            while left and sent >= len(left[0]):
                sent -= len(left.pop(0))
            if sent:
                left[0] = left[0][sent:]

    def read(self, size: int) -> memoryview:
        """Read so many bytes, which are there until more are read.

        Raises:
            EOFError: nothing more comes.
            OSError: likewise, or they are more than can be.
        """
        if size > _MOST_BYTES:
            raise OSError(errno.EMSGSIZE, os.strerror(errno.EMSGSIZE))
        space = self._space[:size] if size <= len(self._space) else memoryview(bytearray(size))
        at = 0
        while at < size:
            at += self._read_into(space[at:])
        return space

    def read_parts(self, left: int) -> Iterator[memoryview]:
        """Read so many bytes, and give them as they come, each part until the next is asked for. Raises as `read`."""
        while left:
            count = self._read_into(self._space[:left])
            left -= count
            yield self._space[:count]

    def shut(self, how: int) -> None:
        """End one direction or both, also for who waits at it."""
        with contextlib.suppress(OSError):  # the other end has
            self._socket.shutdown(how)

    def close(self) -> None:
        """Close it."""
        self._socket.close()

    def _read_into(self, space: memoryview) -> int:
        count = self._socket.recv_into(space)
        if not count:
            raise EOFError
        return count


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
