"""Flat dicts of plain values and NumPy arrays as MessagePack: what nearly all messages with arrays are.

Owns that form: the plain values, and of each array its element type, shape, order and, where it is small, its bytes;
those of the large ones lie apart, in the order of the arrays. It costs a third of a pickle of the same, most of which
is Python code of NumPy's. It is for messages between processes of one program, and is kept nowhere. Imports NumPy only
where a value asks for it.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from supervisors.errors import ValueDecodingError
from supervisors.wire import values
from supervisors.wire.outside import LEAST_BYTES

ARRAYS = b"\x06"
"""First byte of what is written here."""
_KINDS = frozenset("biufcmMSU")
"""Kinds of elements whose bytes are all there is to them (`numpy.dtype.kind`)."""


_IS_BUILTIN = 1
"""`numpy.dtype.isbuiltin` of an element type that its code tells wholly."""

_Array = tuple[str, tuple[int, ...], bool, bytes | None]
"""One array: its element type, its lengths, whether the first index changes fastest, and the bytes of its elements;
None where they lie apart."""


def encode(value: Any, take: Callable[[memoryview], object]) -> bytes | None:
    """Encode a flat dict of plain values and arrays; None for anything else, whatever was taken of it.

    Args:
        value: what is to be sent.
        take: given each large buffer; of an array in pieces it is a copy in one.
    """
    numpy = sys.modules.get("numpy")
    if numpy is None or value.__class__ is not dict or not values.TEXT.issuperset(map(type, value)):
        return None
    plain, arrays, met = {}, {}, set()
    try:
        for name, part in value.items():
            if type(part) in values.SCALARS:
                plain[name] = part
            elif type(part) is numpy.ndarray and id(part) not in met:
                met.add(id(part))
                array = _describe(part, numpy, take)
                if array is None:
                    return None
                plain[name], arrays[name] = None, array
            else:
                return None  # what is there twice would come back as two
        data = ARRAYS + _encoder.encode((plain, arrays))
    except Exception:  # noqa: BLE001  as MessagePack raises several: a closer look tells what it is
        return None
    return data if len(data) <= values.MAX_VALUE_BYTES else None


def decode(data: memoryview, buffers: Sequence[Any]) -> dict[str, Any]:
    """Give back what `encode` was given.

    Args:
        data: what it gave.
        buffers: those that lie apart; their arrays are views of them.

    Raises:
        ValueDecodingError: the bytes are damaged, or there is no NumPy here.
    """
    try:
        value, arrays = _decoder.decode(data[1:])
        numpy: Any = sys.modules.get("numpy") or importlib.import_module("numpy")
        apart = iter(buffers)
        for name, (dtype, shape, is_fortran, elements) in arrays.items():
            # One that is small can be written, as any array that somebody has made.
            buffer = next(apart) if elements is None else bytearray(elements)
            value[name] = numpy.ndarray(shape, dtype, buffer, order="F" if is_fortran else "C")
    except Exception as error:
        raise ValueDecodingError(
            f"{len(data)} bytes could not be turned back into a value: {values.describe(error)}"
        ) from error
    return value


def _describe(array: Any, numpy: Any, take: Callable[[memoryview], object]) -> tuple[Any, ...] | None:
    dtype, flags = array.dtype, array.flags
    code = dtype.str
    if dtype.kind not in _KINDS or dtype.metadata is not None:
        return None
    if dtype.isbuiltin != _IS_BUILTIN and numpy.dtype(code) != dtype:
        return None
    if not (flags.forc or _has_gaps(array)):
        return None  # its elements lie in yet another order, which a pickle keeps
    is_fortran = not flags.c_contiguous and flags.f_contiguous
    in_order = array.T if is_fortran else numpy.ascontiguousarray(array)
    elements = memoryview(in_order.reshape(-1).view(numpy.uint8))
    if elements.nbytes < LEAST_BYTES:
        # What is small comes back so that it can be written, which a pickle keeps too.
        return (code, array.shape, is_fortran, elements) if flags.writeable else None
    take(elements)
    return code, array.shape, is_fortran, None


def _has_gaps(array: Any) -> bool:
    """Tell whether its elements do not lie in one piece, in whichever order of its axes."""
    axes = sorted(range(array.ndim), key=array.strides.__getitem__, reverse=True)
    return not array.transpose(axes).flags.c_contiguous


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(tuple[dict[str, Any], dict[str, _Array]])
