"""A program whose sink kills it by SIGKILL at one point: `killed_sinks SINK STORE FOLDER WHEN N EVERY`.

It starts the job, or goes on with it. `WHEN` the first message numbered `N` or more is handled: `torn`, with half of
the effect done, or `after` all of it and before the commit. `EVERY` is seconds between two checkpoints; 0 for none but
the first, so that everything is run again.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from examples.nightly import Lines, Rows
from routilux import Flow, Routine
from routilux.stores.errors import UnknownJobError

MESSAGES = 40


class Numbers(Routine):
    def __init__(self) -> None:
        super().__init__()
        self.define_slot("trigger", handler=self.count)
        self.define_event("scored", ["path", "score"])

    def count(self) -> Iterator[None]:
        for number in range(self.state.get("next", 0), MESSAGES):
            self.state["next"] = number + 1
            self.emit("scored", path=f"{number:04}", score=float(number))
            yield


class KilledLines(Lines):
    when, at = "", 0

    def write(self, path: str, score: float) -> None:
        is_it = int(path) >= self.at
        if is_it and self.when == "torn":
            with self.path.open("ab") as file:
                file.truncate(self.state.get("end", 0))
                file.write(b"    half of a li")
            die()
        super().write(path, score)
        if is_it and self.when == "after":
            die()


class KilledRows(Rows):
    when, at = "", 0

    def insert(self, path: str, score: float) -> None:
        is_it = int(path) >= self.at
        if is_it and self.when == "torn":
            database = sqlite3.connect(self.path)
            database.execute("INSERT INTO scores VALUES (?, ?, ?)", (self.message_id, path, score))
            die()  # in the transaction
        super().insert(path, score)
        if is_it and self.when == "after":
            die()


def die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def main(sink: str, store: str, folder: str, when: str, at: str, every: str) -> None:
    kinds: dict[str, Any] = {"lines": KilledLines, "rows": KilledRows}
    routine = kinds[sink](Path(folder, sink))
    routine.when, routine.at = when, int(at)
    flow = Flow("killed")
    flow.add_routine(Numbers(), "numbers")
    flow.add_routine(routine, "sink")
    flow.connect("numbers", "scored", "sink", "scored")
    keeping: Any = {"checkpoint_every": float(every) or None}
    try:
        job = Flow.resume(store, "killed", flow=flow, **keeping)
    except UnknownJobError:
        job = flow.start("numbers", store=store, job_id="killed", **keeping)
    with job:
        state = job.wait()
    assert state.status == "completed", state.error


if __name__ == "__main__":
    main(*sys.argv[1:])
