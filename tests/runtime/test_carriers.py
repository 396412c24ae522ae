"""What is taken of a worker's word, before anything of it is committed."""

from __future__ import annotations

import math

import pytest

from routilux.messages import TurnResults
from routilux.runtime.carriers import WireCarrier
from routilux.turn.codec import WireResults
from routilux.turn.tables import Outgoing
from routilux.turn.values import PICKLED
from supervisors.errors import FrameError
from supervisors.wire.frames import decode_body, encode_body

NOW = 1_000.0


def told(began_at: float, *ats: float) -> WireResults:
    """Give results as a worker tells them, read as a place reads them."""
    payloads = [PICKLED.encode({"n": 1}, "payload") for _ in ats]
    results = TurnResults(began_at, list(ats), [], list(range(1, len(ats) + 1)), payloads)  # type: ignore[arg-type]
    read: WireResults = decode_body(encode_body(results), WireResults)
    return read


def check(results: WireResults) -> None:
    carrier = WireCarrier((Outgoing("out", by_reference=False, encoded=True),))
    carrier.check([(1, results, 0.0, NOW)], 0)


def test_turns_that_have_ended_by_now_are_taken() -> None:
    check(told(NOW - 2.0, NOW - 1.0, NOW))


@pytest.mark.parametrize(
    ("began_at", "at"), [(-math.inf, NOW), (-1e300, -1e299), (0.0, 1e300), (NOW, NOW + 1.0), (-1e10, NOW)]
)
def test_times_that_cannot_be_are_not_taken(began_at: float, at: float) -> None:
    with pytest.raises(FrameError, match="have ended by"):
        check(told(began_at, at))
