"""Watching a job: wait for its end and draw how it goes meanwhile.

On a terminal with `rich` a picture that is drawn again and again, elsewhere a plain line every few
seconds. Owns the waiting. Never decides what is shown (`picture`, `summary`), and changes a job
only by cancelling it when the wait is broken off.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol, TextIO

from routilux.cli.insistence import insisting, tell_first
from routilux.cli.output import for_people
from routilux.cli.picture import Line, draw_job, tell_job, tell_progress
from routilux.errors import JobTimeoutError
from routilux.jobs.state import JobState
from routilux.observe import JobView, Sampler
from routilux.runtime.job import Job
from supervisors.text import printable

LIVE_SECONDS = 0.5
"""Between two pictures: at less, CPU shares jump by the clock ticks (10 ms) they are counted in."""
PLAIN_SECONDS = 2.0
"""Between two plain lines (arbitrary: what a log can bear)."""

Headline = Callable[[JobView], str]


class Drawing(Protocol):
    """Where pictures go."""

    @property
    def width(self) -> int:
        """Columns that a line has now."""

    @property
    def height(self) -> int:
        """Lines there are now."""

    def show(self, lines: list[Line]) -> None:
        """Replace what is shown."""


def watch(
    job: Job,
    *,
    stream: TextIO | None = None,
    plain: bool | None = None,
    interval: float | None = None,
    headline: Headline | None = None,
    timeout: float | None = None,
) -> JobState:
    """Wait for a job, showing how it goes. For the thread that owns the job.

    When the wait is broken off, by Ctrl-C or by any other error, the job is cancelled or, with a store, paused; its
    end is waited for, and the error goes on: nothing is left running. A second Ctrl-C cuts that wait short; a third one
    kills the program, with status 130. Where nobody reads what is shown any more, nothing more is shown.

    Args:
        job: the job.
        stream: where to show it; None for stderr.
        plain: True for plain lines; False for pictures if `rich` is installed; None for what suits
            the stream.
        interval: seconds between two looks; None for half a second, and two for plain lines.
        headline: gives a line of the caller's own, from what was seen.
        timeout: seconds after which the job is cancelled; None for no limit.

    Returns:
        The job's final state.
    """
    out = sys.stderr if stream is None else stream
    is_plain = not can_draw(out) if plain is None else plain
    with insisting(job, out):
        try:
            screen = None if is_plain else open_screen(out)
            if screen is None:
                return _follow(job, _plain_lines(out, headline), interval or PLAIN_SECONDS, timeout)
            with screen as drawing:
                return _follow(job, _pictures(drawing, out, headline), interval or LIVE_SECONDS, timeout)
        except BaseException as error:
            if not job.is_over:
                _end(job, error, out)
            raise


def can_draw(stream: TextIO) -> bool:
    """Tell whether a stream is a terminal that can be drawn on."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def open_screen(stream: TextIO) -> AbstractContextManager[Drawing] | None:
    """Give what draws on a terminal; None where `rich` is not installed."""
    try:
        from routilux.cli.screen import Screen  # noqa: PLC0415  an optional extra, and slow to import
    except ImportError:
        return None
    return Screen(stream)


def _end(job: Job, error: BaseException, out: TextIO) -> None:
    is_interrupt = isinstance(error, KeyboardInterrupt | SystemExit)  # Ctrl-C, SIGTERM, SIGHUP
    reason = "interrupted" if is_interrupt else f"its watch ended: {error!r}"
    if is_interrupt:
        # What is in hand gets its time: whoever waits for the prompt should know why.
        try:
            with for_people(out):
                out.write(f"{tell_first(job)}\n")
                out.flush()
        except BaseException:  # a second signal
            job.end_early(reason, shutdown=0.0)
            raise
    job.end_early(reason)


def _follow(job: Job, show: Callable[[JobView], None], interval: float, timeout: float | None) -> JobState:
    sampler = Sampler(job)
    sampler.look()
    deadline = None if timeout is None else time.monotonic() + timeout
    while True:
        left = interval if deadline is None else min(interval, deadline - time.monotonic())
        try:
            return job.wait(max(0.0, left))
        except JobTimeoutError:
            show(sampler.look())
        if deadline is not None and time.monotonic() >= deadline:
            job.cancel(f"it took longer than {timeout:g} s")
            deadline = None


def _plain_lines(out: TextIO, headline: Headline | None) -> Callable[[JobView], None]:
    def show(view: JobView) -> None:
        head = printable(headline(view)) if headline else tell_job(view)
        with for_people(out):
            out.write(f"{head} | {tell_progress(view)}\n")
            out.flush()

    return show


def _pictures(drawing: Drawing, out: TextIO, headline: Headline | None) -> Callable[[JobView], None]:
    def show(view: JobView) -> None:
        lines = draw_job(view, drawing.width, headline(view) if headline else "", height=drawing.height)
        with for_people(out):
            drawing.show(lines)

    return show
