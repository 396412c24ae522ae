"""`JsonLinesSink` and `CsvSink`: a record in a file for each message.

Owns what a record looks like, and the length of the file as it is committed. How it is written is `writing`'s.

Theory of operation. The state holds the length of the file up to the last record that counts, and is committed together
with the message of that record. So wherever a job goes on, also from an old checkpoint, the file is cut to what that
checkpoint knows before anything is written, and each record is in it once.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, ClassVar

from routilux.errors import OptionError
from routilux.model.names import checked_names
from routilux.model.options import RoutineOptions
from routilux.model.state_policy import EXTERNAL
from routilux.routines.asking import Question, checked_function, input_slot
from routilux.routines.errors import RecordError
from routilux.routines.one_worker import OneWorker
from routilux.routines.reading import checked_encoding, checked_errors
from routilux.routines.sources import FilePath
from routilux.routines.writing import write_at

_END = "end"
_COLUMNS = "columns"


class FileSink(OneWorker):
    """What sinks that write files have in common.

    A new job begins its file anew, at its first record: what was in it is gone. From then on the file is this routine's
    alone. When the job is completed each record is in it once, in the order in which the messages came, whatever was
    killed and however often the job was paused and resumed. Three things this does not cover:

    - who reads the file while the job runs may see records that go away and come again;
    - a job that ended otherwise, or gave up the very last message, may leave the record of that one at the end, whole
      or in part: up to `end` in the routine's state the file is what was committed;
    - with `fsync=False` it holds when programs are killed, and not when the machine loses power: then the file may be
      shorter than the job knows, which is an error when it goes on.

    Args:
        path: the file; its folder has to be there.
        parameter: the parameter that is the record; None: the whole message.
        fsync: whether each record is on the disk before its message counts as handled.
    """

    state_policy: ClassVar[str] = EXTERNAL
    keeps: ClassVar[str] = "the length of its file in its state"

    def __init__(self, path: FilePath, parameter: str | None, *, fsync: bool) -> None:
        super().__init__()
        name = type(self).__name__
        try:
            self._file = os.fsdecode(path)
        except TypeError as error:
            raise OptionError(f"{name}: expected path to be that of a file, got {path!r}") from error
        self.path = path
        self.parameter = parameter
        self.fsync = fsync
        self._question = None if parameter is None else Question(parameter, f"the record of {name}")
        self._add_slot(input_slot(self, self.write, [] if self._question is None else [self._question]))

    def objection_to(self, options: RoutineOptions) -> str | None:
        """Object to several workers, and to threads that may be left behind."""
        if not options.runs_apart and options.timeout is not None:
            return (
                f"{type(self).__name__} goes without a timeout on a thread: a handler that was given up would go on "
                "writing beside its successor; leave the timeout out, or use placement='process'"
            )
        return super().objection_to(options)

    def needs_alone(self) -> str:
        """Need its file, by whatever name and links."""
        with suppress(ValueError):  # a zero character: its first message will tell
            return f"the file {os.path.realpath(self._file)!r}"
        return f"the file {self._file!r}"

    def needs_here(self) -> str:
        """Need its file."""
        return self.needs_alone()

    def write(self, data: dict[str, Any]) -> None:
        """Write the record of one message."""
        end = self.state.get(_END, 0)
        record = self._encode(data if self._question is None else self._question(data), is_first=end == 0)
        write_at(self._file, end, record, fsync=self.fsync)
        self.state[_END] = end + len(record)

    def _encode(self, record: Any, *, is_first: bool) -> bytes:
        """Give the bytes of a record, and before the first one what stands at the start of the file."""
        raise NotImplementedError


class JsonLinesSink(FileSink):
    r"""Writes each message as a line of JSON, in UTF-8.

    Slot `input`. What it guarantees of the file is told by `FileSink`: each record once. It takes one worker, on a
    thread or in a process.

    Args:
        path: the file; its folder has to be there. A new job begins it anew.
        parameter: the parameter that is written; None: the whole message, as an object.
        default: called with a value that JSON does not know, gives one that it does, as for `json.dumps`.
        fsync: whether each record is on the disk before its message counts as handled. False is much faster, and
            holds when programs are killed, but not when the machine loses power.

    Raises:
        HandlerError: `default` is `async`, or yields.
        InvalidNameError: `parameter` cannot be the name of one.
        OptionError: the path is none, or `default` no function.

    In a job:
        RecordError: the record cannot be told in JSON (NaN and infinity cannot either).
        FileWriteError: the file cannot be written, or is shorter than the job has left it.
        SlotArgumentError: the message lacks the parameter.

    Example:
        >>> import tempfile, pathlib
        >>> from routilux import Flow
        >>> file = pathlib.Path(tempfile.mkdtemp(), "numbers.jsonl")
        >>> flow = Flow("numbers")
        >>> _ = flow.add_routine(JsonLinesSink(file), "sink")
        >>> with flow.start(keep_open=True) as job:
        ...     for n in (1, 2):
        ...         job.send("sink", "input", n=n)
        >>> file.read_text()
        '{"n": 1}\n{"n": 2}\n'
    """

    def __init__(
        self,
        path: FilePath,
        *,
        parameter: str | None = None,
        default: Callable[[Any], Any] | None = None,
        fsync: bool = True,
    ) -> None:
        super().__init__(path, parameter, fsync=fsync)
        if default is not None and not callable(default):
            raise OptionError(f"JsonLinesSink: expected default to be a function, got {default!r}")
        self.default = None if default is None else checked_function(default, "the default of JsonLinesSink")

    def _encode(self, record: Any, *, is_first: bool) -> bytes:
        try:
            text = json.dumps(record, ensure_ascii=False, allow_nan=False, default=self.default)
            try:
                return f"{text}\n".encode()
            except UnicodeEncodeError:
                # Half a surrogate pair, as in the name of a file that is not UTF-8: JSON can tell it in ASCII alone.
                return f"{json.dumps(record, allow_nan=False, default=self.default)}\n".encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise RecordError(
                f"a record for {self._file!r} cannot be told in JSON: {error}; default= can make another value of it"
            ) from error


class CsvSink(FileSink):
    r"""Writes each message as a row of a CSV file, below a row with the names of its columns.

    Slot `input`. What it guarantees of the file is told by `FileSink`: each row once. It takes one worker, on a thread
    or in a process. Values are written as the module `csv` does: None as nothing, others by `str`. Lines end with
    "\n".

    Args:
        path: the file; its folder has to be there. A new job begins it anew.
        columns: the parameters that are written, in this order; None: those of the first message, in their order.
        parameter: the parameter that is the row, a dict by columns; None: the whole message.
        header: whether there is a first row with the names.
        missing: what is written where a message lacks a column.
        ignore_others: whether parameters that are no column are left out; else they are an error.
        delimiter: one character between two values.
        encoding: of the file; `utf-8-sig` begins it with a mark that Excel looks for.
        errors: what becomes of characters that are not in the encoding, as for `open`.
        fsync: as for `JsonLinesSink`.

    Raises:
        InvalidNameError: a name cannot be one of a parameter, or comes twice.
        OptionError: an option cannot have that value.

    In a job:
        RecordError: a message has a parameter that is no column, or the row is no dict by names, or cannot be written
            so; or the first one has no parameters, and so no columns.
        FileWriteError: the file cannot be written, or is shorter than the job has left it.
        SlotArgumentError: the message lacks `parameter`.

    Example:
        >>> import tempfile, pathlib
        >>> from routilux import Flow
        >>> file = pathlib.Path(tempfile.mkdtemp(), "sales.csv")
        >>> flow = Flow("sales")
        >>> _ = flow.add_routine(CsvSink(file, columns=["shop", "euros"]), "sink")
        >>> with flow.start(keep_open=True) as job:
        ...     job.send("sink", "input", euros=5, shop="north")
        >>> file.read_text()
        'shop,euros\nnorth,5\n'
    """

    def __init__(  # noqa: PLR0913  options of a format, all by name
        self,
        path: FilePath,
        *,
        columns: Iterable[str] | None = None,
        parameter: str | None = None,
        header: bool = True,
        missing: str = "",
        ignore_others: bool = False,
        delimiter: str = ",",
        encoding: str = "utf-8",
        errors: str = "strict",
        fsync: bool = True,
    ) -> None:
        super().__init__(path, parameter, fsync=fsync)
        self.columns = None if columns is None else checked_names(columns, "columns of CsvSink")
        if self.columns == ():
            raise OptionError("CsvSink: expected columns to be one name at least, or None, got none")
        self.header = header
        self.missing = missing
        self.ignore_others = ignore_others
        self.delimiter = delimiter
        self.encoding = checked_encoding(encoding, "CsvSink")
        self.errors = checked_errors(errors, UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogate"), "CsvSink")
        if not self._has_rows():
            raise OptionError(f"CsvSink: in {encoding!r} rows cannot be written one by one")
        given: object = delimiter  # what came may be anything
        if not isinstance(given, str) or len(given) != 1 or given in '\r\n"':
            raise OptionError(
                f"CsvSink: expected delimiter to be one character that is no line end or quote, got {delimiter!r}"
            )

    def _encode(self, record: Any, *, is_first: bool) -> bytes:
        if not isinstance(record, dict):
            raise RecordError(f"a row for {self._file!r} is a dict by columns, got {type(record).__qualname__}")
        if not all(isinstance(name, str) for name in record):
            raise RecordError(f"a row for {self._file!r} is a dict by names, got the names {list(record)}")
        columns = self._columns_of(record)
        if not self.ignore_others and len(record.keys() & set(columns)) < len(record):
            others = [name for name in record if name not in columns]
            raise RecordError(
                f"a row for {self._file!r} has {others}, and the columns are {list(columns)}; "
                "name them in columns=, or use ignore_others=True"
            )
        try:
            text = self._row(columns) if is_first and self.header else ""
            text += self._row([record.get(name, self.missing) for name in columns])
            return self._to_bytes(text, is_first=is_first)
        except (csv.Error, UnicodeEncodeError) as error:
            raise RecordError(f"a row for {self._file!r} cannot be written: {error}") from error

    def _columns_of(self, record: dict[str, Any]) -> tuple[str, ...]:
        if self.columns is not None:
            return self.columns
        if _COLUMNS not in self.state:
            if not record:
                raise RecordError(f"the first row for {self._file!r} has no parameters: name the columns in columns=")
            self.state[_COLUMNS] = json.dumps(list(record))
        return tuple(json.loads(self.state[_COLUMNS]))

    def _row(self, values: Iterable[Any]) -> str:
        text = io.StringIO()
        # What a line could end with is quoted only where it is part of the end that is given here.
        csv.writer(text, delimiter=self.delimiter, lineterminator="\r\n").writerow(values)
        return text.getvalue().removesuffix("\r\n") + "\n"

    def _has_rows(self) -> bool:
        """Tell whether rows that are encoded one by one are the text of a file: in some encodings they are not."""
        try:
            written = self._to_bytes("a\n", is_first=True) + self._to_bytes("b\n", is_first=False)
            return written.decode(self.encoding) == "a\nb\n"
        except UnicodeError:
            return False

    def _to_bytes(self, text: str, *, is_first: bool) -> bytes:
        encoder = codecs.getincrementalencoder(self.encoding)(self.errors)
        if not is_first:
            encoder.encode("")  # the mark with which some encodings begin stands at the start of the file alone
        return encoder.encode(text, final=True)
