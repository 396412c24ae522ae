"""Whether a value of one annotation can be what another annotation asks for. Pure.

Owns the judgement. It is a generous one: only what surely cannot fit is told, since nobody checks values at run time.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterable, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, ForwardRef, Literal, NewType, TypeVar, Union

_WIDER: dict[type, tuple[type, ...]] = {bool: (int, float, complex), int: (float, complex), float: (complex,)}
"""What a number may be taken for (PEP 484, the numeric tower)."""
_TEXTS = (str, bytes, bytearray)
"""Sequences of their own parts, which nobody means by a list."""


def can_fit(source: Any, target: Any) -> bool:
    """Tell whether some value of the annotation `source` can be one of `target`; True where that is not known."""
    source, target = _plain(source), _plain(target)
    if _is_open(source) or _is_open(target):
        return True
    sources, targets = _alternatives(source), _alternatives(target)
    if len(sources) > 1 or len(targets) > 1 or sources[0] is not source or targets[0] is not target:
        return any(can_fit(one, other) for one in sources for other in targets)
    one, other = typing.get_origin(source) or source, typing.get_origin(target) or target
    if not (isinstance(one, type) and isinstance(other, type)):
        return True
    return _classes_fit(one, other) and _arguments_fit(source, target, one, other)


def tell_annotation(annotation: Any) -> str:
    """Give an annotation as people write it."""
    if isinstance(annotation, type) and not typing.get_args(annotation):
        return annotation.__qualname__
    return str(annotation).replace("typing.", "")


def _plain(annotation: Any) -> Any:
    while True:
        if typing.get_origin(annotation) is Annotated:
            annotation = typing.get_args(annotation)[0]
        elif isinstance(annotation, NewType):
            annotation = annotation.__supertype__
        else:
            return NoneType if annotation is None else annotation


def _is_open(annotation: Any) -> bool:
    if annotation is Any or annotation is object or isinstance(annotation, str | ForwardRef | TypeVar):
        return True
    # A protocol is fitted by what no base class says; and what can be called, by nearly anything.
    origin = typing.get_origin(annotation) or annotation
    return origin is Callable or (isinstance(origin, type) and getattr(origin, "_is_protocol", False))


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    origin = typing.get_origin(annotation)
    if origin in {Union, UnionType}:
        return typing.get_args(annotation)
    if origin is Literal:
        return tuple(type(value) for value in typing.get_args(annotation))
    return (annotation,)


def _classes_fit(one: type, other: type) -> bool:
    if typing.is_typeddict(one) or typing.is_typeddict(other):
        one, other = (dict if typing.is_typeddict(each) else each for each in (one, other))
    if other in _WIDER.get(one, ()):
        return True
    if one in _TEXTS and other in {list, tuple, set, frozenset}:
        return False
    try:
        # Also the other way round: an object of the base may well be one of the class.
        return issubclass(one, other) or issubclass(other, one)
    except TypeError:
        return True


def _arguments_fit(source: Any, target: Any, one: type, other: type) -> bool:
    args, wanted = typing.get_args(source), typing.get_args(target)
    if not args or not wanted or one in _TEXTS or other in _TEXTS:
        return True
    if one is tuple and other is tuple:
        return _items_fit(args, wanted)
    if one is tuple and len(wanted) == 1:
        return any(can_fit(arg, wanted[0]) for arg in args if arg is not Ellipsis)
    is_known = issubclass(one, Iterable | Mapping) and issubclass(other, Iterable | Mapping)
    if not is_known or len(args) != len(wanted):
        return True
    # An empty one fits any; but who declares what is in it means that something is.
    return all(can_fit(arg, want) for arg, want in zip(args, wanted, strict=True))


def _items_fit(args: tuple[Any, ...], wanted: tuple[Any, ...]) -> bool:
    if Ellipsis not in args and Ellipsis not in wanted:
        return len(args) == len(wanted) and all(can_fit(arg, want) for arg, want in zip(args, wanted, strict=True))
    ones, others = ([arg for arg in each if arg is not Ellipsis] for each in (args, wanted))
    return any(can_fit(arg, want) for arg in ones for want in others)
