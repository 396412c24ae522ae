from __future__ import annotations

import errno
import io
import os
import sys
import threading
from collections.abc import Iterator

import pytest

from routilux import Flow, Routine
from routilux.cli.live import can_draw, open_screen, watch
from routilux.cli.picture import Line
from routilux.observe import JobView

pytest.importorskip("rich")


class Gate(Routine):
    """Handles its message when the gate opens."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("trigger", handler=self.handle)
        self.opened = threading.Event()

    def handle(self) -> None:
        assert self.opened.wait(30)


class Endless(Routine):
    def __init__(self) -> None:
        super().__init__()
        self.define_slot("trigger", handler=self.handle)

    def handle(self) -> Iterator[None]:
        while True:
            yield


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def flow_of(routine: Routine) -> Flow:
    flow = Flow("f")
    flow.add_routine(routine, "r")
    return flow


def test_a_watched_job_is_told_in_plain_lines_and_its_state_given() -> None:
    gate, stream = Gate(), io.StringIO()

    def headline(view: JobView) -> str:
        gate.opened.set()
        return f"{view.status}\x07"

    state = watch(flow_of(gate).start("r"), stream=stream, interval=0.01, headline=headline)
    assert state.status == "completed"
    assert stream.getvalue().startswith(r"running\x07 | r 0 handled")


def test_without_a_headline_a_plain_line_names_the_job() -> None:
    gate = Gate()

    class Opener(io.StringIO):
        def write(self, text: str) -> int:
            gate.opened.set()
            return super().write(text)

    stream = Opener()
    job = flow_of(gate).start("r")
    watch(job, stream=stream, interval=0.01)
    assert stream.getvalue().startswith(f"f, job {job.id}: running")


def test_on_a_terminal_pictures_are_drawn_and_cleared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    gate, stream = Gate(), Terminal()

    def headline(view: JobView) -> str:
        gate.opened.set()
        return f"[red]{view.seconds >= 0}[/red]"

    watch(flow_of(gate).start("r"), stream=stream, interval=0.01, headline=headline)
    drawn = stream.getvalue()
    assert "[red]True[/red]" in drawn  # markup in a text is text
    assert "routine  runs on     mailbox " in drawn
    assert drawn.rstrip().endswith("\x1b[2K")


def test_a_job_that_is_over_is_watched_without_a_line() -> None:
    gate, stream = Gate(), io.StringIO()
    gate.opened.set()
    job = flow_of(gate).start("r")
    job.wait()
    assert watch(job, stream=stream).status == "completed"
    assert stream.getvalue() == ""


def test_ctrl_c_cancels_the_job_and_goes_on() -> None:
    def headline(_: JobView) -> str:
        raise KeyboardInterrupt

    job, stream = flow_of(Endless()).start("r"), io.StringIO()
    with pytest.raises(KeyboardInterrupt):
        watch(job, stream=stream, interval=0.01, headline=headline)
    assert job.is_over
    assert stream.getvalue() == (
        f"cancelling job {job.id}: what is in hand is given a moment to end\n  once more ends it at once; a third time "
        "kills this program\n"
    )
    assert job.status == "cancelled"
    assert job.state.error == "interrupted"


def test_an_error_in_drawing_leaves_nothing_running() -> None:
    def headline(_: JobView) -> str:
        raise ZeroDivisionError

    job = flow_of(Endless()).start("r")
    with pytest.raises(ZeroDivisionError):
        watch(job, stream=Terminal(), plain=False, interval=0.01, headline=headline)
    assert job.status == "cancelled"


class Gone(io.StringIO):
    """Nobody reads it."""

    def __init__(self, gate: Gate, *, is_terminal: bool) -> None:
        super().__init__()
        self.gate = gate
        self.is_terminal = is_terminal
        self.tried = 0

    def isatty(self) -> bool:
        return self.is_terminal

    def write(self, text: str) -> int:
        """Fail, and open the gate at the second time."""
        self.tried += 1
        if self.tried > 1:
            self.gate.opened.set()
        raise OSError(errno.EIO, "closed") if self.is_terminal else BrokenPipeError(errno.EPIPE, "gone")


@pytest.mark.parametrize("is_terminal", [False, True], ids=["pipe", "terminal"])
def test_a_job_goes_on_when_nobody_reads_what_is_shown(*, is_terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    gate = Gate()
    stream = Gone(gate, is_terminal=is_terminal)
    state = watch(flow_of(gate).start("r"), stream=stream, interval=0.01)
    assert (state.status, state.error) == ("completed", None)
    assert stream.tried > 1


def test_a_job_that_is_interrupted_when_nobody_reads_is_ended_as_any_other() -> None:
    gate = Gate()
    gate.opened.set()

    def headline(_: JobView) -> str:
        raise KeyboardInterrupt

    job = flow_of(Endless()).start("r")
    with pytest.raises(KeyboardInterrupt):
        watch(job, stream=Gone(gate, is_terminal=False), interval=0.01, headline=headline)
    assert (job.status, job.state.error) == ("cancelled", "interrupted")


def test_a_job_that_takes_too_long_is_cancelled() -> None:
    job = flow_of(Endless()).start("r")
    state = watch(job, stream=io.StringIO(), timeout=0.02)
    assert state.status == "cancelled"
    assert state.error == "it took longer than 0.02 s"


def test_only_a_terminal_that_understands_is_drawn_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    assert can_draw(Terminal())
    assert not can_draw(io.StringIO())
    monkeypatch.setenv("TERM", "dumb")
    assert not can_draw(Terminal())


def test_without_rich_there_are_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "rich" or name == "routilux.cli.screen"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "rich", None)
    assert open_screen(Terminal()) is None
    gate, stream = Gate(), Terminal()

    def headline(_: JobView) -> str:
        gate.opened.set()
        return "plain"

    watch(flow_of(gate).start("r"), stream=stream, plain=False, interval=0.01, headline=headline)
    assert stream.getvalue().startswith("plain | r 0 handled")


def test_what_the_program_prints_to_a_file_is_not_taken_over(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    screen = open_screen(stream)
    assert screen is not None
    with screen as drawing:
        drawing.show([Line("picture")])
        sys.stdout.write("data\n")
    assert capsys.readouterr().out == "data\n"
    assert "data" not in stream.getvalue()


def test_a_terminal_that_became_narrower_is_cleared_of_what_wraps_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.delenv("LINES", raising=False)
    monkeypatch.setattr(os, "get_terminal_size", lambda _fd: os.terminal_size((80, 24)))
    stream = Terminal()
    screen = open_screen(stream)
    assert screen is not None
    with screen as drawing:
        drawing.show([Line("x" * 80), Line("y" * 20)])
        before = len(stream.getvalue())
        monkeypatch.setattr(os, "get_terminal_size", lambda _fd: os.terminal_size((30, 24)))
        drawing.show([Line("x" * 30)])
        # Two lines more than were written, and the rest as ever.
        assert stream.getvalue()[before:].startswith("\x1b[2A\x1b[J\r\x1b[2K\x1b[1A\x1b[2K")
        before = len(stream.getvalue())
        drawing.show([Line("x" * 30)])
        assert stream.getvalue()[before:].startswith("\r\x1b[2K")


def test_pictures_have_the_colours_of_their_parts_and_none_where_none_are_wanted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    drawn = []
    for wanted in ("", "1"):
        monkeypatch.setenv("NO_COLOR", wanted)
        stream = Terminal()
        screen = open_screen(stream)
        assert screen is not None
        with screen as drawing:
            drawing.show([Line("failed", "bad"), Line("fine")])
        drawn.append(stream.getvalue())
    assert "\x1b[31mfailed\x1b[0m" in drawn[0]
    assert "\x1b[31m" not in drawn[1]
    assert "failed" in drawn[1]


def test_what_finds_no_room_on_a_small_terminal_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "24")
    gate, stream = Gate(), Terminal()
    flow = flow_of(gate)
    for number in range(40):
        flow.add_routine(Gate(), f"idle{number}")

    def headline(_: JobView) -> str:
        gate.opened.set()
        return "crowd"

    watch(flow.start("r"), stream=stream, interval=0.01, headline=headline)
    picture = stream.getvalue().partition("\x1b[2K")[0]
    assert picture.count("\n") == 22  # one of 24 is for the cursor
    assert "and 22 more routines: 0 waiting, 0 handled" in picture
