"""What workers say, told twice: to the program, as if it had said so itself, and to the job's log.

Owns what is told of a line beside its text. Lives on the thread of the routine's actor.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from routilux.accounts import Account
from routilux.ledger import Ledger
from supervisors.places.process.output import show_output
from supervisors.wire.frames import Log

if TYPE_CHECKING:
    from routilux.runtime.logbook import Logbook

Warn = Callable[[int, float, str], None]
"""Told once of a message that takes long: its delivery number, for how many seconds, and where its handler is."""


class WorkerVoice:
    """What the workers of one routine say.

    Args:
        account: the routine's.
        ledger: the job's.
        logbook: the job's; None where it has none.
        warn: told of a message that takes long.
    """

    def __init__(self, account: Account, ledger: Ledger, logbook: Logbook | None, warn: Warn) -> None:
        self.warn = warn
        self._account = account
        self._ledger = ledger
        self._logbook = logbook

    def show_line(self, number: int, stream: str, line: str) -> None:
        """Show a line that a worker has printed.

        Args:
            number: the worker's.
            stream: `stdout` or `stderr`.
            line: what it printed.
        """
        routine_id = self._account.plan.id
        if self._logbook is not None:
            self._logbook.add(stream, line, routine=routine_id, worker=number)
        show_output(routine_id, number, stream, line)

    def note_log(self, number: int, record: Log) -> None:
        """Note what a worker has logged; the program has been told."""
        if self._logbook is None:
            return
        message_id = ""
        if record.seq is not None:
            with self._ledger.lock:
                message_id = self._account.find_id(record.seq)
        text = record.text if record.trace is None else f"{record.text}\n{record.trace}"
        self._logbook.add(
            logging.getLevelName(record.level),
            text,
            routine=self._account.plan.id,
            worker=number,
            message_id=message_id,
            logger=record.logger,
            at=record.created,
        )
