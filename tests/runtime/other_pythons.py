"""Jobs that are started by one Python and go on under another: `python -m tests.runtime.other_pythons`.

For each version that is installed an environment is made, with the project as it is in this working tree and what it
depends on. Each starts a job, leaves it, and all others go on with it; and a checkpoint with code in it, which only the
version that wrote it can run, is refused by all others before anything of it is read.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.pythons import VERSIONS, find_pythons

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 600

PROGRAM = """
import sys
import threading
from dataclasses import dataclass
from datetime import timedelta

from routilux import Flow, Routine, register
from routilux.jobs.errors import ResumeRefusedError


@register("other_pythons.Seen")
@dataclass
class Seen:
    numbers: tuple
    every: timedelta


class Adding(Routine):
    def __init__(self):
        super().__init__()
        self.define_slot("trigger", handler=self.add)
        self.define_event("added", ["seen"])

    def add(self, n):
        seen = self.state.get("seen") or Seen((), timedelta(seconds=0))
        self.state["seen"] = Seen((*seen.numbers, n), seen.every + timedelta(seconds=n))
        self.emit("added", seen=self.state["seen"])


class Coding(Routine):
    def __init__(self):
        super().__init__()
        self.define_slot("trigger", handler=self.keep)

    def keep(self, n):
        self.state["function"] = lambda: n


def adding(placement):
    flow = Flow("adding")
    flow.add_routine(Adding(), "adding", placement=placement)
    flow.output("adding", "added")
    return flow


def coding():
    flow = Flow("coding")
    flow.add_routine(Coding(), "coding")
    return flow


def send(job, routine, numbers):
    for n in numbers:
        job.send(routine, "trigger", n=n)
    while job.ledger.outstanding:
        threading.Event().wait(0.01)


if __name__ == "__main__":
    deed, store, placement = sys.argv[1:]
    if deed == "start":
        job = adding(placement).start(keep_open=True, store=store, job_id="adding")
        send(job, "adding", [1, 2])
        job.leave()
        job = coding().start(keep_open=True, store=store, job_id="coding", allow_pickle=True)
        send(job, "coding", [1])
        job.leave()
    else:
        job = Flow.resume(store, "adding", flow=adding(placement))
        job.send("adding", "trigger", n=3)
        job.close_entry()
        with job:
            pass
        seen = [item["seen"] for item in job.state.results()]
        assert seen[-1] == Seen((1, 2, 3), timedelta(seconds=6)), seen
        assert [one.numbers for one in seen] == [(1,), (1, 2), (1, 2, 3)], seen
        assert job.state.status == "completed", job.state.error
        try:
            job = Flow.resume(store, "coding", flow=coding(), allow_pickle=True)
        except ResumeRefusedError as refused:
            print(refused.losses[0])
        else:
            job.leave()
            print("code goes on")
"""


def make_environment(python: Path, where: Path) -> Path:
    """Make an environment with the project in it, and give its interpreter."""
    subprocess.run([str(python), "-m", "venv", str(where)], check=True, timeout=SECONDS)
    own = where / "bin" / "python"
    copy = where / "project"
    kept = ("routilux", "supervisors", "pyproject.toml", "README.md", "LICENSE")
    for name in kept:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            copy.mkdir(exist_ok=True)
            shutil.copy(source, copy / name)
    pip = [str(own), "-m", "pip", "--disable-pip-version-check", "install", "--quiet", str(copy)]
    subprocess.run(pip, check=True, timeout=SECONDS, capture_output=True)
    return own


def run(python: Path, program: Path, *arguments: str) -> str:
    """Run the program, and give what it has printed; raises `AssertionError` with all it said where it failed."""
    command = [str(python), str(program), *arguments]
    told = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS, cwd=program.parent)
    if told.returncode:
        raise AssertionError(f"{' '.join(command)} ended with {told.returncode}:\n{told.stdout}{told.stderr}")
    return told.stdout.strip()


def check_all(folder: Path, placements: tuple[str, ...] = ("thread", "process")) -> list[str]:
    """Resume under each version what each other one has left; give a line on each pair."""
    pythons = {version: make_environment(path, folder / version) for version, path in find_pythons().items()}
    program = folder / "program.py"
    program.write_text(PROGRAM)
    lines = []
    for placement in placements:
        for writer, python in pythons.items():
            store = folder / f"{placement}-{writer}"
            run(python, program, "start", str(store), placement)
            for reader, other in pythons.items():
                copy = folder / f"{placement}-{writer}-{reader}"
                shutil.copytree(store, copy)
                code = run(other, program, "resume", str(copy), placement)
                wanted = "code goes on" if writer == reader else f"code that was written by cpython-{writer}, which"
                if not code.startswith(wanted):
                    raise AssertionError(f"{writer} to {reader}: {code}")
                lines.append(f"{placement}: {writer} -> {reader}: goes on; {code}")
    return lines


def main() -> None:
    """Check all versions there are."""
    argparse.ArgumentParser(description=main.__doc__).parse_args()
    versions = list(find_pythons())
    print("Python", ", ".join(versions), flush=True)
    with tempfile.TemporaryDirectory(prefix="routilux-pythons-") as folder:
        for line in check_all(Path(folder)):
            print(line)
    missing = [version for version in VERSIONS if version not in versions]
    if missing:
        print("not installed, and not looked at:", ", ".join(missing))
        sys.exit(2)


if __name__ == "__main__":
    main()
