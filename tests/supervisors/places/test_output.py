"""Output becomes lines, however it is cut."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisors.places.process.output import LAST_LINES, LINE_BYTES, LineBuffer, show_output


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


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("plain gr\u00fc\u00dfe\twith a tab", "plain gr\u00fc\u00dfe\twith a tab"),
        ("\x1b[31mred", "\x1b[31mred\x1b[0m"),
        ("\x1b[2J\x1b]0;title\x07", "\\x1b[2J\\x1b]0;title\\x07"),
        ("over\rwritten\b\u202e", "over\\rwritten\\x08\\u202e"),
    ],
)
def test_a_terminal_obeys_no_line_of_a_worker(line: str, shown: str, capsys: pytest.CaptureFixture[str]) -> None:
    show_output("na\x1bme", 0, "stdout", line)
    show_output("name", 2, "stderr", line)
    captured = capsys.readouterr()
    assert captured.out == f"[na\\x1bme] {shown}\n"
    assert captured.err == f"[name[2]] {shown}\n"


@pytest.mark.parametrize("stream", [None, io.StringIO()])
def test_output_for_a_stream_that_is_not_there_is_passed_over(
    stream: io.StringIO | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if stream is not None:
        stream.close()
    monkeypatch.setattr("sys.stdout", stream)
    show_output("name", 0, "stdout", "line")


def test_output_for_a_stream_of_the_program_that_raises_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(io.StringIO):
        def write(self, _text: str) -> int:
            raise RuntimeError("cannot be written to")

    monkeypatch.setattr("sys.stderr", Broken())
    show_output("name", 0, "stderr", "line")
