"""Parts become pieces of a database: none too large, and few."""

from __future__ import annotations

import pytest

from routilux.stores.chunks import CHUNK_BYTES, into_chunks


@pytest.mark.parametrize(
    ("parts", "sizes"),
    [
        ([], []),
        ([b"", b""], []),
        ([b"a", b"", b"bc"], [3]),
        ([b"a" * CHUNK_BYTES], [CHUNK_BYTES]),
        ([b"a", b"b" * CHUNK_BYTES], [CHUNK_BYTES, 1]),
        ([b"a" * (2 * CHUNK_BYTES + 5), b"b"], [CHUNK_BYTES, CHUNK_BYTES, 6]),
    ],
)
def test_pieces_are_the_parts_one_after_the_other(parts: list[bytes], sizes: list[int]) -> None:
    chunks = list(into_chunks(parts))
    assert [len(chunk) for chunk in chunks] == sizes
    assert b"".join(chunks) == b"".join(parts)


def test_a_piece_does_not_change_with_the_callers_buffer() -> None:
    buffer = bytearray(b"before")
    (chunk,) = into_chunks([buffer])  # type: ignore[list-item]
    buffer[:] = b"after!"
    assert (type(chunk), chunk) == (bytes, b"before")
