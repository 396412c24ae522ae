"""The log of a job's failures: the door to the logger "routilux".

Owns the count of lines, who gets one, and what a record says beside its line: its attributes `flow_id`, `job_id` and
`routine_id` tell jobs of one flow apart. The words are those of `reports`. Any thread may call it: the job's
supervisor tells of what it decided, readers of results of what they could not read. The lock guards the counts and
is never held while a handler of the program runs.
"""

from __future__ import annotations

import logging
import os
import threading

from routilux.frames import wants_all
from routilux.merging import GivenUp
from routilux.routing import Plan
from routilux.runtime import reports
from routilux.runtime.commands import Failure
from routilux.runtime.reports import Outcome, Throttle
from supervisors.policy import FailurePolicy
from supervisors.reasons import Reason
from supervisors.report import reporter

_log = reporter("routilux")


class FailureLog:
    """The failures of one job, a line each, as far as there is room.

    Below the line of one that stops its routine or the job stands the stack, as far as it is the user's.

    Args:
        plan: the compiled flow.
        job_id: the job's id.
    """

    def __init__(self, plan: Plan, job_id: str) -> None:
        self._plan = plan
        self._job_id = job_id
        self._lock = threading.Lock()
        self._throttles = {routine.id: Throttle() for routine in plan.routines}

    def tell_failure(self, failure: Failure, outcome: Outcome | None, policy: FailurePolicy, now: float) -> None:
        """Tell of a failure and what follows from it; None: nothing, the job is ending."""
        is_grave = outcome is not None and outcome.is_grave
        routine_id = self._plan.routines[failure.routine].id
        left_out = self._admit(routine_id, now, is_grave=is_grave)
        if left_out is not None:
            line = reports.tell_failure(failure, outcome, self._plan, policy, left_out)
            if is_grave:
                stack = reports.tell_stack(failure.reason, in_full=wants_all(os.environ))
                line = f"{line}\n{stack}" if stack else line
            self._write(logging.ERROR if is_grave else logging.WARNING, line, failure.reason, routine_id)

    def tell_unreadable(self, routine_id: str, edge: int, message_id: str, reason: Reason, now: float) -> None:
        """Tell of a result that could not be read."""
        left_out = self._admit(routine_id, now, is_grave=False)
        if left_out is not None:
            line = reports.tell_unreadable(routine_id, edge, message_id, reason, self._plan, left_out)
            self._write(logging.WARNING, line, reason, routine_id)

    def tell_unjoined(self, given_up: GivenUp, now: float) -> None:
        """Tell, at the job's end, of messages for which no partner can come any more."""
        routine_id = self._plan.routines[given_up.routine].id
        left_out = self._admit(routine_id, now, is_grave=False)
        if left_out is not None:
            line = reports.tell_unjoined(routine_id, given_up, left_out)
            self._write(logging.WARNING, line, given_up.reason, routine_id)

    def tell_lost_node(self, told: str) -> None:
        """Tell of a machine that was lost."""
        _log.warning("%s", told, extra=self._origin(""))

    def tell_end(self, error: str) -> None:
        """Tell that the job failed, though no routine did."""
        _log.error("%s", reports.tell_end(error), extra=self._origin(""))

    def tell_left_out(self) -> None:
        """Tell, once, how many failures got no line."""
        for routine_id, throttle in self._throttles.items():
            with self._lock:
                count = throttle.take_left_out()
            if count:
                _log.warning("%s", reports.tell_left_out(routine_id, count), extra=self._origin(routine_id))

    def _admit(self, routine_id: str, now: float, *, is_grave: bool) -> int | None:
        with self._lock:
            return self._throttles[routine_id].admit(now, is_grave=is_grave)

    def _origin(self, routine_id: str) -> dict[str, str]:
        return tell_origin(self._plan, self._job_id, routine_id)

    def _write(self, level: int, line: str, reason: Reason, routine_id: str) -> None:
        origin = self._origin(routine_id)
        _log.log(level, "%s", line, extra=origin)
        _log.debug("%s", _Full(reason), extra=origin)


def tell_origin(plan: Plan, job_id: str, routine_id: str) -> dict[str, str]:
    """Give what a log record of a job says beside its line: attributes of the record, for the program's formatters.

    Args:
        plan: the compiled flow.
        job_id: the job's id.
        routine_id: whom the record is about; "" for the job as a whole.
    """
    return {"flow_id": plan.flow_id, "job_id": job_id, "routine_id": routine_id}


class _Full:
    """A reason in full, told only when some handler writes it."""

    def __init__(self, reason: Reason) -> None:
        self._reason = reason

    def __str__(self) -> str:
        return reports.tell_in_full(self._reason)
