"""The merge strategies: their names, and what a batch may be."""

from __future__ import annotations

from typing import Any

import pytest

from routilux import Routine, Slot, batch
from routilux.errors import HandlerError, InvalidNameError, OptionError
from routilux.model.merging import (
    Batching,
    is_of_each_connection,
    is_united,
    keeps_gathered,
    strategy_word,
)

STRATEGIES: list[tuple[Any, str, bool, bool, bool]] = [
    ("override", "override", False, False, False),
    ("append", "append", False, False, True),
    ("latest", "latest", False, True, True),
    ("all", "all", True, True, False),
    (batch(3), "batch", True, False, False),
    (max, "callable", False, False, True),
]


@pytest.mark.parametrize(("strategy", "word", "united", "of_each", "keeps"), STRATEGIES)
def test_what_a_strategy_is(strategy: Any, word: str, united: bool, of_each: bool, keeps: bool) -> None:
    assert Slot("in", lambda: None, strategy).merge_strategy == strategy
    assert strategy_word(strategy) == word
    assert (is_united(strategy), is_of_each_connection(strategy), keeps_gathered(strategy)) == (united, of_each, keeps)


def test_a_batch_has_a_size_and_may_have_a_time_and_a_parameter() -> None:
    assert batch(3) == Batching(3, None, None)
    assert batch(3, 2, into="rows") == Batching(3, 2.0, "rows")


@pytest.mark.parametrize("size", [0, -1, 1.0, True, None, "3"])
def test_a_batch_of_no_size_is_refused(size: Any) -> None:
    with pytest.raises(OptionError) as caught:
        batch(size)
    assert str(caught.value) == f"batch: expected size to be a number of messages of at least 1, got {size!r}"


@pytest.mark.parametrize("seconds", [0, -0.1, float("nan"), True, "1"])
def test_a_batch_of_no_time_is_refused(seconds: Any) -> None:
    with pytest.raises(OptionError) as caught:
        batch(3, seconds)
    assert str(caught.value) == f"batch: expected seconds to be a number above 0, or None, got {seconds!r}"


@pytest.mark.parametrize("name", ["", " rows", 3])
def test_a_batch_into_no_name_is_refused(name: Any) -> None:
    with pytest.raises(InvalidNameError):
        batch(3, into=name)


def finish(rows: object = None) -> None: ...


class Ending(Routine):
    def __init__(self, handler: Any, strategy: Any = "override") -> None:
        super().__init__()
        self.define_slot("end", handler, strategy, at_end=True)


def test_a_slot_that_hears_of_the_end_is_called_without_parameters() -> None:
    assert Ending(lambda: None).get_slot("end").at_end
    assert Ending(lambda n=1: n).get_slot("end").at_end
    assert Ending(lambda **more: more).get_slot("end").at_end
    with pytest.raises(HandlerError) as caught:
        Ending(lambda a, b, c=1: (a, b, c))
    assert str(caught.value) == (
        "slot 'end' of Ending: with at_end its handler is called without parameters, and it needs ['a', 'b']; "
        "give them defaults"
    )


@pytest.mark.parametrize(("strategy", "_word", "_united", "_of_each", "_keeps"), STRATEGIES[1:])
def test_a_slot_that_hears_of_the_end_merges_nothing(
    strategy: Any, _word: str, _united: bool, _of_each: bool, _keeps: bool
) -> None:
    with pytest.raises(OptionError, match="a slot with at_end merges by 'override', got"):
        Ending(lambda: None, strategy)


@pytest.mark.parametrize("slot", [Slot("in", finish, batch(3, 2.0, into="rows")), Slot("in", finish, at_end=True)])
def test_a_slot_is_read_back_with_how_it_merges(slot: Slot) -> None:
    for back in (
        Slot.deserialize(slot.serialize(), allow_modules=[__name__]),
        Slot.from_bytes(slot.to_bytes(), allow_modules=[__name__]),
    ):
        assert (back.merge_strategy, back.at_end) == (slot.merge_strategy, slot.at_end)
