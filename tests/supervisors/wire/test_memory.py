"""Shared memory: segments, their mappings, and what tells that nobody looks any more."""

from __future__ import annotations

import fcntl
import os
import pickle
import subprocess
import sys
import weakref
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from supervisors.wire import memory
from supervisors.wire.memory import PAGE_BYTES, AddressMap, Mapping, Stock, address_of, create_segment, view_of

SIZE = 16 * PAGE_BYTES
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="seals are Linux's")


class Owner:
    """Has a mapping."""

    def __init__(self, fd: int, size: int = SIZE, *, is_writable: bool = True) -> None:
        self.mapping = Mapping(fd, size, is_writable=is_writable)


class Piece(NamedTuple):
    """Has a size, and a name to be told by."""

    size: int
    name: str


@pytest.fixture
def fd() -> Iterator[int]:
    made = create_segment(SIZE)
    yield made
    os.close(made)


def test_what_is_written_by_one_mapping_is_read_by_another(fd: int) -> None:
    one, other = Mapping(fd, SIZE, is_writable=True), Mapping(fd, SIZE, is_writable=False)
    memory.writable_view_of(one.export(), 100, 5)[:] = b"hello"
    assert bytes(view_of(other.export(), 100, 5)) == b"hello"


def test_a_view_to_read_raises_when_it_is_written(fd: int) -> None:
    view = view_of(Mapping(fd, SIZE, is_writable=True).export(), 0, 5)
    assert view.readonly
    with pytest.raises(TypeError):
        view[0] = 1


@LINUX
def test_the_size_of_a_segment_is_sealed(fd: int) -> None:
    with pytest.raises(PermissionError):
        os.ftruncate(fd, PAGE_BYTES)
    with pytest.raises(PermissionError):
        os.ftruncate(fd, 2 * SIZE)
    assert fcntl.fcntl(fd, fcntl.F_GET_SEALS) == fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


@LINUX
def test_all_memory_of_a_segment_is_taken_when_it_is_made(fd: int) -> None:
    assert os.fstat(fd).st_blocks * 512 >= SIZE


def test_no_child_inherits_a_segment(fd: int) -> None:
    assert not os.get_inheritable(fd)


def test_a_segment_without_memfd_has_no_name_and_the_rights_of_its_owner_alone() -> None:
    made = memory._create_named()
    try:
        assert not os.get_inheritable(made)
        assert os.fstat(made).st_mode & 0o777 == 0o600
        assert os.fstat(made).st_nlink == 0
        os.ftruncate(made, SIZE)
        mapping = Mapping(made, SIZE, is_writable=True)
        memory.writable_view_of(mapping.export(), 0, 2)[:] = b"hi"
        assert os.pread(made, 2, 0) == b"hi"
    finally:
        os.close(made)


@LINUX
def test_a_segment_for_which_there_is_no_room_is_an_error_and_leaves_no_descriptor() -> None:
    script = (
        "import os, resource\n"
        "from supervisors.wire.memory import PAGE_BYTES, create_segment\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (PAGE_BYTES, PAGE_BYTES))\n"
        "before = os.listdir('/proc/self/fd')\n"
        "try:\n"
        "    create_segment(4 * PAGE_BYTES)\n"
        "except OSError:\n"
        "    assert os.listdir('/proc/self/fd') == before\n"
        "    print('refused')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout == "refused\n", done.stderr


def test_a_mapping_that_cannot_be_made_is_an_error() -> None:
    with pytest.raises(OSError, match="Bad file descriptor"):
        Mapping(-1, SIZE, is_writable=False)


def test_a_mapping_is_used_while_anything_made_of_its_views_lives(fd: int) -> None:
    ended: list[bool] = []
    mapping = Mapping(fd, SIZE, is_writable=True, on_unused=lambda: ended.append(True))
    assert not mapping.is_used
    view = view_of(mapping.export(), 0, SIZE)
    part = memoryview(view)[10:20]
    del view
    assert mapping.is_used
    assert not ended
    del part
    assert not mapping.is_used
    assert ended == [True]


def test_a_mapping_is_viewed_by_those_who_are_not_counted_as_keepers(fd: int) -> None:
    mapping = Mapping(fd, SIZE, is_writable=True)
    assert not mapping.is_viewed()
    kept = mapping.export()
    assert mapping.is_viewed()
    assert not mapping.is_viewed(1)
    view = view_of(kept, 0, 8)
    assert mapping.is_viewed(1)
    del view
    assert not mapping.is_viewed(1)


def test_a_view_keeps_the_mapping_and_its_owner(fd: int) -> None:
    class Keeper:
        """Is looked for."""

    keeper = Keeper()
    gone: list[bool] = []
    weakref.finalize(keeper, gone.append, True)
    view = view_of(Mapping(fd, SIZE, is_writable=True).export(keeper), 0, 4)
    del keeper
    assert bytes(view) == bytes(4)
    assert not gone
    del view
    assert gone == [True]


def test_an_address_is_found_in_the_mapping_that_it_lies_in(fd: int) -> None:
    known: AddressMap[Owner] = AddressMap()
    one, other = Owner(fd), Owner(fd)
    known.add(one)
    known.add(other)
    view = view_of(other.mapping.export(), 300, 200)
    assert known.find(view) == (other, 300)
    assert known.find(view[100:]) == (other, 400)
    assert known.find(memoryview(bytes(100))) is None


def test_a_mapping_that_is_gone_is_not_found(fd: int) -> None:
    known: AddressMap[Owner] = AddressMap()
    gone, stays = Owner(fd), Owner(fd)
    known.add(gone)
    known.add(stays)
    del gone
    view = view_of(stays.mapping.export(), 1, 2)
    assert known.find(view) == (stays, 1)


def test_a_piece_that_reaches_past_a_mapping_lies_in_none(fd: int) -> None:
    known: AddressMap[Owner] = AddressMap()
    owner = Owner(fd, PAGE_BYTES)
    whole = Owner(fd)
    known.add(owner)
    del whole
    view = view_of(owner.mapping.export(), 0, PAGE_BYTES)
    assert known.find(view) == (owner, 0)


def test_the_address_of_anything_that_lends_its_bytes_is_told() -> None:
    data = bytearray(100)
    assert address_of(memoryview(data)[10:]) == address_of(data) + 10
    assert address_of(pickle.PickleBuffer(data)) == address_of(data)


def test_writing_where_it_may_only_be_read_ends_the_process_that_does(fd: int) -> None:
    script = (
        "import ctypes, sys\n"
        "from supervisors.wire.memory import Mapping\n"
        f"mapping = Mapping({fd}, {SIZE}, is_writable=False)\n"
        "ctypes.memset(mapping.address, 1, 1)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], pass_fds=[fd], check=False, stderr=subprocess.DEVNULL)
    assert done.returncode == -11


def test_of_the_smallest_pieces_that_fit_the_one_that_came_last_is_taken() -> None:
    stock: Stock[Piece] = Stock()
    for piece in (Piece(4, "a"), Piece(8, "b"), Piece(8, "c"), Piece(16, "d")):
        stock.put(piece)
    assert [stock.take(5, 16) for _ in range(4)] == [Piece(8, "c"), Piece(8, "b"), Piece(16, "d"), None]
    assert stock.take(5, 16) is None
    assert list(stock) == [Piece(4, "a")]


def test_a_piece_that_is_too_large_is_left() -> None:
    stock: Stock[Piece] = Stock()
    stock.put(Piece(16, "a"))
    assert stock.take(5, 15) is None
    assert stock.take_any() == Piece(16, "a")
    assert not stock


def test_a_stock_that_was_cleared_is_empty() -> None:
    stock: Stock[Piece] = Stock()
    stock.put(Piece(4, "a"))
    stock.put(Piece(8, "b"))
    assert stock.clear() == [Piece(4, "a"), Piece(8, "b")]
    assert not stock
    assert stock.clear() == []
