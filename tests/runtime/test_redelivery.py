"""Dead letters that are put back into a running job: handled in the end, once in effect, or refused by name."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from routilux import ErrorHandler, Flow, Job, Routine
from routilux.errors import JobEndedError, NotADeadLetterError, RoutineSkippedError, UnknownRoutineError
from routilux.turn.outbox import COUNT_BOUND

PLACEMENTS = ["thread", pytest.param("process", marks=pytest.mark.processes)]
CONTINUE = ErrorHandler("continue")


class Fragile(Routine):
    """Fails as long as a file is not there."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.file = file
        self.define_slot("input", handler=self.handle)
        self.define_event("done", ["n", "attempt", "redelivered"])

    def handle(self, n: int) -> None:
        self.state["seen"] = self.state.get("seen", 0) + 1
        if not self.file.exists():
            raise FileNotFoundError(self.file)
        self.emit("done", n=n, attempt=self.attempt, redelivered=self.redelivered)


def fragile(file: Path, placement: str, handler: ErrorHandler = CONTINUE) -> Flow:
    flow = Flow("fragile")
    flow.add_routine(Fragile(file), "fragile", placement=placement, error_handler=handler)
    flow.output("fragile", "done")
    return flow


def wait_until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        threading.Event().wait(0.005)


def send_and_lose(job: Job, count: int, routine_id: str = "fragile") -> None:
    for n in range(count):
        job.send(routine_id, "input", n=n)
    wait_until(lambda: len(job.dead_letters) == count)


def check_all_conserved(job: Job) -> None:
    assert all(count.is_conserved for count in job.state.connections)
    job.ledger.check()


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_messages_that_were_given_up_are_handled_once_their_cause_is_gone(tmp_path: Path, placement: str) -> None:
    file = tmp_path / "there"
    with fragile(file, placement).start(keep_open=True) as job:
        send_and_lose(job, 3)
        before = job.state
        assert before.routine_states["fragile"]["dead"] == 3
        file.touch()
        assert job.redeliver(before.dead_letters[1]) == 1
        assert job.redeliver(letter for letter in before.dead_letters if letter.data["n"] != 1) == 2
    state = job.state
    assert state.status == "completed", state.error
    assert state.results() == [{"n": n, "attempt": 1, "redelivered": True} for n in (1, 0, 2)]
    told = state.routine_states["fragile"]
    assert (told["handled"], told["failed"], told["dead"], told["state"]) == (3, 3, 0, {"seen": 3})
    assert state.dead_letters == []
    assert [letter.attempts for letter in before.dead_letters] == [1, 1, 1], "a snapshot stays what it was"
    assert [record.kind for record in state.history].count("redelivered") == 3
    check_all_conserved(job)


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_a_message_that_is_given_up_again_is_another_dead_letter(tmp_path: Path, placement: str) -> None:
    file = tmp_path / "there"
    handler = ErrorHandler("retry", max_retries=1, retry_delay=0.0, then="continue")
    with fragile(file, placement, handler).start(keep_open=True) as job:
        send_and_lose(job, 1)
        [first] = job.dead_letters
        assert job.redeliver(routine_id="fragile") == 1
        wait_until(lambda: job.dead_letters and job.dead_letters[0].message is not first.message)
        [second] = job.dead_letters
        assert (second.message.id, second.attempts) == (first.message.id, 2), "its tries are counted from the start"
        with pytest.raises(NotADeadLetterError, match="redelivered already"):
            job.redeliver(first)
        file.touch()
        assert job.redeliver(second, routine_id="fragile") == 1
    assert [item["n"] for item in job.state.results()] == [0]
    assert job.state.routine_states["fragile"]["failed"] == 4
    check_all_conserved(job)


class Streamer(Routine):
    """Emits so much in a turn that some of it goes out early, and then fails as long as it is told to."""

    def __init__(self, fails: threading.Event) -> None:
        super().__init__()
        self.fails = fails
        self.define_slot("input", handler=self.handle)
        self.define_event("number", ["n"])

    def handle(self, n: int) -> None:
        for number in range(COUNT_BOUND + 10):
            self.emit("number", n=number)
        if self.fails.is_set():
            raise ValueError(n)


def test_what_a_turn_had_let_out_before_it_was_given_up_comes_no_second_time() -> None:
    fails = threading.Event()
    fails.set()
    flow = Flow("stream")
    flow.add_routine(Streamer(fails), "streamer", error_handler=CONTINUE)
    flow.output("streamer", "number")
    with flow.start(keep_open=True) as job:
        send_and_lose(job, 1, "streamer")
        assert job.state.dead_letters[0].message.released >= COUNT_BOUND
        fails.clear()
        job.redeliver()
    assert [item["n"] for item in job.state.results()] == list(range(COUNT_BOUND + 10))


def test_what_cannot_be_put_back_is_told_by_name_and_nothing_is(tmp_path: Path) -> None:
    flow = fragile(tmp_path / "there", "thread")
    with flow.start(keep_open=True) as job, flow.start(keep_open=True) as other:
        send_and_lose(job, 2)
        send_and_lose(other, 1)
        given: Any = [*job.dead_letters, *other.dead_letters]
        with pytest.raises(NotADeadLetterError, match="another job's"):
            job.redeliver(given)
        with pytest.raises(NotADeadLetterError, match="a value of type str"):
            job.redeliver("abc")  # type: ignore[arg-type]
        with pytest.raises(UnknownRoutineError, match="fragile"):
            job.redeliver(routine_id="fragil")
        assert len(job.dead_letters) == 2
        assert job.redeliver([]) == 0
    with pytest.raises(JobEndedError, match="completed and takes nothing more: a dead letter"):
        job.redeliver()
    with pytest.raises(JobEndedError):
        job.redeliver(job.dead_letters)


def test_a_skipped_routine_keeps_its_dead_letter(tmp_path: Path) -> None:
    with fragile(tmp_path / "there", "thread", ErrorHandler("skip")).start(keep_open=True) as job:
        send_and_lose(job, 1)
        wait_until(lambda: job.state.routine_states["fragile"]["status"] == "skipped")
        with pytest.raises(RoutineSkippedError, match="'fragile'"):
            job.redeliver(job.dead_letters)
        assert job.redeliver() == 0
    assert job.state.routine_states["fragile"]["dead"] == 1


def test_a_closed_entry_does_not_matter_and_any_thread_may_do_it(tmp_path: Path) -> None:
    file, gate = tmp_path / "there", threading.Event()
    flow = fragile(file, "thread")
    flow.add_routine(Waiting(gate), "waiting")
    job = flow.start(keep_open=True)
    job.send("waiting", "input")
    send_and_lose(job, 4)
    job.close_entry()
    file.touch()
    counts: list[int] = []
    threads = [threading.Thread(target=lambda: counts.append(job.redeliver())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    gate.set()
    job.collect()
    assert sum(counts) == 4
    assert sorted(item["n"] for item in job.wait(30).results()) == [0, 1, 2, 3]
    check_all_conserved(job)


class Waiting(Routine):
    def __init__(self, gate: threading.Event) -> None:
        super().__init__()
        self.gate = gate
        self.define_slot("input", handler=self.handle)

    def handle(self) -> None:
        assert self.gate.wait(30)


@pytest.mark.parametrize("end", ["close", "cancel"])
def test_a_redelivery_that_races_with_the_end_is_whole_or_refused(tmp_path: Path, end: str) -> None:
    file = tmp_path / "there"
    flow = fragile(file, "thread")
    for _ in range(20):
        file.unlink(missing_ok=True)
        job = flow.start(keep_open=True)
        send_and_lose(job, 3)
        file.touch()
        start = threading.Barrier(2)
        told: list[int] = []

        def redeliver(job: Job = job, start: threading.Barrier = start, told: list[int] = told) -> None:
            start.wait()
            try:
                told.append(job.redeliver())
            except JobEndedError:
                told.append(0)

        thread = threading.Thread(target=redeliver)
        thread.start()
        start.wait()
        if end == "close":
            job.close_entry()
        else:
            job.cancel()
        thread.join()
        job.collect()
        state = job.wait(30)
        [count] = told
        stats = state.routine_states["fragile"]["stats"]
        assert count in {0, 3}
        assert stats["dead"] == 3 - count
        assert stats["handled"] + stats["waiting"] == count
        if end == "close":
            assert (state.status, stats["handled"]) == ("completed", count), state.error
        check_all_conserved(job)


def test_what_nobody_wants_any_more_is_let_go_and_counts_as_skipped(tmp_path: Path) -> None:
    with fragile(tmp_path / "there", "thread").start(keep_open=True) as job:
        send_and_lose(job, 4)
        first, *others = job.dead_letters
        assert job.discard(first) == 1
        with pytest.raises(NotADeadLetterError):
            job.discard([others[0], first])
        assert job.discard([]) == 0
        with pytest.raises(UnknownRoutineError):
            job.discard(routine_id="fragil")
        assert [letter.message.id for letter in job.dead_letters] == [letter.message.id for letter in others]
        assert job.discard(others[:2], routine_id="fragile") == 2
        assert job.discard() == 1
        check_all_conserved(job)
    state = job.state
    stats = state.routine_states["fragile"]["stats"]
    assert (stats["dead"], stats["skipped"], state.dead_letters) == (0, 4, [])
    assert [record.kind for record in state.history].count("discarded") == 4
    with pytest.raises(JobEndedError):
        job.discard()
