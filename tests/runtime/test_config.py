"""A routine's configuration is read in its handlers, and is read-only while a job has the routine."""

from __future__ import annotations

import pytest

from routilux import Flow, Routine
from routilux.errors import ConfigInUseError


class Reading(Routine):
    def __init__(self) -> None:
        super().__init__()
        self.set_config(depth=3)
        self.define_slot("trigger", self.run)
        self.define_event("read", ["depth"])

    def run(self, change: bool = False) -> None:  # noqa: FBT002
        if change:
            self.set_config(depth=4)
        self.emit("read", depth=self.get_config("depth"))


@pytest.mark.parametrize("placement", ["thread", pytest.param("process", marks=pytest.mark.processes)])
def test_it_cannot_be_changed_while_a_job_has_it(placement: str) -> None:
    flow = Flow("f")
    reading = Reading()
    flow.add_routine(reading, "reading", placement=placement)
    flow.output("reading", "read")
    with flow.start(keep_open=True) as job, flow.start(keep_open=True) as other:
        with pytest.raises(ConfigInUseError) as raised:
            reading.set_config(depth=5)
        assert set(raised.value.job_ids) == {job.id, other.id}
        job.send("reading", "trigger")
    assert job.state.results() == [{"depth": 3}]
    reading.set_config(depth=5)
    assert flow.execute("reading").results() == [{"depth": 5}]
    failed = flow.execute("reading", {"change": True})
    assert "ConfigInUseError" in str(failed.error)
