"""What can be a name: the rules for ids, and for the names of slots, events and parameters.

Owns the rules and their errors. Never knows which names exist (see `routilux.errors.describe_names`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from routilux.errors import InvalidNameError

ID_LENGTH = 64
"""Characters of an id at most, so that it can be part of a file's name."""
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_OTHER = re.compile(r"[^A-Za-z0-9_.-]+")


def checked_id(value: object, what: str) -> str:
    """Give `value` if it can be an id.

    Args:
        value: what was given.
        what: whose id it is, such as `routine`.

    Raises:
        InvalidNameError: it is no text, or has other characters than an id may have.
    """
    if isinstance(value, str) and _ID.fullmatch(value):
        return value
    raise InvalidNameError(
        f"the id of a {what} is 1 to {ID_LENGTH} letters, digits, '_', '.' or '-' and begins with a letter or digit, "
        f"got {_shown(value)}"
    )


def checked_name(value: object, what: str) -> str:
    """Give `value` if it can be the name of a slot, an event or a parameter.

    Raises:
        InvalidNameError: it is no text, is empty, or has characters that cannot be shown.
    """
    if isinstance(value, str) and value and value.isprintable() and value == value.strip():
        return value
    raise InvalidNameError(
        f"the name of {what} is a text that is not empty, without blanks at its ends, got {_shown(value)}"
    )


def checked_names(values: object, what: str) -> tuple[str, ...]:
    """Give `values` as a tuple of different names, in their order.

    Args:
        values: names in a list, or any other iterable but a text: `"path"` would be four letters.
        what: what they are, such as `parameters of event 'parsed'`.

    Raises:
        InvalidNameError: it is no list of names, or one comes twice.
    """
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise InvalidNameError(f"the {what} are a list of names, such as ['path'], got {_shown(values)}")
    names = tuple(checked_name(value, f"one of the {what}") for value in values)
    for index, name in enumerate(names):
        if name in names[:index]:
            raise InvalidNameError(f"the {what} are different names, got {name!r} twice")
    return names


def id_from(name: str) -> str:
    """Make an id of the name of a class or function: what cannot be in an id is left out."""
    return _OTHER.sub("_", name).strip("_.-")[:ID_LENGTH] or "routine"


def _shown(value: object) -> str:
    if isinstance(value, str):
        return repr(value if len(value) <= ID_LENGTH else value[:ID_LENGTH] + "...")
    return f"a value of type {type(value).__qualname__}"
