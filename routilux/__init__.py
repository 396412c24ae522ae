"""routilux: an actor-model multiprocess runtime for event-driven workflows.

Handling a message is a transaction: a killed worker costs one message's time, and every message
is accounted for. See `docs/` for the guide, `supervisors` for the actors underneath.

The errors of kept jobs are here; those of wiring a flow and of a moment are in `routilux.errors`, the stores in
`routilux.stores`.
"""

from __future__ import annotations

from routilux import buffers
from routilux.dead_letters import DeadLetter
from routilux.errors import RoutiluxError
from routilux.executions import ExecutionRecord
from routilux.flow import Flow
from routilux.jobs.errors import (
    CheckpointFailedError,
    NotResumableError,
    PauseTimeoutError,
    ResumeRefusedError,
)
from routilux.jobs.machine import JobStatus
from routilux.jobs.state import JobState
from routilux.model.connection import Connection
from routilux.model.error_handler import ErrorHandler, ErrorStrategy
from routilux.model.event import Event
from routilux.model.function import routine
from routilux.model.merging import batch
from routilux.model.routine import Routine
from routilux.model.slot import Slot
from routilux.records.errors import NoCheckpointError, SealError, UnsupportedFormatError
from routilux.runtime.job import Job
from routilux.serial.errors import ValueReadingError
from routilux.serial.registry import register
from routilux.serial.serializable import Serializable, register_serializable
from routilux.stores.errors import JobExistsError, JobOwnedError, StoreError, UnknownJobError
from routilux.tracking.tracker import ExecutionTracker
from routilux.turn.state import InPlace, Unreadable
from routilux.version import VERSION
from supervisors.cpus import usable_cpus
from supervisors.errors import ValueEncodingError

__version__ = VERSION

__all__ = [
    "CheckpointFailedError",
    "Connection",
    "DeadLetter",
    "ErrorHandler",
    "ErrorStrategy",
    "Event",
    "ExecutionRecord",
    "ExecutionTracker",
    "Flow",
    "InPlace",
    "Job",
    "JobExistsError",
    "JobOwnedError",
    "JobState",
    "JobStatus",
    "NoCheckpointError",
    "NotResumableError",
    "PauseTimeoutError",
    "ResumeRefusedError",
    "RoutiluxError",
    "Routine",
    "SealError",
    "Serializable",
    "Slot",
    "StoreError",
    "UnknownJobError",
    "Unreadable",
    "UnsupportedFormatError",
    "ValueEncodingError",
    "ValueReadingError",
    "batch",
    "buffers",
    "register",
    "register_serializable",
    "routine",
    "usable_cpus",
]
