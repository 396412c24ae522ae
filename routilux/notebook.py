"""Jobs in a notebook: the picture of one, kept up to date while it runs.

Owns the waiting there. A notebook is found by what it has imported: where there is none, nothing of IPython is loaded,
and the job is watched as on a terminal.
"""

from __future__ import annotations

import importlib
import sys
import threading
from typing import Any

from routilux.cli.live import watch as watch_in_terminal
from routilux.errors import JobTimeoutError
from routilux.jobs.state import JobState
from routilux.runtime.job import Job
from routilux.runtime.signals import note_resume

INTERVAL_SECONDS = 0.5
"""Between two pictures (arbitrary: faster than one can read them)."""


def watch(job: Job, *, interval: float | None = None) -> JobState:
    """Wait for a job, showing how it goes; for the thread that owns it.

    In a notebook that is its picture with a table, which is replaced every `interval` seconds; on a terminal and in a
    script it is what `routilux run` shows. Results that nobody reads meanwhile are in the state's `outputs`: so a
    bounded output holds nothing up.

    When the wait is broken off, by the notebook's stop button or Ctrl-C, the job is ended: cancelled, or with a store
    paused, and a note of the error says how to go on.

    Args:
        job: the job. One that was started with `keep_open=True` is waited for until somebody closes it.
        interval: seconds between two looks; None for half a second, and two for lines in a script.

    Returns:
        The job's final state.
    """
    display = _find_display()
    picture = None if display is None else display(job, display_id=True)
    # A daemon, so that an interrupt which comes just here ends the program, and with it the job.
    reader = threading.Thread(target=job.collect, name="routilux-results", daemon=True)
    reader.start()
    try:
        if picture is None:
            watch_in_terminal(job, interval=interval)
        else:
            _follow(job, picture, interval or INTERVAL_SECONDS)
    except BaseException as error:
        if not job.is_over:
            job.end_early("interrupted")
        note_resume(error, job)
        raise
    finally:
        reader.join()
        if picture is not None:
            picture.update(job)
    return job.state


def _follow(job: Job, picture: Any, interval: float) -> None:
    """Wait for a job, and replace its picture as it goes."""
    while True:
        try:
            job.wait(interval)
        except JobTimeoutError:
            picture.update(job)
        else:
            return


def _find_display() -> Any:
    """Give what shows something in this notebook; None where there is none."""
    ipython = sys.modules.get("IPython")  # a notebook has imported it; for anybody else it is no use
    shell = None if ipython is None else ipython.get_ipython()
    if shell is None or not hasattr(shell, "kernel"):  # a terminal's has none
        return None
    return importlib.import_module("IPython.display").display
