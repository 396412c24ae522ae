"""Which routines can be partitioned, and in which flows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from routilux import Flow, Routine
from routilux.errors import OptionError


class Counts(Routine):
    def __init__(self, merge: str = "override", *, at_end: bool = False) -> None:
        super().__init__()
        self.define_slot("input", handler=self.handle, merge_strategy=merge)
        if at_end:
            self.define_slot("finish", handler=self.handle_any, at_end=True)

    def handle(self, user: str, n: int = 0) -> None: ...

    def handle_any(self, **data: Any) -> None: ...


class Fixed(Counts):
    state_policy = "value"


class Emits(Routine):
    def __init__(self, params: list[str]) -> None:
        super().__init__()
        self.define_slot("trigger", handler=self.produce)
        self.define_event("out", params)

    def produce(self) -> None: ...


def make(counts: Routine, *params: str, mapping: dict[str, str] | None = None, **options: Any) -> Flow:
    flow = Flow("partitioned")
    flow.add_routine(Emits(list(params)), "emits")
    flow.add_routine(counts, "counts", **{"placement": "process", "partition_by": "user", "workers": 2, **options})
    flow.connect("emits", "out", "counts", "input", mapping)
    return flow


def errors_of(flow: Flow) -> list[str]:
    return [str(problem) for problem in flow.check() if problem.severity == "error"]


@pytest.mark.parametrize(
    ("params", "mapping"), [(("user",), None), (("who",), {"who": "user"}), ((), None), ((), {"who": "user"})]
)
def test_a_connection_that_can_bring_the_key_is_right(params: tuple[str, ...], mapping: dict[str, str] | None) -> None:
    assert errors_of(make(Counts(), *params, mapping=mapping)) == []


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        (Counts("append"), ["slot 'input' of routine 'counts'", "partition_by='user'", "slots that merge"]),
        (Counts("all"), ["slot 'input' of routine 'counts'", "slots that merge"]),
        (Counts(at_end=True), ["slot 'finish' of routine 'counts'", "hears of the end"]),
        (Fixed(), ["routine 'counts'", "state_policy 'encoded' or 'none'", "'value'"]),
    ],
)
def test_what_cannot_be_kept_by_key_is_told(counts: Routine, words: list[str]) -> None:
    [error] = errors_of(make(counts, "user"))
    assert all(word in error for word in words), error


def test_a_parameter_that_the_handler_lacks_or_the_event_does_not_bring_is_told() -> None:
    [error] = errors_of(make(Counts(), "user", partition_by="shop"))[:1]
    assert "'shop'" in error
    assert any(
        "none of its handler's parameters, ['user', 'n']" in text
        for text in errors_of(make(Counts(), "user", partition_by="shop"))
    )
    [error] = [text for text in errors_of(make(Counts(), "n")) if "partitioned" in text]
    assert "the event declares ['n'] and not 'user', by which routine 'counts' is partitioned" in error
    [error] = [text for text in errors_of(make(Counts(), mapping={"user": "n"})) if "partitioned" in text]
    assert "map it" in error


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"partition_by": 5}, ["partition_by", "the name of a parameter, or None", "got 5"]),
        ({"partition_by": "no name"}, ["partition_by", "'no name'"]),
        ({"partition_by": "user", "placement": "thread"}, ["partition_by", "None on a thread"]),
        ({"workers": (2, 1), "placement": "process"}, ["workers", "two of them, the lower one first", "got (2, 1)"]),
        ({"workers": (0, 1), "placement": "process"}, ["workers", "got (0, 1)"]),
        ({"workers": (1, 2, 3), "placement": "process"}, ["workers", "got (1, 2, 3)"]),
        ({"workers": "2", "placement": "process"}, ["workers", "got '2'"]),
        ({"workers": (1, 2)}, ["workers", "1 on a thread"]),
    ],
)
def test_an_option_that_cannot_be_is_refused_where_the_routine_is_added(
    options: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(OptionError) as caught:
        Flow().add_routine(Counts(), "counts", **options)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_the_option_comes_back_from_plain_data() -> None:
    flow = make(Counts(), "user", ordered=True, workers=(1, 4))
    again = Flow.deserialize(flow.serialize(), allow_modules=["tests"])
    assert again.options["counts"].partition_by == "user"
    assert again.options["counts"].ordered is True
    assert again.options["counts"].workers == (1, 4)


def test_the_options_come_back_from_a_file(tmp_path: Path) -> None:
    flow = make(Counts(), "user", ordered=True, workers=(1, 4))
    path = tmp_path / "flow.toml"
    flow.to_file(path)
    options = Flow.from_file(path, allow_modules=["tests"]).options["counts"]
    assert (options.partition_by, options.ordered, options.workers) == ("user", True, (1, 4))
