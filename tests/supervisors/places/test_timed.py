"""A thread that takes too long is given up: each request ends once, as done or as lost, whatever comes later.

What the place has in common with the other one on threads is in `test_thread`.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator

import pytest

from supervisors.places.base import Lost, Port, RequestAbandoned
from supervisors.places.timed import GOODBYE_SECONDS
from supervisors.reasons import Abandoned, DeadlineExceeded, Killed, Raised, StartFailed
from tests.supervisors.places.threads import PATIENCE, TIMEOUT, Gate, World, running

ROUNDS = 200


def wait_back(world: World) -> None:
    """Drive until every thread that was given up has come back."""
    world.run(lambda: not any(world.abandoned[-1:]))


def test_half_way_to_its_deadline_a_request_is_told_of_once_with_its_stack() -> None:
    gate = Gate()
    with running() as world:
        seq = world.begin(lambda _port: gate.pass_through())
        gate.wait_reached()
        assert world.place.next_deadline() == world.now + TIMEOUT / 2
        world.tick(TIMEOUT / 2 - 1.0)
        assert world.warned == []
        world.tick(1.0)
        assert world.place.next_deadline() == world.now + TIMEOUT / 2
        world.tick(1.0)
        [(warned, seconds, stack)] = world.warned
        assert (warned, seconds) == (seq, TIMEOUT / 2)
        assert "in pass_through" in stack
        gate.open()
        world.run(lambda: world.done)
        assert world.place.next_deadline() is None
    assert (world.lost, world.abandoned) == ([], [])


def test_a_request_that_takes_too_long_is_lost_and_what_comes_of_it_is_dropped() -> None:
    gate = Gate()
    with running() as world:
        late = world.begin(lambda _port: gate.pass_through())
        gate.wait_reached()
        world.tick(TIMEOUT)
        [(reason, lost)] = world.lost
        assert isinstance(reason, DeadlineExceeded)
        assert (reason.seconds, reason.pid, lost) == (TIMEOUT, None, Lost(late, (), ()))
        assert "in pass_through" in reason.stack
        assert world.abandoned == [(reason.stack,)]
        assert world.place.workers() == ()
        world.place.start(0, None)
        good = world.ask(lambda _port: threading.current_thread().name)
        world.run(lambda: world.done)
        gate.open()
        wait_back(world)
    assert world.done == {good: "bench/handler 2"}
    assert sorted(world.settled) == [False, True]
    assert world.booted == 2


def test_a_request_that_ends_before_it_is_looked_at_is_not_late() -> None:
    gate = Gate()
    with running() as world:
        seq = world.begin(lambda _port: gate.pass_through())
        gate.wait_reached()
        world.woken.clear()
        gate.open()
        assert world.woken.wait(PATIENCE)
        world.tick(2 * TIMEOUT)
        world.run(lambda: world.done)
    assert list(world.done) == [seq]
    assert world.lost == []


def test_a_request_that_ends_at_its_deadline_is_either_done_or_lost() -> None:
    ends = set()
    for _ in range(ROUNDS):
        gate = Gate()
        with running() as world:
            seq = world.begin(lambda _port, gate=gate: gate.pass_through())
            gate.wait_reached()
            world.now += TIMEOUT
            gate.open()
            world.place.on_tick(world.now)
            world.run(lambda world=world: world.done or world.lost)
            if world.lost:
                wait_back(world)
            ends.add((bool(world.done), bool(world.lost)))
            assert [lost.suspect for _, lost in world.lost] == ([] if world.done else [seq])
    assert ends <= {(True, False), (False, True)}


@pytest.mark.parametrize("seed", range(40))
def test_every_request_comes_back_exactly_once_whatever_takes_too_long(seed: int) -> None:
    rng = random.Random(seed)
    with running() as world:
        world.grants = rng.random() < 0.7
        for number in range(20):
            gate = Gate()
            seq = world.begin(lambda port, gate=gate, n=number: (stroll, stream, stumble)[n % 3](port, gate))
            while not back(world, seq):
                # Any of these may come in the middle of what the thread does.
                acts = [gate.open, world.place.advance, lambda: world.tick(TIMEOUT / 3), world.grant]
                rng.choice([*acts, world.place.hold, world.place.release])()
            assert back(world, seq) == 1
            assert world.place.is_still
            gate.open()
            world.place.release()
            if not world.place.workers():
                world.place.start(0, None)
        wait_back(world)
    assert world.settled.count(True) == len(world.done)


def stroll(port: Port, gate: Gate) -> Iterator[None]:
    port.stop_with("step", 1)
    yield
    gate.pass_through()


def stream(port: Port, gate: Gate) -> str:
    gate.pass_through()
    port.part("part", 1)
    return "streamed"


def stumble(_port: Port, gate: Gate) -> None:
    gate.pass_through()
    raise ValueError


def back(world: World, seq: int) -> int:
    """How often a request has come back."""
    lost = [number for _, lost in world.lost for number in (lost.suspect, *lost.unbegun)]
    return [*world.done, *(number for number, _, _ in world.failed), *lost, *world.returned].count(seq)


def test_the_part_of_a_request_that_was_given_up_ends_it() -> None:
    gate, ends = Gate(), []

    def late(port: Port) -> None:
        gate.pass_through()
        try:
            port.part("late", 1)
        except RequestAbandoned as error:
            ends.append(error)
            raise

    with running() as world:
        world.begin(late)
        gate.wait_reached()
        world.tick(TIMEOUT)
        gate.open()
        wait_back(world)
    assert len(ends) == 1
    assert (world.parts, world.done, world.failed, world.settled) == ([], {}, [], [False])


def test_a_wait_for_a_grant_is_no_part_of_the_time() -> None:
    gate = Gate()

    def stream(port: Port) -> str:
        port.part(1, 1)
        gate.pass_through()
        return "streamed"

    with running() as world:
        world.grants = False
        seq = world.begin(stream)
        world.run(lambda: world.ungranted)
        for _ in range(5):
            world.tick(TIMEOUT)
        assert world.place.next_deadline() == world.now + TIMEOUT / 2
        world.place.grant(0, world.ungranted.pop())
        gate.wait_reached()
        world.tick(TIMEOUT / 2)
        assert [told[:2] for told in world.warned] == [(seq, TIMEOUT / 2)]
        gate.open()
        world.run(lambda: world.done)
    assert world.lost == []


def test_the_steps_of_a_request_count_together() -> None:
    gates = [Gate(), Gate()]
    closed_by: list[str] = []

    def walk(port: Port) -> Iterator[None]:
        try:
            for n, gate in enumerate(gates):
                gate.pass_through()
                port.stop_with(n, 1)
                yield
        finally:
            closed_by.append(threading.current_thread().name)

    with running() as world:
        seq = world.begin(walk)
        gates[0].wait_reached()
        world.tick(0.6 * TIMEOUT)
        gates[0].open()
        world.run(lambda: world.parts)
        gates[1].wait_reached()
        world.tick(0.6 * TIMEOUT)
        gates[1].open()
        wait_back(world)
    assert world.parts == [(seq, 0)]
    assert [lost for _, lost in world.lost] == [Lost(seq, (), ())]
    assert closed_by == ["bench/handler 1"]


def test_a_close_waits_for_the_request_in_hand() -> None:
    gate = Gate()
    with running() as world:
        seq = world.begin(lambda _port: gate.pass_through())
        gate.wait_reached()
        world.place.close(3.0)
        assert world.place.next_deadline() == world.now + 3.0
        world.tick(2.0)
        gate.open()
        world.run(lambda: world.closed)
    assert list(world.done) == [seq]
    assert world.lost == []


@pytest.mark.parametrize("seconds", [0.0, 3.0])
def test_a_close_gives_up_what_does_not_end_in_time(seconds: float) -> None:
    gate = Gate()
    with running() as world:
        seq = world.begin(lambda _port: gate.pass_through())
        gate.wait_reached()
        world.place.close(seconds)
        world.tick(seconds)
        world.run(lambda: world.closed)
        [(reason, lost)] = world.lost
        assert isinstance(reason, Abandoned)
        assert "in pass_through" in reason.stack
        assert lost == Lost(seq, (), ())
        assert world.abandoned[-1] == (reason.stack,)
        gate.open()


def test_the_deadline_holds_also_while_the_place_closes() -> None:
    gate = Gate()
    with running() as world:
        world.begin(lambda _port: gate.pass_through())
        gate.wait_reached()
        world.place.close(float("inf"))
        world.tick(TIMEOUT)
        world.run(lambda: world.closed)
        gate.open()
    [(reason, _)] = world.lost
    assert isinstance(reason, DeadlineExceeded)


def test_an_idle_thread_gets_a_moment_to_end_by_itself() -> None:
    with running() as world:
        world.place.close(0.0)
        assert world.place.next_deadline() == world.now + GOODBYE_SECONDS
        world.tick(0.0)
        world.run(lambda: world.closed)
    assert (world.lost, world.abandoned) == ([], [])


@pytest.mark.parametrize("how", ["close", "kill", "abort"])
def test_a_request_that_waits_for_a_grant_is_woken_when_none_will_come(how: str) -> None:
    woken = threading.Event()

    def stream(port: Port) -> None:
        try:
            port.part(1, 1)
        finally:
            woken.set()

    with running() as world:
        world.grants = False
        seq = world.begin(stream)
        world.run(lambda: world.ungranted)
        if how == "close":
            world.close()
            assert [(number, text) for number, text, _ in world.failed] == [(seq, "RequestAbandoned()")]
        elif how == "kill":
            world.place.kill(0, Killed())
            assert world.lost == [(Killed(), Lost(seq, (), ()))]
            wait_back(world)
        else:
            world.place.abort()
            world.closed = 1  # nothing is left to be closed
        assert woken.wait(PATIENCE)


def test_a_request_that_waits_behind_one_that_does_not_settle_was_not_begun() -> None:
    gate = Gate()
    with running() as world:
        world.settles_at = gate.pass_through
        first = world.begin(lambda _port: "first")
        world.run(lambda: world.done)
        second = world.begin(lambda _port: "second")
        gate.wait_reached()
        world.tick(TIMEOUT)
        assert list(world.done) == [first]
        assert [lost for _, lost in world.lost] == [Lost(None, (), (second,))]
        gate.open()
        wait_back(world)
    assert world.settled == [True]


def test_a_service_that_breaks_is_a_loss() -> None:
    with running() as world:
        world.settles_at = refuse
        world.ask(lambda _port: "done")
        world.run(lambda: world.lost)
        [(reason, lost)] = world.lost
        assert isinstance(reason, Raised)
        assert "it does not settle" in str(reason)
        assert lost == Lost(None, (), ())
        assert list(world.done.values()) == ["done"]


def refuse() -> None:
    raise LookupError("it does not settle")


def test_a_thread_that_the_system_does_not_give_is_a_start_that_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    def give_none(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    world = World("timed")
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", give_none)
        world.place.start(0, None)
    world.run(lambda: world.lost)
    [(reason, lost)] = world.lost
    assert isinstance(reason, StartFailed)
    assert "can't start new thread" in str(reason)
    assert lost == Lost(None, (), ())
    world.place.start(0, None)
    world.run(lambda: world.ready)
    world.close()
