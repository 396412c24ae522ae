"""A place that runs several requests at once on an event loop."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from supervisors.errors import InternalError
from supervisors.places.base import CLOSED, PART_BOUND, Lost, RequestAbandoned
from supervisors.places.loop import AsyncioLoop
from supervisors.places.looped import BLOCKED_SECONDS, GOODBYE_SECONDS, LoopPlace
from supervisors.reasons import Abandoned, DeadlineExceeded, Killed, Raised, Reason, Shutdown, StartFailed
from tests.supervisors.places.threads import PATIENCE, TIMEOUT, World

Work = Callable[[Any], Coroutine[Any, Any, Any]]


class Coroutines:
    """A service whose requests are async functions of the port."""

    def __init__(self, world: LoopWorld) -> None:
        self._world = world

    def boot(self, number: int, boot: Any) -> None:
        if boot is not None:
            raise boot

    def begin(self, request: Work, port: Any) -> Running:
        return Running(self._world, request(port))

    def describe_failure(self, error: BaseException) -> str:
        return repr(error)

    def close(self, reason: Reason) -> None:
        self._world.ended.append(reason)


class Running:
    """One request that is run."""

    def __init__(self, world: LoopWorld, work: Coroutine[Any, Any, Any]) -> None:
        self._world = world
        self._work = work
        self.result: Any = None

    async def run(self) -> None:
        self.result = await self._work

    def conclude(self, *, accepted: bool) -> None:
        self._world.settled.append(accepted)


class LoopWorld(World):
    """As `World`, around a place on a loop."""

    place: LoopPlace  # type: ignore[assignment]

    def __init__(self, limit: int = 10, *, is_ordered: bool = True, timeout: float | None = TIMEOUT) -> None:
        super().__init__("timed")
        self.overdue: list[tuple[int, Reason]] = []
        self.opened = threading.Event()
        self.place = LoopPlace(
            lambda boot: AsyncioLoop(
                "bench/loop", lambda: Coroutines(self), boot, self._clock, self._wake, cancel_seconds=0.05
            ),
            self,
            self._clock,
            limit=limit,
            is_ordered=is_ordered,
            timeout=timeout,
            warn=lambda *told: self.warned.append(told),
            note_abandoned=self.abandoned.append,
        )

    def _make_loop(self, boot: Any) -> AsyncioLoop:
        return AsyncioLoop("bench/loop", lambda: Coroutines(self), boot, self._clock, self._wake, cancel_seconds=0.05)

    def on_overdue(self, number: int, seq: int, reason: Reason) -> None:
        self.overdue.append((seq, reason))

    def settle(self) -> None:
        """Let the loop carry out what it was asked for, and tell what it has to tell."""
        loop = self.place._loop
        assert isinstance(loop, AsyncioLoop)
        passed = threading.Event()
        for _ in range(3):
            passed.clear()
            loop._order(passed.set)
            assert passed.wait(PATIENCE)
            while self.place.advance():
                pass


@contextmanager
def looped(**options: Any) -> Iterator[LoopWorld]:
    world = LoopWorld(**options)
    world.place.start(0, None)
    world.run(lambda: world.ready)
    try:
        yield world
        if not world.closed:
            world.close()
    finally:
        world.opened.set()
        world.place.abort()
        for thread in threading.enumerate():
            if thread.name == "bench/loop":
                thread.join(PATIENCE)


async def forever(_port: Any) -> None:
    await asyncio.get_running_loop().create_future()


def giving(value: Any) -> Work:
    async def give(_port: Any) -> Any:
        return value

    return give


def failing(text: str) -> Work:
    async def fail(_port: Any) -> Any:
        raise ValueError(text)

    return fail


def waiting_for(event: asyncio.Event, value: Any = None) -> Work:
    async def wait(_port: Any) -> Any:
        await event.wait()
        return value

    return wait


def setting(event: asyncio.Event) -> Work:
    async def do(_port: Any) -> str:
        event.set()
        return "set"

    return do


def test_requests_run_at_once_and_are_told_of_in_order() -> None:
    event = asyncio.Event()
    with looped() as world:
        first, second = world.ask(waiting_for(event, "late")), world.ask(setting(event))
        world.hand_out()
        world.run(lambda: len(world.done) == 2)
    assert list(world.done.items()) == [(first, "late"), (second, "set")]
    assert (world.settled, world.ended) == ([True, True], [CLOSED])


def test_without_order_requests_are_told_of_as_they_end() -> None:
    with looped(is_ordered=False) as world:
        slow, quick = world.ask(forever), world.ask(giving("quick"))
        world.hand_out()
        world.run(lambda: world.done)
        assert world.place.room(0) == 9
        world.place.close(0.0)
        world.tick(0.0)
        world.run(lambda: world.closed)
    assert (world.done, world.lost) == ({quick: "quick"}, [(CLOSED, Lost(None, (slow,), ()))])


def test_it_takes_as_many_as_its_limit_and_those_that_wait_for_their_turn_count() -> None:
    event = asyncio.Event()
    with looped(limit=3) as world:
        world.ask(waiting_for(event))
        world.ask(giving(2))
        world.hand_out()
        world.settle()
        assert (world.place.room(0), world.done) == (1, {})
        world.ask(setting(event))
        world.hand_out()
        world.run(lambda: len(world.done) == 3)
        assert world.place.room(0) == 3


def test_one_that_failed_holds_up_those_behind_until_it_is_passed_by() -> None:
    with looped() as world:
        bad, good = world.ask(failing("bad")), world.ask(giving("good"))
        world.hand_out()
        world.run(lambda: world.failed)
        world.settle()
        assert world.failed == [(bad, "ValueError('bad')", ())]
        assert world.done == {}
        world.place.pass_by(0)
        world.run(lambda: world.done)
    assert world.done == {good: "good"}


def test_one_that_failed_is_told_of_first_when_it_is_submitted_again() -> None:
    with looped() as world:
        world.ask(failing("bad"))
        behind = world.ask(giving("behind"))
        world.hand_out()
        world.run(lambda: world.failed)
        again = world.ask(giving("again"))
        world.hand_out()
        world.run(lambda: len(world.done) == 2)
    assert list(world.done) == [again, behind]


def test_a_part_is_told_in_its_turn_and_waited_for_at_the_next_await() -> None:
    event, passed = asyncio.Event(), []

    async def part(port: Any) -> None:
        port.part("a", PART_BOUND)
        passed.append("no wait")
        await asyncio.sleep(0)
        passed.append("granted")

    with looped() as world:
        world.grants = False
        world.ask(waiting_for(event))
        second = world.ask(part)
        world.hand_out()
        world.settle()
        assert (passed, world.parts) == (["no wait"], [])
        world.ask(setting(event))
        world.hand_out()
        world.run(lambda: world.parts)
        world.settle()
        assert (passed, world.parts) == (["no wait"], [(second, "a")])
        world.grants = True
        world.grant()
        world.run(lambda: second in world.done)
    assert passed == ["no wait", "granted"]


def test_a_little_that_is_not_granted_keeps_no_request_from_going_on() -> None:
    """It may hold what the request at the head waits for: a lock, or a place in a semaphore."""

    async def first(_port: Any) -> None:
        await entered.wait()
        async with lock:
            pass

    async def second(port: Any) -> None:
        async with lock:
            entered.set()
            port.part("a", PART_BOUND - 1)
            await asyncio.sleep(0)

    entered, lock = asyncio.Event(), asyncio.Lock()
    with looped() as world:
        seqs = [world.ask(first), world.ask(second)]
        world.run(lambda: len(world.done) == 2)
    assert (list(world.done), world.parts) == (seqs, [(seqs[1], "a")])


def test_what_a_task_of_a_request_hands_over_is_waited_for_by_whichever_goes_on_next() -> None:
    passed: list[str] = []

    async def child(port: Any, name: str) -> str:
        port.part(name, PART_BOUND)
        await asyncio.sleep(0)
        passed.append(name)
        return name

    async def leave(port: Any) -> None:
        port.part("left", PART_BOUND)

    async def part(port: Any) -> Any:
        names = await asyncio.gather(child(port, "a"), child(port, "b"))
        await asyncio.create_task(leave(port))
        passed.append("end")
        return names

    with looped() as world:
        world.grants = False
        seq = world.ask(part)
        world.run(lambda: len(world.parts) == 2)
        world.settle()
        assert passed == []
        world.grants = True
        world.grant()
        world.run(lambda: len(world.parts) == 3)
        world.run(lambda: world.done)
    assert (world.done, passed) == ({seq: ["a", "b"]}, ["a", "b", "end"])


def test_none_of_a_requests_tasks_goes_on_while_the_place_is_held() -> None:
    passed: list[str] = []
    held, release = asyncio.Event(), asyncio.Event()

    async def child() -> None:
        await release.wait()
        passed.append("child")

    async def part(port: Any) -> None:
        task = asyncio.create_task(child())
        await held.wait()
        port.part("a", 1)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0):
                await asyncio.sleep(0)
                await release.wait()
        passed.append("own")
        await task

    with looped() as world:
        seq = world.ask(part)
        world.hand_out()
        world.place.hold()
        loop = world.place._loop
        assert isinstance(loop, AsyncioLoop)
        loop._order(held.set)
        world.run(lambda: world.place.is_still)
        loop._order(release.set)
        world.settle()
        assert passed == []
        assert world.place.is_still
        world.place.release()
        world.run(lambda: seq in world.done)
    assert sorted(passed) == ["child", "own"]


def test_a_task_that_is_left_over_waits_for_no_grant_of_a_request_that_is_over() -> None:
    passed: list[str] = []
    kept = []

    async def child(port: Any) -> None:
        port.part("a", PART_BOUND)
        await asyncio.sleep(0)
        passed.append("went on")

    async def leave(port: Any) -> None:
        kept.append(asyncio.create_task(child(port)))
        kept[0].add_done_callback(lambda _: passed.append("done"))
        event = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(event.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await event
        raise ValueError

    with looped() as world:
        world.grants = False
        world.ask(leave)
        world.run(lambda: world.parts)
        world.settle()
        world.grants = True
        world.grant()
        world.run(lambda: world.failed)
        world.settle()
        assert passed == ["went on", "done"]


def test_a_task_that_is_cancelled_before_its_first_step_was_awaited() -> None:
    async def child() -> None: ...

    async def cancel(_port: Any) -> str:
        task = asyncio.create_task(child(), name="child")
        told = repr(task)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        return told

    with looped() as world:
        seq = world.ask(cancel)
        world.run(lambda: world.done)
    gc.collect()
    assert "child()" in world.done[seq]


def test_a_stop_is_known_to_be_taken_before_the_request_goes_on() -> None:
    told: list[str] = []

    async def stop(port: Any) -> None:
        for name in "ab":
            await port.stop(name, 1, lambda name=name: told.append(f"{name} taken"))
            told.append(f"after {name}")

    with looped() as world:
        seq = world.ask(stop)
        world.run(lambda: world.done)
    assert world.parts == [(seq, "a"), (seq, "b")]
    assert told == ["a taken", "after a", "b taken", "after b"]


def test_what_is_confirmed_waits_for_no_other_request() -> None:
    event = asyncio.Event()

    async def confirm(port: Any) -> str:
        port.confirm("sure?")
        event.set()
        return "confirmed"

    with looped() as world:
        world.ask(waiting_for(event))
        seq = world.ask(confirm)
        world.run(lambda: len(world.done) == 2)
    assert world.parts == [(seq, "sure?")]


def test_what_is_not_confirmed_ends_its_request() -> None:
    async def confirm(port: Any) -> None:
        port.confirm("sure?")

    with looped() as world:
        world.refuses = True
        seq = world.ask(confirm)
        world.run(lambda: world.failed)
    assert world.failed == [(seq, "RequestAbandoned()", ())]


def test_a_request_whose_part_is_refused_is_cancelled_and_nothing_more_is_told_of_it() -> None:
    ended: list[type[BaseException]] = []

    async def part(port: Any) -> None:
        port.part("a", PART_BOUND)
        try:
            await asyncio.sleep(0)
        except BaseException as error:
            ended.append(type(error))
            with pytest.raises(RequestAbandoned):
                port.part("b", 1)
            raise

    with looped() as world:
        world.refuses = True
        world.ask(part)
        world.run(lambda: ended)
        world.refuses = False
        after = world.ask(giving("after"))
        world.run(lambda: world.done)
    assert (ended, world.done, world.failed) == ([asyncio.CancelledError], {after: "after"}, [])


def test_a_request_that_takes_too_long_is_cancelled_alone() -> None:
    with looped() as world:
        slow = world.ask(forever)
        world.hand_out()
        world.settle()
        world.tick(TIMEOUT / 2)
        [(seq, seconds, stack)] = world.warned
        assert (seq, seconds) == (slow, TIMEOUT / 2)
        assert "create_future" in stack
        late = world.ask(giving("late"))
        world.hand_out()
        world.settle()
        world.tick(TIMEOUT / 2)
        world.run(lambda: world.overdue)
        [(seq, reason)] = world.overdue
        assert (seq, world.done) == (slow, {})
        assert isinstance(reason, DeadlineExceeded)
        assert "create_future" in reason.stack
        world.place.pass_by(0)
        world.run(lambda: world.done)
    assert (world.done, world.lost, world.abandoned) == ({late: "late"}, [], [])


def test_a_request_that_goes_on_though_it_was_cancelled_is_left_behind_alone() -> None:
    release = asyncio.Event()

    async def stubborn(port: Any) -> None:
        try:
            await forever(port)
        except asyncio.CancelledError:
            await release.wait()
        with pytest.raises(RequestAbandoned):
            port.part("late", 1)

    with looped() as world:
        slow = world.ask(stubborn)
        world.hand_out()
        world.settle()
        world.tick(TIMEOUT)
        world.run(lambda: world.overdue)
        [(seq, reason)] = world.overdue
        assert (seq, type(reason)) == (slow, DeadlineExceeded)
        assert len(world.abandoned[-1]) == 1
        assert "release.wait" in world.abandoned[-1][0]
        after = world.ask(setting(release))
        world.run(lambda: world.done)
        world.settle()
        assert world.abandoned[-1] == ()
    assert (world.done, world.parts, world.lost) == ({after: "set"}, [], [])


def test_time_at_the_gate_is_no_part_of_the_time_that_a_request_may_take() -> None:
    async def part(port: Any) -> str:
        port.part("a", PART_BOUND)
        await asyncio.sleep(0)
        return "done"

    with looped() as world:
        world.grants = False
        seq = world.ask(part)
        world.run(lambda: world.parts)
        world.settle()
        world.tick(5 * TIMEOUT)
        world.settle()
        world.grants = True
        world.grant()
        world.run(lambda: world.done)
    assert (world.done, world.overdue, world.warned) == ({seq: "done"}, [], [])


def test_a_request_that_blocks_the_loop_is_the_suspect_and_the_loop_is_given_up() -> None:
    entered = threading.Event()

    with looped() as world:

        async def block(_port: Any) -> None:
            entered.set()
            world.opened.wait(PATIENCE)

        before, blocking, behind = world.ask(forever), world.ask(block), world.ask(giving(1))
        world.hand_out()
        assert entered.wait(PATIENCE)
        world.tick(TIMEOUT)
        assert world.lost == []
        world.tick(BLOCKED_SECONDS)
        [(reason, lost)] = world.lost
        assert isinstance(reason, DeadlineExceeded)
        assert "opened.wait" in reason.stack
        assert lost == Lost(blocking, (before,), (behind,))
        assert len(world.abandoned[-1]) == 1
        world.place.start(0, None)
        world.run(lambda: world.ready == 2)
        again = world.ask(giving("again"))
        world.run(lambda: world.done)
        world.opened.set()
        world.run(lambda: world.abandoned[-1] == () or world.place.advance())
    assert world.done == {again: "again"}


def test_one_that_blocks_the_loop_within_its_own_time_is_told_of_what_it_blocked_for() -> None:
    entered = threading.Event()

    with looped(timeout=20.0) as world:

        async def block(_port: Any) -> None:
            entered.set()
            world.opened.wait(PATIENCE)

        world.ask(forever)
        world.hand_out()
        world.settle()
        world.tick(15.0)
        blocking = world.ask(block)
        world.hand_out()
        assert entered.wait(PATIENCE)
        world.tick(5.0)
        world.tick(BLOCKED_SECONDS)
        [(reason, lost)] = world.lost
        assert isinstance(reason, DeadlineExceeded)
        assert (reason.seconds, lost.suspect) == (BLOCKED_SECONDS, blocking)


def test_one_at_a_time_a_request_that_goes_on_is_given_up_with_its_loop() -> None:
    release = asyncio.Event()

    async def stubborn(port: Any) -> None:
        try:
            await forever(port)
        except asyncio.CancelledError:
            await release.wait()

    with looped(limit=1) as world:
        seq = world.ask(stubborn)
        world.hand_out()
        world.settle()
        world.tick(TIMEOUT)
        world.run(lambda: world.lost)
        [(reason, lost)] = world.lost
        assert (type(reason), lost) == (DeadlineExceeded, Lost(seq, (), ()))


def test_a_killed_loop_gives_all_back_and_cancels_it() -> None:
    with looped() as world:
        seqs = tuple(world.ask(forever) for _ in range(3))
        world.hand_out()
        world.settle()
        world.place.kill(0, Killed())
        assert world.lost == [(Killed(), Lost(None, seqs, ()))]
        assert world.place.workers() == ()
        world.place.start(0, None)
        world.run(lambda: world.ready == 2)
        with pytest.raises(InternalError, match="there is one"):
            world.place.start(0, None)
    assert world.ended == [CLOSED]


def test_a_loop_that_is_killed_is_left_behind_only_if_it_does_not_end_in_a_moment() -> None:
    for is_stubborn in (False, True):
        with looped() as world:
            entered = threading.Event()

            async def wait(port: Any, *, is_stubborn: bool = is_stubborn, entered: threading.Event = entered) -> None:
                entered.set()
                if is_stubborn:
                    world.opened.wait(PATIENCE)
                await forever(port)

            world.ask(wait)
            world.hand_out()
            assert entered.wait(PATIENCE)
            world.place.kill(0, Killed())
            assert [told for told in world.abandoned if told] == []
            world.place.close(5.0)
            if is_stubborn:
                assert not world.place.advance()
                assert not world.closed
                assert world.place.next_deadline() is not None
                world.tick(GOODBYE_SECONDS)
            world.run(lambda: world.closed)
            assert len([told for told in world.abandoned if told]) >= is_stubborn
            assert is_stubborn or not any(world.abandoned)


def test_a_loop_that_cannot_do_what_it_was_asked_to_is_given_up_and_what_it_runs_ends() -> None:
    ended: list[str] = []

    async def wait(port: Any) -> None:
        try:
            await forever(port)
        finally:
            ended.append("cancelled")

    with looped(is_ordered=False) as world:
        waiting = world.ask(wait)
        good = world.ask(giving("good"))
        Running.conclude, conclude = _raise, Running.conclude  # type: ignore[method-assign]
        try:
            world.hand_out()
            world.run(lambda: world.lost)
        finally:
            Running.conclude = conclude  # type: ignore[method-assign]
        [(reason, lost)] = world.lost
        assert isinstance(reason, Raised)
        assert "no conclusion" in str(reason)
        assert (lost, list(world.done)) == (Lost(None, (waiting,), ()), [good])
        world.place.start(0, None)
        world.run(lambda: world.ready == 2)
        world.close()
    assert ended == ["cancelled"]
    assert not any(world.abandoned)


def _raise(_running: Running, *, accepted: bool) -> None:
    raise ValueError("no conclusion")


def test_a_thousand_requests_that_are_cancelled_by_a_close_are_each_cancelled_once_and_none_is_left_behind() -> None:
    cancelled: list[int] = []

    def waiting(n: int) -> Work:
        async def wait(port: Any) -> None:
            try:
                await forever(port)
            except asyncio.CancelledError:
                cancelled.append(n)
                await asyncio.sleep(0)
                raise

        return wait

    with looped(limit=1_000) as world:
        seqs = [world.ask(waiting(n)) for n in range(1_000)]
        world.hand_out()
        world.settle()
        world.place.close(1.0)
        world.tick(1.0)
        world.run(lambda: world.closed)
    assert sorted(cancelled) == list(range(1_000))
    assert world.lost == [(CLOSED, Lost(None, tuple(seqs), ()))]
    assert (world.done, world.failed, world.abandoned, world.ended) == ({}, [], [], [CLOSED])


def test_a_close_lets_requests_end_in_their_order_and_cancels_what_takes_longer() -> None:
    event = asyncio.Event()
    with looped() as world:
        first, second, third = world.ask(waiting_for(event)), world.ask(setting(event)), world.ask(forever)
        behind = world.ask(giving("behind"))
        world.hand_out()
        world.place.close(5.0, Shutdown("enough"))
        world.run(lambda: len(world.done) == 2)
        world.settle()
        assert world.lost == []
        world.tick(5.0)
        world.run(lambda: world.closed)
    assert list(world.done) == [first, second]
    assert world.lost == [(CLOSED, Lost(None, (third, behind), ()))]
    assert world.ended == [Shutdown("enough")]
    assert world.settled == [True, True, False]


def test_a_close_cancels_at_once_what_waits_for_one_that_failed() -> None:
    with looped() as world:
        bad, slow = world.ask(failing("bad")), world.ask(forever)
        world.hand_out()
        world.run(lambda: world.failed)
        world.place.close(PATIENCE)
        world.run(lambda: world.closed)
    assert [seq for seq, _, _ in world.failed] == [bad]
    assert world.lost == [(CLOSED, Lost(None, (slow,), ()))]


def test_what_does_not_end_by_the_cancel_of_a_close_is_given_up() -> None:
    entered = threading.Event()

    with looped() as world:

        async def block(_port: Any) -> None:
            entered.set()
            world.opened.wait(PATIENCE)

        seq = world.ask(block)
        world.hand_out()
        assert entered.wait(PATIENCE)
        world.place.close(1.0)
        world.tick(1.0)
        assert world.lost == []
        world.tick(GOODBYE_SECONDS)
        [(reason, lost)] = world.lost
        assert isinstance(reason, Abandoned)
        assert lost == Lost(None, (seq,), ())
        world.run(lambda: world.closed)


def test_tasks_that_are_left_when_the_loop_ends_are_cancelled_and_its_threads_waited_for() -> None:
    ended: list[str] = []

    async def child() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.append("child")

    kept = []

    async def leave(_port: Any) -> None:
        kept.append(asyncio.create_task(child()))
        await asyncio.to_thread(lambda: None)

    with looped() as world:
        world.ask(leave)
        world.run(lambda: world.done)
        world.close()
    assert ended == ["child"]
    assert not any(thread.name.startswith("asyncio_") for thread in threading.enumerate())


def test_a_service_that_does_not_boot_is_told_of_as_a_failed_start() -> None:
    world = LoopWorld()
    world.place.start(0, LookupError("no such boot"))
    world.run(lambda: world.lost)
    [(reason, lost)] = world.lost
    assert isinstance(reason, StartFailed)
    assert lost == Lost(None, (), ())
    world.close()


def test_a_service_that_does_not_close_is_told_of() -> None:
    with looped() as world:
        service = world.place._loop._service  # type: ignore[union-attr]

        def close(reason: Reason) -> None:
            raise ValueError(reason)

        service.close = close  # type: ignore[union-attr, method-assign]
        world.close()
    [(reason, lost)] = world.lost
    assert isinstance(reason, Raised)
    assert lost == Lost(None, (), ())


def test_an_exit_in_a_task_ends_neither_the_loop_nor_the_program() -> None:
    async def leave() -> None:
        sys.exit(3)

    async def start(_port: Any) -> str:
        task = asyncio.create_task(leave())
        with pytest.raises(SystemExit):
            await task
        return "went on"

    with looped() as world:
        asked = world.ask(start)
        world.run(lambda: world.done)
        after = world.ask(giving("after"))
        world.run(lambda: after in world.done)
    assert world.done == {asked: "went on", after: "after"}


def test_an_aborted_place_tells_nobody() -> None:
    with looped() as world:
        world.ask(forever)
        world.hand_out()
        world.settle()
        world.place.abort()
        assert not world.place.advance()
        assert world.place.room(0) == 0
        world.closed = 1
    assert (world.lost, world.done, world.ended) == ([], {}, [])


@pytest.mark.processes
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("waits", [False, True])
def test_a_copy_that_a_request_makes_by_fork_ends_where_it_comes_back(waits: bool) -> None:
    async def fork(port: Any) -> Any:
        pid = os.fork()  # noqa: TID251  what a request does
        if pid == 0:
            if waits:
                port.part("of the copy", 1)
                await asyncio.sleep(0)
            return None
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])  # noqa: ASYNC222  it comes at once

    with looped() as world:
        seq = world.ask(fork)
        world.run(lambda: world.done)
    assert (world.done, world.parts) == ({seq: 0}, [])


def test_an_idle_loop_ends_at_once_though_it_gets_no_time() -> None:
    began = time.monotonic()
    with looped() as world:
        world.place.close(0.0)
        world.run(lambda: world.closed)
    assert (world.lost, world.ended) == ([], [CLOSED])
    assert time.monotonic() - began < PATIENCE


def test_a_loop_that_makes_steps_is_not_taken_for_blocked_however_long_a_cancel_takes() -> None:
    release = asyncio.Event()

    async def busy(_port: Any) -> None:
        while not release.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0)

    with looped() as world:
        loop = world.place._loop
        assert isinstance(loop, AsyncioLoop)
        loop._cancel_seconds = PATIENCE  # as if it had too much to do to tell of that
        slow = world.ask(busy)
        world.hand_out()
        world.settle()
        world.tick(TIMEOUT)
        for _ in range(3):
            before = loop.count_steps()
            while loop.count_steps() == before:
                world.settle()
            world.tick(BLOCKED_SECONDS)
            assert world.lost == []
        loop._order(release.set)
        world.run(lambda: world.overdue)
    assert [seq for seq, _ in world.overdue] == [slow]
