"""A small process that outlives the program and ends what its workers have left running.

The kernel ends a worker when the program is killed, but not what the worker had started. The
guardian reads from the program which process groups there are; when the program's end of the
pipe closes, however that came, it kills what is left of them and ends. Any thread may call its
methods. Never ends anything while the program lives.
"""

from __future__ import annotations

import subprocess
import sys
import threading

_PROGRAM = """\
import os, signal, sys
groups = set()
for line in sys.stdin:
    sign, group = line.split()
    (groups.add if sign == "+" else groups.discard)(int(group))
for group in groups:
    try:
        os.killpg(group, signal.SIGKILL)
    except OSError:
        pass
"""


class Guardian:
    """The guardian of one program.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(self) -> None:
        # Guards all below: groups are added by the spawner and removed by any actor.
        self._lock = threading.Lock()
        self._groups: set[int] = set()
        self._process = self._start()

    def add(self, group: int) -> None:
        """Watch over a worker's process group; if somebody has killed the guardian, by a new one.

        Raises:
            OSError: it cannot be started.
        """
        with self._lock:
            self._groups.add(group)
            if not self._tell(f"+ {group}\n"):
                self._process.communicate()
                self._process = self._start()
                self._tell("".join(f"+ {each}\n" for each in self._groups))

    def remove(self, group: int) -> None:
        """Forget a group that has ended, before its number can be given out again."""
        with self._lock:
            self._groups.discard(group)
            self._tell(f"- {group}\n")

    def close(self) -> None:
        """Let it end; waits for that."""
        with self._lock:
            self._process.communicate()

    def disown(self) -> None:
        """Let go of it in a forked copy of the program: it is the original's, and waits for that one's end."""
        self._process.returncode = 0  # not to be waited for from here
        if self._process.stdin is not None:
            self._process.stdin.close()

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603  our own interpreter with our own words
            [sys.executable, "-I", "-S", "-c", _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            close_fds=True,
            start_new_session=True,
            bufsize=0,  # nothing half told, and no lock of a buffer, is in a forked copy of the program
        )

    def _tell(self, line: str) -> bool:
        """Tell it, and give whether it was there to be told."""
        stdin = self._process.stdin
        try:
            if stdin is not None and not stdin.closed:
                stdin.write(line.encode())
        except BrokenPipeError:
            return False
        return True
