"""Who a message is: an identity that follows from where it came from.

Owns the derivation of a message's key from its parent's. Pure.

Theory of operation. A program that was killed goes on from a checkpoint, and turns that had committed after it are run
again. What they emit is the same as before, but where several routines send to one, it may come in another order, and
have another number on its connection. So a message is known by its lineage: the message whose turn emitted it, the
connection it took, and its position among the emissions of that turn. A key is a number of 127 bits, made of these
three as a hash by evaluation of polynomials is (Carter and Wegman, 1979): two messages of a job have the same by
chance only, once in some 2**80 even among 2**23 messages. It is no secret, and nobody may take it for one.

Each generation multiplies and adds, modulo a prime, and many of these are one that multiplies and adds. So what follows
from messages by one connection after another is told by two numbers, however many they are (`descend`, `keys_of`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

_PRIME_BITS = 127
_PRIME = (1 << _PRIME_BITS) - 1
_PARENT = 0x793779B97F4A7C15F39CC0605CEDC9
"""Of 119 bits: see `key_of_child`."""
STEP = 0x2545F4914F6CDD1D8A5CD789635D2DFF
"""What the next emission of a turn differs by, before its connection is added; both numbers are arbitrary."""
KEY_BYTES = 16


def key_of_text(text: str) -> int:
    """Give a key for a name: of a job, of a connection."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=KEY_BYTES).digest()) % _PRIME


def key_of_turn(message_key: int, emitted: int) -> int:
    """Give the base of the keys of what a turn emits: from its message, and how much it has emitted before."""
    return message_key * _PARENT + emitted * STEP


def key_of_child(base: int, connection_key: int) -> int:
    """Give the key of an emission on a connection; `base` grows by `STEP` from one to the next."""
    # Folded once, which leaves less than twice the prime, and takes less than a division does.
    sum_ = base + connection_key
    folded = (sum_ & _PRIME) + (sum_ >> _PRIME_BITS)
    return folded if folded < _PRIME else folded - _PRIME


def descend(scale: int, shift: int, connection_key: int) -> tuple[int, int]:
    """Give the scale and the shift of what the turns of messages emit one each of, on a connection, from theirs."""
    return scale * _PARENT % _PRIME, (shift * _PARENT + connection_key) % _PRIME


def keys_of(numbers: Sequence[int], scale: int, shift: int) -> list[int]:
    """Give the keys that follow from numbers: of messages, or those by which what they emitted is told apart."""
    return [(number * scale + shift) % _PRIME for number in numbers]


def key_of_keys(keys: Iterable[int]) -> int:
    """Give a key for several in their order."""
    hashed = hashlib.blake2b(digest_size=KEY_BYTES)
    for key in keys:
        hashed.update(to_bytes(key))
    return int.from_bytes(hashed.digest()) % _PRIME


def to_id(key: int) -> str:
    """Give a key as text, of 32 hexadecimal digits."""
    return f"{key:032x}"


def to_bytes(key: int) -> bytes:
    """Give a key as 16 bytes."""
    return key.to_bytes(KEY_BYTES)


def from_bytes(data: bytes) -> int:
    """Give the key that 16 bytes stand for."""
    return int.from_bytes(data)
