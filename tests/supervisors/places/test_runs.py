"""Numbers that came together stay together, and are in every respect a list."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from supervisors.places.process.runs import Runs

RANGES = st.builds(lambda first, count: range(first, first + count), st.integers(0, 9), st.integers(0, 9))
SOME = st.lists(st.integers(0, 9), max_size=5) | RANGES
STEPS = st.lists(st.tuples(st.sampled_from(["add", "take", "take the oldest", "take all"]), SOME), max_size=30)


@given(STEPS)
def test_they_are_taken_as_from_a_list(steps: list[tuple[str, range | list[int]]]) -> None:
    runs, model = Runs(), list[int]()
    for step, numbers in steps:
        match step:
            case "add":
                runs.add(numbers)
                model += numbers
            case "take all":
                assert runs.take_all() == tuple(model)
                model = []
            case _:
                # Of what is drawn little is what is there: so it is its length alone that counts, every second time.
                taken = numbers if step == "take" else model[: len(numbers)]
                assert runs.try_take(taken) == (model[: len(taken)] == list(taken))
                if model[: len(taken)] == list(taken):
                    del model[: len(taken)]
        assert (list(runs), runs.count, runs.oldest) == (model, len(model), model[0] if model else None)


@given(st.integers(0, 5), st.integers(1, 6))
def test_those_that_are_one_behind_the_other_are_taken_as_such_however_they_came(first: int, count: int) -> None:
    for parts in ([range(3)], [[0, 1, 2]], [[0], range(1, 3)], [range(2), [2]], [range(1), range(1, 2), range(2, 3)]):
        runs = Runs()
        for part in parts:
            runs.add(part)
        assert runs.try_take(range(first, first + count)) == (first == 0 and count <= 3)
        assert list(runs) == (list(range(count, 3)) if first == 0 and count <= 3 else [0, 1, 2])
