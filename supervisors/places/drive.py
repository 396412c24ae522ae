"""The steps of a request's coroutines on a loop, each passed on: its own, and those of the tasks that it starts.

Owns who is known to run at a moment, and that each comes by the gate before it goes on. Knows no event loop. Never says
when a gate is open (`request`).
"""

from __future__ import annotations

from collections.abc import Coroutine, Generator
from typing import Any

from supervisors.places.copies import generation, leave_copy
from supervisors.places.request import Gate, Request


class Drive:
    """Awaits a coroutine of a request step by step.

    Args:
        request: whose it is.
        work: the coroutine.
        gate: its loop.
    """

    def __init__(self, request: Request, work: Coroutine[Any, Any, Any], gate: Gate) -> None:
        self._request = request
        self._work = work
        self._gate = gate

    def __await__(self) -> Generator[Any, Any, Any]:
        request, work, gate = self._request, self._work, self._gate
        value: Any = None
        error: BaseException | None = None
        while True:
            before, gate.current = gate.current, request
            gate.steps += 1
            try:
                awaited = work.send(value) if error is None else work.throw(error)
            except StopIteration as ended:
                _leave_if_copy(gate)
                return ended.value
            except BaseException as raised:
                _leave_if_copy(gate, raised)
                raise
            finally:
                gate.current = before
            _leave_if_copy(gate)
            value, error = yield from self._wait(awaited)

    def _wait(self, awaited: Any) -> Generator[Any, Any, tuple[Any, BaseException | None]]:
        """Wait for what the coroutine awaits, and at the gate; gives what is sent or raised where it waits."""
        request, gate = self._request, self._gate
        value: Any = None
        error: BaseException | None = None
        try:
            try:
                value = yield awaited
            except GeneratorExit:
                raise
            except BaseException as raised:  # noqa: BLE001  it waits at the gate as a value does, if that is shut
                error = raised
            if request.looks_at_gate and (error is None or gate.held_by):  # a cancel needs no room
                yield from request.pass_gate()
        except GeneratorExit:
            self._work.close()  # its loop is no more: what it awaits may be gone before it
            raise
        except BaseException as raised:  # noqa: BLE001
            error = raised
        return value, error


class Driven(Coroutine[Any, Any, Any]):
    """A coroutine that a request has started, for the task that runs it: driven, and otherwise what it is.

    Args:
        request: whose it is.
        work: the coroutine.
        gate: its loop.
    """

    def __init__(self, request: Request, work: Coroutine[Any, Any, Any], gate: Gate) -> None:
        self._work = work
        self._steps = Drive(request, work, gate).__await__()
        self._is_begun = False

    def send(self, value: Any) -> Any:
        """Make a step."""
        self._is_begun = True
        return self._steps.send(value)

    def throw(self, *error: Any) -> Any:
        """Raise in it."""
        # Before its first step that is for the coroutine itself, which else would count as never awaited.
        return self._steps.throw(*error) if self._is_begun else self._work.throw(*error)

    def close(self) -> None:
        """End it where it waits."""
        self._steps.close()
        self._work.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._steps

    def __getattr__(self, name: str) -> Any:
        return getattr(self._work, name)  # its name and frame, for who lists tasks


def _leave_if_copy(gate: Gate, error: BaseException | None = None) -> None:
    if generation.number != gate.generation:
        leave_copy(error)
