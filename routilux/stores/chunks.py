"""Bytes in pieces, for stores that keep them as values of a database."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

CHUNK_BYTES = 16 * 2**20
"""Largest value in a database (arbitrary; far below SQLite's and PostgreSQL's limits, and what is held at once)."""


def into_chunks(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Give the bytes of `parts` in pieces that are not too large, nor many small ones."""
    held = bytearray()
    for part in parts:
        for begin in range(0, len(part), CHUNK_BYTES):
            held += memoryview(part)[begin : begin + CHUNK_BYTES]
            if len(held) >= CHUNK_BYTES:
                yield bytes(held[:CHUNK_BYTES])
                del held[:CHUNK_BYTES]
    if held:
        yield bytes(held)
