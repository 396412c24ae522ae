from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from routilux.routines import FileWriteError
from routilux.routines.writing import write_at


@contextmanager
def most_of(size: int) -> Iterator[None]:
    """Let no file become larger, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("fsync", [True, False])
def test_what_was_written_and_not_committed_is_cut_off(fsync: bool, tmp_path: Path) -> None:
    file = tmp_path / "out"
    file.write_bytes(b"123garbage")
    write_at(str(file), 3, b"45", fsync=fsync)
    assert file.read_bytes() == b"12345"
    write_at(str(file), 0, b"new", fsync=fsync)
    assert file.read_bytes() == b"new"


def test_a_record_that_was_written_in_part_is_written_whole_the_next_time(tmp_path: Path) -> None:
    file = tmp_path / "out"
    write_at(str(file), 0, b"12345", fsync=False)
    with most_of(8), pytest.raises(FileWriteError, match="File too large"):
        write_at(str(file), 5, b"6789abcdef", fsync=False)
    assert file.read_bytes() == b"12345678"
    write_at(str(file), 5, b"6789abcdef", fsync=False)
    assert file.read_bytes() == b"123456789abcdef"


def test_a_file_is_made_where_nothing_was_written_and_only_there(tmp_path: Path) -> None:
    with pytest.raises(FileWriteError, match="No such file or directory"):
        write_at(str(tmp_path / "out"), 1, b"1", fsync=True)
    write_at(str(tmp_path / "out"), 0, b"1", fsync=True)
    assert (tmp_path / "out").read_bytes() == b"1"
