from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from supervisors.asking import AskableMailbox
from supervisors.behavior import Behavior, Context
from supervisors.errors import MailboxFullError, SpecError
from supervisors.handles import start_supervisor
from supervisors.mailbox import Mailbox
from supervisors.process_actor import ProcessActor
from supervisors.spec import ChildSpec, check_child_specs
from supervisors.supervisor import RestartStrategy, Supervisor


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"id": ""}, "id: .*got ''"),
        ({"id": "a/b"}, "id: .*got 'a/b'"),
        ({"start": 3}, "child 'a': start: .*got 3"),
        ({"restart": "often"}, "child 'a': restart: .*got 'often'"),
        ({"shutdown": -1.0}, "child 'a': shutdown: .*got -1.0"),
        ({"shutdown": float("nan")}, "child 'a': shutdown: .*got nan"),
        ({"backoff": 1.0}, "child 'a': backoff: .*got 1.0"),
        ({"mailbox": 1}, "child 'a': mailbox: .*got 1"),
        ({"shutdown": "later"}, "child 'a': shutdown: .*got 'later'"),
        ({"args": [1]}, r"child 'a': args: .*got \[1\]"),
        ({"kwargs": 1}, "child 'a': kwargs: .*got 1"),
        ({"type": "boss"}, "child 'a': type: .*got 'boss'"),
        ({"backing": "fiber"}, "child 'a': backing: .*got 'fiber'"),
        ({"significant": 1}, "child 'a': significant: .*got 1"),
        ({"start_timeout": 0}, "child 'a': start_timeout: .*got 0"),
        ({"capacity": 0}, "child 'a': capacity: .*got 0"),
        ({"overflow": "burst"}, "child 'a': overflow: .*got 'burst'"),
        ({"capacity": 1, "mailbox": Mailbox}, "child 'a': capacity: .*got 1"),
        ({"significant": True}, "child 'a': significant: .*got 'permanent'"),
        ({"start": Supervisor, "backing": "process"}, "child 'a': backing: .*got 'process'"),
    ],
)
def test_a_wrong_field_is_named_with_its_value(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(SpecError, match=named):
        ChildSpec(**{"id": "a", "start": Behavior, **fields})


def test_two_children_of_one_id_are_refused() -> None:
    with pytest.raises(SpecError, match=r"children\[2\]: id: 'a' is taken by children\[0\]"):
        Supervisor([ChildSpec("a", Behavior), ChildSpec("b", Behavior), ChildSpec("a", Behavior)])


def test_one_spec_is_not_taken_for_a_list_of_them() -> None:
    with pytest.raises(SpecError, match="expected a list of ChildSpecs, got the one of child 'a'"):
        check_child_specs(ChildSpec("a", Behavior))  # type: ignore[arg-type]  # that is the mistake


def test_a_significant_child_needs_a_supervisor_that_looks_at_it() -> None:
    spec = ChildSpec("a", Behavior, restart="transient", significant=True)
    assert check_child_specs([spec], "any_significant") == (spec,)
    with pytest.raises(SpecError, match="significant: its supervisor has auto_shutdown='never'"):
        check_child_specs([spec])


@pytest.mark.parametrize(
    ("start", "fields", "seconds"),
    [
        (Behavior, {}, (5.0, 30.0)),
        (Supervisor, {}, (math.inf, math.inf)),
        (Behavior, {"type": "supervisor"}, (math.inf, math.inf)),
        (Supervisor, {"shutdown": 2.0, "start_timeout": 3.0}, (2.0, 3.0)),
        (Behavior, {"shutdown": "brutal_kill", "start_timeout": math.inf}, (0.0, math.inf)),
    ],
)
def test_supervisors_have_time_and_workers_have_little(
    start: Callable[..., Any], fields: dict[str, Any], seconds: tuple[float, float]
) -> None:
    spec = ChildSpec("a", start, **fields)
    assert (spec.shutdown_seconds, spec.start_seconds) == seconds


def test_a_process_is_behind_a_proxy_and_a_thread_is_told_whether_it_needs_a_poller() -> None:
    class Watching(Behavior):
        uses_poller = True

    assert isinstance(ChildSpec("a", Behavior, backing="process").make(), ProcessActor)
    assert ChildSpec("a", Watching).make().uses_poller is True  # type: ignore[union-attr]  # a partial takes attributes
    assert ChildSpec("a", Behavior).make().uses_poller is False  # type: ignore[union-attr]  # as above


class Held(Behavior):
    def __init__(self, got: list[object]) -> None:
        self._got = got

    def on_message(self, message: object, ctx: Context) -> None:
        self._got.append(message)


def test_a_bounded_mailbox_is_made_anew_for_each_incarnation_and_is_the_childs_own() -> None:
    spec = ChildSpec("a", Behavior, capacity=2, overflow="drop_oldest")
    first, second = spec.make_mailbox(), spec.make_mailbox()
    assert first is not second
    assert isinstance(first, AskableMailbox)
    assert (first.capacity, first.overflow) == (2, "drop_oldest")
    assert ChildSpec("a", Behavior).make_mailbox() is None


def test_a_child_with_a_bound_refuses_what_is_over_it_and_answers_asks_in_order() -> None:
    got: list[object] = []
    with start_supervisor([ChildSpec("a", Held, (got,), capacity=2)]) as top:
        child = top.child("a")
        child.suspend()
        child.get_state()  # answered behind the suspension: it holds from here
        assert child.tell(1)
        asked = top.child("a").ref.ask_future("last")  # type: ignore[attr-defined]  # started here
        with pytest.raises(MailboxFullError):
            child.tell(3)
        child.resume()
        assert asked.result(10.0) is None
    assert got == [1, "last"]


def test_who_tells_through_a_handle_waits_for_room_no_longer_than_it_says() -> None:
    got: list[object] = []
    with start_supervisor([ChildSpec("a", Held, (got,), capacity=1, overflow="wait")]) as top:
        child = top.child("a")
        child.suspend()
        child.get_state()
        assert child.tell(1)
        with pytest.raises(MailboxFullError):
            child.tell(2, timeout=0.0)
        child.resume()
    assert got in ([1], [])  # the stop goes ahead of what waits


def test_none_is_a_message_like_any_other_in_both_lanes() -> None:
    got: list[object] = []
    with start_supervisor([ChildSpec("a", Held, (got,))]) as top:
        child = top.child("a")
        for message in (None, 1, None):
            child.tell(message)
        assert child.ask(None, 10.0) is None
        child.ref.signal(None)
        child.get_state()
    assert got == [None, 1, None, None, None]


def test_a_strategy_may_be_given_by_name() -> None:
    assert Supervisor([], strategy="rest_for_one").strategy is RestartStrategy.REST_FOR_ONE
    with pytest.raises(SpecError, match=r"strategy: expected one of .*got 'all'"):
        Supervisor([], strategy="all")
