"""The machine of a cluster that agents are started on: a process that forks them, with all that they need imported.

Owns that process, which stays for the next test as zygotes do (`tests.leaks`), and what is to be known of those that it
has forked. An agent costs a fiftieth of a second so, and not a quarter of one.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection

import psutil

from routilux.runtime import workers

_MAIN = "from tests.supervisors.places.fake_node import be_node; be_node({fd}, {modules})"
_PID = struct.Struct("i")
_PATIENCE = 30.0


class Node:
    """The process, started when it is first needed."""

    def __init__(self) -> None:
        # Guards all below; workers are started by threads of their own.
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None

    def fork(self, connection: Connection) -> Forked:
        """Have an agent made that is spoken with at the other end of `connection`, which stays the caller's."""
        with self._lock:
            channel = self._begin() if self._channel is None else self._channel
            socket.send_fds(channel, [b"+"], [connection.fileno()])
            (pid,) = _PID.unpack(channel.recv(_PID.size, socket.MSG_WAITALL))
        return Forked(pid)

    def held(self) -> tuple[set[int], set[int]]:
        """Give what is kept of it: processes and descriptors."""
        process, channel = self._process, self._channel
        return (set(), set()) if process is None or channel is None else ({process.pid}, {channel.fileno()})

    def _begin(self) -> socket.socket:
        self._channel, far_end = socket.socketpair()
        with far_end:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _MAIN.format(fd=far_end.fileno(), modules=workers.MODULES)],
                pass_fds=[far_end.fileno()],
                stdin=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            )
        return self._channel


node = Node()
"""The one of this program; it ends with it."""


class Forked:
    """A process that the node has forked, and waits for."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        try:
            self._process: psutil.Process | None = psutil.Process(pid)
        except psutil.NoSuchProcess:  # so soon
            self._process = None

    def is_alive(self) -> bool:
        """Tell whether it runs."""
        return self._process is not None and self._process.is_running()

    def kill(self) -> None:
        """End it by SIGKILL, as whatever may befall a process does; nothing where it has ended."""
        if self._process is not None:
            with contextlib.suppress(psutil.NoSuchProcess):
                self._process.kill()

    def wait(self, timeout: float = _PATIENCE) -> None:
        """Wait for its end."""
        end = time.monotonic() + timeout
        while self.is_alive():
            assert time.monotonic() < end, f"agent {self.pid} still runs"
            threading.Event().wait(0.001)


def be_node(fd: int, modules: Sequence[str]) -> None:
    """Be the node, with these modules imported, until the other end of its channel is closed."""
    from tests.supervisors.places import fake_cluster  # noqa: PLC0415  it imports this module

    for module in modules:
        importlib.import_module(module)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for an agent but by looking whether it is there
    os.set_inheritable(fd, False)
    channel = socket.socket(fileno=fd)
    while True:
        told, fds, _flags, _address = socket.recv_fds(channel, 1, 1)
        if not told:
            return
        pid = os.fork()  # noqa: TID251  of a process with a single thread
        if pid == 0:
            channel.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _become(fds[0], fake_cluster.be_agent)
        os.close(fds[0])
        channel.sendall(_PID.pack(pid))


def _become(fd: int, be_agent: Callable[[Connection], None]) -> None:
    code = 1
    try:
        be_agent(Connection(fd))
        code = 0
    finally:
        os._exit(code)
