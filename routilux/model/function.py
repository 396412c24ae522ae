"""`@routine`: a function is a routine too.

Owns the rules by which a function's result is emitted, and how such a routine travels. Never runs
the function by itself: that is for a turn to do, or for whoever calls it.

Theory of operation, of travelling. In its module the name of a decorated function leads to the
routine and no longer to the function, so pickle would carry the function by value, with all the
globals it uses. Therefore a routine's pickle holds its function by the name of the *routine*, where
that name leads to it; else the function itself (defined in `__main__`, inside of a function, or a
lambda). Everything else of the routine, such as settings made after the import, is in the pickle.
"""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator, Iterable, Mapping
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import Any, NamedTuple, overload

from routilux.conversion import annotations_of
from routilux.errors import ResultError
from routilux.model.binding import compile_binding
from routilux.model.error_handler import ErrorHandler, checked_handler
from routilux.model.merging import MergeStrategy
from routilux.model.names import checked_names, id_from
from routilux.model.routine import Routine
from routilux.model.slot import Slot
from routilux.serial.naming import built_in

INPUT = "input"
"""The one slot of a function routine."""
DEFAULT_EVENT = "output"
"""The one event of a function that declares none."""

Events = Mapping[str, Iterable[str] | Mapping[str, Any]] | Iterable[str]
"""Names of events, each with the names of its parameters, or with these and their types, or without."""


@built_in.register("routilux.FunctionRoutine")
class FunctionRoutine(Routine):
    """A function as a routine: its slot is `input`, what it returns is emitted.

    With one event a returned dict is that event's data; another value is emitted under the
    event's only parameter. With several, a pair `(event, data)` says which. None emits nothing. A
    generator, also an asynchronous one, emits each value it yields, and commits there (R4). Run again, it begins anew,
    and what was out already is dropped by its position, unless the routine is `atomic`. Called like the function it
    is, the object calls the plain function. It may stand in a flow several times.

    Args:
        function: the function; it takes data as any handler does.
        events: its events; None for one event `output` whose parameters are left open.
        name: its default id.
        merge_strategy: of its slot, see `Slot`.
        error_handler: what follows its failures.

    Raises:
        HandlerError: the function cannot be a handler.
        InvalidNameError: an event or parameter that cannot be called so.
        OptionError: the merge strategy or the error handler is none.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        events: Events | None,
        *,
        name: str,
        merge_strategy: MergeStrategy,
        error_handler: ErrorHandler | None,
    ) -> None:
        super().__init__()
        what = f"function routine {name!r}"
        binding = compile_binding(function, what)
        functools.update_wrapper(self, function)
        self._function = function
        self._name = name
        self.error_handler = checked_handler(error_handler, what)
        for event, params in _event_table(events, what).items():
            self.define_event(event, params)
        self._add_slot(Slot(INPUT, self._handle, merge_strategy, owner=what, binding=binding))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<routine {self._name}{self._tell_ends()}>"

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()
        state.pop("__wrapped__", None)
        module, path = self.__module__, str(getattr(self, "__qualname__", ""))
        found = _look_up(sys.modules.get(module), path)
        if module != "__main__" and isinstance(found, FunctionRoutine) and found.function is self._function:
            state["_function"] = _Name(module, path)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if isinstance(self._function, _Name):
            self._function = self._function.resolve()
        self.__wrapped__ = self._function

    def _take_fields(self) -> dict[str, Any]:
        settings = self._take_settings()
        of_function = {*vars(self._function), "_function", "_name"}
        own = {
            name: part
            for name, part in settings.pop("attributes", {}).items()
            if name not in of_function and not name.startswith("__")
        }
        return {
            "function": self._function,
            "name": self._name,
            "events": list(self.events.values()),
            "merge_strategy": self.slots[INPUT].merge_strategy,
            **settings,
            **({"attributes": own} if own else {}),
        }

    def _fill_fields(self, fields: dict[str, Any]) -> None:
        made = {name: fields.pop(name) for name in ("function", "name", "events", "merge_strategy")}
        FunctionRoutine.__init__(
            self,
            made["function"],
            {event.name: event.declared for event in made["events"]},
            name=made["name"],
            merge_strategy=made["merge_strategy"],
            error_handler=None,
        )
        self._fill_settings(fields)

    @property
    def function(self) -> Callable[..., Any]:
        """The plain function."""
        return self._function

    @property
    def default_id(self) -> str:
        """The function's name."""
        return id_from(self._name)

    def entry_slot(self) -> Slot:
        """Give the one slot."""
        return self.slots[INPUT]

    def slot_annotations(self, slot: Slot) -> dict[str, Any]:
        """Give the types that the function's parameters are annotated as, by name; none if one is not known."""
        return annotations_of(self._function)

    def again(self) -> FunctionRoutine:
        """Make another routine of the same function, with the same events and settings."""
        made = FunctionRoutine(
            self._function,
            {event.name: event.declared for event in self.events.values()},
            name=self._name,
            merge_strategy=self.slots[INPUT].merge_strategy,
            error_handler=self.error_handler,
        )
        made.set_config(**self.get_config())
        return made

    def emit_result(self, result: Any) -> None:
        """Emit what the function returned or yielded.

        Raises:
            ResultError: it does not say what to emit.
        """
        if result is None:
            return
        events = self.events
        if len(events) == 1:
            ((name, event),) = events.items()
            data = result
        else:
            if not (isinstance(result, tuple) and len(result) == 2 and _is_among(result[0], events)):  # noqa: PLR2004
                expected = (
                    f"a pair (event, data) with an event of {list(events)}" if events else "None: it has no events"
                )
                raise ResultError(f"routine {self._name!r} returns or yields {expected}, got {_shown(result)}")
            name, data = result
            event = events[name]
        if not isinstance(data, dict):
            params = tuple(event.params)
            if len(params) != 1:
                declared = f"the parameters {list(params)}" if params else "no parameters declared"
                raise ResultError(
                    f"event {name!r} of routine {self._name!r} has {declared}, so a dict of them is returned or "
                    f"yielded, got {_shown(data)}"
                )
            data = {params[0]: data}
        for key in data:
            if not isinstance(key, str):
                raise ResultError(
                    f"event {name!r} of routine {self._name!r} is emitted with parameters by name, got {_shown(key)}"
                )
        self.emit(name, **data)

    def _handle(self, /, *args: Any, **kwargs: Any) -> _Handling:
        result = self._function(*args, **kwargs)
        if isinstance(result, GeneratorType):
            return self._emit_each(result)
        if isinstance(result, CoroutineType):
            return self._emit_awaited(result)
        if isinstance(result, AsyncGeneratorType):
            return self._emit_each_awaited(result)
        self.emit_result(result)
        return None

    async def _emit_awaited(self, result: Awaitable[Any]) -> None:
        self.emit_result(await result)

    async def _emit_each_awaited(self, results: AsyncGenerator[Any, None]) -> AsyncGenerator[None, None]:
        try:
            async for result in results:
                self.emit_result(result)
                yield
        finally:
            await results.aclose()

    def _emit_each(self, results: Generator[Any, None, Any]) -> Generator[None, None, None]:
        try:
            while True:
                self.emit_result(next(results))
                yield
        except StopIteration as end:
            self.emit_result(end.value)
        finally:
            results.close()


_Handling = Generator[None, None, None] | Coroutine[Any, Any, None] | AsyncGenerator[None, None] | None
"""What a handler gives that is not over when it returns."""


class _Name(NamedTuple):
    """Where a function is found: the function of the routine that a name leads to."""

    module: str
    path: str

    def resolve(self) -> Callable[..., Any]:
        found = _look_up(importlib.import_module(self.module), self.path)
        if not isinstance(found, FunctionRoutine):
            raise TypeError(f"{self.module}.{self.path} is expected to be a @routine, got {found!r}")
        return found.function


@overload
def routine(function: Callable[..., Any], /) -> FunctionRoutine: ...
@overload
def routine(
    *,
    events: Events | None = None,
    name: str | None = None,
    merge_strategy: MergeStrategy = "override",
    error_handler: ErrorHandler | None = None,
) -> Callable[[Callable[..., Any]], FunctionRoutine]: ...
def routine(
    function: Callable[..., Any] | None = None,
    /,
    *,
    events: Events | None = None,
    name: str | None = None,
    merge_strategy: MergeStrategy = "override",
    error_handler: ErrorHandler | None = None,
) -> FunctionRoutine | Callable[[Callable[..., Any]], FunctionRoutine]:
    """Make a routine of a function, as a decorator with or without arguments.

    Args:
        function: the function, where used without arguments.
        events: names of its events, each with the names of its parameters, or with their types, or without; None for
            one event `output`; an empty list for a function that emits nothing.
        name: its default id; the function's name when None.
        merge_strategy: of its slot, see `Slot`.
        error_handler: what follows its failures.

    Raises:
        As `FunctionRoutine`.
    """

    def wrap(inner: Callable[..., Any]) -> FunctionRoutine:
        return FunctionRoutine(
            inner,
            events,
            name=name or str(getattr(inner, "__name__", "routine")),
            merge_strategy=merge_strategy,
            error_handler=error_handler,
        )

    return wrap if function is None else wrap(function)


def _event_table(events: Events | None, what: str) -> dict[str, Iterable[str] | Mapping[str, Any]]:
    if events is None:
        return {DEFAULT_EVENT: ()}
    if isinstance(events, Mapping):
        return dict(events)
    return dict.fromkeys(checked_names(events, f"events of {what}"), ())


def _look_up(found: Any, path: str) -> Any:
    # A module without a spec was made by hand: no other process can import it.
    if getattr(found, "__spec__", None) is None:
        return None
    for part in path.split("."):
        found = getattr(found, part, None)
    return found


def _is_among(name: object, events: Mapping[str, Any]) -> bool:
    return isinstance(name, str) and name in events


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:76] + " ..."  # noqa: PLR2004
