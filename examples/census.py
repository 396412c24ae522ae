"""Census of Python sources: parse every file of a folder in supervised worker processes.

    python examples/census.py [FOLDER] [--placement process|thread] [--kill-every SECONDS] [--json]

Three routines: `read` walks the folder, `parse` turns each file into figures in worker processes,
`tally` adds them up on a thread. A file that does not parse is given up and counted by name; a
worker that dies, by `--kill-every` or otherwise, costs one file's time and no figure.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import random
import signal
import sys
import sysconfig
import threading
import tokenize
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from routilux import ErrorHandler, Flow, Job, JobState, Routine
from routilux.cli.live import watch
from routilux.observe import JobView

BRANCHES = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.ExceptHandler, ast.IfExp, ast.comprehension, ast.match_case)
"""What may take one of two ways; `and` and `or` do too, once for each operand after the first."""
BLOCKS = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Try, ast.Match)
"""What nests."""
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


class Read(Routine):
    """Walks a folder and emits the path of each Python file, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("trigger", handler=self.walk)
        self.define_event("file", ["path"])

    def walk(self, root: str | None = None) -> Iterator[None]:
        # A generator commits at each `yield`: started again, it goes on behind the last one.
        folder = Path(root or sysconfig.get_paths()["stdlib"])
        for number, path in enumerate(python_files(folder)):
            if number >= self.state.get("emitted", 0):
                self.emit("file", path=str(path))
                self.state["emitted"] = number + 1
                yield


class Parse(Routine):
    """Parses one file and measures it. What does not parse is an error like any other."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("input", handler=self.parse)
        self.define_event("measured", ["path", "figures", "functions", "imports"])

    def parse(self, path: str) -> None:
        measures = measure(path)
        self.emit("measured", path=path, **measures)


class Tally(Routine):
    """Adds up. Each sum has a key of its own, so that a commit costs what the file touched."""

    def __init__(self, top: int = 10) -> None:
        super().__init__()
        self.top = top
        self.define_slot("input", handler=self.add)

    def add(self, path: str, figures: dict[str, int], functions: list[list[Any]], imports: list[str]) -> None:
        state = self.state
        state["files"] = state.get("files", 0) + 1
        for name, count in figures.items():
            state[name] = max(state.get(name, 0), count) if name == "nesting" else state.get(name, 0) + count
        for module in imports:
            state[f"import {module}"] = state.get(f"import {module}", 0) + 1
        named = [[complexity, length, f"{path}:{line} {name}"] for name, line, length, complexity in functions]
        state["complex"] = sorted([*state.get("complex", []), *named], key=most_complex)[: self.top]
        state["longest"] = sorted([*state.get("longest", []), *named], key=longest)[: self.top]


class Measure(NamedTuple):
    """What is counted of a tree while it is walked."""

    figures: Counter[str]
    functions: list[list[Any]]
    imports: set[str]


def measure(path: str) -> dict[str, Any]:
    """Parse a file and give its figures.

    Returns:
        `figures`: counts of lines, functions, classes and branches, and the deepest nesting;
        `functions`: (name, line, length in lines, cyclomatic complexity) of each function;
        `imports`: the modules it imports, sorted.

    Raises:
        SyntaxError, UnicodeDecodeError, ValueError: it is not valid Python.
    """
    with tokenize.open(path) as file:
        source = file.read()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what the compiler thinks of old test files is no news here
        tree = ast.parse(source, path)
    found = Measure(Counter(functions=0, classes=0, branches=0), [], set())
    deepest = 0
    waiting: list[tuple[ast.AST, int]] = [(tree, 0)]
    while waiting:
        node, depth = waiting.pop()
        count_node(node, found)
        depth += isinstance(node, BLOCKS)
        deepest = max(deepest, depth)
        waiting += [(child, depth) for child in ast.iter_child_nodes(node)]
    figures = {"lines": source.count("\n") + (not source.endswith("\n") and bool(source)), "nesting": deepest}
    return {
        "figures": {**figures, **found.figures},
        "functions": sorted(found.functions),
        "imports": sorted(found.imports),
    }


def count_node(node: ast.AST, found: Measure) -> None:
    """Count one node of a tree."""
    found.figures["branches"] += branches(node)
    if isinstance(node, FUNCTIONS):
        found.figures["functions"] += 1
        length = (node.end_lineno or node.lineno) - node.lineno + 1
        found.functions.append([node.name, node.lineno, length, complexity(node)])
    elif isinstance(node, ast.ClassDef):
        found.figures["classes"] += 1
    elif isinstance(node, ast.Import):
        found.imports.update(alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
        found.imports.add(node.module)


def branches(node: ast.AST) -> int:
    """How many further ways a node opens."""
    if isinstance(node, ast.BoolOp):
        return len(node.values) - 1
    return int(isinstance(node, BRANCHES))


def complexity(function: ast.AST) -> int:
    """Cyclomatic complexity (McCabe 1976): one, and one for each further way, inner functions left out."""
    total = 1
    waiting = list(ast.iter_child_nodes(function))
    while waiting:
        node = waiting.pop()
        if not isinstance(node, FUNCTIONS):
            total += branches(node)
            waiting += ast.iter_child_nodes(node)
    return total


def most_complex(entry: list[Any]) -> tuple[int, int, str]:
    """Order functions by complexity, then length, then name: the same whatever came first."""
    return -entry[0], -entry[1], entry[2]


def longest(entry: list[Any]) -> tuple[int, int, str]:
    """Order functions by length, then complexity, then name."""
    return -entry[1], -entry[0], entry[2]


def python_files(folder: Path) -> Iterator[Path]:
    """Give the Python files below a folder, sorted; installed packages left out."""
    for where, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in {"site-packages", "__pycache__"})
        yield from (Path(where, name) for name in sorted(files) if name.endswith(".py"))


def build(placement: str = "process", workers: int | None = None, top: int = 10) -> Flow:
    """Wire the census."""
    # Deaths are tried again, as often as it takes; what does not parse will not parse tomorrow either.
    persistent = ErrorHandler("retry", max_retries=1_000, retry_delay=0.0, retryable_exceptions=(), then="continue")
    flow = Flow("census")
    flow.add_routine(Read(), "read")
    count = (workers or os.cpu_count() or 1) if placement == "process" else 1
    # By `--kill-every`, a worker may die before it got anything done: that is no crash loop here.
    flow.add_routine(
        Parse(),
        "parse",
        placement=placement,
        workers=count,
        error_handler=persistent,
        max_restarts=10_000,
        capacity=100,
    )
    flow.add_routine(Tally(top), "tally")
    flow.connect("read", "file", "parse", "input")
    flow.connect("parse", "measured", "tally", "input")
    return flow


flow = build()
"""For the command line: `routilux run examples/census.py:flow --entry read`."""


class Killer:
    """Kills a random worker of a job every so many seconds, until it is stopped."""

    def __init__(self, job: Job, every: float, seed: int) -> None:
        self._job = job
        self._every = every
        self._random = random.Random(seed)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="killer")
        self._thread.start()

    def stop(self) -> None:
        """Kill no more."""
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(self._every):
            pids = [pid for account in self._job.ledger.accounts for pid in account.pids if pid is not None]
            if pids:
                try:
                    os.kill(self._random.choice(pids), signal.SIGKILL)
                except ProcessLookupError:
                    continue  # it has just ended by itself


def summarize(state: JobState) -> dict[str, int]:
    """Give the figures of a finished census."""
    tally = state.routine_states["tally"]["state"]
    figures = {name: tally.get(name, 0) for name in ("files", "lines", "functions", "classes", "branches")}
    restarts = sum(told["restarts"] for told in state.routine_states.values())
    return {
        "files": figures["files"],
        "unparsed": len(state.dead_letters),
        **{name: figures[name] for name in ("lines", "functions", "classes", "branches")},
        "restarts": restarts,
    }


def report(state: JobState, root: str, top: int) -> Iterator[str]:
    """Tell a finished census in lines."""
    tally = state.routine_states["tally"]["state"]
    for name, count in {**summarize(state), "deepest nesting": tally.get("nesting", 0)}.items():
        yield f"{name:>16}  {count:>12,}"
    yield from ("", f"most complex functions (complexity, lines), top {top}")
    yield from (
        f"{entry[0]:>16,}  {entry[1]:>6,}  {os.path.relpath(entry[2], root)}" for entry in tally.get("complex", [])
    )
    yield from ("", f"longest functions (lines, complexity), top {top}")
    yield from (
        f"{entry[1]:>16,}  {entry[0]:>6,}  {os.path.relpath(entry[2], root)}" for entry in tally.get("longest", [])
    )
    fan_in = Counter({key.removeprefix("import "): count for key, count in tally.items() if key.startswith("import ")})
    yield from ("", f"most imported modules (files), top {top}")
    yield from (
        f"{count:>16,}  {name}" for name, count in sorted(fan_in.items(), key=lambda item: (-item[1], item[0]))[:top]
    )
    if state.dead_letters:
        yield from ("", "files that do not parse")
        yield from sorted(f"  {unparsed_path(letter, root)}: {letter.cause}" for letter in state.dead_letters)


def unparsed_path(letter: Any, root: str) -> str:
    """Name the file of a message that was given up."""
    return os.path.relpath(letter.data["path"], root)


def headline(view: JobView) -> str:
    """Tell the progress in one line."""
    done = {routine.id: routine for routine in view.routines}
    parsed = done["tally"].handled + done["parse"].dead
    return f"{parsed:,} of {done['parse'].handled + done['parse'].waiting + done['parse'].in_hand:,}+ files, {view.seconds:.1f} s"


def main() -> int:
    """Run the census as the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "folder", nargs="?", default=sysconfig.get_paths()["stdlib"], help="default: the standard library"
    )
    parser.add_argument("--placement", choices=("process", "thread"), default="process")
    parser.add_argument("--workers", type=int, help="default: one for each processor")
    parser.add_argument("--kill-every", type=float, metavar="SECONDS", help="kill a random worker that often")
    parser.add_argument("--seed", type=int, default=1, help="of the killer")
    parser.add_argument("--top", type=int, default=10)
    parser.add_argument("--plain", action="store_true", help="plain lines instead of the live view")
    parser.add_argument("--json", action="store_true", help="print the summary as one JSON object")
    options = parser.parse_args()
    if not Path(options.folder).is_dir():
        parser.error(f"there is no folder {options.folder!r}")
    census = build(options.placement, options.workers, options.top)
    job = census.start("read", {"root": options.folder})
    killer = Killer(job, options.kill_every, options.seed) if options.kill_every else None
    try:
        state = watch(job, plain=options.plain or None, headline=headline)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    finally:
        if killer is not None:
            killer.stop()
    if options.json:
        print(json.dumps(summarize(state)))
    else:
        print("\n".join(report(state, options.folder, options.top)))
    if state.error:
        print(f"the census {state.status}: {state.error}", file=sys.stderr)
    return 0 if state.status == "completed" else 1


if __name__ == "__main__":
    sys.exit(main())
