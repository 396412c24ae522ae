from __future__ import annotations

import pickle
from typing import Any, ClassVar

import pytest

from routilux import Routine
from routilux.dead_letters import DeadLetter
from routilux.messages import Message, StateOp, TurnResult
from routilux.turn.codec import WireCodec, encode_boot
from routilux.turn.tables import Outgoing
from routilux.turn.values import PICKLED, check_of
from supervisors.errors import ValueDecodingError, ValueEncodingError
from supervisors.reasons import Normal
from tests.turn.strict import STRICT, Strict
from tests.turn.wires import send_request, send_result
from tests.turn.worker import Worker

PLACES = pytest.mark.parametrize("is_local", [True, False], ids=["thread", "process"])


class Gatherer(Routine):
    """Does with its state and its events what a test says."""

    state_policy: ClassVar[str] = "encoded"

    def __init__(self, merge_strategy: Any = "override") -> None:
        super().__init__()
        self.define_slot("in", self.handle, merge_strategy)
        self.define_event("out")
        self.got: list[Any] = []

    def handle(self, **data: Any) -> None:
        self.got.append(data)
        match data:
            case {"emit": value}:
                self.emit("out", value=value)
            case {"emit_bad": _}:
                self.emit("out", value=[1, {2}])
            case {"emit_state": _}:
                self.state["seen"] = [1]
                self.emit("out", value=[self.state])
            case {"keep": value}:
                self.state["kept"] = value
            case {"keep_bad": _}:
                self.state["kept"] = {"a": {2}}


class Whole(Gatherer):
    """Its state is one value."""

    state_policy = "value"

    def handle(self, **data: Any) -> None:
        self.state = [2, {3}] if "keep_bad" in data else data


def test_the_codec_of_jobs_without_a_store_is_one_object_wherever_it_is_read() -> None:
    assert pickle.loads(pickle.dumps(PICKLED)) is PICKLED
    assert repr(PICKLED) == "PICKLED"


def test_nothing_is_called_for_values_by_reference_where_the_codec_does_not_check() -> None:
    assert check_of(PICKLED) is None
    assert check_of(STRICT) == STRICT.check
    PICKLED.check(object(), "anything")


@PLACES
def test_all_values_of_a_turn_go_through_its_codec(is_local: bool) -> None:
    worker = Worker(Gatherer(), is_local=is_local, values=STRICT)
    worker.run(emit={"a": [1]})
    worker.run(keep=[1, 2])
    worker.boot()
    worker.run(emit_state=True)

    assert worker.emitted == [(0, {"value": {"a": [1]}}), (0, {"value": [{"kept": [1, 2], "seen": [1]}]})]
    assert worker.state == {"kept": [1, 2], "seen": [1]}
    assert worker.committed["kept"] == STRICT.encode([1, 2], "")


@PLACES
@pytest.mark.parametrize(
    ("routine", "deed", "path"),
    [
        (Gatherer(), "emit_bad", "emit('out')['value'][1]"),
        (Gatherer(), "keep_bad", "state['kept']['a']"),
        (Whole(), "keep_bad", "state[1]"),
        (Gatherer(lambda _old, new: {**new, "late": {1}}), "merge", "slot['in']['late']"),
    ],
    ids=["emit", "state", "value", "merge"],
)
def test_what_could_not_be_written_down_is_refused_where_it_is_made(
    routine: Routine, deed: str, path: str, is_local: bool
) -> None:
    worker = Worker(routine, is_local=is_local, values=STRICT)
    if deed == "merge":
        worker.run(first=1)
    with pytest.raises(ValueEncodingError) as caught:
        worker.run(**{deed: True})

    assert caught.value.path == path
    assert worker.out == []


def test_what_could_not_be_written_down_is_kept_where_nobody_writes() -> None:
    worker = Worker(Gatherer())
    worker.run(emit_bad=True)
    assert worker.emitted == [(0, {"value": [1, {2}]})]


def test_a_chunk_that_is_gathered_by_reference_is_checked_at_the_commit() -> None:
    worker = Worker(Gatherer("append"), values=STRICT)
    with pytest.raises(ValueEncodingError, match=r"slot\['in'\]\['x'\] cannot be carried"):
        worker.run(x={1})
    assert worker.committed == {}


def test_an_event_that_nobody_receives_is_not_checked() -> None:
    outgoing = (Outgoing("out", by_reference=False, encoded=False),)
    worker = Worker(Gatherer(), outgoing=outgoing, values=STRICT)
    worker.run(emit_bad=True)
    assert [reference for _, reference, *_ in worker.out] == [None]


def test_an_event_for_both_kinds_of_receivers_is_refused_by_its_encoding() -> None:
    worker = Worker(Gatherer(), outgoing=(Outgoing("out", by_reference=True, encoded=True),), values=STRICT)
    worker.run(emit=1)
    assert [(reference, encoded) for _, reference, encoded, _keys in worker.out] == [
        ({"value": 1}, STRICT.encode({"value": 1}, ""))
    ]
    with pytest.raises(ValueEncodingError, match="emit"):
        worker.run(emit_bad=True)


def test_chunks_gathered_by_reference_and_as_bytes_are_read_again_by_the_codec() -> None:
    worker = Worker(Gatherer("append"), is_local=False, values=STRICT)
    worker.run(x=1)
    worker.committed["\0slot:in"].append({"x": 2})
    worker.boot()
    worker.run(x=3)
    assert worker.routine.got[-1] == {"x": [1, 2, 3]}  # type: ignore[attr-defined]


def test_what_has_no_form_of_its_own_between_processes_is_written_by_the_codec() -> None:
    lone = "\ud800"

    class Carries(Strict):
        def encode(self, value: Any, path: str) -> bytes:
            return f"carried {path}".encode()

    values = Carries()
    wire = WireCodec(values)
    result = send_result(wire.result(TurnResult([], [StateOp("set", "k", lone)])))
    assert result.state == [StateOp("set", "k", b"carried state['k']")]
    assert wire.boot(encode_boot({"k": lone, "n": 1}, values)) == {
        "k": b"carried state['k']",
        "n": b"carried state['n']",
    }
    assert send_request(Message(0, 1, {"x": 1}, 1), values).payload == b"carried payload"


def test_a_dead_letter_reads_its_message_by_the_codec_of_its_job() -> None:
    encoded = STRICT.encode({"x": 1}, "")
    assert DeadLetter("r", Message(0, 1, encoded, 1), Normal(), 1, 0.0, STRICT).data == {"x": 1}
    with pytest.raises(ValueDecodingError):
        _ = DeadLetter("r", Message(0, 1, encoded, 1), Normal(), 1, 0.0).data
