"""Log records of workers, handled as if they had been logged in the parent.

Owns the parent's side of it: which levels a worker is told, and the record made of what it sends
(`worker.LogForwarder` is the other side). Never opens a file or chooses a handler: the program's
own handlers and filters decide what becomes of a record.
"""

from __future__ import annotations

import logging

from supervisors.wire.frames import Log


def root_level() -> int:
    """Give the root logger's level."""
    return logging.getLogger().level


def own_levels() -> dict[str, int]:
    """Give the levels of the loggers that have one of their own, by name."""
    return {
        logger.name: logger.level
        for logger in list(logging.getLogger().manager.loggerDict.values())
        if isinstance(logger, logging.Logger) and logger.level != logging.NOTSET
    }


def log_as_own(frame: Log, pid: int | None, label: str) -> None:
    """Handle a worker's record here, if it is wanted.

    Args:
        frame: the record.
        pid: the worker's process, for `process` of the record.
        label: what the worker is called, for `processName`.
    """
    logger = logging.getLogger(frame.logger)
    if not logger.isEnabledFor(frame.level):
        return
    record = logger.makeRecord(
        frame.logger, frame.level, frame.path, frame.line, frame.text, (), None, frame.function, None, None
    )
    record.created = frame.created
    record.msecs = (frame.created % 1.0) * 1000.0
    record.exc_text = frame.trace
    record.threadName = frame.thread
    record.process, record.processName = pid, label
    try:
        logger.handle(record)
    except Exception:  # noqa: BLE001  a program's own filter or handler raised: told as logging tells it
        logging.Handler().handleError(record)
