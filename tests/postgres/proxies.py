"""Something between a store and its server that loses connections, at the moment a test wants."""

from __future__ import annotations

import contextlib
import select
import socket
import tempfile
import threading
from pathlib import Path
from typing import Any, Literal

from tests.postgres.servers import TestServer

When = Literal["before", "after", "late"]
LATE_SECONDS = 0.3


class Proxy:
    """A socket that passes everything on to a server; `close` it.

    Args:
        server: where to.
    """

    def __init__(self, server: TestServer) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="routilux-pg-")
        self._target = str(server.folder / f".s.PGSQL.{server.port}")
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(Path(self.folder.name) / ".s.PGSQL.5432"))
        self._listener.listen()
        self._lock = threading.Lock()  # guards what is to be lost
        self._needle, self._when, self._times = b"", "", 0
        self.lost = 0
        self._closing, self._closed = socket.socketpair()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def url(self, database: str) -> str:
        """Give the URL of a database behind it."""
        return f"postgresql://tests@/{database}?host={self.folder.name}"

    def lose(self, needle: bytes, when: When, times: int = 1) -> None:
        """Lose the connection by which this is sent, so many times.

        Args:
            needle: what is looked for in what is sent to the server.
            when: `before` the server sees it, `after` it has answered, which is not passed on, or before it sees it,
                which it does all the same, but `late`.
            times: how often.
        """
        with self._lock:
            self._needle, self._when, self._times = needle, when, times

    def close(self) -> None:
        """End all of it."""
        self._closing.close()
        for thread in self._threads:
            thread.join()
        for end in (self._closed, self._listener):
            end.close()
        self.folder.cleanup()

    def _accept(self) -> None:
        while self._listener in select.select([self._listener, self._closed], [], [])[0]:
            client, _ = self._listener.accept()
            thread = threading.Thread(target=self._serve, args=(client,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, client: socket.socket) -> None:
        server = socket.socket(socket.AF_UNIX)
        with client, server, contextlib.suppress(ConnectionError):
            try:
                server.connect(self._target)
            except OSError:
                return
            while True:
                ready: list[Any] = select.select([client, server, self._closed], [], [])[0]
                if self._closed in ready:
                    return
                if client in ready:
                    data = client.recv(1 << 20)
                    when = self._take(data)
                    if when == "late":
                        client.close()
                        threading.Event().wait(LATE_SECONDS)
                    if not data or when == "before":
                        return
                    server.sendall(data)
                    if when is not None:
                        server.recv(1 << 20)
                        return
                if server in ready:
                    data = server.recv(1 << 20)
                    if not data:
                        return
                    client.sendall(data)

    def _take(self, data: bytes) -> str | None:
        with self._lock:
            if self._times == 0 or self._needle not in data:
                return None
            self._times -= 1
            self.lost += 1
            return self._when
