"""What counts as a number."""

from __future__ import annotations

import math

import pytest

from routilux.quantities import is_number, is_whole


@pytest.mark.parametrize(
    ("value", "whole", "number"),
    [
        (1, True, True),
        (0, False, True),
        (-1, False, True),
        (10**30, True, True),
        (True, False, False),
        (False, False, False),
        (1.0, False, True),
        (math.nan, False, True),
        (math.inf, False, True),
        ("1", False, False),
        (None, False, False),
        (1j, False, False),
    ],
)
def test_a_bool_a_text_and_a_complex_number_are_none(value: object, whole: bool, number: bool) -> None:
    assert (is_whole(value), is_number(value)) == (whole, number)


def test_the_least_is_one_of_them() -> None:
    assert [is_whole(value, 0) for value in (-1, 0, 1)] == [False, True, True]
