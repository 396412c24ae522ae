"""Those who look on at a job: what they are told, that it ends with the job, and that none holds it up."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from routilux import ErrorHandler, Flow, Job, JobStatus, Routine, routine
from routilux.control import frames
from routilux.control.client import Answers, ask, asking
from routilux.control.errors import CommandRefusedError
from routilux.control.finding import RunningJob, find_running
from routilux.runtime.control import ASKING, WATCHERS
from routilux.runtime.logbook import Logbook
from routilux.runtime.watchers import LOOKED_AT, PASSINGS_KEPT, Lines
from routilux.stores import FileStore, MemoryStore

GATE = threading.Event()
BEGUN = threading.Event()


@pytest.fixture(autouse=True)
def runtime(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("r") / "routilux"
    monkeypatch.setattr("routilux.control.folder._folders", lambda: [folder])
    GATE.clear()
    BEGUN.clear()
    yield
    GATE.set()


@routine(events={"double": ["n"]})
def double(n: int) -> int:
    """Double a number, but for bad ones."""
    if n < 0:
        raise ValueError("below zero")
    return 2 * n


@routine
def wait(n: int) -> None:
    """Wait for the test."""
    BEGUN.set()
    assert GATE.wait(30)


@routine
async def wait_later(n: int) -> None:
    """Wait on a loop."""
    BEGUN.set()
    await asyncio.to_thread(GATE.wait, 30)


def start(handler: Any = double, **options: Any) -> tuple[Job, RunningJob]:
    flow = Flow("numbers")
    flow.add_routine(handler, "it", error_handler=ErrorHandler("continue"))
    job = flow.start(takes_commands=True, keep_open=True, **options)
    (found,) = find_running()
    return job, found


def read_until(answers: Answers, holds: Callable[[frames.Answer], bool]) -> list[frames.Answer]:
    read = [answers.read(10)]
    while not holds(read[-1]):
        read.append(answers.read(10))
    return read


def is_end(answer: frames.Answer) -> bool:
    return isinstance(answer, frames.Ended)


def await_dead(job: Job, count: int) -> None:
    never = threading.Event()
    while len(job.dead_letters) != count:
        assert not never.wait(0.005)


# ---- found, and steered without a store


def test_a_job_without_a_store_is_found_by_its_socket_and_steered() -> None:
    job, found = start()
    identity = found.identity
    assert (identity.job_id, identity.flow_id, identity.store) == (job.id, "numbers", "")
    assert identity.status in {"pending", "running"}  # its routines may not have begun
    assert ask(found.owner, frames.Pause(job.id)) == frames.Kept(checkpoint=None)
    assert find_running()[0].identity.status == "paused"
    assert ask(found.owner, frames.Resume(job.id)) == frames.Resumed(was_paused=True)
    for command in (frames.Checkpoint(job.id), frames.Leave(job.id)):
        with pytest.raises(CommandRefusedError, match="has no store") as raised:
            ask(found.owner, command)
        assert raised.value.kind == "NoStoreError"
    assert ask(found.owner, frames.Cancel(job.id)) == frames.Ended("cancelled", "cancelled")
    assert job.wait(10).status is JobStatus.CANCELLED
    assert find_running() == []


def test_a_job_takes_commands_if_it_is_asked_to_or_is_found_in_a_store(tmp_path: Path) -> None:
    flow = Flow("numbers")
    flow.add_routine(double, "it")
    for options, takes in (
        ({}, False),
        ({"store": tmp_path / "a"}, True),
        ({"store": tmp_path / "b", "takes_commands": False}, False),
        ({"takes_commands": True}, True),
        ({"store": MemoryStore()}, False),
        ({"store": MemoryStore(), "takes_commands": True}, True),
    ):
        with flow.start(keep_open=True, **options) as job:
            assert [found.identity.job_id for found in find_running()] == ([job.id] if takes else [])


def test_the_store_is_told_by_a_path_that_holds_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    job, found = start(store=FileStore("jobs"))
    assert found.identity.store == str(tmp_path / "jobs")
    job.cancel_and_wait()


# ---- looking on


def test_views_come_again_and_again_and_end_with_the_job() -> None:
    job, found = start()
    with asking(found.owner, frames.Look(job_id=job.id, seconds=frames.LEAST_SECONDS)) as answers:
        first, second = answers.read(10), answers.read(10)
        assert isinstance(first, frames.Seen)
        assert isinstance(second, frames.Seen)
        assert (first.view.job_id, first.view.routines[0].id, first.view.routines[0].rate) == (job.id, "it", None)
        assert second.view.routines[0].rate == 0.0
        job.cancel_and_wait("enough")
        assert read_until(answers, is_end)[-1] == frames.Ended("cancelled", "enough")


def test_one_view_is_one_answer() -> None:
    job, found = start()
    job.send("it", "input", n=-1)
    await_dead(job, 1)
    seen = ask(found.owner, frames.Look(job_id=job.id))
    assert isinstance(seen, frames.Seen)
    assert seen.view.routines[0].error == "raised ValueError: below zero"
    job.cancel_and_wait()


def test_what_passes_is_told_in_its_order_and_costs_nothing_afterwards() -> None:
    job, found = start()
    job.send("it", "input", n=1)
    never = threading.Event()
    while not job.state.routine_states["it"]["handled"]:
        assert not never.wait(0.005)
    with asking(found.owner, frames.Tap(job_id=job.id, routine="it")) as answers:
        assert answers.read(10) == frames.Passed(passings=[], missed=0)
        for n in range(3):
            job.send("it", "input", n=n)
        told: list[frames.Passing] = []
        while len(told) < 6:
            answer = answers.read(10)
            assert isinstance(answer, frames.Passed)
            told += answer.passings
        ins, outs = [p.text for p in told if p.is_in], [p.text for p in told if not p.is_in]
        assert (ins, outs) == (["n=0", "n=1", "n=2"], ["n=0", "n=2", "n=4"])
        assert {p.name for p in told if not p.is_in} == {"double"}
        assert all(len(p.message_id) == 32 for p in told if p.is_in)
        at = {("in" if p.is_in else "out", p.text): index for index, p in enumerate(told)}
        assert all(at["in", f"n={n}"] < at["out", f"n={2 * n}"] for n in range(3))
    (account,) = job.ledger.accounts
    while account.taps or account.watches:  # its visitor has gone
        assert not never.wait(0.005)
    job.close_entry()
    assert job.wait(10).routine_states["it"]["handled"] == 4


def test_a_tap_that_nobody_reads_holds_up_nothing_and_is_told_what_it_missed() -> None:
    job, found = start()
    count = 20 * PASSINGS_KEPT
    with asking(found.owner, frames.Tap(job_id=job.id, routine="it")) as answers:
        answers.read(10)
        for n in range(count):
            job.send("it", "input", n=n)
        never = threading.Event()
        while job.state.routine_states["it"]["handled"] < count:
            assert not never.wait(0.005)
        told = missed = 0
        while told + missed < 2 * count:
            answer = answers.read(10)
            assert isinstance(answer, frames.Passed)
            told, missed = told + len(answer.passings), missed + answer.missed
        assert told + missed == 2 * count
        assert missed > 0
    job.cancel_and_wait()


def test_lines_of_the_log_are_told_and_those_that_come_too() -> None:
    job, found = start()
    job.send("it", "input", n=-1)
    await_dead(job, 1)
    kept = ask(found.owner, frames.Logs(job_id=job.id))
    assert isinstance(kept, frames.Logged)
    (line,) = kept.lines
    assert (line.routine, line.level) == ("it", "WARNING")
    assert "raised ValueError: below zero" in line.text
    with asking(found.owner, frames.Logs(job_id=job.id, routine="it", last=0, follow=True)) as answers:
        assert answers.read(10) == frames.Logged(lines=[], missed=0)
        job.send("it", "input", n=-2)
        answer = answers.read(10)
        assert isinstance(answer, frames.Logged)
        assert len(answer.lines) == 1
        job.cancel_and_wait()
        assert read_until(answers, is_end)
    job.wait(10)


def test_all_that_was_kept_is_told_and_then_it_is_over() -> None:
    job, found = start()
    with asking(found.owner, frames.Logs(job_id=job.id)) as answers:
        assert answers.read(10) == frames.Logged(lines=[], missed=0, is_all=True)
    job.cancel_and_wait()


@pytest.mark.parametrize(("last", "first"), [(3, LOOKED_AT), (None, 0)])
def test_lines_that_come_while_the_log_is_told_are_for_those_who_follow(last: int | None, first: int) -> None:
    logbook = Logbook("a-job")
    for n in range(LOOKED_AT + 3):
        logbook.add("INFO", str(n))
    once, follower = (Lines(logbook, "", last, lambda: None, follow=follow) for follow in (False, True))
    told: list[str] = []
    while not once.is_over and len(told) < 2 * LOOKED_AT:
        logbook.add("INFO", "later")  # as fast as they are told: it is over all the same
        told += texts_of(once.take())
    assert told == [str(n) for n in range(first, LOOKED_AT + 3)]
    followed = [text for _answer in range(2) for text in texts_of(follower.take())]
    assert followed[: len(told)] == told
    assert set(followed[len(told) :]) == {"later"}
    follower.close()


def texts_of(answer: frames.Answer | None) -> list[str]:
    assert isinstance(answer, frames.Logged)
    return [line.text for line in answer.lines]


def test_too_many_that_look_on_are_refused_and_commands_still_taken() -> None:
    job, found = start()
    watching = []
    for _ in range(WATCHERS):
        visitor = _connect(found)
        visitor.sendall(frames.to_frame(frames.Tap(job_id=job.id, routine="it")))
        assert visitor.recv(2) == b"RC"
        watching.append(visitor)
    with pytest.raises(CommandRefusedError, match="look on at job"):
        ask(found.owner, frames.Look(job_id=job.id), 10)
    assert isinstance(ask(found.owner, frames.Status(job.id), 10), frames.Now)
    for visitor in watching:
        visitor.close()
    job.cancel_and_wait()


@routine
def fail_loudly(n: int) -> None:
    """Fail with much to tell."""
    raise ValueError("!" * 400)


def have_much_to_tell(job: Job) -> None:
    """Let there be more letters, and lines, than a socket holds."""
    for n in range(1_000):
        job.send("it", "input", n=n)
        logging.getLogger("routilux").info("?" * 4_000, extra={"job_id": job.id})
    never = threading.Event()
    while len(job.dead_letters) < 1_000:
        assert not never.wait(0.02)


def wait_sent_away(visitor: socket.socket) -> None:
    poll = select.poll()
    poll.register(visitor, 0)
    assert poll.poll(10_000), "it was sent away"


def test_one_that_asks_and_does_not_read_is_sent_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("routilux.runtime.control.ANSWER_SECONDS", 0.05)
    monkeypatch.setattr("routilux.runtime.control.WATCH_SECONDS", 0.05)
    job, found = start(fail_loudly)
    logging.getLogger("routilux").setLevel(logging.INFO)
    try:
        have_much_to_tell(job)
    finally:
        logging.getLogger("routilux").setLevel(logging.NOTSET)
    for command in (frames.Letters(job_id=job.id), frames.Logs(job_id=job.id, follow=True)):
        with _connect(found) as visitor:
            visitor.sendall(frames.to_frame(command))
            wait_sent_away(visitor)
    job.cancel_and_wait()


def test_those_who_ask_leave_places_for_commands() -> None:
    job, found = start(fail_loudly)
    have_much_to_tell(job)
    with ExitStack() as others:
        for _ in range(ASKING):
            visitor = others.enter_context(_connect(found))
            visitor.sendall(frames.to_frame(frames.Letters(job_id=job.id)))
            assert visitor.recv(2) == b"RC"
        with pytest.raises(CommandRefusedError, match="ask or look on at job"):
            ask(found.owner, frames.Status(job.id), 10)
        assert isinstance(ask(found.owner, frames.Who(), 10), frames.Identity)
        assert isinstance(ask(found.owner, frames.Cancel(job.id), 10), frames.Ended)
    job.wait(10)


def test_one_that_says_more_is_sent_away() -> None:
    job, found = start()
    with _connect(found) as visitor:
        visitor.sendall(frames.to_frame(frames.Tap(job_id=job.id, routine="it")))
        assert visitor.recv(1)
        visitor.sendall(b"more")
        while visitor.recv(4096):
            pass
    assert isinstance(ask(found.owner, frames.Status(job.id), 10), frames.Now)
    job.cancel_and_wait()


def test_what_there_is_not_is_refused_with_what_there_is() -> None:
    job, found = start()
    for command in (
        frames.Tap(job_id=job.id, routine="its"),
        frames.Logs(job_id=job.id, routine="its"),
        frames.Stacks(job_id=job.id, routine="its"),
        frames.Letters(job_id=job.id, routine="its"),
        frames.Redeliver(job_id=job.id, routine="its"),
        frames.Discard(job_id=job.id, routine="its"),
    ):
        with pytest.raises(CommandRefusedError, match=r"no routine 'its'.*'it'"):
            ask(found.owner, command, 10)
    job.cancel_and_wait()


# ---- dead letters


def test_dead_letters_are_listed_put_back_and_let_go_by_the_beginnings_of_their_ids() -> None:
    job, found = start()
    for n in range(4):
        job.send("it", "input", n=-1 - n)
    await_dead(job, 4)
    told = ask(found.owner, frames.Letters(job_id=job.id))
    assert isinstance(told, frames.LettersTold)
    assert (told.count, [letter.routine for letter in told.letters]) == (4, ["it"] * 4)
    assert abs(told.letters[0].at - time.time()) < 600
    ids = [letter.message_id for letter in told.letters]
    assert ids == [letter.message.id for letter in job.dead_letters]
    with pytest.raises(CommandRefusedError, match="is not among the dead letters") as raised:
        ask(found.owner, frames.Redeliver(job_id=job.id, ids=[ids[0], "nothing"]))
    assert raised.value.kind == "NotADeadLetterError"
    with pytest.raises(CommandRefusedError, match="is not among the dead letters"):
        ask(found.owner, frames.Discard(job_id=job.id, ids=[""]))
    assert ask(found.owner, frames.Discard(job_id=job.id, ids=[ids[0][:20], ids[0]])) == frames.Settled(count=1)
    assert ask(found.owner, frames.Redeliver(job_id=job.id, ids=ids[1:2])) == frames.Settled(count=1)
    await_dead(job, 3)  # it was given up again
    assert ask(found.owner, frames.Redeliver(job_id=job.id, routine="it")) == frames.Settled(count=3)
    await_dead(job, 3)
    assert ask(found.owner, frames.Discard(job_id=job.id)) == frames.Settled(count=3)
    job.close_entry()
    state = job.wait(10)
    assert (state.routine_states["it"]["skipped"], state.dead_letters) == (4, [])
    assert all(count.is_conserved for count in state.connections)


# ---- stacks


@pytest.mark.parametrize(("handler", "where"), [(wait, "GATE.wait(30)"), (wait_later, "asyncio.to_thread")])
def test_a_handler_that_waits_is_shown_where_it_waits(handler: Any, where: str) -> None:
    job, found = start(handler)
    job.send("it", "input", n=1)
    assert BEGUN.wait(10)
    told = ask(found.owner, frames.Stacks(job_id=job.id))
    assert isinstance(told, frames.StacksTold)
    (stack,) = told.stacks
    assert where in stack.text
    assert (stack.routine, stack.worker) == ("it", None)
    assert len(stack.message_id) == 32
    GATE.set()
    job.close_entry()
    job.wait(10)


def test_a_routine_at_rest_is_told_as_such() -> None:
    job, found = start()
    told = ask(found.owner, frames.Stacks(job_id=job.id, routine="it"))
    assert isinstance(told, frames.StacksTold)
    assert [(stack.routine, stack.text, stack.message_id) for stack in told.stacks] == [("it", "", "")]
    job.cancel_and_wait()


@routine(events={"number": ["n"]})
def count_all() -> Iterator[int]:
    """Give numbers without end."""
    yield from itertools.count()


class Counter(Routine):
    """Emits numbers without end."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("trigger", handler=self.go)
        self.define_event("number", ["n"])

    def go(self) -> None:
        for n in itertools.count():
            self.emit("number", n=n)


@pytest.mark.parametrize(("source", "where"), [(count_all, ""), (Counter(), 'self.emit("number", n=n)')])
def test_a_source_that_has_no_room_below_it_is_told_to_be_held_back(source: Any, where: str) -> None:
    flow = Flow("numbers")
    flow.add_routine(source, "source", atomic=False)
    flow.add_routine(wait, "slow", capacity=4)
    flow.connect("source", "number", "slow", "input")
    with flow.start("source", takes_commands=True) as job:
        (found,) = find_running()
        assert BEGUN.wait(10)
        never = threading.Event()
        told = None
        while told is None or not told.held_by:  # it is pressed before it comes to the wait
            assert not never.wait(0.005)
            answer = ask(found.owner, frames.Stacks(job_id=job.id))
            assert isinstance(answer, frames.StacksTold)
            told, other = answer.stacks
        assert (told.routine, told.held_by, other.held_by) == ("source", ("slow",), ())
        assert where in told.text
        assert len(told.message_id) == 32
        job.cancel(shutdown=0.0)
        GATE.set()


@pytest.mark.processes
def test_workers_that_are_stopped_hold_up_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("routilux.runtime.routine_actor.STACK_PATIENCE", 0.1)
    flow = Flow("numbers")
    flow.add_routine(double, "it", placement="process")
    with flow.start(takes_commands=True, keep_open=True) as job:
        (found,) = find_running()
        never = threading.Event()
        while (pid := job.ledger.accounts[0].pids[0]) is None:
            assert not never.wait(0.005)
        os.kill(pid, signal.SIGSTOP)
        try:
            told = ask(found.owner, frames.Stacks(job_id=job.id), 20)
        finally:
            os.kill(pid, signal.SIGCONT)
        assert isinstance(told, frames.StacksTold)
        assert [stack.where for stack in told.stacks] in ([f"pid {pid}"], [])


def _connect(found: RunningJob) -> socket.socket:
    visitor = socket.socket(socket.AF_UNIX)
    visitor.settimeout(10)
    visitor.connect(found.owner.control)
    return visitor
