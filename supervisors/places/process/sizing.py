"""How much memory there is to be shared, and how much of it a process looks at."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

_SHARE = 4
"""One part of so many of the memory is for sharing, if nobody says how much (arbitrary: a tmpfs gets a half)."""


_GROUPS = Path("/sys/fs/cgroup")
_OWN_GROUPS = Path("/proc/self/cgroup")


def default_limit(root: Path = _GROUPS, own: Path = _OWN_GROUPS, total: int | None = None) -> int:
    """Give how much shared memory a pool may have: a quarter of what this program may.

    Args:
        root: where control groups are.
        own: what tells which one this is.
        total: the machine's memory; None to look.
    """
    total = machine_bytes() if total is None else total
    bound = read_memory_bound(root, own)
    return (total if bound is None else min(total, bound)) // _SHARE


def machine_bytes() -> int:
    """Give how much memory the machine has."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def read_memory_bound(root: Path = _GROUPS, own: Path = _OWN_GROUPS) -> int | None:
    """Give how much memory control groups allow this program; None for no limit. Arguments as for `default_limit`."""
    limits: list[int] = []
    with contextlib.suppress(OSError):  # no control groups
        for line in own.read_text().splitlines():
            _number, controllers, path = line.split(":", 2)
            name = "memory.limit_in_bytes" if controllers else "memory.max"
            if controllers and "memory" not in controllers.split(","):
                continue
            folder = root / "memory" if controllers else root
            for part in ("", *Path(path.lstrip("/")).parts):
                folder /= part
                with contextlib.suppress(OSError, ValueError):  # not bounded here
                    limits.append(int((folder / name).read_text()))
    return min(limits, default=None)


def resident_shared_bytes(pid: int) -> int:
    """Give how much of what is resident in a process is shared memory; 0 where nothing tells.

    What lies in files is left out: libraries that several processes use count as their own.
    """
    with contextlib.suppress(OSError, ValueError, IndexError):  # it has ended, or this is no Linux
        for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("RssShmem:"):
                return int(line.split()[1]) * 1024
    return 0
