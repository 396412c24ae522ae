"""Parts of an image that do not fit one another are found."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from routilux.records.consistency import find_contradiction
from routilux.records.format import keep_state
from routilux.records.schema import Image, OutputImage, RetryImage, StateImage
from tests.records.images import image, message, routines

FAR = message(9, 1)


def test_an_image_of_one_piece_has_no_contradiction() -> None:
    kept = [keep_state(state) for state in image().states]

    assert find_contradiction(image()) is None
    assert find_contradiction(image([]), kept) is None


def with_job(**parts: Any) -> Image:
    return replace(image(), job=replace(image().job, **parts))


def with_routine(**parts: Any) -> Image:
    first, second = routines()
    return replace(image(), routines=[first, replace(second, **parts)])


def with_topology(**parts: Any) -> Image:
    return replace(image(), topology=replace(image().topology, **parts))


FIRST, SECOND = image().topology.routines
LETTER = routines()[1].dead_letters[0]


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        (with_topology(routines=[FIRST, FIRST]), "its flow has two routines of one id"),
        (with_topology(routines=[SECOND, FIRST]), "its routines are not those of its flow"),
        (replace(image(), routines=routines()[:1]), "its routines are not those of its flow"),
        (image(routines=[]), "the routines of its header are not those of its flow"),
        (image(flow_id="other"), "its header and its flow have different ids"),
        (with_job(sent=[1]), "it counts the messages sent on 1 connections, and has 3"),
        (with_job(handled=[]), "it counts the messages handled on 0 connections, and has 3"),
        (with_job(dead=[1] * 4), "it counts the messages dead on 4 connections, and has 3"),
        (with_job(skipped=[1]), "it counts the messages skipped on 1 connections, and has 3"),
        (with_routine(in_hand=[FAR]), "a message of routine 'parse' came by connection 9, and there are 3"),
        (with_routine(waiting=[message(), FAR]), "a message of routine 'parse' came by connection 9, and there are 3"),
        (with_routine(retries=[RetryImage([FAR], 1.0, False)]), "a message of routine 'parse' came by connection 9"),
        (
            with_routine(dead_letters=[replace(LETTER, message=FAR)]),
            "a message of routine 'parse' came by connection 9",
        ),
        (with_job(outputs=[OutputImage("a", "b", [FAR], [])]), "a message of the output a.b came by connection 9"),
        (with_job(outputs=[OutputImage("a", "b", [], [FAR])]), "a message of the output a.b came by connection 9"),
        (image([StateImage("read", 0, b""), StateImage("read", 0, b"")]), "a worker has two states"),
        (image([StateImage("other", 0, b"")]), "it has a state of routine 'other', which its flow has not"),
    ],
)
def test_what_does_not_fit_is_told(broken: Image, told: str) -> None:
    assert (find_contradiction(broken) or "").startswith(told)


def test_a_state_that_is_kept_and_given_is_one_too_many() -> None:
    state = StateImage("read", 0, b"")

    assert find_contradiction(image([state]), [keep_state(state)]) == "a worker has two states"
