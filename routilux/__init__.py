"""routilux: an actor-model multiprocess runtime for event-driven workflows.

Handling a message is a transaction: a killed worker costs one message's time, and every message
is accounted for. See `docs/` for the guide, `supervisors` for the actors underneath.

The errors of kept jobs are here; those of wiring a flow and of a moment are in `routilux.errors`, the stores in
`routilux.stores`.

Every name below is loaded when it is first asked for: importing the package costs next to nothing, and a program loads
what runs jobs when it runs the first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from routilux.version import VERSION
from supervisors.deferred import deferred

if TYPE_CHECKING:
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
    from routilux.model.ray import Ray
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
    from supervisors.cpus import usable_cpus
    from supervisors.errors import ValueEncodingError

__version__ = VERSION

_HOMES = {
    "CheckpointFailedError": ".jobs.errors",
    "Connection": ".model.connection",
    "DeadLetter": ".dead_letters",
    "ErrorHandler": ".model.error_handler",
    "ErrorStrategy": ".model.error_handler",
    "Event": ".model.event",
    "ExecutionRecord": ".executions",
    "ExecutionTracker": ".tracking.tracker",
    "Flow": ".flow",
    "InPlace": ".turn.state",
    "Job": ".runtime.job",
    "JobExistsError": ".stores.errors",
    "JobOwnedError": ".stores.errors",
    "JobState": ".jobs.state",
    "JobStatus": ".jobs.machine",
    "NoCheckpointError": ".records.errors",
    "NotResumableError": ".jobs.errors",
    "PauseTimeoutError": ".jobs.errors",
    "Ray": ".model.ray",
    "ResumeRefusedError": ".jobs.errors",
    "RoutiluxError": ".errors",
    "Routine": ".model.routine",
    "SealError": ".records.errors",
    "Serializable": ".serial.serializable",
    "Slot": ".model.slot",
    "StoreError": ".stores.errors",
    "UnknownJobError": ".stores.errors",
    "Unreadable": ".turn.state",
    "UnsupportedFormatError": ".records.errors",
    "ValueEncodingError": "supervisors.errors",
    "ValueReadingError": ".serial.errors",
    "batch": ".model.merging",
    "register": ".serial.registry",
    "register_serializable": ".serial.serializable",
    "routine": ".model.function",
    "usable_cpus": "supervisors.cpus",
}
"""The module that defines each name."""
_MODULES = ("buffers", "errors", "routines", "stores")
"""Modules of public names, which need no import of their own."""

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
    "Ray",
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

__getattr__ = deferred(__name__, _HOMES, _MODULES)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
