"""How the processes of a worker end and what is left of them: the one door to psutil.

Owns the end of a whole process tree, the reading of a wait status, the watch for a death, and
the figures of a live process; and whether the system ended one because memory ran out. Never
decides that something must end.

A worker is the leader of a session of its own, so everything it starts can be found even after
its death: by its group, its session, and (while it lives) its descendants. A number of a process
or a session is not given out again before its leader is reaped, hence the order: end the tree,
then reap. What left the session by `setsid` *and* outlived its parents cannot be found.
"""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
import sys
import threading
from pathlib import Path
from typing import NamedTuple

import psutil

from supervisors.reasons import Crashed, OutOfMemory

_READS_A_SEARCH = 10
"""Reads of a tree's memory for each search of its members (a search takes 3 ms with 80 processes, a read 0.1 ms)."""
_SMALL_FILE_BYTES = 65_536
"""More than a file has in which the system tells of control groups, or its run (arbitrary)."""
_PEAK_UNIT = 1 if sys.platform == "darwin" else 1024
_UNREADABLE = (psutil.Error, OSError)
"""What a look at processes raises: one has ended, or this program has no descriptor left to look with."""


class Usage(NamedTuple):
    """What a process uses.

    Args:
        born_at: when it was started, in seconds; with the process id it says which process it is.
        cpu_seconds: processor time so far, user and system, of all its threads.
        rss_bytes: resident memory now.
    """

    born_at: float
    cpu_seconds: float
    rss_bytes: int


class Ended(NamedTuple):
    """How a process ended.

    Args:
        signal: the signal that ended it, or None.
        exit_code: its exit code, or None (a signal ended it, or somebody else has reaped it).
        peak_bytes: its largest resident memory, or None where it cannot be told.
        cpu_seconds: processor time, user and system, of all its threads and of what it had started and waited for; 0.0
            where it cannot be told.
    """

    signal: int | None
    exit_code: int | None
    peak_bytes: int | None
    cpu_seconds: float = 0.0


def read_boot_id(path: Path = Path("/proc/sys/kernel/random/boot_id")) -> str:
    """Give what tells this run of the system from every other one: process ids of another one say nothing.

    Args:
        path: where the kernel tells it.
    """
    for line in _lines_of(path):
        return line
    return f"{psutil.boot_time():.0f}"


def read_usage(pid: int) -> Usage | None:
    """Give what a process uses; None if it has ended, reaped or not."""
    try:
        process = psutil.Process(pid)
        with process.oneshot():
            if process.status() == psutil.STATUS_ZOMBIE:
                return None
            times = process.cpu_times()
            return Usage(process.create_time(), times.user + times.system, process.memory_info().rss)
    except _UNREADABLE:
        return None


class TreeMemory:
    """Reads the resident memory of a process and all it has started, again and again.

    To find what it has started, every process of the system is looked at. So that is done at some of the
    reads alone, and what was started between them and ended before the next is not seen.

    Args:
        pid: the process, which must not have been reaped while this is used.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._members: list[psutil.Process] = []
        self._reads = 0

    def read(self) -> int:
        """Give the bytes resident now; what several share counts for each of them. 0 when all have ended."""
        if self._reads % _READS_A_SEARCH == 0:
            self._members = [process for pid in {self._pid} | _descendants(self._pid) for process in _find_process(pid)]
        self._reads += 1
        total = 0
        for member in self._members:
            with contextlib.suppress(*_UNREADABLE):  # it has ended, or is another user's
                if member.is_running():  # and its number was not given to another meanwhile
                    total += member.memory_info().rss
        return total


def end_tree(pid: int) -> None:
    """Kill the process `pid`, leader of its own session, and all it has started; do not reap it.

    It must not have been reaped. Called again, it ends what is left. Where nothing can be looked at, since no
    descriptor is left, its process group is ended alone.
    """
    others = _descendants(pid) | _session_members(pid)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    for other in others:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(other, signal.SIGKILL)
    # The session does not exist yet in the instant between the start and `setsid`.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)


def end_session(pid: int) -> None:
    """Kill what the process `pid`, leader of its own session, has left in it; it has ended, and was not reaped.

    What it had started is its child no more, so this is all that `end_tree` finds, and a fraction of the search.
    """
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    for other in _session_members(pid):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(other, signal.SIGKILL)


def reap(pid: int, own_peak_bytes: int) -> Ended | None:
    """Take the status of the ended child `pid`; None while it still runs.

    Args:
        pid: the child.
        own_peak_bytes: this process's peak memory when it started the child. The kernel counts what
            the child shared with it before `exec`, so a peak up to this tells nothing.
    """
    try:
        ended, status, figures = os.wait4(pid, os.WNOHANG)
    except ChildProcessError:
        return Ended(None, None, None)  # somebody else reaped it: a host that waits for every child
    if ended == 0:
        return None
    code = os.waitstatus_to_exitcode(status)
    peak = figures.ru_maxrss * _PEAK_UNIT
    known = peak if peak > own_peak_bytes else None
    spent = figures.ru_utime + figures.ru_stime
    return Ended(-code, None, known, spent) if code < 0 else Ended(None, code, known, spent)


def own_peak_bytes() -> int:
    """Give this process's largest resident memory so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _PEAK_UNIT


def describe_death(ended: Ended, pid: int, last_output: tuple[str, ...], *, oom_kills: int) -> Crashed | OutOfMemory:
    """Tell a death as a reason.

    Args:
        ended: how it ended.
        pid: the process.
        last_output: the last lines it wrote to stderr.
        oom_kills: what `count_oom_kills` has gone up by since it was started. Nothing tells which
            process was meant; that one was ended in this way, and this one by the same signal, is
            taken for the same.
    """
    if ended.signal == signal.SIGKILL and oom_kills > 0:
        return OutOfMemory(pid, ended.peak_bytes)
    return Crashed(ended.signal, ended.exit_code, pid, ended.peak_bytes, last_output)


def count_oom_kills(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> int:
    """Count the processes of this program's control group that the system ended as memory ran out.

    Args:
        root: where control groups are mounted, version 1 or 2.
        own: the list of groups this program is in.

    Returns:
        The count since the group was made, of those below it too; 0 where it cannot be told.
    """
    for path in _oom_counters(root, own):
        for line in _lines_of(path):
            name, _, count = line.partition(" ")
            if name == "oom_kill" and count.isdigit():
                return int(count)
    return 0


def watch_death(pid: int) -> int:
    """Give a descriptor that becomes readable when the child `pid` has ended; the caller closes it.

    It does so at once, whoever else holds the child's channels (a child that has forked keeps them
    open beyond its own death). Reaps nothing.
    """
    if hasattr(os, "pidfd_open"):
        with contextlib.suppress(OSError):  # ENOSYS: an old kernel or a sandbox
            return os.pidfd_open(pid)
    if sys.platform == "darwin":
        return _watch_by_kqueue(pid)
    return watch_death_by_thread(pid)


def watch_death_by_thread(pid: int) -> int:
    """Do as `watch_death` with a thread that waits, where the system offers nothing better."""
    reader, writer = os.pipe()

    def wait() -> None:
        try:
            if sys.platform != "darwin":
                os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        except ChildProcessError:
            pass  # reaped by somebody else: it has ended all the same
        finally:
            os.close(writer)  # the reader sees the end of the pipe

    threading.Thread(target=wait, name=f"supervisors-waiter-{pid}", daemon=True).start()
    return reader


def _watch_by_kqueue(pid: int) -> int:
    if sys.platform != "darwin":
        raise NotImplementedError
    queue = select.kqueue()
    try:
        event = select.kevent(pid, select.KQ_FILTER_PROC, select.KQ_EV_ADD, select.KQ_NOTE_EXIT)
        queue.control([event], 0)
        return os.dup(queue.fileno())
    finally:
        queue.close()


def _oom_counters(root: Path, own: Path) -> list[str]:
    """Where the count may be, the closest first. In a container its group is often the root of what is mounted."""
    counters = []
    # Each start of a worker asks: no paths are made that only take time.
    for line in _lines_of(own):
        _, controllers, group = [*line.split(":", 2), "", ""][:3]
        if not controllers:
            counters.append(f"{root}/{group.lstrip('/')}/memory.events")
        elif "memory" in controllers.split(","):
            counters.append(f"{root}/memory/{group.lstrip('/')}/memory.oom_control")
    return [*counters, f"{root}/memory.events", f"{root}/memory/memory.oom_control"]


def _lines_of(path: str | Path) -> list[str]:
    try:
        fd = os.open(path, os.O_RDONLY)
    except OSError:
        return []
    try:
        return os.read(fd, _SMALL_FILE_BYTES).decode().splitlines()
    except (OSError, UnicodeDecodeError):
        return []
    finally:
        os.close(fd)


def _find_process(pid: int) -> list[psutil.Process]:
    try:
        return [psutil.Process(pid)]
    except _UNREADABLE:
        return []


def _descendants(pid: int) -> set[int]:
    try:
        return {child.pid for child in psutil.Process(pid).children(recursive=True)}
    except _UNREADABLE:
        return set()


def _session_members(pid: int) -> set[int]:
    try:
        others = psutil.pids()
    except _UNREADABLE:
        return set()
    return {other for other in others if other != pid and _session_of(other) == pid}


def _session_of(pid: int) -> int | None:
    # Asked of each process there is, at each death of a worker: `suppress` would cost more than the question.
    try:
        return os.getsid(pid)
    except OSError:
        return None
