"""How wide text is thought to be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routilux.drawing.lettering import shorten, width_of_text


def test_letters_differ() -> None:
    assert (
        width_of_text("ill", 10)
        < width_of_text("abc", 10)
        < width_of_text("MWM", 10)
        < width_of_text("\u6f22\u5b57\u6f22", 10)
    )
    assert width_of_text("e\u0301", 10) == width_of_text("e", 10)
    assert width_of_text("abc", 10, is_bold=True) > width_of_text("abc", 10)


@pytest.mark.parametrize(
    ("text", "shown"), [("", ""), ("parse", "parse"), ("a long name of a routine", "a long\u2026")]
)
def test_what_has_no_room_is_cut(text: str, shown: str) -> None:
    assert shorten(text, 50, 10) == shown


@given(st.text(), st.floats(20, 300))
def test_what_is_cut_has_room(text: str, width: float) -> None:
    assert width_of_text(shorten(text, width, 11), 11) <= width + 1e-6
