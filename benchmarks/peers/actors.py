"""supervisors: process actors below a supervisor, started one by one and several at once."""

from __future__ import annotations

import os
import threading

from supervisors import Behavior, ChildSpec, Context, start_dynamic_supervisor


class _Process(Behavior):
    """Tells in which process it is."""

    def on_message(self, message: object, ctx: Context) -> None:
        ctx.reply(os.getpid())


class Starter:
    """Process actors, by `start_child` of a dynamic supervisor; from `n` threads where several start at once.

    By plain threads: what this module imports each actor's process does too, and what is used here alone is none of its
    affair.
    """

    def __init__(self) -> None:
        self.pids: list[int] = []

    def prepare(self) -> None:
        self._top = start_dynamic_supervisor(ChildSpec("process", _Process, backing="process"))
        self.run(1)

    def run(self, n: int) -> None:
        self.pids = []
        callers = [threading.Thread(target=self._start) for _ in range(n)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()

    def _start(self) -> None:
        from benchmarks.work import DEADLINE  # noqa: PLC0415  as above

        child = self._top.start_child()
        self.pids.append(int(self._top.child(child.id).ask("pid", DEADLINE)))

    def close(self) -> None:
        self._top.stop()
