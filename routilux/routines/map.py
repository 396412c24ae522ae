"""`Map`, `FlatMap` and `Split`: other messages made of each message.

Owns how a result becomes a message. Remembers nothing, so there may be any number of workers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, ClassVar

from routilux.errors import HandlerError, ResultError
from routilux.model.names import checked_name
from routilux.model.state_policy import NONE
from routilux.routines.asking import OUTPUT, Question, input_slot
from routilux.routines.errors import RecordError
from routilux.routines.keys import key_text
from routilux.routines.ready_made import ReadyMade

VALUE = "value"
"""The parameter of a result that is no dict."""


class Map(ReadyMade):
    """Makes one message of each: what a function gives for it.

    Slot `input`, event `output`. The function takes the parameters of a message by the rules of a handler: by their
    names, or, as the only parameter `data`, all in a dict. A dict that it gives is the new message; any other value,
    None too, is its parameter `value`. With `into` the message goes on as it was, with the result under that name.

    Args:
        function: gives the result. It travels to a worker as a handler does.
        into: the parameter that the result is added as; None: the result is all that goes on.

    Raises:
        HandlerError: the function cannot be called with a message, is `async`, or yields.
        InvalidNameError: `into` cannot be the name of a parameter.

    In a job:
        ResultError: a dict that is to be the message has a key that is no text.
        SlotArgumentError: the message lacks a parameter of the function.
        What the function raises.

    Example:
        >>> from routilux import Flow
        >>> flow = Flow("squares")
        >>> _ = flow.add_routine(Map(lambda n: n * n, into="square"), "square")
        >>> _ = flow.output("square", "output")
        >>> with flow.start(keep_open=True) as job:
        ...     job.send("square", "input", n=3)
        >>> job.state.outputs["square", "output"]
        [{'n': 3, 'square': 9}]
    """

    state_policy: ClassVar[str] = NONE
    gives_many: ClassVar[bool] = False
    """Whether the function gives several results, and so may yield them."""

    def __init__(self, function: Callable[..., Any], *, into: str | None = None) -> None:
        super().__init__()
        name = type(self).__name__
        given: object = function  # what came may be anything
        if not callable(given):
            raise HandlerError(f"{name}: expected a function of a message, got {given!r}")
        self.function = function
        self.into = None if into is None else checked_name(into, f"the result of {name}")
        self._question = Question(function, f"the function of {name}", may_yield=self.gives_many)
        self._add_slot(input_slot(self, self.take, [self._question]))
        self.define_event(OUTPUT)

    def take(self, data: dict[str, Any]) -> None:
        """Handle one message."""
        self._give(data, self._question(data))

    def _give(self, data: dict[str, Any], result: Any) -> None:
        if self.into is not None:
            self.emit(OUTPUT, **{**data, self.into: result})
        elif isinstance(result, dict):
            for key in result:
                if not isinstance(key, str):
                    raise ResultError(
                        f"a dict that the function of {type(self).__name__} gives is a message, whose parameters have "
                        f"names, got the key {key!r}; give another kind of value, or use into="
                    )
            self.emit(OUTPUT, **result)
        else:
            self.emit(OUTPUT, **{VALUE: result})


class FlatMap(Map):
    """Makes any number of messages of each: those that a function gives, one after another.

    As `Map`, for a function that gives an iterable: a list, a generator, None for nothing. Each of its items becomes a
    message. Of a generator never more is held than what R3 allows, so it may give millions; a message that is run again
    asks it again, and drops what was out already by its position: it has to give the same, or the routine is declared
    `atomic=True`. The items of a set go out sorted, by kind and value, since sets have another order in each process.

    Args:
        function: gives the items.
        into: the parameter that an item is added as; None: the item is all that goes on.

    Raises:
        HandlerError: the function cannot be called with a message, or is `async`.
        InvalidNameError: `into` cannot be the name of a parameter.

    In a job:
        RecordError: the function gives a set of other things than can be keys (`Deduplicate`).
        ResultError: the function gives no iterable, or a text or dict, which are meant whole; or as for `Map`.
        SlotArgumentError: the message lacks a parameter of the function.
        What the function raises.

    Example:
        >>> from routilux import Flow
        >>> flow = Flow("words")
        >>> _ = flow.add_routine(FlatMap(lambda line: line.split(), into="word"), "words")
        >>> _ = flow.output("words", "output")
        >>> with flow.start(keep_open=True) as job:
        ...     job.send("words", "input", line="to be")
        >>> job.state.outputs["words", "output"]
        [{'line': 'to be', 'word': 'to'}, {'line': 'to be', 'word': 'be'}]
    """

    gives_many: ClassVar[bool] = True

    def take(self, data: dict[str, Any]) -> None:
        """Handle one message."""
        results = self._question(data)
        if results is None:
            return
        if not _has_parts(results):
            raise ResultError(
                f"the function of {type(self).__name__} gives an iterable of results (a list, a generator, None for "
                f"nothing), got {type(results).__qualname__}; Map is for one result"
            )
        for result in _in_order(results, "an item of a set from FlatMap's function"):
            self._give(data, result)


class Split(ReadyMade):
    """Makes a message of each item of a parameter, and leaves the other parameters with it.

    Slot `input`, event `output`. An empty parameter gives no message. `FlatMap` splits text.

    The items go out in their order, those of a set sorted by kind and value: a set itself has them in another order in
    each process, and what was out already when a message is run again is known by its position.

    Args:
        parameter: the parameter, which is a list, tuple, set or other iterable that can be read again.
        into: the parameter of an item; None: the same.
        index: the parameter in which the place of the item is told, from 0; None: it is not told.

    Raises:
        InvalidNameError: one of them cannot be the name of a parameter.

    In a job:
        RecordError: the parameter is no iterable, or a text or dict, or an iterator, which can be read only once; or a
            set of other things than can be keys (`Deduplicate`).
        SlotArgumentError: the message lacks the parameter.

    Example:
        >>> from routilux import Flow
        >>> flow = Flow("orders")
        >>> _ = flow.add_routine(Split("items", into="item"), "split")
        >>> _ = flow.output("split", "output")
        >>> with flow.start(keep_open=True) as job:
        ...     job.send("split", "input", order=7, items=["tea", "cup"])
        >>> job.state.outputs["split", "output"]
        [{'order': 7, 'item': 'tea'}, {'order': 7, 'item': 'cup'}]
    """

    state_policy: ClassVar[str] = NONE

    def __init__(self, parameter: str, *, into: str | None = None, index: str | None = None) -> None:
        super().__init__()
        self.parameter = checked_name(parameter, "what Split splits")
        self.into = parameter if into is None else checked_name(into, "an item of Split")
        self.index = None if index is None else checked_name(index, "the index of Split")
        self._question = Question(parameter, "what Split splits")
        self._add_slot(input_slot(self, self.take, [self._question]))
        self.define_event(OUTPUT)

    def take(self, data: dict[str, Any]) -> None:
        """Handle one message."""
        items = self._question(data)
        if not _has_parts(items):
            raise RecordError(
                f"Split expected its parameter {self.parameter!r} to be a list or another iterable, "
                f"got {type(items).__qualname__}"
            )
        if isinstance(items, Iterator):
            raise RecordError(
                f"Split expected its parameter {self.parameter!r} to be a list or another iterable that can be read "
                f"again when the message is, got {type(items).__qualname__}; make a list of it, or use FlatMap"
            )
        others = {name: value for name, value in data.items() if name != self.parameter}
        for number, item in enumerate(_in_order(items, "an item of a set for Split")):
            place = {} if self.index is None else {self.index: number}
            self.emit(OUTPUT, **{**others, self.into: item, **place})


def _in_order(items: Iterable[Any], where: str) -> Iterable[Any]:
    """Give the items in an order that is the same each time: that of a set is another one in each process."""
    return sorted(items, key=lambda item: key_text(item, where)) if isinstance(items, set | frozenset) else items


def _has_parts(value: object) -> bool:
    return isinstance(value, Iterable) and not isinstance(value, str | bytes | bytearray | Mapping)
