"""`routilux ps` and `top`: how each routine of a job does that another program runs, once or again and again.

Owns the waiting and what goes where. The numbers are taken in the job's program; the layout is `picture`'s.
"""

from __future__ import annotations

import argparse
import selectors
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import msgspec

from routilux.cli.errors import CommandError
from routilux.cli.following import as_asked, follow, tell_end, tell_lost
from routilux.cli.live import LIVE_SECONDS, PLAIN_SECONDS, Drawing, can_draw, open_screen
from routilux.cli.lookup import Found, find_all, require_owner
from routilux.cli.output import width_of, write_result
from routilux.cli.parsing import Commands
from routilux.cli.picture import Line, draw_job, tell_job, tell_progress
from routilux.cli.stored import JOB_HELP, add_store, check_routine
from routilux.control.client import CONNECT_SECONDS, Answers, asking
from routilux.control.errors import UnreachableError
from routilux.control.frames import Ended, Look, Seen
from routilux.observe import JobView
from routilux.stores.base import Owner
from supervisors.text import printable


def add_ps(commands: Commands) -> None:
    """Add both."""
    lister = commands.add_parser(
        "ps", description=ps.__doc__, examples=["routilux ps", "kill $(routilux ps nightly --pid parse)"]
    )
    lister.add_argument("job", nargs="?", metavar="JOB", help=JOB_HELP)
    add_store(lister)
    lister.add_argument("--pid", metavar="ROUTINE", help="print nothing but its process ids, a line each")
    lister.add_argument("--json", action="store_true", help="print a JSON object on stdout")
    lister.set_defaults(command=ps)
    shower = commands.add_parser("top", description=top.__doc__, examples=["routilux top", "routilux top nightly"])
    shower.add_argument("job", nargs="?", metavar="JOB", help="the job's id, or its beginning; default: all that run")
    add_store(shower)
    shower.add_argument("--plain", action="store_true", help="plain lines instead of a picture")
    shower.set_defaults(command=top)


def ps(options: argparse.Namespace) -> int:
    """Show how each routine of a job does: its workers, what it holds, has done and uses, and its last error."""
    found, owner = require_owner(options, "looked at")
    if options.pid is not None:
        view = _look(found, owner, None)
        check_routine(options.pid, [routine.id for routine in view.routines], "--pid")
        routine = view.routine(options.pid)
        nodes = sorted({worker.node for worker in routine.workers if worker.node})
        if nodes:
            message = f"routine {routine.id!r} runs on Ray, on {', '.join(nodes)}, and a process id there may be"
            raise CommandError(f"{message} that of another process here: `routilux ps` lists both", 1)
        pids = routine.pids if routine.workers else (view.program.pid,)
        write_result("".join(f"{pid}\n" for pid in pids))
        return 0
    view = _look(found, owner, LIVE_SECONDS)
    if options.json:
        write_result(msgspec.json.encode(to_plain(view)).decode() + "\n")
        return 0
    write_result("".join(f"{line.text}\n" for line in draw_job(view, width_of(sys.stdout))))
    return 0


def top(options: argparse.Namespace) -> int:
    """Show how the routines of jobs do, while they run. Ctrl-C ends the showing, and nothing else."""
    jobs = [require_owner(options, "looked at")] if options.job is not None else find_all(options)
    out = sys.stdout
    screen = None if options.plain or not can_draw(out) else open_screen(out)
    try:
        if screen is None:
            _follow_all(jobs, PLAIN_SECONDS, _write_lines)
        else:
            with screen as drawing:
                _follow_all(jobs, LIVE_SECONDS, lambda views: drawing.show(_draw_all(views, drawing)))
    except KeyboardInterrupt:
        return 0
    return 0


def to_plain(value: Any) -> Any:
    """Give a view as what JSON has."""
    if hasattr(value, "_asdict"):
        return {name: to_plain(field) for name, field in value._asdict().items()}
    return [to_plain(item) for item in value] if isinstance(value, tuple | list) else value


def _look(found: Found, owner: Owner, seconds: float | None) -> JobView:
    """Give a view of a job; with `seconds` one that knows what happened for so long."""
    view = None
    for answer in follow(found, owner, Look(job_id=found.job_id, seconds=seconds)):
        seen = as_asked(answer, Seen, found.job_id).view
        if seconds is None or view is not None:
            return seen
        view = seen
    if view is None:
        raise CommandError(f"job {found.job_id!r} ended before it could be looked at", 1)
    return view


def _draw_all(views: list[JobView], drawing: Drawing) -> list[Line]:
    """Draw jobs below one another, each in its share of the lines there are."""
    lines: list[Line] = []
    for view in views:
        lines += [Line("")] if lines else []
        lines += draw_job(view, drawing.width, height=max(1, drawing.height // len(views) - 1))
    return lines


def _write_lines(views: list[JobView]) -> None:
    write_result("".join(f"{tell_job(view)} | {tell_progress(view)}\n" for view in views))


def _follow_all(jobs: list[tuple[Found, Owner]], seconds: float, show: Callable[[list[JobView]], None]) -> None:
    """Show views of jobs until the last one is over."""
    views: dict[str, JobView] = {}
    with ExitStack() as connections, selectors.DefaultSelector() as selector:
        for job, owner in jobs:
            answers = connections.enter_context(asking(owner, Look(job_id=job.job_id, seconds=seconds)))
            selector.register(answers, selectors.EVENT_READ, job)
        shown_at = 0.0
        while selector.get_map():
            for key, _events in selector.select():
                _read(key, selector, views)
            now = time.monotonic()
            # Each has a clock of its own: what comes at nearly the same time is shown together.
            if views and (now - shown_at >= seconds / 2 or not selector.get_map()):
                show(list(views.values()))
                shown_at = now


def _read(key: selectors.SelectorKey, selector: selectors.BaseSelector, views: dict[str, JobView]) -> None:
    job: Found = key.data
    answers: Answers = key.fileobj  # type: ignore[assignment]  # what was registered
    try:
        answer = answers.read(CONNECT_SECONDS)
    except UnreachableError as error:
        told = str(tell_lost(job, error))
    else:
        if isinstance(answer, Seen):
            views[job.job_id] = answer.view
            return
        told = tell_end(job, answer) if isinstance(answer, Ended) else f"job {job.job_id} gave an odd answer"
    selector.unregister(answers)
    views.pop(job.job_id, None)
    print(printable(told), file=sys.stderr)
