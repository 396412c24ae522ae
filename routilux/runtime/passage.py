"""What passes a routine, as texts for people.

Owns the words for values. Never unpickles, imports or runs anything of a user's for that: objects are told by the names
of their types and fields, and what is encoded as the commands of a store tell it.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from itertools import chain
from typing import Any

from routilux.accounts import Watch
from routilux.control.frames import Passing, fit_to
from routilux.ids import to_id
from routilux.messages import Message, parts_of
from routilux.routing import Plan, RoutinePlan
from routilux.serial.described import Opaque, describe
from supervisors.mailbox import Lock
from supervisors.text import cut, printable
from supervisors.wire.outside import Leased

KEPT = 500
"""Values that are held until their texts are made, which takes a moment (arbitrary)."""
TEXT_CHARACTERS = 300
"""Characters of one message (arbitrary: some lines of a terminal)."""
VALUE_CHARACTERS = 100
"""Characters of one value in it (arbitrary)."""
ITEMS_TOLD = 6
"""Items of a collection, and fields of an object (arbitrary)."""
DEPTH = 3
"""Collections in collections that are told (arbitrary)."""

_PLAIN = (int, float, complex, bool, type(None))
_ITEM_KINDS = frozenset("biufcmMSU")
"""Kinds of dtypes of which one value is a number, a time or a text: others may hold objects."""
_BRACKETS: dict[type, str] = {list: "[]", tuple: "()", set: "{}", frozenset: "{}", dict: "{}"}


class Caller:
    """Where nobody sleeps: who is to be woken is called instead (a `Parker` but for `park`).

    Args:
        call: called at each wake-up.
    """

    def __init__(self, call: Callable[[], None]) -> None:
        self._call = call

    def park(self, timeout: float | None) -> None:
        """Return at once."""

    def unpark(self) -> None:
        """Call."""
        self._call()

    def close(self) -> None:
        """Do nothing."""


class Passage:
    """What passes one routine, until it is taken.

    Args:
        plan: the compiled flow.
        routine: the routine.
        lock: the job's lock, as threads from outside take it.
        call: called, by any thread, when there is something after a `take` that found no more.
    """

    def __init__(self, plan: Plan, routine: RoutinePlan, lock: Lock, call: Callable[[], None]) -> None:
        self.watch = Watch(KEPT, lock)
        self._plan = plan
        self._routine = routine
        self._lock = lock
        self._told = 0
        self._mailbox = self.watch.tap.mailbox
        self._mailbox.attach(Caller(call))
        self._mailbox.fall_asleep(self._mailbox.rings)

    def take(self, room: int) -> tuple[list[Passing], int]:
        """Give what has come, oldest first, as far as there is room; and how many more there were, without their texts.

        Args:
            room: how many are wanted.
        """
        found: list[Passing] = []
        missed = 0
        while True:
            seen = self._mailbox.rings
            with self._lock:
                items = self._mailbox.drain_held()
            if not items and self._mailbox.fall_asleep(seen):
                return found, missed
            at = time.time()
            for is_taken, name, message_id, payload in chain.from_iterable(map(self._parts, items)):
                if len(found) < room:
                    found.append(Passing(is_taken, name, message_id, at, tell_payload(payload)))
                else:
                    missed += 1
            if len(found) + missed >= KEPT:
                # Enough for once: there may come more as fast as it is told.
                self._mailbox.unpark()
                return found, missed

    def take_missed(self) -> int:
        """Give how many there was no room for since this was asked last."""
        missed = self.watch.tap.missed
        missed, self._told = missed - self._told, missed
        return missed

    def _parts(self, item: Message | tuple[int, Any]) -> list[tuple[bool, str, str, Any]]:
        if isinstance(item, Message):
            edges = self._plan.edges
            return [(True, edges[part.edge].label, to_id(part.key), part.payload) for part in parts_of(item)]
        event, payload = item
        return [(False, self._routine.events[event], "", payload)]


def tell_payload(payload: Any) -> str:
    """Say what a message carries: `path='a.py', functions=3`."""
    if isinstance(payload, Leased):
        return "(large arrays, in shared memory)"
    try:
        data = payload if isinstance(payload, dict) else describe(payload)
        if isinstance(data, dict):
            told = ", ".join(f"{printable(str(name))}={tell_value(value)}" for name, value in list(data.items()))
        else:
            told = tell_value(data)
    except Exception as error:  # noqa: BLE001  damaged bytes, what its owner changes meanwhile, or an odd metaclass
        told = printable(f"(cannot be told: {type(error).__name__}: {error})")
    return fit_to(told, TEXT_CHARACTERS)


def tell_value(value: Any, depth: int = DEPTH) -> str:
    """Say what a value is, in a short text, without running code of its class."""
    kind: type = type(value)
    if kind in _PLAIN:
        told = repr(value) if kind is not int or value.bit_length() < 1_000 else "(a long number)"  # noqa: PLR2004
    elif kind is str:
        told = repr(value[:VALUE_CHARACTERS]) + ("..." if len(value) > VALUE_CHARACTERS else "")
    elif kind in {bytes, bytearray, memoryview}:
        told = f"<{kind.__name__}: {value.nbytes if kind is memoryview else len(value):,} bytes>"
    elif kind in _BRACKETS:
        told = _tell_items(value, _BRACKETS[kind], depth)
    else:
        told = _tell_object(value, kind, depth)
    return cut(printable(told), VALUE_CHARACTERS)


def _tell_items(value: Any, brackets: str, depth: int) -> str:
    size = len(value)
    if depth <= 0 and size:
        return f"{brackets[0]}{size:,} items{brackets[1]}"
    some = [item for item, _ in zip(value.items() if type(value) is dict else value, range(ITEMS_TOLD), strict=False)]
    if type(value) is dict:
        told = [f"{tell_value(key, depth - 1)}: {tell_value(item, depth - 1)}" for key, item in some]
    else:
        told = [tell_value(item, depth - 1) for item in some]
    more = [f"... {size:,} in all"] if size > len(some) else []
    return brackets[0] + ", ".join(told + more) + brackets[1]


def _tell_object(value: Any, kind: type, depth: int) -> str:
    """Say the name of its type and its fields, as far as they are there without a look that would run its code."""
    name = kind.__qualname__
    if kind.__module__ == "numpy" and hasattr(kind, "dtype"):
        if value.shape == () and value.dtype.kind in _ITEM_KINDS:
            return f"<{name}: {value.item()}>"
        return f"<{name}: {value.dtype}, {'x'.join(map(str, value.shape)) or 'one'}>"
    if kind is Opaque:
        return repr(value)
    fields: dict[str, Any] = {}
    with contextlib.suppress(AttributeError):
        fields.update(object.__getattribute__(value, "__dict__"))
    for field in getattr(kind, "__struct_fields__", ()):
        with contextlib.suppress(AttributeError):
            fields[field] = object.__getattribute__(value, field)
    if depth <= 0 or not fields:
        return f"<{name}>"
    some = [f"{field}={tell_value(item, depth - 1)}" for field, item in list(fields.items())[:ITEMS_TOLD]]
    return f"<{name}: {', '.join(some)}{', ...' if len(fields) > ITEMS_TOLD else ''}>"
