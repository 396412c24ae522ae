"""Whether what a caller gave is a number: a bool is none, though Python counts with it. Pure.

Owns that one question. Its bounds, and the error, are for who asks.
"""

from __future__ import annotations

from typing import TypeGuard


def is_whole(value: object, least: int = 1) -> TypeGuard[int]:
    """Whether it is an int of at least `least`."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def is_number(value: object) -> TypeGuard[float]:
    """Whether it is an int or a float; NaN and infinity are."""
    return isinstance(value, int | float) and not isinstance(value, bool)
