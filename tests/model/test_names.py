from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routilux.errors import InvalidNameError
from routilux.model.names import checked_id, checked_name, checked_names, id_from


@pytest.mark.parametrize("value", ["a", "0", "read.file_2-b", "A" * 64])
def test_an_id_is_given_back(value: str) -> None:
    assert checked_id(value, "routine") == value


@pytest.mark.parametrize("value", ["", "_a", ".a", "-a", "a b", "a/b", "ä", "a\n", "A" * 65, 7, None, b"a"])
def test_what_cannot_be_an_id_is_refused_with_the_rule(value: Any) -> None:
    with pytest.raises(InvalidNameError, match="the id of a routine is 1 to 64 letters, digits"):
        checked_id(value, "routine")


@pytest.mark.parametrize("value", ["", " a", "a ", "a\nb", "a\0", 7, None])
def test_what_cannot_be_a_name_is_refused(value: Any) -> None:
    with pytest.raises(InvalidNameError, match="the name of a slot is a text that is not empty"):
        checked_name(value, "a slot")


def test_names_may_be_in_any_language_and_with_blanks() -> None:
    assert checked_name("größe in m", "a slot") == "größe in m"


@pytest.mark.parametrize("values", ["path", b"bytes", {"path": 1}, 7, None])
def test_a_text_is_no_list_of_names(values: Any) -> None:
    with pytest.raises(InvalidNameError, match=r"the parameters are a list of names, such as \['path'\]"):
        checked_names(values, "parameters")


def test_a_name_that_comes_twice_is_told() -> None:
    with pytest.raises(InvalidNameError, match="different names, got 'b' twice"):
        checked_names(["a", "b", "b"], "parameters")


def test_names_keep_their_order() -> None:
    assert checked_names(iter(["b", "a"]), "parameters") == ("b", "a")


@given(st.text())
def test_any_name_makes_an_id(name: str) -> None:
    assert checked_id(id_from(name), "routine")
