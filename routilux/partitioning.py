"""By which key a message belongs together with others, and which worker has that key.

Owns the form of keys, the choice of the worker, and where a key is found in what is emitted. Pure. Never knows what is
done by a key.

Theory of operation. A key travels and is kept as text that can be turned back (`encode_key`): equal keys of one type
have equal texts, in every process and every run, which Python's own `hash` does not promise. A worker is chosen by
rendezvous hashing (Thaler and Ravishankar, 1996): every worker has a weight for every key, and the one with the
highest has it. When a worker comes or goes, only the keys move that it gets or had.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Any

from routilux.errors import PartitionKeyError

_DEPTH = 16
"""Tuples within tuples that a key may have (arbitrary)."""
_MASK = (1 << 64) - 1
_KINDS = "str, int, bytes, bool, None, or a tuple of these"


def encode_key(value: object) -> str:
    """Give a key as text; 1 and True are two.

    Raises:
        PartitionKeyError: it is of no exact type that a key can have.
    """
    return _encode(value, _DEPTH)


def decode_key(text: str) -> Any:
    """Give the key that `encode_key` made a text of.

    Raises:
        ValueError: the text is none of these.
    """
    tag, rest = text[:1], text[1:]
    if tag == "s":
        return rest
    if tag == "i":
        return int(rest)
    if tag == "x":
        return bytes.fromhex(rest)
    if tag == "t":
        return tuple(_decode_parts(rest))
    if text not in _CONSTANTS:
        raise ValueError(f"expected a key as text, got {text!r}")
    return _CONSTANTS[text]


def is_key(text: str) -> bool:
    """Tell whether it is the text of a key, as `encode_key` gives it."""
    try:
        return encode_key(decode_key(text)) == text
    except (ValueError, RecursionError):
        return False


def find_key(data: Mapping[str, Any], names: tuple[str, ...], told: str) -> str:
    """Give the key of a message, as text.

    Args:
        data: what is emitted.
        names: under which names the parameter comes, the first that is there wins.
        told: what wants it, for the error.

    Raises:
        PartitionKeyError: it is not there, or cannot be a key.
    """
    for name in names:
        if name in data:
            try:
                return encode_key(data[name])
            except PartitionKeyError as error:
                raise PartitionKeyError(f"{told}: parameter {name!r}: {error}") from None
    raise PartitionKeyError(f"{told}: expected parameter {' or '.join(map(repr, names))}, got {sorted(data)}")


def find_keys(data: Mapping[str, Any], keyed: Iterable[tuple[str, ...]], told: str) -> tuple[str, ...]:
    """Give the keys of what is emitted, for each connection, empty where there is none; raises as `find_key`."""
    return tuple([find_key(data, names, told) if names else "" for names in keyed])


def names_of(parameter: str, mapping: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """Give the names under which a parameter comes by a connection, those first that win; none if it cannot come.

    Args:
        parameter: as the receiver calls it.
        mapping: pairs of (parameter that comes, parameter it becomes).
    """
    pairs = tuple(mapping)
    sources = [source for source, target in reversed(pairs) if target == parameter]
    if parameter not in {source for source, _target in pairs}:
        sources.append(parameter)
    return tuple(sources)


def find_owner(key: str, workers: Iterable[int]) -> int:
    """Give the worker that has a key: always the same one of the same workers.

    Args:
        key: as text.
        workers: their numbers, one at least.
    """
    digest = int.from_bytes(blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")
    return max(workers, key=lambda number: _mix(digest ^ _mix(number)))


def _mix(value: int) -> int:
    # The finalizer of SplitMix64 (Steele, Lea and Flood, 2014).
    value = (value + 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


_CONSTANTS = {"n": None, "b0": False, "b1": True}


def _encode(value: object, depth: int) -> str:
    kind = type(value)
    if kind is str:
        return _encode_text(value)  # type: ignore[arg-type]  # exactly that
    if kind is int:
        try:
            return f"i{value}"
        except ValueError:  # more digits than Python writes
            raise PartitionKeyError("expected a key of fewer digits") from None
    if kind is bytes:
        return f"x{value.hex()}"  # type: ignore[attr-defined]  # as above
    if value is None:
        return "n"
    if kind is bool:
        return "b1" if value else "b0"
    if kind is tuple and depth:
        parts = [_encode(part, depth - 1) for part in value]  # type: ignore[attr-defined]  # as above
        return "t" + "".join(f"{len(part)}:{part}" for part in parts)
    raise PartitionKeyError(f"expected a key that is exactly {_KINDS}, got a {kind.__qualname__}")


def _encode_text(value: str) -> str:
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise PartitionKeyError("expected a key that is valid Unicode, got a lone surrogate in it") from None
    return f"s{value}"


def _decode_parts(text: str) -> Iterable[Any]:
    while text:
        size, colon, rest = text.partition(":")
        part = rest[: int(size)] if size.isascii() and size.isdigit() else ""
        if not colon or not part or len(part) != int(size):
            raise ValueError(f"expected the parts of a key, got {text!r}")
        yield decode_key(part)
        text = rest[int(size) :]
