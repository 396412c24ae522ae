"""Tests of `supervisors.places.process.heap`."""

from __future__ import annotations

import subprocess
import sys

import pytest

from supervisors.places.process import heap
from supervisors.places.process.heap import MOST_BYTES, Heap

MB = 1024 * 1024


class Library:
    """A C library that notes what it is told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.told: list[tuple[int, int]] = []
        monkeypatch.setattr(heap, "_find_mallopt", lambda: lambda *told: self.told.append(told))


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    return Library(monkeypatch)


def test_blocks_as_large_as_the_one_that_was_used_stay_mapped_and_twice_as_much_is_kept(library: Library) -> None:
    kept = Heap(may_keep=True)
    kept.keep(64_000_000)
    assert library.told == [(-3, 62 * MB), (-1, 124 * MB)]
    kept.keep(64_000_000)
    kept.keep(40_000_000)
    assert len(library.told) == 2
    kept.keep(MOST_BYTES)
    assert library.told[2:] == [(-3, 129 * MB), (-1, 258 * MB)]


@pytest.mark.parametrize("size", [1, 32 * MB, MOST_BYTES + 1])
def test_what_the_library_keeps_by_itself_and_what_is_too_large_changes_nothing(library: Library, size: int) -> None:
    Heap(may_keep=True).keep(size)
    assert not library.told


def test_where_memory_is_limited_nothing_changes(library: Library) -> None:
    Heap(may_keep=False).keep(64_000_000)
    assert not library.told


def test_where_there_is_another_library_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heap, "_find_mallopt", lambda: None)
    Heap(may_keep=True).keep(64_000_000)


_FAULTS = """
import ctypes, resource
from supervisors.places.process.heap import Heap

libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p

def count_faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = ctypes.c_void_p(libc.malloc(ctypes.c_size_t(40_000_000)))
    ctypes.memset(block, 1, 40_000_000)
    libc.free(block)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

count_faults()
unkept = count_faults()
Heap(may_keep=True).keep(40_000_000)
count_faults()
print(unkept, count_faults())
"""


@pytest.mark.skipif(heap._find_mallopt() is None, reason="another C library than glibc")
def test_a_block_that_was_kept_takes_no_pages_anew() -> None:
    done = subprocess.run([sys.executable, "-c", _FAULTS], check=True, capture_output=True, text=True)
    unkept, kept = map(int, done.stdout.split())
    assert unkept > 10
    assert kept < unkept / 4
