"""Keeps actors running: mailboxes, hosts, supervision, and places where requests are run.

This package has never heard of a flow. Every name below is loaded when it is first asked for, so
that importing the package costs nothing, and Pykka, cloudpickle and psutil only what uses them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from supervisors.actor import BehaviorActor, PykkaHost, PykkaRef
    from supervisors.behavior import Behavior, Context, Ref, Timer
    from supervisors.clock import Clock, MonotonicClock
    from supervisors.foreign import ForeignRef, as_ref
    from supervisors.mailbox import Mailbox
    from supervisors.messages import Down, Terminate
    from supervisors.plain import PlainActor, is_plain_actor
    from supervisors.policy import Backoff, Decision, FailurePolicy, Intensity, IntensityWindow, Strategy
    from supervisors.reasons import Reason
    from supervisors.spec import ChildSpec
    from supervisors.supervisor import Child, RestartStrategy, Supervisor

_HOMES = {
    "Backoff": "policy",
    "Behavior": "behavior",
    "BehaviorActor": "actor",
    "Child": "supervisor",
    "ChildSpec": "spec",
    "Clock": "clock",
    "Context": "behavior",
    "Decision": "policy",
    "Down": "messages",
    "FailurePolicy": "policy",
    "ForeignRef": "foreign",
    "Intensity": "policy",
    "IntensityWindow": "policy",
    "Mailbox": "mailbox",
    "MonotonicClock": "clock",
    "PlainActor": "plain",
    "PykkaHost": "actor",
    "PykkaRef": "actor",
    "Reason": "reasons",
    "Ref": "behavior",
    "RestartStrategy": "supervisor",
    "Strategy": "policy",
    "Supervisor": "supervisor",
    "Terminate": "messages",
    "Timer": "behavior",
    "as_ref": "foreign",
    "is_plain_actor": "plain",
}

__all__ = [
    "Backoff",
    "Behavior",
    "BehaviorActor",
    "Child",
    "ChildSpec",
    "Clock",
    "Context",
    "Decision",
    "Down",
    "FailurePolicy",
    "ForeignRef",
    "Intensity",
    "IntensityWindow",
    "Mailbox",
    "MonotonicClock",
    "PlainActor",
    "PykkaHost",
    "PykkaRef",
    "Reason",
    "Ref",
    "RestartStrategy",
    "Strategy",
    "Supervisor",
    "Terminate",
    "Timer",
    "as_ref",
    "is_plain_actor",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
