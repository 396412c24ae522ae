"""What a graph's bytes may be, looked at before they are read: opcodes of pickles, a few of them.

Owns the decision whether bytes are safe to hand to an `Unpickler`. Pure: values in, verdicts out.

Theory of operation. An `Unpickler` obeys some seventy opcodes. What writes graphs uses half of them, and only these
pass: none that looks up a name (GLOBAL, STACK_GLOBAL, INST, EXT), that sets attributes (BUILD), that makes objects of
a class (NEWOBJ, OBJ), that reads a persistent id. Lengths are compared with what is there before anybody makes room.
One regular expression passes over all that is short, and so most of a stream is looked at in C.

REDUCE calls what is on the stack, and APPENDS, SETITEMS and ADDITEMS call methods of what is on it. On an object of a
registered class these would run code of the user's, with arguments of whoever wrote the bytes. So where a class has
one of these methods (`is_active`), the whole stream is run through once without objects, by `check_targets`: only the
two makers may be called, and only what they made of the standard library, and what opcodes made, takes items. The same
run bounds how deep tuples lie in each other, as hashing them is a recursion in C that nobody bounds; streams with few
of them need no such run.
"""

from __future__ import annotations

import re
from typing import Any

DEEPEST = 30_000
"""Levels of tuples within tuples at most: hashing 50,000 is well, 150,000 end the interpreter (CPython 3.11, 8 MB)."""

_ACTIVE = ("__call__", "append", "extend", "add", "__setitem__", "__getattr__", "__getattribute__")
"""What opcodes call on the objects on the stack, and what answers in place of such a method."""

_SIZED_BY_BYTE = b"\x8a\x8cC"
"""LONG1, SHORT_BINUNICODE, SHORT_BINBYTES: a byte says how many follow."""
_SIZED = {0x8B: 4, 0x58: 4, 0x42: 4, 0x8D: 8, 0x8E: 8, 0x96: 8}
"""LONG4, BINUNICODE, BINBYTES, BINUNICODE8, BINBYTES8, BYTEARRAY8: so many bytes say how many follow."""
_FRAME = 0x95
_STOP = 0x2E
_START = b"\x80\x05"

# NONE NEWTRUE NEWFALSE EMPTY_LIST EMPTY_TUPLE EMPTY_DICT EMPTY_SET MARK APPEND APPENDS SETITEM SETITEMS ADDITEMS
# FROZENSET TUPLE TUPLE1-3 MEMOIZE REDUCE POP POP_MARK; BININT1 BINGET; BININT2; BININT LONG_BINGET; BINFLOAT.
_BARE = rb"[N\x88\x89\])}\x8f(aesu\x90\x91t\x85-\x87\x94R01]"
_SHORT = b"|".join(re.escape(bytes([size])) + b".{%d}" % size for size in range(256))
_RUN = re.compile(
    rb"(?:" + _BARE + rb"|[Kh].|M..|[Jj].{4}|G.{8}|[\x8a\x8cC](?:" + _SHORT + rb")){1,500}",
    re.DOTALL,
)


def is_active(cls: type) -> bool:
    """Tell whether opcodes would find a method to call on an object of `cls`."""
    return any(name in vars(base) for base in cls.__mro__[:-1] for name in _ACTIVE)


def check_opcodes(data: bytes, start: int) -> None:
    """Look at the opcodes of the graph that begins at `start`, and at nothing else.

    Raises:
        ValueError: there is one that no graph has, or a length that leads past the end.
    """
    at, end = start + len(_START), len(data)
    if data[start:at] != _START:
        raise ValueError("it does not begin like a graph")
    while at < end:
        run = _RUN.match(data, at)
        if run is not None:
            at = run.end()
            continue
        opcode = data[at]
        if opcode == _STOP:
            if at + 1 != end:
                raise ValueError(f"{end - at - 1} bytes follow its end")
            return
        at = _skip_sized(data, at)
    raise ValueError("it has no end")


def _skip_sized(data: bytes, at: int) -> int:
    opcode = data[at]
    width = 8 if opcode == _FRAME else _SIZED.get(opcode)
    if width is None:
        raise ValueError(f"it has the opcode {opcode:#04x} at {at}, which no graph has, or ends within one")
    start = at + 1 + width
    size = int.from_bytes(data[at + 1 : start], "little")
    if start + size > len(data):
        raise ValueError(f"something of {size} bytes at {at} leads past its end")
    return start if opcode == _FRAME else start + size


def is_maybe_deep(data: bytes) -> bool:
    """Tell whether tuples may lie deeper in each other than `DEEPEST`; by counting, so it may be wrong to say so."""
    if len(data) <= DEEPEST:
        return False
    return sum(map(data.count, (b"t", b"\x85", b"\x86", b"\x87", b"\x91", b"R"))) > DEEPEST


# ---- the run without objects

_PLAIN, _ITEMS, _CALLABLE, _MARK = range(4)
"""What stands for an object: something that nothing is done to, what takes items, a maker, and no object but a mark."""
_Stand = tuple[int, int]
"""What stands for an object, and how deep tuples lie in it."""


def check_targets(data: bytes, start: int, makers: int, takers: frozenset[int]) -> None:
    """Run a graph without objects, and see that nothing of the user's is called.

    Args:
        data: bytes that `check_opcodes` has passed.
        start: where the graph begins.
        makers: so many objects are in the memo before it begins; these may be called.
        takers: numbers of the makers whose objects take items.

    Raises:
        ValueError: something else is called, or tuples lie too deep in each other.
        IndexError: the stack is empty where something is taken from it, or the memo has no such place.
    """
    run = _Run(makers, takers)
    at = start + len(_START)
    while data[at] != _STOP:
        opcode = data[at]
        argument: Any = None
        if opcode in _SIZED_BY_BYTE:
            next_at = at + 2 + data[at + 1]
        elif opcode in _SIZED or opcode == _FRAME:
            next_at = _skip_sized(data, at)
        else:
            next_at = at + 1 + _WIDTHS.get(opcode, 0)
            argument = int.from_bytes(data[at + 1 : next_at], "little")
        if opcode != _FRAME:
            run.step(opcode, argument)
        at = next_at


_WIDTHS = {**dict.fromkeys(b"Kh", 1), ord("M"): 2, **dict.fromkeys(b"Jj", 4), ord("G"): 8}


class _Run:
    """A stack and a memo of what stands for objects."""

    def __init__(self, makers: int, takers: frozenset[int]) -> None:
        self._stack: list[Any] = []
        self._memo: list[Any] = [(_CALLABLE, 0)] * makers
        self._takers = takers

    def step(self, opcode: int, argument: int) -> None:
        """Do what an opcode does."""
        stack = self._stack
        match chr(opcode):
            case "(":
                stack.append((_MARK, 0))
            case "\x94":
                self._memo.append(stack[-1])
            case "h" | "j":
                stack.append(self._memo[argument])
            case "0":
                stack.pop()
            case "1":
                self._pop_marked()
            case "]" | "}" | "\x8f":
                stack.append((_ITEMS, 0))
            case "a" | "s":
                del stack[-1 if opcode == _APPEND else -2 :]
                self._check_target()
            case "e" | "u" | "\x90":
                self._pop_marked()
                self._check_target()
            case "t" | "\x91":
                self._push_tuple(self._pop_marked())
            case "\x85" | "\x86" | "\x87":
                count = opcode - 0x84
                parts = stack[-count:]
                del stack[-count:]
                self._push_tuple(parts)
            case "R":
                self._call()
            case "K":
                stack.append((_PLAIN, 0, argument))
            case _:
                stack.append((_PLAIN, 0))

    def _pop_marked(self) -> list[Any]:
        stack = self._stack
        at = len(stack) - 1
        while stack[at][0] != _MARK:
            at -= 1
            if at < 0:
                raise IndexError("no mark")
        parts = stack[at + 1 :]
        del stack[at:]
        return parts

    def _check_target(self) -> None:
        if self._stack[-1][0] != _ITEMS:
            raise ValueError("items are put into what takes none")

    def _push_tuple(self, parts: list[Any]) -> None:
        depth = 1 + max((part[1] for part in parts), default=0)
        if depth > DEEPEST:
            raise ValueError(f"tuples lie more than {DEEPEST:,} levels deep in each other")
        # What a maker makes is told by the first of its arguments.
        self._stack.append((_PLAIN, depth, parts[0][2] if parts and len(parts[0]) > 2 else None))

    def _call(self) -> None:
        arguments, called = self._stack.pop(), self._stack.pop()
        if called[0] != _CALLABLE:
            raise ValueError("something is called that is no maker")
        takes_items = len(arguments) > 2 and arguments[2] in self._takers
        self._stack.append((_ITEMS if takes_items else _PLAIN, arguments[1]))


_APPEND = ord("a")
