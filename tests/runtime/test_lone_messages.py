"""A message that comes alone is handed to its worker by who sends it, whatever happens to the job meanwhile."""

from __future__ import annotations

import os
import signal
import threading
from functools import partial
from typing import Any

import pytest

from routilux import ErrorHandler, Flow, Job, Routine
from supervisors.life import Life
from supervisors.parking import Poller

pytestmark = pytest.mark.processes

TRIPS = 300


class Echo(Routine):
    """Answers each message with the same, and tells its process."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("input", handler=self.handle)
        self.define_event("answer", ["n", "pid"])

    def handle(self, n: int) -> None:
        self.emit("answer", n=n, pid=os.getpid())


class Length(Routine):
    """Answers each text with its length."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("input", handler=self.handle)
        self.define_event("answer", ["n"])

    def handle(self, text: str) -> None:
        self.emit("answer", n=len(text))


def start(**options: Any) -> Job:
    flow = Flow("echo")
    flow.add_routine(Echo(), "server", placement="process", **options)
    flow.output("server", "answer")
    return flow.start(keep_open=True)


def life_of(job: Job) -> Life:
    """Give the life of the server's actor, once that sleeps."""
    hand_out_here = job.ledger.accounts[0].hand_out_here
    assert isinstance(hand_out_here, partial)
    life = hand_out_here.func.__self__  # type: ignore[attr-defined]  # a bound method
    assert isinstance(life, Life)
    assert isinstance(life.parker, Poller)
    with life.parker.seat:
        return life


def finish(job: Job) -> None:
    job.close_entry()
    state = job.wait(timeout=60)
    assert state.status == "completed", state.error
    assert all(connection.is_conserved for connection in state.connections)


def test_a_message_to_a_worker_that_has_none_leaves_on_its_senders_thread() -> None:
    with start() as job:
        results = job.results()
        job.send("server", "input", n=0)
        next(results)
        account = job.ledger.accounts[0]
        life_of(job)
        hand_out_here, told = account.hand_out_here, list[tuple[bool, int]]()

        def hand_out() -> bool:
            was_handed_out = hand_out_here()
            told.append((was_handed_out, len(account.mailbox)))
            return was_handed_out

        account.hand_out_here = hand_out
        job.send("server", "input", n=1)
        assert next(results)["n"] == 1
        assert told == [(True, 0)]


def test_a_message_to_a_worker_that_has_one_is_left_to_the_actor() -> None:
    with start() as job:
        results = job.results()
        job.send("server", "input", n=0)
        next(results)
        life = life_of(job)
        account = job.ledger.accounts[0]
        os.kill(int(account.pids[0] or 0), signal.SIGSTOP)
        try:
            job.send("server", "input", n=1)
            assert account.has_in_hand
            life_of(job)
            with life.mailbox.lock:
                assert life.mailbox.ring_held()
            assert not account.hand_out_here()
            life.mailbox.unpark()
        finally:
            os.kill(int(account.pids[0] or 0), signal.SIGCONT)
        assert next(results)["n"] == 1


@pytest.mark.parametrize("size", [300_000, 3_000_000])
def test_a_lone_message_that_is_more_than_the_channel_takes_is_written_to_its_end(size: int) -> None:
    flow = Flow("lengths")
    flow.add_routine(Length(), "server", placement="process")
    flow.output("server", "answer")
    with flow.start(keep_open=True) as job:
        results = job.results()
        for _ in range(5):
            job.send("server", "input", text="x" * size)
            assert next(results) == {"n": size}
        finish(job)


def test_each_lone_message_is_answered_once_however_often_the_job_is_paused() -> None:
    over = threading.Event()
    with start() as job:

        def pause_and_resume() -> None:
            while not over.is_set():
                job.pause()
                job.resume()

        pausing = threading.Thread(target=pause_and_resume)
        pausing.start()
        try:
            results = job.results()
            for n in range(TRIPS):
                job.send("server", "input", n=n)
                assert next(results)["n"] == n
        finally:
            over.set()
            pausing.join(60)
        finish(job)


def test_each_lone_message_is_answered_once_whoever_is_killed() -> None:
    handler = ErrorHandler("retry", retry_delay=0.0, max_retries=100)
    with start(error_handler=handler, max_restarts=1_000) as job:
        results = job.results()
        pids = set()
        for n in range(TRIPS):
            job.send("server", "input", n=n)
            answer = next(results)
            assert answer["n"] == n
            pids.add(answer["pid"])
            if n % 30 == 0:
                os.kill(answer["pid"], signal.SIGKILL)
        assert len(pids) > 1
        finish(job)


def test_lone_messages_of_several_senders_are_each_answered_once() -> None:
    with start() as job:

        def send(first: int) -> None:
            for n in range(first, first + TRIPS):
                job.send("server", "input", n=n)

        senders = [threading.Thread(target=send, args=(number * TRIPS,)) for number in range(4)]
        for sender in senders:
            sender.start()
        results = job.results()
        answers = [next(results)["n"] for _ in range(4 * TRIPS)]
        for sender in senders:
            sender.join(60)
        assert sorted(answers) == list(range(4 * TRIPS))
        for number in range(4):
            own = [n for n in answers if n // TRIPS == number]
            assert own == sorted(own)
        finish(job)


def test_the_actor_is_not_held_by_what_it_has_given_out_when_it_has_ended() -> None:
    with start() as job:
        account = job.ledger.accounts[0]
        finish(job)
    assert not isinstance(account.hand_out_here, partial)
    assert not account.hand_out_here()
