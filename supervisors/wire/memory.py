"""Memory that several processes share: the one door to the system's ways of having it.

Owns the making of a segment, its mapping and what tells whether anybody still looks at it. A segment is a descriptor
that has no name anywhere: a memfd whose size is sealed on Linux, elsewhere POSIX shared memory under a random name
that is gone again before anybody could use it. So whoever holds the descriptor has the memory, and nothing is left when
the last process that does has ended, in whatever way. Never decides who gets a segment.

All of a segment's memory is taken when it is made (`posix_fallocate`), where the system can: a write never ends a
process by SIGBUS, and neither does a read, as nobody can shrink what is sealed.
"""

from __future__ import annotations

import bisect
import contextlib
import ctypes
import fcntl
import mmap
import os
import secrets
import sys
import weakref
from collections.abc import Callable, Iterator
from pickle import PickleBuffer
from typing import Any, Generic, Protocol, TypeVar

PAGE_BYTES = mmap.PAGESIZE
_NAME_BYTES = 8
_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [
    *(ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long),
]
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_FAILED = ctypes.c_void_p(-1).value


def create_segment(size: int) -> int:
    """Make a segment of `size` bytes, a multiple of `PAGE_BYTES`; give its descriptor, which no child inherits.

    Raises:
        OSError: there is no memory, or no descriptor is left.
    """
    fd = _create_sealable() if sys.platform == "linux" else _create_named()
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(fd, 0, size)
        else:
            os.ftruncate(fd, size)
        if sys.platform == "linux":
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _create_sealable() -> int:
    return os.memfd_create("routilux", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)


def _create_named() -> int:
    """Make POSIX shared memory that nobody else can open: it has lost its name when this returns."""
    import _posixshmem  # type: ignore[import-not-found]  # noqa: PLC0415  not there on every system

    name = f"/rx-{secrets.token_hex(_NAME_BYTES)}"
    fd: int = _posixshmem.shm_open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL, mode=0o600)
    _posixshmem.shm_unlink(name)
    os.set_inheritable(fd, False)
    return fd


def lend(buffer: memoryview) -> PickleBuffer:
    """Give a buffer as what a pickler may leave where it is."""
    return PickleBuffer(buffer)


def address_of(buffer: Any) -> int:
    """Give where the bytes of an object begin that lends them (the buffer protocol)."""
    view = _Buffer()
    at = ctypes.byref(view)
    _get_buffer(buffer, at, 0)
    address = view.buf or 0
    _release_buffer(at)
    return address


class _Buffer(ctypes.Structure):
    """`Py_buffer`, a part of the stable ABI since CPython 3.11."""

    _fields_ = (
        *(("buf", ctypes.c_void_p), ("obj", ctypes.c_void_p), ("len", ctypes.c_ssize_t)),
        *(("itemsize", ctypes.c_ssize_t), ("readonly", ctypes.c_int), ("ndim", ctypes.c_int)),
        *(("format", ctypes.c_char_p), ("shape", ctypes.c_void_p), ("strides", ctypes.c_void_p)),
        *(("suboffsets", ctypes.c_void_p), ("internal", ctypes.c_void_p)),
    )


_get_buffer: Callable[..., int] = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.c_void_p, ctypes.c_int)(
    ("PyObject_GetBuffer", ctypes.pythonapi)
)
_release_buffer: Callable[..., None] = ctypes.PYFUNCTYPE(None, ctypes.c_void_p)(("PyBuffer_Release", ctypes.pythonapi))


class Mapping:
    """A segment, mapped into this process. It is unmapped when nobody holds it or a view of it.

    Every view, and whatever was made of one without a copy, keeps one object alive, the *export*: while that lives,
    somebody may look at the memory. (A weak reference to a view would tell nothing: arrays keep what a view is of, and
    not the view.)

    Args:
        fd: its descriptor; not kept.
        size: its size.
        is_writable: whether this process writes it.

    Raises:
        OSError: it cannot be mapped.
    """

    __slots__ = ("__weakref__", "_export", "_on_unused", "address", "is_writable", "size")

    def __init__(self, fd: int, size: int, *, is_writable: bool, on_unused: Callable[[], None] | None = None) -> None:
        protection = mmap.PROT_READ | (mmap.PROT_WRITE if is_writable else 0)
        address = _libc.mmap(None, size, protection, mmap.MAP_SHARED, fd, 0)
        if address == _FAILED:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        self.address: int = address
        self.size = size
        self.is_writable = is_writable
        self._export: weakref.ref[Any] | None = None
        self._on_unused = on_unused

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError):  # it was never mapped
            _libc.munmap(self.address, self.size)

    def export(self, owner: object = None) -> Any:
        """Give the object that every view keeps alive, made anew where there is none.

        Args:
            owner: what it keeps alive from now on, beside this.
        """
        export: Any = None if self._export is None else self._export()
        if export is None:
            export = (ctypes.c_ubyte * self.size).from_address(self.address)
            unused = self._on_unused
            self._export = weakref.ref(export, None if unused is None else lambda _: unused())
        export.holds = (self, owner)
        return export

    @property
    def is_used(self) -> bool:
        """Whether the export lives."""
        return self._export is not None and self._export() is not None

    def is_viewed(self, keepers: int = 0) -> bool:
        """Whether anybody holds the export but `keepers` others."""
        export = None if self._export is None else self._export()
        return export is not None and _references(export) > _ALONE + keepers


def view_of(export: Any, offset: int, length: int) -> memoryview:
    """Give a part of a segment as bytes that can be read."""
    return PickleBuffer(memoryview(export)[offset : offset + length].toreadonly()).raw()


def writable_view_of(export: Any, offset: int, length: int) -> memoryview:
    """Give a part of a segment as bytes that can be written."""
    return PickleBuffer(memoryview(export)[offset : offset + length]).raw()


def _references(export: Any) -> int:
    return sys.getrefcount(export)


def _count_alone() -> int:
    export = (ctypes.c_ubyte * 1)()
    return _references(export)


_ALONE = _count_alone()
"""References that an export has which only the one has that counts them."""


class Mapped(Protocol):
    """What has a mapping, such as a segment."""

    @property
    def mapping(self) -> Mapping:
        """It."""


_M = TypeVar("_M", bound=Mapped)


class AddressMap(Generic[_M]):
    """Whose mapping an address lies in. It keeps none of them."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._owners: dict[int, weakref.ref[_M]] = {}

    def add(self, owner: _M) -> None:
        """Note a mapping; one that lay there before is gone."""
        start = owner.mapping.address
        if start not in self._owners:
            bisect.insort(self._starts, start)
        self._owners[start] = weakref.ref(owner)

    def find(self, buffer: memoryview) -> tuple[_M, int] | None:
        """Give whose mapping all of a buffer lies in, and where in it; None where it lies in none."""
        address = address_of(buffer)
        while (at := bisect.bisect_right(self._starts, address) - 1) >= 0:
            start = self._starts[at]
            owner = self._owners[start]()
            if owner is None:
                del self._starts[at], self._owners[start]
                continue
            offset = address - start
            return (owner, offset) if offset + buffer.nbytes <= owner.mapping.size else None
        return None


class Sized(Protocol):
    """What has a size, such as a segment."""

    @property
    def size(self) -> int:
        """Its bytes."""


_S = TypeVar("_S", bound=Sized)


class Stock(Generic[_S]):
    """Segments that may be written, found by the size of what is to be: it costs the same however many there are.

    Of those that fit best it gives the one that came last: most of it may still be in the processor's cache.
    """

    __slots__ = ("_by_size",)

    def __init__(self) -> None:
        self._by_size: dict[int, list[_S]] = {}
        """None of the lists is empty."""

    def __bool__(self) -> bool:
        return bool(self._by_size)

    def __iter__(self) -> Iterator[_S]:
        for some in self._by_size.values():
            yield from some

    def put(self, segment: _S) -> None:
        """Take one in."""
        self._by_size.setdefault(segment.size, []).append(segment)

    def take(self, least: int, most: int) -> _S | None:
        """Give the smallest one of so many bytes; None if there is none."""
        size = min([size for size in self._by_size if least <= size <= most], default=None)
        return None if size is None else self._pop(size)

    def take_any(self) -> _S:
        """Give one of the smallest; there must be some."""
        return self._pop(min(self._by_size))

    def clear(self) -> list[_S]:
        """Give all there are."""
        all_ = list(self)
        self._by_size.clear()
        return all_

    def _pop(self, size: int) -> _S:
        some = self._by_size[size]
        segment = some.pop()
        if not some:
            del self._by_size[size]
        return segment
