"""A sealed reply is opened by who takes it out of its future, and by nobody else."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest

from supervisors.asking import FutureAnswer, Opened, Sealed
from supervisors.reasons import Reason


def unwatched(_notify: Callable[[Reason], object]) -> Callable[[], bool]:
    """Stand in for an actor that does not end."""
    return lambda: True


class Seal:
    """Counts how often it is opened."""

    def __init__(self, opened: Opened) -> None:
        self.opened = opened
        self.count = 0

    def open(self) -> Opened:
        self.count += 1
        return self.opened


def answered(seal: Seal) -> Future[Any]:
    answer = FutureAnswer("actor", unwatched)
    answer.set_reply(Sealed(seal.open))
    assert seal.count == 0
    return answer.future


def test_a_reply_is_opened_once_when_it_is_taken() -> None:
    reply = object()
    seal = Seal((reply, None))
    future = answered(seal)
    assert future.result(0) is reply
    assert future.exception(0) is None
    assert future.result(0) is reply
    assert seal.count == 1


def test_an_exception_is_raised_when_it_is_taken() -> None:
    error = LookupError("in there")
    future = answered(Seal((None, error)))
    assert future.exception(0) is error
    with pytest.raises(LookupError, match="in there"):
        future.result(0)


def test_what_is_not_sealed_is_given_as_it_is() -> None:
    told, failed = FutureAnswer("actor", unwatched), FutureAnswer("actor", unwatched)
    told.set_reply(7)
    failed.set_error(ValueError("seven"))
    assert (told.future.result(0), told.future.exception(0)) == (7, None)
    assert isinstance(failed.future.exception(0), ValueError)
    with pytest.raises(ValueError, match="seven"):
        failed.future.result(0)


def test_a_future_that_is_cancelled_or_late_says_so() -> None:
    answer = FutureAnswer("actor", unwatched)
    with pytest.raises(TimeoutError):
        answer.future.exception(0)
    assert answer.future.cancel()
    answer.set_reply(Sealed(Seal((1, None)).open))
    assert answer.future.cancelled()
