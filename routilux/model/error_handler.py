"""What a routine or a flow wants done about failures.

Owns the author's words and their checks. Never decides anything: that is `supervisors.policy`'s.
"""

from __future__ import annotations

from typing import Any, TypeVar

from routilux.errors import OptionError
from routilux.serial.naming import built_in
from routilux.serial.serializable import Serializable
from supervisors.policy import Backoff, FailurePolicy, Strategy

ErrorStrategy = Strategy
"""STOP, CONTINUE, RETRY, SKIP: what is given up when a message fails."""


@built_in.register("routilux.ErrorHandler")
class ErrorHandler(Serializable):
    """What follows a failure, whether the handler raised or its process died.

    Args:
        strategy: STOP gives up the job, CONTINUE the message, RETRY time, SKIP the routine; as
            `ErrorStrategy` or its word.
        max_retries: further tries after the first, for RETRY.
        retry_delay: seconds before the first of them.
        retry_backoff: what each further wait is multiplied by.
        retryable_exceptions: what may be tried again; the death of a process always may.
        is_critical: whether giving up a message stops the job, whatever the strategy would tolerate.
        max_retry_delay: seconds that no wait exceeds.
        jitter: fraction of a wait, 0.0 to 1.0, by which it may be shorter, at random.
        then: what follows the last try, or a failure that may not be tried again.
        max_crashes: tries that may end in the death of the process; None: any of them.

    Raises:
        OptionError: a value cannot be; it names the field.
    """

    def __init__(  # noqa: PLR0913  the words of the model
        self,
        strategy: ErrorStrategy | str = ErrorStrategy.STOP,
        max_retries: int = 3,
        retry_delay: float = 1.0,
        retry_backoff: float = 2.0,
        retryable_exceptions: type[BaseException] | tuple[type[BaseException], ...] = (Exception,),
        is_critical: bool = False,  # noqa: FBT001, FBT002  positional in the model's words
        *,
        max_retry_delay: float = 30.0,
        jitter: float = 0.0,
        then: ErrorStrategy | str = ErrorStrategy.STOP,
        max_crashes: int | None = None,
    ) -> None:
        self.strategy = _strategy("strategy", strategy)
        self.max_retries = _at_least("max_retries", max_retries, 0)
        self.retry_delay = _at_least("retry_delay", retry_delay, 0.0)
        self.retry_backoff = _at_least("retry_backoff", retry_backoff, 1.0)
        self.retryable_exceptions = _exceptions(retryable_exceptions)
        self.is_critical = bool(is_critical)
        self.max_retry_delay = _at_least("max_retry_delay", max_retry_delay, 0.0)
        self.jitter = _at_least("jitter", jitter, 0.0)
        if self.jitter > 1.0:
            raise OptionError(f"ErrorHandler: expected jitter to be between 0.0 and 1.0, got {jitter!r}")
        self.then = _strategy("then", then)
        if self.then is ErrorStrategy.RETRY:
            raise OptionError("ErrorHandler: expected then to be 'stop', 'continue' or 'skip', got 'retry'")
        self.max_crashes = None if max_crashes is None else _at_least("max_crashes", max_crashes, 0)

    def __repr__(self) -> str:
        return f"ErrorHandler({self.strategy.value!r}, max_retries={self.max_retries}, is_critical={self.is_critical})"

    def _take_fields(self) -> dict[str, Any]:
        return {
            **vars(self),
            "strategy": self.strategy.value,
            "then": self.then.value,
            "retryable_exceptions": list(self.retryable_exceptions),
        }

    def _fill_fields(self, fields: dict[str, Any]) -> None:
        type(self).__init__(self, **fields)

    def policy(self) -> FailurePolicy:
        """Give it as the supervisor reads it."""
        strategy, then = self.strategy, self.then
        if self.is_critical:
            then = ErrorStrategy.STOP
            if strategy is not ErrorStrategy.RETRY:
                strategy = ErrorStrategy.STOP
        backoff = Backoff(self.retry_delay, self.retry_backoff, self.max_retry_delay, self.jitter)
        return FailurePolicy(strategy, self.max_retries, backoff, then, self.max_crashes)


def checked_handler(value: object, where: str) -> ErrorHandler | None:
    """Give `value` if it is an error handler, or None.

    Args:
        value: what was given.
        where: what it was given to, such as `flow 'census'`.

    Raises:
        OptionError: it is something else, such as the bare word of a strategy.
    """
    if value is None or isinstance(value, ErrorHandler):
        return value
    hint = f"; write ErrorHandler({value!r})" if isinstance(value, str) else ""
    raise OptionError(f"{where}: expected error_handler to be an ErrorHandler or None, got {value!r}{hint}")


def _strategy(field: str, value: ErrorStrategy | str) -> ErrorStrategy:
    if isinstance(value, ErrorStrategy):
        return value
    try:
        return ErrorStrategy(value.lower())
    except (ValueError, AttributeError):
        words = [strategy.value for strategy in ErrorStrategy]
        raise OptionError(f"ErrorHandler: expected {field} to be one of {words}, got {value!r}") from None


_Number = TypeVar("_Number", int, float)


def _at_least(field: str, value: _Number, least: _Number) -> _Number:
    number: object = value  # what came may be anything
    if isinstance(number, bool) or not isinstance(number, type(least) | int) or not value >= least:
        raise OptionError(f"ErrorHandler: expected {field} to be a number of at least {least}, got {value!r}")
    return value


def _exceptions(value: object) -> tuple[type[BaseException], ...]:
    classes = value if isinstance(value, tuple | list) else (value,)
    for cls in classes:
        if not (isinstance(cls, type) and issubclass(cls, BaseException)):
            raise OptionError(f"ErrorHandler: expected retryable_exceptions to be exception classes, got {cls!r}")
    return tuple(classes)
