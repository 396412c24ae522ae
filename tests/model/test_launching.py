from __future__ import annotations

from typing import Any

import pytest

from routilux.errors import OptionError
from routilux.model import launching
from routilux.model.launching import to_launch
from routilux.model.options import RoutineOptions
from supervisors.places.process.launch import Launch


def options_of(**given: Any) -> RoutineOptions:
    return RoutineOptions.of("parse", {"placement": "process", **given})


@pytest.fixture
def many_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launching, "count_pinnable", lambda: 8)


def test_nothing_said_is_as_is_best_here() -> None:
    assert to_launch(options_of(), ()) == Launch()


def test_what_workers_need_anyway_is_imported_ahead_of_what_is_named() -> None:
    assert to_launch(options_of(preload=("b", "a")), ["base"]).preload == ("base", "b", "a")


@pytest.mark.usefixtures("many_cpus")
@pytest.mark.parametrize(
    ("given", "kept", "cpus"),
    [
        ({3, 1}, [1, 3], ((1, 3), (1, 3))),
        (range(2), [0, 1], ((0, 1), (0, 1))),
        ((5, 5), [5], ((5,), (5,))),
        ([{7, 2}, [0]], [[2, 7], [0]], ((2, 7), (0,))),
        (({4}, {4}), [[4], [4]], ((4,), (4,))),
    ],
)
def test_processors_are_for_all_workers_or_for_each_one_and_kept_as_a_file_can_hold_them(
    given: object, kept: object, cpus: object
) -> None:
    options = options_of(workers=2, cpu_affinity=given)
    assert options.cpu_affinity == kept
    assert to_launch(options, ()).cpus == cpus
    assert [to_launch(options, ()).cpus_of(number) for number in range(2)] == list(cpus)  # type: ignore[call-overload]


def test_a_system_without_them_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launching, "count_pinnable", lambda: 0)
    monkeypatch.setattr(launching, "has_zygotes", lambda: False)
    with pytest.raises(OptionError, match="cpu_affinity to be None on this system"):
        options_of(cpu_affinity={0})
    with pytest.raises(OptionError, match="start_method to be 'spawn' or None on this system"):
        options_of(start_method="zygote")
    assert options_of(start_method="spawn").start_method == "spawn"
