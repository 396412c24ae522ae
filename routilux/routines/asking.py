"""What users hand to built-in routines to be asked about each message: functions, and names of parameters.

Owns how such a function is given a message (by the rules of handlers, see `Binding`), and how `Flow.check` learns what
it needs. Never emits anything. Pure.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any

from routilux.context import current_turn
from routilux.conversion import annotations_of
from routilux.errors import HandlerError, OptionError, SlotArgumentError
from routilux.model.binding import Arguments, Binding, WholeDict, compile_binding, is_async
from routilux.model.merging import batch
from routilux.model.names import checked_name
from routilux.model.routine import Routine
from routilux.model.slot import Slot

INPUT = "input"
"""The slot by which built-in routines take in."""
OUTPUT = "output"
"""The event by which they give."""
END = "end"
"""The slot by which those that keep something back hear that nothing else can come."""
ITEMS = "items"
"""The parameter that has the messages of a batch."""
Asked = str | Callable[..., Any]
"""The name of a parameter, or a function of a message."""


class Question:
    """Something that is asked of each message.

    Args:
        asked: the name of a parameter, or a function, which takes parameters as a handler does.
        where: what it is, for errors, such as `the key of Aggregate`.
        slot: by which the messages come.
        may_yield: whether the function may be a generator.

    Raises:
        HandlerError: the function cannot be called with a message, or gives no answer, see `checked_function`.
        InvalidNameError: the name cannot be one of a parameter.
        OptionError: it is neither.
    """

    def __init__(self, asked: Asked, where: str, *, slot: str = INPUT, may_yield: bool = False) -> None:
        self._function: Callable[..., Any]
        self._binding: Binding
        self._slot = slot
        given: object = asked  # what came may be anything
        if isinstance(given, str):
            self._function = self._binding = _Parameter(checked_name(given, where))
        elif callable(given):
            self._function = checked_function(given, where, may_yield=may_yield)
            self._binding = compile_binding(given, where)
        else:
            raise OptionError(f"{where}: expected a function or the name of a parameter, got {given!r}")

    def __call__(self, data: dict[str, Any]) -> Any:
        """Ask it of a message.

        Raises:
            SlotArgumentError: the message lacks a parameter.
        """
        try:
            args, kwargs = self._binding.bind(data)
        except SlotArgumentError as error:
            raise located(error, self._slot) from None
        return self._function(*args, **kwargs)

    def lacks(self, names: frozenset[str]) -> tuple[str, ...]:
        """Tell which parameters it needs that are not among these."""
        return self._binding.lacks(names)

    def annotations(self) -> dict[str, Any]:
        """Give the types that the parameters it takes are annotated as, by name; none for what takes all in one."""
        if type(self._binding) is WholeDict:
            return {}
        known = annotations_of(self._function)
        return {name: known[name] for name in self._binding.parameters if name in known}


class WholeMessage(Binding):
    """Hands over the whole message to a handler which asks questions of it.

    Args:
        questions: what every message is asked.
    """

    __slots__ = ("_questions",)

    def __init__(self, questions: Iterable[Question] = ()) -> None:
        super().__init__()
        self._questions = tuple(questions)

    def bind(self, data: dict[str, Any]) -> Arguments:
        """Give the message as the one argument."""
        return (data,), {}

    def lacks(self, names: frozenset[str]) -> tuple[str, ...]:
        """Tell what any of the questions lacks."""
        return tuple(dict.fromkeys(name for question in self._questions for name in question.lacks(names)))

    def annotations(self) -> dict[str, Any]:
        """Tell as which types the questions take parameters; of several the first one counts."""
        return {name: hint for question in reversed(self._questions) for name, hint in question.annotations().items()}


class WholeBatch(WholeMessage):
    """Hands over the messages of a batch in a list, to a handler which asks questions of each."""

    __slots__ = ()

    asks_each = True

    def bind(self, data: dict[str, Any]) -> Arguments:
        """Give the list as the one argument."""
        return (data[ITEMS],), {}


def input_slot(
    owner: Routine, handler: Callable[[dict[str, Any]], Any], questions: Iterable[Question] = (), name: str = INPUT
) -> Slot:
    """Make a slot whose handler gets the whole message, and which needs what the questions need."""
    return Slot(name, handler, owner=type(owner).__name__, binding=WholeMessage(questions))


def batch_slot(
    owner: Routine,
    handler: Callable[[list[dict[str, Any]]], Any],
    questions: Iterable[Question],
    size: int,
    seconds: float,
) -> Slot:
    """As `input_slot`, for a handler which gets several whole messages."""
    strategy = batch(size, seconds, into=ITEMS)
    return Slot(INPUT, handler, strategy, owner=type(owner).__name__, binding=WholeBatch(questions))


def checked_function(function: Callable[..., Any], where: str, *, may_yield: bool = False) -> Callable[..., Any]:
    """Give a function if calling it gives its answer.

    What a coroutine function gives stands for an answer, and so does a generator: as a condition both are true always.

    Raises:
        HandlerError: it is `async`; or yields, and may not.
    """
    if is_async(function):
        raise HandlerError(
            f"{where} is a plain function, got an 'async' one; write a routine with an 'async def' handler instead"
        )
    if not may_yield and _yields(function):
        raise HandlerError(f"{where} gives one answer, got a function that yields; FlatMap takes such")
    return function


def located(error: SlotArgumentError, slot: str = INPUT) -> SlotArgumentError:
    """Note in which routine it happened."""
    turn = current_turn()
    return error.located(slot=slot, routine_id=None if turn is None else turn.routine_id)


def _yields(function: Callable[..., Any]) -> bool:
    return any(map(inspect.isgeneratorfunction, (function, getattr(type(function), "__call__", None))))  # noqa: B004  the function itself is wanted


class _Parameter(Binding):
    """The value of one parameter; asked and bound in one."""

    __slots__ = ()

    def __init__(self, name: str) -> None:
        super().__init__((name,), (name,))

    def __call__(self, value: Any) -> Any:
        return value

    def bind(self, data: dict[str, Any]) -> Arguments:
        (name,) = self.parameters
        if name not in data:
            raise SlotArgumentError(self.required, self.parameters, data)
        return (data[name],), {}

    def lacks(self, names: frozenset[str]) -> tuple[str, ...]:
        return tuple(name for name in self.required if name not in names)
