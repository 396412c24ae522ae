"""Log records of workers, handled as if they had been logged in the parent.

Owns the parent's side of it: which levels a worker is told, and the record made of what it sends
(`worker.LogForwarder` is the other side). What it sends is made fit to be shown, and to be filed: it may
be made of hostile data. Never opens a file or chooses a handler: the program's
own handlers and filters decide what becomes of a record.
"""

from __future__ import annotations

import logging
import time

from supervisors.report import tell_unhandled
from supervisors.text import cut, printable, printable_output
from supervisors.wire.frames import Log

_NAME_CHARACTERS = 1_000
"""Characters of a name (arbitrary). To find a logger takes a time that grows with the square of its name's dots."""
_LAST_TIME = 253_402_300_799.0
"""The end of the year 9999: later times cannot be shown."""


def root_level() -> int:
    """Give the root logger's level."""
    return int(logging.getLogger().level)


def own_levels() -> dict[str, int]:
    """Give the levels of the loggers that have one of their own, by name; without those whose names are no text."""
    return {
        logger.name: int(logger.level)
        for logger in list(logging.getLogger().manager.loggerDict.values())
        if isinstance(logger, logging.Logger) and logger.level != logging.NOTSET and _is_text(logger.name)
    }


def log_as_own(frame: Log, pid: int | None, label: str) -> None:
    """Handle a worker's record here, if it is wanted.

    Args:
        frame: the record.
        pid: the worker's process, for `process` of the record.
        label: what the worker is called, for `processName`.
    """
    logger = logging.getLogger(_to_name(frame.logger))
    if not logger.isEnabledFor(frame.level):
        return
    path, function, text = _to_name(frame.path), _to_name(frame.function), _to_lines(frame.text)
    record = logger.makeRecord(logger.name, frame.level, path, frame.line, text, (), None, function, None, None)
    record.created = frame.created if 0.0 <= frame.created <= _LAST_TIME else time.time()
    record.msecs = (record.created % 1.0) * 1000.0
    record.exc_text = None if frame.trace is None else _to_lines(frame.trace)
    record.threadName = _to_name(frame.thread)
    record.process, record.processName = pid, label
    try:
        logger.handle(record)
    except BaseException:  # noqa: BLE001  a program's own filter or handler raised: told as logging tells it
        tell_unhandled(record)


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _to_name(text: str) -> str:
    return cut(printable(text[:_NAME_CHARACTERS]), _NAME_CHARACTERS)


def _to_lines(text: str) -> str:
    return "\n".join(map(printable_output, text.split("\n")))
