"""A zygote lives short lives of workers, which run what workers run and leave nothing behind."""

from __future__ import annotations

import os
import threading
from typing import ClassVar

import pytest

from supervisors import preloaded
from supervisors.behavior_service import BehaviorService
from supervisors.places.base import Port
from supervisors.places.process import rehearsal
from supervisors.places.process.rehearsal import LIVES, Part, rehearse
from supervisors.wire.outside import here
from supervisors.wire.requests import NOTHING, decode_outcome

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="it is for zygotes")


class Recording:
    """A service that keeps what it was given, and runs each at once."""

    request_type = bytes
    result_type = bytes
    batch_type = None
    touched = False
    result = b"done"
    given: ClassVar[list[bytes]] = []

    def boot(self, number: int, boot: bytes) -> None:
        self.given.append(b"boot")

    def begin(self, request: bytes, port: Port) -> Recording:
        self.given.append(request)
        return self

    def advance(self) -> bool:
        return True

    def settle(self, *, accepted: bool) -> None:
        pass

    def describe_failure(self, error: BaseException) -> bytes:
        raise error

    def close(self, reason: object) -> None:
        self.given.append(b"close")


def test_each_life_has_the_requests_one_after_another_and_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsal, "parts", [Part(Recording, [b"one", b"two"])])
    threads = threading.active_count()
    Recording.given.clear()
    rehearse()
    assert Recording.given == [b"boot", b"one", b"two"] * LIVES
    assert threading.active_count() == threads
    assert here.space is None


def test_what_a_behaviour_does_from_its_start_to_an_answer_is_rehearsed() -> None:
    (part,) = [part for part in rehearsal.parts if part.make is BehaviorService]
    assert set(preloaded.NAMES) >= {"Behavior", "ChildSpec"}
    told: list[bytes] = []
    service = BehaviorService()
    for request in part.requests:
        call = service.begin(request, Told(told))  # type: ignore[arg-type]  # the one call that it makes
        assert call.advance()
        service.settle(accepted=True)
    assert [decode_outcome(body) == NOTHING for body in told] == [False, False]


class Told:
    """A port that keeps what is told ahead of the end of a request."""

    def __init__(self, told: list[bytes]) -> None:
        self._told = told

    def stop_with(self, body: bytes, _weight: int) -> None:
        self._told.append(body)
