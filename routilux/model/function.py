"""`@routine`: a function is a routine too."""

from __future__ import annotations

import functools
import importlib
import inspect
import sys
from collections.abc import Callable, Generator, Mapping
from typing import Any, overload

from routilux.errors import ResultError
from routilux.model.error_handler import ErrorHandler
from routilux.model.routine import Routine
from routilux.model.slot import MergeStrategy, Slot

INPUT = "input"
"""The one slot of a function routine."""
DEFAULT_EVENT = "output"
"""The one event of a function that declares none."""


class FunctionRoutine(Routine):
    """A function as a routine: its slot is `input`, what it returns is emitted.

    With one event a returned dict is that event's data; another value is emitted under the
    event's only parameter. With several, a pair `(event, data)` says which. None emits nothing. A
    generator function emits each value it yields, and commits there (R4). Called outside of a
    job, the object calls the plain function.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        events: Mapping[str, list[str] | tuple[str, ...]],
        *,
        name: str,
        merge_strategy: MergeStrategy,
        error_handler: ErrorHandler | None,
    ) -> None:
        super().__init__()
        self._function = function
        self._name = name
        self.error_handler = error_handler
        for event, params in events.items():
            self.define_event(event, params)
        self._only = next(iter(self.events.values())) if len(events) == 1 else None
        self.define_slot(INPUT, _Handler(self, function), merge_strategy)
        functools.update_wrapper(self, function)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<routine {self._name}>"

    def __reduce__(self) -> Any:
        # By name where the name leads to this very object; else by value, function included.
        module, name = getattr(self, "__module__", None), getattr(self, "__qualname__", "")
        if module not in {None, "__main__"} and _look_up(module, name) is self:
            return _look_up, (module, name)
        events = {event.name: event.params for event in self.events.values()}
        merge = self.slots[INPUT].merge_strategy
        return _rebuild, (self._function, events, self._name, merge, self.error_handler)

    @property
    def default_id(self) -> str:
        """The function's name."""
        return self._name.strip("<>_.") or "routine"

    def entry_slot(self) -> Slot:
        """Give the one slot."""
        return self.slots[INPUT]

    def emit_result(self, result: Any) -> None:
        """Emit what the function returned or yielded.

        Raises:
            ResultError: it does not say what to emit.
        """
        if result is None:
            return
        if self._only is None:
            if not (isinstance(result, tuple) and len(result) == 2 and result[0] in self.events):  # noqa: PLR2004
                raise ResultError(
                    f"routine {self._name!r} has the events {list(self.events)}: "
                    f"return a pair (event, data), got {_shown(result)}"
                )
            event, data = self.events[result[0]], result[1]
        else:
            event, data = self._only, result
        if not isinstance(data, dict):
            params = tuple(event.params)
            if len(params) != 1:
                raise ResultError(
                    f"routine {self._name!r}: event {event.name!r} has the parameters {list(params)}: "
                    f"return a dict of them, got {_shown(data)}"
                )
            data = {params[0]: data}
        self.emit(event.name, **data)


class _Handler:
    """The slot's handler: calls the function and emits what comes out."""

    def __init__(self, owner: FunctionRoutine, function: Callable[..., Any]) -> None:
        self.owner = owner
        self.function = function
        self.__signature__ = inspect.signature(function)
        self.is_generator = inspect.isgeneratorfunction(function)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.is_generator:
            return self._emit_each(self.function(*args, **kwargs))
        self.owner.emit_result(self.function(*args, **kwargs))
        return None

    def _emit_each(self, values: Generator[Any, None, Any]) -> Generator[None, None, None]:
        for value in values:
            self.owner.emit_result(value)
            yield


@overload
def routine(function: Callable[..., Any], /) -> FunctionRoutine: ...
@overload
def routine(
    *,
    events: Mapping[str, list[str] | tuple[str, ...]] | None = None,
    name: str | None = None,
    merge_strategy: MergeStrategy = "override",
    error_handler: ErrorHandler | None = None,
) -> Callable[[Callable[..., Any]], FunctionRoutine]: ...
def routine(
    function: Callable[..., Any] | None = None,
    /,
    *,
    events: Mapping[str, list[str] | tuple[str, ...]] | None = None,
    name: str | None = None,
    merge_strategy: MergeStrategy = "override",
    error_handler: ErrorHandler | None = None,
) -> FunctionRoutine | Callable[[Callable[..., Any]], FunctionRoutine]:
    """Make a routine of a function, as a decorator with or without arguments.

    Args:
        function: the function, where used without arguments.
        events: names of its events, each with the names of its parameters; None for one event
            `output`.
        name: its default id; the function's name when None.
        merge_strategy: of its slot, see `Slot`.
        error_handler: what follows its failures.

    Raises:
        HandlerError: the function cannot be a handler.
    """

    def wrap(inner: Callable[..., Any]) -> FunctionRoutine:
        return FunctionRoutine(
            inner,
            {DEFAULT_EVENT: ()} if events is None else events,
            name=name or str(getattr(inner, "__name__", "routine")),
            merge_strategy=merge_strategy,
            error_handler=error_handler,
        )

    return wrap if function is None else wrap(function)


def _look_up(module: str, name: str) -> Any:
    found: Any = sys.modules.get(module)
    if found is None:
        try:
            found = importlib.import_module(module)
        except ImportError:
            return None
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


def _rebuild(
    function: Any, events: Any, name: str, merge: MergeStrategy, handler: ErrorHandler | None
) -> FunctionRoutine:
    return FunctionRoutine(function, events, name=name, merge_strategy=merge, error_handler=handler)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:76] + " ..."  # noqa: PLR2004
