"""Processors: how many this program may use, and the part of them that a worker keeps to.

Owns the one count that a default number of workers is made of, and carrying out `cpu_affinity` and `niceness` in a
process. Never decides how many workers there are.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from supervisors.errors import StartError

_GROUPS = Path("/sys/fs/cgroup")
_OWN_GROUPS = Path("/proc/self/cgroup")


def usable_cpus() -> int:
    """Give how many processors' worth of work this program can get done at a time, 1 at least.

    That is the processors that it may run on (`os.process_cpu_count` where there is one, and so what `-X cpu_count`
    says), or fewer where a control group of Linux, version 2 or 1, allows it less time than they have: a container
    with `--cpus=1.5` has 2 on a machine of 64. Meant for `workers=`, and read anew at each call.
    """
    count = runnable_cpus()
    quota = read_quota()
    return count if quota is None else max(1, min(count, math.ceil(quota)))


def read_quota(root: Path = _GROUPS, own: Path = _OWN_GROUPS) -> float | None:
    """Give the processors' worth of time that control groups allow this program; None for no limit.

    Args:
        root: where control groups are mounted, version 1 or 2.
        own: the list of groups this program is in.
    """
    quotas = [quota for folder in _group_folders(root, own) for quota in _quotas_in(folder)]
    return min(quotas, default=None)


def count_pinnable() -> int:
    """Give how many processors there are to keep to, numbered from 0; 0 where the system lets no process do so.

    Some of them may be switched off, or not for this program: that is found out by `settle`.
    """
    return os.sysconf("SC_NPROCESSORS_CONF") if hasattr(os, "sched_setaffinity") else 0


def settle(cpus: Sequence[int] | None, niceness: int | None) -> None:
    """Keep this process, with all its threads, to these processors and this niceness.

    Args:
        cpus: their numbers; None for those that it has.
        niceness: 19 for the most yielding to -20; None for the one it has.

    Raises:
        StartError: the system does not allow it.
    """
    if cpus is not None:
        _pin(cpus)
    if niceness is not None:
        try:
            for thread in _threads():
                os.setpriority(os.PRIO_PROCESS, thread, niceness)
        except OSError as error:
            own = os.getpriority(os.PRIO_PROCESS, 0)
            raise StartError(
                f"niceness: {niceness} is not allowed ({error.strerror}); the program's own is {own}, and less takes a "
                "privilege"
            ) from error


def _pin(cpus: Sequence[int]) -> None:
    if sys.platform != "linux":
        raise StartError("cpu_affinity: this system does not let a process keep to some processors")
    try:
        for thread in _threads():
            os.sched_setaffinity(thread, cpus)
        missing = set(cpus) - os.sched_getaffinity(0)  # the kernel takes what there is of them
    except (OSError, ValueError, OverflowError):
        missing = set(cpus)
    if missing:
        raise StartError(f"cpu_affinity: processors {sorted(missing)} are not there for this program to use")


def _threads() -> list[int]:
    """Give the threads of this process that have to be told one by one: on Linux all."""
    try:
        return [int(thread.name) for thread in Path("/proc/self/task").iterdir()]
    except OSError:
        return [0]


def runnable_cpus() -> int:
    """Give how many processors this program may run on, whatever time it gets on them."""
    if sys.version_info >= (3, 13):
        return os.process_cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0)) or 1
    return os.cpu_count() or 1


def _group_folders(root: Path, own: Path) -> Iterator[Path]:
    """Give where limits may be: of each group this program is in, and of all above it.

    In a container its group is often the root of what is mounted.
    """
    for line in _read(own).splitlines():
        _, controllers, group = [*line.split(":", 2), "", ""][:3]
        if controllers and "cpu" not in controllers.split(","):
            continue
        mount = root / "cpu" if controllers else root
        folder = mount / group.lstrip("/")
        yield folder
        yield from _above(folder, mount)


def _above(folder: Path, mount: Path) -> Iterable[Path]:
    return (parent for parent in folder.parents if parent == mount or mount in parent.parents)


def _quotas_in(folder: Path) -> Iterator[float]:
    told = _read(folder / "cpu.max").split() or [
        *_read(folder / "cpu.cfs_quota_us").split(),
        *_read(folder / "cpu.cfs_period_us").split(),
    ]
    if len(told) == 2 and all(word.isdigit() for word in told) and int(told[1]):  # noqa: PLR2004  else "max", or -1
        yield int(told[0]) / int(told[1])


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        return ""
