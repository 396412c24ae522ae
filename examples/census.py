"""Census of Python sources: parse every file of a folder in supervised worker processes.

    python examples/census.py [FOLDER] [--placement process|ray|thread] [--kill-every SECONDS] [--json]
    python examples/census.py [FOLDER] --store jobs     # after Ctrl-C, or kill -9, the same command goes on

Three routines. `read` walks the folder and emits the path of each file; `parse` turns a file into
figures, in worker processes; `tally` adds them up on a thread. Three things go wrong on the way, and
none of them costs a figure:

- A file that does not parse raises in `parse`: it is given up and counted by name.
- A worker that dies, by `--kill-every` or otherwise, is replaced, and its file is parsed again.
- The program is interrupted, or killed. With `--store` its job is kept, in that folder: what `read`
  has emitted and what `tally` has added up is in each checkpoint, with the files that are under way.

What is counted:

- branches: one for each `if`, `elif`, `for`, `while`, `except`, `case`, conditional expression, and
  `and` or `or`; in comprehensions one for each `for` and each `if`;
- cyclomatic complexity of a function (McCabe, IEEE Trans. Software Eng. SE-2, 1976): one more than
  its branches, functions and classes inside it left out;
- nesting: blocks (`if`, `for`, `while`, `try`, `with`, `match`) inside each other in one function,
  `elif` being no deeper than its `if`;
- imports: for each module, the files that import it; relative imports count as what they mean.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import random
import re
import signal
import sys
import sysconfig
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path, PurePosixPath
from typing import Any

from routilux import ErrorHandler, Flow, Job, JobState, RoutiluxError, Routine, UnknownJobError, usable_cpus
from routilux.cli.live import watch
from routilux.observe import JobView, observe

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
BRANCHES = (ast.If, ast.IfExp, ast.For, ast.AsyncFor, ast.While, ast.ExceptHandler, ast.match_case)
BLOCKS = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.Try, ast.TryStar, ast.With, ast.AsyncWith, ast.Match)

# ---- The flow: three routines


class Read(Routine):
    """Walks a folder and emits the path of each Python file, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("trigger", handler=self.walk)
        self.define_event("file", ["root", "path"])

    def walk(self, root: str | None = None) -> Iterator[None]:
        """Emit the files below the folder `root`; None: of the standard library."""
        # Recorded before it is used: a walk that is begun again has the same list, whatever the folder holds by then.
        paths = self.once("listing", lambda: list(python_files(root) if root else standard_library()))
        for number in range(self.state.get("emitted", 0), len(paths)):
            self.emit("file", root=root or library_folder(), path=paths[number])
            self.state["emitted"] = number + 1
            yield  # commits, so it goes on behind the last one


class Parse(Routine):
    """Parses one file and measures it. A file that does not parse is an error like any other."""

    def __init__(self, top: int = 10) -> None:
        super().__init__()
        self.top = top
        self.define_slot("file", handler=self.parse)
        self.define_event("measured", ["counts", "nesting", "complex", "longest", "imports"])

    def parse(self, root: str, path: str) -> None:
        """Measure the file at `path` below `root`."""
        measures = measure(Path(root, path).read_bytes(), path)
        functions = measures.functions
        self.emit(
            "measured",
            counts=measures.counts,
            nesting=measures.nesting,
            complex=sorted(functions, key=by_complexity)[: self.top],
            longest=sorted(functions, key=by_length)[: self.top],
            imports=sorted(measures.imports),
        )


class Tally(Routine):
    """Adds up. Each sum is under a key of its own: a commit costs what a file touches."""

    def __init__(self, top: int = 10) -> None:
        super().__init__()
        self.top = top
        self.define_slot("measured", handler=self.add)

    def add(
        self,
        counts: dict[str, int],
        nesting: int,
        complex: list[list[Any]],  # noqa: A002  the word for it
        longest: list[list[Any]],
        imports: list[str],
    ) -> None:
        """Take in one file."""
        state = self.state
        for name, count in counts.items():
            state[name] = state.get(name, 0) + count
        for module in imports:
            state[f"import {module}"] = state.get(f"import {module}", 0) + 1
        state["nesting"] = max(state.get("nesting", 0), nesting)
        # The same ten whatever came first: the order is total.
        state["complex"] = sorted(state.get("complex", []) + complex, key=by_complexity)[: self.top]
        state["longest"] = sorted(state.get("longest", []) + longest, key=by_length)[: self.top]


def flow(placement: str = "process", workers: int | None = None, top: int = 10) -> Flow:
    """Wire the census. Also for the command line: `routilux run examples/census.py:flow --store jobs`."""
    # A death is always tried again. An exception is not: what does not parse now never will.
    lenient = ErrorHandler(
        "retry", max_retries=1_000, retry_delay=0.05, retry_backoff=1.0, retryable_exceptions=(), then="continue"
    )
    # Whoever kills workers on purpose kills some before their first file: that is no crash loop here.
    options: dict[str, Any] = {"placement": placement, "error_handler": lenient, "max_restarts": 10_000}
    if placement != "thread":
        options["workers"] = workers or usable_cpus()
    census = Flow("census")
    census.add_routine(Read(), "read")
    census.add_routine(Parse(top), "parse", **options)
    census.add_routine(Tally(top), "tally")
    census.connect("read", "file", "parse", "file")
    census.connect("parse", "measured", "tally", "measured")
    return census


# ---- The measures


class Measures:
    """What is counted in one file.

    Args:
        path: the file, relative to its folder, for names.
        lines: its lines.
    """

    def __init__(self, path: str, lines: int) -> None:
        self.path = PurePosixPath(path)
        self.counts = {"files": 1, "lines": lines, "functions": 0, "classes": 0, "branches": 0}
        self.nesting = 0
        self.functions: list[list[Any]] = []
        """Complexity, length in lines, and name of each function."""
        self.imports: set[str] = set()

    def begin_function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[Any]:
        """Count a function, and give its entry in `functions`."""
        self.counts["functions"] += 1
        length = (node.end_lineno or node.lineno) - node.lineno + 1
        entry = [1, length, f"{self.path}:{node.lineno} {node.name}"]
        self.functions.append(entry)
        return entry

    def note_import(self, node: ast.Import | ast.ImportFrom) -> None:
        """Note the modules that a statement imports."""
        if isinstance(node, ast.Import):
            self.imports.update(alias.name for alias in node.names)
            return
        package = self.path.parent.parts[: len(self.path.parts) - node.level] if node.level else ()
        module = ".".join([*package, *([node.module] if node.module else [])])
        if module:
            self.imports.add(module)


def measure(source: bytes, path: str) -> Measures:
    """Parse a file and measure it.

    Args:
        source: what is in it.
        path: the file, relative to its folder, for names.

    Raises:
        SyntaxError, ValueError, RecursionError, MemoryError: it does not parse.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what the compiler thinks of old tests is no news here
        tree = ast.parse(source, path)
    measures = Measures(path, len(source.splitlines()))
    # Node, function it is in, and blocks around it. No recursion: some files nest deeper than it goes.
    waiting: list[tuple[ast.AST, list[Any] | None, int]] = [(tree, None, 0)]
    while waiting:
        node, function, depth = waiting.pop()
        outside = depth
        if isinstance(node, FUNCTIONS):
            function, depth = measures.begin_function(node), 0
        elif isinstance(node, ast.ClassDef):
            measures.counts["classes"] += 1
            function, depth = None, 0
        elif isinstance(node, ast.Import | ast.ImportFrom):
            measures.note_import(node)
        else:
            count = branches(node)
            measures.counts["branches"] += count
            if function is not None:
                function[0] += count
            depth += isinstance(node, BLOCKS)
            measures.nesting = max(measures.nesting, depth)
        waiting += [
            (child, function, outside if is_elif(child, node) else depth) for child in ast.iter_child_nodes(node)
        ]
    return measures


def branches(node: ast.AST) -> int:
    """How many further ways a node opens."""
    if isinstance(node, ast.BoolOp):
        return len(node.values) - 1
    if isinstance(node, ast.comprehension):
        return 1 + len(node.ifs)
    return int(isinstance(node, BRANCHES))


def is_elif(child: ast.AST, parent: ast.AST) -> bool:
    """Tell an `elif` from an `if` below an `else`: it begins where its `if` does."""
    return (
        isinstance(parent, ast.If)
        and isinstance(child, ast.If)
        and parent.orelse == [child]
        and child.col_offset == parent.col_offset
    )


def by_complexity(entry: list[Any]) -> tuple[int, int, str]:
    """Order functions by complexity, then length, then name."""
    return -entry[0], -entry[1], entry[2]


def by_length(entry: list[Any]) -> tuple[int, int, str]:
    """Order functions by length, then complexity, then name."""
    return -entry[1], -entry[0], entry[2]


def library_folder() -> str:
    """Give the folder of the standard library."""
    return sysconfig.get_paths()["stdlib"]


def standard_library() -> Iterator[str]:
    """Give its files; what is installed beside them is not part of it."""
    return python_files(library_folder(), without=("site-packages", "dist-packages"))


def python_files(folder: str, without: tuple[str, ...] = ()) -> Iterator[str]:
    """Give the Python files below a folder, sorted, each relative to it and with `/` between names."""
    for where, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in without)
        paths = [Path(where, name) for name in sorted(files) if name.endswith(".py")]
        yield from (path.relative_to(folder).as_posix() for path in paths if path.is_file())


# ---- The program


class Killer(AbstractContextManager[None]):
    """Kills random workers at random moments, inside a `with` block.

    Args:
        job: whose workers.
        every: seconds between two kills, on the average: at even intervals, a file that takes longer
            than one would never be done.
        seed: of the random numbers.
    """

    def __init__(self, job: Job, every: float, seed: int) -> None:
        self._job = job
        self._every = every
        self._random = random.Random(seed)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="killer")

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *raised: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(self._random.expovariate(1 / self._every)):
            pids = [pid for routine in observe(self._job).routines for pid in routine.pids]
            if pids:
                try:
                    os.kill(self._random.choice(pids), signal.SIGKILL)
                except ProcessLookupError:
                    continue  # it has just ended by itself


def summarize(state: JobState) -> dict[str, int]:
    """Give the figures of a finished census."""
    tally = state.routine_states["tally"]["state"]
    unparsed: int = state.routine_states["parse"]["stats"]["dead"]
    return {
        "files": tally.get("files", 0) + unparsed,
        "unparsed": unparsed,
        **{name: tally.get(name, 0) for name in ("lines", "functions", "classes", "branches")},
        "restarts": sum(routine["restarts"] for routine in state.routine_states.values()),
    }


def report(state: JobState, top: int) -> Iterator[str]:
    """Tell a finished census in lines."""
    tally = state.routine_states["tally"]["state"]
    for name, count in {**summarize(state), "deepest nesting": tally.get("nesting", 0)}.items():
        yield f"{name:>16} {count:>12,}"
    yield f"\nmost complex functions\n{'complexity':>16} {'lines':>12}"
    yield from (f"{entry[0]:>16,} {entry[1]:>12,}  {shown(entry[2])}" for entry in tally.get("complex", []))
    yield f"\nlongest functions\n{'lines':>16} {'complexity':>12}"
    yield from (f"{entry[1]:>16,} {entry[0]:>12,}  {shown(entry[2])}" for entry in tally.get("longest", []))
    fan_in = [(-count, key.removeprefix("import ")) for key, count in tally.items() if key.startswith("import ")]
    yield f"\nmost imported modules\n{'by files':>16}"
    yield from (f"{-count:>16,}  {shown(module)}" for count, module in sorted(fan_in)[:top])
    if state.dead_letters:
        yield "\nfiles that do not parse"
        yield from (f"{error:>16}  {shown(path)}" for error, path in sorted(unparsed_files(state)))


def unparsed_files(state: JobState) -> list[tuple[str, str]]:
    """Give the type of the error and the path, for each file that was given up."""
    return [
        (letter.cause.removeprefix("raised ").partition(":")[0], letter.data["path"]) for letter in state.dead_letters
    ]


def shown(text: str) -> str:
    """Escape what a terminal would obey: the name of a file can be anything."""
    return text if text.isprintable() else repr(text)


def headline(view: JobView) -> str:
    """Tell the progress in one line."""
    parse = view.routine("parse")
    done = parse.figures.handled + parse.figures.dead
    found = view.routine("read").figures.emitted
    return f"census: {done:,} of {found:,} files found so far, {parse.rate or 0.0:,.0f} a second"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the census as the command line says; gives the exit status."""
    options = read_options(argv)
    job: Job | None = None
    try:
        job = begin(options)
        with job, killing(job, options):  # left by Ctrl-C or SIGTERM, a job that is kept is paused
            state = watch(job, plain=options.plain or None, interval=options.every, headline=headline)
    except RoutiluxError as error:
        print(f"census: {error}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, SystemExit) as error:
        is_paused = job is not None and job.status == "paused"
        print("paused: the same command goes on" if is_paused else "interrupted", file=sys.stderr)
        return 130 if isinstance(error, KeyboardInterrupt) else 143
    print(json.dumps(summarize(state)) if options.json else "\n".join(report(state, options.top)))
    if state.status == "completed":
        return 0
    print(f"the census {state.status}: {state.error}", file=sys.stderr)
    return 1


def begin(options: argparse.Namespace) -> Job:
    """Go on with the job that is kept, or start one."""
    census = flow(options.placement, options.workers, options.top)
    params = {"root": options.folder}
    if options.store is None:
        return census.start("read", params)
    # The target is for `routilux resume`, which goes on with it too.
    keeping: dict[str, Any] = {
        "checkpoint_every": options.checkpoint_every,
        "target": f"{Path(__file__).resolve()}:flow",
    }
    job_id = options.job or default_job_id(options.folder or library_folder())
    try:
        job = Flow.resume(options.store, job_id, flow=census, **keeping)
    except UnknownJobError:
        return census.start("read", params, store=options.store, job_id=job_id, **keeping)
    print(f"going on with job {job_id}", file=sys.stderr)
    return job


def default_job_id(folder: str) -> str:
    """Give each folder a job of its own, with a name that may be typed."""
    return f"census-{re.sub('[^A-Za-z0-9]+', '-', folder)[-50:].strip('-')}"


def killing(job: Job, options: argparse.Namespace) -> AbstractContextManager[None]:
    """Give what kills its workers meanwhile, if that is wanted."""
    if not options.kill_every:
        return nullcontext()
    print(f"killing a worker about every {options.kill_every:g} s, seed {options.seed}", file=sys.stderr)
    return Killer(job, options.kill_every, options.seed)


def read_options(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", nargs="?", help="default: the standard library")
    parser.add_argument("--placement", choices=("process", "ray", "thread"), default="process")
    parser.add_argument("--workers", type=int, help="workers that parse; default: one for each processor")
    parser.add_argument(
        "--kill-every", type=float, metavar="SECONDS", help="kill a random worker that often, on the average"
    )
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000), help="of the killing; default: random")
    parser.add_argument(
        "--store", metavar="FOLDER", help="keep the job there, and go on with it if it is there already"
    )
    parser.add_argument("--job", metavar="ID", help="the job's id; default: census- and where the files are")
    parser.add_argument(
        "--checkpoint-every", type=float, default=1.0, metavar="SECONDS", help="between two checkpoints; default: 1"
    )
    parser.add_argument("--top", type=int, default=10, help="lines in each list; default: 10")
    parser.add_argument("--plain", action="store_true", help="plain lines instead of the live view")
    parser.add_argument("--every", type=float, metavar="SECONDS", help="between two looks; default: 0.5, or 2 if plain")
    parser.add_argument("--json", action="store_true", help="print the figures as one JSON object")
    options = parser.parse_args(argv)
    if options.folder is not None:
        if not Path(options.folder).is_dir():
            parser.error(f"there is no folder {options.folder!r}")
        options.folder = str(Path(options.folder).absolute())
    for name in ("kill_every", "checkpoint_every", "every"):
        if (seconds := getattr(options, name)) is not None and not seconds > 0:
            parser.error(f"--{name.replace('_', '-')}: expected a number of seconds above 0")
    if options.kill_every and options.placement == "ray":
        parser.error("--kill-every: workers on Ray may be on another machine; use --placement process")
    if options.workers is not None and options.workers < 1:
        parser.error("--workers: expected 1 or more")
    return options


if __name__ == "__main__":
    sys.exit(main())
