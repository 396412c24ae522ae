from __future__ import annotations

from typing import Any

import pytest

from supervisors.behavior import Behavior
from supervisors.errors import SpecError
from supervisors.spec import ChildSpec
from supervisors.supervisor import RestartStrategy, Supervisor


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"id": ""}, "id: .*got ''"),
        ({"id": "a/b"}, "id: .*got 'a/b'"),
        ({"start": 3}, "child 'a': start: .*got 3"),
        ({"restart": "often"}, "child 'a': restart: .*got 'often'"),
        ({"shutdown": -1.0}, "child 'a': shutdown: .*got -1.0"),
        ({"shutdown": float("nan")}, "child 'a': shutdown: .*got nan"),
        ({"backoff": 1.0}, "child 'a': backoff: .*got 1.0"),
        ({"mailbox": 1}, "child 'a': mailbox: .*got 1"),
    ],
)
def test_a_wrong_field_is_named_with_its_value(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(SpecError, match=named):
        ChildSpec(**{"id": "a", "start": Behavior, **fields})


def test_two_children_of_one_id_are_refused() -> None:
    with pytest.raises(SpecError, match=r"children\[2\]: id: 'a' is taken by children\[0\]"):
        Supervisor([ChildSpec("a", Behavior), ChildSpec("b", Behavior), ChildSpec("a", Behavior)])


def test_a_strategy_may_be_given_by_name() -> None:
    assert Supervisor([], strategy="rest_for_one").strategy is RestartStrategy.REST_FOR_ONE
    with pytest.raises(SpecError, match=r"strategy: expected one of .*got 'all'"):
        Supervisor([], strategy="all")
