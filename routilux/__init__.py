"""routilux: an actor-model multiprocess runtime for event-driven workflows.

Handling a message is a transaction: a killed worker costs one message's time, and every message
is accounted for. See `docs/` for the guide, `supervisors` for the actors underneath.
"""

from __future__ import annotations

from routilux.dead_letters import DeadLetter
from routilux.errors import RoutiluxError
from routilux.flow import Flow
from routilux.jobs.history import ExecutionRecord
from routilux.jobs.machine import JobStatus
from routilux.jobs.state import JobState
from routilux.model.connection import Connection
from routilux.model.error_handler import ErrorHandler, ErrorStrategy
from routilux.model.event import Event
from routilux.model.function import routine
from routilux.model.routine import Routine
from routilux.model.slot import Slot
from routilux.runtime.job import Job
from routilux.turn.state import InPlace, Unreadable

__version__ = "0.1.0"

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
    "routine",
]
