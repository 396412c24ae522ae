"""Structs as MessagePack, and their strict reading: the errors of msgspec end here. Pure."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import msgspec

from routilux.records.errors import DamagedError
from supervisors.text import cut, printable

_T = TypeVar("_T")

_encoder = msgspec.msgpack.Encoder()
_DETAIL_CHARACTERS = 300
"""Characters of what msgspec says that an error tells: it may quote what it read (arbitrary)."""


def pack(value: msgspec.Struct | list[Any]) -> bytes:
    """Write structs, or a list of them.

    Text with lone surrogates, which has no UTF-8 form, is written with question marks in their place: it is text
    of errors and the like, and none of it is worth a checkpoint.
    """
    try:
        return _encoder.encode(value)
    except UnicodeEncodeError:
        return _encoder.encode(_printed(value))


class Unpacker(Generic[_T]):
    """Reads one type of what `pack` writes.

    Args:
        type_: the type.
        error: raised for anything else, with the reason.
    """

    def __init__(self, type_: type[_T], error: type[DamagedError]) -> None:
        self._decoder = msgspec.msgpack.Decoder(type_)
        self._error = error

    def unpack(self, data: bytes | memoryview, what: str) -> _T:
        """Read `data`; `what` names it in the error."""
        try:
            return self._decoder.decode(data)
        # All of these were seen from msgspec on bytes that are something else (`turn.codec`).
        except (
            msgspec.DecodeError,
            UnicodeDecodeError,
            RecursionError,
            OverflowError,
            MemoryError,
            TypeError,
        ) as error:
            detail = cut(printable(str(error)), _DETAIL_CHARACTERS)
            raise self._error(f"{what} cannot be read: {detail}") from error


def _printed(part: Any) -> Any:
    """Give the same with all text such that it has a UTF-8 form."""
    if isinstance(part, str):
        return part.encode("utf-8", "replace").decode()
    if isinstance(part, msgspec.Struct):
        return msgspec.structs.replace(part, **{name: _printed(getattr(part, name)) for name in part.__struct_fields__})
    if isinstance(part, dict):
        return {_printed(key): _printed(value) for key, value in part.items()}
    if isinstance(part, list | tuple):
        return [_printed(value) for value in part]
    return part
