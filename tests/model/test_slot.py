from __future__ import annotations

from typing import Any

import pytest

from routilux.errors import HandlerError, OptionError
from routilux.model.merging import batch
from routilux.model.slot import Slot


def handle(text: Any) -> Any:
    return text


def merge(old: Any, new: Any) -> Any:
    return {**old, **new}


@pytest.mark.parametrize("strategy", ["override", "append", "latest", "all", batch(3), merge])
def test_a_merge_strategy_is_a_word_or_a_function(strategy: Any) -> None:
    assert Slot("in", handle, strategy).merge_strategy == strategy


@pytest.mark.parametrize("strategy", ["overide", "", None, 7])
def test_any_other_merge_strategy_is_refused_with_what_there_is(strategy: Any) -> None:
    with pytest.raises(OptionError) as caught:
        Slot("in", handle, strategy, owner="Parse")
    assert str(caught.value) == (
        "slot 'in' of Parse: expected merge_strategy to be one of ('override', 'append', 'latest', 'all'), "
        f"batch(size, seconds), or a function (old, new) -> merged, got {strategy!r}"
    )


def test_a_handler_that_cannot_be_one_is_refused_and_the_slot_is_named() -> None:
    with pytest.raises(HandlerError, match="slot 'in' of Parse"):
        Slot("in", lambda *values: values, owner="Parse")
