"""What is wrong with a checkpoint is told in one tree of errors that travel."""

from __future__ import annotations

import pickle

import pytest

from routilux.errors import RoutiluxError
from routilux.records import errors
from routilux.records.errors import KeptError

ERRORS: list[KeptError] = [
    errors.DamagedCheckpointError("it is torn"),
    errors.DamagedHistoryError("it is torn"),
    errors.UnsupportedFormatError("the checkpoint", 3, 1),
    errors.KeyMissingError(),
    errors.UnsealedError(),
    errors.WrongKeyError(),
    errors.NoCheckpointError("nightly", ["checkpoint-000001-000001: it is torn"]),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_travels_with_all_it_carries(error: KeptError) -> None:
    again = pickle.loads(pickle.dumps(error))

    assert isinstance(again, RoutiluxError)
    assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_is_one_that_a_user_of_python_would_catch(error: KeptError) -> None:
    assert isinstance(error, LookupError if isinstance(error, errors.NoCheckpointError) else ValueError)
