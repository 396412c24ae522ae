"""Keys of users as keys of a state: equal keys have the same text, different ones different texts.

Owns that text. Pure.
"""

from __future__ import annotations

import hashlib
from typing import Any

from routilux.routines.errors import RecordError

DIGEST_FROM = 64
"""Characters from which a key is kept as its digest of so many (BLAKE2b, 256 bits)."""


def key_text(key: Any, where: str) -> str:
    """Give the text of a key. As in a dict, 1, 1.0 and True are one key; and all NaN are one here.

    Args:
        key: None, a bool, number, text, bytes, or a tuple of such.
        where: what gave it, for the error.

    Raises:
        RecordError: it is of another type.
    """
    text = _write(key, where)
    if len(text) < DIGEST_FROM and text.isprintable():
        return text
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=DIGEST_FROM // 2).hexdigest()


def _write(key: Any, where: str) -> str:
    # Each kind has a letter of its own, and what is of any length tells it: no two keys give one text. A digest has
    # more characters than any of them.
    if key is None:
        return "none"
    if isinstance(key, str):
        return f"s{len(key)}:{str.__str__(key)}"  # of an enum of texts its text, as it is equal to that
    if isinstance(key, int):
        return f"i{int(key):x}"
    if isinstance(key, float):
        return f"i{int(key):x}" if key.is_integer() else f"f{key.hex()}"
    if isinstance(key, bytes):
        return f"b{key.hex()};"
    if isinstance(key, tuple):
        return f"t{len(key)}({','.join(_write(part, where) for part in key)})"
    raise RecordError(
        f"{where}: expected None, a bool, number, text, bytes or a tuple of such, "
        f"got {type(key).__qualname__}; make one of these of it"
    )
