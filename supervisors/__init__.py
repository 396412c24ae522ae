"""Keeps actors running: supervision trees of actors on threads and in processes of their own.

This package has never heard of a flow. Every name below is public, and loaded when it is first
asked for, so that importing the package costs nothing, and Pykka, cloudpickle and psutil only what
uses them. `supervisors.testing` is for tests and is imported by its own name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from supervisors.deferred import deferred

if TYPE_CHECKING:
    from supervisors import telemetry
    from supervisors.actor import PykkaHost, PykkaRef
    from supervisors.asking import AskableMailbox
    from supervisors.behavior import Answer, Behavior, Context, Link, Monitor, Ref, Timer
    from supervisors.calls import ChildCounts, ChildInfo
    from supervisors.children import Child, ChildState
    from supervisors.clock import Clock, MonotonicClock
    from supervisors.dynamic import DynamicSupervisor
    from supervisors.errors import (
        ActorEndedError,
        AskError,
        AskTimeoutError,
        ChildError,
        ChildExistsError,
        ChildStateError,
        DeadlockError,
        FrameError,
        InternalError,
        MailboxClosedError,
        MailboxError,
        MailboxFullError,
        MaxChildrenError,
        NotInProcessError,
        PreloadError,
        RemoteError,
        RequestTooLongError,
        RestartIntensityError,
        SpecError,
        StartError,
        SupervisorsError,
        UndescribedError,
        UnknownChildError,
        ValueDecodingError,
        ValueEncodingError,
    )
    from supervisors.foreign import ForeignRef, as_ref
    from supervisors.handles import ChildHandle, SupervisorHandle, start_supervisor
    from supervisors.mailbox import Mailbox, MailboxStats
    from supervisors.messages import Down, Exit, Started, Terminate
    from supervisors.partition import PartitionSupervisor
    from supervisors.plain import PlainActor
    from supervisors.policy import Backoff, Intensity
    from supervisors.pool import DynamicHandle, PoolHandle, start_dynamic_supervisor, start_pool
    from supervisors.process_actor import ProcessActor
    from supervisors.reasons import (
        Abandoned,
        Crashed,
        DeadlineExceeded,
        ErrorRecord,
        Killed,
        Normal,
        OutOfMemory,
        ProtocolError,
        Raised,
        Reason,
        Shutdown,
        StartFailed,
        is_clean,
    )
    from supervisors.ref import LifeRef
    from supervisors.spec import IGNORE, ChildSpec, check_child_specs
    from supervisors.supervisor import RestartStrategy, Supervisor
    from supervisors.telemetry import Telemetry
    from supervisors.tree import TreeNode, read_tree

_HOMES = {
    "IGNORE": ".spec",
    "Abandoned": ".reasons",
    "ActorEndedError": ".errors",
    "Answer": ".behavior",
    "AskError": ".errors",
    "AskTimeoutError": ".errors",
    "AskableMailbox": ".asking",
    "Backoff": ".policy",
    "Behavior": ".behavior",
    "Child": ".children",
    "ChildCounts": ".calls",
    "ChildError": ".errors",
    "ChildExistsError": ".errors",
    "ChildHandle": ".handles",
    "ChildInfo": ".calls",
    "ChildSpec": ".spec",
    "ChildState": ".children",
    "ChildStateError": ".errors",
    "Clock": ".clock",
    "Context": ".behavior",
    "Crashed": ".reasons",
    "DeadlineExceeded": ".reasons",
    "DeadlockError": ".errors",
    "Down": ".messages",
    "DynamicHandle": ".pool",
    "DynamicSupervisor": ".dynamic",
    "ErrorRecord": ".reasons",
    "Exit": ".messages",
    "ForeignRef": ".foreign",
    "FrameError": ".errors",
    "Intensity": ".policy",
    "InternalError": ".errors",
    "Killed": ".reasons",
    "LifeRef": ".ref",
    "Link": ".behavior",
    "Mailbox": ".mailbox",
    "MailboxClosedError": ".errors",
    "MailboxError": ".errors",
    "MailboxFullError": ".errors",
    "MailboxStats": ".mailbox",
    "MaxChildrenError": ".errors",
    "Monitor": ".behavior",
    "MonotonicClock": ".clock",
    "Normal": ".reasons",
    "NotInProcessError": ".errors",
    "PreloadError": ".errors",
    "OutOfMemory": ".reasons",
    "PartitionSupervisor": ".partition",
    "PlainActor": ".plain",
    "PoolHandle": ".pool",
    "ProcessActor": ".process_actor",
    "ProtocolError": ".reasons",
    "PykkaHost": ".actor",
    "PykkaRef": ".actor",
    "Raised": ".reasons",
    "Reason": ".reasons",
    "Ref": ".behavior",
    "RemoteError": ".errors",
    "RequestTooLongError": ".errors",
    "RestartIntensityError": ".errors",
    "RestartStrategy": ".supervisor",
    "Shutdown": ".reasons",
    "SpecError": ".errors",
    "StartError": ".errors",
    "StartFailed": ".reasons",
    "Started": ".messages",
    "Supervisor": ".supervisor",
    "SupervisorHandle": ".handles",
    "SupervisorsError": ".errors",
    "Telemetry": ".telemetry",
    "Terminate": ".messages",
    "Timer": ".behavior",
    "TreeNode": ".tree",
    "UndescribedError": ".errors",
    "UnknownChildError": ".errors",
    "ValueDecodingError": ".errors",
    "ValueEncodingError": ".errors",
    "as_ref": ".foreign",
    "check_child_specs": ".spec",
    "is_clean": ".reasons",
    "read_tree": ".tree",
    "start_dynamic_supervisor": ".pool",
    "start_pool": ".pool",
    "start_supervisor": ".handles",
}
"""The module that defines each name."""

__all__ = [
    "IGNORE",
    "Abandoned",
    "ActorEndedError",
    "Answer",
    "AskError",
    "AskTimeoutError",
    "AskableMailbox",
    "Backoff",
    "Behavior",
    "Child",
    "ChildCounts",
    "ChildError",
    "ChildExistsError",
    "ChildHandle",
    "ChildInfo",
    "ChildSpec",
    "ChildState",
    "ChildStateError",
    "Clock",
    "Context",
    "Crashed",
    "DeadlineExceeded",
    "DeadlockError",
    "Down",
    "DynamicHandle",
    "DynamicSupervisor",
    "ErrorRecord",
    "Exit",
    "ForeignRef",
    "FrameError",
    "Intensity",
    "InternalError",
    "Killed",
    "LifeRef",
    "Link",
    "Mailbox",
    "MailboxClosedError",
    "MailboxError",
    "MailboxFullError",
    "MailboxStats",
    "MaxChildrenError",
    "Monitor",
    "MonotonicClock",
    "Normal",
    "NotInProcessError",
    "OutOfMemory",
    "PartitionSupervisor",
    "PlainActor",
    "PoolHandle",
    "PreloadError",
    "ProcessActor",
    "ProtocolError",
    "PykkaHost",
    "PykkaRef",
    "Raised",
    "Reason",
    "Ref",
    "RemoteError",
    "RequestTooLongError",
    "RestartIntensityError",
    "RestartStrategy",
    "Shutdown",
    "SpecError",
    "StartError",
    "StartFailed",
    "Started",
    "Supervisor",
    "SupervisorHandle",
    "SupervisorsError",
    "Telemetry",
    "Terminate",
    "Timer",
    "TreeNode",
    "UndescribedError",
    "UnknownChildError",
    "ValueDecodingError",
    "ValueEncodingError",
    "as_ref",
    "check_child_specs",
    "is_clean",
    "read_tree",
    "start_dynamic_supervisor",
    "start_pool",
    "start_supervisor",
    "telemetry",
]

__getattr__ = deferred(__name__, _HOMES, ("telemetry",))


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
