"""Keeps actors running: mailboxes, hosts, supervision, and places where requests are run.

This package has never heard of a flow. Every name below is loaded when it is first asked for, so
that importing the package costs nothing, and Pykka, cloudpickle and psutil only what uses them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from supervisors.actor import BehaviorActor, PykkaHost, PykkaRef
    from supervisors.behavior import Behavior, Context, Link, Monitor, Ref, Timer
    from supervisors.calls import ChildCounts, ChildInfo
    from supervisors.children import Child, ChildState
    from supervisors.clock import Clock, MonotonicClock
    from supervisors.foreign import ForeignRef, as_ref
    from supervisors.handles import ChildHandle, SupervisorHandle, start_supervisor
    from supervisors.mailbox import Mailbox, MailboxStats
    from supervisors.messages import Down, Exit, Terminate
    from supervisors.plain import PlainActor, is_plain_actor
    from supervisors.policy import Backoff, Decision, FailurePolicy, Intensity, IntensityWindow, Strategy
    from supervisors.reasons import Reason
    from supervisors.spec import IGNORE, ChildSpec, check_child_specs
    from supervisors.supervisor import RestartStrategy, Supervisor
    from supervisors.tree import TreeNode

_HOMES = {
    "Backoff": "policy",
    "Behavior": "behavior",
    "BehaviorActor": "actor",
    "Child": "children",
    "ChildCounts": "calls",
    "ChildHandle": "handles",
    "ChildInfo": "calls",
    "ChildSpec": "spec",
    "ChildState": "children",
    "Clock": "clock",
    "Context": "behavior",
    "Decision": "policy",
    "Down": "messages",
    "Exit": "messages",
    "FailurePolicy": "policy",
    "IGNORE": "spec",
    "ForeignRef": "foreign",
    "Intensity": "policy",
    "IntensityWindow": "policy",
    "Link": "behavior",
    "Mailbox": "mailbox",
    "MailboxStats": "mailbox",
    "Monitor": "behavior",
    "MonotonicClock": "clock",
    "PlainActor": "plain",
    "PykkaHost": "actor",
    "PykkaRef": "actor",
    "Reason": "reasons",
    "Ref": "behavior",
    "RestartStrategy": "supervisor",
    "Strategy": "policy",
    "Supervisor": "supervisor",
    "SupervisorHandle": "handles",
    "Terminate": "messages",
    "Timer": "behavior",
    "TreeNode": "tree",
    "check_child_specs": "spec",
    "start_supervisor": "handles",
    "as_ref": "foreign",
    "is_plain_actor": "plain",
}

__all__ = [
    "IGNORE",
    "Backoff",
    "Behavior",
    "BehaviorActor",
    "Child",
    "ChildCounts",
    "ChildHandle",
    "ChildInfo",
    "ChildSpec",
    "ChildState",
    "Clock",
    "Context",
    "Decision",
    "Down",
    "Exit",
    "FailurePolicy",
    "ForeignRef",
    "Intensity",
    "IntensityWindow",
    "Link",
    "Mailbox",
    "MailboxStats",
    "Monitor",
    "MonotonicClock",
    "PlainActor",
    "PykkaHost",
    "PykkaRef",
    "Reason",
    "Ref",
    "RestartStrategy",
    "Strategy",
    "Supervisor",
    "SupervisorHandle",
    "Terminate",
    "Timer",
    "TreeNode",
    "as_ref",
    "check_child_specs",
    "is_plain_actor",
    "start_supervisor",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
