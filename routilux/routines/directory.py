"""`DirectorySource`: the files of a folder.

Owns the walk and its order. Opens no file.
"""

from __future__ import annotations

import errno
import fnmatch
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from routilux.errors import OptionError
from routilux.model.routine import TRIGGER
from routilux.routines.asking import OUTPUT
from routilux.routines.errors import FileReadError, reason_of
from routilux.routines.sources import ERROR, FilePath, Source, Steps

_NEXT = "next"


class DirectorySource(Source):
    """Emits the path of each file of a folder, sorted by name, folder by folder.

    Slot `trigger`, so it can be the entry; a message may name the `root`. Event `output` for each file, with `path`,
    which is the root and the name together, and `name`, relative to the root, with `/` between its parts. Names are
    sorted by their characters, whatever the locale says, so the order is the same everywhere.

    The folder is listed once for a message, and the list kept with it (`Routine.once`; about as much as the names are
    long): a resumed job goes on by the same list, whatever the folder holds by then, and each file goes out once in
    effect. Whether it is still there is found out by who reads it.

    Only regular files are listed. Links to files are followed; links to folders with `follow_links` only, and not into
    a folder that they are in themselves. It takes one worker, on a thread or in a process.

    Args:
        root: the folder, where a message names none.
        pattern: what the name of a file has to match, without its folders, such as `*.log`, by the rules of `fnmatch`
            with its case; or several, of which one has to match.
        recursive: whether folders within are gone into.
        follow_links: whether links to folders are, too.
        unreadable: what follows when a folder cannot be listed, or may not be known where a link leads: `error` fails
            the message, with `FileReadError`, before anything is emitted; `event` emits `unreadable` with `path`,
            `line` (None) and `error`, a text, for each such folder or link, and then the files.

    Raises:
        OptionError: an option cannot have that value.

    In a job:
        FileReadError: a folder cannot be listed.
        RecordError: the root of a message is no path.
        SlotArgumentError: neither the message nor the source has a root.

    Example:
        >>> import tempfile, pathlib
        >>> from routilux import Flow
        >>> root = pathlib.Path(tempfile.mkdtemp())
        >>> for name in ("b.log", "a.log", "a.txt"):
        ...     (root / name).touch()
        >>> flow = Flow("logs")
        >>> _ = flow.add_routine(DirectorySource(root, pattern="*.log"), "files")
        >>> _ = flow.output("files", "output")
        >>> [item["name"] for item in flow.execute().outputs["files", "output"]]
        ['a.log', 'b.log']
    """

    parameter: ClassVar[str] = "root"

    def __init__(
        self,
        root: FilePath | None = None,
        *,
        pattern: str | Iterable[str] = "*",
        recursive: bool = True,
        follow_links: bool = False,
        unreadable: str = ERROR,
    ) -> None:
        super().__init__(root, unreadable)
        self.root = root
        self._patterns = _checked_patterns(pattern)
        self.pattern = pattern if isinstance(pattern, str) else self._patterns
        self.recursive = recursive
        self.follow_links = follow_links
        self.define_slot(TRIGGER, handler=self.walk)
        self.define_event(OUTPUT, ["path", "name"])

    def walk(self, root: FilePath | None = None, **others: Any) -> Steps:
        """Emit the files of one folder."""
        where = self._where(root, others)
        names, failures = self.once("listing", lambda: self._list(where))
        key = f"{self.message_id} {_NEXT}"
        for number in range(self.state.get(key, 0), len(failures) + len(names)):
            self.state[key] = number + 1
            if number < len(failures):
                path, detail = failures[number]
                self._give_up(FileReadError(path, detail))
            else:
                name = names[number - len(failures)]
                self.emit(OUTPUT, path=str(Path(where, name)), name=name)
            yield
        self.state.pop(key, None)

    def _list(self, root: str) -> tuple[list[str], list[tuple[str, str]]]:
        """Give the names of the files, and the folders that cannot be listed with the reasons."""
        names: list[str] = []
        failures: list[tuple[str, str]] = []
        waiting = [_Entry("", is_folder=True, inside=frozenset())]  # a stack: the next one last
        while waiting:
            entry = waiting.pop()
            path = str(Path(root, entry.name))
            try:
                if entry.error is not None:
                    raise entry.error
                if entry.is_folder:
                    waiting += reversed(self._entries(path, entry))
                else:
                    names.append(entry.name)
            except (OSError, ValueError) as error:  # ValueError: a zero character
                detail = reason_of(error) if isinstance(error, OSError) else str(error)
                if self.unreadable == ERROR:
                    raise FileReadError(path, detail) from error
                failures.append((path, detail))
        return names, failures

    def _entries(self, path: str, folder: _Entry) -> list[_Entry]:
        """Give what is of interest in a folder, in its order."""
        inside = folder.inside
        if self.follow_links:
            status = Path(path).stat()
            if (status.st_dev, status.st_ino) in inside:
                return []
            inside |= {(status.st_dev, status.st_ino)}
        with os.scandir(path) as found:
            entries = sorted(found, key=lambda entry: entry.name)
        chosen = []
        for entry in entries:
            name = f"{folder.name}/{entry.name}" if folder.name else entry.name
            try:
                if _is_folder(entry, follow_links=self.follow_links):
                    if self.recursive:
                        chosen.append(_Entry(name, is_folder=True, inside=inside))
                elif self._matches(entry.name) and _is_file(entry):
                    chosen.append(_Entry(name, is_folder=False, inside=inside))
            except OSError as error:
                chosen.append(_Entry(name, is_folder=False, inside=inside, error=error))
        return chosen

    def _matches(self, name: str) -> bool:
        return any(fnmatch.fnmatchcase(name, pattern) for pattern in self._patterns)


class _Entry(NamedTuple):
    """A file or folder.

    Args:
        name: relative to the root; empty for that itself.
        is_folder: which of the two.
        inside: the folders that it is in, by device and number; known where links are followed.
        error: why it is not known what it is; None where it is.
    """

    name: str
    is_folder: bool
    inside: frozenset[tuple[int, int]]
    error: OSError | None = None


def _is_folder(entry: os.DirEntry[str], *, follow_links: bool) -> bool:
    try:
        return entry.is_dir(follow_symlinks=follow_links)
    except OSError as error:
        if _leads_nowhere(error):
            return False
        raise


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError as error:
        if _leads_nowhere(error):
            return False
        raise


def _leads_nowhere(error: OSError) -> bool:
    """Tell whether a link leads to itself, or where nothing can be; else it is not known what the error hides."""
    return error.errno in {errno.ELOOP, errno.ENOTDIR, errno.ENAMETOOLONG}


def _checked_patterns(pattern: object) -> tuple[str, ...]:
    patterns = (pattern,) if isinstance(pattern, str) else pattern
    if isinstance(patterns, Iterable):
        chosen = tuple(patterns)
        if chosen and all(isinstance(part, str) and part and "/" not in part for part in chosen):
            return chosen
    raise OptionError(
        f"DirectorySource: expected pattern to be one for the names of files, such as '*.log', or several, "
        f"got {pattern!r}; folders are not part of it"
    )
