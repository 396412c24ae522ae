"""routilux: an actor-model multiprocess runtime for event-driven workflows.

Handling a message is a transaction: a killed worker costs one message's time, and every message
is accounted for. See `docs/` for the guide, `supervisors` for the actors underneath.
"""

from __future__ import annotations

from routilux.dead_letters import DeadLetter
from routilux.errors import RoutiluxError
from routilux.executions import ExecutionRecord
from routilux.flow import Flow
from routilux.jobs.machine import JobStatus
from routilux.jobs.state import JobState
from routilux.model.connection import Connection
from routilux.model.error_handler import ErrorHandler, ErrorStrategy
from routilux.model.event import Event
from routilux.model.function import routine
from routilux.model.routine import Routine
from routilux.model.slot import Slot
from routilux.records.registry import register
from routilux.runtime.job import Job
from routilux.turn.state import InPlace, Unreadable
from routilux.version import VERSION

__version__ = VERSION

__all__ = [
    "Connection",
    "DeadLetter",
    "ErrorHandler",
    "ErrorStrategy",
    "Event",
    "ExecutionRecord",
    "Flow",
    "InPlace",
    "Job",
    "JobState",
    "JobStatus",
    "RoutiluxError",
    "Routine",
    "Slot",
    "Unreadable",
    "register",
    "routine",
]
