"""How a handler is called with what a message carries, where nothing has to be done to that first.

Owns the short cut past `Binding.bind`. Pure, but for the handler that it calls.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

Call = Callable[[dict[str, Any]], Any]
"""Calls a handler with what it finds in the data; raises `KeyError`, before it calls, where something is not there."""


def call_by_position(handler: Callable[..., Any], names: tuple[str, ...]) -> Call:
    """Give what calls `handler` with the values of these names, by position; there is one name at least.

    Nearly all handlers take few parameters, and the interpreter calls a function fastest whose arguments are written
    out.
    """
    match names:
        case (first,):
            return lambda data: handler(data[first])
        case (first, second):
            return lambda data: handler(data[first], data[second])
        case (first, second, third):
            return lambda data: handler(data[first], data[second], data[third])
        case _:
            pick = operator.itemgetter(*names)
            return lambda data: handler(*pick(data))
