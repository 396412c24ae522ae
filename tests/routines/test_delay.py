"""What a delay is in a real job; its times are those of `tests/runtime/test_seeded_paced.py`."""

from __future__ import annotations

import math
import time
from typing import Any

import pytest

from routilux import Flow
from routilux.errors import OptionError
from routilux.routines import Delay
from routilux.stores.memory import MemoryStore
from tests.routines.running import emitted, flow_of, run

MESSAGES = [{"n": n, "of": "some"} for n in range(40)]
LONG = 3_600.0

PLACES = [
    pytest.param({}, id="thread"),
    pytest.param({"timeout": 60}, id="thread with a timeout"),
    pytest.param({"placement": "process"}, id="process", marks=pytest.mark.processes),
]


@pytest.mark.parametrize("options", PLACES)
@pytest.mark.parametrize("seconds", [0, 0.02])
def test_all_messages_come_as_they_were_and_not_before_their_time(seconds: float, options: dict[str, Any]) -> None:
    before = time.monotonic()
    assert emitted(run(Delay(seconds), MESSAGES, **options)) == MESSAGES
    assert time.monotonic() - before >= seconds


@pytest.mark.processes
def test_several_workers_may_pass_them_on() -> None:
    passed = emitted(run(Delay(0.01), MESSAGES, placement="process", workers=3))
    assert sorted(passed, key=lambda message: message["n"]) == MESSAGES


def test_more_than_the_mailbox_holds_comes_through() -> None:
    assert emitted(run(Delay(0.005), MESSAGES, capacity=5)) == MESSAGES


@pytest.mark.parametrize("options", PLACES)
def test_a_job_in_which_something_waits_is_paused_goes_on_and_is_cancelled_at_once(options: dict[str, Any]) -> None:
    with flow_of(Delay(LONG), **options).start(keep_open=True) as job:
        job.put("it", "input", {"n": 1})
        job.pause(timeout=60)
        assert job.state.status == "paused"
        job.resume()
        job.cancel()
    assert (job.state.status, job.state.routine_states["it"]["handled"]) == ("cancelled", 0)


@pytest.mark.parametrize("options", PLACES)
def test_what_waits_is_kept_and_has_the_delay_that_its_routine_has_when_the_job_is_resumed(
    options: dict[str, Any],
) -> None:
    store = MemoryStore()
    job = flow_of(Delay(LONG), **options).start(keep_open=True, store=store, job_id="kept")
    for message in MESSAGES:
        job.put("it", "input", message)
    job.close_entry()
    assert job.leave().status == "paused"
    with Flow.resume(store, "kept", flow=flow_of(Delay(0.01), **options)) as again:
        pass
    assert emitted(again.state) == MESSAGES
    again.ledger.check()


@pytest.mark.parametrize("seconds", [-1, math.inf, math.nan, True, "1", None])
def test_what_cannot_be_is_refused(seconds: Any) -> None:
    with pytest.raises(OptionError, match="Delay: expected seconds to be a number of at least 0, got"):
        Delay(seconds)
