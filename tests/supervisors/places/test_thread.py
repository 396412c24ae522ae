"""What both places on threads promise: the actor's own, and the one that has deadlines."""

from __future__ import annotations

import contextlib
import math
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import pytest

from supervisors.errors import InternalError
from supervisors.places.base import CLOSED, Lost, Port, RequestAbandoned
from supervisors.reasons import Killed, Shutdown, StartFailed
from tests.supervisors.places.threads import Kind, World, running

pytestmark = pytest.mark.parametrize("kind", ["thread", "timed"])


def steps(count: int) -> Iterator[None]:
    for _ in range(count):
        yield
    return count


def parts(port: Port, count: int) -> Iterator[None]:
    for n in range(count):
        port.stop_with(n, 1)
        yield
    return count


def hand_parts(port: Port) -> None:
    for n in range(3):
        port.part(n, 1)


def step_on(port: Port) -> Iterator[None]:
    for n in range(3):
        port.stop_with(n, 1)
        yield


def return_a_result(_port: Port) -> str:
    return "never told"


def test_requests_come_back_once_and_in_order(kind: Kind) -> None:
    with running(kind) as world:
        asked = [world.ask(lambda _port, n=n: n) for n in range(200)]
        world.run(lambda: len(world.done) == 200)
    assert list(world.done) == asked
    assert list(world.done.values()) == list(range(200))
    assert world.settled == [True] * 200
    assert (world.lost, world.failed) == ([], [])


@pytest.mark.parametrize("error", [ValueError("bad"), SystemExit(3), KeyboardInterrupt(), RequestAbandoned()])
def test_what_a_request_raises_is_its_failure_alone(kind: Kind, error: BaseException) -> None:
    def fail(_port: Port) -> None:
        raise error

    with running(kind) as world:
        bad = world.begin(fail)
        world.run(lambda: world.failed)
        good = world.ask(lambda _port: "good")
        world.run(lambda: world.done)
    assert world.failed == [(bad, repr(error), ())]
    assert world.done == {good: "good"}
    assert world.settled == [False, True]


def test_a_request_goes_on_past_each_of_its_stops_once_its_part_is_granted(kind: Kind) -> None:
    with running(kind) as world:
        world.grants = False
        seq = world.begin(lambda port: parts(port, 2))
        for n in range(2):
            world.run(lambda: world.ungranted)
            assert not world.place.advance()
            assert world.parts == [(seq, m) for m in range(n + 1)]
            world.place.grant(0, world.ungranted.pop())
        world.run(lambda: world.done)
    assert world.done == {seq: 2}


def test_a_request_hands_parts_over_while_it_runs(kind: Kind) -> None:
    with running(kind) as world:
        seq = world.begin(lambda port: [port.part(n, 1) for n in range(3)])
        world.run(lambda: world.done)
    assert world.parts == [(seq, 0), (seq, 1), (seq, 2)]


def swallow(port: Port) -> str:
    for n in range(3):
        with contextlib.suppress(RequestAbandoned):
            port.part(n, 1)
            return "not reached"
    return "swallowed"


def check(port: Port) -> None:
    with contextlib.suppress(RequestAbandoned):
        port.part(0, 1)
    port.check()


@pytest.mark.parametrize("request_", [hand_parts, step_on, swallow, check, return_a_result])
def test_a_request_that_nobody_wants_any_more_ends_quietly(kind: Kind, request_: Callable[[Port], Any]) -> None:
    with running(kind) as world:
        world.refuses = True
        world.ask(request_)
        behind = [world.ask(lambda _port: "behind")] if kind == "thread" else []
        world.place.submit(0, [world.waiting.popleft() for _ in range(len(world.waiting))])
        world.run(lambda: world.place.room(0))
        assert world.returned == behind
        assert world.place.is_still
        world.refuses = False
        after = world.ask(lambda _port: "after")
        world.run(lambda: world.done)
        assert world.place.is_still
    assert world.done == {after: "after"}
    assert (world.parts, world.failed, world.lost, world.settled) == ([], [], [], [False, True])


def test_what_the_listener_raises_is_not_the_failure_of_the_request(kind: Kind) -> None:
    with running(kind) as world:
        world.meets_part = refuse
        world.begin(hand_parts)
        with pytest.raises(LookupError, match="not the request"):
            world.run(lambda: world.failed)
        assert world.failed == []
        world.place.abort()
        world.closed = 1


def refuse() -> NoReturn:
    raise LookupError("not the request's")


def test_a_request_waits_until_what_it_confirms_was_granted(kind: Kind) -> None:
    order: list[str] = []

    def confirm(port: Port) -> None:
        port.confirm("part")
        order.append("went on")

    with running(kind) as world:
        grant = world.place.grant

        def note(number: int, seq: int) -> None:
            order.append("granted")
            grant(number, seq)

        world.place.grant = note  # type: ignore[method-assign]
        seq = world.begin(confirm)
        world.run(lambda: world.done)
    assert (world.parts, order) == ([(seq, "part")], ["granted", "went on"])


def test_a_part_outside_of_a_request_is_refused(kind: Kind) -> None:
    ports: list[Port] = []
    with running(kind) as world:
        world.begin(ports.append)
        world.run(lambda: world.done)
    with pytest.raises(InternalError, match="a part without a request"):
        ports[0].part(0, 1)


def test_a_service_that_does_not_boot_is_told_and_may_be_started_again(kind: Kind) -> None:
    world = World(kind)
    world.place.start(0, LookupError("no such boot"))
    world.run(lambda: world.lost)
    ((reason, lost),) = world.lost
    assert isinstance(reason, StartFailed)
    assert "no such boot" in str(reason)
    assert lost == Lost(None, (), ())
    world.place.start(0, None)
    world.run(lambda: world.ready)
    assert [worker.incarnation for worker in world.place.workers()] == [2]
    world.close()


def test_a_worker_that_runs_is_not_started_again(kind: Kind) -> None:
    with running(kind) as world, pytest.raises(InternalError, match="cannot be started"):
        world.place.start(0, None)


def test_an_idle_service_is_told_why_it_ends(kind: Kind) -> None:
    with running(kind) as world:
        world.place.close(0.0, Shutdown("enough"))
        world.run(lambda: world.closed)
        assert not world.place.advance()
    assert world.ended == [Shutdown("enough")]
    assert (world.lost, world.closed) == ([], 1)


def test_a_request_between_two_of_its_stops_is_given_back_at_the_end(kind: Kind) -> None:
    with running(kind) as world:
        world.grants = False
        seq = world.begin(lambda port: parts(port, 2))
        world.run(lambda: world.parts)
        world.close()
    assert world.lost == [(CLOSED, Lost(seq, (), ()))]
    assert (world.settled, world.ended) == ([False], [CLOSED])


def test_a_request_can_be_killed_between_two_of_its_stops(kind: Kind) -> None:
    with running(kind) as world:
        world.grants = False
        seq = world.begin(lambda port: parts(port, 2))
        world.run(lambda: world.parts)
        world.place.kill(0, Killed())
        assert world.lost == [(Killed(), Lost(seq, (), ()))]
        world.grants = True
        world.place.start(0, None)
        again = world.ask(lambda _port: steps(3))
        world.run(lambda: world.done)
    assert world.done == {again: 3}
    assert world.ended == [CLOSED]


def test_the_one_worker_is_listed_with_what_it_has(kind: Kind) -> None:
    with running(kind) as world:
        [idle] = world.place.workers()
        assert (idle.number, idle.incarnation, idle.pid, idle.is_ready, idle.in_hand) == (0, 1, None, True, 0)
        world.grants = False
        seq = world.begin(lambda port: parts(port, 1))
        world.run(lambda: world.parts)
        [busy] = world.place.workers()
        # It waits for a grant, which a place on this thread finds out as it is to go on.
        since = world.now if kind == "thread" else math.inf
        assert (busy.in_hand, busy.current, busy.since) == (1, seq, since)
        world.place.grant(0, seq)
        world.run(lambda: world.done)


def test_an_aborted_place_tells_nobody(kind: Kind) -> None:
    with running(kind) as world:
        world.grants = False
        world.begin(lambda port: parts(port, 1))
        world.run(lambda: world.parts)
        world.place.abort()
        assert not world.place.advance()
        assert world.place.room(0) == 0
        world.closed = 1  # nothing is left to be closed
    assert (world.lost, world.done, world.ended) == ([], {}, [])


def fork(port: Port, come_back: Callable[[Port], Any]) -> Any:
    pid = os.fork()  # noqa: TID251  what a request does
    return come_back(port) if pid == 0 else os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def exit_with_7(_port: Port) -> NoReturn:
    sys.exit(7)


def raise_an_error(_port: Port) -> NoReturn:
    raise ValueError


def stop_between_steps(port: Port) -> Iterator[None]:
    port.stop_with("a step", 1)
    yield


@pytest.mark.processes
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize(
    ("come_back", "code"),
    [(return_a_result, 0), (hand_parts, 0), (exit_with_7, 7), (raise_an_error, 1), (stop_between_steps, 0)],
)
def test_a_copy_that_a_request_makes_by_fork_ends_where_it_comes_back(
    kind: Kind, come_back: Callable[[Port], Any], code: int
) -> None:
    with running(kind) as world:
        asked = world.begin(lambda port: fork(port, come_back))
        world.run(lambda: world.done)
        after = world.ask(lambda _port: "after")
        world.run(lambda: after in world.done)
    assert world.done == {asked: code, after: "after"}
    assert (world.parts, world.failed, world.lost) == ([], [], [])


def test_a_wait_between_two_steps_is_told_and_left_out(kind: Kind) -> None:
    with running(kind) as world:
        world.grants = False
        began = world.now
        world.begin(step_on)
        world.run(lambda: world.ungranted)
        world.place.advance()
        assert world.place.workers()[0].since == math.inf
        world.now += 7.0
        world.grant()
        told: list[float | None] = []
        world.meets_part = lambda: told.append(world.place.workers()[0].since)
        world.run(lambda: told)
        assert told == [began + 7.0 if kind == "thread" else math.inf]  # the other's clock stands, by then
        for _ in range(2):
            world.run(lambda: world.ungranted)
            world.grant()
        world.run(lambda: world.done)
        assert world.place.workers()[0].since is None
