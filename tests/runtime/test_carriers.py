"""What is taken of a worker's word, before anything of it is committed."""

from __future__ import annotations

import math
from typing import Never

import pytest

from routilux.messages import Once, TurnPart, TurnResults
from routilux.packed import Packed
from routilux.runtime.carriers import RemoteCarrier, WireCarrier
from routilux.turn.codec import WireCodec, WireResults
from routilux.turn.tables import Outgoing
from routilux.turn.values import PICKLED
from supervisors.errors import FrameError
from supervisors.wire.frames import decode_body, encode_body
from supervisors.wire.outside import OUTSIDE_TAG

NOW = 1_000.0
OUT = Outgoing("out", by_reference=False, encoded=True)
RECORD = Once("key", b"x")
WIRE = WireCodec()


def told(began_at: float, *ats: float, payloads: Packed | None = None, ends: tuple[int, ...] = ()) -> WireResults:
    """Give results as a worker tells them, read as a place reads them."""
    packed = payloads or Packed.of([PICKLED.encode({"n": 1}, "payload") for _ in ats])
    results = TurnResults(began_at, WireCodec().times(list(ats)), [], list(ends), packed)  # type: ignore[arg-type]  as it travels
    read: WireResults = decode_body(encode_body(results), WireResults)
    return read


def check(results: WireResults) -> None:
    carrier = WireCarrier((OUT,))
    carrier.check([(1, results, 0.0, NOW)], 0)


def test_turns_that_have_ended_by_now_are_taken() -> None:
    check(told(NOW - 2.0, NOW - 1.0, NOW))


@pytest.mark.parametrize(
    ("began_at", "at"), [(-math.inf, NOW), (-1e300, -1e299), (0.0, 1e300), (NOW, NOW + 1.0), (-1e10, NOW)]
)
def test_times_that_cannot_be_are_not_taken(began_at: float, at: float) -> None:
    with pytest.raises(FrameError, match="have ended by"):
        check(told(began_at, at))


def check_remote(results: WireResults) -> None:
    def have_none(_: object, data: object = None) -> Never:
        raise AssertionError(data)

    RemoteCarrier((OUT,), PICKLED, have_none, have_none).check([(1, results, 0.0, NOW)], 0)


def test_turns_of_a_machine_whose_clock_is_ahead_have_ended_now() -> None:
    results = told(NOW + 1.0, NOW + 1.5, NOW + 2.0)
    check_remote(results)
    assert (results.began_at, list(results.ats)) == (NOW - 1.0, [NOW - 0.5, NOW])
    results = told(NOW - 2.0, NOW - 1.0)
    check_remote(results)
    assert (results.began_at, list(results.ats)) == (NOW - 2.0, [NOW - 1.0])


@pytest.mark.parametrize(("began_at", "at"), [(0.0, 1e300), (0.0, math.inf), (-1e10, NOW + 1.0)])
def test_times_that_cannot_be_are_not_taken_of_another_machine_either(began_at: float, at: float) -> None:
    with pytest.raises(FrameError, match="have ended by"):
        check_remote(told(began_at, at))


@pytest.mark.parametrize("times", [(), (NOW - 1.0,), (NOW - 3.0, math.nan)])
def test_turns_that_ended_before_they_began_or_never_are_not_taken(times: tuple[float, ...]) -> None:
    with pytest.raises(FrameError):
        told(NOW, *times)


NAMES_MEMORY = bytes([OUTSIDE_TAG]) + b"somewhere"


def test_data_in_its_place_that_names_shared_memory_is_not_taken() -> None:
    named = Packed.of([b"\x01\x80", NAMES_MEMORY])
    with pytest.raises(FrameError, match="names shared memory"):
        check(told(NOW, NOW, NOW, payloads=named))


def test_data_that_is_said_to_be_plain_names_no_shared_memory() -> None:
    results = told(NOW, NOW, NOW, payloads=Packed.of([b"\x01\x80", NAMES_MEMORY], is_plain=True))
    check(results)
    assert [encoded[0] for _event, _reference, encoded, _keys in results.to_emissions() if encoded] == [1, 1]


@pytest.mark.parametrize(
    ("payloads", "ends"),
    [
        (Packed.of([b"a"]), ()),
        (Packed.of([b"a", b"b", b"c"]), ()),
        (Packed.of([b"a", b"b"]), (1, 3)),
        (Packed.of([b"a", b"b"]), (2, 1)),
        (Packed.of([b"a", b"b"]), (2,)),
        (Packed(b"ab", [1, 2]), ()),
    ],
)
def test_columns_that_do_not_belong_together_are_not_taken(payloads: Packed, ends: tuple[int, ...]) -> None:
    with pytest.raises(FrameError):
        told(NOW, NOW, NOW, payloads=payloads, ends=ends)


def part(payloads: Packed, *outgoing: Outgoing) -> TurnPart:
    return WireCarrier(outgoing).part(WIRE.part(TurnPart([], None, None, payloads)), 0)


def test_data_that_a_turn_has_released_is_taken() -> None:
    payloads = Packed.of([b"\x01\x80", b"\x01\x81\xa1n\x02"], is_plain=True)
    assert part(payloads, OUT).payloads == payloads


@pytest.mark.parametrize(
    ("payloads", "outgoing", "text"),
    [
        (Packed(b"ab", [1, 2]), (OUT,), "does not end where"),
        (Packed(b"", []), (OUT,), "does not end where"),
        (Packed.of([b"\x01\x80", NAMES_MEMORY]), (OUT,), "names shared memory"),
        (Packed.of([b"\x01\x80"]), (OUT, OUT), "an event that is not told"),
        (Packed.of([b"\x01\x80"]), (Outgoing("out", by_reference=False, encoded=True, keys=(("n",),)),), "not told"),
    ],
)
def test_data_that_a_turn_cannot_have_released_is_not_taken(
    payloads: Packed, outgoing: tuple[Outgoing, ...], text: str
) -> None:
    with pytest.raises(FrameError, match=text):
        part(payloads, *outgoing)


def test_a_part_has_data_or_emissions_and_what_is_recorded_has_neither() -> None:
    payloads = Packed.of([b"\x01\x80"])
    for wrong in (TurnPart([(0, None, b"\x01\x80", ())], None, None, payloads), TurnPart([], None, RECORD, payloads)):
        with pytest.raises(FrameError, match=r"comes twice|nothing else"):
            WireCarrier((OUT,)).part(WIRE.part(wrong), 0)
