"""Everything that code may raise, for the tests of those who run it: none of it ends more than a request."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from supervisors.places.base import RequestAbandoned


class OwnError(BaseException):
    """No `Exception`: an `except Exception` lets it pass."""


class UnmakeableError(Exception):
    def __init__(self) -> None:
        raise OwnError("cannot be made")


def throw(error: BaseException) -> NoReturn:
    raise error


def nested() -> Any:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    return value


def recurse() -> Any:
    return recurse()


def interrupt_generator() -> Any:
    def generate() -> Any:
        yield 1
        raise KeyboardInterrupt("inside")

    return list(generate())


DEEDS: dict[str, tuple[Callable[[], Any], str]] = {
    "exit": (sys.exit, "SystemExit"),
    "exit 0": (lambda: sys.exit(0), "SystemExit: 0"),
    "exit text": (lambda: sys.exit("bye"), "SystemExit: bye"),
    "exit object": (lambda: sys.exit([1]), "SystemExit: [1]"),
    "exit two": (lambda: throw(SystemExit(1, 2)), "SystemExit: (1, 2)"),
    "exit huge": (lambda: sys.exit(2**100), f"SystemExit: {2**100}"),
    "interrupt": (lambda: throw(KeyboardInterrupt()), "KeyboardInterrupt"),
    "interrupt inside": (interrupt_generator, "KeyboardInterrupt: inside"),
    "generator exit": (lambda: throw(GeneratorExit()), "GeneratorExit"),
    "cancelled": (lambda: throw(asyncio.CancelledError("task")), "asyncio.exceptions.CancelledError: task"),
    "own": (lambda: throw(OwnError("mine")), "tests.deeds.OwnError: mine"),
    "unmakeable": (lambda: throw(UnmakeableError()), "tests.deeds.OwnError: cannot be made"),
    "stop": (lambda: next(iter(())), "StopIteration"),
    "stop async": (lambda: throw(StopAsyncIteration(3)), "StopAsyncIteration: 3"),
    "abandoned": (lambda: throw(RequestAbandoned("not for you")), "supervisors.places.base.RequestAbandoned: not for"),
    "memory bytes": (lambda: bytes(2**62), "MemoryError"),
    "memory list": (lambda: [0] * 2**59, "MemoryError"),
    "memory text": (lambda: "x" * (sys.maxsize - 100), "MemoryError"),
    "recursion": (recurse, "RecursionError: maximum recursion depth exceeded"),
    "recursion of repr": (lambda: repr(nested()), "RecursionError"),
    "recursion of json": (lambda: json.dumps(nested()), "RecursionError"),
    "recursion of parser": (lambda: json.loads("[" * 100_000), "RecursionError"),
    "group": (
        lambda: throw(BaseExceptionGroup("all", [OwnError("a"), ValueError()])),
        "BaseExceptionGroup: all (2 sub",
    ),
    "no exception": (lambda: throw(3), "TypeError: exceptions must derive from BaseException"),  # type: ignore[arg-type]
}
"""By name: what raises, and how its record begins."""
