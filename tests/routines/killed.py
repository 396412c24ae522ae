"""A program that kills itself by SIGKILL at one record of its sink: `killed FOLDER SINK PLACEMENT WHEN N EVERY`.

It reads `lines` in the folder by `LinesSource` into a sink, or goes on with that. `WHEN` the first record numbered `N`
or more is written: `torn`, with half of it in the file, or `after` it and before its commit. In a process it is the
worker that is killed. `EVERY` is seconds between two checkpoints; 0 for none but the first, so that
everything is run again.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from routilux import ErrorHandler, Flow
from routilux.routines import CsvSink, JsonLinesSink, LinesSource
from routilux.routines.sinks import FileSink
from routilux.stores.errors import UnknownJobError

RECORDS = 60


class Killed(FileSink):
    """Mixed into a sink; kills its process at one record."""

    when, at = "", 0

    def write(self, data: dict[str, Any]) -> None:
        done = Path(f"{self._file}.{self.when}{self.at}")
        is_it = data["number"] >= self.at and not done.exists()
        if is_it:
            done.touch()
        if is_it and self.when == "torn":
            with Path(self._file).open("ab") as file:
                file.truncate(self.state.get("end", 0))
                file.write(b"half of a rec")
            os.kill(os.getpid(), signal.SIGKILL)
        super().write(data)
        if is_it and self.when == "after":
            os.kill(os.getpid(), signal.SIGKILL)


class KilledJsonLines(Killed, JsonLinesSink):
    pass


class KilledCsv(Killed, CsvSink):
    pass


def main(folder: str, sink: str, placement: str, when: str, at: str, every: str) -> None:
    kinds: dict[str, Any] = {"json": KilledJsonLines, "csv": KilledCsv}
    routine = kinds[sink](Path(folder, "out"))
    routine.when, routine.at = when, int(at)
    flow = Flow("killed")
    flow.add_routine(LinesSource(Path(folder, "lines")), "lines")
    flow.add_routine(routine, "sink", placement=placement, error_handler=ErrorHandler("retry", retry_delay=0.01))
    flow.connect("lines", "output", "sink", "input")
    keeping: Any = {"checkpoint_every": float(every) or None}
    try:
        job = Flow.resume(Path(folder, "jobs"), "killed", flow=flow, **keeping)
    except UnknownJobError:
        job = flow.start("lines", store=Path(folder, "jobs"), job_id="killed", **keeping)
    with job:
        state = job.wait()
    assert state.status == "completed", state.error


if __name__ == "__main__":
    main(*sys.argv[1:])
