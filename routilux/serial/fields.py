"""Which attributes of an object are written: all that it has, but for those it takes out. Pure.

Owns the lists of what an object takes out and puts in. Never writes anything (see `plain_writer`, `graph`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from routilux.errors import OptionError
from routilux.hints import did_you_mean

CHANGES = "_field_changes"
"""Where an object keeps which fields it has put in and taken out; written with it, so that the next reader knows."""


class WithFields:
    """An object that says which of its attributes are its fields.

    Fields are, by themselves: every attribute that is set on the object, and every one that its classes annotate
    (but for `ClassVar`), whose default in the class is written where none is set on the object.
    """

    __slots__ = ()

    def add_serializable_fields(self, names: Iterable[str]) -> None:
        """Let further attributes be fields: defaults of the class without an annotation, or what was taken out before.

        Args:
            names: names of attributes; they need not be set yet.

        Raises:
            OptionError: one is a property, whose value is computed and cannot be set again, or is no name.
        """
        self._change(names, taken_out=False)

    def remove_serializable_fields(self, names: Iterable[str]) -> None:
        """Leave attributes out: caches, locks, open files. An object that is read has the default of its class there.

        Args:
            names: names of attributes; they need not be set yet.

        Raises:
            OptionError: one is no name.
        """
        self._change(names, taken_out=True)

    def _change(self, names: Iterable[str], *, taken_out: bool) -> None:
        given_names: object = names
        if isinstance(given_names, str):
            raise OptionError(f"expected a list of names of fields, got the text {names!r}; write [{names!r}]")
        changes = dict(getattr(self, CHANGES, {}))
        for name in names:
            given: object = name  # what came may be anything
            if not isinstance(given, str) or not name.isidentifier():
                raise OptionError(f"{type(self).__name__}: the name of a field is that of an attribute, got {name!r}")
            if not taken_out and isinstance(getattr(type(self), name, None), property):
                raise OptionError(
                    f"{type(self).__name__}.{name} is a property: its value is computed, so it cannot be read again; "
                    f"add the attributes that it is computed from"
                )
            changes[name] = not taken_out
        # Past any __setattr__, and frozenness: it says nothing about the object itself.
        object.__setattr__(self, CHANGES, changes)


def annotated_fields(cls: type) -> tuple[str, ...]:
    """Give the names that a class and its bases annotate as attributes of their objects, those of the bases first."""
    names: dict[str, None] = {}
    for base in reversed(cls.__mro__):
        for name, annotation in vars(base).get("__annotations__", {}).items():
            if not _is_of_class(annotation):
                names[name] = None
    return tuple(names)


def select_fields(obj: Any, held: dict[str, Any], annotated: Iterable[str]) -> dict[str, Any]:
    """Give the fields of an object, by name.

    Args:
        obj: the object.
        held: what is set on it.
        annotated: the names its classes annotate.

    Raises:
        LookupError: a field has no value; the text names it, and says what to do.
    """
    changes: dict[str, bool] = held.get(CHANGES, {})
    wanted = dict.fromkeys((*held, *annotated, *(name for name, is_in in changes.items() if is_in)))
    fields = {}
    for name in wanted:
        if not changes.get(name, True):
            continue
        if name in held:
            fields[name] = held[name]
        elif hasattr(type(obj), name):
            fields[name] = getattr(type(obj), name)
        else:
            raise LookupError(
                f"a {type(obj).__qualname__} whose field {name!r} is not set"
                f"{did_you_mean(name, tuple(held))}: set it in __init__, or remove_serializable_fields([{name!r}])"
            )
    return fields


def _is_of_class(annotation: Any) -> bool:
    text = annotation if isinstance(annotation, str) else str(annotation)
    return text.removeprefix("typing.").startswith("ClassVar")
