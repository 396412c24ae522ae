"""Arrays in the memory that a job shares with its workers: written where they are read.

Owns what handlers use of it. Large arrays go through shared memory by themselves; a result that is made here is not
even copied there.
"""

from __future__ import annotations

import importlib
import math
import operator
from collections.abc import Sequence
from typing import Any

from routilux.context import current_turn
from routilux.errors import MissingExtraError, OptionError, OutsideTurnError
from supervisors.wire.outside import LEAST_BYTES

__all__ = ["empty"]


def empty(shape: int | Sequence[int], dtype: Any = float) -> Any:
    """Make an array, to be filled and emitted: its elements are where its receivers read them, and are not copied.

    Its elements may be anything at first. What is emitted must not be changed any more, as all that is emitted. Where
    there is no room it waits as `emit` does, or gives an ordinary array; and so it does for arrays of less than 64 KiB.

    Args:
        shape: its length, or its lengths.
        dtype: type of its elements, as for `numpy.empty`; none that are objects.

    Returns:
        A `numpy.ndarray` that can be written to.

    Raises:
        OutsideTurnError: this thread runs no handler.
        MissingExtraError: there is no NumPy.
        OptionError: there is no such array.
    """
    turn = current_turn()
    if turn is None:
        raise OutsideTurnError("routilux.buffers.empty works inside a handler, on the handler's own thread")
    try:
        numpy: Any = importlib.import_module("numpy")
    except ImportError as error:
        raise MissingExtraError(f"an array needs NumPy ({error})", "numpy") from error
    try:
        kind = numpy.dtype(dtype)
        lengths = (operator.index(shape),) if hasattr(shape, "__index__") else tuple(map(operator.index, shape))
    except (TypeError, ValueError) as error:
        raise OptionError(f"an array of shape {shape!r} and type {dtype!r}: {error}") from error
    if kind.hasobject or any(length < 0 for length in lengths):
        raise OptionError(f"expected lengths of at least 0 and elements that are no objects, got {shape!r}, {dtype!r}")
    size = kind.itemsize * math.prod(lengths)
    memory = turn.empty_memory(size) if size >= LEAST_BYTES else None
    return numpy.empty(lengths, kind) if memory is None else numpy.ndarray(lengths, kind, buffer=memory)
