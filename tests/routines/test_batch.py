"""What a batch is in a real job; its times are those of `tests/routines/test_windows.py`."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routilux import Flow
from routilux.errors import OptionError
from routilux.routines import Batch, Map
from routilux.stores.memory import MemoryStore
from tests.routines.running import emitted, flow_of, run

LONG = 3_600.0


def messages_up_to(count: int) -> list[dict[str, Any]]:
    return [{"n": n, "of": "all"} if n % 3 else {"n": n} for n in range(count)]


def batches_of(messages: list[dict[str, Any]], size: int) -> list[dict[str, Any]]:
    parts = [messages[at : at + size] for at in range(0, len(messages), size)]
    return [{"items": part, "count": len(part)} for part in parts]


@given(st.integers(0, 25), st.integers(1, 7), st.sampled_from([None, LONG]))
def test_batches_are_those_of_a_plain_loop(count: int, size: int, seconds: float | None) -> None:
    messages = messages_up_to(count)
    assert emitted(run(Batch(size, seconds), messages)) == batches_of(messages, size)


@pytest.mark.processes
def test_they_are_in_a_process() -> None:
    messages = messages_up_to(50)
    assert emitted(run(Batch(4), messages, placement="process")) == batches_of(messages, 4)


@pytest.mark.processes
def test_each_worker_of_a_pool_makes_whole_batches() -> None:
    messages = messages_up_to(50)
    batches = emitted(run(Batch(4), messages, placement="process", workers=3))
    assert sorted(batches, key=lambda batch: batch["items"][0]["n"]) == batches_of(messages, 4)


def test_its_time_is_over_while_others_could_come() -> None:
    with flow_of(Batch(100, 0.01)).start(keep_open=True) as job:
        results = job.results()
        job.send("it", "input", n=1)
        assert next(results)["items"] == [{"n": 1}]
        job.send("it", "input", n=2)
        assert next(results)["items"] == [{"n": 2}]


def test_several_batches_behind_one_another_come_to_their_end_upstream_first() -> None:
    flow = Flow("batches")
    flow.add_routine(Batch(3), "small")
    flow.add_routine(Batch(2), "large")
    flow.add_routine(Map(lambda items: {"counts": [item["count"] for item in items]}), "told")
    flow.connect("small", "output", "large", "input")
    flow.connect("large", "output", "told", "input")
    flow.output("told", "output")
    with flow.start(keep_open=True) as job:
        for n in range(8):
            job.send("small", "input", n=n)
    assert job.state.outputs["told", "output"] == [{"counts": [3, 3]}, {"counts": [2]}]


@pytest.mark.parametrize("options", [{}, pytest.param({"placement": "process"}, marks=pytest.mark.processes)])
def test_what_waits_is_paused_kept_and_resumed(options: dict[str, Any]) -> None:
    store = MemoryStore()
    job = flow_of(Batch(4, LONG), **options).start(keep_open=True, store=store, job_id="kept")
    messages = messages_up_to(10)
    for message in messages[:6]:
        job.put("it", "input", message)
    job.pause()
    job.resume()
    assert job.leave().status == "paused"
    with Flow.resume(store, "kept", flow=flow_of(Batch(4, LONG), **options)) as again:
        for message in messages[6:]:
            again.put("it", "input", message)
    assert emitted(again.state) == batches_of(messages, 4)
    again.ledger.check()


def test_what_cannot_be_is_refused() -> None:
    wrong: Any
    for wrong in (0, True, 1.5, None):
        with pytest.raises(OptionError, match="batch: expected size to be a number of messages of at least 1, got"):
            Batch(wrong)
    for wrong in (0, True, "1", float("nan")):
        with pytest.raises(OptionError, match="batch: expected seconds to be a number above 0, or None, got"):
            Batch(5, wrong)
