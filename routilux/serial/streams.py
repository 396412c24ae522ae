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
    return sum(map(data.count, (b"t", b"\x85", b"\x86", b"\x87", b"\x91"))) > DEEPEST


# ---- the run without objects

_MARK, _CALLABLE, _ITEMS, _NUMBER = -1, -2, -3, -4
"""What stands for an object: a mark, a maker, something that takes items, and a number n from 0 to 255 as -4 - n.

What is not negative stands for anything else: so deep do tuples lie in it.
"""


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
    stack, memo, do = run.stack, run.memo, run.do
    at = start + len(_START)
    while (opcode := data[at]) != _STOP:
        size = _PUSHES[opcode]
        if size:
            stack.append(0)
            at += size
        elif opcode == _MEMOIZE:
            memo.append(stack[-1])
            at += 1
        elif opcode == _BININT1:
            stack.append(_NUMBER - data[at + 1])
            at += 2
        elif opcode == _BINGET:
            stack.append(memo[data[at + 1]])
            run.newest = None
            at += 2
        elif opcode in _DEEDS:
            do(opcode)
            at += 1
        elif opcode == _LONG_BINGET:
            stack.append(memo[int.from_bytes(data[at + 1 : at + 5], "little")])
            run.newest = None
            at += 5
        elif opcode in _SIZED_BY_BYTE:
            stack.append(0)
            at += 2 + data[at + 1]
        else:
            if opcode != _FRAME:
                stack.append(0)
            at = _skip_sized(data, at)


_MEMOIZE, _BININT1, _BINGET, _LONG_BINGET = 0x94, ord("K"), ord("h"), ord("j")
_DEEDS = frozenset(b"(]}\x8faseu\x90\x91t\x85\x86\x87R01")
_SIZES = {**dict.fromkeys(b"N\x88\x89)", 1), ord("M"): 3, ord("J"): 5, ord("G"): 9}
_PUSHES = [_SIZES.get(opcode, 0) for opcode in range(256)]
"""The sizes of opcodes, with their arguments, that push something that nothing lies in; of others 0."""


class _Run:
    """A stack and a memo of what stands for objects."""

    def __init__(self, makers: int, takers: frozenset[int]) -> None:
        self.stack: list[int] = []
        self.memo = [_CALLABLE] * makers
        self.newest: int | None = None
        """The first part of the tuple that was made last, if that is on top: it tells which maker is called."""
        self._takers = takers

    def do(self, opcode: int) -> None:
        """Do what an opcode without arguments does."""
        stack = self.stack
        newest, self.newest = self.newest, None
        match chr(opcode):
            case "(":
                stack.append(_MARK)
            case "\x85" | "\x86" | "\x87":
                count = opcode - 0x84
                self._push_tuple(stack[-count:], count)
            case "R":
                self._call(newest)
            case "]" | "}" | "\x8f":
                stack.append(_ITEMS)
            case "a":
                self._put_items(1)
            case "s":
                self._put_items(2)
            case "e" | "u" | "\x90":
                self._put_items(len(self._marked()) + 1)
            case "t" | "\x91":
                parts = self._marked()
                self._push_tuple(parts, len(parts) + 1)
            case "0":
                stack.pop()
            case _:  # POP_MARK
                del stack[-len(self._marked()) - 1 :]

    def _marked(self) -> list[int]:
        """Give what lies above the mark."""
        stack = self.stack
        at = len(stack) - 1
        while stack[at] != _MARK:
            at -= 1
            if at < 0:
                raise IndexError("there is no mark")
        return stack[at + 1 :]

    def _put_items(self, count: int) -> None:
        del self.stack[-count:]
        if self.stack[-1] != _ITEMS:
            raise ValueError("items are put into what takes none")

    def _push_tuple(self, parts: list[int], count: int) -> None:
        depth = max(0, *parts, 0) + 1
        if depth > DEEPEST:
            raise ValueError(f"tuples lie more than {DEEPEST:,} levels deep in each other")
        self.newest = parts[0] if parts else None
        self.stack[-count:] = [depth]

    def _call(self, newest: int | None) -> None:
        arguments = self.stack.pop()
        if self.stack.pop() != _CALLABLE:
            raise ValueError("something is called that is no maker")
        takes_items = newest is not None and _NUMBER - newest in self._takers
        self.stack.append(_ITEMS if takes_items else max(0, arguments))
