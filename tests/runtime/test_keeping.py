"""Jobs with a store: how they are begun, and that brief ones end as they are kept."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

import pytest

from routilux import Flow, Routine
from routilux.errors import OptionError
from routilux.keeping.finding import latest
from routilux.keeping.listing import KeptCheckpoint, list_checkpoints
from routilux.stores import Lease, MemoryStore, this_process


class Brief(Routine):
    def __init__(self) -> None:
        super().__init__()
        self.define_slot("trigger", handler=self.run)

    def run(self) -> None:
        self.state["ran"] = True


class Slow(MemoryStore):
    """Takes its time for the first checkpoint."""

    def put(self, lease: Lease, name: str, parts: Iterable[bytes]) -> int:
        if name.endswith("-000001"):
            threading.Event().wait(0.05)
        return super().put(lease, name, parts)


def test_no_handler_of_a_new_job_runs_before_it_can_be_resumed() -> None:
    store = Slow()
    found: list[KeptCheckpoint] = []

    class Looks(Brief):
        def run(self) -> None:
            found.extend(list_checkpoints(store, "j"))

    flow = Flow("brief")
    flow.add_routine(Looks(), "looks")
    job = flow.start("looks", store=store, job_id="j")
    assert job.wait().status == "completed"
    assert [kept.number for kept in found] == [1]
    assert latest(store, "j").image.header.status == "completed"


def test_a_pause_that_comes_before_a_job_has_begun_is_kept() -> None:
    flow = Flow("brief")
    flow.add_routine(Brief(), "brief")
    job = flow.start("brief", keep_open=True, store=MemoryStore(), job_id="j")
    job.pause("early")
    job.ledger.begin()
    assert not job.ledger.is_open
    job.resume()
    job.close_entry()
    assert job.wait().status == "completed"


@pytest.mark.parametrize(
    ("key", "told"), [(b"short", "not 5"), (b"x" * 65, "not 65"), ("text of 20 characters", "not of type str")]
)
def test_what_cannot_be_a_key_is_refused_before_anything_starts(key: Any, told: str) -> None:
    store = MemoryStore()
    flow = Flow("brief")
    flow.add_routine(Brief(), "brief")
    with pytest.raises(OptionError, match=f"a key is 16 to 64 bytes that nobody can guess, {told}"):
        flow.start("brief", store=store, job_id="j", key=key)
    assert store.jobs() == []
    flow.start("brief", store=store, job_id="j").wait()
    with pytest.raises(OptionError, match="a key is 16 to 64 bytes that nobody can guess"):
        Flow.resume(store, "j", flow=flow, key=key)
    again = store.acquire("j", this_process(), create=False)
    assert again.generation == 2, "nobody has taken it meanwhile"
