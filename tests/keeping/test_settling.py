"""Dead letters of a job that nobody runs, put back or let go: what a resume finds, and that all adds up."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from routilux import ErrorHandler, Flow, Job, Routine, batch
from routilux.errors import NotADeadLetterError, OptionError, RoutineSkippedError, UnknownRoutineError
from routilux.keeping.finding import latest
from routilux.keeping.saving import save
from routilux.keeping.settling import discard_kept, redeliver_kept
from routilux.keeping.verifying import verify
from routilux.stores import FileStore, this_process

BROKEN = threading.Event()


class Fragile(Routine):
    """Fails as long as it is to."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("input", handler=self.handle)
        self.define_event("done", ["n"])

    def handle(self, n: int) -> None:
        if BROKEN.is_set():
            raise ValueError(f"not now {n}")
        self.emit("done", n=n)


def fragile() -> Flow:
    flow = Flow("fragile")
    flow.add_routine(Fragile(), "fragile", error_handler=ErrorHandler("continue"))
    flow.output("fragile", "done")
    return flow


def await_that(holds: Callable[[], object]) -> None:
    never = threading.Event()
    while not holds():
        assert not never.wait(0.005)


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    """A store with a job of three dead letters, that nobody runs."""
    BROKEN.set()
    store = FileStore(tmp_path / "jobs")
    job = fragile().start(store=store, job_id="a", keep_open=True)
    for n in range(3):
        job.send("fragile", "input", n=n)
    await_that(lambda: len(job.dead_letters) == 3)
    job.leave()
    BROKEN.clear()
    return store


def settle(store: FileStore, how: Callable[..., int], *args: Any) -> int:
    lease = store.acquire("a", this_process(), create=False)
    try:
        return how(store, lease, *args)
    finally:
        lease.release()


def ids_in(store: FileStore) -> list[str]:
    return [letter.message.key.hex() for letter in latest(store, "a").image.routines[0].dead_letters]


def finish(store: FileStore, flow: Flow) -> Any:
    job: Job = Flow.resume(store, "a", flow=flow)
    job.close_entry()
    job.collect()
    return job.wait(20)


def test_what_is_put_back_is_tried_when_the_job_is_resumed(store: FileStore) -> None:
    ids = ids_in(store)
    assert settle(store, redeliver_kept, [ids[1][:12]]) == 1
    header = latest(store, "a").image.header
    assert (header.status, header.messages, header.routines[0].dead, header.cause) == ("paused", 1, 2, "asked")
    assert verify(store, "a") == []
    state = finish(store, fragile())
    assert state.results() == [{"n": 1}]
    assert [letter.message.id for letter in state.dead_letters] == [ids[0], ids[2]]
    assert state.routine_states["fragile"]["dead"] == 2
    assert all(count.is_conserved for count in state.connections)


def test_all_are_put_back_in_their_order(store: FileStore) -> None:
    assert settle(store, redeliver_kept, [], "fragile") == 3
    assert settle(store, redeliver_kept, []) == 0
    state = finish(store, fragile())
    assert state.results() == [{"n": 0}, {"n": 1}, {"n": 2}]
    assert state.dead_letters == []


def test_what_is_let_go_counts_as_skipped(store: FileStore) -> None:
    assert settle(store, discard_kept, ids_in(store)[:2]) == 2
    assert verify(store, "a") == []
    state = finish(store, fragile())
    figures = state.routine_states["fragile"]
    assert (figures["dead"], figures["skipped"], len(state.dead_letters)) == (1, 2, 1)
    assert all(count.is_conserved for count in state.connections)
    (count,) = [count for count in state.connections if count.dead]
    assert (count.dead, count.skipped) == (1, 2)


@pytest.mark.parametrize("how", [redeliver_kept, discard_kept])
def test_what_is_none_changes_nothing(store: FileStore, how: Callable[..., int]) -> None:
    before = latest(store, "a").image
    with pytest.raises(NotADeadLetterError, match=r"message 'zz' is not among .*: none has an id that begins so"):
        settle(store, how, [ids_in(store)[0], "zz"])
    with pytest.raises(UnknownRoutineError):
        settle(store, how, [], "fragil")
    assert latest(store, "a").image == before
    with pytest.raises(OptionError, match="begins the ids of 2 dead letters"):
        settle(store, how, [_common_beginning(store)])


def _common_beginning(store: FileStore) -> str:
    """Give two letters ids that begin alike, which ids do by chance alone."""
    lease = store.acquire("a", this_process(), create=False)
    image = latest(store, "a").image
    (routine,) = image.routines
    letters = [
        replace(letter, message=replace(letter.message, key=bytes([7] * 15 + [at])))
        for at, letter in enumerate(routine.dead_letters[:2])
    ]
    header = replace(image.header, generation=lease.generation, number=image.header.number + 1)
    save(store, lease, replace(image, header=header, routines=[replace(routine, dead_letters=letters)]))
    lease.release()
    return "0707"


SUMS: list[list[int]] = []


class Pairs(Routine):
    """Takes two at a time, and fails as long as it is to."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("input", handler=self.handle, merge_strategy=batch(2))

    def handle(self, n: list[int]) -> None:
        self.once("seen", lambda: SUMS.append(n))
        if BROKEN.is_set():
            raise ValueError("not now")
        self.state["pairs"] = [*self.state.get("pairs", ()), n]


def pairs() -> Flow:
    flow = Flow("pairs")
    flow.add_routine(Pairs(), "pairs", error_handler=ErrorHandler("continue"))
    return flow


@pytest.fixture
def paired(tmp_path: Path) -> FileStore:
    """A store with a job of a set of two that was given up, and of one that waits for another."""
    BROKEN.set()
    SUMS.clear()
    store = FileStore(tmp_path / "pairs")
    job = pairs().start(store=store, job_id="a", keep_open=True)
    for n in range(3):
        job.send("pairs", "input", n=n)
    await_that(lambda: len(job.dead_letters) == 2)
    job.leave()
    BROKEN.clear()
    return store


def test_a_set_that_comes_back_whole_is_the_set_it_was(paired: FileStore) -> None:
    assert settle(paired, redeliver_kept, []) == 2
    assert verify(paired, "a") == []
    state = finish(paired, pairs())
    assert state.routine_states["pairs"]["state"]["pairs"] == [[0, 1], [2]]
    assert SUMS == [[0, 1], [2]], "what it did once is not done again"
    assert all(count.is_conserved for count in state.connections)


def test_part_of_a_set_waits_for_others_again(paired: FileStore) -> None:
    assert settle(paired, redeliver_kept, ids_in(paired)[:1]) == 1
    state = finish(paired, pairs())
    assert sorted(n for pair in state.routine_states["pairs"]["state"]["pairs"] for n in pair) == [0, 2]
    assert len(state.dead_letters) == 1
    assert all(count.is_conserved for count in state.connections)


def test_a_skipped_routine_takes_nothing_back(tmp_path: Path) -> None:
    BROKEN.set()
    flow = Flow("fragile")
    flow.add_routine(Fragile(), "fragile", error_handler=ErrorHandler("skip"))
    store = FileStore(tmp_path / "jobs")
    job = flow.start(store=store, job_id="a", keep_open=True)
    job.send("fragile", "input", n=0)
    await_that(lambda: len(job.dead_letters) == 1)
    job.leave()
    with pytest.raises(RoutineSkippedError):
        settle(store, redeliver_kept, ids_in(store))
    assert settle(store, redeliver_kept, []) == 0
    assert settle(store, discard_kept, []) == 1
