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

A record is formatted at once: its arguments may be changed later, and to find out which may not takes as long.

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
from typing import Any

from routilux.context import current_turn
from routilux.control.frames import LogLine, fit_to
from supervisors.renewals import renewals

LINES_KEPT = 2_000
"""Newest lines that are kept of a job (arbitrary; with the next, some megabytes at most, and mostly 200 kB)."""
LINE_CHARACTERS = 4_000
"""Characters of one that are kept; of a longer one the beginning (arbitrary: a traceback of some forty frames)."""
TRACEBACK_FRAMES = 12
"""Frames of a traceback that are told, those nearest to the error (arbitrary: what has room in a line)."""

_OWN = "routilux"
"""The logger of what routilux says of jobs; it is told of those here itself."""


class Logbook:
    """The lines of one job. Any thread may call its methods.

    Args:
        job_id: the job's id.
    """

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id
        self._lock = threading.RLock()
        self._lines: deque[LogLine] = deque(maxlen=LINES_KEPT)
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
        line = LogLine(time.time() if at is None else at, level, routine, worker, message_id, logger, text)
        with self._lock:
            self._lines.append(line)
            self._count += 1
        for call in self._followers:
            call()

    def read(self, first: int, limit: int, end: int | None = None) -> tuple[list[LogLine], int, int]:
        """Give lines from a number on.

        Args:
            first: the number of the first that is wanted, from 0.
            limit: how many at most.
            end: the number of the first behind them that is not; None: all from there on are.

        Returns:
            The lines; the number of the one behind them; and how many before them are kept no more.
        """
        with self._lock:
            oldest = self._count - len(self._lines)
            end = self._count if end is None else end
            start = min(max(first, oldest), end)
            found = range(start, min(start + limit, end))
            lines = [self._lines[number - oldest] for number in found]
        return lines, start + len(lines), start - first

    def find_last(self, routine: str, last: int | None) -> tuple[int, int]:
        """Find the newest lines of this moment.

        Args:
            routine: of this routine alone; "" for all.
            last: how many; None for all that are kept.

        Returns:
            The number of the first of them, and that of the next line to come.
        """
        with self._lock:
            lines, end = list(self._lines), self._count
        if last is None:
            return end - len(lines), end
        first = end
        for line in reversed(lines):
            if last <= 0:
                break
            first -= 1
            last -= not routine or line.routine == routine
        return first, end

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
            text, level, logger, at = _tell(record), str(record.levelname), str(record.name), float(record.created)
        except Exception as error:  # noqa: BLE001  a user's `__str__`, or a user's record
            text, level, logger, at = f"(a record that cannot be told: {type(error).__name__})", "", "", time.time()
        self.add(level, text, routine=routine, message_id=message_id, logger=logger, at=at)


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
        if _making.now or not _logbooks.open:
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
        self.open: tuple[Logbook, ...] = ()

    def enter(self, logbook: Logbook) -> None:
        with self._lock:
            if not self.open:
                logging.getLogger(_OWN).addFilter(self)
            before = logging.getLogRecordFactory()
            if not isinstance(before, _Factory):
                logging.setLogRecordFactory(_Factory(before))
            if logbook not in self.open:
                self.open += (logbook,)

    def leave(self, logbook: Logbook) -> None:
        with self._lock:
            self.open = tuple(other for other in self.open if other is not logbook)
            if not self.open:
                logging.getLogger(_OWN).removeFilter(self)

    def keep(self, record: logging.LogRecord) -> None:
        """Keep a record that was made, where it is of a turn of a job that is here."""
        turn = current_turn()
        # One without a name is filled by who had it made (`logging.makeLogRecord`), and was logged elsewhere.
        name = getattr(record, "name", None)
        if turn is None or not isinstance(name, str) or name in {"", _OWN}:
            return
        for logbook in self.open:
            if logbook is turn.logbook:
                logbook.add_record(record, turn.routine_id, turn.message_id)

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep what routilux says of a job that is here, or of one of the same id in another store."""
        job_id = getattr(record, "job_id", "")
        for logbook in self.open:
            if logbook.job_id == job_id:
                logbook.add_record(record, getattr(record, "routine_id", ""))
        return True

    def start_anew(self) -> None:
        """Know none, in a forked copy of the program, which has no jobs."""
        self._lock = threading.Lock()
        for logbook in self.open:
            self.leave(logbook)


_logbooks = _Logbooks()
"""The one list of this program."""

renewals.add(_logbooks.start_anew)


def _tell(record: logging.LogRecord) -> str:
    """Give a record's text, with its traceback; what cannot be formatted is told as it is by who handles it."""
    try:
        text = str(record.getMessage())
    except Exception as unfit:  # noqa: BLE001  a user's `__str__`, or arguments that do not fit
        text = f"{record.msg!s} (its arguments cannot be told: {type(unfit).__name__})"
    if record.exc_info and record.exc_info[0] is not None:
        kind, value, place = record.exc_info
        text += "\n" + "".join(traceback.format_exception(kind, value, place, limit=-TRACEBACK_FRAMES)).rstrip("\n")
    return text
