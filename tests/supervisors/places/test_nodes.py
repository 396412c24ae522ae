"""The books of who is on which node."""

from __future__ import annotations

import itertools

import pytest

from supervisors.places.ray.nodes import LostNode, Nodes, Tenant

PARSE = [Tenant("parse", number, 1) for number in range(3)]
COUNT = Tenant("count", 0, 1)


def books() -> tuple[Nodes, list[LostNode]]:
    told: list[LostNode] = []
    return Nodes(told.append), told


def test_a_lost_node_is_told_once_with_all_that_were_there() -> None:
    nodes, told = books()
    for tenant in (PARSE[2], COUNT, PARSE[0]):
        nodes.enter("1", "ten", tenant)
    nodes.enter("2", "ten", PARSE[1])
    nodes.lose("1", "no power")
    nodes.lose("1", "no power")
    assert told == [LostNode("ten", "no power", (("count", (0,)), ("parse", (0, 2))))]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_whoever_has_ended_before_is_none_of_them_in_whatever_order(order: tuple[int, ...]) -> None:
    nodes, told = books()
    for number in order:
        nodes.enter("1", "ten", PARSE[number])
    for number in order[:2]:
        nodes.leave("1", PARSE[number])
    nodes.lose("1", "no power")
    nodes.leave("1", PARSE[order[2]])
    assert told == [LostNode("ten", "no power", (("parse", (order[2],)),))]


def test_a_worker_that_was_started_again_there_is_another_one() -> None:
    nodes, told = books()
    again = Tenant("parse", 0, 2)
    nodes.enter("1", "ten", PARSE[0])
    nodes.enter("1", "ten", again)
    nodes.leave("1", PARSE[0])
    nodes.lose("1", "no power")
    assert [lost.workers for lost in told] == [(("parse", (0,)),)]


def test_a_node_where_nobody_was_or_is_left_is_nobodys_loss() -> None:
    nodes, told = books()
    nodes.lose("3", "no power")
    nodes.enter("1", "ten", PARSE[0])
    nodes.leave("1", PARSE[0])
    nodes.leave("1", PARSE[0])
    nodes.lose("1", "no power")
    assert told == []


def test_nobody_is_told_once_the_owner_is_gone() -> None:
    nodes, told = books()
    nodes.enter("1", "ten", PARSE[0])
    nodes.close()
    nodes.lose("1", "no power")
    assert told == []


def test_one_that_comes_after_its_node_was_told_makes_no_second_loss() -> None:
    nodes, told = books()
    nodes.enter("1", "ten", PARSE[0])
    nodes.lose("1", "no power")
    nodes.enter("1", "ten", PARSE[1])
    nodes.lose("1", "no power")
    assert len(told) == 1
