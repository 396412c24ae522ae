"""The socket at which one job takes commands. Never reads one."""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path

from routilux.control.folder import bind, new_path, sweep


class Door:
    """A socket that listens; `close` it.

    Args:
        path: where.
        listener: it.
    """

    def __init__(self, path: Path, listener: socket.socket) -> None:
        self.path = path
        self.listener = listener

    @classmethod
    def open(cls) -> Door:
        """Make one, and remove what killed programs left.

        Raises:
            UnsafeControlError: its folder is not this user's alone.
            OSError: it cannot be made.
        """
        path = new_path()
        _sweeping.once(path.parent)
        return cls(path, bind(path))

    def close(self) -> None:
        """Take its file away and close it."""
        with contextlib.suppress(OSError):
            self.path.unlink()
        self.listener.close()


class _Sweeping:
    """Each folder is swept once a program."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        """Guards the set."""
        self._done: set[Path] = set()

    def once(self, folder: Path) -> None:
        with self._lock:
            if folder in self._done:
                return
            self._done.add(folder)
        sweep(folder)


_sweeping = _Sweeping()
