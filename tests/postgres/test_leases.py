"""Who has a job: leases end by the server's clock, are renewed, taken over, fought for; and old ones write nothing."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from routilux.stores.base import Owner
from routilux.stores.errors import FencedError, JobOwnedError, StoreError
from routilux.stores.owners import this_process
from routilux.stores.postgres import PostgresStore
from tests.durability.test_pauses import wait_until

ROOT = Path(__file__).resolve().parents[2]
ELSEWHERE = msgspec.structs.replace(this_process(), host="elsewhere", boot_id="another")
"""Who has a job on another machine, of whom nothing can be seen here."""
Make = Callable[..., PostgresStore]

_RUNNER = """
import sys
import msgspec
from routilux.stores.errors import FencedError
from routilux.stores.owners import this_process
from routilux.stores.postgres import PostgresStore

store = PostgresStore(sys.argv[1], lease_seconds=float(sys.argv[2]))
owner = this_process()
if sys.argv[3]:
    owner = msgspec.structs.replace(owner, host=sys.argv[3])
lease = store.acquire("job", owner, create=True)
print("ready", flush=True)
for line in sys.stdin:
    try:
        store.put(lease, line.strip(), [b"1"])
        print("written", flush=True)
    except FencedError as error:
        print(error, flush=True)
store.close()
"""
_TAKERS = """
import sys
from routilux.stores.errors import JobOwnedError
from routilux.stores.owners import this_process
from routilux.stores.postgres import PostgresStore

store = PostgresStore(sys.argv[1], takeover_seconds=0.0)
taken = 0
while taken < int(sys.argv[2]):
    try:
        lease = store.acquire("job", this_process(), create=False)
    except JobOwnedError:
        continue
    store.append(lease, "log", b"%d\\n" % lease.generation, durable=False)
    store.put(lease, f"object-{lease.generation}", [b"1"])
    lease.release()
    taken += 1
store.close()
"""


def _start(url: str, lease_seconds: float, host: str = "") -> subprocess.Popen[str]:
    program = [sys.executable, "-c", _RUNNER, url, str(lease_seconds), host]
    process = subprocess.Popen(program, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def _ask(process: subprocess.Popen[str], name: str) -> str:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{name}\n")
    process.stdin.flush()
    return process.stdout.readline().strip()


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def _renewals(store: PostgresStore) -> int:
    held = store._leases.look("job")
    return 0 if held is None else held.renewals


def _die(store: PostgresStore) -> None:
    """Renew the leases of a store no more, as if its program had ended."""
    assert store._leases._renewer is not None
    store._leases._renewer.close()


def test_the_lease_of_a_killed_program_on_another_machine_is_waited_for(url: str, store: PostgresStore) -> None:
    process = _start(url, 1.5, "elsewhere")
    _end(process)
    owner = store.owner("job")
    assert owner is not None
    assert owner.host == "elsewhere"
    lease = store.acquire("job", this_process(), create=False)
    assert lease.generation == 2
    assert store.owner("job") == this_process()


def test_a_program_that_was_stopped_for_too_long_writes_nothing_more(url: str, store: PostgresStore) -> None:
    process = _start(url, 1.0, "elsewhere")
    assert _ask(process, "early") == "written"
    process.send_signal(signal.SIGSTOP)
    lease = store.acquire("job", this_process(), create=False)
    store.put(lease, "mine", [b"1"])
    process.send_signal(signal.SIGCONT)
    assert _ask(process, "late") == "job 'job' was taken over by generation 2: generation 1 may not write"
    _end(process)
    assert [info.name for info in store.objects("job")] == ["early", "mine"]


def test_a_program_that_was_stopped_goes_on_if_nobody_has_taken_its_job(url: str, store: PostgresStore) -> None:
    process = _start(url, 0.5, "elsewhere")
    process.send_signal(signal.SIGSTOP)
    while store.owner("job") is not None:
        threading.Event().wait(0.05)
    process.send_signal(signal.SIGCONT)
    assert _ask(process, "late") == "written"
    while store.owner("job") is None:  # renewed late
        threading.Event().wait(0.05)
    _end(process)


def test_a_killed_program_of_this_machine_is_not_waited_for_as_long_as_its_lease(
    url: str, store: PostgresStore
) -> None:
    process = _start(url, 1_000.0)
    with pytest.raises(JobOwnedError) as refused:  # at once: it is seen alive
        store.acquire("job", this_process(), create=False)
    assert refused.value.is_alive
    assert refused.value.owner is not None
    assert refused.value.owner.pid == process.pid
    _end(process)
    assert store.acquire("job", this_process(), create=False).generation == 2


def test_a_lease_that_is_renewed_has_an_owner_that_lives(make_store: Make) -> None:
    first, second = make_store(lease_seconds=6.0), make_store()
    first.acquire("job", ELSEWHERE, create=True)
    with pytest.raises(
        JobOwnedError, match=r"run by process .* on elsewhere: leave or cancel it there first"
    ) as refused:
        second.acquire("job", this_process(), create=False)
    assert refused.value.is_alive


def test_it_is_told_when_a_lease_ends_that_is_not_waited_for(
    make_store: Make, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = make_store(lease_seconds=100.0), make_store(takeover_seconds=1e-6)  # less than a look at it takes
    first.acquire("job", ELSEWHERE, create=True)
    _die(first)
    with caplog.at_level(logging.WARNING), pytest.raises(JobOwnedError, match=r"its lease ends in \d+ s") as told:
        second.acquire("job", this_process(), create=False)
    assert not told.value.is_alive
    assert told.value.owner == ELSEWHERE
    assert told.value.lease_seconds is not None
    assert 0 < told.value.lease_seconds <= 100
    assert "job 'job' is held by process" in caplog.text
    assert "is waited for" in caplog.text


def test_a_lease_is_renewed_for_as_long_as_it_is_held(make_store: Make) -> None:
    first, second = make_store(lease_seconds=5.0), make_store()
    lease = first.acquire("job", ELSEWHERE, create=True)
    wait_until(lambda: _renewals(second) >= 2)
    assert second.owner("job") == ELSEWHERE
    lease.check()


def test_a_lease_is_renewed_while_a_long_write_goes_on(make_store: Make) -> None:
    first, second = make_store(lease_seconds=2.5), make_store()
    lease = first.acquire("job", ELSEWHERE, create=True)
    with first._server.lock:  # as a write of minutes has it
        wait_until(lambda: _renewals(second) >= 2)
    first.put(lease, "object", [b"1"])


def test_the_thread_is_there_while_a_job_is(store: PostgresStore) -> None:
    def is_there() -> bool:
        return any(thread.name == "routilux-leases" for thread in threading.enumerate())

    assert not is_there()
    one, two = (store.acquire(name, this_process(), create=True) for name in ("one", "two"))
    assert is_there()
    one.release()
    assert is_there()
    two.release()
    assert not is_there()
    store.acquire("one", this_process(), create=False)
    assert is_there()
    store.close()
    assert not is_there()


def test_a_job_that_was_removed_and_made_anew_is_another_one(make_store: Make) -> None:
    first, second = make_store(lease_seconds=0.5), make_store()
    old = first.acquire("job", ELSEWHERE, create=True)
    _die(first)
    second.remove(second.acquire("job", this_process(), create=False))
    new = second.acquire("job", this_process(), create=True)
    assert (old.generation, new.generation) == (1, 1)
    with pytest.raises(FencedError):
        first.put(old, "late", [b"1"])
    with pytest.raises(FencedError):
        old.check()
    with pytest.raises(FencedError):
        first.remove(old)
    old.release()
    new.check()


def test_threads_of_two_stores_take_one_job_one_after_another(make_store: Make) -> None:
    stores = [make_store(takeover_seconds=0.0) for _ in range(2)]
    stores[0].acquire("job", this_process(), create=True).release()
    generations: list[int] = []
    failures: list[StoreError] = []

    def fight(store: PostgresStore) -> None:
        for _ in range(15):
            try:
                lease = store.acquire("job", this_process(), create=False)
            except JobOwnedError:
                continue
            except StoreError as error:
                failures.append(error)
                return
            generations.append(lease.generation)
            store.append(lease, "log", b"%d\n" % lease.generation, durable=False)
            lease.release()

    threads = [threading.Thread(target=fight, args=(store,)) for store in stores for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert sorted(generations) == list(range(2, len(generations) + 2))
    log = [int(line) for line in stores[0].read("job", "log").split()]
    assert log == sorted(generations)


def test_programs_take_one_job_one_after_another(url: str, store: PostgresStore) -> None:
    store.acquire("job", this_process(), create=True).release()
    programs = [subprocess.Popen([sys.executable, "-c", _TAKERS, url, "12"], cwd=ROOT) for _ in range(3)]
    assert [program.wait() for program in programs] == [0, 0, 0]
    assert [int(line) for line in store.read("job", "log").split()] == list(range(2, 38))
    assert len(store.objects("job")) == 36
    assert store.acquire("job", this_process(), create=False).generation == 38


def test_of_many_that_want_a_job_whose_lease_has_ended_one_gets_it(make_store: Make) -> None:
    first = make_store(lease_seconds=0.5)
    old = first.acquire("job", ELSEWHERE, create=True)
    _die(first)
    outcomes: Counter[str] = Counter()

    def take(store: PostgresStore) -> None:
        try:
            store.acquire("job", this_process(), create=False)
        except JobOwnedError:
            outcomes["refused"] += 1
        else:
            outcomes["taken"] += 1

    threads = [threading.Thread(target=take, args=(make_store(),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == {"taken": 1, "refused": 3}
    with pytest.raises(FencedError, match="taken over by generation 2"):
        old.check()


def test_a_takeover_waits_for_a_write_that_has_begun(make_store: Make) -> None:
    first, second = make_store(lease_seconds=0.3), make_store()
    lease = first.acquire("job", ELSEWHERE, create=True)
    _die(first)
    began, may_go_on = threading.Event(), threading.Event()
    taken: list[int] = []

    def write(transaction: object) -> None:
        began.set()
        may_go_on.wait()

    writer = threading.Thread(target=first._write, args=(lease, "a write", write))
    writer.start()
    began.wait()
    taker = threading.Thread(
        target=lambda: taken.append(second.acquire("job", this_process(), create=False).generation)
    )
    taker.start()
    taker.join(1.0)
    assert taken == []
    may_go_on.set()
    writer.join()
    taker.join()
    assert taken == [2]


_FORKER = """
import os, sys
from routilux.stores.errors import FencedError
from routilux.stores.owners import this_process
from routilux.stores.postgres import PostgresStore

store = PostgresStore(sys.argv[1])
lease = store.acquire("job", this_process(), create=True)
pid = os.fork()
if pid == 0:
    refused = 0
    for write in (lease.check, lambda: store.put(lease, "late", [b"1"]), lambda: store.remove(lease)):
        try:
            write()
        except FencedError:
            refused += 1
    lease.release()
    store.close()
    os._exit(refused)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
store.put(lease, "kept", [b"1"])
print([info.name for info in store.objects("job")], store.owner("job") == this_process())
store.close()
print(store.owner("job"))
"""


def test_a_forked_copy_writes_nothing_and_gives_nothing_back(url: str) -> None:
    program = [sys.executable, "-W", "error", "-c", _FORKER, url]
    ended = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=True)
    assert (ended.stdout, ended.stderr) == ("3\n['kept'] True\nNone\n", "")


def test_a_record_that_cannot_be_read_is_no_reason_to_take_a_job(make_store: Make, server: object, url: str) -> None:
    first, second = make_store(lease_seconds=100.0), make_store(takeover_seconds=0.1)
    first.acquire("job", ELSEWHERE, create=True)
    _die(first)
    first._server.writing("a record", lambda t: t.change("UPDATE {leases} SET owner = %s", b"nonsense"))
    assert second.owner("job") is None
    with pytest.raises(JobOwnedError, match="held by a process that has left no record"):
        second.acquire("job", this_process(), create=False)


def test_time_is_the_servers(make_store: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = make_store(lease_seconds=100.0), make_store(takeover_seconds=0.0)
    owner: Owner = ELSEWHERE
    first.acquire("job", owner, create=True)
    monkeypatch.setattr(time, "time", lambda: 4e9)  # a machine that is a century ahead
    assert second.owner("job") == owner
    with pytest.raises(JobOwnedError):
        second.acquire("job", this_process(), create=False)
    assert os.getpid() == this_process().pid
