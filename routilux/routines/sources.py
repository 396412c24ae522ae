"""`FileSource` and `LinesSource`: what is in files.

Owns the cursor of each message that is on its way through a file. How files are read is `reading`'s.

Theory of operation. A source is a generator: it commits at each `yield` (R4), with a cursor in its state, so that a
crash, a pause or a resume goes on from there. Between two commits an emission is known by its position (R3), which is
the same each time since the bytes are. A cursor is kept by the id of its message and removed when that is done: a
message that was given up in the middle of a file finds its own again when it is redelivered.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import closing
from typing import Any, ClassVar

from routilux.errors import OptionError, SlotArgumentError
from routilux.model.options import RoutineOptions
from routilux.model.routine import TRIGGER
from routilux.model.state_policy import EXTERNAL
from routilux.quantities import is_whole
from routilux.routines.asking import OUTPUT, located
from routilux.routines.errors import FileReadError, RecordError
from routilux.routines.one_worker import OneWorker
from routilux.routines.reading import Decoding, opened, read_block, read_lines

UNREADABLE = "unreadable"
ERROR, EVENT = "error", "event"
MAX_LINE_BYTES = 16 * 1024 * 1024
"""Bytes of a line at most, unless its source says otherwise (arbitrary)."""
LINES_A_COMMIT = 200
"""Lines between two commits of a source (arbitrary: the price of a commit is then that of a few lines)."""
FilePath = str | os.PathLike[str]
Steps = Generator[None, None, None]


class Source(OneWorker):
    """What sources have in common: where they read, and what follows when that cannot be done.

    Args:
        path: the file or folder, where a message names none.
        unreadable: `error` or `event`.
    """

    state_policy: ClassVar[str] = EXTERNAL
    keeps: ClassVar[str] = "its place in its state"
    parameter: ClassVar[str] = "path"
    """The parameter of a message that names what is read."""

    def __init__(self, path: FilePath | None, unreadable: str) -> None:
        super().__init__()
        if unreadable not in (ERROR, EVENT):
            raise OptionError(
                f"{type(self).__name__}: expected unreadable to be {ERROR!r} or {EVENT!r}, got {unreadable!r}"
            )
        self.unreadable = unreadable
        self._default = None if path is None else self._as_text(path, OptionError)
        if unreadable == EVENT:
            self.define_event(UNREADABLE, ["path", "line", "error"])

    def needs_here(self) -> str:
        """Need what it reads."""
        return "files that messages name" if self._default is None else f"the files of {self._default!r}"

    def _where(self, path: object, others: dict[str, Any]) -> str:
        """Give what a message asks to be read."""
        if path is not None:
            return self._as_text(path, RecordError)
        if self._default is None:
            raise located(SlotArgumentError([self.parameter], [self.parameter], others), TRIGGER)
        return self._default

    def _as_text(self, path: object, wrong: type[Exception]) -> str:
        told = f"{type(self).__name__}: expected {self.parameter} to be a path, got {path!r}"
        try:
            text = os.fsdecode(path)  # type: ignore[arg-type]  # what came may be anything, and is refused
        except TypeError as error:
            raise wrong(told) from error
        if not text:  # as a folder it would be the present one, which hardly anybody means by that
            raise wrong(told)
        return text

    def _give_up(self, error: FileReadError) -> None:
        """Tell that something could not be read."""
        if self.unreadable == ERROR:
            raise error
        self.emit(UNREADABLE, path=error.path, line=error.line, error=error.detail)


class LinesSource(Source):
    r"""Reads text files line by line, in constant memory, and goes on where it was.

    Slot `trigger`, so it can be the entry; a message may name the `path`. Event `output` for each line, with `path`,
    `number` (from 1) and `line`, its text without the end. Lines end with a newline, or a carriage return and a
    newline; the last one may end with the file.

    Each line goes out once in effect, whatever is killed, and a resumed job goes on behind the last one that was
    committed. That takes a file that stays as it is while it is read: what is added behind is read as well if it is
    there in time, in whole lines; a file that became shorter is an error. It takes one worker, on a thread or in a
    process.

    Args:
        path: the file, where a message names none.
        encoding: of the text; `utf-8-sig` leaves a mark at the start out. UTF-16 and UTF-32 are not read by lines.
        errors: what becomes of bytes that are not in the encoding, as for `open`: `strict`, `replace`, ...
        max_line_bytes: bytes of a line at most, so that a file without newlines does not fill the memory.
        unreadable: what follows when a file cannot be opened, or not be read on: `error` fails the message, with
            `FileReadError`; `event` emits `unreadable` with `path`, `line` (None where it is about the whole file) and
            `error`, a text. What was read before is out either way.

    Raises:
        OptionError: an option cannot have that value.

    In a job:
        FileReadError: the file cannot be read; it tells the line.
        RecordError: the path of a message is none.
        SlotArgumentError: neither the message nor the source has a path.

    Example:
        >>> import tempfile, pathlib
        >>> from routilux import Flow
        >>> file = pathlib.Path(tempfile.mkdtemp(), "a.txt")
        >>> _ = file.write_text("one\ntwo\n")
        >>> flow = Flow("lines")
        >>> _ = flow.add_routine(LinesSource(file), "lines")
        >>> _ = flow.output("lines", "output")
        >>> [(item["number"], item["line"]) for item in flow.execute().outputs["lines", "output"]]
        [(1, 'one'), (2, 'two')]
    """

    def __init__(
        self,
        path: FilePath | None = None,
        *,
        encoding: str = "utf-8",
        errors: str = "strict",
        max_line_bytes: int = MAX_LINE_BYTES,
        unreadable: str = ERROR,
    ) -> None:
        super().__init__(path, unreadable)
        self.path = path
        self.encoding = encoding
        self.errors = errors
        self.max_line_bytes = checked_size(max_line_bytes, "max_line_bytes", self)
        self._decoding = Decoding(encoding, errors, "LinesSource")
        if not self._decoding.has_plain_newlines():
            raise OptionError(f"LinesSource: a file in {encoding!r} is not read by lines; use FileSource and FlatMap")
        self.define_slot(TRIGGER, handler=self.read)
        self.define_event(OUTPUT, ["path", "number", "line"])

    def read(self, path: FilePath | None = None, **others: Any) -> Steps:
        """Read one file."""
        where = self._where(path, others)
        # By its message: see the module.
        at_key, number_key = f"{self.message_id} at", f"{self.message_id} line"
        at, number = self.state.get(at_key, 0), self.state.get(number_key, 0)
        try:
            with closing(read_lines(where, at, number, self._decoding, self.max_line_bytes)) as lines:
                for at, number, line in lines:
                    self.emit(OUTPUT, path=where, number=number, line=line)
                    if number % LINES_A_COMMIT == 0:
                        self.state[at_key], self.state[number_key] = at, number
                        yield
        except FileReadError as error:
            if number:
                self.state[at_key], self.state[number_key] = at, number
                yield  # the lines before are out, whatever follows
            self._give_up(error)
        self.state.pop(at_key, None)
        self.state.pop(number_key, None)


class FileSource(Source):
    """Reads files, each as one message, or in blocks of bytes where they are large.

    Slot `trigger`, so it can be the entry; a message may name the `path`. Event `output` with `path`, `content`, and
    `offset`, where in the file the content begins, in bytes: 0, but for later blocks. An empty file is one message
    with empty content.

    Whole files are read by any number of workers. Blocks take one worker: the place is kept in its state, and a resumed
    job goes on behind the last block. Each goes out once in effect, whatever is killed, while the file stays as it is;
    one that became shorter is an error.

    Args:
        path: the file, where a message names none.
        encoding: of the text that `content` is; None for bytes.
        errors: what becomes of bytes that are not in the encoding, as for `open`.
        block_bytes: bytes of a block; None for whole files, which must fit into memory, and into a message (255 MiB).
        unreadable: what follows when a file cannot be read, as for `LinesSource`.

    Raises:
        OptionError: an option cannot have that value, or blocks are to be text.

    In a job:
        FileReadError: the file cannot be read.
        RecordError: the path of a message is none.
        SlotArgumentError: neither the message nor the source has a path.

    Example:
        >>> import tempfile, pathlib
        >>> from routilux import Flow
        >>> file = pathlib.Path(tempfile.mkdtemp(), "a.txt")
        >>> _ = file.write_text("one")
        >>> flow = Flow("file")
        >>> _ = flow.add_routine(FileSource(), "file")
        >>> _ = flow.output("file", "output")
        >>> flow.execute("file", {"path": str(file)}).outputs["file", "output"][0]["content"]
        'one'
    """

    def __init__(
        self,
        path: FilePath | None = None,
        *,
        encoding: str | None = "utf-8",
        errors: str = "strict",
        block_bytes: int | None = None,
        unreadable: str = ERROR,
    ) -> None:
        super().__init__(path, unreadable)
        self.path = path
        self.encoding = encoding
        self.errors = errors
        self.block_bytes = None if block_bytes is None else checked_size(block_bytes, "block_bytes", self)
        if block_bytes is not None and encoding is not None:
            raise OptionError(
                "FileSource: blocks are bytes, since a character may lie in two of them: use encoding=None with "
                "block_bytes, or LinesSource for text"
            )
        self._decoding = None if encoding is None else Decoding(encoding, errors, "FileSource")
        self.define_slot(TRIGGER, handler=self.read)
        self.define_event(OUTPUT, ["path", "offset", "content"])

    def objection_to(self, options: RoutineOptions) -> str | None:
        """Object to several workers, where there are blocks."""
        return None if self.block_bytes is None else super().objection_to(options)

    def read(self, path: FilePath | None = None, **others: Any) -> Steps | None:
        """Read one file."""
        where = self._where(path, others)
        if self.block_bytes is not None:
            return self._read_blocks(where, self.block_bytes)
        try:
            with opened(where) as file:
                data = read_block(file, where)
            content = data if self._decoding is None else self._decoding.decode(data, where)
        except FileReadError as error:
            self._give_up(error)
        else:
            self.emit(OUTPUT, path=where, offset=0, content=content)
        return None

    def _read_blocks(self, where: str, size: int) -> Steps:
        key = f"{self.message_id} at"
        at = self.state.get(key, 0)
        try:
            with opened(where, at) as file:
                while (block := read_block(file, where, size)) or at == 0:
                    self.emit(OUTPUT, path=where, offset=at, content=block)
                    if not block:
                        break
                    at = self.state[key] = at + len(block)
                    yield
        except FileReadError as error:
            self._give_up(error)
        self.state.pop(key, None)


def checked_size(value: object, name: str, owner: OneWorker) -> int:
    """Give `value` if it is a number of bytes.

    Raises:
        OptionError: it is none.
    """
    if is_whole(value):
        return value
    raise OptionError(f"{type(owner).__name__}: expected {name} to be a number of bytes of at least 1, got {value!r}")
