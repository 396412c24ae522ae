"""Values that no message can carry, beside those of the table: refused where they come in, and only they."""

from __future__ import annotations

import pytest

from routilux import ErrorHandler, Flow, Routine
from supervisors.errors import ValueEncodingError
from supervisors.wire.values import MAX_VALUE_BYTES
from tests.faults.measure import Sink

pytestmark = [pytest.mark.faults, pytest.mark.processes]

BAD = 7


def test_a_payload_too_large_for_a_message_is_refused_at_its_send() -> None:
    flow = Flow("heavy")
    flow.add_routine(Sink(), "receiver", placement="process")
    with flow.start(keep_open=True) as job:
        job.send("receiver", "input", n=1)
        with pytest.raises(ValueEncodingError, match="data cannot be carried: it takes"):
            job.send("receiver", "input", n=bytes(MAX_VALUE_BYTES))
        job.send("receiver", "input", n=2)
    assert job.state.status == "completed", job.state.error
    assert job.state.routine_states["receiver"]["state"] == {"arrived": [1, 2]}


class Hoarder(Routine):
    """Emits more in one turn than a frame may hold, though each emission is within its bound."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("trigger", handler=self.handle)
        self.define_event("value", ["value"])

    def handle(self, n: int) -> None:
        value = bytes(MAX_VALUE_BYTES // 2) if n == BAD else b""
        for _ in range(3):
            self.emit("value", value=value)


@pytest.mark.processes
def test_a_turn_whose_emissions_are_too_large_together_fails_by_itself() -> None:
    flow = Flow("hoard")
    flow.add_routine(Hoarder(), "hoarder", placement="process", atomic=True, error_handler=ErrorHandler("continue"))
    flow.output("hoarder", "value")
    with flow.start(keep_open=True) as job:
        for n in range(BAD + 2):
            job.send("hoarder", "trigger", n=n)
    state = job.state
    assert state.status == "completed", state.error
    [letter] = state.dead_letters
    assert letter.data == {"n": BAD}
    assert "over the bound" in letter.cause
    assert len(state.results()) == 3 * (BAD + 1)
    assert state.routine_states["hoarder"]["restarts"] == 0
