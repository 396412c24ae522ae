"""How arrays are taken apart: NumPy's, those of `array`, and memory views. As type, shape and bytes.

Owns the door to NumPy, which is imported by nobody here before the program has, or a value asks for it.
"""

from __future__ import annotations

import array
import importlib
import math
import sys
from typing import Any

from routilux.serial.errors import MissingLibraryError
from supervisors.wire.outside import LEAST_BYTES
from supervisors.wire.values import RefusedPartError

_KINDS = frozenset("biufcmMSUV")
"""Kinds of elements whose bytes are all there is to them (`numpy.dtype.kind`)."""


def is_numpy(value: Any) -> bool:
    """Tell whether `value` is an array or a scalar of NumPy."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, numpy.ndarray | numpy.generic)


def elements_of(value: Any) -> memoryview | None:
    """Give the bytes of the elements of an array of NumPy that is large; None for any other, and for one in pieces."""
    numpy = sys.modules["numpy"]
    flags = value.flags
    if type(value) is not numpy.ndarray or value.nbytes < LEAST_BYTES or not (flags.c_contiguous or flags.f_contiguous):
        return None
    if value.dtype.hasobject:
        return None
    in_order = value if flags.c_contiguous else value.T
    return memoryview(in_order.reshape(-1).view(numpy.uint8))


def take_numpy(value: Any, *, is_check: bool) -> tuple[Any, ...]:
    """Give element type, shape, order and bytes of an array or scalar; no bytes for a check.

    Raises:
        RefusedPartError: its elements are objects, or it is of a class of its own.
    """
    numpy = sys.modules["numpy"]
    kind, dtype = type(value), value.dtype
    is_scalar = isinstance(value, numpy.generic)
    if not is_scalar and kind is not numpy.ndarray:
        raise RefusedPartError(
            f"a {kind.__name__}, a kind of NumPy array that has more to it than its elements: "
            f"numpy.asarray(...) gives an array that can be kept"
        )
    if dtype.hasobject or dtype.kind not in _KINDS or (is_scalar and dtype.type is not kind):
        raise RefusedPartError(
            f"a NumPy {'scalar' if is_scalar else 'array'} of {dtype}, whose bytes are not all of it"
        )
    description = numpy.lib.format.dtype_to_descr(dtype)
    if numpy.lib.format.descr_to_dtype(description) != dtype:
        raise RefusedPartError(f"a NumPy array of {dtype}, which NumPy cannot describe")
    order = "F" if not is_scalar and value.flags.f_contiguous and not value.flags.c_contiguous else "C"
    data = b"" if is_check else value.tobytes(order)
    return description, None if is_scalar else value.shape, order, data


def make_numpy(description: Any, shape: Any, order: Any, data: Any) -> Any:
    """Make an array or scalar; raises `MissingLibraryError` without NumPy, and else what NumPy does."""
    if type(data) is not bytes:
        raise TypeError("no parts of an array")
    array = make_apart(description, shape, order, data)
    return array[()] if shape is None else array.copy(order="K")


def make_apart(description: Any, shape: Any, order: Any, data: Any) -> Any:
    """Make an array of elements that stay where they are, and cannot be written there; raises as `make_numpy`."""
    try:
        numpy: Any = importlib.import_module("numpy")
        formats: Any = importlib.import_module("numpy.lib.format")
    except ImportError as error:
        raise MissingLibraryError("numpy", str(error)) from error
    if type(data) not in {bytes, memoryview} or type(order) is not str or not (shape is None or _is_shape(shape)):
        raise TypeError("no parts of an array")
    _check_description(description)
    dtype, size = formats.descr_to_dtype(description), memoryview(data).nbytes
    if dtype.hasobject or dtype.kind not in _KINDS or dtype.itemsize * math.prod(shape or ()) != size:
        raise ValueError(f"{size} bytes are no array of {dtype} of shape {shape}")
    return numpy.ndarray(() if shape is None else shape, dtype, buffer=data, order=order)


def _is_shape(shape: Any) -> bool:
    return type(shape) is tuple and {int}.issuperset(map(type, shape))


def _check_description(description: Any) -> None:
    """See that nothing is in a description whose methods are those of a user."""
    if type(description) in {list, tuple}:
        for part in description:
            _check_description(part)
    elif type(description) not in {str, int}:
        raise TypeError("no description of an element type")


def take_array(value: array.array[Any], *, is_check: bool) -> tuple[Any, ...]:
    """Give type code, size of an element and bytes (least significant first) of an array; no bytes for a check."""
    if is_check:
        return value.typecode, value.itemsize, b""
    if sys.byteorder == "big":
        value = value[:]
        value.byteswap()
    return value.typecode, value.itemsize, value.tobytes()


def make_array(code: Any, size: Any, data: Any) -> Any:
    """Make an array; raises where the elements of its type have another size on this machine."""
    if (type(code), type(size), type(data)) != (str, int, bytes):
        raise TypeError("no parts of an array")
    made: array.array[Any] = array.array(code)
    if made.itemsize != size:
        raise ValueError(f"elements {code!r} have {made.itemsize} bytes here, and {size} where they were written")
    made.frombytes(data)
    if sys.byteorder == "big":
        made.byteswap()
    return made


def take_view(value: memoryview, *, is_check: bool) -> tuple[Any, ...]:
    """Give format, shape, whether it can be written to, and bytes of a view; no bytes for a check."""
    format_, shape = value.format, value.shape
    if len(format_.lstrip("@")) != 1:
        raise RefusedPartError(f"a memoryview with elements of format {format_!r}")
    return format_, shape, value.readonly, b"" if is_check else value.tobytes()


def make_view(format_: Any, shape: Any, is_read_only: Any, data: Any) -> Any:
    """Make a view of bytes of its own."""
    if type(data) is not bytes or type(format_) is not str or type(is_read_only) is not bool or not _is_shape(shape):
        raise TypeError("no parts of a view")
    view: Any = memoryview(data if is_read_only else bytearray(data))
    return view if (format_, shape) == ("B", (len(data),)) else view.cast(format_, shape)


def count_bytes(value: Any) -> int:
    """Give the bytes of the elements of any of these."""
    return len(value) * value.itemsize if type(value) is array.array else int(value.nbytes)
