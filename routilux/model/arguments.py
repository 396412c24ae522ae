"""What an object was made with, by the names of its class's parameters. Pure."""

from __future__ import annotations

import inspect
from inspect import Parameter
from typing import Any


def named_arguments(cls: type, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any] | None:
    """Give the arguments of a call of `cls` by name; None where one of them has none."""
    try:
        signature = inspect.signature(cls)
        bound = signature.bind(*args, **kwargs).arguments
    except (TypeError, ValueError):
        return None
    kinds = {name: signature.parameters[name].kind for name in bound}
    if any(kind in {Parameter.VAR_POSITIONAL, Parameter.POSITIONAL_ONLY} for kind in kinds.values()):
        return None
    named = {name: part for name, part in bound.items() if kinds[name] is not Parameter.VAR_KEYWORD}
    for name in bound.keys() - named.keys():
        named.update(bound[name])
    return named
