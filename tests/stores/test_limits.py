"""Stores on what is really full, limited or read-only."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from routilux.stores import Store, this_process
from routilux.stores.errors import StoreWriteError
from tests.stores.deeds import make_store, temporaries

ROOT = Path(__file__).resolve().parents[2]
KINDS = pytest.mark.parametrize("kind", ["files", "sqlite"])


def _check_refuses_large(store: Store) -> None:
    """Put and append more than there is room for: it is told, and what was kept is good."""
    lease = store.acquire("job", this_process(), create=True)
    store.put(lease, "old", [b"old"])
    store.append(lease, "log", b"a log", durable=True)
    for _ in range(2):
        with pytest.raises(StoreWriteError, match=r"'large' of job 'job'.* could not be written"):
            store.put(lease, "large", [b"x" * 1000] * 1000)
        with pytest.raises(StoreWriteError, match=r"'log' of job 'job'.* could not be written"):
            store.append(lease, "log", b"x" * 1_000_000, durable=True)
        assert [info.name for info in store.objects("job")] == ["old"]
        assert store.get("job", "old") == b"old"
        assert store.read("job", "log").startswith(b"a log")
    store.append(lease, "log", b", more", durable=True)
    assert store.read("job", "log") == b"a log, more"
    store.close()
    lease = store.acquire("job", this_process(), create=False)
    store.put(lease, "small", [b"small"])
    store.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for little."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400k,mode=0700", "routilux-test", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.processes
@KINDS
def test_a_full_disk_is_told_and_what_was_kept_is_good(kind: str, small_disk: Path) -> None:
    _check_refuses_large(make_store(kind, small_disk))
    assert temporaries(small_disk) == []


@pytest.mark.processes
@KINDS
def test_a_disk_that_may_only_be_read_is_told_and_can_be_read(kind: str, small_disk: Path) -> None:
    store = make_store(kind, small_disk)
    lease = store.acquire("job", this_process(), create=True)
    store.put(lease, "old", [b"old"])
    store.close()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(StoreWriteError):
        store.acquire("job", this_process(), create=False)
    with pytest.raises(StoreWriteError):
        store.acquire("another", this_process(), create=True)
    if kind == "files":
        assert store.jobs() == ["job"]
        assert store.get("job", "old") == b"old"
    store.close()


_LIMITED = """
import resource, sys
from pathlib import Path
from tests.stores.deeds import make_store
from tests.stores.test_limits import _check_refuses_large

resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
_check_refuses_large(make_store(sys.argv[1], Path(sys.argv[2])))
"""


@pytest.mark.processes
@KINDS
def test_a_limit_on_the_size_of_files_is_told_and_what_was_kept_is_good(kind: str, tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", _LIMITED, kind, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert temporaries(tmp_path) == []
