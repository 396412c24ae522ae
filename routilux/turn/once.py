"""What is done once for a message (`Routine.once`), and the turn as the function sees it that does it.

Owns the run of such a function, and what it is refused: it may look, and must leave nothing behind. When its message is
run again it is not, so whatever else it had done to its turn, an emission or another state, would be missing then.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Generator
from types import CoroutineType
from typing import Any, NoReturn, Protocol, TypeVar

from routilux.context import Scope, Stats, Turn, cell, current_turn, scope
from routilux.errors import OnceError, OutsideTurnError
from routilux.messages import Once
from routilux.model.binding import is_async
from routilux.turn.tracked import with_copies_of_views
from routilux.turn.values import ValueCodec
from supervisors.errors import ValueDecodingError

_D = TypeVar("_D")


class DoesOnce(Turn, Protocol):
    """A turn, as far as what it does once is concerned."""

    @property
    def awaits(self) -> bool:
        """Whether its handler is `async`."""

    @property
    def values(self) -> ValueCodec:
        """How values are encoded."""

    @property
    def recorded(self) -> tuple[Once, ...]:
        """What was done for its message."""

    @property
    def doing(self) -> set[str]:
        """Keys of what its tasks are doing at this moment."""

    def check_wanted(self) -> None:
        """Raise if it comes to nothing, and may have no more effects."""

    def record(self, once: Once) -> None:
        """Have it written down, and wait for that."""


def run_once(turn: DoesOnce, key: str, fn: Callable[[], Any], around: tuple[str, ...]) -> Any:
    """Give what `fn` gave for the message and key; it runs only if that was never recorded.

    Args:
        turn: the turn.
        key: names what is done.
        fn: does it; where it is `async`, what is given is to be awaited.
        around: keys of the functions within which it is used, the innermost last.

    Raises:
        As `Routine.once`.
    """
    key = checked_once_key(key)
    if is_async(fn):
        if not turn.awaits:
            raise OnceError(f"the function of once({key!r}) is asynchronous, and a plain handler cannot await it")
        return _await_once(turn, key, fn, around)
    recorded = _find(turn, key, around)
    if recorded is not None:
        return turn.values.decode(recorded.value)
    before, cell.turn = cell.turn, InsideOnce(turn, (*around, key))
    try:
        encoded = _encode(turn, key, checked_result(fn(), key))
    finally:
        cell.turn = before
    return _record(turn, key, encoded)


async def _await_once(turn: DoesOnce, key: str, fn: Callable[[], Awaitable[Any]], around: tuple[str, ...]) -> Any:
    recorded = _find(turn, key, around)
    if recorded is not None:
        return turn.values.decode(recorded.value)
    inside = InsideOnce(turn, (*around, key))

    async def do() -> bytes:
        return _encode(turn, key, await fn())

    turn.doing.add(key)
    before = scope.set(Scope(inside, turn.routine))  # for the tasks that it starts
    try:
        encoded = await _Inside(inside, do())
    finally:
        scope.reset(before)
        turn.doing.discard(key)
    if current_turn() is None:
        raise OutsideTurnError(f"the turn that did once({key!r}) is over; nothing was recorded")
    return _record(turn, key, encoded)


def _find(turn: DoesOnce, key: str, around: tuple[str, ...]) -> Once | None:
    if key in around:
        raise OnceError(f"once({key!r}) in routine {turn.routine_id!r} is used within its own function")
    for recorded in turn.recorded:
        if recorded.key == key:
            return recorded
    if key in turn.doing:
        raise OnceError(f"once({key!r}) in routine {turn.routine_id!r} is being done by another task; await that one")
    turn.check_wanted()
    return None


def _encode(turn: DoesOnce, key: str, result: Any) -> bytes:
    path = f"once({key!r})"
    # As an emission: of the state itself a copy is what was given.
    return turn.values.encode(with_copies_of_views({path: result})[path], path)


def _record(turn: DoesOnce, key: str, encoded: bytes) -> Any:
    try:
        # Before it is recorded: what cannot be read again would fail each later try of the message.
        result = turn.values.decode(encoded)
    except ValueDecodingError as error:
        error.add_note(f"It is what the function of once({key!r}) gave.")
        raise
    turn.record(Once(key, encoded))
    return result


class _Inside:
    """Awaits a coroutine; while it makes a step, the turn is what it is to its function.

    Args:
        turn: that.
        work: the coroutine.
    """

    def __init__(self, turn: InsideOnce, work: Coroutine[Any, Any, bytes]) -> None:
        self._turn = turn
        self._work = work

    def __await__(self) -> Generator[Any, Any, bytes]:
        value: Any = None
        error: BaseException | None = None
        while True:
            before, cell.turn = cell.turn, self._turn
            try:
                awaited = self._work.send(value) if error is None else self._work.throw(error)
            except StopIteration as ended:
                encoded: bytes = ended.value
                return encoded
            finally:
                cell.turn = before
            value, error = None, None
            try:
                value = yield awaited
            except GeneratorExit:
                self._work.close()
                raise
            except BaseException as raised:  # noqa: BLE001  it is raised where the coroutine waits
                error = raised


class InsideOnce:
    """A `routilux.context.Turn` while `fn` of `once(key, fn)` runs.

    Args:
        turn: the turn.
        keys: of the functions that are running, the innermost last.
    """

    __slots__ = ("_keys", "_turn")

    def __init__(self, turn: DoesOnce, keys: tuple[str, ...]) -> None:
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
    def logbook(self) -> object:
        """What keeps the log of that job."""
        return self._turn.logbook

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

    def empty_memory(self, size: int) -> memoryview | None:
        """Give shared memory to be written."""
        return self._turn.values.empty(size)

    def emit(self, event: str, data: dict[str, Any]) -> NoReturn:
        """Refuse; raises `OnceError`."""
        raise self._refusal(f"emit {event!r}")

    def once(self, key: str, fn: Callable[[], Any]) -> Any:
        """Run another function once, which is recorded before the one around it."""
        return run_once(self._turn, key, fn, self._keys)

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
            f"the function of once({key!r}) gave a coroutine, and is no 'async def' by itself, so that nobody could "
            "know; write 'async def' around it"
        )
    return result
