"""The log of one job, for those who ask for it: its newest records, and what its workers have printed.

Owns the lines that are kept, and their bound. Never decides what is logged, and writes nowhere: handlers and levels
are the program's.

Theory of operation. Three ways lead here. What routilux says of the job, and what workers log and print, is handed over
by whoever tells the program of it. What handlers log that run in the program itself is seen where records are made
(`logging.setLogRecordFactory`): a handler on the root logger would see it too, and would change what the program's own
`basicConfig` does and what is printed without one. That factory is there while some logbook is open, before the one
that was there, and does nothing on threads that are in no turn.

The lock guards the lines and their count. It may be taken twice by one thread, since a collection of garbage may run
while it is held, and what that ends may log; it is held for some list operations alone.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import Any

from routilux.context import current_turn
from routilux.control.frames import LogLine, fit_to
from supervisors.renewals import renewals

LINES_KEPT = 2_000
"""Newest lines that are kept of a job (arbitrary; with the next, some megabytes at most, and mostly 200 kB)."""
LINE_CHARACTERS = 4_000
"""Characters of one that are kept; of a longer one the beginning (arbitrary: a traceback of some forty frames)."""

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
            lines = list(islice(self._lines, start - oldest, start - oldest + limit))
        return lines, start + len(lines), start - first

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
        """Keep a record of this program."""
        self.add(
            record.levelname,
            _tell(record),
            routine=routine,
            message_id=message_id,
            logger=record.name,
            at=record.created,
        )


class _Logbooks(logging.Filter):
    """Those that are open; a filter of routilux's own logger, which it passes all, and what makes records."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        """Guards the changes of what follows."""
        self._open: dict[str, Logbook] = {}
        self._before: Callable[..., logging.LogRecord] | None = None

    def enter(self, logbook: Logbook) -> None:
        with self._lock:
            if not self._open:
                self._before = logging.getLogRecordFactory()
                logging.setLogRecordFactory(self.make)
                logging.getLogger(_OWN).addFilter(self)
            self._open[logbook.job_id] = logbook

    def leave(self, logbook: Logbook) -> None:
        with self._lock:
            if self._open.pop(logbook.job_id, None) is None or self._open:
                return
            logging.getLogger(_OWN).removeFilter(self)
            # One that the program has set meanwhile goes on calling this one, which then does nothing.
            if logging.getLogRecordFactory() == self.make and self._before is not None:
                logging.setLogRecordFactory(self._before)

    def make(self, *args: Any, **kwargs: Any) -> logging.LogRecord:
        """Make a record, and keep it where it is of a turn of a job that is here."""
        record = (self._before or logging.LogRecord)(*args, **kwargs)
        turn = current_turn() if self._open else None
        logbook = None if turn is None or record.name == _OWN else self._open.get(turn.job_id)
        if turn is not None and logbook is not None:
            logbook.add_record(record, turn.routine_id, turn.message_id)
        return record

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep what routilux says of a job that is here."""
        logbook = self._open.get(getattr(record, "job_id", ""))
        if logbook is not None:
            logbook.add_record(record, getattr(record, "routine_id", ""))
        return True

    def start_anew(self) -> None:
        """Know none, in a forked copy of the program, which has no jobs."""
        self._lock = threading.Lock()
        for logbook in list(self._open.values()):
            self.leave(logbook)


_logbooks = _Logbooks()
"""The one list of this program."""

renewals.add(_logbooks.start_anew)


def _tell(record: logging.LogRecord) -> str:
    """Give a record's text, with its traceback; what cannot be formatted is told as it is by who handles it."""
    try:
        text = record.getMessage()
        if record.exc_info and record.exc_info[0] is not None:
            text += "\n" + logging.Formatter().formatException(record.exc_info)
    except Exception as error:  # noqa: BLE001  a user's `__str__`, or arguments that do not fit
        return f"{record.msg!s} (its arguments cannot be told: {type(error).__name__})"
    return text
