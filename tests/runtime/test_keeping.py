"""Jobs with a store: how they are begun, and that brief ones end as they are kept."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

import pytest

from routilux import Flow, Routine
from routilux.errors import OptionError
from routilux.keeping.finding import latest
from routilux.stores import Lease, MemoryStore, this_process


class Brief(Routine):
    def __init__(self) -> None:
        super().__init__()
        self.define_slot("trigger", handler=self.run)

    def run(self) -> None:
        self.state["ran"] = True


class LateStore(MemoryStore):
    """Takes the first checkpoint only when the actor that could tell of it has ended with its job."""

    def put(self, lease: Lease, name: str, parts: Iterable[bytes]) -> int:
        if name.endswith("-000001"):
            [state] = [thread for thread in threading.enumerate() if thread.name.endswith(f"{lease.job_id}/state")]
            state.join(20.0)
            assert not state.is_alive()
        return super().put(lease, name, parts)


def test_a_job_that_is_over_before_its_first_checkpoint_is_durable_is_started_all_the_same() -> None:
    store = LateStore()
    flow = Flow("brief")
    flow.add_routine(Brief(), "brief")
    job = flow.start("brief", store=store, job_id="j")
    assert job.wait().status == "completed"
    assert job.state.routine_states["brief"]["state"] == {"ran": True}
    assert latest(store, "j").image.header.status == "completed"


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
