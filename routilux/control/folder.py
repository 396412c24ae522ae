"""Where the sockets are by which jobs take commands: files in a folder that is this user's alone.

Owns the folder, the names in it, and the removal of what killed programs left. Never speaks to a job.

A socket is bound under a name that begins with a dot, listens, and then gets its own name: so whatever has its own name
and refuses a connection has nobody behind it any more, and may be removed.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import stat
import tempfile
import time
from pathlib import Path

from routilux.control.errors import UnsafeControlError

MAX_PATH_BYTES = 107
"""What `sun_path` has room for on Linux, with its end (unix(7)); 103 elsewhere."""
LEFT_OVER_SECONDS = 60.0
"""Age from which a socket that never got its name was left by a program that was killed (arbitrary)."""

_ENDING = ".sock"
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def new_path() -> Path:
    """Give a new socket's path, in a folder that is there and safe.

    Raises:
        UnsafeControlError: the folder is another user's, or others may enter it.
        OSError: it cannot be made.
    """
    name = f"{os.getpid()}-{secrets.token_hex(6)}{_ENDING}"
    for folder in _folders():
        path = folder / name
        if len(os.fsencode(path)) < MAX_PATH_BYTES:  # one more for the dot
            _make(folder)
            return path
    raise OSError(f"the paths of {', '.join(map(str, _folders()))} are too long for a socket's")


def bind(path: Path) -> socket.socket:
    """Give a socket that listens at `path`; only this user may connect to it. Raises `OSError`."""
    hidden = path.with_name("." + path.name)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(hidden))
        hidden.chmod(0o600)
        listener.listen()
        listener.setblocking(False)
        hidden.rename(path)
    except BaseException:
        listener.close()
        with contextlib.suppress(OSError):
            hidden.unlink()
        raise
    return listener


def list_sockets() -> list[Path]:
    """Give the sockets in the folders of this user, sorted; there may be nobody behind one."""
    found: dict[Path, None] = {}
    for folder in _folders():
        with contextlib.suppress(OSError):  # there is none, or it is another's
            _check_own(folder.lstat(), folder)
            found.update(dict.fromkeys(sorted(entry for entry in folder.iterdir() if _has_name(entry))))
    return list(found)


def sweep(folder: Path) -> None:
    """Remove the sockets behind which nobody is any more."""
    own = f"{os.getpid()}-"
    for entry in folder.iterdir():
        if not entry.name.endswith(_ENDING) or entry.name.lstrip(".").startswith(own):
            continue
        with contextlib.suppress(OSError):
            is_left = _is_old(entry) if entry.name.startswith(".") else _is_dead(entry)
            if is_left:
                entry.unlink()


def check_socket(path: Path) -> None:
    """Hold that a path leads to a socket that is this user's alone.

    Raises:
        UnsafeControlError: it is not.
        FileNotFoundError: there is nothing.
    """
    found = path.lstat()
    if not stat.S_ISSOCK(found.st_mode):
        raise UnsafeControlError(f"{str(path)!r} is no socket")
    for what, where in ((path, found), (path.parent, path.parent.lstat())):
        _check_own(where, what)


def _folders() -> list[Path]:
    given = os.environ.get("XDG_RUNTIME_DIR", "")
    runtime = [Path(given) / "routilux"] if given.startswith("/") and Path(given).is_dir() else []
    own = f"routilux-{os.geteuid()}"
    return [*runtime, Path(tempfile.gettempdir()) / own, Path("/tmp") / own]  # noqa: S108  checked by `_make`


def _make(folder: Path) -> None:
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise UnsafeControlError(f"{str(folder)!r} is no folder, or a link")
    _check_own(found, folder)


def _check_own(found: os.stat_result, path: Path) -> None:
    if found.st_uid != os.geteuid():
        raise UnsafeControlError(f"{str(path)!r} belongs to user {found.st_uid}, not to {os.geteuid()}")
    if found.st_mode & _OTHERS:
        raise UnsafeControlError(f"{str(path)!r} is open to others (mode {stat.S_IMODE(found.st_mode):04o})")


def _has_name(entry: Path) -> bool:
    return entry.name.endswith(_ENDING) and not entry.name.startswith(".")


def _is_old(entry: Path) -> bool:
    return time.time() - entry.lstat().st_mtime > LEFT_OVER_SECONDS


def _is_dead(entry: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(entry))
        except ConnectionRefusedError:
            return True
        except OSError:
            return False  # one that has no room for us just now is alive
    return False
