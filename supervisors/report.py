"""Loggers for what happens to actors: what is told of a failure never makes another one.

Owns the guard around the program's log handlers and filters, which are code of others and may raise.
Never sets a level or adds a handler: that is the program's.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from typing import Any


class Reporter(logging.LoggerAdapter[logging.Logger]):
    """A logger that its handlers cannot make raise: what they raise is told as `logging` tells it.

    Ctrl-C passes on the main thread, where it may come at any line.
    """

    def process(self, msg: object, kwargs: Any) -> tuple[object, Any]:
        """Leave the call as it is, what is `extra` in it too."""
        return msg, kwargs

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """Log, and go on whatever the program's handlers do."""
        kwargs["stacklevel"] = kwargs.get("stacklevel", 1) + 1
        try:
            super().log(level, msg, *args, **kwargs)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread():
                raise
            tell_unhandled(logging.LogRecord(self.logger.name, level, "", 0, msg, args, None))


def tell_unhandled(record: logging.LogRecord) -> None:
    """Tell, as `logging` does, of a record that the program's handlers raised on; for the `except` that caught it.

    Where the program's stderr is closed, or one of its own that raises, there is nobody left to tell.
    """
    with contextlib.suppress(Exception):
        logging.Handler().handleError(record)


def reporter(name: str) -> Reporter:
    """Give the reporter of the logger `name`."""
    return Reporter(logging.getLogger(name))
