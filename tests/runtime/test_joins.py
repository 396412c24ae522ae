"""Turns that handle several messages, in whole jobs: joins in step, batches, the latest of each, and the end."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from routilux import ErrorHandler, Flow, Routine, batch, routine
from routilux.errors import EntryError
from routilux.routing import compile_plan
from routilux.turn import outbox
from tests.runtime.kept import STORES, finish, wait_until

PLACEMENTS: dict[str, dict[str, Any]] = {
    "thread": {},
    "process": {"placement": "process"},
    "pool": {"placement": "process", "workers": 2},
}
everywhere = [pytest.param(options, id=name) for name, options in PLACEMENTS.items()]


class Numbers(Routine):
    """Emits the numbers below one."""

    def __init__(self, event: str = "number") -> None:
        super().__init__()
        self.event = event
        self.define_slot("trigger", self.count)
        self.define_event(event, ["n"])

    def count(self, upto: int = 0) -> None:
        for n in range(upto):
            self.emit(self.event, n=n)


class Together(Routine):
    """Takes messages together, and does to the first of them what a file says."""

    def __init__(self, strategy: Any, file: str = "", fails_at: int = -1) -> None:
        super().__init__()
        self.file = file
        self.fails_at = fails_at
        self.define_slot("input", self.handle, strategy)
        self.define_event("done", ["n", "attempt"])

    def handle(self, n: list[int]) -> None:
        self.state["turns"] = self.state.get("turns", 0) + 1
        if self.fails_at in n and self.attempt == 1:
            if self.file == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if not self.file or not Path(self.file).exists():
                raise ValueError(n)
        self.emit("done", n=n, attempt=self.attempt)


def batches(together: Together, **options: Any) -> Flow:
    flow = Flow("batches")
    flow.add_routine(Numbers(), "numbers")
    flow.add_routine(together, "together", **options)
    flow.connect("numbers", "number", "together", "input")
    flow.output("together", "done")
    return flow


def results(state: Any) -> list[dict[str, Any]]:
    [items] = state.outputs.values()
    return list(items)


@pytest.mark.processes
@pytest.mark.parametrize("options", everywhere)
def test_a_batch_is_one_turn_for_many_messages_and_the_last_one_is_as_long_as_it_is(options: dict[str, Any]) -> None:
    state = batches(Together(batch(4)), **options).execute("numbers", {"upto": 10})
    assert state.status == "completed", state.error
    got = sorted(item["n"] for item in results(state))
    assert got == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    stats = state.routine_states["together"]["stats"]
    assert (stats["handled"], stats["merged"], stats["emitted"]) == (10, 7, 3)
    assert state.tracker.get_routine_performance("together").executions == 3


@pytest.mark.processes
@pytest.mark.parametrize("options", everywhere)
def test_a_failed_batch_is_tried_again_with_the_same_messages(options: dict[str, Any]) -> None:
    handler = ErrorHandler("retry", max_retries=2, retry_delay=0.01)
    state = batches(Together(batch(4), fails_at=5), error_handler=handler, **options).execute("numbers", {"upto": 12})
    assert state.status == "completed", state.error
    got = {tuple(item["n"]): item["attempt"] for item in results(state)}
    assert got == {(0, 1, 2, 3): 1, (4, 5, 6, 7): 2, (8, 9, 10, 11): 1}
    stats = state.routine_states["together"]["stats"]
    assert (stats["failed"], stats["retries"], stats["dead"]) == (1, 1, 0)


@pytest.mark.processes
@pytest.mark.parametrize("options", everywhere)
def test_a_batch_that_is_given_up_costs_its_messages_alone_and_each_can_be_put_back(options: dict[str, Any]) -> None:
    flow = batches(Together(batch(4), fails_at=5), error_handler=ErrorHandler("continue"), **options)
    with flow.start("numbers", {"upto": 12}, keep_open=True) as job:
        wait_until(lambda: len(job.dead_letters) == 4)
        assert sorted(letter.data["n"] for letter in job.dead_letters) == [4, 5, 6, 7]
        together = job.dead_letters
        # As it comes again it is another message, and with another one in its place another set.
        job.redeliver(together[:3])
        job.put("together", "input", {"n": 99})
    state = job.state
    got = sorted(item["n"] for item in results(state))
    assert [0, 1, 2, 3] in got
    assert [8, 9, 10, 11] in got
    assert state.routine_states["together"]["dead"] in {1, 4 + 1}  # the one with 5 in it fails again at its first try
    assert all(count.is_conserved for count in state.connections)


@pytest.mark.processes
@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_worker_costs_its_batch_a_try(workers: int) -> None:
    handler = ErrorHandler("retry", max_retries=2, retry_delay=0.0)
    flow = batches(Together(batch(4), "kill", fails_at=5), error_handler=handler, placement="process", workers=workers)
    state = flow.execute("numbers", {"upto": 12})
    assert state.status == "completed", state.error
    assert {tuple(item["n"]): item["attempt"] for item in results(state)}[4, 5, 6, 7] == 2
    # With a second worker the job may be over before the first is replaced.
    assert state.routine_states["together"]["restarts"] in ({1} if workers == 1 else {0, 1})
    assert sum(len(item["n"]) for item in results(state)) == 12


@pytest.mark.processes
@pytest.mark.parametrize("placement", ["thread", "process"])
@pytest.mark.parametrize("store", STORES)
def test_a_job_that_was_stopped_by_a_batch_goes_on_with_the_same_one(
    tmp_path: Path, store: str, placement: str
) -> None:
    file, kept = tmp_path / "mended", STORES[store](tmp_path / "jobs")
    flow = batches(Together(batch(4), str(file), fails_at=5), placement=placement)
    job = flow.start("numbers", {"upto": 10}, store=kept)
    assert finish(job).status == "failed"
    file.touch()
    state = finish(Flow.resume(kept, job.id, flow=flow))
    assert state.status == "completed", state.error
    assert [item["n"] for item in results(state)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


@pytest.mark.parametrize("store", STORES)
def test_what_waits_for_others_is_kept_over_a_pause_and_goes_on_elsewhere(tmp_path: Path, store: str) -> None:
    kept = STORES[store](tmp_path / "jobs")
    flow = batches(Together(batch(4)))
    job = flow.start("numbers", {"upto": 6}, store=kept, keep_open=True)
    wait_until(lambda: job.state.routine_states["together"]["stats"]["merging"] == 2)
    job.pause()
    state = job.leave()
    [count] = [count for count in state.connections if count.label == "numbers.number -> together.input"]
    assert (count.handled, count.merging, count.is_conserved) == (4, 2, True)

    again = Flow.resume(kept, job.id, flow=flow)
    assert again.state.routine_states["together"]["stats"]["merging"] == 2
    again.send("together", "input", n=6)
    again.send("together", "input", n=7)
    again.send("together", "input", n=8)
    state = finish(again)
    assert [item["n"] for item in results(state)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8]]


def test_a_batch_that_waits_for_others_is_handed_over_when_its_time_is_over() -> None:
    with batches(Together(batch(1_000, 0.05))).start("numbers", {"upto": 3}, keep_open=True) as job:
        assert next(job.results()) == {"n": [0, 1, 2], "attempt": 1}
        job.send("together", "input", n=3)
        assert next(job.results()) == {"n": [3], "attempt": 1}


def test_rows_go_into_one_parameter_if_that_is_asked_for() -> None:
    @routine(events={"output": ["value"]}, merge_strategy=batch(2, into="rows"))
    def store(rows: list[dict[str, int]]) -> int:
        return sum(row["n"] for row in rows)

    flow = Flow("rows")
    flow.add_routine(Numbers(), "numbers")
    flow.add_routine(store, "store")
    flow.connect("numbers", "number", "store", "input")
    flow.output("store", "output")
    state = flow.execute("numbers", {"upto": 5})
    assert [item["value"] for item in results(state)] == [1, 5, 4]


class Pair(Routine):
    def __init__(self, strategy: str = "all") -> None:
        super().__init__()
        self.define_slot("input", self.handle, strategy)
        self.define_event("pair", ["left", "right"])

    def handle(self, left: int, right: int) -> None:
        self.emit("pair", left=left, right=right)


def pairs(strategy: str, lefts: int, rights: int, **options: Any) -> Any:
    """Run a flow of two sources into a pair; gives its job, which is over."""
    flow = Flow("pairs")
    flow.add_routine(Numbers(), "a")
    flow.add_routine(Numbers(), "b")
    flow.add_routine(Pair(strategy), "pair", **options)
    flow.connect("a", "number", "pair", "input", {"n": "left"})
    flow.connect("b", "number", "pair", "input", {"n": "right"})
    flow.output("pair", "pair")
    with flow.start(keep_open=True) as job:
        job.send("a", "trigger", upto=lefts)
        job.send("b", "trigger", upto=rights)
    return job


@pytest.mark.processes
@pytest.mark.parametrize("options", everywhere)
def test_what_finds_no_partner_is_told_at_the_end_as_dead_letters(
    options: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    job = pairs("all", 3, 5, **options)
    assert job.state.status == "completed"
    assert job.state.routine_states["pair"]["status"] == "error_continued"
    assert sorted((item["left"], item["right"]) for item in results(job.state)) == [(0, 0), (1, 1), (2, 2)]
    assert [letter.data for letter in job.dead_letters] == [{"n": 3}, {"n": 4}]
    [cause] = {letter.cause for letter in job.dead_letters}
    assert cause == (
        "raised JoinError: slot 'input' takes one message of each connection, and no other came by "
        "a.number -> pair.input"
    )
    records = [record for record in job.state.get_execution_history("pair") if record.kind == "unjoined"]
    assert len(records) == 2
    assert caplog.messages == [f"routine 'pair', at the end: {cause}; given up (2 dead letters)"]


def test_a_side_that_is_ahead_waits_for_the_other_in_bounded_memory() -> None:
    job = pairs("all", 400, 200, capacity=10)
    stats = job.state.routine_states["pair"]["stats"]
    assert (stats["handled"], stats["dead"]) == (400, 200)
    assert job.state.status == "completed"


class Relay(Routine):
    """Hands numbers on, one a turn."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("input", self.handle)
        self.define_event("number", ["n"])

    def handle(self, n: int) -> None:
        self.emit("number", n=n)


@pytest.mark.processes
@pytest.mark.parametrize("options", everywhere)
@pytest.mark.parametrize("streams", [False, True])
def test_a_side_that_is_ahead_is_not_held_back_for_one_that_has_come_to_its_end(
    options: dict[str, Any], streams: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if streams:  # the long side waits in the middle of a turn
        monkeypatch.setattr(outbox, "COUNT_BOUND", 2)
    flow = Flow("lengths")
    flow.add_routine(Numbers(), "long")
    flow.add_routine(Numbers(), "short")
    flow.add_routine(Relay(), "relay")
    flow.add_routine(Pair("all"), "pair", capacity=2, **options)
    flow.connect("long", "number", "relay", "input")
    flow.connect("relay", "number", "pair", "input", {"n": "left"})
    flow.connect("short", "number", "pair", "input", {"n": "right"})
    with flow.start(keep_open=True) as job:
        job.send("long", "trigger", upto=2_000)
        job.send("short", "trigger", upto=3)
    stats = job.state.routine_states["pair"]["stats"]
    assert (job.state.status, stats["handled"], stats["dead"]) == ("completed", 6, 1_997)


@pytest.mark.parametrize("store", STORES)
def test_a_side_that_was_held_back_goes_on_in_a_job_that_is_resumed(tmp_path: Path, store: str) -> None:
    kept = STORES[store](tmp_path / "jobs")
    flow = Flow("lengths")
    flow.add_routine(Numbers(), "long")
    flow.add_routine(Numbers(), "short")
    flow.add_routine(Relay(), "relay")
    flow.add_routine(Pair("all"), "pair", capacity=2)
    flow.connect("long", "number", "relay", "input")
    flow.connect("relay", "number", "pair", "input", {"n": "left"})
    flow.connect("short", "number", "pair", "input", {"n": "right"})
    job = flow.start(keep_open=True, store=kept)
    job.send("long", "trigger", upto=2_000)
    wait_until(lambda: job.state.routine_states["pair"]["stats"]["merging"] >= 2)
    job.pause()
    job.close_entry()
    job.leave()
    state = finish(Flow.resume(kept, job.id, flow=flow))
    assert (state.status, state.routine_states["pair"]["dead"]) == ("completed", 2_000)


class TwoEvents(Routine):
    """Emits so many numbers to one side, then so many to the other."""

    def __init__(self, *events: str) -> None:
        super().__init__()
        self.events_in_order = events
        self.define_slot("trigger", self.count)
        for event in events:
            self.define_event(event, ["n"])

    def count(self, upto: int) -> Any:
        for event in self.events_in_order:
            for n in range(upto):
                self.emit(event, n=n)
                yield


def test_two_joins_of_which_each_waits_for_the_side_that_the_other_holds_back_come_to_the_end() -> None:
    flow = Flow("crossing")
    flow.add_routine(TwoEvents("one", "two"), "a")
    flow.add_routine(TwoEvents("two", "one"), "b")
    for name in ("one", "two"):
        flow.add_routine(Pair("all"), name, capacity=2)
        flow.connect("a", name, name, "input", {"n": "left"})
        flow.connect("b", name, name, "input", {"n": "right"})
    assert all(not join.pressing for routine in compile_plan(flow).routines for join in routine.joins)
    with flow.start(keep_open=True) as job:
        job.send("a", "trigger", upto=20)
        job.send("b", "trigger", upto=20)
    assert job.state.status == "completed"
    assert [job.state.routine_states[name]["stats"]["handled"] for name in ("one", "two")] == [40, 40]


def test_the_latest_of_each_comes_with_each_message() -> None:
    got = results(pairs("latest", 3, 2).state)
    # In which order the two sides come is not said; both begin with their first.
    assert got[-1] == {"left": 2, "right": 1}
    assert len(got) in {4, 3, 2}
    for before, after in itertools.pairwise(got):
        assert (after["left"] - before["left"], after["right"] - before["right"]) in {(0, 1), (1, 0)}


@pytest.mark.parametrize("strategy", ["all", "latest"])
def test_nothing_can_be_sent_to_a_join_from_outside(strategy: str) -> None:
    flow = Flow("pairs")
    flow.add_routine(Numbers(), "a")
    flow.add_routine(Pair(strategy), "pair")
    flow.connect("a", "number", "pair", "input", {"n": "left"})
    with flow.start(keep_open=True) as job, pytest.raises(EntryError) as caught:
        job.send("pair", "input", left=1)
    assert str(caught.value) == (
        "slot 'input' of routine 'pair' takes something of each of its connections (a.number -> pair.input), and a "
        "message from outside is of none of them; send it to where they begin"
    )


@pytest.mark.parametrize("strategy", ["all", "latest"])
def test_a_join_without_connections_takes_what_comes_from_outside(strategy: str) -> None:
    flow = Flow("alone")
    flow.add_routine(Pair(strategy), "pair")
    flow.output("pair", "pair")
    with flow.start(keep_open=True) as job:
        job.send("pair", "input", left=1, right=2)
    assert results(job.state) == [{"left": 1, "right": 2}]


class Parameters(Routine):
    """Takes any parameters, once it is mended, of all its connections together."""

    def __init__(self, *, mended: bool) -> None:
        super().__init__()
        self.mended = mended
        self.define_slot("input", self.handle, "all")
        self.define_event("done", ["got"])

    def handle(self, **got: Any) -> None:
        if not self.mended:
            raise ValueError
        self.emit("done", got=got)


@pytest.mark.processes
@pytest.mark.parametrize("placement", ["thread", "process"])
def test_what_came_from_outside_before_a_join_had_connections_comes_as_it_is(placement: str, tmp_path: Path) -> None:
    kept = STORES["memory"](tmp_path / "jobs")
    flow = Flow("alone")
    flow.add_routine(Parameters(mended=False), "join", placement=placement)
    flow.output("join", "done")
    job = flow.start(store=kept, keep_open=True)
    job.send("join", "input", n=1)
    assert finish(job).status == "failed"

    joined = Flow("alone")
    joined.add_routine(Parameters(mended=True), "join", placement=placement)
    joined.add_routine(Numbers(), "numbers")
    joined.connect("numbers", "number", "join", "input")
    joined.output("join", "done")
    assert results(finish(Flow.resume(kept, job.id, flow=joined))) == [{"got": {"n": 1}}]


class Total(Routine):
    """Counts, and tells at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("input", self.handle)
        self.define_slot("end", self.finish, at_end=True)
        self.define_event("total", ["n"])

    def handle(self, n: int) -> None:
        self.state["count"] = self.state.get("count", 0) + 1

    def finish(self) -> None:
        self.emit("total", n=self.state.get("count", 0))


@pytest.mark.processes
@pytest.mark.parametrize("placement", ["thread", "process"])
def test_a_slot_hears_of_the_end_once_after_all_before_it_upstream_first(placement: str) -> None:
    flow = Flow("totals")
    for routine_id in ("last", "middle", "first"):  # added in the wrong order
        flow.add_routine(Total(), routine_id, placement=placement)
    flow.add_routine(Numbers(), "numbers")
    flow.connect("numbers", "number", "first", "input")
    flow.connect("first", "total", "middle", "input")
    flow.connect("middle", "total", "last", "input")
    for routine_id in ("first", "middle", "last"):
        flow.output(routine_id, "total")
    state = flow.execute("numbers", {"upto": 7})
    assert [state.outputs[i, "total"] for i in ("first", "middle", "last")] == [[{"n": 7}], [{"n": 1}], [{"n": 1}]]
    assert all(count.sent == count.handled for count in state.connections)


def test_a_job_that_is_kept_open_hears_of_no_end() -> None:
    flow = Flow("totals")
    flow.add_routine(Total(), "total")
    flow.output("total", "total")
    with flow.start(keep_open=True) as job:
        job.send("total", "input", n=1)
        wait_until(lambda: job.state.routine_states["total"]["handled"] == 1)
        assert job.pause() is None
        job.resume()
        job.send("total", "input", n=2)
    assert results(job.state) == [{"n": 2}]


def test_a_job_that_comes_to_its_end_while_it_is_paused_hears_of_it_when_it_goes_on(tmp_path: Path) -> None:
    kept = STORES["files"](tmp_path)
    flow = Flow("totals")
    flow.add_routine(Total(), "total")
    flow.output("total", "total")
    job = flow.start(keep_open=True, store=kept)
    job.send("total", "input", n=1)
    wait_until(lambda: job.state.routine_states["total"]["handled"] == 1)
    job.pause()
    job.close_entry()
    assert job.leave().status == "paused"
    again = Flow.resume(kept, job.id, flow=flow)
    assert results(finish(again)) == [{"n": 1}]


async def slow_rows(rows: list[dict[str, int]]) -> int:
    return sum(row["n"] for row in rows)


def test_async_turns_take_batches_at_once() -> None:
    flow = Flow("async")
    flow.add_routine(Numbers(), "numbers")
    flow.add_routine(
        routine(events={"output": ["value"]}, merge_strategy=batch(3, into="rows"))(slow_rows),
        "store",
        concurrency=4,
        ordered=True,
    )
    flow.connect("numbers", "number", "store", "input")
    flow.output("store", "output")
    state = flow.execute("numbers", {"upto": 10})
    assert [item["value"] for item in results(state)] == [3, 12, 21, 9]


class Ending(Routine):
    """Takes pairs, a while for each, and says at the end how many are committed."""

    state_policy = "none"

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("input", self.handle, batch(4))
        self.define_slot("end", self.finish, at_end=True)
        self.define_event("told", ["of"])

    def handle(self, n: list[int]) -> None:
        threading.Event().wait(0.05)
        self.emit("told", of=len(n))

    def finish(self) -> None:
        self.emit("told", of="end")


class EndingAsync(Ending):
    async def handle(self, n: list[int]) -> None:  # type: ignore[override]
        await asyncio.sleep(0.05)
        self.emit("told", of=len(n))


@pytest.mark.processes
@pytest.mark.parametrize(
    ("make", "options"),
    [(Ending, {"placement": "process", "workers": 3}), (EndingAsync, {"concurrency": 8, "ordered": False})],
    ids=["pool", "async"],
)
def test_the_end_comes_after_the_last_batch_of_its_routine_where_several_turns_run_at_once(
    make: type[Routine], options: dict[str, Any]
) -> None:
    flow = Flow("ending")
    flow.add_routine(Numbers(), "numbers")
    flow.add_routine(make(), "ending", **options)
    flow.connect("numbers", "number", "ending", "input")
    flow.output("ending", "told")
    state = flow.execute("numbers", {"upto": 10})
    told = [item["of"] for item in results(state)]
    assert sorted(told[:-1]) == [2, 4, 4]
    assert told[-1] == "end"
