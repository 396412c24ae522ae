"""A program with a running job that is killed at every step of a save: the old checkpoint is whole, or the new one.

`python -m tests.durability.saves FOLDER KIND [SHARE]` forks for each step a copy of itself that runs a job, has it
saved, saves it again and kills itself there, while its handlers go on; a further copy resumes what that one left. KIND
is `files` or `sqlite`; with SHARE=3 only every third step is tried. Prints a line of JSON for each step.

Owns the deed and the steps. The program that forks has one thread.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from routilux import Flow, Job
from routilux.keeping.finding import latest
from routilux.keeping.history import StoredHistory
from routilux.keeping.verifying import verify
from routilux.stores import FileStore, SqliteStore, Store
from tests.durability import counting
from tests.durability.counting import Adding
from tests.stores.crashes import Killing, KillingConnection

COUNT = 300
FIRST, SECOND = 30, 60
"""How many messages are handled before the first save, and before the one that does not come to its end."""
KEPT_OBJECTS = 2
"""A checkpoint, and the state that is an object of its own."""
BLOB_BYTES = 80_000
"""Large enough to be a state object, and another one with each message."""


class Sink(Adding):
    """Keeps a state that is large, and another one each time, too."""

    def take(self, n: int) -> None:
        super().take(n)
        self.state["blob"] = n.to_bytes(4, "big") * (BLOB_BYTES // 4)


def make_flow() -> Flow:
    return counting.make_flow("saves", COUNT, Sink(0.002))


def make_store(kind: str, folder: Path) -> tuple[Store, Callable[[int, str], None]]:
    """Give a store, and what arms it."""
    if kind == "files":
        calls = Killing()
        return FileStore(folder / "jobs", calls=calls), calls.arm
    return SqliteStore(folder / "jobs.sqlite", factory=KillingConnection), KillingConnection.arm


def die_while_saving(folder: Path, kind: str, at: int, moment: str) -> None:
    """Run the job, and kill this program at a step of its second save."""
    store, arm = make_store(kind, folder)
    job = make_flow().start("source", {}, store=store, job_id="job", keep_checkpoints=1)
    _wait_for(job, FIRST)
    job.checkpoint()
    _wait_for(job, SECOND)
    arm(at, moment)
    job.checkpoint()
    # It is durable now, and the steps by which the one before is let go still come.
    onlooker = FileStore(folder / "jobs") if kind == "files" else SqliteStore(folder / "jobs.sqlite")
    while len(onlooker.objects("job")) > KEPT_OBJECTS:
        time.sleep(0.0005)  # noqa: TID251  a program that is about to end


def _wait_for(job: Job, count: int) -> None:
    account = next(account for account in job.ledger.accounts if account.plan.id == "sink")
    while account.handled < count and not job.is_over:
        time.sleep(0.0005)  # noqa: TID251  a program that is about to die


def resume(folder: Path, kind: str) -> dict[str, Any]:
    """Tell what was left, and what came of going on with it."""
    store, _ = make_store(kind, folder)
    found = latest(store, "job")
    told: dict[str, Any] = {
        "number": found.image.header.number,
        "handled": sum(routine.handled for routine in found.image.header.routines),
        "damage": [str(problem) for problem in (*found.problems, *verify(store, "job"))],
    }
    job = Flow.resume(store, "job", flow=make_flow(), keep_checkpoints=1)
    state = job.wait(30)
    sink = state.routine_states["sink"]["state"]
    completed = [record.message_id for record in StoredHistory(store, "job") if record.kind == "completed"]
    told.update(
        status=str(state.status),
        sum=sink["sum"],
        last=sink["last"],
        later_damage=[str(problem) for problem in verify(store, "job")],
        completed=len(completed),
        distinct=len(set(completed)),
        objects=sorted(info.name.partition("-")[0] for info in store.objects("job")),
        temporaries=[path.name for path in folder.rglob(".tmp-*")],
    )
    store.close()
    return told


def in_a_fork(deed: Callable[[], object]) -> int:
    """Do something in a copy of this program; give how that ended."""
    pid = os.fork()  # noqa: TID251  this program has one thread
    if pid == 0:
        status = 1
        try:
            deed()
            status = 0
        except BaseException:  # noqa: BLE001  told, and this copy of the program ends
            traceback.print_exc()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def try_all(folder: Path, kind: str, share: int) -> Iterator[dict[str, Any]]:
    """Kill a save before each step, and amid each that writes to a file."""
    for at in range(200):
        for moment in ("before", "amid") if kind == "files" else ("before",):
            if (at + (moment == "amid")) % share and at:
                continue
            place = folder / f"{kind}-{at:03}-{moment}"
            place.mkdir()
            status = in_a_fork(lambda place=place, at=at, moment=moment: die_while_saving(place, kind, at, moment))
            if status != -signal.SIGKILL:
                if moment == "amid":
                    continue  # that step writes nothing
                assert status == 0, status
                return
            answer = place / "answer.json"

            def go_on(place: Path = place, answer: Path = answer) -> None:
                answer.write_text(json.dumps(resume(place, kind)), encoding="utf-8")

            failed = in_a_fork(go_on)
            told = {"status": f"the resume ended with {failed}"} if failed else json.loads(answer.read_text("utf-8"))
            yield {"kind": kind, "at": f"{moment} step {at}", **told}


def main() -> None:
    """Kill the saves of a store of one kind."""
    folder, kind = Path(sys.argv[1]), sys.argv[2]
    share = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    for told in try_all(folder, kind, share):
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
