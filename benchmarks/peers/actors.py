"""supervisors: process actors below a supervisor, started one by one and several at once."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

from benchmarks.work import DEADLINE
from supervisors import Behavior, ChildSpec, Context, start_dynamic_supervisor


class _Process(Behavior):
    """Tells in which process it is."""

    def on_message(self, message: object, ctx: Context) -> None:
        ctx.reply(os.getpid())


class Starter:
    """Process actors, by `start_child` of a dynamic supervisor; from `n` threads where several start at once."""

    def __init__(self) -> None:
        self.pids: list[int] = []

    def prepare(self) -> None:
        self._top = start_dynamic_supervisor(ChildSpec("process", _Process, backing="process"))
        self.run(1)

    def run(self, n: int) -> None:
        with ThreadPoolExecutor(n) as callers:
            self.pids = list(callers.map(self._start, range(n)))

    def _start(self, _number: int) -> int:
        child = self._top.start_child()
        return int(self._top.child(child.id).ask("pid", DEADLINE))

    def close(self) -> None:
        self._top.stop()
