from __future__ import annotations

import csv
import json
import os
import random
import signal
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from routilux import ErrorHandler, Flow
from routilux.observe import observe
from routilux.routines import (
    Aggregate,
    Batch,
    CollectSink,
    CsvSink,
    Deduplicate,
    Delay,
    DirectorySource,
    FileSource,
    FlatMap,
    Join,
    JsonLinesSink,
    LinesSource,
    Throttle,
)
from tests.runtime.kept import wait_until

FILES, LINES = 6, 150


def write_files(folder: Path) -> list[dict[str, Any]]:
    """Write some files; give the words in them, in order."""
    draw = random.Random(7)
    words = []
    folder.mkdir()
    for name in (f"{n}.txt" for n in range(FILES)):
        lines = [" ".join(draw.choices(["tea", "cup", "pot", "é"], k=2)) for _ in range(LINES)]
        (folder / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        for number, line in enumerate(lines, start=1):
            words += words_of(str(folder / name), number, line)
    return words


def words_of(path: str, number: int, line: str) -> list[dict[str, Any]]:
    return [{"path": path, "number": number, "value": word} for word in line.split()]


def flow_of_processes(folder: Path) -> Flow:
    """Wire routines, each in a process of its own, so that any of them can be killed."""
    flow = Flow("killed")
    flow.set_error_handler(ErrorHandler("retry", max_retries=1_000, retry_delay=0.01, retry_backoff=1.0))
    routines = {
        "files": DirectorySource(folder / "files"),
        "blocks": FileSource(encoding=None, block_bytes=100),
        "lines": LinesSource(),
        "words": FlatMap(words_of),
        "counts": Aggregate(key="value"),
        "triples": Aggregate("list", value="number", window=3),
        "new": Deduplicate(lambda path, value: (path, value), keep=10),
        "all": CollectSink(),
        "json": JsonLinesSink(folder / "all.jsonl", fsync=False),
        "csv": CsvSink(folder / "new.csv", fsync=False),
        "content": CollectSink("content"),
        "windows": CollectSink("value"),
        "sums": Aggregate("sum", key="path", value="number", seconds=0.02),
        "summed": CollectSink(),
        "batches": Batch(7, seconds=0.02),
        "batched": CollectSink("items"),
        "first": Join(lambda path, number: (path, number)),
        "firsts": CollectSink(),
        "seconds": CollectSink("message"),
        "slower": Throttle(50, 0.02),
        "later": Delay(0.01),
        "last": CollectSink(),
    }  # fmt: skip
    for name, routine in routines.items():
        flow.add_routine(routine, name, placement="process", max_restarts=10_000)
    for source, target in (
        ("files", "blocks.trigger"), ("files", "lines.trigger"), ("blocks", "content"), ("lines", "words"),
        ("words", "counts"), ("words", "triples"), ("words", "new"), ("words", "all"), ("words", "json"),
        ("new", "csv"), ("triples", "windows"), ("words", "sums"), ("sums", "summed"), ("words", "batches"),
        ("batches", "batched"), ("lines", "first.left"), ("words", "first.right"), ("first", "firsts"),
        ("words", "slower"), ("slower", "later"), ("later", "last"),
    ):  # fmt: skip
        routine, _, slot = target.partition(".")
        flow.connect(source, "output", routine, slot or "input")
    flow.connect("first", "unmatched", "seconds", "input")
    return flow


def first_by_newest(words: list[dict[str, Any]], keep: int) -> list[dict[str, Any]]:
    newest: dict[tuple[str, str], None] = {}
    first = []
    for word in words:
        key = (word["path"], word["value"])
        if key not in newest:
            first.append(word)
        newest.pop(key, None)
        newest[key] = None
        if len(newest) > keep:
            del newest[next(iter(newest))]
    return first


def check_what_was_merged(states: dict[str, Any], words: list[dict[str, Any]]) -> None:
    sums: Counter[str] = Counter()
    for window in CollectSink.items(states["summed"]):
        sums[window["key"]] += window["value"]
    expected: Counter[str] = Counter()
    for word in words:
        expected[word["path"]] += word["number"]
    assert sums == expected
    batches = CollectSink.items(states["batched"])
    assert [word for batch in batches for word in batch] == words
    assert all(0 < len(batch) <= 7 for batch in batches)
    # A line has two words: the first one goes with it, and the second one finds no line.
    firsts = CollectSink.items(states["firsts"])
    assert [{name: told[name] for name in ("path", "number", "value")} for told in firsts] == words[::2]
    assert all(told["line"].split()[0] == told["value"] for told in firsts)
    assert CollectSink.items(states["seconds"]) == words[1::2]
    assert states["first"] == {}


@pytest.mark.processes
def test_all_is_as_in_a_plain_loop_whichever_process_is_killed_and_whatever_is_paused(tmp_path: Path) -> None:
    words = write_files(tmp_path / "files")
    draw = random.Random(11)
    flow = flow_of_processes(tmp_path)
    with flow.start("files", keep_open=True) as job:
        for count in range(100, len(words), 150):
            wait_until(lambda at=count: job.state.routine_states["all"]["handled"] >= at)
            pids = [pid for routine in observe(job).routines for pid in routine.pids]
            with suppress(ProcessLookupError):  # the one that was killed last may not have been replaced yet
                os.kill(draw.choice(pids), signal.SIGKILL)
            if count % 400 == 0:
                job.pause()
                job.resume()
    states = {name: state["state"] for name, state in job.state.routine_states.items()}
    assert job.state.status == "completed", job.state.error
    assert CollectSink.items(states["all"]) == CollectSink.items(states["last"]) == words
    assert [json.loads(line) for line in (tmp_path / "all.jsonl").read_text(encoding="utf-8").splitlines()] == words
    assert flow.routines["counts"].results(states["counts"]) == Counter(word["value"] for word in words)  # type: ignore[attr-defined]
    numbers = [word["number"] for word in words]
    assert CollectSink.items(states["windows"]) == [numbers[at : at + 3] for at in range(0, len(numbers), 3)]
    check_what_was_merged(states, words)
    files = sorted((tmp_path / "files").iterdir())
    assert b"".join(CollectSink.items(states["content"])) == b"".join(file.read_bytes() for file in files)
    with (tmp_path / "new.csv").open(encoding="utf-8", newline="") as file:
        rows = [{**row, "number": int(row["number"])} for row in csv.DictReader(file)]
    assert rows == first_by_newest(words, 10)
    assert sum(state["restarts"] for state in job.state.routine_states.values()) > 0
