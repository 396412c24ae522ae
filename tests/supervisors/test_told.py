"""What people are told without asking for it: the log of what failed, and the drawing of a tree."""

from __future__ import annotations

import logging

import pytest

from supervisors.behavior import Behavior, Context
from supervisors.messages import Terminate
from supervisors.policy import Backoff
from supervisors.reasons import Normal, Shutdown
from supervisors.spec import ChildSpec
from supervisors.supervisor import Supervisor
from supervisors.testing import StepHost
from supervisors.tree import read_tree


class Worker(Behavior):
    def on_message(self, message: object, ctx: Context) -> None:
        if message == "leave":
            ctx.stop(Normal())
        else:
            raise ValueError(message)


def test_a_child_that_fails_is_logged_with_its_traceback_though_it_is_started_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    supervisor = Supervisor([ChildSpec("a", Worker, backoff=Backoff(delay=0.0))])
    host = StepHost(0)
    host.start(supervisor, "top")
    host.run()
    [child] = supervisor.children
    assert child.ref is not None
    child.ref.tell("leave")
    host.run()
    assert caplog.records == []
    child.ref.tell("broken")
    host.run()
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert record.message.startswith("child 'a' of supervisor top raised ValueError: broken\nTraceback ")


def test_a_child_that_is_asked_to_end_is_no_matter_for_the_log(caplog: pytest.LogCaptureFixture) -> None:
    supervisor = Supervisor([ChildSpec("a", Worker)])
    host = StepHost(0)
    ref = host.start(supervisor, "top")
    host.run()
    ref.signal(Terminate(Shutdown()))
    host.run()
    assert ref.reason == Shutdown()
    assert caplog.records == []


def test_a_tree_is_drawn_with_what_became_of_its_children() -> None:
    supervisor = Supervisor([ChildSpec("a", Worker), ChildSpec("b", Worker, restart="transient")])
    host = StepHost(0)
    ref = host.start(supervisor, "top")
    host.run()
    supervisor.children[0].ref.tell("broken")  # type: ignore[union-attr]  # it runs
    supervisor.children[1].ref.tell("leave")  # type: ignore[union-attr]  # it runs
    host.run()
    assert str(read_tree(ref)).splitlines() == [
        "top  supervisor running",
        "├─ a  worker running, restarted once, the last end: raised ValueError: broken",
        "└─ b  worker stopped",
    ]
    supervisor.children[0].ref.tell("again")  # type: ignore[union-attr]  # it runs
    host.run()
    assert "restarted 2 times, the last end: raised ValueError: again" in str(read_tree(ref))
