"""The turn as a function sees it that is run by `Routine.once`: it may look, and must leave nothing behind.

Owns what such a function is refused. When its message is run again it is not, so whatever else it had done to its
turn, an emission or another state, would be missing then.
"""

from __future__ import annotations

from collections.abc import Callable
from types import CoroutineType
from typing import Any, NoReturn, Protocol, TypeVar

from routilux.context import Stats, Turn
from routilux.errors import OnceError

_D = TypeVar("_D")


class RunsOnce(Turn, Protocol):
    """A turn, as far as a function inside of it is concerned."""

    def run_once(self, key: str, fn: Callable[[], Any], around: tuple[str, ...]) -> Any:
        """As `once`, from within functions of the keys `around`."""


class InsideOnce:
    """A `routilux.context.Turn` while `fn` of `once(key, fn)` runs.

    Args:
        turn: the turn.
        keys: of the functions that are running, the innermost last.
    """

    __slots__ = ("_keys", "_turn")

    def __init__(self, turn: RunsOnce, keys: tuple[str, ...]) -> None:
        self._turn = turn
        self._keys = keys

    @property
    def routine(self) -> object:
        """The routine object whose handler runs."""
        return self._turn.routine

    @property
    def routine_id(self) -> str:
        """Its id in the flow."""
        return self._turn.routine_id

    @property
    def job_id(self) -> str:
        """The id of the job that it is a turn of."""
        return self._turn.job_id

    @property
    def message_id(self) -> str:
        """The id of the message."""
        return self._turn.message_id

    @property
    def attempt(self) -> int:
        """Which try of this message it is."""
        return self._turn.attempt

    @property
    def redelivered(self) -> bool:
        """Whether this message may have been run before."""
        return self._turn.redelivered

    @property
    def state(self) -> Any:
        """The declared state, to be read."""
        return self._turn.state

    @property
    def stats(self) -> StatsInsideOnce:
        """The routine's numbers, to be read."""
        return StatsInsideOnce(self._turn.stats, self._refusal)

    def set_state(self, value: Any) -> NoReturn:
        """Refuse; raises `OnceError`."""
        raise self._refusal("replace the state")

    def emit(self, event: str, data: dict[str, Any]) -> NoReturn:
        """Refuse; raises `OnceError`."""
        raise self._refusal(f"emit {event!r}")

    def once(self, key: str, fn: Callable[[], Any]) -> Any:
        """Run another function once, which is recorded before the one around it."""
        return self._turn.run_once(key, fn, self._keys)

    def _refusal(self, what: str) -> OnceError:
        return OnceError(
            f"the function of once({self._keys[-1]!r}) in routine {self.routine_id!r} cannot {what}: when the message "
            "is run again the function is not; do that with its result, outside of it"
        )


class StatsInsideOnce:
    """A routine's numbers while such a function runs.

    Args:
        stats: those of the turn.
        refusal: gives the error for what they are not to be changed by.
    """

    __slots__ = ("_refusal", "_stats")

    def __init__(self, stats: Stats, refusal: Callable[[str], OnceError]) -> None:
        self._stats = stats
        self._refusal = refusal

    def read(self) -> dict[str, int | float]:
        """Give all, by name."""
        return self._stats.read()

    def get(self, name: str, default: _D) -> int | float | _D:
        """Give one, or `default`."""
        return self._stats.get(name, default)

    def set(self, name: str, value: float) -> NoReturn:
        """Refuse; raises `OnceError`."""
        raise self._refusal(f"set the stat {name!r}")

    def add(self, name: str, amount: float) -> NoReturn:
        """Refuse; raises `OnceError`."""
        raise self._refusal(f"increment the stat {name!r}")

    def reset(self) -> NoReturn:
        """Refuse; raises `OnceError`."""
        raise self._refusal("reset the stats")


def checked_once_key(key: object) -> str:
    """Give `key` as exact text.

    Raises:
        OnceError: it is no text, or cannot be written as UTF-8.
    """
    if not isinstance(key, str):
        raise OnceError(f"a key of once is text, got {key!r} of type {type(key).__qualname__}")
    try:
        key.encode()
    except UnicodeEncodeError as error:
        raise OnceError(f"a key of once must be valid Unicode, got {key!r}") from error
    return str.__str__(key)


def checked_result(result: Any, key: str) -> Any:
    """Give what the function of `key` gave.

    Raises:
        OnceError: it is a coroutine: nothing was done so far.
    """
    if isinstance(result, CoroutineType):
        result.close()
        raise OnceError(
            f"the function of once({key!r}) is asynchronous; expected a plain one, which has done it at its end"
        )
    return result
