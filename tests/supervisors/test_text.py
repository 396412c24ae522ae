from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisors.text import cut, printable, printable_output


def test_what_a_terminal_would_obey_is_escaped() -> None:
    assert printable("plain text, é, 漢") == "plain text, é, 漢"
    assert printable("a\x1b[2Jb\r\n\t\x00\u202e\ud800") == r"a\x1b[2Jb\r\n\t\x00\u202e\ud800"


@given(st.text(st.characters()))
def test_escaped_text_is_printable_and_escaping_it_again_changes_nothing(text: str) -> None:
    assert printable(text).isprintable()
    assert printable(printable(text)) == printable(text)


def test_a_line_of_output_keeps_its_tabs_and_colours_and_nothing_else_that_is_obeyed() -> None:
    assert printable_output("a\tb") == "a\tb"
    assert printable_output("\x1b[31mred\x1b[2J") == "\x1b[31mred\\x1b[2J\x1b[0m"
    assert printable_output("50 %\r100 %\x07") == r"50 %\r100 %\x07"
    assert printable_output("\x1b]0;title\x07\x9b2J") == r"\x1b]0;title\x07\x9b2J"


@pytest.mark.parametrize(
    ("text", "width", "expected"),
    [("short", 5, "short"), ("abcdef", 6, "abcdef"), ("abcdefg", 6, "abc..."), ("abcdefg", 2, ".."), ("x", 0, "")],
)
def test_text_is_cut_with_dots(text: str, width: int, expected: str) -> None:
    assert cut(text, width) == expected
