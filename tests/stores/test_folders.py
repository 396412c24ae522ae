"""Folders and the files in them: what is refused, and what a failing call leaves."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from routilux.stores.errors import StoreReadError, StoreWriteError, UnsafeStoreError
from routilux.stores.folders import Folder, reading, writing
from routilux.stores.syscalls import Syscalls
from tests.stores.deeds import Failing, Short, temporaries


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder.make(tmp_path / "folder", Syscalls())


@pytest.fixture(autouse=True)
def closed(folder: Folder) -> object:
    yield
    folder.close()


def test_what_is_made_is_for_its_owner_alone(folder: Folder) -> None:
    umask = os.umask(0)
    try:
        folder.put("file", [b"1"])
        folder.replace("other", [b"2"])
        folder.make_folder("below").close()
    finally:
        os.umask(umask)
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder.path / "below").stat().st_mode) == 0o700
    assert stat.S_IMODE((folder.path / "file").stat().st_mode) == 0o600
    assert stat.S_IMODE((folder.path / "other").stat().st_mode) == 0o600


def test_a_file_is_never_put_over_another(folder: Folder) -> None:
    folder.put("file", [b"first"])
    with pytest.raises(FileExistsError):
        folder.put("file", [b"second"])
    assert folder.read("file") == b"first"
    assert temporaries(folder.path) == []


def test_what_the_system_takes_bit_by_bit_is_written_whole(tmp_path: Path) -> None:
    with Folder.open(tmp_path, Short(3)) as folder:
        assert folder.put("file", [b"0123456789", b"", b"ab"]) == 12
        assert folder.read("file") == b"0123456789ab"
        assert folder.read("file", 2, 3) == b"234"


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_may_write_is_refused(mode: int, folder: Folder) -> None:
    folder.put("file", [b"1"])
    (folder.path / "file").chmod(mode)
    with pytest.raises(UnsafeStoreError, match=r"may be written by others \(mode 06"):
        folder.read("file")


def test_a_folder_that_others_may_write_is_refused(folder: Folder) -> None:
    folder.make_folder("below").close()
    (folder.path / "below").chmod(0o770)
    with pytest.raises(UnsafeStoreError, match="chmod go-w"):
        folder.enter("below")
    folder.path.chmod(0o777)
    with pytest.raises(UnsafeStoreError):
        Folder.open(folder.path, Syscalls())


def test_a_link_is_refused(folder: Folder) -> None:
    folder.put("file", [b"1"])
    folder.make_folder("below").close()
    (folder.path / "link").symlink_to(folder.path / "file")
    (folder.path / "linked").symlink_to(folder.path / "below")
    with pytest.raises(UnsafeStoreError, match="link"):
        folder.read("link")
    with pytest.raises(UnsafeStoreError, match="link"):
        folder.enter("linked")


def test_what_is_no_plain_file_is_refused_at_once(folder: Folder) -> None:
    os.mkfifo(folder.path / "pipe", 0o600)
    folder.make_folder("below").close()
    for name in ("pipe", "below"):
        for flags in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR):
            with pytest.raises(UnsafeStoreError, match="no plain file"):
                folder.open_file(name, flags)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file away")
def test_what_belongs_to_another_user_is_refused(folder: Folder) -> None:
    folder.put("file", [b"1"])
    os.chown(folder.path / "file", 12345, -1)
    with pytest.raises(UnsafeStoreError, match="belongs to user 12345"):
        folder.read("file")
    folder.make_folder("below").close()
    os.chown(folder.path / "below", 12345, -1)
    with pytest.raises(UnsafeStoreError, match="belongs to user 12345"):
        folder.enter("below")


def test_a_name_that_cannot_be_brought_to_the_device_is_taken_back(tmp_path: Path) -> None:
    calls = Failing()
    with Folder.make(tmp_path / "new", calls) as folder:
        calls.done = []
        folder.put("kept", [b"1"])
        assert calls.done == ["create", "write", "fsync", "link", "fsync", "unlink"]
        calls.done, calls.at = [], 4
        with pytest.raises(OSError, match="error"):
            folder.put("file", [b"1"])
        # One fsync of the file and one of the folder: none is tried again.
        assert calls.done == ["create", "write", "fsync", "link", "fsync", "unlink", "unlink"]
    assert [path.name for path in folder.path.iterdir()] == ["kept"]


def test_doors_let_the_errors_of_stores_pass_and_translate_the_systems() -> None:
    for door, kind in ((writing, StoreWriteError), (reading, StoreReadError)):
        with (
            pytest.raises(kind, match=r"the thing could not be \w+: No space left on device") as told,
            door("the thing"),
        ):
            _raise(OSError(28, os.strerror(28)))
        assert isinstance(told.value, OSError)
        with pytest.raises(UnsafeStoreError), door("the thing"):
            _raise(UnsafeStoreError("as it is"))
        with pytest.raises(KeyError), door("the thing"):
            _raise(KeyError("not of the system"))


def _raise(error: Exception) -> None:
    raise error
