"""The log of one job, for those who ask for it: its newest records, and what its workers have printed.

Owns the lines that are kept, and their bound. Never decides what is logged, and writes nowhere: handlers and levels
are the program's.

Theory of operation. Three ways lead here. What routilux says of the job, and what workers log and print, is handed over
by whoever tells the program of it. What handlers log that run in the program itself is seen where records are made
(`logging.setLogRecordFactory`): a handler on the root logger would see it too, and would change what the program's own
`basicConfig` does and what is printed without one. So it is seen before the filters of loggers and handlers.

Programs wrap that factory, or save it and set it back, while jobs run. So each of ours calls for ever the one that was
there when it was set, and is never taken away: none can come to call itself. It does nothing while no logbook is open,
nor on threads that are in no turn; of several in one chain the outermost keeps the record. Nothing of what it does
beside making the record may fail a call of the user's.

A record is formatted when it is read, which mostly nobody does, where that runs nobody's code and cannot come out
otherwise then: with arguments of plain types. Else it is formatted at once.

The lock guards the lines and their count. It may be taken twice by one thread, since a collection of garbage may run
while it is held, and what that ends may log; it is held for some list operations alone.
"""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import Any, NamedTuple

from routilux.context import current_turn
from routilux.control.frames import LogLine, fit_to
from supervisors.renewals import renewals

LINES_KEPT = 2_000
"""Newest lines that are kept of a job (arbitrary; with the next, some megabytes at most, and mostly 200 kB)."""
LINE_CHARACTERS = 4_000
"""Characters of one that are kept; of a longer one the beginning (arbitrary: a traceback of some forty frames)."""
TRACEBACK_FRAMES = 12
"""Frames of a traceback that are told, those nearest to the error (arbitrary: what has room in a line)."""

_ARGUMENT_CHARACTERS = 20
"""What an argument counts beside the characters of a text, when it is decided whether to keep it (arbitrary)."""
_PLAIN = frozenset({str, int, float, bool, type(None)})
_OWN = "routilux"
"""The logger of what routilux says of jobs; it is told of those here itself."""


class _Kept(NamedTuple):
    """A line; `args` go into its text when it is read."""

    at: float
    level: str
    routine: str
    worker: int | None
    message_id: str
    logger: str
    text: str
    args: tuple[Any, ...] = ()

    def to_line(self) -> LogLine:
        text = self.text if not self.args else fit_to(_format(self.text, self.args), LINE_CHARACTERS)
        return LogLine(self.at, self.level, self.routine, self.worker, self.message_id, self.logger, text)


class Logbook:
    """The lines of one job. Any thread may call its methods.

    Args:
        job_id: the job's id.
    """

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id
        self._lock = threading.RLock()
        self._lines: deque[_Kept] = deque(maxlen=LINES_KEPT)
        self._count = 0
        """Lines that have come, gone ones too."""
        self._followers: tuple[Callable[[], None], ...] = ()

    def add(
        self,
        level: str,
        text: str,
        *,
        routine: str = "",
        worker: int | None = None,
        message_id: str = "",
        logger: str = "",
        at: float | None = None,
    ) -> None:
        """Keep a line, and call those who follow.

        Args:
            level: the record's level by name, or the stream.
            text: what it says.
            routine: id of the routine.
            worker: number of the worker.
            message_id: the message that was handled.
            logger: name of the logger.
            at: when, in seconds since the epoch; None for now.
        """
        text, level, logger = fit_to(text, LINE_CHARACTERS), fit_to(level, 100), fit_to(logger, 1_000)
        self._keep(_Kept(time.time() if at is None else at, level, routine, worker, message_id, logger, text))

    def _keep(self, line: _Kept) -> None:
        with self._lock:
            self._lines.append(line)
            self._count += 1
        for call in self._followers:
            call()

    def read(self, first: int, limit: int) -> tuple[list[LogLine], int, int]:
        """Give lines from a number on.

        Args:
            first: the number of the first that is wanted, from 0.
            limit: how many at most.

        Returns:
            The lines; the number of the one behind them; and how many before them are kept no more.
        """
        with self._lock:
            oldest = self._count - len(self._lines)
            start = max(first, oldest)
            kept = list(islice(self._lines, start - oldest, start - oldest + limit))
        return [line.to_line() for line in kept], start + len(kept), start - first

    def find_last(self, routine: str, last: int | None) -> int:
        """Give the number of the first of the newest `last` lines, of a routine or of all; None: of all kept."""
        with self._lock:
            lines, number = list(self._lines), self._count
        if last is None:
            return number - len(lines)
        for line in reversed(lines):
            if last <= 0:
                break
            number -= 1
            last -= not routine or line.routine == routine
        return number

    def follow(self, call: Callable[[], None]) -> None:
        """Call `call` at each line from now on, on whatever thread it comes."""
        with self._lock:
            self._followers += (call,)

    def unfollow(self, call: Callable[[], None]) -> None:
        """Call it no more."""
        with self._lock:
            self._followers = tuple(other for other in self._followers if other is not call)

    def open(self) -> None:
        """Take in what is logged in the job's turns, and of the job."""
        _logbooks.enter(self)

    def close(self) -> None:
        """Take in no more of it."""
        _logbooks.leave(self)

    def add_record(self, record: logging.LogRecord, routine: str, message_id: str = "") -> None:
        """Keep a record of this program, whatever is in it."""
        try:
            text, args = _take_text(record)
            level, logger, at = fit_to(record.levelname, 100), fit_to(record.name, 1_000), float(record.created)
        except Exception as error:  # noqa: BLE001  a user's `__str__`, or a user's record
            text, args = f"(a record that cannot be told: {type(error).__name__})", ()
            level, logger, at = "", "", time.time()
        self._keep(_Kept(at, level, routine, None, message_id, logger, text, args))


class _Making(threading.local):
    """Whether this thread makes a record."""

    now = False


_making = _Making()


class _Factory:
    """What makes records, in the place of what did before.

    Args:
        before: that.
    """

    def __init__(self, before: Callable[..., logging.LogRecord]) -> None:
        self._before = before

    def __call__(self, *args: Any, **kwargs: Any) -> logging.LogRecord:
        """Make a record, and keep it where it is of a turn of a job that has a logbook."""
        if _making.now or not _logbooks.has_some:
            return self._before(*args, **kwargs)
        _making.now = True
        try:
            record = self._before(*args, **kwargs)
        finally:
            _making.now = False
        _logbooks.keep(record)
        return record


class _Logbooks(logging.Filter):
    """Those that are open; a filter of routilux's own logger, which it passes all."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        """Guards the changes of what follows."""
        self._open: tuple[Logbook, ...] = ()

    @property
    def has_some(self) -> bool:
        """Whether one is open."""
        return bool(self._open)

    def enter(self, logbook: Logbook) -> None:
        with self._lock:
            if not self._open:
                logging.getLogger(_OWN).addFilter(self)
            before = logging.getLogRecordFactory()
            if not isinstance(before, _Factory):
                logging.setLogRecordFactory(_Factory(before))
            if logbook not in self._open:
                self._open += (logbook,)

    def leave(self, logbook: Logbook) -> None:
        with self._lock:
            self._open = tuple(other for other in self._open if other is not logbook)
            if not self._open:
                logging.getLogger(_OWN).removeFilter(self)

    def keep(self, record: logging.LogRecord) -> None:
        """Keep a record that was made, where it is of a turn of a job that is here."""
        turn = current_turn()
        # One without a name is filled by who had it made (`logging.makeLogRecord`), and was logged elsewhere.
        if turn is None or not record.name or record.name == _OWN:
            return
        for logbook in self._open:
            if logbook is turn.logbook:
                logbook.add_record(record, turn.routine_id, turn.message_id)

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep what routilux says of a job that is here, or of one of the same id in another store."""
        job_id = getattr(record, "job_id", "")
        for logbook in self._open:
            if logbook.job_id == job_id:
                logbook.add_record(record, getattr(record, "routine_id", ""))
        return True

    def start_anew(self) -> None:
        """Know none, in a forked copy of the program, which has no jobs."""
        self._lock = threading.Lock()
        for logbook in self._open:
            self.leave(logbook)


_logbooks = _Logbooks()
"""The one list of this program."""

renewals.add(_logbooks.start_anew)


def _take_text(record: logging.LogRecord) -> tuple[str, tuple[Any, ...]]:
    """Give a record's text, with its traceback, and what is to be put into it when it is read."""
    message, args, error = record.msg, record.args or (), record.exc_info
    if error is not None and error[0] is None:
        error = None
    if (
        error is None
        and type(message) is str
        and len(message) <= LINE_CHARACTERS
        and isinstance(args, tuple)
        and type(record).getMessage is logging.LogRecord.getMessage
        and _are_plain(args)
    ):
        return message if args else fit_to(message, LINE_CHARACTERS), args
    try:
        text = str(record.getMessage())
    except Exception as unfit:  # noqa: BLE001  a user's `__str__`, or arguments that do not fit
        text = _tell_unfit(message, unfit)
    if error is not None:
        kind, value, place = error
        text += "\n" + "".join(traceback.format_exception(kind, value, place, limit=-TRACEBACK_FRAMES)).rstrip("\n")
    return fit_to(text, LINE_CHARACTERS), ()


def _are_plain(args: tuple[Any, ...]) -> bool:
    """Tell whether arguments are of plain types, and small enough to be kept."""
    room = LINE_CHARACTERS - _ARGUMENT_CHARACTERS * len(args)
    for arg in args:
        kind = type(arg)
        if kind not in _PLAIN or (kind is int and arg.bit_length() > 64):  # noqa: PLR2004  bits of a number in a machine
            return False
        room -= len(arg) if kind is str else 0
    return room >= 0


def _format(text: str, args: tuple[Any, ...]) -> str:
    try:
        return text % args
    except Exception as error:  # noqa: BLE001  arguments that do not fit
        return _tell_unfit(text, error)


def _tell_unfit(message: Any, error: Exception) -> str:
    """Tell of a record that cannot be formatted."""
    return f"{message!s} (its arguments cannot be told: {type(error).__name__})"
