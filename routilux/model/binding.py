"""From the data of a message to a handler's arguments, by the handler's signature.

Owns the rules of binding, compiled once so that a call costs little. Pure. Never calls a handler.

The rules, the first that fits holds:

1. A handler without parameters is called without any.
2. One with `**kwargs` gets every parameter.
3. One whose only parameter is called `data` gets the whole dict.
4. One with a single parameter gets what came by that name. Nothing by that name: it gets the whole
   dict; but an empty dict leaves a default alone.
5. Any other gets its parameters by name. What is not asked for is left out, what did not come
   keeps its default, and what is required and did not come is a `SlotArgumentError`.

Parameters that stand before a `/` are handed over by position, under the same rules. What a
`functools.partial` has fixed is no parameter any more.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from inspect import Parameter
from types import FunctionType, MethodType
from typing import Any

from routilux.errors import HandlerError, SlotArgumentError

Arguments = tuple[tuple[Any, ...], dict[str, Any]]
"""Positional and named arguments of one call."""


class Binding:
    """How one handler takes its data; the subclasses are the rules.

    Args:
        parameters: names of all parameters that data may fill, in order; `**kwargs` not among them.
        required: those of them without a default.
    """

    __slots__ = ("is_async", "parameters", "positions", "required")

    takes_any = True
    """Whether data with other names than `parameters` reaches the handler too."""
    asks_each = False
    """Whether it needs its parameters of each message, where a batch comes as a list of them."""

    def __init__(self, parameters: tuple[str, ...] = (), required: tuple[str, ...] = ()) -> None:
        self.parameters = parameters
        self.required = required
        self.positions: tuple[str, ...] | None = None
        """Of a plain function, none of whose parameters has a default: their names, by position; else None.

        Called with the values of these it gets what `bind` gives, at a third of the cost or less."""
        self.is_async = False
        """Whether the handler is `async`: a coroutine function or an asynchronous generator."""

    def positions_renamed(self, mapping: tuple[tuple[str, str], ...]) -> tuple[str, ...] | None:
        """Give the `positions` for data that comes under other names; None where the names alone do not tell them.

        Args:
            mapping: pairs of (name that comes, name it becomes).
        """
        if self.positions is None or not mapping:
            return self.positions
        moved = {source for source, _target in mapping}
        names = []
        for parameter in self.required:
            sources = [source for source, target in mapping if target == parameter]
            if len(sources) > 1 or (not sources and parameter in moved):
                return None
            names.append(sources[0] if sources else parameter)
        return tuple(names)

    def bind(self, data: dict[str, Any]) -> Arguments:
        """Turn `data` into arguments; it is kept where it is handed over whole, and never changed.

        Raises:
            SlotArgumentError: a required parameter did not come.
        """
        raise NotImplementedError

    def lacks(self, names: frozenset[str]) -> tuple[str, ...]:
        """Tell which required parameters are missing from data with these names."""
        return ()


class NoArguments(Binding):
    """Rule 1: nothing is handed over."""

    __slots__ = ()

    takes_any = False

    def bind(self, data: dict[str, Any]) -> Arguments:
        return (), {}


class WholeDict(Binding):
    """Rule 3: the dict itself.

    Args:
        name: the one parameter.
        keyword: whether it can be handed over by name only.
    """

    __slots__ = ("_keyword", "_name")

    def __init__(self, name: str, *, keyword: bool) -> None:
        super().__init__((name,), (name,))
        self._name = name
        self._keyword = keyword

    def bind(self, data: dict[str, Any]) -> Arguments:
        return ((), {self._name: data}) if self._keyword else ((data,), {})


class OneOrWhole(WholeDict):
    """Rule 4: the value of that name, else the dict.

    Args:
        name: the one parameter.
        keyword: whether it can be handed over by name only.
        has_default: whether an empty dict leaves it alone.
    """

    __slots__ = ("_has_default",)

    def __init__(self, name: str, *, keyword: bool, has_default: bool) -> None:
        super().__init__(name, keyword=keyword)
        self._has_default = has_default
        if has_default:
            self.required = ()

    def bind(self, data: dict[str, Any]) -> Arguments:
        if self._has_default and not data:
            return (), {}
        value = data.get(self._name, data)
        return ((), {self._name: value}) if self._keyword else ((value,), {})


class ByName(Binding):
    """Rule 5, and 2 where there is a `**kwargs`.

    Args:
        signature: the handler's parameters, none of them `*args`.
    """

    __slots__ = ("_optional", "_positional", "_positional_names", "_required_names", "takes_any")

    def __init__(self, signature: list[Parameter]) -> None:
        named = [parameter for parameter in signature if parameter.kind is not Parameter.VAR_KEYWORD]
        super().__init__(
            tuple(parameter.name for parameter in named),
            tuple(parameter.name for parameter in named if parameter.default is Parameter.empty),
        )
        before_slash = [parameter for parameter in named if parameter.kind is Parameter.POSITIONAL_ONLY]
        self.takes_any = len(named) != len(signature)
        self._positional = tuple((parameter.name, parameter.default) for parameter in before_slash)
        self._positional_names = frozenset(parameter.name for parameter in before_slash)
        self._required_names = tuple(name for name in self.required if name not in self._positional_names)
        self._optional = tuple(
            name for name in self.parameters if name not in self._positional_names and name not in self.required
        )

    def bind(self, data: dict[str, Any]) -> Arguments:
        try:
            args = self._bind_positional(data) if self._positional else ()
            if self.takes_any:
                return args, self._bind_all(data)
            kwargs = {name: data[name] for name in self._required_names}
        except KeyError:
            raise SlotArgumentError(self.lacks(frozenset(data)), self.parameters, data) from None
        for name in self._optional:
            if name in data:
                kwargs[name] = data[name]
        return args, kwargs

    def lacks(self, names: frozenset[str]) -> tuple[str, ...]:
        return tuple(name for name in self.required if name not in names)

    def _bind_positional(self, data: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(
            data[name] if default is Parameter.empty else data.get(name, default) for name, default in self._positional
        )

    def _bind_all(self, data: dict[str, Any]) -> dict[str, Any]:
        for name in self._required_names:
            data[name]  # missing: the KeyError is what is wanted
        if self._positional_names:
            return {name: value for name, value in data.items() if name not in self._positional_names}
        return dict(data)


def compile_binding(handler: Callable[..., Any], where: str) -> Binding:
    """Read the handler's signature and give how it takes data.

    Args:
        handler: a function, bound method, lambda, class, callable object or `functools.partial`.
        where: what it handles, for errors, such as `slot 'source' of Parse`.

    Raises:
        HandlerError: it cannot be called, takes `*args`, or does not show its signature.
    """
    binding = _compile(handler, _read_signature(handler, where))
    binding.is_async = is_async(handler)
    return binding


def is_async(handler: Callable[..., Any]) -> bool:
    """Tell whether calling `handler` gives a coroutine or an asynchronous generator, by how it was defined."""
    while isinstance(handler, functools.partial):
        handler = handler.func
    for function in (handler, getattr(type(handler), "__call__", None)):  # noqa: B004 - the function itself is wanted
        if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
            return True
    return False


def _compile(handler: Callable[..., Any], signature: list[Parameter]) -> Binding:
    if not signature:
        return NoArguments()
    binding: Binding
    if len(signature) == 1 and signature[0].kind is not Parameter.VAR_KEYWORD:
        (only,) = signature
        keyword = only.kind is Parameter.KEYWORD_ONLY
        if only.name == "data":
            return WholeDict("data", keyword=keyword)
        binding = OneOrWhole(only.name, keyword=keyword, has_default=only.default is not Parameter.empty)
    else:
        binding = ByName(signature)
    if _is_plain(handler, signature):
        binding.positions = binding.required
    return binding


def _read_signature(handler: Callable[..., Any], where: str) -> list[Parameter]:
    if not callable(handler):
        raise HandlerError(f"the handler of {where} is something to call, got {type(handler).__qualname__}")
    try:
        parameters = list(inspect.signature(handler).parameters.values())
    except (TypeError, ValueError) as error:
        raise HandlerError(
            f"the handler of {where} does not show which parameters it takes ({_name(handler)}: {error}); "
            "wrap it in a function"
        ) from error
    for parameter in parameters:
        if parameter.kind is Parameter.VAR_POSITIONAL:
            raise HandlerError(
                f"the handler of {where} takes '*{parameter.name}' ({_name(handler)}), but parameters come by name; "
                "name them, or take '**kwargs' for all of them"
            )
    fixed = _fixed_names(handler)
    return [parameter for parameter in parameters if parameter.name not in fixed]


def _is_plain(handler: Callable[..., Any], signature: list[Parameter]) -> bool:
    # By position or by name makes a difference to a wrapper, whose signature is another function's.
    function = handler.__func__ if isinstance(handler, MethodType) else handler
    return (
        isinstance(function, FunctionType)
        and not hasattr(function, "__wrapped__")
        and not hasattr(function, "__signature__")
        and all(
            parameter.kind is Parameter.POSITIONAL_OR_KEYWORD and parameter.default is Parameter.empty
            for parameter in signature
        )
    )


def _fixed_names(handler: Callable[..., Any]) -> frozenset[str]:
    return frozenset(handler.keywords) if isinstance(handler, functools.partial) else frozenset()


def _name(handler: Callable[..., Any]) -> str:
    return getattr(handler, "__qualname__", None) or type(handler).__qualname__
