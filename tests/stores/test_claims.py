"""One runner has a job: between threads, between processes, and while workers of a killed one live."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from routilux.stores import FileStore, SqliteStore, Store, this_process
from routilux.stores.claims import is_claimed, take_claim
from routilux.stores.errors import JobOwnedError, UnsafeStoreError
from routilux.stores.folders import Folder
from routilux.stores.owners import decode_owner, encode_owner
from routilux.stores.syscalls import Syscalls
from tests.stores.deeds import make_store

ROOT = Path(__file__).resolve().parents[2]
KINDS = pytest.mark.parametrize("kind", ["files", "sqlite"])
TURNS = 200
"""How often two race for a job."""

_RUNNER = """
import subprocess, sys
from pathlib import Path
from routilux.stores import this_process
from tests.stores.deeds import make_store

store = make_store(sys.argv[1], Path(sys.argv[2]))
lease = store.acquire("job", this_process(), create=True)
# A worker that holds the lease, and lives until its stdin, which is ours, is closed.
worker = subprocess.Popen(["cat"], pass_fds=[lease.fileno()])
print("ready", flush=True)
worker.wait()
"""

_RACER = """
import sys
from pathlib import Path
from routilux.stores import this_process
from routilux.stores.errors import JobOwnedError
from tests.stores.deeds import make_store

store = make_store(sys.argv[1], Path(sys.argv[2]))
store._takeover_seconds = 60.0  # the winner writes its record when the machine lets it
for command in sys.stdin:
    lease = None
    try:
        lease = store.acquire("job", this_process(), create=False)
    except JobOwnedError as refused:
        print(-refused.owner.pid, flush=True)
    else:
        print(lease.generation, flush=True)
    sys.stdin.readline()
    if lease is not None:
        lease.release()
    print("done", flush=True)
"""

_FORKER = """
import os, sys
from pathlib import Path
from routilux.stores import this_process
from routilux.stores.errors import FencedError
from tests.stores.deeds import make_store

store = make_store(sys.argv[1], Path(sys.argv[2]))
lease = store.acquire("job", this_process(), create=True)
pid = os.fork()
if pid == 0:
    refused = 0
    for write in (lease.check, lambda: store.put(lease, "late", [b"1"])):
        try:
            write()
        except FencedError:
            refused += 1
    store.close()
    os._exit(refused)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
store.put(lease, "kept", [b"1"])
print([info.name for info in store.objects("job")], store.owner("job") == this_process())
store.close()
print(store.owner("job"))
"""


def _reopen(store: Store, seconds: float) -> Store:
    if isinstance(store, SqliteStore):
        return SqliteStore(store.path, takeover_seconds=seconds)
    assert isinstance(store, FileStore)
    return FileStore(store.root, takeover_seconds=seconds)


@pytest.fixture
def runner(kind: str, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A program that runs the job with one worker."""
    program = [sys.executable, "-c", _RUNNER, kind, str(tmp_path)]
    with subprocess.Popen(program, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


@pytest.mark.processes
@KINDS
def test_a_job_that_another_process_runs_is_refused_at_once(
    kind: str, runner: subprocess.Popen[str], tmp_path: Path
) -> None:
    store = make_store(kind, tmp_path)
    with pytest.raises(JobOwnedError, match=f"is run by process {runner.pid} on ") as refused:
        store.acquire("job", this_process(), create=False)
    assert refused.value.is_alive
    owner = store.owner("job")
    assert owner is not None
    assert owner.pid == runner.pid
    store.close()


@pytest.mark.processes
@KINDS
def test_a_job_is_not_taken_while_a_worker_of_a_killed_runner_lives(
    kind: str, runner: subprocess.Popen[str], tmp_path: Path
) -> None:
    runner.kill()
    runner.wait()
    store = _reopen(make_store(kind, tmp_path), 0.1)
    with pytest.raises(JobOwnedError, match=f"was run by process {runner.pid} on .* still holds the job") as refused:
        store.acquire("job", this_process(), create=False)
    assert not refused.value.is_alive
    store.close()


@pytest.mark.processes
@KINDS
def test_a_job_is_taken_once_the_last_worker_of_a_killed_runner_has_ended(
    kind: str, runner: subprocess.Popen[str], tmp_path: Path
) -> None:
    runner.kill()
    runner.wait()
    store = _reopen(make_store(kind, tmp_path), 60.0)
    assert runner.stdin is not None
    ender = threading.Timer(0.1, runner.stdin.close)
    ender.start()
    lease = store.acquire("job", this_process(), create=False)
    assert lease.generation == 2
    ender.join()
    store.close()


@pytest.mark.processes
@KINDS
def test_of_two_processes_that_race_for_a_job_one_wins_each_time(kind: str, tmp_path: Path) -> None:
    store = make_store(kind, tmp_path)
    store.acquire("job", this_process(), create=True).release()
    store.close()
    turns = TURNS if kind == "files" else TURNS // 10
    program = [sys.executable, "-c", _RACER, kind, str(tmp_path)]
    racers = [
        subprocess.Popen(program, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        for _ in range(2)
    ]
    pids = {racer.pid for racer in racers}
    for turn in range(turns):
        told = {racer.pid: int(answer) for racer, answer in zip(racers, _ask(racers, "go"), strict=True)}
        (winner,) = [pid for pid, answer in told.items() if answer > 0]
        (loser,) = pids - {winner}
        assert told == {winner: turn + 2, loser: -winner}
        assert _ask(racers, "end") == ["done\n", "done\n"]
    for racer in racers:
        racer.communicate()
        assert racer.returncode == 0


def _ask(racers: list[subprocess.Popen[str]], command: str) -> list[str]:
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write(command + "\n")
    return [racer.stdout.readline() for racer in racers if racer.stdout is not None]


@KINDS
def test_of_many_threads_that_race_for_a_job_one_wins(kind: str, tmp_path: Path) -> None:
    store = make_store(kind, tmp_path)
    store.acquire("job", this_process(), create=True).release()
    won, refused, start = [], [], threading.Barrier(8)

    def race() -> None:
        start.wait(10.0)
        try:
            won.append(store.acquire("job", this_process(), create=False))
        except JobOwnedError as error:
            refused.append(error)

    threads = [threading.Thread(target=race) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ([lease.generation for lease in won], len(refused)) == ([2], 7)
    store.close()


@KINDS
def test_of_many_threads_that_make_and_remove_a_job_none_is_hurt(kind: str, tmp_path: Path) -> None:
    store = make_store(kind, tmp_path)
    failures: list[BaseException] = []
    start = threading.Barrier(4)

    def work() -> None:
        start.wait(10.0)
        for _ in range(10):
            try:
                lease = store.acquire("job", this_process(), create=True)
                assert lease.generation == 1
                store.put(lease, "object", [b"1"])
                store.remove(lease)
            except (JobOwnedError, ValueError):  # another one has it, or made it
                continue
            except BaseException as error:
                failures.append(error)
                raise

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert store.jobs() == []
    store.close()


@pytest.mark.processes
@KINDS
def test_a_record_of_an_owner_elsewhere_does_not_keep_a_job_that_nobody_holds(
    kind: str, runner: subprocess.Popen[str], tmp_path: Path
) -> None:
    # As in a folder that was copied from another machine, after a crash there: the record stays, and the lock is free.
    elsewhere = msgspec.structs.replace(this_process(), host="another-machine", boot_id="another-run")
    runner.communicate()
    store = make_store(kind, tmp_path)
    if isinstance(store, SqliteStore):
        connection = sqlite3.connect(store.path)
        with connection:
            connection.execute("UPDATE jobs SET owner = ?", (encode_owner(elsewhere),))
        connection.close()
    else:
        (tmp_path / "jobs" / "job" / "owner.json").write_bytes(encode_owner(elsewhere))
    assert store.owner("job") is None
    assert store.acquire("job", this_process(), create=False).generation == 2
    store.close()


def test_who_holds_a_job_without_a_record_is_told_to_be_unknown(tmp_path: Path) -> None:
    with Folder.open(tmp_path, Syscalls()) as folder:
        claim = take_claim(folder, "job.lock", "job", lambda: None, 0.0)
        assert is_claimed(folder, "job.lock")
        with pytest.raises(JobOwnedError, match="held by a process that has left no record of itself"):
            take_claim(folder, "job.lock", "job", lambda: None, 0.02)
        claim.release()
        assert not is_claimed(folder, "job.lock")
        assert not is_claimed(folder, "none.lock")


def test_a_lock_file_that_was_removed_while_it_was_waited_for_is_left(tmp_path: Path) -> None:
    with Folder.open(tmp_path, Syscalls()) as folder:
        first = take_claim(folder, "job.lock", "job", lambda: None, 0.0)
        folder.remove("job.lock")
        second = take_claim(folder, "job.lock", "job", lambda: None, 0.0)
        assert not first.is_of(folder.find("job.lock"))
        assert second.is_of(folder.find("job.lock"))
        first.release()
        second.release()


def test_a_lock_file_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "job.lock").symlink_to(tmp_path / "elsewhere")
    with Folder.open(tmp_path, Syscalls()) as folder, pytest.raises(UnsafeStoreError):
        take_claim(folder, "job.lock", "job", lambda: None, 0.0)
    assert not (tmp_path / "elsewhere").exists()


def test_a_lock_outlives_the_descriptor_while_another_has_inherited_it(tmp_path: Path) -> None:
    with Folder.open(tmp_path, Syscalls()) as folder:
        claim = take_claim(folder, "job.lock", "job", lambda: None, 0.0)
        inherited = os.dup(claim.fileno())
        os.close(claim.fileno())
        assert is_claimed(folder, "job.lock")
        os.close(inherited)
        assert not is_claimed(folder, "job.lock")


def test_an_owner_record_is_json_and_reads_back() -> None:
    owner = this_process("/run/socket")
    assert encode_owner(owner).startswith(b'{"pid":')
    assert decode_owner(encode_owner(owner)) == owner
    assert decode_owner(b'{"pid": "one"}') is None


@pytest.mark.processes
@KINDS
def test_a_forked_copy_writes_nothing_and_gives_nothing_back(kind: str, tmp_path: Path) -> None:
    program = [sys.executable, "-c", _FORKER, kind, str(tmp_path)]
    ended = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=True)
    assert ended.stdout.split("\n") == ["2", "['kept'] True", "None", ""]
