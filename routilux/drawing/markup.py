"""Numbers and text as SVG and HTML have them. Pure."""

from __future__ import annotations

from html import escape

from supervisors.text import printable


def to_number(value: float) -> str:
    """Give a length, to a tenth of a pixel."""
    return f"{value:.1f}".removesuffix(".0")


def to_text(text: str) -> str:
    """Escape a text, control characters too, so that it is ASCII as well: who writes it need not know of encodings."""
    return escape(printable(text)).encode("ascii", "xmlcharrefreplace").decode()
