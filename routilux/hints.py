"""Names in the words of an error: which there are, and which of them may have been meant. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

NAMES_SHOWN = 20
"""Names that a message lists before it counts the rest (arbitrary)."""


def describe_names(name: object, existing: Iterable[str], lead: str, none: str) -> str:
    """Say which names exist, and which of them may have been meant.

    Args:
        name: what was asked for.
        existing: the names there are.
        lead: what comes before the list, such as `its slots are`.
        none: what is said instead when there are no names.
    """
    names = tuple(existing)
    return f"{lead} {list_names(names)}{did_you_mean(name, names)}" if names else none


def list_names(names: Sequence[str]) -> str:
    """List names, and count those that are too many."""
    shown = ", ".join(repr(str(name)) for name in names[:NAMES_SHOWN])
    rest = len(names) - NAMES_SHOWN
    return shown if rest <= 0 else f"{shown} and {rest} more"


def did_you_mean(name: object, names: Sequence[str]) -> str:
    """Say which of `names` may have been meant by `name`; nothing if none is like it."""
    if not isinstance(name, str):
        return ""
    import difflib  # noqa: PLC0415  # for errors alone

    # Case first: it is the commonest slip, and no close match for a short name in capitals.
    folded = [other for other in names if other.casefold() == name.casefold()]
    close = folded or difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""
