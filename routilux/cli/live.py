"""The live view of a running job, and its summary: with `rich` on a terminal, plain lines elsewhere.

What is shown is made by pure functions of a `JobView`; only `watch` waits and draws.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from typing import Any, TextIO

from routilux.errors import JobTimeoutError
from routilux.jobs.state import JobState
from routilux.observe import JobView, RoutineView, Sampler
from routilux.runtime.job import Job

try:
    from rich.console import Console
    from rich.live import Live
    from rich.table import Table
    from rich.text import Text
except ImportError:  # the extra `rich` is not installed: plain lines it is
    HAS_RICH = False
else:
    HAS_RICH = True

COLUMNS = (
    "routine",
    "where",
    "status",
    "waiting",
    "in hand",
    "handled",
    "rate/s",
    "failed",
    "restarts",
    "cpu",
    "memory",
)
LIVE_SECONDS = 0.25
PLAIN_SECONDS = 2.0
CAUSES_SHOWN = 10

Headline = Callable[[JobView], str]


def watch(
    job: Job, *, stream: TextIO | None = None, plain: bool | None = None, headline: Headline | None = None
) -> JobState:
    """Wait for a job, showing how it goes.

    Args:
        job: the job.
        stream: where to; None for stderr.
        plain: True for lines, False for the live table, None for what `stream` can show.
        headline: makes a line of one's own out of what is seen; None for the job's id and time.

    Returns:
        The job's final state. On Ctrl-C the job is cancelled and `KeyboardInterrupt` goes on.
    """
    out = sys.stderr if stream is None else stream
    is_plain = not (HAS_RICH and out.isatty()) if plain is None else plain or not HAS_RICH
    sampler = Sampler(job)
    head = headline or default_headline
    try:
        if is_plain:
            return _watch_plain(job, sampler, out, head)
        return _watch_live(job, sampler, out, head)
    except KeyboardInterrupt:
        job.cancel("interrupted by the user")
        job.wait()
        raise


def default_headline(view: JobView) -> str:
    """Name the job and tell its time."""
    return f"job {view.job_id} of flow {view.flow_id}: {view.status}, {view.seconds:.1f} s"


def to_row(routine: RoutineView) -> tuple[str, ...]:
    """Give a routine as the cells of `COLUMNS`."""
    count = len(routine.workers)
    where = routine.placement if routine.placement == "thread" else f"{count} process{'es' if count != 1 else ''}"
    cpu = f"{sum(worker.cpu for worker in routine.workers):.0%}" if routine.workers else ""
    memory = f"{sum(worker.rss_bytes for worker in routine.workers) / 2**20:.0f} MiB" if routine.workers else ""
    return (
        routine.id,
        where,
        routine.status,
        f"{routine.waiting:,}",
        f"{routine.in_hand:,}",
        f"{routine.handled:,}",
        f"{routine.rate:,.0f}",
        f"{routine.failed:,}",
        f"{routine.restarts:,}",
        cpu,
        memory,
    )


def to_line(view: JobView) -> str:
    """Give a job as one plain line."""
    parts = []
    for routine in view.routines:
        text = f"{_printable(routine.id)} {routine.handled:,} done, {routine.waiting:,} waiting, {routine.rate:,.0f}/s"
        if routine.workers:
            rss = sum(worker.rss_bytes for worker in routine.workers) / 2**20
            cpu = sum(worker.cpu for worker in routine.workers)
            text += f", {len(routine.workers)} workers, cpu {cpu:.0%}, {rss:.0f} MiB"
        if routine.restarts:
            text += f", {routine.restarts} restarts"
        parts.append(text)
    return " | ".join(parts)


def summarize(state: JobState) -> str:
    """Tell how a job ended, in plain lines: status, figures, failures by cause."""
    seconds = state.updated_at - state.created_at
    lines = [f"{state.flow_id}: {state.status} after {seconds:.1f} s" + (f": {state.error}" if state.error else "")]
    width = max((len(routine_id) for routine_id in state.routine_states), default=0)
    for routine_id, told in state.routine_states.items():
        stats = told["stats"]
        figures = ", ".join(
            f"{stats[key]:,} {key}" for key in ("handled", "failed", "dead", "skipped", "restarts") if stats[key]
        )
        lines.append(f"  {_printable(routine_id):{width}}  {told['status']:15}  {figures}")
    causes = Counter((letter.routine_id, letter.cause) for letter in state.dead_letters)
    for (routine_id, cause), count in causes.most_common(CAUSES_SHOWN):
        lines.append(f"  {count:,} x {_printable(routine_id)}: {_printable(cause)}")
    if len(causes) > CAUSES_SHOWN:
        lines.append(f"  and {len(causes) - CAUSES_SHOWN} other causes")
    return "\n".join(lines)


def _watch_plain(job: Job, sampler: Sampler, out: TextIO, headline: Headline) -> JobState:
    sampler.look()
    while True:
        try:
            return job.wait(PLAIN_SECONDS)
        except JobTimeoutError:
            view = sampler.look()
            print(f"{headline(view)} | {to_line(view)}", file=out, flush=True)


def _watch_live(job: Job, sampler: Sampler, out: TextIO, headline: Headline) -> JobState:
    console = Console(file=out)
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while True:
            try:
                return job.wait(LIVE_SECONDS)
            except JobTimeoutError:
                live.update(to_table(sampler.look(), headline), refresh=True)


def to_table(view: JobView, headline: Headline = default_headline) -> Any:
    """Give a job as a table of `rich`."""
    table = Table(title=Text(headline(view)), title_justify="left", box=None, pad_edge=False)
    for index, column in enumerate(COLUMNS):
        table.add_column(column, justify="left" if index < 3 else "right", no_wrap=True)  # noqa: PLR2004  the words
    for routine in view.routines:
        table.add_row(*(Text(_printable(cell)) for cell in to_row(routine)))
    return table


def _printable(text: str) -> str:
    """Escape what a terminal would obey."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
