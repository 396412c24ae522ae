"""How worker processes are started: by one thread that outlives them all.

Owns the command line, the descriptors a worker is born with, and the spawner thread. Never
talks to a worker, never ends one that was started well.

Theory of operation. A worker asks the kernel to be killed when its parent ends, and the kernel
takes the *thread* that started it for the parent. So every worker is started by one thread, which
lives as long as anybody holds it (`hold` and `release`); an actor's thread may come and go. That
thread is also why a start does not keep an actor waiting.

How it went comes on the channel itself, where the actor looks anyway: a `Spawned` frame, written
into the worker's side before the worker is told anything; or the end of the channel, and then
`Birth.error` says why. There is no `fork` here: the parent has threads, and locks that they hold.
"""

from __future__ import annotations

import contextlib
import multiprocessing.util
import os
import queue
import socket
import subprocess
import sys
import threading
from pathlib import Path

from supervisors.places.process.guardian import Guardian
from supervisors.places.process.page import SEARCH_PATH_AT, Page, create_page_file
from supervisors.places.process.reap import count_oom_kills, end_tree, own_peak_bytes, watch_death
from supervisors.places.process.stack import StackReader
from supervisors.wire.frames import Spawned, encode_frame

_ROOT = str(Path(__file__).resolve().parents[3])
"""The folder that `supervisors` lies in."""

_STUB = f"""\
import os, sys
fd = int(sys.argv[2])
sys.path[:] = os.fsdecode(os.pread(fd, os.fstat(fd).st_size, {SEARCH_PATH_AT})).split(chr(0))
try:
    from supervisors.places.process import worker
except ImportError:
    sys.path.append(sys.argv[6])
    from supervisors.places.process import worker
worker.main(*map(int, sys.argv[1:6]), *map(int, sys.argv[7:]))
"""
"""Run by a fresh interpreter: search for modules where the parent does, then become a worker."""


class Birth:
    """A worker process being started, and what the parent then holds of it.

    The spawner fills it in; the maker may read `pid` and what follows it once the channel has said
    `Spawned`, and `error` once the channel has ended without it. `close` gives everything back.

    Args:
        incarnation: carried by every frame of this worker.
        max_frame_bytes: the longest frame the worker takes.
        inherited: more descriptors that the worker gets; they stay the caller's.

    Raises:
        OSError: no descriptors are left for a channel.
    """

    def __init__(self, incarnation: int, max_frame_bytes: int, inherited: tuple[int, ...] = ()) -> None:
        self.incarnation = incarnation
        self.max_frame_bytes = max_frame_bytes
        self._inherited = inherited
        self.pid = 0
        self.death_fd = -1
        self.stdout_fd = -1
        self.stderr_fd = -1
        self.page: Page | None = None
        self.stack: StackReader | None = None
        self.own_peak_bytes = 0
        self.oom_kills = 0
        self.error: BaseException | None = None
        self.channel, self._far_end = socket.socketpair()
        self.channel.setblocking(False)

    def perform(self) -> None:
        """Start the process and report on the channel; the spawner's call. Never raises."""
        try:
            self._start()
            spawner.guard(self.pid)
            self._far_end.send(encode_frame(Spawned(), self.incarnation))
        except BaseException as error:  # noqa: BLE001 - it is told to the maker
            self._undo_start()
            self.error = error
        finally:
            self._far_end.close()

    def close(self) -> None:
        """Close every descriptor the parent holds. The process must have been reaped."""
        self.channel.close()
        for fd in (self.death_fd, self.stdout_fd, self.stderr_fd):
            if fd != -1:
                os.close(fd)
        self.death_fd = self.stdout_fd = self.stderr_fd = -1
        if self.page is not None:
            self.page.close()
        if self.stack is not None:
            self.stack.close()
            self.stack = None

    def _start(self) -> None:
        self.own_peak_bytes = own_peak_bytes()
        self.oom_kills = count_oom_kills()
        with contextlib.ExitStack() as stack:
            page_fd = create_page_file(sys.path)
            self.stack = StackReader(page_fd)
            self.page = Page(page_fd)
            self.page.clear()
            self.stdout_fd, stdout = os.pipe()
            stack.callback(os.close, stdout)
            self.stderr_fd, stderr = os.pipe()
            stack.callback(os.close, stderr)
            os.set_blocking(self.stdout_fd, False)
            os.set_blocking(self.stderr_fd, False)
            self.pid = self._run_interpreter(page_fd, stdout, stderr)
        self.death_fd = watch_death(self.pid)

    def _run_interpreter(self, page_fd: int, stdout: int, stderr: int) -> int:
        channel_fd = self._far_end.fileno()
        numbers = (channel_fd, page_fd, self.incarnation, self.max_frame_bytes, os.getpid())
        process = subprocess.Popen(  # noqa: S603 - our own interpreter with our own words
            [*_interpreter(), "-c", _STUB, *map(str, numbers), _ROOT, *map(str, self._inherited)],
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            pass_fds=(channel_fd, page_fd, *self._inherited),
            close_fds=True,
            start_new_session=True,
        )
        # `reap` waits for it, with the figures of wait4; the object would otherwise do so too.
        process.returncode = 0
        return process.pid

    def _undo_start(self) -> None:
        if self.pid:
            end_tree(self.pid)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self.pid, 0)
            self.pid = 0


def _interpreter() -> list[str]:
    """Give the command of an interpreter with the flags of this one, `-P` (no unsafe path) added."""
    if not sys.executable:
        raise OSError("this program does not know its interpreter (sys.executable is empty)")
    # The standard library's own list, used by multiprocessing too.
    flags: list[str] = multiprocessing.util._args_from_interpreter_flags()  # type: ignore[attr-defined]  # noqa: SLF001
    return [sys.executable, *flags, *(() if "-P" in flags else ("-P",))]


class Spawner:
    """The thread that starts workers, and who needs it. Any thread may call its methods."""

    def __init__(self) -> None:
        # Guards all below.
        self._lock = threading.Lock()
        self._holders = 0
        self._births: queue.SimpleQueue[Birth | None] | None = None
        self._thread: threading.Thread | None = None
        self._guardian: Guardian | None = None

    def hold(self) -> None:
        """Need the thread; it is started for the first holder, and the guardian with it.

        Raises:
            RuntimeError: no thread can be started.
            OSError: no guardian can be started.
        """
        with self._lock:
            if self._thread is None:
                births: queue.SimpleQueue[Birth | None] = queue.SimpleQueue()
                thread = threading.Thread(target=_serve, args=(births,), name="supervisors-spawner", daemon=True)
                guardian = Guardian()
                try:
                    thread.start()
                except RuntimeError:
                    guardian.close()
                    raise
                self._births, self._thread, self._guardian = births, thread, guardian
            self._holders += 1

    def release(self) -> None:
        """Need it no more; the last holder, whose workers have all ended, waits for the thread's end."""
        with self._lock:
            self._holders -= 1
            if self._holders or self._thread is None or self._births is None:
                return
            thread = self._thread
            self._births.put(None)
            self._births = self._thread = None
            guardian, self._guardian = self._guardian, None
        thread.join()
        if guardian is not None:
            guardian.close()

    def start(self, birth: Birth) -> None:
        """Start a worker soon; the caller holds the thread until that worker has ended."""
        with self._lock:
            if self._births is None:
                raise RuntimeError("nobody holds the spawner")
            self._births.put(birth)

    def guard(self, pid: int) -> None:
        """Have what the worker starts ended with this program, should it be killed."""
        if self._guardian is not None:
            self._guardian.add(pid)

    def unguard(self, pid: int) -> None:
        """Note that nothing is left of a worker; to be called before it is reaped."""
        if self._guardian is not None:
            self._guardian.remove(pid)

    def forget(self) -> None:
        """Start anew in a forked copy of the program, which has none of its threads."""
        if self._guardian is not None:
            self._guardian.disown()
        self.__init__()  # type: ignore[misc]  # the lock too: it may have been held


def _serve(births: queue.SimpleQueue[Birth | None]) -> None:
    while (birth := births.get()) is not None:
        birth.perform()
        del birth  # do not keep its descriptors alive while waiting


spawner = Spawner()
"""The one spawner of this process."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=spawner.forget)
