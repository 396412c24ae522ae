"""Exceptions as text: what one is called, what it says, what led to it, and where it was raised. Pure.

Owns the walk through causes, contexts and members of groups, and every size at which a text is cut. Never
raises, whatever a class has made of itself; never changes an exception but where it is asked to.

Theory of operation. An exception's own fields (`__cause__`, `__traceback__`, the members of a group) are read
by the descriptors of the built-in class, past whatever its class put over them. Code of its class runs for
two things, its text and its notes, and may raise there what it likes. Everything is bounded: `WALK_LIMIT`
exceptions are looked at, `CHAIN_LIMIT` beside the first are shown, and these share `FRAME_LIMIT` frames and
`TRACEBACK_LIMIT` characters evenly, so that no long text pushes out the frames, and no frame the text.
"""

from __future__ import annotations

import itertools
import traceback
from collections import deque
from collections.abc import Iterator
from types import TracebackType
from typing import Any, NamedTuple

NAME_LIMIT = 256
"""Characters of a class's name that are kept (arbitrary)."""
TEXT_LIMIT = 8_192
"""Characters of an error's text that are kept, and of each note (arbitrary; a screenful or two)."""
NOTES_LIMIT = 16
"""Notes that are kept; one more says how many were not (arbitrary)."""
CHAIN_LIMIT = 16
"""Causes, contexts and members of groups that are shown; one more line says how many were not (arbitrary)."""
CHAIN_TEXT_LIMIT = 512
"""Characters of each line of the chain (arbitrary)."""
TRACEBACK_LIMIT = 32_768
"""Characters of a traceback, all of the chain that it shows included."""
FRAME_LIMIT = 64
"""Frames that a traceback shows, those of the whole chain together; a repeated frame counts once (arbitrary)."""
WALK_LIMIT = 10_000
"""Exceptions that are looked at to count a chain (arbitrary; takes some milliseconds)."""

_FEWEST_FRAMES = 4
_FRAME_TEXT_LIMIT = 1_000
_LINK_TEXT = 120
"""Room for the sentence between two exceptions of a traceback."""
_CUT = " [cut]"

_get_cause = vars(BaseException)["__cause__"].__get__
_get_context = vars(BaseException)["__context__"].__get__
_set_context = vars(BaseException)["__context__"].__set__
_is_context_suppressed = vars(BaseException)["__suppress_context__"].__get__
_get_traceback = vars(BaseException)["__traceback__"].__get__
_get_members = vars(BaseExceptionGroup)["exceptions"].__get__
_get_module = vars(type)["__module__"].__get__
_get_name = vars(type)["__qualname__"].__get__

_BRIDGES = {
    "cause": "\nThe above exception was the direct cause of the following exception:\n\n",
    "context": "\nDuring handling of the above exception, another exception occurred:\n\n",
    "member": "\nThe above exception is one of those in an exception group below:\n\n",
}


class Link(NamedTuple):
    """One exception of a chain.

    Args:
        name: its class.
        text: its text, cut to `TEXT_LIMIT`.
        notes: its notes, each cut to `TEXT_LIMIT`.
        trace: where it was raised.
        syntax: the lines that show where a `SyntaxError` found its fault.
        kind: what it is to the exception it belongs to: `cause`, `context` or `member`; `first` where those
            between are left out, and nothing for the exception itself.
        parent: index of that exception in the chain.
    """

    name: str
    text: str
    notes: tuple[str, ...]
    trace: TracebackType | None
    syntax: str
    kind: str
    parent: int

    def __str__(self) -> str:
        return f"{self.name}: {self.text}" if self.text else self.name


class Chain(NamedTuple):
    """An exception and what led to it, nearest first.

    Args:
        links: the exception itself, then at most `CHAIN_LIMIT` others. Where there are more, the last is the one
            that all began with, which is what people look for.
        left_out: how many more there are.
        is_counted: whether there were few enough to count them all; else there are more than `left_out`.
    """

    links: tuple[Link, ...]
    left_out: int
    is_counted: bool

    def to_lines(self) -> tuple[str, ...]:
        """Give a line for each but the exception itself, and one that counts those left out."""
        lines = [_cut(str(link), CHAIN_TEXT_LIMIT) for link in self.links[1:]]
        if self.left_out:
            lines.append(self._describe_left_out())
        return tuple(lines)

    def to_traceback(self) -> str:
        """Give it as Python prints it, the exception itself last."""
        frames = max(_FEWEST_FRAMES, FRAME_LIMIT // len(self.links))
        room = TRACEBACK_LIMIT // len(self.links) - _LINK_TEXT
        parts: list[str] = []
        if self.left_out and self.links[-1].kind == "first":
            parts += [_format_link(self.links[-1], frames, room), f"\n{self._describe_left_out()}\n\n"]
        elif self.left_out:
            parts += [f"{self._describe_left_out()}\n\n"]
        for link in _in_order_of_time(self.links, 0):
            parts += [_format_link(link, frames, room), _BRIDGES.get(link.kind, "")]
        return "".join(parts)

    def _describe_left_out(self) -> str:
        more = "exception" if self.left_out == 1 else "exceptions"
        return f"[{'' if self.is_counted else 'at least '}{self.left_out:,} more {more} not shown]"


def read_chain(error: BaseException) -> Chain:
    """Read `error` and what led to it; see the module for what is bounded."""
    seen = {id(error): error}
    shown: list[tuple[BaseException, str, int]] = [(error, "", 0)]
    ahead = deque([(error, 0)])
    while ahead and len(seen) <= WALK_LIMIT:
        current, index = ahead.popleft()
        for kind, other in _led_by(current):
            if id(other) in seen:
                continue
            if len(seen) > WALK_LIMIT:
                break
            seen[id(other)] = other
            ahead.append((other, len(shown)))
            if len(shown) <= CHAIN_LIMIT:
                shown.append((other, kind, index))
    left_out = len(seen) - len(shown)
    first = _find_first(error) if left_out else None
    if first is not None and all(first is not other for other, _, _ in shown):
        shown[-1] = (first, "first", 0)
    links = tuple(_to_link(other, kind, parent) for other, kind, parent in shown)
    return Chain(links, left_out, not ahead)


def type_name(cls: type) -> str:
    """Give the qualified name of a class, for people; no code of its metaclass runs."""
    module, name = _get_module(cls), _cut(_get_name(cls), NAME_LIMIT)
    if type(module) is not str or module in {"builtins", ""}:
        return name
    return _cut(f"{module}.{name}", NAME_LIMIT)


def traceback_of(error: BaseException) -> TracebackType | None:
    """Give where `error` was raised, past what its class puts over that field."""
    trace: TracebackType | None = _get_traceback(error)
    return trace


def forget_context(error: BaseException, context: BaseException) -> None:
    """Take out of the contexts of `error` one in whose handling all of it was raised, as if that had not been."""
    outer: BaseException | None = error
    for _ in range(WALK_LIMIT):
        if outer is None:
            return
        inner = _get_context(outer)
        if inner is context:
            _set_context(outer, None)
            return
        outer = inner


def text_of(value: object, limit: int = TEXT_LIMIT) -> str:
    """Give `str(value)`, cut to `limit` characters; an exception out of it is told instead, whatever it is."""
    if type(value) is str:  # and not what a class plays to be
        return _cut(value, limit)  # what is raised here is a signal's, and meant for whoever called
    try:
        return _cut(str(value), limit)
    except BaseException as second:  # noqa: BLE001 - a user's __str__ may raise anything at all, SystemExit included
        return f"<its __str__ raised {type_name(type(second))}>"


def _led_by(error: BaseException) -> Iterator[tuple[str, BaseException]]:
    cause = _get_cause(error)
    if cause is not None:
        yield "cause", cause
    elif not _is_context_suppressed(error):
        context = _get_context(error)
        if context is not None:
            yield "context", context
    # Not isinstance: that asks the object, whose `__class__` may raise.
    if issubclass(type(error), BaseExceptionGroup):
        yield from (("member", member) for member in _get_members(error))


def _find_first(error: BaseException) -> BaseException | None:
    """Follow each cause or context, or first member, to the end of the line; None if it is too far."""
    seen: set[int] = set()
    following: BaseException | None = error
    while following is not None and id(following) not in seen:
        if len(seen) > WALK_LIMIT:
            return None
        error = following
        seen.add(id(error))
        following = next((other for _, other in _led_by(error)), None)
    return error


def _to_link(error: BaseException, kind: str, parent: int) -> Link:
    return Link(
        name=type_name(type(error)),
        text=text_of(error),
        notes=_notes_of(error),
        trace=traceback_of(error),
        syntax=_syntax_of(error) if issubclass(type(error), SyntaxError) else "",
        kind=kind,
        parent=parent,
    )


def _notes_of(error: BaseException) -> tuple[str, ...]:
    try:
        notes = getattr(error, "__notes__", None)
        if notes is None:
            return ()
        if not issubclass(type(notes), list | tuple):
            return (f"<its notes are no list but a {type_name(type(notes))}>",)
        kept = [text_of(note) for note in itertools.islice(notes, NOTES_LIMIT)]
        left_out = len(notes) - len(kept)
    except BaseException as second:  # noqa: BLE001 - a property or a list of the user's
        return (f"<its notes could not be read: {type_name(type(second))}>",)
    return (*kept, f"[{left_out:,} more not shown]") if left_out > 0 else tuple(kept)


def _syntax_of(error: BaseException) -> str:
    # Python's own lines, made from a copy whose fields are of the types and sizes that they should be.
    try:
        fields = tuple(
            _to_field(vars(SyntaxError)[name].__get__(error), most)
            for name, most in (
                ("filename", 0),
                ("lineno", 2**31),
                ("offset", _FRAME_TEXT_LIMIT),
                ("text", 0),
                ("end_lineno", 2**31),
                ("end_offset", _FRAME_TEXT_LIMIT),
            )
        )
        lines = traceback.format_exception_only(SyntaxError, SyntaxError("", fields))[:-1]
    except Exception:  # noqa: BLE001 - lines that do not fit together: the text alone has to do
        return ""
    return "".join(lines)


def _to_field(value: Any, most: int) -> Any:
    if type(value) is str:
        return value[:_FRAME_TEXT_LIMIT]
    return max(-1, min(value, most)) if type(value) is int else None


def _in_order_of_time(links: tuple[Link, ...], index: int) -> Iterator[Link]:
    # Members before the cause: its sentence speaks of the exception right below it.
    others = [other for other, link in enumerate(links) if other and link.parent == index and link.kind != "first"]
    for other in sorted(others, key=lambda other: links[other].kind != "member"):
        yield from _in_order_of_time(links, other)
    yield links[index]


def _format_link(link: Link, frames: int, room: int) -> str:
    notes = "".join(f"{note}\n" for note in link.notes)
    said = _cut(f"{link.syntax}{link}\n{notes}".rstrip("\n"), room // 2) + "\n"
    if link.trace is None:
        return said
    head = "Traceback (most recent call last):\n"
    room -= len(head) + len(said)
    text = _format_frames(link.trace, frames)
    while len(text) > room and frames > _FEWEST_FRAMES:
        frames //= 2
        text = _format_frames(link.trace, frames)
    return head + (text if len(text) <= room else text[-room:]) + said


def _format_frames(trace: TracebackType, count: int) -> str:
    """Show the outermost and the innermost frames, `count` in all; repeated ones are folded."""
    outer: list[tuple[TracebackType, int]] = []
    inner: deque[tuple[TracebackType, int]] = deque(maxlen=count - count // 4)
    total = 0
    for run in _fold(trace):
        total += 1
        (outer if len(outer) < count // 4 else inner).append(run)
    lines = _format_runs(outer)
    if total > count:
        lines.append(f"  [{total - count:,} more frames not shown]\n")
    return "".join(lines + _format_runs([*inner]))


def _fold(trace: TracebackType) -> Iterator[tuple[TracebackType, int]]:
    """Give the entries of a traceback, outermost first, each with the number of times it follows on itself."""
    first, code, line, repeats = trace, trace.tb_frame.f_code, trace.tb_lineno, 0
    current = trace.tb_next
    while current is not None:
        next_code, next_line = current.tb_frame.f_code, current.tb_lineno
        if next_line == line and (next_code is code or _is_same_place(next_code, code)):
            repeats += 1
        else:
            yield first, repeats
            first, code, line, repeats = current, next_code, next_line, 0
        current = current.tb_next
    yield first, repeats


def _is_same_place(one: Any, other: Any) -> bool:
    # Exactly what `traceback` folds by, so that it has nothing left to fold.
    return bool(one.co_filename == other.co_filename and one.co_name == other.co_name)


def _format_runs(runs: list[tuple[TracebackType, int]]) -> list[str]:
    try:
        chained: TracebackType | None = None
        for entry, _ in reversed(runs):
            chained = TracebackType(chained, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
        texts = traceback.format_tb(chained)
        pairs = list(zip(texts, runs, strict=True))
    except BaseException:  # noqa: BLE001 - to show source lines, the loader of the module is asked: user code
        pairs = [(_format_bare(entry), (entry, repeats)) for entry, repeats in runs]
    return [_format_run(text, repeats) for text, (_, repeats) in pairs]


def _format_bare(entry: TracebackType) -> str:
    code = entry.tb_frame.f_code
    return f'  File "{code.co_filename}", line {entry.tb_lineno}, in {code.co_name}\n'


def _format_run(text: str, repeats: int) -> str:
    text = _cut(text.rstrip("\n"), _FRAME_TEXT_LIMIT) + "\n"
    if not repeats:
        return text
    return f"{text}  [Previous line repeated {repeats:,} more time{'s' if repeats > 1 else ''}]\n"


def _cut(text: str, limit: int) -> str:
    # By the methods of str itself: a text may be of a subclass, with other ones.
    part = str.__getitem__(text, slice(0, limit + 1))
    # Names of files may hold lone surrogates, which no encoding takes.
    part = part.encode("utf-8", "backslashreplace").decode()
    return part if len(part) <= limit else part[: limit - len(_CUT)] + _CUT
