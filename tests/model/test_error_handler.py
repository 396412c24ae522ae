from __future__ import annotations

from typing import Any

import pytest

from routilux.errors import OptionError
from routilux.model.error_handler import ErrorHandler, ErrorStrategy, checked_handler
from supervisors.policy import Backoff, FailurePolicy

STOP, CONTINUE, RETRY, SKIP = ErrorStrategy.STOP, ErrorStrategy.CONTINUE, ErrorStrategy.RETRY, ErrorStrategy.SKIP


@pytest.mark.parametrize("strategy", list(ErrorStrategy))
def test_a_strategy_is_given_as_enum_or_as_its_word(strategy: ErrorStrategy) -> None:
    for given in (strategy, strategy.value, strategy.value.upper()):
        assert ErrorHandler(given).strategy is strategy


def test_the_defaults_are_those_of_the_design() -> None:
    handler = ErrorHandler()
    assert handler.policy() == FailurePolicy(STOP, 3, Backoff(1.0, 2.0, 30.0, 0.0), STOP, None)
    assert handler.retryable_exceptions == (Exception,)
    assert handler.is_critical is False


def test_fields_come_by_position_in_the_order_of_the_design() -> None:
    handler = ErrorHandler("retry", 5, 0.5, 3.0, (OSError, KeyError), True)
    assert handler.policy() == FailurePolicy(RETRY, 5, Backoff(0.5, 3.0, 30.0, 0.0), STOP, None)
    assert handler.retryable_exceptions == (OSError, KeyError)
    assert handler.is_critical is True


@pytest.mark.parametrize(
    ("fields", "name", "value"),
    [
        ({"strategy": "rety"}, "strategy", "'rety'"),
        ({"strategy": None}, "strategy", "None"),
        ({"max_retries": -1}, "max_retries", "-1"),
        ({"max_retries": 1.5}, "max_retries", "1.5"),
        ({"max_retries": True}, "max_retries", "True"),
        ({"retry_delay": -0.1}, "retry_delay", "-0.1"),
        ({"retry_delay": float("nan")}, "retry_delay", "nan"),
        ({"retry_delay": "1"}, "retry_delay", "'1'"),
        ({"retry_backoff": 0.5}, "retry_backoff", "0.5"),
        ({"retryable_exceptions": "OSError"}, "retryable_exceptions", "'OSError'"),
        ({"retryable_exceptions": (int,)}, "retryable_exceptions", "<class 'int'>"),
        ({"max_retry_delay": -1}, "max_retry_delay", "-1"),
        ({"jitter": 1.5}, "jitter", "1.5"),
        ({"jitter": -0.5}, "jitter", "-0.5"),
        ({"then": "retry"}, "then", "'retry'"),
        ({"then": "explode"}, "then", "'explode'"),
        ({"max_crashes": -1}, "max_crashes", "-1"),
    ],
)
def test_a_value_that_cannot_be_is_refused_and_its_field_named(fields: dict[str, Any], name: str, value: str) -> None:
    with pytest.raises(OptionError) as caught:
        ErrorHandler(**fields)
    assert f"ErrorHandler: expected {name} to be" in str(caught.value)
    assert str(caught.value).endswith(f"got {value}")


def test_a_refused_strategy_is_told_the_words_there_are() -> None:
    with pytest.raises(OptionError, match=r"\['stop', 'continue', 'retry', 'skip'\], got 'rety'"):
        ErrorHandler("rety")


def test_one_exception_class_will_do() -> None:
    assert ErrorHandler("retry", retryable_exceptions=OSError).retryable_exceptions == (OSError,)


@pytest.mark.parametrize(
    ("strategy", "then", "expected"),
    [
        (STOP, STOP, (STOP, STOP)),
        (CONTINUE, STOP, (STOP, STOP)),
        (SKIP, STOP, (STOP, STOP)),
        (RETRY, CONTINUE, (RETRY, STOP)),
        (RETRY, SKIP, (RETRY, STOP)),
    ],
)
def test_a_critical_routine_stops_the_job_whatever_the_strategy_would_tolerate(
    strategy: ErrorStrategy, then: ErrorStrategy, expected: tuple[ErrorStrategy, ErrorStrategy]
) -> None:
    policy = ErrorHandler(strategy, is_critical=True, then=then).policy()
    assert (policy.strategy, policy.then) == expected


def test_the_word_of_a_strategy_is_no_handler_and_the_hint_says_what_to_write() -> None:
    handler = ErrorHandler()
    assert checked_handler(handler, "flow 'f'") is handler
    assert checked_handler(None, "flow 'f'") is None
    with pytest.raises(OptionError, match=r"flow 'f': expected error_handler .* write ErrorHandler\('retry'\)"):
        checked_handler("retry", "flow 'f'")
