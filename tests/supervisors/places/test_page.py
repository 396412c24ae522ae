"""The shared page says what its worker is on, whoever looks and whenever."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisors.places.process.page import PAGE_BYTES, Page, PageView, create_page_file, read_told


@pytest.fixture
def pages() -> Iterator[tuple[Page, Page]]:
    """The two sides of one page: the worker's and the parent's."""
    fd = create_page_file(b"")
    worker, parent = Page(fd), Page(fd)
    os.close(fd)
    parent.clear()
    yield worker, parent
    worker.close()
    parent.close()


def test_a_page_follows_its_worker(pages: tuple[Page, Page]) -> None:
    worker, parent = pages
    assert parent.read() == PageView(None, 0.0, 0)
    worker.begin(0, 12.5, 7)
    assert parent.read() == PageView(7, 12.5, 0)
    worker.shift(math.inf)
    assert parent.read() == PageView(7, math.inf, 0)
    worker.shift(13.5)
    assert parent.read() == PageView(7, 13.5, 0)
    worker.rest(1)
    assert parent.read() == PageView(None, 0.0, 1)
    worker.begin(1, 14.0, 2**63 - 1)
    worker.begin(2, 15.0, 8)
    assert parent.read() == PageView(8, 15.0, 2)
    worker.rest(3)
    assert parent.read() == PageView(None, 0.0, 3)


@given(content=st.binary(max_size=24))
def test_whatever_a_page_holds_is_read_as_numbers(content: bytes) -> None:
    fd = create_page_file(b"")
    try:
        os.pwrite(fd, content, 0)
        page = Page(fd)
    finally:
        os.close(fd)
    view = page.read()
    page.close()
    assert view.seq is None or -(2**63) <= view.seq < 2**63
    assert not math.isnan(view.since)
    assert 0 <= view.ran < 2**64


def test_what_is_told_travels_behind_the_page() -> None:
    fd = create_page_file(b"told")
    try:
        assert read_told(fd) == b"told"
    finally:
        os.close(fd)


def test_a_page_has_no_name() -> None:
    fd = create_page_file(b"")
    try:
        assert os.fstat(fd).st_nlink == 0
        assert not os.get_inheritable(fd)
    finally:
        os.close(fd)


@pytest.mark.skipif(sys.platform != "linux", reason="no other system seals the size of a file")
def test_the_file_of_a_page_cannot_be_made_smaller_or_larger() -> None:
    fd = create_page_file(b"/a")
    page = Page(fd)
    size = os.fstat(fd).st_size
    try:
        for other in (0, PAGE_BYTES, size + 1):
            with pytest.raises(PermissionError):
                os.ftruncate(fd, other)
        with pytest.raises(PermissionError):
            os.open(f"/proc/self/fd/{fd}", os.O_RDWR | os.O_TRUNC)
        with pytest.raises(PermissionError):
            os.pwrite(fd, b"x", size)
        page.clear()
        assert page.read() == PageView(None, 0.0, 0)
    finally:
        page.close()
        os.close(fd)
