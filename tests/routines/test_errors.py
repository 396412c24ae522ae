from __future__ import annotations

import pickle

import pytest

from routilux import RoutiluxError
from routilux.routines import FileReadError, FileWriteError, RecordError
from routilux.routines.errors import FileError, reason_of


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (FileReadError("a.txt", "no", 1_234), "cannot read 'a.txt', line 1,234: no"),
        (FileReadError("a.txt", "no"), "cannot read 'a.txt': no"),
        (FileWriteError("a.txt", "no"), "cannot write 'a.txt': no"),
        (RecordError("no"), "no"),
    ],
)
def test_an_error_tells_where_it_was_and_travels_with_it(error: RoutiluxError, told: str) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error) == told
    assert vars(copy) == vars(error)


def test_errors_of_files_are_those_of_the_system_too() -> None:
    error = FileReadError("a.txt", "no", 7)
    assert isinstance(error, OSError)
    assert isinstance(error, FileError)
    assert (error.path, error.line, error.detail) == ("a.txt", 7, "no")


def test_the_reason_of_an_error_is_told_without_its_path() -> None:
    assert reason_of(FileNotFoundError(2, "No such file or directory", "a.txt")) == "No such file or directory"
    assert reason_of(OSError("something")) == "something"
    assert reason_of(OSError()) == "OSError"
