from __future__ import annotations

import pickle

import pytest

from supervisors import errors
from supervisors.reasons import ErrorRecord, Killed

RAISED: list[errors.SupervisorsError] = [
    errors.MailboxFullError(5),
    errors.MailboxClosedError(),
    errors.ValueEncodingError("payload.item", "it is a lock"),
    errors.ValueDecodingError("3 bytes"),
    errors.RequestTooLongError(1, 20, 10),
    errors.PreloadError("numpy", "there is none"),
    errors.RestartIntensityError("a", 3, 5.0, "was killed"),
    errors.ActorEndedError("/a", Killed()),
    errors.AskTimeoutError("no answer within 1 s"),
    errors.RemoteError(ErrorRecord("ValueError", "no", "")),
    errors.NotInProcessError("a link", "monitor it"),
    errors.DeadlockError(("/a", "/b", "/a")),
    errors.UnknownChildError("there is no child 'a'"),
]


@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
def test_an_error_travels_with_its_text_its_attributes_and_its_notes(error: errors.SupervisorsError) -> None:
    error.add_note("in a worker")
    came = pickle.loads(pickle.dumps(error))
    assert (type(came), str(came), vars(came)) == (type(error), str(error), vars(error))
