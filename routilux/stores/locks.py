"""Locks on files: the one place where the platform's way of locking is known.

`flock` belongs to the open file description. So it refuses a second lock within one process too, which `lockf` does
not; whoever inherits the descriptor holds the lock as well; and it is gone when the last of them has ended, however
that was. Where there is no `fcntl`, this is the module to be written again (Windows: `msvcrt.locking`).
"""

from __future__ import annotations

import fcntl


def try_lock(descriptor: int) -> bool:
    """Lock the file for this descriptor alone; False if another one has it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def unlock(descriptor: int) -> None:
    """Give the lock back, for all who have inherited the descriptor."""
    fcntl.flock(descriptor, fcntl.LOCK_UN)


def is_locked(descriptor: int) -> bool:
    """True while another descriptor has the lock.

    For a moment the file is locked for reading, and a `try_lock` in that moment fails.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return False
