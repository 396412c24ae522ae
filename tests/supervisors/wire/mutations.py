"""Bytes that were valid once: what a worker that was taken over, or has gone mad, may write.

For the tests of decoders. A decoder gives a value that can be encoded again, or raises the one error
that its docstring names, and takes no more memory than what it was given allows.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import msgspec
from hypothesis import strategies as st

from supervisors.errors import FrameError

_INTERESTING = [
    b"\xc0",  # nil
    b"\xc1",  # never used
    b"\xc3",  # true
    b"\xff",  # -1
    b"\x90",  # an empty array
    b"\x80",  # an empty map
    b"\x81\x80\xc0",  # a map as a key
    b"\x91" * 40,
    b"\xa1\xff",  # no UTF-8
    b"\xa3\xed\xa0\x80",  # a lone surrogate
    b"\xcf" + b"\xff" * 8,  # the largest integer
    b"\xd3\x80" + bytes(7),  # the smallest
    b"\xcb\x7f\xf8" + bytes(6),  # NaN
    b"\xdd\xff\xff\xff\xff",  # heads that announce four billion parts
    b"\xdf\xff\xff\xff\xff",
    b"\xc6\xff\xff\xff\xff",
    b"\xdb\xff\xff\xff\xff",
    b"\xc9\xff\xff\xff\xff\x00",
    b"\xdd\x10\x00\x00\x00",
    b"\xc7\x0c\xff" + b"\xff" * 12,  # a time that is none
    b"\xd6\x05abcd",  # an extension
]
_numbers = st.sampled_from([0, 1, -1, 127, 128, 255, 256, 2**31, 2**32 - 1, 2**63 - 1, -(2**63), 2**64 - 1])
_leaves = st.none() | st.booleans() | _numbers | st.floats() | st.text(max_size=5) | st.binary(max_size=5)
shapes: st.SearchStrategy[Any] = st.recursive(
    _leaves,
    lambda inner: st.lists(inner, max_size=10) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=20,
)
"""Values as MessagePack has them, of any shape."""


@st.composite
def mutated(draw: st.DrawFn, valid: st.SearchStrategy[bytes]) -> bytes:
    """Draw valid bytes, or a value of another shape, and spoil them in one to six places."""
    data = bytearray(draw(valid | shapes.map(msgspec.msgpack.encode)))
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(data)))
        until = min(len(data), at + draw(st.integers(0, 9)))
        match draw(st.integers(0, 6)):
            case 0 if at < len(data):
                data[at] ^= 1 << draw(st.integers(0, 7))
            case 1 if at < len(data):
                data[at] = draw(st.integers(0, 255))
            case 2:
                data[at:at] = draw(st.sampled_from(_INTERESTING))
            case 3:
                data[at:until] = draw(st.sampled_from(_INTERESTING))
            case 4:
                del data[at:until]
            case 5:
                data[at:at] = data[at:until] * draw(st.integers(1, 20))
            case _:
                del data[at:]
    return bytes(data)


def check_decoder(decode: Callable[[bytes], Any], encode: Callable[[Any], bytes], data: bytes) -> None:
    """Hold that `data` is a value, which can be encoded again and comes back as itself, or a `FrameError`."""
    try:
        value = decode(data)
    except FrameError:
        return
    again = encode(value)
    # Compared as bytes, since NaN is equal to nothing.
    assert encode(decode(again)) == again


def peak_bytes(run: Callable[[], Any]) -> int:
    """Give the most memory that `run` has taken at once; a `FrameError` out of it is expected."""
    tracemalloc.start()
    try:
        run()
    except FrameError:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return peak


HEADS = {head.hex(): head for head in _INTERESTING if head[1:5] in {b"\xff\xff\xff\xff", b"\x10\x00\x00\x00"}}
"""Beginnings that announce billions of parts or bytes."""
