"""A handler that is a generator, step by step (R4).

Owns its run and its end. Never commits.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from routilux.context import enter_turn
from supervisors.report import reporter

_log = reporter("routilux")


class Steps:
    """A generator that is closed outside of any turn, also where its execution was dropped without a word.

    Not if it was dropped as part of a reference cycle: there the garbage collector says what goes first.
    """

    __slots__ = ("_generator",)

    def __init__(self, generator: Generator[Any, Any, Any]) -> None:
        self._generator: Generator[Any, Any, Any] | None = generator

    def advance(self) -> tuple[bool, Any]:
        """Run to the next stop: (whether it is over, what it yielded)."""
        if self._generator is None:
            return True, None
        try:
            return False, next(self._generator)
        except StopIteration:
            self._generator = None
            return True, None

    def close(self) -> None:
        """Let the generator's `finally` blocks run; what they raise is logged, since nobody waits for it."""
        generator, self._generator = self._generator, None
        if generator is None:
            return
        before = enter_turn(None)
        try:
            generator.close()
        except BaseException:  # noqa: BLE001
            _log.exception("a generator handler raised while it was closed")
        finally:
            # One that went on is closed once more as it is dropped, which is still outside of any turn.
            del generator
            enter_turn(before)

    def __del__(self) -> None:
        self.close()
