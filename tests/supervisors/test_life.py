"""The order of an actor's life: what is answered at its end, what reaches one that is suspended."""

from __future__ import annotations

import pytest

from supervisors.behavior import Answer, Behavior, Context
from supervisors.errors import ActorEndedError
from supervisors.messages import Kill, Terminate
from supervisors.reasons import Killed, Shutdown
from supervisors.testing import StepHost


class Debtor(Behavior):
    """Takes asks and answers none; ends when it is killed."""

    handles_kill = True

    def __init__(self) -> None:
        self.owed: list[Answer | None] = []

    def on_message(self, message: object, ctx: Context) -> None:
        if isinstance(message, Kill):
            ctx.stop(Killed())
        else:
            self.owed.append(ctx.defer())


def test_every_answer_that_is_owed_is_answered_at_the_end() -> None:
    host = StepHost(1)
    ref = host.start(Debtor(), "debtor")
    futures = [ref.ask_future(index) for index in range(3)]
    host.run()
    ref.signal(Terminate(Shutdown("enough")))
    host.run()
    assert ref.reason == Shutdown("enough")
    for future in futures:
        with pytest.raises(ActorEndedError, match="enough"):
            future.result(0)


def test_a_suspended_actor_is_killed_all_the_same() -> None:
    host = StepHost(1)
    ref = host.start(Debtor(), "debtor")
    ref.suspend()
    host.run()
    ref.kill()
    host.run()
    assert ref.reason == Killed()


def test_asking_none_keeps_nobody_behind_it_waiting() -> None:
    class Echo(Behavior):
        def on_message(self, message: object, ctx: Context) -> None:
            ctx.reply(message)

    host = StepHost(1)
    ref = host.start(Echo(), "echo")
    host.run()
    futures = [ref.ask_future(message) for message in (None, "behind")]
    host.run()
    assert [future.result(0) for future in futures] == [None, "behind"]
