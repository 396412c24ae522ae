"""Times that a process tells are what they were, and, whatever it tells, such as can be."""

from __future__ import annotations

import itertools
import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routilux.moments import Moments, pack

TIMES = st.lists(st.floats(0.0, 1e6), min_size=1, max_size=9)


@given(TIMES)
def test_times_come_back_as_they_were(took: list[float]) -> None:
    began_at, *ats = itertools.accumulate(took, initial=1_000.0)
    moments = Moments(began_at, pack(ats).tobytes())
    assert list(moments) == [moments[at] for at in range(len(moments))] == ats
    assert moments[-1] == ats[-1]


@given(st.lists(st.floats() | st.floats(900.0, 1_100.0), max_size=9), st.floats(1_000.0, 2_000.0))
def test_no_turn_ended_before_the_one_ahead_of_it_nor_after_the_last(told: list[float], last: float) -> None:
    moments = Moments(1_000.0, pack([*told, last]).tobytes())
    ats = list(moments)
    assert ats == sorted(ats)
    assert len(ats) == len(moments) == len(told) + 1
    assert ats[-1] == moments[-1] == last
    for at in (*ats, *(moments[at] for at in range(len(moments)))):
        assert 1_000.0 <= at <= last


@pytest.mark.parametrize(
    "data", [b"", b"seven..", struct.pack("d", 99.0) + b"x", *map(struct.Struct("d").pack, (9.0, math.nan))]
)
def test_times_that_are_cut_off_or_end_before_they_begin_are_none(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"times|clock"):
        Moments(10.0, data)


@given(st.lists(st.floats(1_000.0, 1_100.0), min_size=1), st.floats(-1e6, 1e6))
def test_times_are_moved_all_by_as_much_and_stay_in_order(told: list[float], last: float) -> None:
    ats = sorted(told)
    moved = Moments(1_000.0, pack(ats).tobytes()).ending(last)
    assert moved[-1] == last
    assert list(moved) == sorted(moved)
    assert moved.began_at <= moved[0]
    assert list(moved) == pytest.approx([at - ats[-1] + last for at in ats], abs=1e-6)
