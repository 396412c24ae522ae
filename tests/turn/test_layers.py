"""Old versions of a committed state stay as they were, whatever is committed after."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routilux.messages import StateOp
from routilux.turn.layers import LEAST_LAYER, Version, Versions
from supervisors.errors import InternalError

KEYS = [f"k{n}" for n in range(40)]
ops = st.lists(
    st.tuples(st.sampled_from(["set", "del", "add"]), st.sampled_from(KEYS), st.integers(-99, 99)).map(
        lambda op: StateOp(*op)
    ),
    max_size=8,
)


def check(version: Mapping[str, Any], expected: dict[str, Any]) -> None:
    assert dict(version) == expected
    assert len(version) == len(expected)
    assert list(reversed(version)) == list(version)[::-1]  # type: ignore[call-overload]
    for key in KEYS:
        assert (key in version) == (key in expected)
        assert version.get(key, "none") == expected.get(key, "none")
        if key in expected:
            assert version[key] == expected[key]
        else:
            with pytest.raises(KeyError):
                version[key]


@given(
    begin=st.dictionaries(st.sampled_from(KEYS), st.integers(-99, 99)), commits=st.lists(st.tuples(ops, st.booleans()))
)
def test_each_version_is_what_a_copy_would_be(begin: dict[str, int], commits: list[tuple[list[StateOp], bool]]) -> None:
    model: dict[str, Any] = dict(begin)
    versions = Versions(dict(begin))
    held: list[tuple[Mapping[str, Any], dict[str, Any]]] = []
    for changes, is_held in commits:
        if is_held:
            held.append((versions.newest, dict(model)))
        (versions.change_copy if held else versions.change)(changes)
        for kind, key, value in changes:
            if kind == "set":
                model[key] = value
            elif kind == "add":
                model[key] = model.get(key, 0) + value
            else:
                model.pop(key, None)
        check(versions.newest, model)
    for version, expected in held:
        check(version, expected)


def test_a_layer_becomes_a_new_base_when_it_has_grown() -> None:
    begin = dict.fromkeys(map(str, range(1_000)), 0)
    versions = Versions(begin)
    sizes = []
    for n in range(200):
        versions.change_copy([StateOp("set", f"new {n}", n)])
        newest = versions.newest
        sizes.append(len(newest._layer) if isinstance(newest, Version) else 0)
    assert max(sizes) <= max(LEAST_LAYER, 1_200**0.5)
    assert sizes.count(0) < 10
    assert len(begin) == 1_000


def test_nobody_holds_a_version_and_the_state_is_changed_in_place() -> None:
    begin = {"a": 1}
    versions = Versions(begin)
    versions.change_copy([StateOp("set", "b", 2)])
    assert begin == {"a": 1}
    versions.change([StateOp("del", "a", None)])
    assert versions.newest is begin
    assert begin == {"b": 2}


def test_what_is_gathered_is_refused_for_turns_at_once() -> None:
    with pytest.raises(InternalError, match="got 'append'"):
        Versions({}).change_copy([StateOp("append", "slot", b"")])
