"""Grades every Python file of a folder: a long job that is paused, killed and resumed from the shell.

    python examples/nightly.py start [FOLDER]    # Ctrl-C pauses it; so does SIGTERM
    python examples/nightly.py resume            # goes on: after a pause, after kill -9, on another machine

The job is kept in a store, the folder `jobs` (`--store`). What it finds is in `nightly.txt` and `nightly.sqlite`, in
the present folder (`--into`). However often it is paused or killed, each file is in both exactly once.

Five routines. `files` walks the folder and keeps a cursor; `measure` parses one file, in worker processes; `score`
makes a number of what was measured; `lines` writes it to a text file, `rows` to a database. The last two are the ones
to copy from: they change the world outside, of which a job that goes back to its last checkpoint takes nothing back.

- `Lines` keeps in its declared state how long the file was after its last line. Before it writes it cuts the file to
  that length, so what a turn wrote that was never committed is gone.
- `Rows` writes the id of the message into the row, in the same transaction. The id is the same each time the message
  is run, so a row that is there already is left alone.
"""

from __future__ import annotations

import argparse
import ast
import os
import sqlite3
import sys
import sysconfig
import warnings
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from routilux import ErrorHandler, Flow, Job, JobState, RoutiluxError, Routine, usable_cpus

BRANCHES = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.ExceptHandler, ast.IfExp, ast.BoolOp, ast.match_case)


class Files(Routine):
    """Finds the files of a folder. Of what it has found, it keeps how far it has come."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("trigger", handler=self.find)
        self.define_event("file", ["root", "path"])

    def find(self, root: str) -> Iterator[None]:
        """Emit the files below the folder `root`, and commit after each."""
        # Recorded before it is used: tomorrow it is this list again, whatever the folder holds by then.
        paths = self.once("listing", lambda: list(python_files(root)))
        self.state["found"] = len(paths)
        for number in range(self.state.get("next", 0), len(paths)):
            self.state["next"] = number + 1
            self.emit("file", root=root, path=paths[number])
            yield


class Measure(Routine):
    """Parses one file and counts. A file that does not parse is an error like any other."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("file", handler=self.measure)
        self.define_event("measured", ["path", "functions", "branches"])

    def measure(self, root: str, path: str) -> None:
        """Measure the file at `path` below `root`."""
        functions, branches = count(Path(root, path).read_bytes())
        self.emit("measured", path=path, functions=functions, branches=branches)


class Score(Routine):
    """Makes a score of the counts: branches to a function."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("measured", handler=self.score)
        self.define_event("scored", ["path", "score"])

    def score(self, path: str, functions: int, branches: int) -> None:
        """Score one file."""
        self.emit("scored", path=printable(path), score=score_of(functions, branches))


class Lines(Routine):
    """Writes a line for each score to the end of a file: exactly once, in the order in which they come.

    The file is this routine's alone, and there is one worker of it. Who reads the file meanwhile may see lines that
    are cut off again, and come again.

    Args:
        path: the file; made when it is not there.
    """

    state_policy = "external"  # nothing but where we are in the file

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.define_slot("scored", handler=self.write)

    def write(self, path: str, score: float) -> None:
        """Write one line."""
        end, line = self.state.get("end", 0), f"{score:8.2f}  {path}\n".encode()
        with self.path.open("ab") as file:
            if file.tell() < end:
                raise EOFError(f"{self.path} had {end:,} bytes when the job was kept, and has {file.tell():,}")
            file.truncate(end)
            file.write(line)
            file.flush()
            os.fsync(file.fileno())  # a checkpoint that says the line is there must not outlive it
        self.state["end"] = end + len(line)


class Rows(Routine):
    """Writes a row for each score into a database: exactly once, whoever else uses the database.

    Args:
        path: the database; made when it is not there.
    """

    state_policy = "external"  # how many rows were there already, for those who wonder

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.define_slot("scored", handler=self.insert)

    def insert(self, path: str, score: float) -> None:
        """Insert one row, and with it the id of the message that it is for."""
        with closing(sqlite3.connect(self.path)) as database, database:  # commits at its end, or rolls back
            database.execute("CREATE TABLE IF NOT EXISTS scores (message_id TEXT PRIMARY KEY, path TEXT, score REAL)")
            inserted = database.execute(
                "INSERT INTO scores VALUES (?, ?, ?) ON CONFLICT (message_id) DO NOTHING",
                (self.message_id, path, score),
            )
        if not inserted.rowcount:
            self.state["known"] = self.state.get("known", 0) + 1


def flow(into: str = ".", workers: int | None = None) -> Flow:
    """Wire the job. Also for the command line: `routilux run examples/nightly.py:flow --store jobs`."""
    # A file that does not parse never will: it is given up. A worker that dies gets another try.
    lenient = ErrorHandler("retry", max_retries=3, retry_delay=0.1, retryable_exceptions=(), then="continue")
    nightly = Flow("nightly")
    nightly.add_routine(Files(), "files")
    nightly.add_routine(
        Measure(), "measure", placement="process", workers=workers or usable_cpus(), error_handler=lenient
    )
    nightly.add_routine(Score(), "score")
    nightly.add_routine(Lines(Path(into, "nightly.txt")), "lines")
    nightly.add_routine(Rows(Path(into, "nightly.sqlite")), "rows")
    nightly.connect("files", "file", "measure", "file")
    nightly.connect("measure", "measured", "score", "measured")
    nightly.connect("score", "scored", "lines", "scored")
    nightly.connect("score", "scored", "rows", "scored")
    return nightly


# ---- What is measured


def python_files(root: str) -> Iterator[str]:
    """Give the Python files below a folder, sorted, each relative to it; what is installed there is left out."""
    for where, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.endswith("-packages"))
        for name in sorted(files):
            if name.endswith(".py"):
                yield Path(where, name).relative_to(root).as_posix()


def count(source: bytes) -> tuple[int, int]:
    """Count the functions of a source text, and its branches."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)  # its authors' affair
        nodes = list(ast.walk(ast.parse(source)))
    functions = sum(isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) for node in nodes)
    return functions, sum(isinstance(node, BRANCHES) for node in nodes)


def score_of(functions: int, branches: int) -> float:
    """Give the branches to a function, rounded."""
    return round(branches / max(functions, 1), 2)


def printable(path: str) -> str:
    """Escape what would break a line or a database: the name of a file can be anything."""
    return path if path.isprintable() else ascii(path)


# ---- The program


def main(argv: Sequence[str] | None = None) -> int:
    """Start or resume the job as the command line says, and wait for it; gives the exit status."""
    options = read_options(argv)
    job: Job | None = None
    try:
        job = begin(options)
        with job:  # broken off by Ctrl-C or SIGTERM, it leaves the job paused, and its last checkpoint durable
            state = follow(job, options.every)
    except RoutiluxError as error:
        print(f"nightly: {error}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, SystemExit) as error:
        if job is not None and job.status == "paused":
            print(f"paused: go on with `python examples/nightly.py resume --store {options.store}`", file=sys.stderr)
        return 130 if isinstance(error, KeyboardInterrupt) else 143
    print("\n".join(report(state)))
    return 0 if state.status == "completed" else 1


def begin(options: argparse.Namespace) -> Job:
    """Start the job, or go on with it."""
    nightly = flow(options.into, options.workers)
    keeping: dict[str, Any] = {"checkpoint_every": 1.0}
    if options.command == "start":
        return nightly.start("files", {"root": options.folder}, store=options.store, job_id=options.job, **keeping)
    return Flow.resume(options.store, options.job, flow=nightly, **keeping)


def follow(job: Job, every: float) -> JobState:
    """Wait for a job, and tell now and then how far it has come."""
    while True:
        try:
            return job.wait(every)
        except TimeoutError:
            print(progress(job.state), file=sys.stderr)


def progress(state: JobState) -> str:
    """Tell in a line how far the job has come."""
    routines = state.routine_states
    done, found = routines["lines"]["handled"], routines["files"]["state"].get("found", 0)
    return f"nightly: {done:,} of {found:,} files"


def report(state: JobState) -> Iterator[str]:
    """Tell in lines how the job ended."""
    routines = state.routine_states
    yield progress(state) + f", {routines['rows']['state'].get('known', 0):,} rows were there already: {state.status}"
    if state.error:
        yield f"  {state.error}"
    for letter in state.dead_letters:
        yield f"  left out {printable(letter.data['path'])}: {letter.cause}"


def read_options(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("command", choices=("start", "resume"))
    parser.add_argument(
        "folder", nargs="?", default=sysconfig.get_paths()["stdlib"], help="default: the standard library"
    )
    parser.add_argument("--store", default="jobs", help="where the job is kept; default: jobs")
    parser.add_argument("--job", default="nightly", help="the job's id; default: nightly")
    parser.add_argument("--into", default=".", help="the folder of nightly.txt and nightly.sqlite; default: this one")
    parser.add_argument("--workers", type=int, help="processes that parse; default: one for each processor")
    parser.add_argument("--every", type=float, default=1.0, metavar="SECONDS", help="between two lines; default: 1")
    options = parser.parse_args(argv)
    if not Path(options.folder).is_dir():
        parser.error(f"there is no folder {options.folder!r}")
    options.folder = str(Path(options.folder).absolute())
    return options


if __name__ == "__main__":
    sys.exit(main())
