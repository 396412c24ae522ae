"""What a test may not leave behind: processes, threads, descriptors, shared-memory names.

Owns the comparison of before and after. Never ends a thread or closes a descriptor: what is left
over is reported. Only left-over processes are ended, once reported, so that one failure stays one.

A process is taken for ours when it descends from this one, zombie or not, or when it carries this
one's mark in its environment. The mark is inherited, so a process whose parent has died is found
too, and processes that happen to run beside the tests are not taken for leaks: neither those of
other programs nor, where pytest-xdist shares the tests out, those of the other workers' tests.

What starts worker processes stays warm between tests, and is no leak: one thread, its guardian process, and at most
`WARM_ZYGOTES` zygotes, with a descriptor for each of these processes. A worker is none of them.

A shared-memory name belongs to no process that could be asked. So one that stays is told by all
workers whose test was running when it came; one that comes and goes is waited for.
"""

from __future__ import annotations

import contextlib
import gc
import os
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import psutil

from supervisors.places.process.spawn import spawner
from supervisors.places.process.zygotes import IDLE_LIMIT
from tests.supervisors.places.fake_node import node

DEADLINE = 5.0
"""Seconds that an end already under way may take (arbitrary, generous on a busy machine)."""
MARK = "ROUTILUX_TEST_RUN"
"""Environment variable by which those are known that descend from one process that runs tests."""
SHARED_MEMORY = Path("/dev/shm")
"""Where the names of shared memory are."""

WARM_ZYGOTES = IDLE_LIMIT
"""Zygotes that may stay for the next test."""

_OWN_FDS = Path("/proc/self/fd")


class Holdings(NamedTuple):
    """What this process and its descendants hold at one moment."""

    pids: frozenset[int]
    threads: frozenset[threading.Thread]
    descriptors: Counter[str]
    shared_memory: Path
    shared_names: frozenset[str]


def mark_processes() -> None:
    """Mark the environment of all that this process will start, once, before the first of them.

    It is a new mark also where the environment brings one: a worker has that of the process that shares the tests out,
    and so has its neighbour.
    """
    os.environ[MARK] = uuid.uuid4().hex


class Warm(NamedTuple):
    """What is kept to start the next worker by."""

    pids: frozenset[int]
    threads: frozenset[threading.Thread]
    descriptors: frozenset[int]


def list_warm() -> Warm:
    """List what the spawner of this process keeps, and what agents of a cluster that is none are forked by."""
    spawning, (node_pids, node_fds) = list_spawning(), node.held()
    return Warm(spawning.pids | node_pids, spawning.threads, spawning.descriptors | node_fds)


def list_spawning() -> Warm:
    """List what the spawner of this process keeps."""
    thread, guardian = spawner._thread, spawner._guardian
    if thread is None or guardian is None:
        return Warm(frozenset(), frozenset(), frozenset())
    zygotes = [zygote for zygote in tuple(spawner._zygotes._zygotes.values()) if not zygote.is_lost][-WARM_ZYGOTES:]
    pids = {guardian._process.pid, *(zygote.pid for zygote in zygotes)}
    descriptors = {guardian._process.stdin.fileno(), *(zygote._channel.fileno() for zygote in zygotes)}
    return Warm(frozenset(pids), frozenset({thread}), frozenset(descriptors))


def take_stock(shared_memory: Path = SHARED_MEMORY) -> Holdings:
    """List what is held now.

    Args:
        shared_memory: the folder of shared-memory names.
    """
    warm = list_warm()
    return Holdings(
        pids=frozenset(psutil.pids()) - warm.pids,
        threads=frozenset(threading.enumerate()) - warm.threads,
        descriptors=Counter(_descriptors(warm.descriptors)),
        shared_memory=shared_memory,
        shared_names=_shared_names(shared_memory),
    )


def find_leaks(
    before: Holdings, deadline: float = DEADLINE, is_foreign: Callable[[str], bool] | None = None
) -> list[str]:
    """Describe what is held now and was not before; empty if nothing is, or not for long.

    Args:
        before: what was held when the test began.
        deadline: seconds to wait for the left-overs to go.
        is_foreign: tells what a library leaves that the test has used, of the lines that would tell it; None: nothing.
    """

    def look() -> list[str]:
        return [leak for leak in _leaks(before) if is_foreign is None or not is_foreign(leak)]

    leaks = look()
    if leaks:
        gc.collect()  # what only a cycle holds is garbage, not a leak
        # Ends of processes, threads and descriptors have no event in common to wait for, and waiting
        # for a process would reap it: so look again, after pauses that grow.
        end, pause, never = time.monotonic() + deadline, 0.001, threading.Event()
        while (leaks := look()) and time.monotonic() < end:
            never.wait(pause)
            pause = min(2 * pause, 0.1)
    if leaks:
        _end_processes(before)
    return leaks


def _leaks(before: Holdings) -> list[str]:
    now = take_stock(before.shared_memory)
    processes = [_describe(process) for process in _new_processes(before, now)]
    threads = [f"thread {thread.name!r} (daemon={thread.daemon})" for thread in now.threads - before.threads]
    descriptors = [f"descriptor of {target}" for target in (now.descriptors - before.descriptors).elements()]
    shared = now.shared_names - before.shared_names
    if shared:
        shared -= _mapped_by_others(shared)
    return sorted(processes) + sorted(threads) + sorted(descriptors) + sorted(shared)


def _new_processes(before: Holdings, now: Holdings) -> list[psutil.Process]:
    found = []
    for pid in now.pids - before.pids:
        with contextlib.suppress(psutil.Error):  # it has ended meanwhile, or is another user's
            process = psutil.Process(pid)
            if _is_ours(process):
                found.append(process)
    return found


def _is_ours(process: psutil.Process) -> bool:
    if process.ppid() == os.getpid():
        return True
    with contextlib.suppress(psutil.Error):  # a zombie has no environment any more
        if process.environ().get(MARK) == os.environ[MARK]:
            return True
    return any(parent.pid == os.getpid() for parent in process.parents())


def _describe(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        if process.status() == psutil.STATUS_ZOMBIE:
            return f"process {process.pid}, a zombie: it has ended and was not waited for"
        return f"process {process.pid}: {' '.join(process.cmdline())[:200]}"
    return f"process {process.pid}"


def _mapped_by_others(names: frozenset[str]) -> frozenset[str]:
    """Tell which files processes have in their memory that are none of ours: a neighbour's tests run just now."""
    found: set[str] = set()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):  # it has ended meanwhile, or is another user's
            # Not by psutil, which has the kernel count each page of each mapping: half a second for all processes.
            maps = Path(f"/proc/{process.pid}/maps").read_text("utf-8", "replace")
            mapped = {name for name in names if name in maps}
            if mapped and process.pid != os.getpid() and not _is_ours(process):
                found |= mapped
    return frozenset(found)


def _end_processes(before: Holdings) -> None:
    for process in _new_processes(before, take_stock()):
        with contextlib.suppress(psutil.Error):
            process.kill()
            if process.ppid() == os.getpid():
                process.wait(DEADLINE)


def _descriptors(warm: frozenset[int]) -> list[str]:
    if not _OWN_FDS.is_dir():
        return []
    targets = []
    # Not by `Path`, which takes three times as long: this is done twice for each of ten thousand tests.
    for name in os.listdir(_OWN_FDS):  # noqa: PTH208
        if int(name) in warm:
            continue
        try:
            targets.append(os.readlink(f"{_OWN_FDS}/{name}"))  # noqa: PTH115
        except OSError:
            continue  # the descriptor that listed the folder, closed again
    return targets


def _shared_names(shared_memory: Path) -> frozenset[str]:
    with contextlib.suppress(OSError):
        return frozenset(str(path) for path in shared_memory.iterdir())
    return frozenset()
