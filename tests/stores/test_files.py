"""The store in files: its layout, failing calls at every point, torn logs, lost leases."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from routilux.stores import FileStore, Lease, this_process
from routilux.stores.errors import (
    DamagedStoreError,
    FencedError,
    JobExistsError,
    ObjectExistsError,
    StoreReadError,
    StoreWriteError,
    UnknownJobError,
    UnsafeStoreError,
)
from routilux.stores.syscalls import Syscalls
from tests.stores.deeds import FULL, Failing, Watched, make_store, take_over, temporaries


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FileStore]:
    store = FileStore(tmp_path / "jobs")
    yield store
    store.close()


def _create(store: FileStore, job_id: str = "job") -> Lease:
    return store.acquire(job_id, this_process(), create=True)


def test_a_job_is_a_folder(store: FileStore) -> None:
    lease = _create(store)
    store.put(lease, "checkpoint-000001-000001", [b"1"])
    store.append(lease, "history-000001", b"2", durable=False)
    names = {"checkpoint-000001-000001.rtx", "history-000001.log", "job.lock", "generation", "owner.json"}
    assert {path.name for path in (store.root / "job").iterdir()} == names
    assert stat.S_IMODE((store.root / "job").stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in (store.root / "job").iterdir()} == {0o600}
    assert (store.root / "job" / "generation").read_text() == "1\n"
    lease.release()
    assert not (store.root / "job" / "owner.json").exists()


def test_a_store_that_is_only_looked_at_makes_nothing(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "none" / "jobs")
    assert store.jobs() == []
    with pytest.raises(UnknownJobError):
        store.acquire("job", this_process(), create=False)
    assert list(tmp_path.iterdir()) == []
    _create(store)
    assert store.jobs() == ["job"]
    store.close()


def test_the_generation_is_on_the_device_before_anything_else_is_written(tmp_path: Path) -> None:
    _create(first := FileStore(tmp_path / "jobs"))
    first.close()
    calls = Watched()
    store = FileStore(tmp_path / "jobs", calls=calls)
    store.acquire("job", this_process(), create=False)
    assert calls.done[:5] == ["create", "write", "fsync", "rename", "fsync"]
    store.close()


def test_left_overs_go_when_the_job_is_taken(store: FileStore) -> None:
    _create(store).release()
    (store.root / "job" / ".tmp-0123").write_bytes(b"half")
    store.acquire("job", this_process(), create=False)
    assert temporaries(store.root) == []


def test_what_is_no_job_is_not_listed(store: FileStore) -> None:
    _create(store)
    (store.root / "empty").mkdir(mode=0o700)
    (store.root / "file").write_text("")
    (store.root / "not.a.job").mkdir()
    (store.root / "job" / "what-is-this.txt").write_text("")
    assert store.jobs() == ["job"]
    assert store.objects("job") == []


# ---- every call fails once, in every way


def _told(attempt: Callable[[], object]) -> StoreWriteError | None:
    try:
        attempt()
    except StoreWriteError as error:
        return error
    return None  # what failed was only the taking away of a name, for example


def _puts(store: FileStore, lease: Lease) -> object:
    return store.put(lease, "new", [b"new", b" object"])


def _appends(store: FileStore, lease: Lease) -> object:
    return store.append(lease, "log", b", more", durable=True)


def _begins(store: FileStore, lease: Lease) -> object:
    return store.append(lease, "another", b"another", durable=True)


def _announces(store: FileStore, lease: Lease) -> object:
    return lease.announce(this_process("/elsewhere"))


def _deletes(store: FileStore, lease: Lease) -> object:
    return store.delete(lease, "new")


_ONCE = [(_puts, number) for number in FULL]
_EACH = [(deed, errno.ENOSPC) for deed in (_puts, _appends, _begins, _announces, _deletes)]


@pytest.mark.parametrize(
    ("deed", "number", "for_good"),
    [*((*case, False) for case in _ONCE + _EACH[1:]), *((*case, True) for case in _EACH)],
    ids=[
        *(f"{deed.__name__}-{errno.errorcode[number]}-once" for deed, number in _ONCE + _EACH[1:]),
        *(f"{deed.__name__}-{errno.errorcode[number]}-for-good" for deed, number in _EACH),
    ],
)
def test_whatever_call_fails_is_told_and_what_was_kept_is_good(
    deed: Callable[[FileStore, Lease], object], number: int, for_good: bool, tmp_path: Path
) -> None:
    at, calls, reached = 0, Failing(for_good=for_good), True
    while reached:
        store = FileStore(tmp_path / f"at-{at}", calls=calls)
        lease = _create(store)
        store.put(lease, "old", [b"old"])
        store.append(lease, "log", b"a log", durable=True)
        calls.number, calls.at, calls.done = number, at, []
        told = _told(lambda: deed(store, lease))  # noqa: B023 -- it is called here
        assert told is None or os.strerror(number) in told.reason
        reached, calls.at = len(calls.done) > at, -1
        assert store.get("job", "old") == b"old"
        assert store.read("job", "log")[:5] == b"a log"
        if not for_good:
            assert temporaries(store.root) == [] or calls.done[-1] == "unlink"  # the unlink itself failed
        lease.check()
        assert store.put(lease, "later", [b"later"]) == 5
        assert store.append(lease, "later-log", b"later", durable=True) == 5
        store.close()
        again = store.acquire("job", this_process(), create=False)
        assert again.generation == 2
        assert temporaries(store.root) == []
        store.close()
        at += 1
    assert at > 1


@pytest.mark.parametrize("create", [False, True])
def test_whatever_call_fails_while_a_job_is_taken_nobody_has_it_after(create: bool, tmp_path: Path) -> None:
    at, calls, reached = 0, Failing(number=errno.ENOSPC), True
    while reached:
        store = FileStore(tmp_path / f"at-{at}", calls=calls)
        if not create:
            _create(store).release()
        calls.at, calls.done = at, []
        told = _told(lambda: store.acquire("job", this_process(), create=create))  # noqa: B023 -- it is called here
        assert told is None or "job 'job'" in told.what
        reached, calls.at = len(calls.done) > at, -1
        store.close()
        lease = store.acquire("job", this_process(), create=store.jobs() == [])
        assert lease.generation in {1, 2, 3}
        assert temporaries(store.root) == []
        store.close()
        at += 1
    assert at > 8


def test_a_put_that_failed_is_not_there_and_may_be_done_again(tmp_path: Path) -> None:
    calls = Failing(number=errno.ENOSPC)
    store = FileStore(tmp_path, calls=calls)
    lease = _create(store)
    for at in range(5):  # all calls but the last, which takes the temporary name away
        calls.at, calls.done = at, []
        with pytest.raises(
            StoreWriteError, match=r"'new' of job 'job' in the folder '.*' could not be written: No space"
        ):
            _puts(store, lease)
        assert store.objects("job") == []
    calls.at = -1
    _puts(store, lease)
    assert store.get("job", "new") == b"new object"
    store.close()


# ---- logs


class _Torn(Syscalls):
    """Writes of which one takes only a part; then the file cannot be cut, for a while."""

    at_most = 1000
    is_stuck = False

    def write(self, descriptor: int, data: memoryview) -> int:
        return os.write(descriptor, data[: self.at_most])

    def truncate(self, descriptor: int, size_bytes: int) -> None:
        if self.is_stuck:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        super().truncate(descriptor, size_bytes)


def test_a_torn_append_is_cut_off(tmp_path: Path) -> None:
    store = FileStore(tmp_path, calls=(calls := _Torn()))
    lease = _create(store)
    store.append(lease, "log", b"first", durable=True)
    calls.at_most = 2
    with pytest.raises(StoreWriteError, match="the system took 2 of 6 bytes"):
        store.append(lease, "log", b"second", durable=True)
    assert store.read("job", "log") == b"first"
    store.close()


def test_a_torn_append_is_never_buried(tmp_path: Path) -> None:
    store = FileStore(tmp_path, calls=(calls := _Torn()))
    lease = _create(store)
    store.append(lease, "log", b"first", durable=True)
    calls.at_most, calls.is_stuck = 2, True
    with pytest.raises(StoreWriteError):
        store.append(lease, "log", b"second", durable=True)
    assert store.read("job", "log") == b"firstse"  # its reader can tell: it ends in the middle
    calls.at_most = 1000
    with pytest.raises(StoreWriteError, match="Input/output error"):
        store.append(lease, "log", b"third", durable=True)
    calls.is_stuck = False
    assert store.append(lease, "log", b"third", durable=True) == 10
    assert store.read("job", "log") == b"firstthird"
    store.close()


def test_a_log_whose_fsync_failed_is_written_anew(tmp_path: Path) -> None:
    calls = Failing()
    store = FileStore(tmp_path, calls=calls)
    lease = _create(store)
    store.append(lease, "log", b"durable,", durable=True)
    store.append(lease, "log", b"held,", durable=False)
    calls.at, calls.done = 1, []
    with pytest.raises(StoreWriteError, match="Input/output error"):
        store.append(lease, "log", b"refused,", durable=True)
    calls.at, calls.done = 2, []
    with pytest.raises(StoreWriteError, match="Input/output error"):  # the other file is not to be brought there either
        store.append(lease, "log", b"again,", durable=False)
    assert calls.done[:3] == ["create", "write", "write"]
    calls.at, calls.done = -1, []
    assert store.append(lease, "log", b"last", durable=True) == 17
    assert store.read("job", "log") == b"durable,held,last"
    assert "rename" in calls.done
    assert temporaries(tmp_path) == []
    store.close()


def test_a_log_brings_what_it_holds_to_the_device_before_it_is_too_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("routilux.stores.file_logs.HELD_BYTES", 10)
    calls = Watched()
    store = FileStore(tmp_path, calls=calls)
    lease = _create(store)
    calls.done = []
    for _ in range(3):
        store.append(lease, "log", b"123456", durable=False)
    assert calls.done == ["create", "write", "write", "fsync", "fsync", "write"]
    store.close()


def test_only_what_is_to_be_durable_waits_for_the_device(tmp_path: Path) -> None:
    calls = Watched()
    store = FileStore(tmp_path, calls=calls)
    lease = _create(store)
    store.append(lease, "log", b"1", durable=False)
    calls.done = []
    store.append(lease, "log", b"2", durable=False)
    assert calls.done == ["write"]
    store.append(lease, "log", b"3", durable=True)
    assert calls.done == ["write", "write", "fsync", "fsync"]  # the log, and its name
    store.append(lease, "log", b"4", durable=True)
    assert calls.done[4:] == ["write", "fsync"]
    store.close()


# ---- leases that are lost


def test_a_lease_that_was_taken_over_by_force_is_fenced(store: FileStore) -> None:
    lease = _create(store)
    take_over(store, "job")
    with pytest.raises(FencedError, match="was taken over by generation 2: generation 1 may not write"):
        lease.check()
    lease.release()
    assert (store.root / "job" / "owner.json").exists()  # the other's


def test_a_lease_whose_folder_was_copied_back_is_fenced(store: FileStore) -> None:
    lease = _create(store)
    copy = store.root / "copy"
    copy.mkdir(mode=0o700)
    for path in (store.root / "job").iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
        (copy / path.name).chmod(0o600)
    (store.root / "job").rename(store.root / "moved")
    copy.rename(store.root / "job")
    with pytest.raises(FencedError, match="was given back"):
        store.put(lease, "object", [b"1"])
    assert store.objects("job") == []
    assert store.acquire("job", this_process(), create=False).generation == 2
    lease.release()


def test_a_lease_whose_folder_is_gone_is_fenced(store: FileStore) -> None:
    lease = _create(store)
    (store.root / "job").rename(store.root / "moved")
    with pytest.raises(FencedError, match="is not in the store any more") as fenced:
        lease.check()
    assert fenced.value.current is None
    assert lease.fileno() is not None
    lease.release()
    assert lease.fileno() is None


def test_a_lease_of_another_store_is_refused(store: FileStore, tmp_path: Path) -> None:
    lease = _create(store)
    other = FileStore(tmp_path / "other")
    with pytest.raises(ValueError, match="was not given by the folder"):
        other.put(lease, "object", [b"1"])


# ---- what is not as it should be


def test_a_name_that_is_taken_is_refused_before_anything_is_written(store: FileStore) -> None:
    lease = _create(store)
    store.put(lease, "object", [b"1"])
    taken: list[bytes] = []
    with pytest.raises(ObjectExistsError):
        store.put(lease, "object", (taken.append(b"2") or b"2" for _ in range(1)))
    assert taken == []


@pytest.mark.parametrize("text", ["seven", "", "-1\n", "7", "9" * 12 + "\n", "9" * 5000 + "\n"])
def test_a_generation_that_is_no_number_is_told(store: FileStore, text: str) -> None:
    _create(store).release()
    (store.root / "job" / "generation").write_text(text)
    with pytest.raises(DamagedStoreError, match=re.escape(f"should hold a number, and holds {text.encode()[:40]!r}")):
        store.acquire("job", this_process(), create=False)


def test_an_owner_record_that_cannot_be_read_says_nothing(store: FileStore) -> None:
    lease = _create(store)
    (store.root / "job" / "owner.json").write_text("{")
    assert store.owner("job") is None
    lease.release()
    store.acquire("job", this_process(), create=False).check()


def test_a_job_whose_folder_is_a_link_is_refused(store: FileStore, tmp_path: Path) -> None:
    _create(store).release()
    (store.root / "linked").symlink_to(store.root / "job")
    assert store.jobs() == ["job"]
    for ask in (store.objects, store.owner, lambda job_id: store.acquire(job_id, this_process(), create=False)):
        with pytest.raises(UnsafeStoreError):
            ask("linked")


def test_a_job_that_others_may_write_is_listed_and_refused(store: FileStore) -> None:
    _create(store, "safe").release()
    _create(store).release()
    (store.root / "job").chmod(0o777)
    assert store.jobs() == ["job", "safe"]
    with pytest.raises(UnsafeStoreError, match="may be written by others"):
        store.acquire("job", this_process(), create=False)
    (store.root / "safe" / "generation").chmod(0o666)
    with pytest.raises(UnsafeStoreError, match="may be written by others"):
        store.acquire("safe", this_process(), create=False)


def test_more_may_be_asked_for_than_there_is_memory(store: FileStore) -> None:
    lease = _create(store)
    store.append(lease, "log", b"0123", durable=False)
    assert store.read("job", "log", 1, 2**60) == b"123"
    assert store.read("job", "log", 2**60, 2**60) == b""


def test_the_root_may_be_reached_by_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    store = FileStore(tmp_path / "link")
    _create(store)
    assert store.jobs() == ["job"]
    store.close()


def test_a_root_that_leads_nowhere_is_told(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "none")
    with pytest.raises(StoreWriteError, match="No such file"):
        _create(FileStore(tmp_path / "link"))
    assert FileStore(tmp_path / "link").jobs() == []


def test_a_root_that_is_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = make_store("files", tmp_path / "file")
    with pytest.raises(StoreWriteError, match=r"job 'job' in the folder .* could not be written: Not a directory"):
        store.acquire("job", this_process(), create=True)
    with pytest.raises(StoreReadError, match="Not a directory"):
        store.jobs()


def test_a_job_that_is_there_is_not_made_anew_while_it_runs(store: FileStore) -> None:
    _create(store)
    with pytest.raises(JobExistsError):
        _create(store)
