"""What changes a file system, call by call.

A store is handed these, so that a test can end the program, or let a call fail, at each of them.
"""

from __future__ import annotations

import os

FILE_MODE = 0o600
FOLDER_MODE = 0o700


class Syscalls:
    """The calls of the operating system; paths are names within the folder `dir_fd`."""

    def create(self, name: str, flags: int, *, dir_fd: int) -> int:
        """Make a file that is not there yet, and open it."""
        return os.open(name, flags | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE, dir_fd=dir_fd)

    def mkdir(self, name: str, *, dir_fd: int) -> None:
        """Make a folder that is not there yet."""
        os.mkdir(name, FOLDER_MODE, dir_fd=dir_fd)

    def write(self, descriptor: int, data: memoryview) -> int:
        """Write some or all of `data`, and give how many bytes it was."""
        return os.write(descriptor, data)

    def truncate(self, descriptor: int, size_bytes: int) -> None:
        """Cut a file."""
        os.ftruncate(descriptor, size_bytes)

    def fsync(self, descriptor: int) -> None:
        """Wait until a file, or the names in a folder, are on the device."""
        os.fsync(descriptor)

    def link(self, source: str, target: str, *, dir_fd: int) -> None:
        """Give a file a second name, which must not be there."""
        os.link(source, target, src_dir_fd=dir_fd, dst_dir_fd=dir_fd, follow_symlinks=False)

    def rename(self, source: str, target: str, *, dir_fd: int) -> None:
        """Give a file another name, in place of what had it."""
        os.rename(source, target, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)

    def unlink(self, name: str, *, dir_fd: int) -> None:
        """Take a file's name."""
        os.unlink(name, dir_fd=dir_fd)

    def rmdir(self, name: str, *, dir_fd: int) -> None:
        """Take an empty folder away."""
        os.rmdir(name, dir_fd=dir_fd)
