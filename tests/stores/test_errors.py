"""The errors of stores say what happened, and travel."""

from __future__ import annotations

import pickle

import pytest

from routilux.errors import RoutiluxError
from routilux.stores import errors as module
from routilux.stores import this_process

ERRORS = [
    module.UnknownJobError("job", "the folder 'x'"),
    module.MissingObjectError("job", "object", "the folder 'x'"),
    module.JobExistsError("job", "the folder 'x'"),
    module.ObjectExistsError("job", "object", "the folder 'x'"),
    module.JobOwnedError("job", this_process()),
    module.JobOwnedError("job", this_process(), is_alive=False),
    module.JobOwnedError("job", this_process(), is_alive=False, lease_seconds=21.5),
    module.JobOwnedError("job", None),
    module.FencedError("job", 1, 2),
    module.FencedError("job", 1, 1),
    module.FencedError("job", 1, None),
    module.StoreWriteError("'object' of job 'job'", "No space left on device"),
    module.StoreReadError("'object' of job 'job'", "Input/output error"),
    module.DamagedStoreError("it is damaged"),
    module.UnsafeStoreError("it is a link"),
]


@pytest.mark.parametrize("error", ERRORS, ids=[f"{type(error).__name__}-{at}" for at, error in enumerate(ERRORS)])
def test_an_error_travels_with_all_it_carries(error: RoutiluxError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again) == vars(error)
    assert isinstance(again, module.StoreError)


def test_every_error_is_in_the_tree_that_is_drawn() -> None:
    names = {name for name, value in vars(module).items() if isinstance(value, type) and issubclass(value, Exception)}
    names -= {"RoutiluxError"}
    assert names - {"StoreError"} == {type(error).__name__ for error in ERRORS}
    assert module.__doc__ is not None
    assert all(name in module.__doc__ for name in names)
