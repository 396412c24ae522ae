"""Output becomes lines, however it is cut."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from supervisors.places.process.output import LAST_LINES, LINE_BYTES, LineBuffer


@given(st.lists(st.text(alphabet="aä\U0001f600 ", max_size=10)), st.lists(st.integers(1, 7)))
def test_lines_come_out_as_they_were_printed(lines: list[str], sizes: list[int]) -> None:
    buffer, got = LineBuffer(), []
    data = "".join(line + "\n" for line in lines).encode()
    while data:
        size = sizes.pop() if sizes else len(data)
        got += buffer.feed(data[:size])
        data = data[size:]
    assert got == lines
    assert buffer.finish() == []
    assert buffer.last == tuple(lines[-LAST_LINES:])


@given(st.lists(st.integers(1, 3 * LINE_BYTES), min_size=1, max_size=6), st.booleans())
def test_a_long_line_is_told_in_pieces(sizes: list[int], ends: bool) -> None:
    buffer, got = LineBuffer(), []
    for size in sizes:
        got += buffer.feed(b"x" * size)
    got += buffer.feed(b"\nend" if ends else b"")
    got += buffer.finish()
    assert max(map(len, got)) <= LINE_BYTES
    assert "".join(got) == "x" * sum(sizes) + ("end" if ends else "")


def test_a_rest_without_an_end_is_told_at_the_end() -> None:
    buffer = LineBuffer()
    assert buffer.feed(b"one\r\ntwo") == ["one"]
    assert buffer.finish() == ["two"]
    assert buffer.finish() == []


def test_bytes_that_are_no_text_are_shown() -> None:
    assert LineBuffer().feed(b"\xff\xfe ok\n") == ["\\xff\\xfe ok"]
