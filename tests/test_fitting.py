"""What surely cannot fit is told, and nothing else."""

from __future__ import annotations

import collections.abc
import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Annotated, Any, Literal, NewType, Optional, Protocol, TypedDict, TypeVar, Union

import pytest

from routilux.fitting import can_fit, tell_annotation


class Base: ...


class Derived(Base): ...


class Closes(Protocol):
    def close(self) -> None: ...


class Row(TypedDict):
    n: int


Id = NewType("Id", int)
T = TypeVar("T")

FITS: list[tuple[Any, Any]] = [
    (int, int),
    (int, float),
    (bool, int),
    (float, complex),
    (Derived, Base),
    (Base, Derived),
    (Path, PurePath),
    (dt.datetime, dt.date),
    (int, Any),
    (Any, int),
    (object, int),
    (int, "later"),
    (int, T),
    (int, int | str),
    (int | str, str),
    (Optional[int], None),  # noqa: UP045  the old way too
    (Union[int, str], str),  # noqa: UP007
    (None, int | None),
    (Literal[1, "a"], str),
    (str, Literal["a"]),
    (Annotated[int, "metres"], int),
    (Id, int),
    (int, Id),
    (list[int], list),
    (list, list[int]),
    (list[int], list[float]),
    (list[int], Sequence[int]),
    (list[int], Iterable[int | str]),
    (dict[str, int], Mapping[str, float]),
    (dict[str, int], collections.abc.Mapping[str, Any]),
    (tuple[int, str], tuple[int, str]),
    (tuple[int, ...], tuple[int, int]),
    (tuple[int, int], Sequence[int]),
    (Row, dict),
    (Row, Mapping[str, Any]),
    (Base, Closes),
    (int, collections.abc.Callable[[], int]),
    (Iterator[int], Iterable[int]),
]
CANNOT: list[tuple[Any, Any]] = [
    (str, int),
    (int, str),
    (float, int),
    (int, bytes),
    (None, int),
    (Path, str),
    (Derived, int),
    (int | float, str),
    (str, int | None),
    (Literal[1, 2], str),
    (Annotated[int, "metres"], str),
    (Id, str),
    (list[int], list[str]),
    (list[int], dict[str, int]),
    (list[int], int),
    (str, list[str]),
    (dict[str, int], Mapping[str, str]),
    (dict[int, int], dict[str, int]),
    (tuple[int, str], tuple[int, int]),
    (tuple[int, int], tuple[int, int, int]),
    (list[list[int]], list[list[str]]),
    (Row, int),
]


@pytest.mark.parametrize(("source", "target"), FITS, ids=str)
def test_what_may_fit_is_let_be(source: Any, target: Any) -> None:
    assert can_fit(source, target)


@pytest.mark.parametrize(("source", "target"), CANNOT, ids=str)
def test_what_cannot_fit_is_told(source: Any, target: Any) -> None:
    assert not can_fit(source, target)


def test_an_annotation_is_told_as_people_write_it() -> None:
    assert [tell_annotation(each) for each in (int, list[int], int | None, Any, Base)] == [
        "int",
        "list[int]",
        "int | None",
        "Any",
        "Base",
    ]
