"""A routine's numbers: what they may be, how they add up, and those that its jobs begin with."""

from __future__ import annotations

import enum
import json
import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routilux import Routine, routine
from routilux.errors import NotInitializedError, StatError
from routilux.figures import RoutineFigures
from routilux.model.stats import add
from routilux.serial.serializable import register_serializable
from supervisors.wire.values import decode_code, encode_code

MOST = 2**63 - 1


@register_serializable
class Shop(Routine):
    def __init__(self) -> None:
        super().__init__()
        self.set_stat("price", 2.5)
        self.increment_stat("sold", 3)


class Level(enum.IntEnum):
    HIGH = 7


def test_outside_of_a_job_they_are_what_each_job_begins_with() -> None:
    shop = Shop()
    assert shop.stats() == shop.initial_stats == {"price": 2.5, "sold": 3}
    assert (shop.get_stat("sold"), shop.get_stat("lost"), shop.get_stat("lost", 0)) == (3, None, 0)
    shop.increment_stat("sold")
    shop.increment_stat("price", -0.5)
    assert shop.stats() == {"price": 2.0, "sold": 4}
    shop.reset_stats()
    assert shop.stats() == {}


def test_what_is_given_out_is_a_copy() -> None:
    shop = Shop()
    shop.stats()["sold"] = 0
    assert shop.get_stat("sold") == 3


def test_they_travel_with_the_routine() -> None:
    data = json.loads(json.dumps(Shop().serialize()))
    assert Shop.deserialize(data).stats() == {"price": 2.5, "sold": 3}
    assert decode_code(encode_code(Shop(), "it")).stats() == {"price": 2.5, "sold": 3}


def test_a_function_that_is_a_routine_has_them_too() -> None:
    @routine
    def count(n: int) -> None: ...

    count.set_stat("n", 1)
    assert count.stats() == {"n": 1}


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (1, 1),
        (-2.5, -2.5),
        (MOST, MOST),
        (-MOST - 1, -MOST - 1),
        (Level.HIGH, 7),
        (np.int32(4), 4),
        (np.float32(0.5), 0.5),
    ],
)
def test_a_stat_is_an_int_or_a_float_of_exactly_these_types(given: Any, kept: float) -> None:
    shop = Shop()
    shop.set_stat("n", given)
    found = shop.get_stat("n")
    assert (found, type(found)) == (kept, type(kept))


@pytest.mark.parametrize("value", [True, None, "1", Decimal(1), Fraction(1, 2), 1j, [1], np.bool_(True)])
@pytest.mark.parametrize("method", ["set_stat", "increment_stat"])
def test_what_is_no_number_is_refused_where_it_is_given(method: str, value: Any) -> None:
    with pytest.raises(
        StatError, match=rf"{method}\('n'\): a stat is an int or a float, got .* of {type(value).__name__}"
    ):
        getattr(Shop(), method)("n", value)


@pytest.mark.parametrize("value", [MOST + 1, -MOST - 2])
def test_an_int_beyond_64_bits_is_refused(value: int) -> None:
    with pytest.raises(StatError, match="more than 64 bits; give it as a float"):
        Shop().set_stat("n", value)


@pytest.mark.parametrize("name", [1, "", None, "\ud800"])
def test_a_name_is_text(name: Any) -> None:
    shop = Shop()
    for use in (shop.get_stat, shop.increment_stat, lambda name: shop.set_stat(name, 1)):
        with pytest.raises(StatError, match="the name of a stat"):
            use(name)


@pytest.mark.parametrize("name", RoutineFigures._fields)
def test_what_the_runtime_counts_itself_is_no_name(name: str) -> None:
    with pytest.raises(StatError, match=f"a stat cannot be called '{name}': the runtime counts that itself"):
        Shop().increment_stat(name)


def test_a_class_that_forgot_to_call_init_is_told_so() -> None:
    class Forgetful(Routine):
        def __init__(self) -> None:
            pass

    with pytest.raises(NotInitializedError):
        Forgetful().increment_stat("n")


ints = st.integers(-MOST - 1, MOST)


@given(ints | st.floats(), ints | st.floats())
def test_a_sum_is_an_int_of_64_bits_or_a_float(before: float, amount: float) -> None:
    total = add(before, amount)
    if isinstance(total, int):
        assert total == before + amount
        assert -MOST - 1 <= total <= MOST
    else:
        assert type(total) is float
        assert math.isnan(total) or total == float(before + amount)
