"""Stores of which the program is killed in the middle of what it does."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from routilux.stores import FileStore, SqliteStore, Store, this_process
from routilux.stores.errors import UnknownJobError
from tests.stores.crashes import LOG, MORE, NEW, OLD
from tests.stores.deeds import make_store, temporaries

ROOT = Path(__file__).resolve().parents[2]


def _open(kind: str, folder: Path) -> Store:
    return FileStore(folder / "jobs") if kind == "files" else SqliteStore(folder / "jobs.sqlite")


@pytest.fixture(scope="module")
def points(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    folder = tmp_path_factory.mktemp("crashes")
    ended = subprocess.run(
        [sys.executable, "-m", "tests.stores.crashes", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return [json.loads(line) for line in ended.stdout.splitlines()]


@pytest.mark.processes
def test_every_deed_was_killed_at_many_points(points: list[dict[str, str]]) -> None:
    counts = Counter((point["kind"], point["deed"]) for point in points)
    assert len(counts) == 14
    assert min(counts.values()) >= 2, counts
    moments = {(point["kind"], point["deed"], point["at"].split()[0]) for point in points}
    assert {("files", "put", "amid"), ("files", "put", "after"), ("sqlite", "put", "after")} <= moments


@pytest.mark.processes
@pytest.mark.parametrize("kind", ["files", "sqlite"])
@pytest.mark.parametrize("deed", ["put", "append", "begin", "delete", "acquire"])
def test_after_a_kill_the_old_or_the_new_is_whole_and_the_store_works_on(
    kind: str, deed: str, points: list[dict[str, str]]
) -> None:
    seen = set()
    for point in points:
        if (point["kind"], point["deed"]) != (kind, deed):
            continue
        folder = Path(point["folder"])
        store = _open(kind, folder)
        objects = {info.name: store.get("job", info.name) for info in store.objects("job")}
        logs = {info.name: store.read("job", info.name) for info in store.logs("job")}
        new = objects.pop("new", None)
        assert new in {None, NEW}, point
        assert objects in ([{"old": OLD}, {}] if deed == "delete" else [{"old": OLD}]), point
        assert (LOG + MORE).startswith(logs["log"]), point
        assert len(logs["log"]) >= len(LOG), point
        assert MORE.startswith(logs.get("another", b"")), point
        assert store.owner("job") is None, point
        lease = store.acquire("job", this_process(), create=False)
        # One for the prepared lease, one for the killed program's where it came so far, one for this.
        assert lease.generation in ({2, 3} if deed == "acquire" else {3}), point
        assert temporaries(folder) == [], point
        store.delete(lease, "new")
        assert store.put(lease, "new", [NEW]) == len(NEW)
        assert store.append(lease, "next", MORE, durable=True) == len(MORE)
        assert store.get("job", "new") == NEW
        seen.add((lease.generation, new, bool(objects), logs["log"], logs.get("another")))
        store.close()
    assert len(seen) > 1  # killed before it was done, and after


@pytest.mark.processes
@pytest.mark.parametrize("kind", ["files", "sqlite"])
def test_after_a_kill_a_job_that_was_being_made_or_removed_is_there_or_not(
    kind: str, points: list[dict[str, str]]
) -> None:
    seen = set()
    for point in points:
        if point["kind"] != kind or point["deed"] not in {"create", "remove"}:
            continue
        store = _open(kind, Path(point["folder"]))
        job_id = "made" if point["deed"] == "create" else "job"
        is_there = job_id in store.jobs()
        seen.add((point["deed"], is_there))
        if is_there:
            if job_id == "job":
                assert (store.get("job", "old"), store.read("job", "log")) == (OLD, LOG), point
            assert store.acquire(job_id, this_process(), create=False).generation >= 2, point
        else:
            with pytest.raises(UnknownJobError):
                store.objects(job_id)
            lease = store.acquire(job_id, this_process(), create=True)
            assert lease.generation == 1, point
            assert (store.objects(job_id), store.logs(job_id)) == ([], []), point
            store.put(lease, "new", [NEW])
        store.close()
    assert seen == {("create", True), ("create", False), ("remove", True), ("remove", False)}


_PUTTING = """
import sys
from pathlib import Path
from routilux.stores import this_process
from tests.stores.deeds import make_store

store = make_store(sys.argv[1], Path(sys.argv[2]))
lease = store.acquire("job", this_process(), create=not store.jobs())
number = len(store.objects("job"))
while True:
    store.put(lease, f"object-{number}", [b"%d," % number * 5000])
    store.append(lease, f"log-{lease.generation}", b"%d," % number, durable=True)
    print(number, flush=True)
    number += 1
"""


@pytest.mark.processes
@pytest.mark.parametrize("kind", ["files", "sqlite"])
def test_what_a_killed_program_has_been_told_to_be_kept_is_there(kind: str, tmp_path: Path) -> None:
    told = 0
    for kill in range(2):
        with subprocess.Popen(
            [sys.executable, "-c", _PUTTING, kind, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        ) as program:
            assert program.stdout is not None
            for _ in range(5 + kill):
                told = int(program.stdout.readline())
            program.kill()
            rest = program.stdout.read().split("\n")
            told = max([told, *(int(number) for number in rest[:-1])])
            assert program.wait() == -signal.SIGKILL
        store = make_store(kind, tmp_path)
        numbers = range(len(store.objects("job")))
        assert len(numbers) > told
        for number in numbers:
            assert store.get("job", f"object-{number}") == b"%d," % number * 5000
        assert b"%d," % told in store.read("job", f"log-{kill + 1}")
        store.close()
