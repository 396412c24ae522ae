"""What a throttle is in a real job; its times are those of `tests/runtime/test_seeded_paced.py`."""

from __future__ import annotations

import math
import time
from typing import Any

import pytest

from routilux import Flow
from routilux.errors import OptionError
from routilux.routines import Throttle
from routilux.stores.memory import MemoryStore
from tests.routines.running import emitted, flow_of, run

MESSAGES = [{"n": n, "of": "some"} for n in range(20)]


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="thread"),
        pytest.param({"timeout": 60}, id="thread with a timeout"),
        pytest.param({"capacity": 3}, id="small mailbox"),
        pytest.param({"placement": "process"}, id="process", marks=pytest.mark.processes),
    ],
)
def test_all_messages_come_as_they_were_and_not_too_many_at_a_time(options: dict[str, Any]) -> None:
    before = time.monotonic()
    assert emitted(run(Throttle(5, 0.03), MESSAGES, **options)) == MESSAGES
    assert time.monotonic() - before >= 3 * 0.03


@pytest.mark.processes
def test_several_workers_may_pass_them_on() -> None:
    passed = emitted(run(Throttle(5, 0.01), MESSAGES, placement="process", workers=3))
    assert sorted(passed, key=lambda message: message["n"]) == MESSAGES


def test_a_resumed_job_begins_with_nothing_counted() -> None:
    store = MemoryStore()
    flow = flow_of(Throttle(3, 3_600.0))
    job = flow.start(keep_open=True, store=store, job_id="kept")
    for message in MESSAGES[:9]:
        job.put("it", "input", message)
    job.close_entry()
    results = job.results()
    assert [next(results) for _ in range(3)] == MESSAGES[:3]
    assert job.leave().status == "paused"
    with Flow.resume(store, "kept", flow=flow) as again:
        results = again.results()
        assert [next(results) for _ in range(3)] == MESSAGES[3:6]
        again.cancel()
    assert (again.state.status, again.state.routine_states["it"]["handled"]) == ("cancelled", 6)


@pytest.mark.parametrize("count", [0, -1, True, 1.5, "3", None])
def test_a_count_that_cannot_be_is_refused(count: Any) -> None:
    with pytest.raises(OptionError, match="Throttle: expected count to be a number of messages of at least 1, got"):
        Throttle(count)


@pytest.mark.parametrize("seconds", [0, -1, math.inf, math.nan, True, "1", None])
def test_a_time_that_cannot_be_is_refused(seconds: Any) -> None:
    with pytest.raises(OptionError, match="Throttle: expected seconds to be a number above 0, got"):
        Throttle(1, seconds)
