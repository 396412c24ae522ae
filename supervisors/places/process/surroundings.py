"""What a process has from the one that starts it, for workers that are forked from a process of longer ago.

Owns the list of these things, reading them in the program and taking them over in its zygote: environment, search
path, file mode mask, ignored signals, limits, niceness, processors, how gladly the system ends it. The working
directory goes as a descriptor (`open_folder`): it may have no name any more. Never decides anything.

What a zygote is not permitted to take over stays as it was when the zygote was started. What a process can only give
up, and not hand to another, cannot be told: privileges of its own beyond user and groups, filters, namespaces.
"""

from __future__ import annotations

import contextlib
import os
import re
import resource
import signal
import sys
import time
from importlib.machinery import FileFinder
from pathlib import Path

import msgspec

_STATUS = Path("/proc/self/status")
_STATUS_LINES = re.compile(rb"^(Umask|SigIgn):\t(\w+)", re.MULTILINE)
_OOM_SCORE = Path("/proc/self/oom_score_adj")
_SIGNALS: list[int] = sorted(
    signal.valid_signals() - {signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ, signal.SIGKILL, signal.SIGSTOP}
)
"""Those that can be ignored, without those of which each interpreter makes what it wants as it starts."""
_LIMITS = tuple(getattr(resource, name) for name in sorted(dir(resource)) if name.startswith("RLIMIT_"))


class Surroundings(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What a program has at one moment, for a worker that it starts then.

    Args:
        environment: pairs of name and value.
        search_path: `sys.path`.
        limits: triples of a resource, its soft and its hard limit.
        niceness: of the thread that read it.
        processors: on which that thread may run.
        umask: the file mode mask; None where the system does not tell it.
        ignored: the signals that are ignored, without those that each interpreter sets by itself; None likewise.
        oom_score: how gladly the system ends the process when memory runs out; None likewise.
    """

    environment: list[tuple[bytes, bytes]]
    search_path: list[bytes]
    limits: list[tuple[int, int, int]]
    niceness: int
    processors: list[int]
    umask: int | None
    ignored: list[int] | None
    oom_score: int | None


def read_surroundings() -> bytes:
    """Give those of this process, encoded."""
    mask, ignored = _read_status()
    told = Surroundings(
        # By name, since other threads may set and delete some meanwhile.
        environment=[(name, value) for name in os.environb if (value := os.environb.get(name)) is not None],
        search_path=[os.fsencode(entry) for entry in sys.path if type(entry) is str],
        limits=[(kind, *resource.getrlimit(kind)) for kind in _LIMITS],
        niceness=os.getpriority(os.PRIO_PROCESS, 0),
        processors=sorted(os.sched_getaffinity(0)) if sys.platform == "linux" else [],
        umask=mask,
        ignored=ignored,
        oom_score=_read_oom_score(),
    )
    return msgspec.msgpack.encode(told)


def open_folder() -> int:
    """Give a descriptor of the working directory, for `os.fchdir`; the caller closes it.

    Raises:
        OSError: it cannot be entered any more, or no descriptor is left.
    """
    return os.open(".", getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC)


def enter_surroundings(told: bytes) -> Surroundings:
    """Take them over, but for what is ignored of children's ends, and give them; on the only thread of the process.

    A process that ignores `SIGCHLD` never learns how its children ended: see `ignore_children`.

    Raises:
        msgspec.MsgspecError: it is not what `read_surroundings` gave.
    """
    wanted = msgspec.msgpack.decode(told, type=Surroundings)
    _enter_environment(dict(wanted.environment))
    sys.path[:] = [os.fsdecode(entry) for entry in wanted.search_path]
    if wanted.umask is not None:
        os.umask(wanted.umask)
    if wanted.ignored is not None:
        for number in set(_SIGNALS) - {signal.SIGCHLD}:
            _set_ignored(number, ignored=number in wanted.ignored)
    # What stands in the way of one of these is a missing privilege.
    for kind, soft, hard in wanted.limits:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(kind, (soft, hard))
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, wanted.niceness)
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.sched_setaffinity(0, wanted.processors)
    if wanted.oom_score is not None and wanted.oom_score != _read_oom_score():
        with contextlib.suppress(OSError):
            _OOM_SCORE.write_text(str(wanted.oom_score))
    return wanted


def ignore_children(entered: Surroundings) -> None:
    """Ignore `SIGCHLD` if the program does: what a worker does, and not its zygote, which never ignores it."""
    if entered.ignored is not None and signal.SIGCHLD in entered.ignored:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)


def forget_folders() -> None:
    """Let the next import look anew into the folders of the search path, and those it knows besides.

    There may be modules by then that were written so soon after the last look that the folder's time is still the same.
    `importlib.invalidate_caches` would import a great deal for it.
    """
    for finder in sys.path_importer_cache.values():
        if isinstance(finder, FileFinder):
            finder.invalidate_caches()


def _enter_environment(wanted: dict[bytes, bytes]) -> None:
    zone = os.environb.get(b"TZ")
    for name in os.environb.keys() - wanted.keys():
        del os.environb[name]
    for name, value in wanted.items():
        if os.environb.get(name) != value:
            os.environb[name] = value
    if os.environb.get(b"TZ") != zone:
        time.tzset()


def _set_ignored(number: int, *, ignored: bool) -> None:
    """Let a signal be ignored or not; one that a preloaded module handles stays handled."""
    if ignored:
        signal.signal(number, signal.SIG_IGN)
    elif signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.SIG_DFL)


def _read_status() -> tuple[int | None, list[int] | None]:
    """Give the file mode mask, which nothing else tells without setting it, and the ignored signals."""
    try:
        found = dict(_STATUS_LINES.findall(_STATUS.read_bytes()))
    except OSError:
        return None, None
    mask, ignored = found.get(b"Umask"), found.get(b"SigIgn")
    bits = 0 if ignored is None else int(ignored, 16)
    return (
        None if mask is None else int(mask, 8),
        None if ignored is None else [number for number in _SIGNALS if bits >> (number - 1) & 1],
    )


def _read_oom_score() -> int | None:
    with contextlib.suppress(OSError, ValueError):
        return int(_OOM_SCORE.read_text())
    return None
