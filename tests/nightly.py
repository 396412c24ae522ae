"""The job that the documentation speaks of where it needs one: `nightly`, of `flows.py:nightly`, in the store `jobs`.

Four routines: `files`, which stays on this machine, finds a file every 20 ms until there is a file `stop`, but four at
least; `parse`, two processes, fails on some; `upload` fails on archives; `report` counts. So the job has dead letters
of two routines. It is there in two ways: running in another program, and kept, paused, where nobody runs it.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.typist import Ending, Typed, Typist, wait_until

ROOT = Path(__file__).resolve().parents[1]
FLOWS = """
import os, threading
from routilux import ErrorHandler, Flow, Routine, routine

PARSE = "parse"

class Files(Routine):
    def __init__(self):
        super().__init__()
        self.define_slot("trigger", handler=self.find)
        self.define_event("file", ["name"])

    def needs_here(self):
        return "a file"

    def find(self):
        while self.state.get("found", 0) < 4 or not os.path.exists("stop"):
            self.state["found"] = number = self.state.get("found", 0) + 1
            self.emit("file", name=f"{number}.zip" if number % 4 == 0 else f"{number}.txt")
            yield
            threading.Event().wait(0.02)

@routine(events={"parsed": ["name"]})
def parse(name):
    print("parsing", name, flush=True)
    if name.endswith("3.txt"):
        raise ValueError(f"bad header in {name}")
    threading.Event().wait(0.01)
    return name

class Upload(Routine):
    def __init__(self):
        super().__init__()
        self.define_slot("file", handler=self.upload)
        self.define_event("uploaded", ["name"])

    def upload(self, name):
        if name.endswith(".zip"):
            raise ConnectionError("the server takes no archives today")
        self.emit("uploaded", name=name)

class Report(Routine):
    def __init__(self):
        super().__init__()
        self.define_slot("uploaded", handler=self.add)

    def add(self, name):
        self.state["files"] = self.state.get("files", 0) + 1

flow = nightly = Flow("nightly")
nightly.set_error_handler(ErrorHandler("continue"))
nightly.add_routine(Files(), "files")
nightly.add_routine(parse, PARSE, placement="process", workers=2)
nightly.add_routine(Upload(), "upload")
nightly.add_routine(Report(), "report")
nightly.connect("files", "file", PARSE, "input")
nightly.connect(PARSE, "parsed", "upload", "file")
nightly.connect("upload", "uploaded", "report", "uploaded")
"""
FILES = {
    "flows.py": FLOWS,
    "new_flows.py": FLOWS.replace('PARSE = "parse"', 'PARSE = "read"'),
    "mypackage/__init__.py": "",
    "mypackage/flows.py": FLOWS,
    "src/a.py": "a = 1\n",
}
RUN = "routilux run flows.py:nightly --store jobs --job-id nightly --checkpoint-every 0.2 --plain &"

RUNNING = re.compile(r"routilux (ps|top|stack|tap|logs|pause|checkpoint)\b|.*\$\(routilux ps")
"""Commands that are about a job which runs; all others but these are so where they name no store:"""
NO_JOB = re.compile(r"routilux (check|info|run|graph (FLOW|\S+:))")
"""Commands that are about none."""
LAST = re.compile(r"routilux cancel")
"""Commands after which the job is over."""
_PLACEHOLDERS = {
    r"\b1a2b3c4d\b|\b1f3c(8a20)?\b|\[ID\.\.\.\]|\bMESSAGE\b": "{letter}",
    r"\b1-12\b": "{checkpoint}",
    r"/data/jobs": "jobs",
    r"postgresql://nightly@db\.example/jobs": "jobs",
    r"\[?\bJOB\b\]?|\b(chains|pages)\b": "nightly",
    r"\[?\bROUTINE\b\]?|(?<=--routine )ID\b": "parse",
    r"\bCOMMAND\b": "run",
    r"\bFLOW\b": "flows.py:nightly",
    r"\bPATH\b": "jobs",
    r"\bFILE\b": "file.out",
    r"\bNEW\b": "trial",
    r"(?<=--keep )N\b": "3",
}
"""What a page writes for what a person puts in, and what that is here.

A database is a folder here; `tests/postgres/test_commands.py` has the same commands from that page use a server.
"""


class Nightly:
    """The job, and who types commands about it."""

    def __init__(self, typist: Typist) -> None:
        self._typist = typist
        self._folder = typist.folder
        for name, text in FILES.items():
            (self._folder / name).parent.mkdir(exist_ok=True)
            (self._folder / name).write_text(text)
        (self._folder / "examples").symlink_to(ROOT / "examples", target_is_directory=True)

    def begin(self) -> None:
        """Run it, and wait until it has what is looked at."""
        self._typist.type(RUN, Ending(), [])
        self._await_letters()

    def keep(self) -> list[Typed]:
        """Pause it and end its program, of which what came is given; what there is to find is found."""
        self._await_letters()
        self._typist.type("routilux pause nightly --store jobs --leave", Ending(), [])
        ended = self._typist.leave()
        shutil.copytree(self._folder / "jobs", self._folder / "kept")
        return ended

    def type_running(self, command: str, ending: Ending, shown: list[str]) -> Typed:
        """Type a command about the job that runs; it runs on."""
        typed = self._typist.type(self._fill(command), ending, shown)
        if "routilux pause" in command:
            self._typist.type("routilux resume nightly", Ending(), [])
        return typed

    def type_kept(self, command: str, ending: Ending, shown: list[str]) -> Typed:
        """Type a command about the job that is kept; or about none, where there is no store yet."""
        shutil.rmtree(self._folder / "jobs", ignore_errors=True)
        if not NO_JOB.match(command):
            shutil.copytree(self._folder / "kept", self._folder / "jobs")
        (self._folder / "stop").touch()
        if ending.signal is not None:
            (self._folder / "stop").unlink()  # it has to go on until then
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("ROUTILUX_STORE", "jobs")  # for commands that name none
            return self._typist.type(self._fill(command), ending, shown)

    def _fill(self, command: str) -> str:
        for pattern, filling in _PLACEHOLDERS.items():
            command = re.sub(pattern, filling, command)
        if "{letter}" in command:
            command = command.replace("{letter}", self._await_letter("parse"))
        newest = max((path.name for path in self._folder.glob("jobs/nightly/checkpoint-*")), default="")
        return command.replace("{checkpoint}", "-".join(str(int(number)) for number in re.findall(r"\d+", newest)))

    def _await_letters(self) -> None:
        for routine in ("parse", "upload"):
            self._await_letter(routine)

    def _await_letter(self, routine: str) -> str:
        """Give the id of a dead letter of a routine; others may just have been put back or let go."""
        pattern = re.compile(rf"^(\w+)  {routine}: ", re.MULTILINE)
        wait_until(lambda: pattern.search(self._letters()), self._letters)
        return pattern.findall(self._letters())[0]

    def _letters(self) -> str:
        return self._typist.type("routilux retry nightly --store jobs", Ending(), []).told


def is_about_a_running_job(command: str) -> bool:
    """Say whether a command is typed while the job runs."""
    is_without = "--store" not in command and not NO_JOB.match(command) and not LAST.match(command)
    return bool(RUNNING.match(command)) or is_without
