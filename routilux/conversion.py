"""Values from outside, as the annotations of who takes them say: `"3"` for an `int`, `"src"` for a `Path`.

Owns the conversion, by msgspec, and what is done where there is nothing to go by. Never calls anything.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from pathlib import PurePath
from typing import Any

import msgspec

from routilux.errors import OptionError
from supervisors.tracebacks import type_name


def convert_arguments(function: Callable[..., Any], values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Give values as the parameters of a function are annotated; those without an annotation as they are.

    Args:
        function: who takes them.
        values: by the names of its parameters.
        where: what they are called in an error.

    Raises:
        OptionError: one cannot be what its parameter is annotated as.
    """
    hints = annotations_of(function)
    return {
        name: convert(value, hints[name], f"{where}.{name}") if name in hints else value
        for name, value in values.items()
    }


def annotations_of(function: Callable[..., Any]) -> dict[str, Any]:
    """Give the annotations of a function's parameters by name; none where they cannot be resolved."""
    target: Any = getattr(function, "__init__") if isinstance(function, type) else function  # noqa: B009  its class's
    try:
        hints = typing.get_type_hints(inspect.unwrap(target))
    except Exception:  # noqa: BLE001  a name in them that is not there, or is there for type checkers alone
        return {}
    hints.pop("return", None)
    return hints


def convert(value: Any, hint: Any, where: str) -> Any:
    """Give a value as an annotation says.

    Raises:
        OptionError: it cannot be that.
    """
    try:
        return msgspec.convert(value, hint, strict=False, dec_hook=_make_path)
    except msgspec.ValidationError as error:
        raise OptionError(f"{where}: {error}") from error
    except (TypeError, NotImplementedError):
        return value  # an annotation that is none of msgspec's


def convert_text(text: str, hint: Any, where: str) -> Any:
    """Give what a text on a command line says, as an annotation says: JSON where that fits, else the text itself.

    Raises:
        OptionError: it can be neither.
    """
    try:
        return msgspec.json.decode(text, type=hint, strict=False, dec_hook=_make_path)
    except (msgspec.DecodeError, TypeError, NotImplementedError, UnicodeEncodeError):
        return convert(text, hint, where)


def _make_path(cls: Any, value: Any) -> Any:
    if not isinstance(cls, type):
        raise NotImplementedError(repr(cls))
    if isinstance(value, cls):
        return value
    if issubclass(cls, PurePath) and isinstance(value, str):
        return cls(value)
    raise NotImplementedError(type_name(cls))
