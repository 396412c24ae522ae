"""A pipeline of built-in routines alone over a real folder, the sources of Python, and a plain loop over the same.

As a program, `python -m tests.routines.census FOLDER PLACEMENT`, it reads `root` in the folder, or goes on with that,
and tells now and then how many words it has counted; its state is in the folder when it is done.
"""

from __future__ import annotations

import csv
import json
import os
import re
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from routilux import ErrorHandler, Flow, JobState
from routilux.routines import (
    Aggregate,
    CollectSink,
    ConditionalRouter,
    CsvSink,
    Deduplicate,
    DirectorySource,
    FileSource,
    Filter,
    FlatMap,
    JsonLinesSink,
    LinesSource,
    Map,
    Split,
)
from routilux.stores.errors import UnknownJobError

SOURCES = Path(os.__file__).parent
SOME = ("json", "wsgiref")
MANY = (
    *(*SOME, "asyncio", "collections", "concurrent", "email", "encodings", "html", "http", "importlib", "logging"),
    *("multiprocessing", "unittest", "urllib", "xml"),
)
WIDTH = 2_000
"""Bytes of a line at most."""
WINDOW = 50
WORD = re.compile(r"[a-z_]{3,}")
MANY_WORKERS = frozenset({"whole", "sizes", "text", "kinds", "words", "modules", "each"})
"""Those that remember nothing."""
PLACEMENTS = ("thread", "process", "mixed", "pool")


# ---- What is handed to the routines, and to the loop


def size_of(content: bytes) -> int:
    return len(content)


def has_text(line: str) -> bool:
    return bool(line.strip())


def is_import(line: str) -> bool:
    return line.lstrip().startswith(("import ", "from "))


def is_definition(line: str) -> bool:
    return line.lstrip().startswith(("def ", "class ", "async def "))


def words_in(line: str) -> list[dict[str, str]]:
    return [{"word": word} for word in WORD.findall(line)]


def modules_in(line: str) -> dict[str, Any]:
    first, *names = line.replace(",", " ").split()
    return {"modules": names[:1] if first == "from" else [name for name in names if name.isidentifier()]}


def first_letters(word: str) -> str:
    return word[:3]


# ---- The folder


def make_folder(root: Path, packages: tuple[str, ...]) -> None:
    """Link packages of the standard library into a folder, beside files of all kinds."""
    root.mkdir()
    for name in packages:
        (root / name).symlink_to(SOURCES / name, target_is_directory=True)
    (root / "again").symlink_to(root, target_is_directory=True)  # a circle
    (root / "gone.py").symlink_to(root / "nothing")
    (root / "linked.py").symlink_to(SOURCES / "this.py")
    (root / "notes.md").write_text("is not asked for\n")
    os.mkfifo(root / "pipe.py")
    files = {
        "empty": b"",
        "blank": b"\n\n \n",
        "no_end": b"import os\ndef last(): pass",
        "returns": b"import sys\r\nclass Returns:\r\n",
        "latin": "import é_module\ndef fine(): pass\n".encode("latin-1"),
        "late": b"def one(): pass\n" * 300 + "é".encode("latin-1") + b"\ndef never(): pass\n",
        "wide": b"def short(): pass\n" + b"x" * (WIDTH + 1) + b"\ndef never(): pass\n",
    }
    for name, content in files.items():
        (root / f"{name}.py").write_bytes(content)


class Found(NamedTuple):
    """What a folder comes to, whatever the order is in which it is looked at."""

    files: list[str]
    bytes: int
    words: dict[str, int]
    longest: dict[str, str]
    windows: dict[str, int]
    definitions: Counter[str]
    modules: set[str]
    unreadable: Counter[tuple[str, int | None]]
    rest: int


def plain_loop(root: Path) -> Found:
    """The same without routilux."""
    files, definitions, modules, unreadable, letters = [], [], set(), [], Counter[str]()
    words: Counter[str] = Counter()
    longest: dict[str, str] = {}
    per_file: Counter[str] = Counter()
    size = rest = 0
    for path in walk(root):
        files.append(str(path))
        size += path.stat().st_size
        for number, raw in enumerate(path.read_bytes().split(b"\n"), start=1):
            try:
                line = raw.removesuffix(b"\r").decode()
            except UnicodeDecodeError:
                line = None
            if line is None or len(raw) + 1 > WIDTH:
                unreadable.append((str(path), number))
                break
            if not line.strip():
                continue
            per_file[str(path)] += 1
            if is_import(line):
                modules.update(modules_in(line)["modules"])
            if is_definition(line):
                definitions.append(line)
            rest += not is_import(line) and not is_definition(line)
            for word in WORD.findall(line):
                words[word] += 1
                letters[word[:3]] += 1
                longest[word[:3]] = max(longest.get(word[:3], ""), word, key=len)
    windows = {path: -(-count // WINDOW) for path, count in per_file.items()}
    return Found(files, size, dict(words), longest, windows, Counter(definitions), modules, Counter(unreadable), rest)


def walk(root: Path) -> Iterator[Path]:
    """Give its Python files, with those of the packages, and never those of the circle."""
    for path in sorted(root.iterdir(), key=lambda path: path.name):
        if path.is_dir() and path.name != "again":
            yield from walk(path)
        elif path.suffix == ".py" and path.is_file():
            yield path


# ---- The pipeline


def pipeline(into: Path, placement: str) -> Flow:
    """Wire every built-in routine; `mixed` are threads and processes in turn, `pool` as many workers as may be."""
    routines = {
        "files": DirectorySource(pattern="*.py", follow_links=True),
        "whole": FileSource(encoding=None),
        "sizes": Map(size_of),
        "bytes": Aggregate("sum"),
        "lines": LinesSource(max_line_bytes=WIDTH, unreadable="event"),
        "unreadable": CollectSink(),
        "text": Filter(has_text),
        "windows": Aggregate(key="path", window=WINDOW),
        "full": CollectSink("key"),
        "kinds": ConditionalRouter({"import": is_import, "definition": is_definition}, default="rest", match="all"),
        "rest": Aggregate(),
        "words": FlatMap(words_in),
        "counts": Aggregate(key="word"),
        "longest": Aggregate(lambda best, word: max(best, word, key=len), key=first_letters, value="word", initial=""),
        "modules": Map(modules_in),
        "each": Split("modules", into="module"),
        "new": Deduplicate("module"),
        "names": CsvSink(into / "modules.csv", columns=["module"], fsync=False),
        "definitions": JsonLinesSink(into / "definitions.jsonl", parameter="line", fsync=False),
        "paths": CollectSink("path"),
    }
    flow = Flow("sources")
    flow.set_error_handler(ErrorHandler("retry", max_retries=1_000, retry_delay=0.01, retry_backoff=1.0))
    for number, (name, routine) in enumerate(routines.items()):
        options: dict[str, Any] = {"placement": "thread"}
        if placement in {"process", "pool"} or (placement == "mixed" and number % 2):
            options = {"placement": "process", "max_restarts": 10_000}
        if placement == "pool" and name in MANY_WORKERS:
            options["workers"] = 2
        flow.add_routine(routine, name, **options)
    for source, event, target, slot in (
        ("files", "output", "lines", "trigger"), ("files", "output", "whole", "trigger"),
        ("files", "output", "paths", "input"), ("whole", "output", "sizes", "input"),
        ("sizes", "output", "bytes", "input"), ("lines", "unreadable", "unreadable", "input"),
        ("lines", "output", "text", "input"), ("text", "output", "windows", "input"),
        ("windows", "output", "full", "input"), ("text", "output", "kinds", "input"),
        ("text", "output", "words", "input"), ("kinds", "rest", "rest", "input"),
        ("kinds", "import", "modules", "input"), ("kinds", "definition", "definitions", "input"),
        ("words", "output", "counts", "input"), ("words", "output", "longest", "input"),
        ("modules", "output", "each", "input"), ("each", "output", "new", "input"), ("new", "output", "names", "input"),
    ):  # fmt: skip
        flow.connect(source, event, target, slot)
    return flow


def found_by(flow: Flow, state: JobState, into: Path) -> Found:
    """Read what the pipeline came to: out of its routines' states, and of its files."""
    states = {name: told["state"] for name, told in state.routine_states.items()}

    def results(name: str) -> dict[Any, Any]:
        aggregate = flow.routines[name]
        assert isinstance(aggregate, Aggregate)
        return aggregate.results(states[name])

    with (into / "modules.csv").open(encoding="utf-8", newline="") as file:
        modules = [row["module"] for row in csv.DictReader(file)]
    assert len(modules) == len(set(modules))
    lines = (into / "definitions.jsonl").read_text(encoding="utf-8").split("\n")[:-1]
    unreadable = [(told["path"], told["line"]) for told in CollectSink.items(states["unreadable"])]
    return Found(
        CollectSink.items(states["paths"]),
        results("bytes")[None],
        results("counts"),
        results("longest"),
        Counter(CollectSink.items(states["full"])),
        Counter(map(json.loads, lines)),
        set(modules),
        Counter(unreadable),
        results("rest")[None],
    )


def words_counted(state: JobState) -> int:
    handled: int = state.routine_states["counts"]["handled"]
    return handled


# ---- The program


def main(folder: str, placement: str) -> None:
    into = Path(folder)
    keeping: dict[str, Any] = {"checkpoint_every": 0.05}
    flow = pipeline(into, placement)
    try:
        job = Flow.resume(into / "jobs", "census", flow=flow, **keeping)
    except UnknownJobError:
        root = {"root": str(into / "root")}
        job = flow.start("files", root, store=into / "jobs", job_id="census", **keeping)
    with job:
        while not job.is_over:
            with suppress(TimeoutError):
                job.wait(0.02)
            sys.stdout.write(f"{words_counted(job.state)}\n")
            sys.stdout.flush()
    job.state.save(into / "state")


if __name__ == "__main__":
    main(*sys.argv[1:])
