"""The place on the actor's own thread: whatever a request raises is told, and the next one is run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from supervisors.errors import UndescribedError
from supervisors.places.base import Execution, Finished, Lost, Port, RequestAbandoned
from supervisors.places.thread import ThreadPlace
from supervisors.reasons import ErrorRecord, Reason, record_error
from tests.deeds import DEEDS


class Service:
    """Raises what it is asked to, or gives it back; cannot describe what `refuses` names."""

    def __init__(self, refuses: tuple[type[BaseException], ...] = ()) -> None:
        self.refuses = refuses
        self.settled: list[bool] = []
        self.result: Any = None

    def boot(self, number: int, boot: Any) -> None:
        """Do nothing."""

    def begin(self, request: Any, port: Port) -> Execution:
        self.result = request
        return self

    def advance(self) -> bool:
        if isinstance(self.result, BaseException):
            raise self.result
        return True

    def settle(self, *, accepted: bool) -> None:
        self.settled.append(accepted)

    def describe_failure(self, error: BaseException) -> ErrorRecord:
        if isinstance(error, self.refuses):
            raise SystemExit("no words")
        return record_error(error)

    def close(self, reason: Reason) -> None:
        """Do nothing."""


class Listener:
    def __init__(self) -> None:
        self.done: list[tuple[int, Any]] = []
        self.failed: list[tuple[int, ErrorRecord, tuple[int, ...]]] = []

    def on_ready(self, number: int) -> None:
        """Do nothing."""

    def on_part(self, number: int, seq: int, body: Any) -> bool:
        return True

    def on_done(self, _number: int, finished: Sequence[Finished]) -> bool:
        self.done.extend((seq, body) for seq, body, _seconds, _at in finished)
        return True

    def on_returned(self, number: int, seqs: tuple[int, ...]) -> None:
        raise AssertionError(number, seqs)

    def on_failed(self, _number: int, seq: int, body: ErrorRecord, returned: tuple[int, ...]) -> None:
        self.failed.append((seq, body, returned))

    def on_lost(self, number: int, reason: Reason, lost: Lost) -> None:
        raise AssertionError(number, reason, lost)

    def on_closed(self) -> None:
        """Do nothing."""


def start(service: Service) -> tuple[ThreadPlace, Listener]:
    listener = Listener()
    place = ThreadPlace(lambda: service, listener, lambda: 0.0, lambda: False)
    place.start(0, None)
    place.advance()
    return place, listener


@pytest.mark.parametrize(
    "error",
    [ValueError("x"), SystemExit(3), KeyboardInterrupt(), GeneratorExit(), StopIteration(1), RequestAbandoned()],
    ids=repr,
)
def test_whatever_a_request_raises_is_its_failure(error: BaseException) -> None:
    service = Service()
    place, listener = start(service)
    place.submit(0, [(1, error), (2, "next")])

    assert place.advance()
    place.submit(0, [(2, "next")])
    assert place.advance()

    [(seq, record, returned)] = listener.failed
    assert (seq, record.text, returned) == (1, str(error), (2,))
    assert listener.done == [(2, "next")]
    assert service.settled == [False, True]


class Doing(Service):
    """Does the deed it is asked for by name."""

    def advance(self) -> bool:
        DEEDS[self.result][0]()
        return True


def test_no_deed_ends_the_place() -> None:
    service = Doing()
    place, listener = start(service)
    for seq, name in enumerate(DEEDS):
        place.submit(0, [(seq, name)])
        assert place.advance()

    assert [seq for seq, _, _ in listener.failed] == list(range(len(DEEDS)))
    for (_, record, _), (_, told) in zip(listener.failed, DEEDS.values(), strict=True):
        assert str(record).startswith(told)
    assert place.room(0) == 1


def test_an_error_that_cannot_be_described_is_told_beside_why() -> None:
    service = Service(refuses=(ValueError,))
    place, listener = start(service)
    place.submit(0, [(1, ValueError("bad"))])
    place.advance()
    place.submit(0, [(2, "next")])
    place.advance()

    [(_, record, _)] = listener.failed
    assert record.type == f"supervisors.errors.{UndescribedError.__name__}"
    assert record.text == "ValueError: bad"
    assert record.notes == ("describing it raised SystemExit: no words",)
    assert record.chain == ("ValueError: bad",)
    assert listener.done == [(2, "next")]
